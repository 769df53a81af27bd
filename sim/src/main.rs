//! Runs seeds. `cargo xtask sim` starts one of these for each core. `throughput` models how many signatures
//! a second clusters of up to 28 HSMs give.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use strongroom_sim::mutant::{self, MUTANTS, Mutant};
use strongroom_sim::scenario::{self, SCENARIOS, Scenario};
use strongroom_sim::throughput;

/// What the command line says.
struct Arguments {
    scenarios: Vec<Scenario>,
    from: u64,
    /// The first that is not run any more.
    until: Option<u64>,
    seeds: u64,
    /// Every so many-th seed is run.
    step: u64,
    /// Print each line of the trace.
    trace: bool,
    /// Run each seed twice and compare the traces.
    twice: bool,
    /// Break this on purpose.
    mutant: Option<Mutant>,
    /// Break each thing in turn, and see that it is noticed.
    mutants: bool,
}

/// Of more seeds than this only those that fail are shown.
const SHOWN_SEEDS_MAX: u64 = 20;

/// Within so many seeds it must be noticed that changes are acknowledged before a majority has them.
const EARLY_ACK_SEEDS: u64 = 20;

const USAGE: &str = "strongroom-sim [--seeds N] [--from S] [--until S] [--step N] [--scenario NAME] [--trace] [--twice] \
     [--mutant NAME] [--mutants]
strongroom-sim throughput --service-us MICROSECONDS --threads N";

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        scenarios: SCENARIOS.iter().filter(|s| s.name != "leader-loss").copied().collect(),
        seeds: 1,
        from: 1,
        until: None,
        step: 1,
        trace: false,
        twice: false,
        mutant: None,
        mutants: false,
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match argument.as_str() {
            "--seeds" => parsed.seeds = number(value()?)?,
            "--from" => parsed.from = number(value()?)?,
            "--until" => parsed.until = Some(number(value()?)?),
            "--step" => parsed.step = number(value()?)?,
            "--scenario" => {
                let name = value()?;
                let scenario = scenario::named(&name).ok_or(format!("no scenario {name}"))?;
                parsed.scenarios = vec![scenario];
            }
            "--mutant" => {
                let name = value()?;
                parsed.mutant = Some(mutant::named(&name).ok_or(format!("no mutant {name}"))?);
            }
            "--mutants" => parsed.mutants = true,
            "--trace" => parsed.trace = true,
            "--twice" => parsed.twice = true,
            _ => return Err(format!("unknown: {argument}\n{USAGE}")),
        }
    }
    Ok(parsed)
}

/// `--service-us X --threads T`: a table of what is simulated.
fn model(given: &[String]) -> Result<(), String> {
    let (mut service_us, mut threads) = (0_u64, 0_usize);
    for pair in given.chunks(2) {
        let [name, value] = pair else { return Err(USAGE.to_owned()) };
        let wrong = |_| format!("{value} is no number");
        match name.as_str() {
            "--service-us" => service_us = value.parse().map_err(wrong)?,
            "--threads" => threads = value.parse().map_err(wrong)?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    if service_us == 0 || threads == 0 {
        return Err(USAGE.to_owned());
    }
    println!("simulated, not measured: {service_us} µs a signature, {threads} threads, 3 zones");
    for row in throughput::simulate_all(Duration::from_micros(service_us), threads) {
        println!("{row}");
    }
    Ok(())
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.first().is_some_and(|first| first == "throughput") {
        return match model(&given[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.mutants {
        return mutants();
    }
    let mut failed = 0_u64;
    let mut ran = 0_u64;
    let began = Instant::now();
    let mut seed = arguments.from;
    let until = arguments.until.unwrap_or(arguments.from + arguments.seeds);
    while seed < until {
        // A seed runs one scenario, unless one was asked for: in turn.
        let count = arguments.scenarios.len() as u64;
        let at = usize::try_from(seed % count).unwrap_or(0);
        let scenario = arguments.scenarios[at];
        failed += u64::from(!run(scenario, seed, &arguments));
        ran += 1;
        seed += arguments.step;
    }
    println!("{ran} seeds in {:.1} s, {failed} failed", began.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Breaks each thing in turn: all must be noticed within their seeds. A build that acknowledges early is
/// broken as it stands, and has that to notice alone.
fn mutants() -> ExitCode {
    let noticed = if cfg!(feature = "early-ack") {
        notices("EarlyAck", None, "network", EARLY_ACK_SEEDS)
    } else {
        let mut all = true;
        for (mutant, scenario, seeds) in MUTANTS {
            all &= notices(&format!("{mutant:?}"), Some(*mutant), scenario, *seeds);
        }
        all
    };
    if noticed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn notices(name: &str, mutant: Option<Mutant>, scenario: &str, seeds: u64) -> bool {
    match mutant::noticed(mutant, scenario, 1, seeds) {
        Some((seed, problem)) => {
            let problem = problem.lines().next().unwrap_or_default();
            println!("{name} in {scenario}: noticed with seed {seed} of {seeds}: {problem}");
            true
        }
        None => {
            println!("{name} in {scenario}: NOT NOTICED in {seeds} seeds");
            false
        }
    }
}

fn run(scenario: Scenario, seed: u64, arguments: &Arguments) -> bool {
    let began = Instant::now();
    let mut report = scenario.run(seed, arguments.mutant, arguments.trace);
    if arguments.twice {
        let again = scenario.run(seed, arguments.mutant, false);
        if again.trace != report.trace {
            report.problems.push(format!(
                "the same seed gave another trace: {:?} and {:?}",
                report.trace, again.trace
            ));
        }
    }
    if arguments.seeds > SHOWN_SEEDS_MAX && report.problems.is_empty() {
        return true;
    }
    let totals = report.totals;
    println!(
        "{} seed {seed}: trace {} ({} lines), {} changes, {} uses, {} given up, slowest change \
         {} ms, use {} ms; {:.2} s",
        scenario.name,
        &report.trace.0[..16],
        report.trace.1,
        totals.changes,
        totals.uses,
        totals.given_up,
        totals.slowest_change_ms,
        totals.slowest_use_ms,
        began.elapsed().as_secs_f64(),
    );
    if let (Some(median), Some(longest)) =
        (report.stalls_ms.get(report.stalls_ms.len() / 2), report.stalls_ms.last())
    {
        println!("    changes stood still: median {median} ms, longest {longest} ms");
    }
    if report.problems.is_empty() {
        return true;
    }
    println!("{}", report.tail);
    for problem in &report.problems {
        println!("PROBLEM {problem}");
    }
    println!("again: cargo xtask sim --scenario {} --from {seed} --seeds 1", scenario.name);
    false
}
