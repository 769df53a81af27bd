//! Read barriers: one serves all who wait at the same time.
//!
//! A barrier asks the leader, which asks a majority. Whoever comes while one is under way needs the next
//! one, since what was committed in between may be what they miss; all of them share it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_vault::{Gate, LogIndex, ReplicationError};

/// Longer than two barriers take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Who waits for which barrier.
#[derive(Default)]
pub(crate) struct Barriers {
    progress: Mutex<Progress>,
    ended: Gate,
}

#[derive(Default)]
struct Progress {
    started: u64,
    running: bool,
    /// The number of the last one that ended, and what it gave.
    last: Option<(u64, Result<LogIndex, ReplicationError>)>,
}

impl Progress {
    fn ended(&self, number: u64) -> bool {
        self.last.as_ref().is_some_and(|(ended, _)| *ended >= number)
    }
}

/// Ends a barrier, also where it panicked.
struct Running<'a> {
    barriers: &'a Barriers,
    number: u64,
    result: Result<LogIndex, ReplicationError>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut progress = self.barriers.progress();
        progress.running = false;
        progress.last = Some((self.number, self.result.clone()));
        drop(progress);
        self.barriers.ended.notify();
    }
}

impl Barriers {
    /// The index of a barrier that began after the call did: by `run` on this thread or on another's.
    pub(crate) fn pass(
        &self,
        run: impl Fn() -> Result<LogIndex, ReplicationError>,
    ) -> Result<LogIndex, ReplicationError> {
        let wanted = self.progress().started + 1;
        loop {
            let number = {
                let mut progress = self.progress();
                if let Some((ended, result)) = &progress.last
                    && *ended >= wanted
                {
                    return result.clone();
                }
                if progress.running {
                    None
                } else {
                    progress.running = true;
                    progress.started += 1;
                    Some(progress.started)
                }
            };
            if let Some(number) = number {
                let result = Err(ReplicationError::NoQuorum);
                let mut running = Running { barriers: self, number, result };
                running.result = run();
                return running.result.clone();
            }
            let ready = || {
                let progress = self.progress();
                !progress.running || progress.ended(wanted)
            };
            if !self.ended.wait(PATIENCE, ready) {
                return Err(ReplicationError::NoQuorum);
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    #[test]
    fn each_alone_runs_its_own() {
        let barriers = Barriers::default();
        let runs = AtomicU64::new(0);
        let run = || Ok(LogIndex(runs.fetch_add(1, Ordering::Relaxed) + 1));
        assert_eq!(barriers.pass(run), Ok(LogIndex(1)));
        assert_eq!(barriers.pass(run), Ok(LogIndex(2)));
        let failed = || Err(ReplicationError::NoQuorum);
        assert_eq!(barriers.pass(failed), Err(ReplicationError::NoQuorum));
        assert_eq!(barriers.pass(run), Ok(LogIndex(3)));
    }

    #[test]
    fn all_who_come_while_one_runs_share_the_next() {
        let barriers = Barriers::default();
        let runs = AtomicU64::new(0);
        let (first_runs, may_end) = (AtomicBool::new(false), AtomicBool::new(false));
        let gate = Gate::new();
        let wait = |flag: &AtomicBool| {
            assert!(gate.wait(Duration::from_secs(60), || flag.load(Ordering::Acquire)));
        };
        let arrived = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                barriers.pass(|| {
                    first_runs.store(true, Ordering::Release);
                    gate.notify();
                    wait(&may_end);
                    Ok(LogIndex(1))
                })
            });
            wait(&first_runs);
            let others: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        arrived.fetch_add(1, Ordering::AcqRel);
                        gate.notify();
                        barriers.pass(|| {
                            runs.fetch_add(1, Ordering::Relaxed);
                            Ok(LogIndex(2))
                        })
                    })
                })
                .collect();
            assert!(gate.wait(Duration::from_secs(60), || arrived.load(Ordering::Acquire) == 8));
            may_end.store(true, Ordering::Release);
            gate.notify();
            assert_eq!(first.join().unwrap(), Ok(LogIndex(1)));
            for other in others {
                // None of them may be content with the first one.
                assert_eq!(other.join().unwrap(), Ok(LogIndex(2)));
            }
        });
        // One for all who had come; one each, at most, for those that came to it late.
        assert!((1..=8).contains(&runs.load(Ordering::Relaxed)));
    }

    #[test]
    fn a_barrier_that_panics_leaves_nobody_waiting() {
        let barriers = Barriers::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            barriers.pass(|| panic!("as a bug would"))
        }));
        assert!(panicked.is_err());
        assert_eq!(barriers.pass(|| Ok(LogIndex(4))), Ok(LogIndex(4)));
    }
}
