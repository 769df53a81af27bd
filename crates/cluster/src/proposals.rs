//! What this HSM's engine has proposed and not heard of, and what others have handed to it as leader.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_vault::{Committed, Entry, Gate, ReplicationError};
use tokio::sync::Notify;

/// Proposals of others that wait for the leader.
const HANDED_MAX: usize = 65_536;
/// Names of others' proposals that are remembered, so that one that is sent again is not taken twice.
const NAMES_MAX: usize = 65_536;

/// An answer to come.
pub(crate) struct Answer<T> {
    gate: Gate,
    slot: Mutex<Option<T>>,
}

impl<T> Answer<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { gate: Gate::new(), slot: Mutex::new(None) })
    }

    pub(crate) fn give(&self, value: T) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(value);
        self.gate.notify();
    }

    /// Waits, at most for `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Option<T> {
        let taken = Mutex::new(None);
        self.gate.wait(patience, || {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            *taken = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            taken.is_some()
        });
        taken.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) type Proposed = Result<Committed, ReplicationError>;

/// Whom a proposal was given to: a leader of a term.
pub(crate) type Leadership = (u64, u64);

struct Own {
    entry: Arc<Entry>,
    answer: Arc<Answer<Proposed>>,
    given_to: Option<Leadership>,
}

/// A proposal, its name, and who it is.
pub(crate) struct Handed {
    pub(crate) node: u64,
    pub(crate) boot: u64,
    pub(crate) counter: u64,
    pub(crate) entry: Entry,
}

/// All that waits.
pub(crate) struct Proposals {
    waiting: Mutex<Waiting>,
    /// Something came, or a leader did.
    pub(crate) arrived: Notify,
    counter: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    own: BTreeMap<u64, Own>,
    handed: VecDeque<Handed>,
    names: BTreeSet<(u64, u64, u64)>,
    names_in_order: VecDeque<(u64, u64, u64)>,
    closed: Option<ReplicationError>,
}

