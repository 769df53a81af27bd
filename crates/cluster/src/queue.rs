//! What waits for the writer: proposals, each with somebody waiting for its answer, and blocks of
//! key-use records, with nobody waiting.

use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use strongroom_vault::{Committed, Entry, ReplicationError};
use strongroom_wire::limits::{AUDIT_DELAY_MS_MAX, AUDIT_QUEUE_BYTES_MAX, BATCH_ENTRIES_MAX};

/// Key-use records of so many bytes are written without waiting for more.
const USES_BYTES_ENOUGH: usize = AUDIT_QUEUE_BYTES_MAX / 16;

/// An entry, and where its proposer waits.
pub(crate) struct Proposal {
    pub(crate) entry: Entry,
    pub(crate) answer: SyncSender<Result<Committed, ReplicationError>>,
}

/// What the writer does next, in one transaction.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) uses: Vec<Vec<u8>>,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// The writer took the uses, or the queue closed.
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    proposals: Vec<Proposal>,
    uses: Vec<Vec<u8>>,
    uses_bytes: usize,
    /// When the oldest of `uses` must be written.
    uses_due: Option<Instant>,
    /// Why nothing more is taken.
    closed: Option<ReplicationError>,
}

impl Queue {
    /// Adds a proposal.
    pub(crate) fn propose(&self, proposal: Proposal) -> Result<(), ReplicationError> {
        let mut waiting = self.lock();
        if let Some(reason) = &waiting.closed {
            return Err(reason.clone());
        }
        waiting.proposals.push(proposal);
        self.arrived.notify_one();
        Ok(())
    }

