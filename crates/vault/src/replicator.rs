//! How an engine gets an entry agreed on, made durable, and applied.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::{Entry, Gate, LogIndex, ObjectId, Outcome, Refusal, State};

/// A committed entry: on disk on a majority and applied here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub index: LogIndex,
    /// What applying it gave. A refusal is committed too: a retry gets the same answer.
    pub result: Result<Outcome, Refusal>,
}

/// Why nothing was committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicationError {
    /// The HSM is stopping.
    #[error("the HSM is stopping")]
    Stopping,
    /// The store failed; the HSM takes no more changes.
    #[error("the store failed: {0}")]
    Storage(String),
    /// No majority answered in time; the change may or may not have happened. Ask again under the
    /// same idempotency key.
    #[error("no majority of HSMs answered")]
    NoQuorum,
    /// This HSM is cut off from the majority. It was not tried: nothing has happened.
    #[error("this HSM is cut off from the majority")]
    CutOff,
    /// A record of the store fails its check: what it says is not to be believed.
    #[error("a stored record failed its check: {0}")]
    Damaged(String),
}

/// Whether an HSM is in touch with the majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// A leader was heard within a second; on the leader, a majority was.
    Connected,
    /// Not so.
    CutOff {
        /// Since the last contact.
        for_: Duration,
    },
}

/// Agreement on a log of [`Entry`]s.
pub trait Replicator: Send + Sync {
    /// Proposes an entry and waits until it is durable and applied.
    ///
    /// # Errors
    /// Where nothing was committed, or it is not known.
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError>;

    /// Waits until every entry committed before the call is applied here.
    ///
    /// # Errors
    /// Where that can't be known.
    fn read_barrier(&self) -> Result<LogIndex, ReplicationError>;

    /// The state that entries are applied to.
    fn state(&self) -> &SharedState;

    /// The sealed blob of a token object, `None` where there is none.
    ///
    /// # Errors
    /// Where the store fails, or [`ReplicationError::Damaged`].
    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError>;

    /// Whether this HSM is in touch with the majority.
    fn contact(&self) -> Contact {
        Contact::Connected
    }

    /// The leader's HSM id, where one is known: for messages.
    fn leader(&self) -> Option<String> {
        None
    }

    /// Whether this HSM leads: work that one HSM does for all is the leader's.
    fn leads(&self) -> bool {
        true
    }

    /// Told of a record that must be in the store and is not: where other HSMs have it, this one gets
    /// everything from them anew.
    fn damaged(&self, _what: &str) {}
}

/// The applied state, with an index that tells readers without a lock what is durable.
///
/// The replicator applies a batch under the write lock, commits it to disk without the lock, then
/// publishes. A reader may so see an entry that is not on disk yet; it must [`SharedState::wait`] for
/// the index that it saw before it answers, or a crash could take back what it told.
#[derive(Debug)]
pub struct SharedState {
    state: RwLock<State>,
    durable: AtomicU64,
    published: Gate,
}

impl SharedState {
    /// Shares a state all of which is on disk.
    #[must_use]
    pub fn new(state: State) -> Self {
        let durable = AtomicU64::new(state.applied().0);
        Self { state: RwLock::new(state), durable, published: Gate::new() }
    }

    /// The last entry that is applied and on disk. Wait-free: what was authorised at this index
    /// holds until it rises.
    #[must_use]
    pub fn durable(&self) -> LogIndex {
        LogIndex(self.durable.load(Ordering::Acquire))
    }

    /// Reads the state, which may be ahead of [`SharedState::durable`].
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the state: for the replicator alone.
    pub fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells readers that everything up to `index` is on disk: for the replicator alone.
    pub fn publish(&self, index: LogIndex) {
        self.durable.store(index.0, Ordering::Release);
        self.published.notify();
    }

    /// Waits until `index` is on disk and applied; whether it came to that within `patience`.
    #[must_use]
    pub fn wait(&self, index: LogIndex, patience: Duration) -> bool {
        self.published.wait(patience, || self.durable() >= index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_waits_until_what_it_saw_is_durable() {
        let shared = SharedState::new(State::new());
        assert_eq!(shared.durable(), LogIndex(0));
        assert!(shared.wait(LogIndex(0), Duration::ZERO));
        assert!(!shared.wait(LogIndex(1), Duration::ZERO));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| shared.wait(LogIndex(2), Duration::from_secs(60)));
            shared.publish(LogIndex(1));
            shared.publish(LogIndex(2));
            assert!(reader.join().is_ok_and(|durable| durable));
        });
        assert_eq!(shared.durable(), LogIndex(2));
    }
}
