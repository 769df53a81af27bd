//! A cluster's figures: signatures a second from one, two and three HSMs, durable keys, the stalls of
//! applications while HSMs are killed, how long an HSM takes to join, and what 28 of them need.
//!
//! All HSMs and the application share this machine's cores, so more HSMs bring no more signatures than
//! there are cores: what shows is what a further HSM costs, and how the load is spread.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strongroom_sim::throughput;
use strongroom_tests::{Load, Region, Report, kill_hard, logged_in};

use crate::Work;
use crate::module::LoggedIn;
use crate::report::{budget, median};

const ROUNDS: usize = 3;
const MILLISECONDS: u64 = 2000;
const THREADS: usize = 16;
/// Threads of the simulated programs: enough for each of 28 HSMs to have work.
const SIMULATED_THREADS: usize = 168;
/// Kills of the failover run, every second one of the leader.
const KILLS: usize = 12;
/// Of each thread between its rounds, where the machine is to have room.
const REST: Duration = Duration::from_millis(2);
/// Keys that a new HSM has to get.
const KEYS: usize = 100_000;
/// The most that a cluster may have.
const HSMS_MAX: usize = 28;

/// One part: what it measured, as JSON.
type Part = fn() -> Result<Value, String>;

/// The parts, by the names that they are asked for by.
const PARTS: [(&str, Part); 5] = [
    ("cluster-scale", scale),
    ("cluster-durable-keys", durable_keys),
    ("cluster-failover", failover),
    ("cluster-join", join),
    ("cluster-28-hsms", many),
];

/// The parts that are wanted; what was measured, as JSON by part.
///
/// # Errors
/// Where a part does not run.
pub(crate) fn run(wanted: impl Fn(&str) -> bool) -> Result<Value, String> {
    let parts = PARTS.iter().filter(|(name, _)| wanted(name));
    let measured = parts.map(|(name, part)| Ok(((*name).to_owned(), part()?)));
    Ok(Value::Object(measured.collect::<Result<_, String>>()?))
}

