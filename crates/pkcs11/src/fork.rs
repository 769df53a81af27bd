//! Fork: what a child process must not inherit.
//!
//! A fork copies memory with locks that threads of the parent hold, and sockets that the parent
//! goes on using. So nothing of the parent's state is touched in the child: the handler that
//! `fork` calls only raises a counter, and the next call finds that its state is of another
//! generation, leaves it where it is for ever, and starts with fresh state. To the child the
//! module is then uninitialised (PKCS#11 2.40, section 5.4, C_Initialize: "the child must call
//! C_Initialize").

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// How many forks lie between the process that loaded the module and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);
static WATCHING: AtomicBool = AtomicBool::new(false);

extern "C" fn in_the_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Makes forks raise the generation from now on. Once for the process and its children.
pub(crate) fn watch() {
    if !WATCHING.swap(true, Ordering::AcqRel) {
        // SAFETY: the handler only adds to an atomic, which is async-signal-safe, and its code
        // stays mapped (the module is linked with `-z nodelete`).
        let status = unsafe { libc::pthread_atfork(None, None, Some(in_the_child)) };
        if status != 0 {
            WATCHING.store(false, Ordering::Release);
            tracing::error!("pthread_atfork failed ({status}): do not fork this process");
        }
    }
}

/// A value that each process has for itself: a child gets a new one instead of its parent's.
pub(crate) struct PerProcess<T: Sync + 'static> {
    current: AtomicPtr<Stamped<T>>,
    make: fn() -> T,
    inherited: fn(&T),
}

struct Stamped<T> {
    generation: u64,
    value: T,
}

impl<T: Sync + 'static> PerProcess<T> {
    /// `make` makes a process's value. `inherited` sees a parent's value once in the child: it must
    /// not wait for any lock in it.
    pub(crate) const fn new(make: fn() -> T, inherited: fn(&T)) -> Self {
        Self { current: AtomicPtr::new(std::ptr::null_mut()), make, inherited }
    }

    /// This process's value.
    pub(crate) fn get(&self) -> &'static T {
        let generation = GENERATION.load(Ordering::Relaxed);
        loop {
            let pointer = self.current.load(Ordering::Acquire);
            // SAFETY: the pointer is null or came from `Box::into_raw` below, and is never freed
            // once it was published.
            let current = unsafe { pointer.as_ref() };
            if let Some(current) = current
                && current.generation == generation
            {
                return &current.value;
            }
            let fresh = Box::into_raw(Box::new(Stamped { generation, value: (self.make)() }));
            match self.current.compare_exchange(pointer, fresh, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    if let Some(parents) = current {
                        (self.inherited)(&parents.value);
                    }
                }
                // SAFETY: `fresh` was made just above and nobody else has seen it.
                Err(_) => drop(unsafe { Box::from_raw(fresh) }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static CELL: PerProcess<Mutex<u32>> = PerProcess::new(|| Mutex::new(0), |_| ());

    #[test]
    fn a_child_gets_its_own_value_even_when_the_parents_lock_is_held() {
        watch();
        let guard = CELL.get().lock();
        // SAFETY: the child only touches atomics, the allocator (which glibc keeps usable in a
        // child) and its own lock, and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let free = CELL.get().try_lock().is_ok_and(|value| *value == 0);
            // SAFETY: ends the child without running the test harness's exit handlers.
            unsafe { libc::_exit(if free { 0 } else { 1 }) };
        }
        let mut status = -1;
        // SAFETY: `status` is a valid place; the child is ours.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(waited, child);
        assert_eq!(status, 0);
        drop(guard);
        assert!(CELL.get().try_lock().is_ok());
    }
}
