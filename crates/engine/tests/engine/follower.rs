//! An HSM beside the leader: it applies what the leader has when it must, and can be cut off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_engine::{ClusterDesk, LocalCounters, LocalFailures, Options, Standing};
use strongroom_vault::{
    Committed, Contact, Entry, LogIndex, NodeId, ObjectId, ReplicationError, Replicator,
    SharedState, State, codec,
};
use strongroom_wire::message::MemberRole;

use crate::support::*;

/// The follower's side of replication.
pub(crate) struct Follower {
    leader: Arc<Memory>,
    shared: SharedState,
    contact: Mutex<Contact>,
    barriers: AtomicU64,
}

impl Follower {
    /// Has no contact, and had none for so long; `None`: it has.
    pub(crate) fn cut_off_for(&self, seconds: Option<u64>) {
        let cut_off = |seconds| Contact::CutOff { for_: Duration::from_secs(seconds) };
        *self.contact.lock().unwrap() = seconds.map_or(Contact::Connected, cut_off);
    }

    /// How many read barriers there were.
    pub(crate) fn barriers(&self) -> u64 {
        self.barriers.load(Ordering::Relaxed)
    }

    /// Applies what the leader has.
    pub(crate) fn catch_up(&self) -> LogIndex {
        let mut state = self.shared.write();
        let log = self.leader.log.lock().unwrap();
        for entry in log.iter().skip(state.applied().0 as usize) {
            let index = LogIndex(state.applied().0 + 1);
            let _ = state.apply(index, codec::decode_entry(entry).unwrap());
        }
        let applied = state.applied();
        drop(state);
        self.shared.publish(applied);
        applied
    }

    fn check(&self) -> Result<(), ReplicationError> {
        match self.contact() {
            Contact::Connected => Ok(()),
            Contact::CutOff { .. } => Err(ReplicationError::CutOff),
        }
    }
}

impl Replicator for Follower {
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
        self.check()?;
        let committed = self.leader.propose(entry)?;
        self.catch_up();
        Ok(committed)
    }

    fn read_barrier(&self) -> Result<LogIndex, ReplicationError> {
        self.barriers.fetch_add(1, Ordering::Relaxed);
        self.check()?;
        Ok(self.catch_up())
    }

    fn state(&self) -> &SharedState {
        &self.shared
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError> {
        self.leader.blob(id)
    }

    fn contact(&self) -> Contact {
        *self.contact.lock().unwrap()
    }

    fn leader(&self) -> Option<String> {
        Some("hsm-leader".to_owned())
    }

    fn leads(&self) -> bool {
        false
    }
}

/// A disk for failed logins.
#[derive(Default)]
pub(crate) struct Counters(pub(crate) Mutex<Vec<LocalFailures>>);

impl LocalCounters for Counters {
    fn load(&self) -> Result<Vec<LocalFailures>, String> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn save(&self, failures: &[LocalFailures]) -> Result<(), String> {
        *self.0.lock().unwrap() = failures.to_vec();
        Ok(())
    }
}

/// An HSM's part in the cluster that knows one certificate and one key.
pub(crate) struct Desk;

impl ClusterDesk for Desk {
    fn csr(&self) -> Result<(String, u64), String> {
        Ok(("a request".to_owned(), 1))
    }

    fn check_certificate(&self, pem: &str) -> Result<(Vec<u8>, u64), String> {
        if pem == "signed" { Ok((vec![9; 10], 1)) } else { Err("signed by a stranger".to_owned()) }
    }

    fn check_recovery_key(&self, spki: &[u8]) -> Result<(), String> {
        if spki == [1, 2, 3] { Ok(()) } else { Err("no key that can sign".to_owned()) }
    }

    fn standings(&self) -> Vec<Standing> {
        vec![Standing { node: NodeId(1), role: MemberRole::Leader, lag: 0 }]
    }
}

/// A follower of `hsm`, and its engine with or without a disk for failed logins.
pub(crate) fn follower(hsm: &Hsm, counters: Option<&Arc<Counters>>) -> (Hsm, Arc<Follower>) {
    let follower = Arc::new(Follower {
        leader: Arc::clone(&hsm.memory),
        shared: SharedState::new(State::new()),
        contact: Mutex::new(Contact::Connected),
        barriers: AtomicU64::new(0),
    });
    follower.catch_up();
    (restarted(hsm, &follower, counters), follower)
}

/// A new process of a follower.
pub(crate) fn restarted(
    hsm: &Hsm,
    follower: &Arc<Follower>,
    counters: Option<&Arc<Counters>>,
) -> Hsm {
    let options = Options {
        desk: Arc::new(Desk),
        local_counters: counters.cloned().map(|counters| counters as Arc<dyn LocalCounters>),
        ..Options::default()
    };
    let replicator = Arc::clone(follower) as Arc<dyn Replicator>;
    Hsm::of(Arc::clone(&hsm.memory), replicator, options)
}