impl Proposals {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), arrived: Notify::new(), counter: AtomicU64::new(0) }
    }

    /// Adds one of this HSM's. Its number, and where its answer comes.
    pub(crate) fn add(
        &self,
        entry: Entry,
    ) -> Result<(u64, Arc<Answer<Proposed>>), ReplicationError> {
        let mut waiting = self.lock();
        if let Some(reason) = &waiting.closed {
            return Err(reason.clone());
        }
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = Answer::new();
        let own = Own { entry: Arc::new(entry), answer: answer.clone(), given_to: None };
        waiting.own.insert(counter, own);
        drop(waiting);
        self.arrived.notify_one();
        Ok((counter, answer))
    }

    /// Nobody waits for it any more.
    pub(crate) fn forget(&self, counter: u64) {
        self.lock().own.remove(&counter);
    }

    /// Adds proposals that another member hands to this leader; those that it has are passed over.
    /// Whether there was room.
    pub(crate) fn hand(&self, proposals: Vec<Handed>) -> bool {
        let mut waiting = self.lock();
        if waiting.closed.is_some() || waiting.handed.len() + proposals.len() > HANDED_MAX {
            return false;
        }
        for proposal in proposals {
            let name = (proposal.node, proposal.boot, proposal.counter);
            if waiting.names.insert(name) {
                waiting.names_in_order.push_back(name);
                waiting.handed.push_back(proposal);
            }
        }
        while waiting.names_in_order.len() > NAMES_MAX {
            if let Some(oldest) = waiting.names_in_order.pop_front() {
                waiting.names.remove(&oldest);
            }
        }
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    /// The first of this HSM's with a higher number than `after` that this leader has not got, now given
    /// to it.
    pub(crate) fn give(&self, leader: Leadership, after: u64) -> Option<(u64, Arc<Entry>)> {
        let mut waiting = self.lock();
        let (counter, own) = waiting
            .own
            .range_mut(after.saturating_add(1)..)
            .find(|(_, own)| own.given_to != Some(leader))?;
        own.given_to = Some(leader);
        Some((*counter, own.entry.clone()))
    }

    /// Those did not arrive, surely or perhaps.
    pub(crate) fn take_back(&self, counters: &[u64]) {
        let mut waiting = self.lock();
        for counter in counters {
            if let Some(own) = waiting.own.get_mut(counter) {
                own.given_to = None;
            }
        }
    }

    /// The next that others handed over.
    pub(crate) fn handed(&self) -> Option<Handed> {
        self.lock().handed.pop_front()
    }

    /// This node does not lead: what others handed over, they send again to who does.
    pub(crate) fn drop_handed(&self) {
        let mut waiting = self.lock();
        waiting.handed.clear();
        waiting.names.clear();
        waiting.names_in_order.clear();
    }

    /// One of this HSM's was applied here.
    pub(crate) fn applied(&self, counter: u64, committed: Committed) {
        let own = self.lock().own.remove(&counter);
        if let Some(own) = own {
            own.answer.give(Ok(committed));
        }
    }

    /// One of this HSM's can't be done.
    pub(crate) fn refuse(&self, counter: u64, reason: ReplicationError) {
        let own = self.lock().own.remove(&counter);
        if let Some(own) = own {
            own.answer.give(Err(reason));
        }
    }

    /// What was applied by a snapshot shows no answers: those who wait ask again.
    pub(crate) fn take_all_back(&self) {
        for own in self.lock().own.values_mut() {
            own.given_to = None;
        }
        self.arrived.notify_one();
    }

    /// Takes nothing more, and answers all that wait.
    pub(crate) fn close(&self, reason: &ReplicationError) {
        let mut waiting = self.lock();
        waiting.closed.get_or_insert(reason.clone());
        waiting.handed.clear();
        let own = std::mem::take(&mut waiting.own);
        drop(waiting);
        for own in own.into_values() {
            own.answer.give(Err(reason.clone()));
        }
    }

    /// Takes nothing more of this HSM's; what waits goes on.
    pub(crate) fn refuse_new(&self, reason: ReplicationError) {
        self.lock().closed.get_or_insert(reason);
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().own.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use strongroom_vault::{Actor, ClientId, Command, LogIndex, Outcome};

    use super::*;

    fn entry() -> Entry {
        Entry {
            time_ms: 0,
            client: ClientId([0; 16]),
            sequence: 0,
            lowest_unanswered: 0,
            actor: Actor::System,
            command: Command::CloseLogins { logins: Vec::new() },
        }
    }

    fn given(proposals: &Proposals, leader: Leadership) -> Vec<u64> {
        let mut after = 0;
        std::iter::from_fn(|| {
            let (counter, _) = proposals.give(leader, after)?;
            after = counter;
            Some(counter)
        })
        .collect()
    }

    #[test]
    fn a_leader_gets_a_proposal_once_and_the_next_one_again() {
        let proposals = Proposals::new();
        for _ in 0..3 {
            proposals.add(entry()).unwrap();
        }
        assert_eq!(given(&proposals, (1, 1)), [1, 2, 3]);
        assert!(given(&proposals, (1, 1)).is_empty());
        proposals.take_back(&[2]);
        assert_eq!(given(&proposals, (1, 1)), [2]);
        assert_eq!(given(&proposals, (2, 2)), [1, 2, 3]);
    }

    #[test]
    fn who_proposed_gets_the_answer_of_what_was_applied() {
        let proposals = Proposals::new();
        let (counter, answer) = proposals.add(entry()).unwrap();
        assert_eq!(answer.wait(Duration::ZERO), None);
        let committed = Committed { index: LogIndex(7), result: Ok(Outcome::Done) };
        proposals.applied(counter, committed.clone());
        assert_eq!(answer.wait(Duration::ZERO), Some(Ok(committed)));
        assert!(proposals.is_empty());
    }

    #[test]
    fn what_another_member_hands_over_twice_is_taken_once() {
        let proposals = Proposals::new();
        let handed = |counter| vec![Handed { node: 2, boot: 1, counter, entry: entry() }];
        assert!(proposals.hand(handed(1)));
        assert!(proposals.hand(handed(1)));
        assert!(proposals.hand(handed(2)));
        let taken: Vec<u64> =
            std::iter::from_fn(|| proposals.handed()).map(|h| h.counter).collect();
        assert_eq!(taken, [1, 2]);
        // Another leader's time has come and gone: it may be sent again.
        proposals.drop_handed();
        assert!(proposals.hand(handed(1)));
        assert!(proposals.handed().is_some());
    }

    #[test]
    fn all_that_wait_hear_of_the_end() {
        let proposals = Proposals::new();
        let (_, answer) = proposals.add(entry()).unwrap();
        proposals.refuse_new(ReplicationError::Stopping);
        assert_eq!(proposals.add(entry()).map(drop), Err(ReplicationError::Stopping));
        assert_eq!(answer.wait(Duration::ZERO), None);
        proposals.close(&ReplicationError::Stopping);
        assert_eq!(answer.wait(Duration::ZERO), Some(Err(ReplicationError::Stopping)));
    }
}
