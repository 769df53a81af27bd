//! The child: one side, one kind of work, some threads, a fixed time.

use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::Work;
use crate::module::LoggedIn;
use crate::raw;

/// What a thread does again and again.
pub(crate) type Step<'a> = Box<dyn FnMut() -> Result<(), String> + Send + 'a>;

/// Arguments: WORK THREADS MILLISECONDS `raw` | MODULE PIN.
pub(crate) fn child(arguments: &[String]) -> Result<(), String> {
    let [work, threads, milliseconds, side @ ..] = arguments else {
        return Err("--measure WORK THREADS MILLISECONDS raw|MODULE [PIN]".into());
    };
    let work = Work::find(work).ok_or("no such work")?;
    let threads: usize = threads.parse().map_err(|e| format!("{threads}: {e}"))?;
    let time = Duration::from_millis(milliseconds.parse().map_err(|e| format!("{e}"))?);
    let latencies = match side {
        [raw] if raw == "raw" => {
            let key = raw::Key::new(work)?;
            measure(threads, time, || key.step())?
        }
        [module, pin] => {
            let module = LoggedIn::open(Path::new(module), pin)?;
            let key = module.key(work)?;
            let result = measure(threads, time, || module.step(work, key));
            module.close()?;
            result?
        }
        _ => return Err("a side is `raw`, or a module and a PIN".into()),
    };
    println!("{}", summary(latencies, threads, time));
    Ok(())
}

/// Runs `threads` steps side by side and gives each call's time in nanoseconds.
fn measure<'a>(
    threads: usize,
    time: Duration,
    step: impl Fn() -> Result<Step<'a>, String> + Sync,
) -> Result<Vec<u64>, String> {
    let barrier = Barrier::new(threads);
    let per_thread: Vec<Result<Vec<u64>, String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut step = step();
                    // Warm up before the others are waited for: connections, caches, first use.
                    let warmed = match &mut step {
                        Ok(step) => (0..20).try_for_each(|_| step()),
                        Err(e) => Err(e.clone()),
                    };
                    barrier.wait();
                    warmed?;
                    let mut step = step?;
                    let mut latencies = Vec::with_capacity(1 << 18);
                    let begin = Instant::now();
                    let mut last = begin;
                    while last - begin < time {
                        step()?;
                        let now = Instant::now();
                        latencies.push(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX));
                        last = now;
                    }
                    Ok(latencies)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|w| w.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    });
    let mut all = Vec::new();
    for latencies in per_thread {
        all.extend(latencies?);
    }
    Ok(all)
}

/// One line of JSON: operations per second over all threads, and percentiles.
fn summary(mut latencies: Vec<u64>, threads: usize, time: Duration) -> serde_json::Value {
    latencies.sort_unstable();
    let at = |share: f64| -> f64 {
        if latencies.is_empty() {
            return 0.0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let index = (share * (latencies.len() - 1) as f64) as usize;
        #[expect(clippy::cast_precision_loss)]
        let microseconds = latencies[index] as f64 / 1000.0;
        microseconds
    };
    #[expect(clippy::cast_precision_loss)]
    let rate = latencies.len() as f64 / time.as_secs_f64();
    serde_json::json!({
        "threads": threads,
        "operations_per_second": rate,
        "p50_us": at(0.50),
        "p99_us": at(0.99),
    })
}
