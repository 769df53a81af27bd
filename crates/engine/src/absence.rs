//! Logins whose clients are gone for long are closed.
//!
//! No HSM alone knows that a client is gone: it may be connected to another one. So each HSM says in the
//! log which logins it has seen, a login once in [`SEEN_AGAIN_MS`] at most, and the leader closes what no
//! HSM has seen for [`ABSENCE_MS_MAX`]. With all 65,536 logins in use that is one entry of a thousand
//! logins every five minutes. The other way, that the leader asks all HSMs, needs a message of its
//! own, and leaves open what to do about one that does not answer; what is in the log survives
//! restarts and new leaders, too.

use std::collections::BTreeMap;

use strongroom_vault::{Command, LoginId, limits};

use crate::engine::Engine;
use crate::error::Error;

/// A login is said to be in use when that was said so long ago, in milliseconds.
const SEEN_AGAIN_MS: u64 = 6 * 60 * 60 * 1000;
/// Logins that no HSM has seen for so long are closed, in milliseconds: those whose clients have had no
/// connection for a day, and have been seen in the quarter before it.
const ABSENCE_MS_MAX: u64 = 24 * 60 * 60 * 1000 + SEEN_AGAIN_MS;
/// Logins closed by one entry of the log.
const CLOSED_LOGINS_MAX: usize = 256;

impl Engine {
    /// Says which logins are in use here, and closes those that nobody uses. Called once a minute; what
    /// is left over comes the next time.
    pub(crate) fn see_and_close_logins(&self, now_ms: u64) {
        let done = self.see_logins(now_ms).and_then(|()| self.close_logins(now_ms));
        if let Err(error) = done {
            tracing::warn!(%error, "could not say which logins are in use");
        }
    }

    fn see_logins(&self, now_ms: u64) -> Result<(), Error> {
        let mut logins = self.clients.seen_again(&self.open_logins(), now_ms, SEEN_AGAIN_MS);
        logins.truncate(limits::SEEN_LOGINS_MAX);
        if !logins.is_empty() {
            self.propose_own(Command::SeeLogins { logins })?;
        }
        Ok(())
    }

    fn close_logins(&self, now_ms: u64) -> Result<(), Error> {
        let open = self.open_logins();
        // Their clients logged out here when the change could not be made.
        let mut logins = self.clients.ended_logins(&open);
        if self.replicator.leads() {
            let absent = |seen_ms: u64| now_ms.saturating_sub(seen_ms) > ABSENCE_MS_MAX;
            logins.extend(open.iter().filter(|(_, seen_ms)| absent(**seen_ms)).map(|(id, _)| *id));
        }
        logins.sort_unstable();
        logins.dedup();
        logins.truncate(CLOSED_LOGINS_MAX);
        if !logins.is_empty() {
            self.propose_own(Command::CloseLogins { logins })?;
        }
        Ok(())
    }

    /// The cluster's open logins, and when each was last seen.
    fn open_logins(&self) -> BTreeMap<LoginId, u64> {
        let state = self.replicator.state().read();
        state.logins().map(|login| (login.id, login.seen_ms)).collect()
    }
}
