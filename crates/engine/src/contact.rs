//! In touch with the majority, or cut off from it.
//!
//! An HSM that is cut off goes on using keys for as long as the cluster's policy says, answers what it
//! can from what it knows, and takes no change. Beyond that it refuses, and says that another HSM may
//! do better.

use std::time::Duration;

use strongroom_vault::{Contact, LogIndex, ReplicationError};

use crate::engine::Engine;
use crate::error::Error;

/// How long a request waits for what it saw or made to be durable here.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long replication may take to bring what a client has seen elsewhere, before the majority is
/// asked for it.
const LAG_MAX: Duration = Duration::from_millis(100);

impl Engine {
    /// Whether this HSM is cut off from the majority.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.replicator.contact() != Contact::Connected
    }

    /// Whether keys may be used: always but on an HSM that has been cut off for longer than the
    /// policy allows.
    ///
    /// # Errors
    /// [`Error::CutOff`].
    pub(crate) fn check_contact(&self) -> Result<(), Error> {
        let Contact::CutOff { for_ } = self.replicator.contact() else { return Ok(()) };
        let allowed = self.replicator.state().read().cut_off_seconds();
        if allowed == u64::MAX || for_.as_secs() < allowed {
            return Ok(());
        }
        Err(Error::CutOff(format!(
            "this HSM has been cut off from the majority of its cluster for {} s, and may use keys \
             for {allowed} s (`cluster set-cut-off-policy`): ask another HSM",
            for_.as_secs()
        )))
    }

    /// Why a change was not tried.
    pub(crate) fn no_change(&self) -> Error {
        let leader = match self.replicator.leader() {
            Some(leader) => format!("; {leader} was the leader"),
            None => String::new(),
        };
        Error::CutOff(format!(
            "this HSM is cut off from the majority of its cluster{leader}: keys can be used, \
             nothing can be changed. Ask another HSM; where most HSMs are lost for good, \
             `strongroom recover` goes on with those that are left"
        ))
    }

    /// Waits until everything that was committed before is applied here: before it is said that
    /// something is not there. One that is cut off answers from what it knows, where that is no older
    /// than what its client has seen.
    pub(crate) fn read_barrier(&self, seen: LogIndex) -> Result<(), Error> {
        if self.is_cut_off() {
            return self.wait(seen);
        }
        match self.barriers.pass(|| self.replicator.read_barrier()) {
            Ok(index) => self.wait(index),
            Err(ReplicationError::CutOff) => self.check_contact().and_then(|()| self.wait(seen)),
            Err(ReplicationError::NoQuorum) if self.is_cut_off() => {
                self.check_contact().and_then(|()| self.wait(seen))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until this HSM has what its client has seen, as far as the request needs it.
    ///
    /// Where the majority has not got that either, it is lost: the cluster was recovered from fewer
    /// HSMs, or put back to an older state. The client is served then with what there is, or it would
    /// never be served again; it sees in the reply's index how far that goes.
    pub(crate) fn catch_up(&self, seen: LogIndex) -> Result<(), Error> {
        let shared = self.replicator.state();
        if shared.durable() >= seen {
            return Ok(());
        }
        if self.is_cut_off() {
            return self.wait(seen);
        }
        if shared.wait(seen, LAG_MAX) {
            return Ok(());
        }
        match self.barriers.pass(|| self.replicator.read_barrier()) {
            Ok(index) => self.wait(index)?,
            Err(ReplicationError::CutOff | ReplicationError::NoQuorum) => {
                return Err(Error::Behind);
            }
            Err(error) => return Err(error.into()),
        }
        if shared.durable() < seen {
            self.seen_and_lost(seen);
        }
        Ok(())
    }

    /// Waits until `index` is durable and applied here.
    pub(crate) fn wait(&self, index: LogIndex) -> Result<(), Error> {
        let shared = self.replicator.state();
        if shared.durable() >= index {
            return Ok(());
        }
        // One that is cut off will not catch up soon: its client had better ask elsewhere at once. What
        // is applied and not on its own disk yet does come.
        let known = shared.read().applied() >= index;
        let patience = if known || !self.is_cut_off() { PATIENCE } else { Duration::ZERO };
        if shared.wait(index, patience) { Ok(()) } else { Err(Error::Behind) }
    }
}
