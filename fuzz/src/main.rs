//! `strongroom-fuzz [--seconds N] [--seed N] [TARGET…]`: mutates each target's corpus for N seconds.
//! `strongroom-fuzz --write-seeds FOLDER`: writes every corpus out, for libFuzzer.
//!
//! A case that panics is kept in `fuzz/artifacts/TARGET` before the process ends, so that it can be
//! replayed, minimised and added to the corpus.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use strongroom_fuzz::{Mutator, TARGETS, Target, corpus};

fn main() -> ExitCode {
    let mut seconds = 60;
    let mut seed =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.subsec_nanos().into());
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse::<u64>().ok());
        match argument.as_str() {
            "--seconds" => seconds = number().unwrap_or(seconds),
            "--seed" => seed = number().unwrap_or(seed),
            "--write-seeds" => {
                let folder = arguments.next().unwrap_or_else(|| "seeds".into());
                return write_seeds(Path::new(&folder));
            }
            _ => names.push(argument),
        }
    }
    let unknown = names.iter().find(|n| !TARGETS.iter().any(|t| t.name == n.as_str()));
    if let Some(name) = unknown {
        let known: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
        eprintln!("there is no target {name:?}; there are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let chosen = TARGETS.iter().filter(|t| names.is_empty() || names.iter().any(|n| n == t.name));
    for target in chosen {
        if let Err(path) = fuzz(target, Duration::from_secs(seconds), seed) {
            eprintln!("{}: a case panics; kept as {path}", target.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn fuzz(target: &Target, time: Duration, seed: u64) -> Result<(), String> {
    let seeds = corpus(target);
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    let mut mutator = Mutator::new(seed);
    let begin = Instant::now();
    let mut cases = 0u64;
    while begin.elapsed() < time {
        let case = mutator.case(&seeds);
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&case))).is_err() {
            return Err(keep(target, &case));
        }
        cases += 1;
    }
    println!("{:<24} {cases:>10} cases, seed {seed}: no panic", target.name);
    Ok(())
}

fn write_seeds(folder: &Path) -> ExitCode {
    for target in TARGETS {
        let folder = folder.join(target.name);
        let written = std::fs::create_dir_all(&folder).and_then(|()| {
            corpus(target)
                .iter()
                .enumerate()
                .try_for_each(|(n, seed)| std::fs::write(folder.join(format!("{n:03}")), seed))
        });
        if let Err(e) = written {
            eprintln!("{}: {e}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn keep(target: &Target, case: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target.name);
    let path = folder.join("case");
    match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, case)) {
        Ok(()) => path.display().to_string(),
        Err(e) => format!("{case:02x?} ({e})"),
    }
}