    /// Adds a block of key-use records. Where a slow disk has left no room, waits until it has caught
    /// up: keys are then used as fast as their use can be recorded.
    pub(crate) fn append_uses(&self, block: Vec<u8>) -> Result<(), ReplicationError> {
        let mut waiting = self.lock();
        while waiting.closed.is_none() && !waiting.has_room_for(&block) {
            waiting = self.emptied.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(reason) = &waiting.closed {
            return Err(reason.clone());
        }
        let bytes = waiting.uses_bytes.saturating_add(block.len());
        waiting.uses_bytes = bytes;
        waiting.uses.push(block);
        if waiting.uses_due.is_none() {
            waiting.uses_due = Some(Instant::now() + Duration::from_millis(AUDIT_DELAY_MS_MAX));
            self.arrived.notify_one();
        } else if bytes >= USES_BYTES_ENOUGH {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for work; `None` when the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if !waiting.proposals.is_empty() || waiting.uses_are_due() {
                self.emptied.notify_all();
                return Some(waiting.take());
            }
            if waiting.closed.is_some() {
                return None;
            }
            waiting = match waiting.uses_due {
                Some(due) => {
                    let patience = due.saturating_duration_since(Instant::now());
                    self.arrived
                        .wait_timeout(waiting, patience)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Takes nothing more; what waits is still to be done.
    pub(crate) fn close(&self, reason: ReplicationError) {
        let mut waiting = self.lock();
        waiting.closed.get_or_insert(reason);
        self.arrived.notify_all();
        self.emptied.notify_all();
    }

    /// Takes nothing more, and gives what waits the reason as its answer.
    pub(crate) fn fail(&self, reason: &ReplicationError) {
        let mut waiting = self.lock();
        waiting.closed = Some(reason.clone());
        waiting.uses.clear();
        self.emptied.notify_all();
        let proposals = std::mem::take(&mut waiting.proposals);
        drop(waiting);
        for proposal in proposals {
            // A proposer that is gone needs no answer.
            let _ = proposal.answer.send(Err(reason.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// A block that is larger than all the room is taken alone.
    fn has_room_for(&self, block: &[u8]) -> bool {
        self.uses_bytes == 0 || self.uses_bytes.saturating_add(block.len()) <= AUDIT_QUEUE_BYTES_MAX
    }

    fn uses_are_due(&self) -> bool {
        let Some(due) = self.uses_due else { return false };
        self.closed.is_some() || self.uses_bytes >= USES_BYTES_ENOUGH || Instant::now() >= due
    }

    /// Uses go with whatever transaction comes first.
    fn take(&mut self) -> Work {
        let count = self.proposals.len().min(BATCH_ENTRIES_MAX);
        self.uses_bytes = 0;
        self.uses_due = None;
        Work {
            proposals: self.proposals.drain(..count).collect(),
            uses: std::mem::take(&mut self.uses),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use strongroom_vault::{Actor, ClientId, Command};

    use super::*;

    fn proposal() -> Proposal {
        let entry = Entry {
            time_ms: 0,
            client: ClientId([1; 16]),
            sequence: 0,
            lowest_unanswered: 0,
            actor: Actor::System,
            command: Command::CloseLogins { logins: Vec::new() },
        };
        Proposal { entry, answer: sync_channel(1).0 }
    }

    #[test]
    fn what_waits_is_taken_at_once_up_to_the_limit() {
        let queue = Queue::default();
        for _ in 0..BATCH_ENTRIES_MAX + 1 {
            queue.propose(proposal()).unwrap();
        }
        queue.append_uses(b"block".to_vec()).unwrap();
        let work = queue.take().unwrap();
        assert_eq!((work.proposals.len(), work.uses.len()), (BATCH_ENTRIES_MAX, 1));
        assert_eq!(queue.take().unwrap().proposals.len(), 1);
    }

    #[test]
    fn a_closed_queue_is_emptied_first() {
        let queue = Queue::default();
        queue.propose(proposal()).unwrap();
        queue.close(ReplicationError::Stopping);
        assert_eq!(queue.propose(proposal()), Err(ReplicationError::Stopping));
        assert_eq!(queue.append_uses(Vec::new()), Err(ReplicationError::Stopping));
        assert!(queue.take().is_some());
        assert!(queue.take().is_none());
    }

    #[test]
    fn uses_without_company_are_written_when_they_are_due() {
        let queue = Queue::default();
        queue.append_uses(b"block".to_vec()).unwrap();
        // Returns by itself: nothing else arrives.
        assert_eq!(queue.take().unwrap().uses, [b"block"]);
    }

    #[test]
    fn a_full_queue_holds_up_who_uses_keys_until_the_disk_has_caught_up() {
        let queue = Queue::default();
        queue.append_uses(vec![0; AUDIT_QUEUE_BYTES_MAX]).unwrap();
        std::thread::scope(|scope| {
            let held_up = scope.spawn(|| queue.append_uses(b"one more".to_vec()));
            let first = queue.take().unwrap();
            assert_eq!(first.uses.len(), 1);
            held_up.join().unwrap().unwrap();
        });
        assert_eq!(queue.take().unwrap().uses, [b"one more"]);
    }

    #[test]
    fn a_block_larger_than_the_queue_is_taken_alone() {
        let queue = Queue::default();
        queue.append_uses(vec![0; AUDIT_QUEUE_BYTES_MAX + 1]).unwrap();
        assert_eq!(queue.take().unwrap().uses[0].len(), AUDIT_QUEUE_BYTES_MAX + 1);
    }

    #[test]
    fn who_is_held_up_learns_that_the_queue_failed() {
        let queue = Queue::default();
        queue.append_uses(vec![0; AUDIT_QUEUE_BYTES_MAX]).unwrap();
        let reason = ReplicationError::Storage("the disk is full".into());
        std::thread::scope(|scope| {
            let held_up = scope.spawn(|| queue.append_uses(b"one more".to_vec()));
            queue.fail(&reason);
            assert_eq!(held_up.join().unwrap(), Err(reason.clone()));
        });
    }

    #[test]
    fn a_failed_queue_answers_all_that_wait() {
        let queue = Queue::default();
        let (answer, answered) = sync_channel(1);
        queue.propose(Proposal { answer, ..proposal() }).unwrap();
        let reason = ReplicationError::Storage("the disk is full".into());
        queue.fail(&reason);
        assert_eq!(answered.recv().unwrap(), Err(reason.clone()));
        assert_eq!(queue.propose(proposal()), Err(reason));
        assert!(queue.take().is_none());
    }
}
