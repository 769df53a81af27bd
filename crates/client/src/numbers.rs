//! The numbers that go with a request: its sequence, and the lowest sequence still without an answer.
//!
//! A change keeps its sequence when it is sent again, so the HSM gives the first answer instead of
//! doing it twice. What must hold: `lowest` is never above the sequence of a change that is still
//! without an answer, or the HSM might forget that answer. Reads don't take part in it: only
//! changes are remembered by the HSM.

use std::{
    collections::BTreeSet,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use strongroom_wire::limits::REMEMBERED_REPLIES_MAX;

/// One client's counters.
pub(crate) struct Numbers {
    next: AtomicU64,
    lowest: AtomicU64,
    changes: Mutex<Changes>,
    closed: Condvar,
}

/// Changes whose answers the HSM must still remember.
#[derive(Default)]
struct Changes {
    /// Without an answer.
    open: BTreeSet<u64>,
    /// Answered, but begun after one that is open: the HSM keeps these answers too, as long as
    /// `lowest` stays where it is.
    held: BTreeSet<u64>,
}

impl Changes {
    fn count(&self) -> usize {
        self.open.len() + self.held.len()
    }
}

/// A request's sequence; a change counts as answered, or given up, when this is dropped.
pub(crate) struct Sequence<'a> {
    numbers: &'a Numbers,
    number: u64,
    change: bool,
}

impl Numbers {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(1),
            lowest: AtomicU64::new(1),
            changes: Mutex::default(),
            closed: Condvar::new(),
        }
    }

    /// The next sequence. The HSM remembers [`REMEMBERED_REPLIES_MAX`] answers from the lowest open
    /// change on: a change that would push that one's answer out waits until it has come. So one that
    /// is sent again and again, while an HSM is lost, holds up only the 64th after it.
    pub(crate) fn begin(&self, change: bool) -> Sequence<'_> {
        if !change {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            return Sequence { numbers: self, number, change };
        }
        let mut changes = self.changes();
        while changes.count() >= REMEMBERED_REPLIES_MAX {
            changes = self.closed.wait(changes).unwrap_or_else(PoisonError::into_inner);
        }
        // Numbered under the lock: a later number cannot be entered before an earlier one.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        changes.open.insert(number);
        self.publish_lowest(&changes);
        Sequence { numbers: self, number, change }
    }

    /// The lowest sequence of a change whose answer has not been seen.
    pub(crate) fn lowest_unanswered(&self) -> u64 {
        self.lowest.load(Ordering::Acquire)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_lowest(&self, changes: &Changes) {
        let lowest = changes.open.first().copied();
        let lowest = lowest.unwrap_or_else(|| self.next.load(Ordering::Relaxed));
        self.lowest.store(lowest, Ordering::Release);
    }
}

impl Sequence<'_> {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Sequence<'_> {
    fn drop(&mut self) {
        if self.change {
            let mut changes = self.numbers.changes();
            changes.open.remove(&self.number);
            changes.held.insert(self.number);
            let lowest = changes.open.first().copied().unwrap_or(u64::MAX);
            changes.held.retain(|number| *number > lowest);
            self.numbers.publish_lowest(&changes);
            self.numbers.closed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_unanswered_never_passes_an_open_change() {
        let numbers = Numbers::new();
        let first = numbers.begin(true);
        let second = numbers.begin(true);
        drop(numbers.begin(false));
        drop(second);
        assert_eq!(numbers.lowest_unanswered(), first.number());
        drop(first);
        let third = numbers.begin(true);
        assert_eq!(numbers.lowest_unanswered(), third.number());
    }

    #[test]
    fn reads_do_not_hold_lowest_unanswered_back() {
        let numbers = Numbers::new();
        let read = numbers.begin(false);
        drop(numbers.begin(true));
        assert!(numbers.lowest_unanswered() > read.number());
    }

    #[test]
    fn no_more_changes_are_under_way_than_the_hsm_remembers() {
        let numbers = Numbers::new();
        let mut open: Vec<_> = (0..REMEMBERED_REPLIES_MAX).map(|_| numbers.begin(true)).collect();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let numbers = &numbers;
            scope.spawn(move || {
                let next = numbers.begin(true);
                sender.send(numbers.changes().count()).unwrap();
                drop(next);
            });
            // Reads don't wait.
            drop(numbers.begin(false));
            assert!(receiver.try_recv().is_err());
            // The last one's answer is still remembered for the first one's sake.
            open.pop();
            assert!(receiver.try_recv().is_err());
            drop(open.remove(0));
            assert_eq!(receiver.recv(), Ok(REMEMBERED_REPLIES_MAX));
        });
    }

    #[test]
    fn sequences_are_unique_over_threads() {
        let numbers = Numbers::new();
        let all = Mutex::new(BTreeSet::new());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (numbers, all) = (&numbers, &all);
                scope.spawn(move || {
                    for turn in 0..100 {
                        let sequence = numbers.begin((thread + turn) % 2 == 0);
                        assert!(all.lock().unwrap().insert(sequence.number()));
                    }
                });
            }
        });
        assert_eq!(all.lock().unwrap().len(), 800);
    }
}
