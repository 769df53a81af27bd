//! Threads in lockstep with the runtime.
//!
//! The engine is synchronous and blocks where it waits for the cluster. So each of its connections, and
//! each client, runs on an operating system thread of its own, of which exactly one runs at any time,
//! and the runtime not at all meanwhile: virtual time stands still while a thread computes. A thread
//! that would block hands a future to the runtime instead ([`block_on`]) and sleeps until that is
//! done. Which thread runs when is so decided by the runtime's order alone.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_vault::gate::{self, Scheduler};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// Real time after which a thread that neither ends nor hands over is taken for hung: it waits for
/// something by the operating system, which the simulation can't see.
const HUNG: Duration = Duration::from_secs(60);

/// What a thread says when it stops running.
enum Step {
    Await(Pin<Box<dyn Future<Output = ()> + Send>>),
    Ended,
}

/// A thread's side of the bridge.
struct Link {
    step: Sender<Step>,
    go: Receiver<()>,
}

thread_local! {
    static LINK: RefCell<Option<Rc<Link>>> = const { RefCell::new(None) };
}

/// Thrown on a thread whose run is over, and caught at its top.
struct Abandoned;

/// Runs `work` on a thread of its own, in lockstep. Where the future is dropped, the thread unwinds at
/// its next wait.
///
/// # Panics
/// With the thread's own panic, or where it hangs.
pub async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (step, steps) = channel();
    let (go, goes) = channel();
    let result = Arc::new(Mutex::new(None));
    let handle = Handle::current();
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(1 << 20).spawn({
        let result = Arc::clone(&result);
        move || top(&handle, Link { step, go: goes }, work, &result)
    });
    assert!(thread.is_ok(), "the simulation has a thread for {name}");
    loop {
        // A thread that is gone shows itself below.
        let _ = go.send(());
        match steps.recv_timeout(HUNG) {
            Ok(Step::Await(future)) => future.await,
            Ok(Step::Ended) => break,
            Err(RecvTimeoutError::Timeout) => {
                panic!("the thread {name} waits outside of the bridge")
            }
            Err(RecvTimeoutError::Disconnected) => panic!("the thread {name} is gone"),
        }
    }
    let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    match result {
        Some(Ok(value)) => Some(value),
        Some(Err(panic)) if panic.is::<Abandoned>() => None,
        Some(Err(panic)) => resume_unwind(panic),
        None => None,
    }
}

type Outcome<T> = Mutex<Option<Result<T, Box<dyn Any + Send>>>>;

fn top<T>(handle: &Handle, link: Link, work: impl FnOnce() -> T, result: &Outcome<T>) {
    if link.go.recv().is_err() {
        return;
    }
    // So that this thread reads the runtime's clock.
    let _entered = handle.enter();
    let step = link.step.clone();
    LINK.set(Some(Rc::new(link)));
    gate::schedule_by(Some(Rc::new(Polled)));
    let ended = catch_unwind(AssertUnwindSafe(work));
    *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
    let _ = step.send(Step::Ended);
}

/// Waits for a future on a thread of the bridge, while virtual time passes.
///
/// # Panics
/// On a thread that [`run`] did not start.
pub fn block_on<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let link = LINK.with_borrow(Clone::clone).expect("only threads of the bridge wait by it");
    let (answer, answered) = channel();
    let step = Step::Await(Box::pin(async move {
        let _ = answer.send(future.await);
    }));
    if link.step.send(step).is_err() || link.go.recv().is_err() {
        resume_unwind(Box::new(Abandoned));
    }
    match answered.try_recv() {
        Ok(value) => value,
        Err(_) => resume_unwind(Box::new(Abandoned)),
    }
}

/// Lets virtual time pass on a thread of the bridge.
pub fn pass(time: Duration) {
    block_on(sleep(time));
}

/// Gates on threads of the bridge look again after each millisecond of virtual time.
struct Polled;

impl Scheduler for Polled {
    fn wait(&self, patience: Duration, ready: &dyn Fn() -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            pass(Duration::from_millis(1));
            if ready() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use strongroom_vault::Gate;

    use super::*;

    fn simulated<T>(work: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap().block_on(work)
    }

    #[test]
    fn threads_wait_in_virtual_time() {
        let passed = simulated(async {
            run("waiter", || {
                let began = Instant::now();
                pass(Duration::from_secs(3600));
                began.elapsed()
            })
            .await
        });
        assert_eq!(passed, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_gate_opens_for_a_thread_when_another_one_says_so() {
        let (opened, shut) = simulated(async {
            let gate = Arc::new((Gate::new(), AtomicU64::new(0)));
            let waiter = Arc::clone(&gate);
            let waits = tokio::spawn(async move {
                run("waiter", move || {
                    let seen = || waiter.1.load(Ordering::Relaxed) == 1;
                    let opened = waiter.0.wait(Duration::from_secs(1), seen);
                    (opened, waiter.0.wait(Duration::from_secs(1), || false))
                })
                .await
            });
            run("opener", move || {
                pass(Duration::from_millis(10));
                gate.1.store(1, Ordering::Relaxed);
                gate.0.notify();
            })
            .await;
            waits.await.unwrap().unwrap()
        });
        assert!(opened && !shut);
    }

    #[test]
    fn one_runs_at_a_time_and_always_in_the_same_order() {
        let order = || {
            simulated(async {
                let seen = Arc::new(Mutex::new(Vec::new()));
                let tasks: Vec<_> = (0..8_u64)
                    .map(|n| {
                        let seen = Arc::clone(&seen);
                        tokio::spawn(async move {
                            run("worker", move || {
                                for round in 0..20 {
                                    // Held while it computes: nobody else may get in.
                                    seen.try_lock().unwrap().push((round, n));
                                    pass(Duration::from_millis((n * 7 + round) % 5));
                                }
                            })
                            .await
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap().unwrap();
                }
                Arc::into_inner(seen).unwrap().into_inner().unwrap()
            })
        };
        assert_eq!(order(), order());
    }

    #[test]
    fn a_panic_of_a_thread_is_the_simulations() {
        let caught =
            catch_unwind(|| simulated(async { run("worker", || panic!("as meant")).await }));
        assert!(caught.is_err());
    }

    #[test]
    fn a_thread_whose_run_is_over_unwinds() {
        let gone = Arc::new(AtomicU64::new(0));
        struct Guard(Arc<AtomicU64>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.store(1, Ordering::Release);
            }
        }
        let guard = Guard(Arc::clone(&gone));
        simulated(async {
            let thread = tokio::spawn(async move {
                run("worker", move || {
                    let _guard = guard;
                    pass(Duration::from_secs(3600));
                })
                .await
            });
            sleep(Duration::from_millis(1)).await;
            thread.abort();
            let _ = thread.await;
        });
        while gone.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
    }
}