/// Signatures a second, each HSM on a core of its own as far as there are any.
fn scale() -> Result<Value, String> {
    println!(
        "signatures a second, {THREADS} threads; HSM n pinned to core n, the application to none"
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let regions: Vec<Region> = (1..=3).map(|n| Region::cluster("bench-scale", n)).collect();
    for region in &regions {
        for (number, hsm) in region.hsms().iter().enumerate() {
            let process = hsm["process-id"].as_u64().unwrap_or_default().to_string();
            let core = (number % cores).to_string();
            let pinned = Command::new("taskset").args(["-a", "-p", "-c", &core, &process]).output();
            pinned.map_err(|e| format!("taskset: {e}"))?;
        }
    }
    let mut rows = Vec::new();
    for work in [Work::Rsa2048, Work::P256] {
        let mut rates = vec![Vec::new(); regions.len() + 1];
        for _ in 0..ROUNDS {
            for (region, rates) in regions.iter().zip(&mut rates) {
                rates.push(rate(region, work, THREADS)?.0);
            }
            rates[regions.len()].push(raw_rate(work)?);
        }
        let raw = median(&rates[regions.len()]);
        for (n, rates) in rates[..regions.len()].iter().enumerate() {
            let rate = median(rates);
            println!(
                "  {:<16} {} HSM{} {rate:>10.0}   {:.2} of aws-lc alone on all cores ({raw:.0})",
                work.name(),
                n + 1,
                if n == 0 { " " } else { "s" },
                rate / raw
            );
            rows.push(
                json!({ "work": work.name(), "hsms": n + 1, "per_second": rates, "raw": raw }),
            );
        }
    }
    let rows = rows.into();
    let simulated = simulated(&rows);
    Ok(json!({ "measured": rows, "simulated": simulated }))
}

/// What clusters of up to 28 HSMs would give, each on a machine of its own as fast as this one: by
/// simulation, from what one HSM was measured to need for a signature.
fn simulated(scale: &Value) -> Value {
    let mut all = Vec::new();
    for row in scale.as_array().into_iter().flatten().filter(|row| row["hsms"] == 1) {
        let rates: Vec<f64> =
            row["per_second"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let service = Duration::from_secs_f64(1.0 / median(&rates).max(1.0));
        let work = row["work"].as_str().unwrap_or_default();
        println!(
            "SIMULATED, not measured: {work}, {SIMULATED_THREADS} threads in {} zones, {} µs a \
             signature as measured of one HSM",
            throughput::ZONES,
            service.as_micros()
        );
        for row in throughput::simulate_all(service, SIMULATED_THREADS) {
            println!("{row}");
            all.push(json!({
                "work": work, "hsms": row.hsms, "simulated_per_second": row.per_second,
                "busiest_over_idlest": row.spread,
            }));
        }
    }
    all.into()
}

/// Keys a second from three HSMs, and how many fsyncs each cost on all of them together.
fn durable_keys() -> Result<Value, String> {
    let region = Region::cluster("bench-durable", 3);
    let syncs = |region: &Region| -> u64 {
        region.hsms().iter().filter_map(|hsm| hsm["transactions"].as_u64()).sum()
    };
    let mut rates = Vec::new();
    let mut syncs_per_key = Vec::new();
    for _ in 0..ROUNDS {
        let before = syncs(&region);
        let (rate, keys) = rate(&region, Work::DurableKey, THREADS)?;
        rates.push(rate);
        #[expect(clippy::cast_precision_loss)]
        syncs_per_key.push((syncs(&region) - before) as f64 / keys);
    }
    println!(
        "durable AES keys, 3 HSMs, {THREADS} threads: {:.0}/s, {:.2} fsyncs a key on all three together",
        median(&rates),
        median(&syncs_per_key)
    );
    budget("durable AES keys, 3 HSMs: ≥ 1,000/s", median(&rates), |rate| rate >= 1000.0);
    Ok(json!({ "per_second": rates, "fsyncs_per_key": syncs_per_key }))
}

/// The longest calls while HSMs are killed one after another: of applications that take all that the
/// machine has, where a call also waits for its turn on a core, and of ones that leave it room.
fn failover() -> Result<Value, String> {
    println!("kill -9 of {KILLS} HSMs, one after another; the machine saturated:");
    let saturated = stalls(&kills(Duration::ZERO)?);
    println!("the same, each thread resting for {REST:?} between its rounds:");
    let resting = kills(REST)?;
    let stalls = stalls(&resting);
    let uses = ["sign", "sign for a session"].map(|kind| millis(resting.longest(kind)));
    // A search that must not be stale asks the leader, as a change does.
    let changes = ["make", "delete", "find"].map(|kind| millis(resting.longest(kind)));
    budget("longest stall of key use ≤ 100 ms", uses.into_iter().fold(0.0, f64::max), |ms| {
        ms <= 100.0
    });
    budget(
        "longest stall of a change ≤ 1,000 ms",
        changes.into_iter().fold(0.0, f64::max),
        |ms| ms <= 1000.0,
    );
    Ok(json!({ "kills": KILLS, "saturated": saturated, "resting": stalls }))
}

/// Runs a load on a new cluster while HSMs are killed one after another, every second one the leader.
fn kills(rest: Duration) -> Result<Report, String> {
    let region = Region::cluster("bench-failover", 3);
    let module = logged_in(&region.patient_config(), region.variable("CLOUDHSM_PIN"));
    let report = Load::on(&module).resting(rest).run(|load| {
        for kill in 0..KILLS {
            let victim = if kill % 2 == 0 { region.leader() } else { kill % 3 };
            kill_hard(region.process_of(victim));
            load.everybody_goes_on();
            region.start();
            region.wait_until_equal();
        }
    });
    module.finalize().map_err(|e| e.to_string())?;
    Ok(report)
}

/// Prints how long calls took.
fn stalls(report: &Report) -> Value {
    let mut kinds = Vec::new();
    for (kind, times) in &report.times {
        let histogram = histogram(times);
        println!("  {kind:<18} {:>8} calls  {}", times.len(), shown(&histogram));
        kinds.push(json!({
            "call": kind, "calls": times.len(), "longest_ms": millis(report.longest(kind)),
            "histogram": histogram,
        }));
    }
    let failed = report.failed_uses.len() + report.failed_changes.len();
    println!("  failed calls: {failed}");
    json!({ "failed": failed, "calls": kinds })
}

/// How long a fourth HSM takes to have all keys and to serve.
fn join() -> Result<Value, String> {
    let mut region = Region::cluster("bench-join", 3);
    fill(&region, KEYS)?;
    region.wait_until_equal();
    let begun = Instant::now();
    region.resize(4);
    region.wait_until_equal();
    let took = begun.elapsed().as_secs_f64();
    println!(
        "a fourth HSM joins a cluster with {KEYS} keys: {took:.1} s until it is equal and serves"
    );
    Ok(json!({ "keys": KEYS, "seconds": took }))
}

/// A cluster of the largest size on this machine.
fn many() -> Result<Value, String> {
    let begun = Instant::now();
    let region = Region::cluster("bench-28", HSMS_MAX);
    let took = begun.elapsed().as_secs_f64();
    region.wait_until_equal();
    let hsms = region.hsms();
    let memory: Vec<u64> = hsms.iter().filter_map(|hsm| hsm["memory-bytes"].as_u64()).collect();
    let mib = memory.iter().sum::<u64>() / (1 << 20);
    println!("{HSMS_MAX} HSMs: up in {took:.1} s; {mib} MiB of memory together");
    Ok(json!({ "seconds": took, "memory_bytes": memory }))
}

/// Makes so many AES token keys.
fn fill(region: &Region, keys: usize) -> Result<(), String> {
    // A process of its own: the module reads its environment once.
    let output = Command::new(std::env::current_exe().map_err(|e| e.to_string())?)
        .envs(&region.environment)
        .args(["--fill", &keys.to_string()])
        .arg(region.variable("STRONGROOM_PKCS11"))
        .arg(region.variable("CLOUDHSM_PIN"))
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The child of [`fill`]. Arguments: KEYS MODULE PIN.
///
/// # Errors
/// Where a key is not made.
pub(crate) fn fill_child(arguments: &[String]) -> Result<(), String> {
    let [keys, module, pin] = arguments else {
        return Err("--fill KEYS MODULE PIN".into());
    };
    let keys: usize = keys.parse().map_err(|e| format!("{keys}: {e}"))?;
    let module = LoggedIn::open(Path::new(module), pin)?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut step = module.step(Work::DurableKey, 0)?;
                    (0..keys / THREADS).try_for_each(|_| step())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|w| w.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })?;
    module.close()
}

/// Operations a second, and how many there were.
fn rate(region: &Region, work: Work, threads: usize) -> Result<(f64, f64), String> {
    let module = region.variable("STRONGROOM_PKCS11");
    let pin = region.variable("CLOUDHSM_PIN");
    measured(Command::new(me()?).envs(&region.environment), work, threads, &[module, pin])
}

fn raw_rate(work: Work) -> Result<f64, String> {
    Ok(measured(&mut Command::new(me()?), work, THREADS, &["raw"])?.0)
}

fn me() -> Result<std::path::PathBuf, String> {
    std::env::current_exe().map_err(|e| e.to_string())
}

fn measured(
    command: &mut Command,
    work: Work,
    threads: usize,
    side: &[&str],
) -> Result<(f64, f64), String> {
    let output = command
        .args(["--measure", work.name(), &threads.to_string(), &MILLISECONDS.to_string()])
        .args(side)
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let value: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let rate = value["operations_per_second"].as_f64().unwrap_or_default();
    Ok((rate, rate * Duration::from_millis(MILLISECONDS).as_secs_f64()))
}

/// How many calls took up to so many milliseconds; the last count is of all that took longer.
fn histogram(times: &[Duration]) -> Vec<(u64, usize)> {
    const BOUNDS: [u64; 9] = [1, 5, 20, 50, 100, 200, 500, 1000, u64::MAX];
    let mut lower = 0;
    BOUNDS
        .into_iter()
        .map(|bound| {
            let within = |time: &&Duration| {
                let ms = time.as_micros();
                ms > u128::from(lower) * 1000 && ms <= u128::from(bound) * 1000
            };
            let count = times.iter().filter(within).count();
            lower = bound;
            (bound, count)
        })
        .collect()
}

fn shown(histogram: &[(u64, usize)]) -> String {
    let parts = histogram.iter().filter(|(_, count)| *count > 0).map(|(bound, count)| {
        if *bound == u64::MAX {
            format!("longer: {count}")
        } else {
            format!("≤{bound} ms: {count}")
        }
    });
    parts.collect::<Vec<_>>().join("  ")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
