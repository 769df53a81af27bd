//! The parent: rounds of all sides in turn, medians, ratios, budgets, JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::sides::{Field, Side};
use crate::start;
use crate::{Work, cluster};

const ROUNDS: usize = 3;
const MILLISECONDS: u64 = 1000;

/// Where p11-kit's server can't take part: it refuses CKM_AES_GCM.
const IN_PROCESS: [Side; 4] = [Side::Strongroom, Side::Local, Side::Raw, Side::SoftHsm];

const ENCRYPTING: [Side; 4] = [Side::Strongroom, Side::Local, Side::SoftHsm, Side::SoftHsmServer];

/// The rows: what, with how many threads, against whom.
const ROWS: &[(Work, usize, &[Side])] = &[
    (Work::Rsa2048, 1, &Side::ALL),
    (Work::Rsa2048, 8, &Side::ALL),
    (Work::P256, 1, &Side::ALL),
    (Work::P256, 8, &Side::ALL),
    (Work::Gcm1K, 1, &IN_PROCESS),
    (Work::Gcm1K, 8, &IN_PROCESS),
    (Work::Gcm16K, 1, &IN_PROCESS),
    (Work::Gcm16K, 8, &IN_PROCESS),
    (Work::Ecb1K, 1, &ENCRYPTING),
    (Work::Ecb1K, 8, &ENCRYPTING),
    (Work::Empty, 1, &[Side::Strongroom, Side::Local, Side::SoftHsmServer]),
    (Work::DurableKey, 16, &[Side::Strongroom, Side::Local, Side::SoftHsm]),
];

/// Medians of one row and side.
#[derive(Clone, Copy)]
struct Figure {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
}

type Figures = BTreeMap<(&'static str, usize, &'static str), Figure>;

/// Runs the rows whose name holds one of `names`, all where there is none.
pub(crate) fn run(names: &[String]) -> Result<(), String> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| name.contains(n.as_str()));
    println!("{}", machine());
    println!(
        "each figure: median of {ROUNDS} rounds of {MILLISECONDS} ms, sides in turn within a round\n"
    );
    let mut rounds = Vec::new();
    let mut figures = Figures::new();
    if ROWS.iter().any(|(work, ..)| wanted(work.name())) {
        let field = Field::new()?;
        for (work, threads, sides) in ROWS.iter().filter(|(work, ..)| wanted(work.name())) {
            measure_row(&field, *work, *threads, sides, &mut rounds, &mut figures)?;
        }
    }
    let mut starts = Value::Null;
    if wanted("start") {
        let measured = start::measure(ROUNDS);
        println!("start, seconds (median of {ROUNDS}):");
        println!("  strongroom up to its end                       {:.3}", median(&measured.up));
        println!(
            "  pkcs11-tool signs, local HSM started on demand {:.3}",
            median(&measured.on_demand)
        );
        println!(
            "  pkcs11-tool signs, local HSM running           {:.3}",
            median(&measured.running)
        );
        starts = json!({
            "up": measured.up, "on_demand": measured.on_demand, "running": measured.running,
        });
        budget("up ≤ 5 s", median(&measured.up), |s| s <= 5.0);
        budget("on demand ≤ 0.3 s", median(&measured.on_demand), |s| s <= 0.3);
    }
    budgets(&figures);
    let cluster = cluster::run(wanted)?;
    let path = strongroom_tests::release().join("bench.json");
    let all = json!({ "machine": machine(), "rounds": rounds, "start_seconds": starts, "cluster": cluster });
    std::fs::write(&path, format!("{all:#}\n")).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("\nevery round: {}", path.display());
    Ok(())
}

