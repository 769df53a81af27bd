//! Where a thread waits for what another one does.
//!
//! Every wait of the engine and of the replicator's callers goes through here, for one reason: a
//! simulation runs them under virtual time, where a thread must not sleep but hand over. It says so
//! for its threads by [`schedule_by`]; on all others a gate is a condition variable.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

thread_local! {
    static SCHEDULER: RefCell<Option<Rc<dyn Scheduler>>> = const { RefCell::new(None) };
}

/// Who lets a simulated thread wait.
pub trait Scheduler {
    /// Lets others run until `ready` gives true, for `patience` of virtual time at most; whether it
    /// came to that.
    fn wait(&self, patience: Duration, ready: &dyn Fn() -> bool) -> bool;
}

/// From now on this thread waits by `scheduler`; with `None`, by the operating system again.
pub fn schedule_by(scheduler: Option<Rc<dyn Scheduler>>) {
    SCHEDULER.set(scheduler);
}

/// A condition to wait for.
#[derive(Debug, Default)]
pub struct Gate {
    lock: Mutex<()>,
    moved: Condvar,
}

impl Gate {
    /// A gate at which nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { lock: Mutex::new(()), moved: Condvar::new() }
    }

    /// Waits until `ready` gives true, for `patience` at most; whether it came to that. `ready` may
    /// take what it looks for: after it gave true it is not called again.
    pub fn wait(&self, patience: Duration, ready: impl Fn() -> bool) -> bool {
        if ready() {
            return true;
        }
        let scheduler = SCHEDULER.with_borrow(Clone::clone);
        if let Some(scheduler) = scheduler {
            return scheduler.wait(patience, &ready);
        }
        let gate = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (_gate, timeout) = self
            .moved
            .wait_timeout_while(gate, patience, |()| !ready())
            .unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    /// Lets those who wait look again: call it after the change that they wait for.
    pub fn notify(&self) {
        let _gate = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn who_waits_goes_on_when_told() {
        let (gate, open) = (Gate::new(), AtomicBool::new(false));
        assert!(!gate.wait(Duration::ZERO, || open.load(Ordering::Acquire)));
        std::thread::scope(|scope| {
            let wait = || gate.wait(Duration::from_secs(60), || open.load(Ordering::Acquire));
            let waiting = scope.spawn(wait);
            open.store(true, Ordering::Release);
            gate.notify();
            assert!(waiting.join().is_ok_and(|ready| ready));
        });
    }

    #[test]
    fn a_scheduled_thread_waits_by_its_scheduler() {
        struct Never;
        impl Scheduler for Never {
            fn wait(&self, _: Duration, ready: &dyn Fn() -> bool) -> bool {
                ready()
            }
        }
        let waits = std::thread::spawn(|| {
            schedule_by(Some(Rc::new(Never)));
            Gate::new().wait(Duration::from_secs(3600), || false)
        });
        assert!(waits.join().is_ok_and(|ready| !ready));
    }
}