fn measure_row(
    field: &Field,
    work: Work,
    threads: usize,
    sides: &[Side],
    rounds: &mut Vec<Value>,
    figures: &mut Figures,
) -> Result<(), String> {
    let mut measured: BTreeMap<&str, Vec<Figure>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for side in sides {
            let (figure, value) = one(field, *side, work, threads)?;
            measured.entry(side.name()).or_default().push(figure);
            rounds.push(json!({ "work": work.name(), "side": side.name(), "figures": value }));
        }
    }
    println!("{}, {threads} thread{}", work.name(), if threads == 1 { "" } else { "s" });
    println!("  {:<26} {:>12} {:>10} {:>10} {:>8}", "", "per second", "p50 µs", "p99 µs", "ratio");
    let ours = middle(&measured[Side::Strongroom.name()]);
    for side in sides {
        let figure = middle(&measured[side.name()]);
        println!(
            "  {:<26} {:>12.0} {:>10.1} {:>10.1} {:>8.2}",
            side.name(),
            figure.rate,
            figure.p50_us,
            figure.p99_us,
            ours.rate / figure.rate
        );
        figures.insert((work.name(), threads, side.name()), figure);
    }
    println!();
    Ok(())
}

fn one(field: &Field, side: Side, work: Work, threads: usize) -> Result<(Figure, Value), String> {
    let output = field
        .command(side, work, threads, MILLISECONDS)
        .output()
        .map_err(|e| format!("{}: {e}", side.name()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} at {}: {said}", side.name(), work.name()));
    }
    let value: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let number = |name: &str| value[name].as_f64().unwrap_or(0.0);
    let figure = Figure {
        rate: number("operations_per_second"),
        p50_us: number("p50_us"),
        p99_us: number("p99_us"),
    };
    Ok((figure, value))
}

/// Says of each budget of one HSM whether this run met it. The ratios are what counts; a noisy
/// machine moves all sides.
fn budgets(figures: &Figures) {
    let get = |work: Work, threads: usize, side: Side| {
        figures.get(&(work.name(), threads, side.name())).copied()
    };
    let between = |ours, work, threads, peer| {
        Some(get(work, threads, ours)?.rate / get(work, threads, peer)?.rate)
    };
    let ratio = |work, threads, peer| between(Side::Strongroom, work, threads, peer);
    let local = |work, threads, peer| between(Side::Local, work, threads, peer);
    let rows: [(&str, Option<f64>, f64); 6] = [
        ("RSA-2048, 8 threads: ≥ 0.90 of raw", ratio(Work::Rsa2048, 8, Side::Raw), 0.90),
        ("P-256, 8 threads: ≥ 0.45 of raw", ratio(Work::P256, 8, Side::Raw), 0.45),
        (
            "GCM 16 KiB, 8 threads, local HSM: ≥ 1 × SoftHSM2",
            local(Work::Gcm16K, 8, Side::SoftHsm),
            1.0,
        ),
        (
            "GCM 16 KiB, 8 threads, over TLS: ≥ 1 × SoftHSM2",
            ratio(Work::Gcm16K, 8, Side::SoftHsm),
            1.0,
        ),
        ("P-256, 8 threads: ≥ 5 × p11-kit server", ratio(Work::P256, 8, Side::SoftHsmServer), 5.0),
        (
            "GCM 1 KiB, 8 threads: ≥ 5 × p11-kit server",
            ratio(Work::Gcm1K, 8, Side::SoftHsmServer),
            5.0,
        ),
    ];
    for (what, ratio, least) in rows {
        if let Some(ratio) = ratio {
            budget(what, ratio, |r| r >= least);
        }
    }
    let one = get(Work::P256, 1, Side::Strongroom).zip(get(Work::P256, 1, Side::Raw)).zip(get(
        Work::Empty,
        1,
        Side::Strongroom,
    ));
    if let Some(((ours, raw), empty)) = one {
        let allowed = 3.0 * raw.p50_us + empty.p50_us;
        budget(
            "P-256, 1 thread: p50 ÷ (3 × raw + an empty round trip) ≤ 1",
            ours.p50_us / allowed,
            |r| r <= 1.0,
        );
    }
}

pub(crate) fn budget(what: &str, figure: f64, met: impl Fn(f64) -> bool) {
    println!("budget {what}: {figure:.2} {}", if met(figure) { "met" } else { "MISSED" });
}

fn middle(figures: &[Figure]) -> Figure {
    let of = |f: fn(&Figure) -> f64| median(&figures.iter().map(f).collect::<Vec<_>>());
    Figure { rate: of(|f| f.rate), p50_us: of(|f| f.p50_us), p99_us: of(|f| f.p99_us) }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processor, cores and kernel of this machine.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()))
        .unwrap_or("unknown processor")
        .to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}
