//! Commands that build the product and then run something with it.

use std::process::Command;

use crate::build;
use crate::debian;
use crate::run::{Result, answers, cargo, release, root, run};
use crate::verify;

/// Builds, then `strongroom up` with the same flags.
pub(crate) fn up(flags: &[String]) -> Result {
    build::all()?;
    let program = release().join("strongroom");
    let status = Command::new(&program)
        .arg("up")
        .args(flags)
        .status()
        .map_err(|e| format!("{}: {e}", program.display()))?;
    if status.success() {
        Ok(())
    } else {
        Err("strongroom up failed; its last lines say why".into())
    }
}

/// Every test. Short forms by default; `--full` runs the long ones too.
pub(crate) fn test(arguments: &[String]) -> Result {
    let full = arguments.iter().any(|a| a == "--full");
    let filters: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|a| *a != "--full").collect();
    debian::ensure(full)?;
    if filters.is_empty() {
        verify::verify()?;
    }
    build::all()?;
    let full = if full { "1" } else { "0" };
    run(cargo(&["test", "--release"]).env("STRONGROOM_FULL", full).arg("--").args(&filters))?;
    // By itself: virtual time is a feature of tokio's that what ships is built without.
    run(cargo(&["test", "--release", "-p", "strongroom-sim"]).arg("--").args(&filters))?;
    run(build::client(&["test", "--release", "-p", "strongroom-pkcs11"])
        .env("STRONGROOM_FULL", full)
        .arg("--")
        .args(&filters))
}

/// The benchmarks, in one process that starts what it compares.
pub(crate) fn bench(names: &[String]) -> Result {
    debian::ensure(false)?;
    build::all()?;
    run(Command::new(release().join("strongroom-bench")).args(names).current_dir(root()))
}

/// What `rustc` needs to count coverage for libFuzzer, on the stable toolchain.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions";

/// A million random calls of the module, held against the tests' reference model of it.
fn model() -> Result {
    build::all()?;
    let steps = std::env::var("STRONGROOM_MODEL_STEPS").unwrap_or_else(|_| "1000000".into());
    run(cargo(&["test", "--release", "-p", "strongroom-tests", "--test", "model"])
        .args(["--", "--nocapture"])
        .env("STRONGROOM_MODEL_STEPS", steps))
}

/// The fuzz targets, for longer than a test run can: `[--seconds N] [--blind] [TARGET…]`.
///
/// Guided by coverage where a C++ compiler is there to build libFuzzer, else (or with `--blind`) by
/// the same seeded mutations as in the tests.
pub(crate) fn fuzz(arguments: &[String]) -> Result {
    let blind = arguments.iter().any(|a| a == "--blind") || !answers("c++", &["--version"]);
    let rest: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|a| *a != "--blind").collect();
    if rest == ["model"] {
        return model();
    }
    run(&mut cargo(&["build", "--release", "-p", "strongroom-fuzz"]))?;
    let program = release().join("strongroom-fuzz");
    if blind {
        return run(Command::new(program).args(rest).current_dir(root()));
    }
    let mut seconds = "60";
    let mut names = Vec::new();
    let mut words = rest.into_iter();
    while let Some(word) = words.next() {
        if word == "--seconds" {
            seconds = words.next().ok_or("--seconds wants a number")?;
        } else {
            names.push(word.to_owned());
        }
    }
    let folder = root().join("target/fuzz");
    let triple = host_triple()?;
    // With --target the flags hold for the fuzz program alone, not for build scripts.
    run(cargo(&["build", "--release", "-p", "strongroom-fuzz", "--features", "libfuzzer"])
        .args(["--bin", "strongroom-libfuzzer", "--target", &triple, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE))?;
    let fuzzer = folder.join(triple).join("release/strongroom-libfuzzer");
    let seeds = folder.join("seeds");
    run(Command::new(program).arg("--write-seeds").arg(&seeds))?;
    if names.is_empty() {
        names = folders(&seeds)?;
    }
    for name in names {
        // New cases go to target/fuzz/found; what is worth keeping is copied to fuzz/corpus by hand.
        let found = folder.join("found").join(&name);
        let artifacts = root().join("fuzz/artifacts").join(&name);
        for wanted in [&found, &artifacts] {
            std::fs::create_dir_all(wanted).map_err(|e| format!("{}: {e}", wanted.display()))?;
        }
        run(Command::new(&fuzzer)
            .arg(&found)
            .arg(seeds.join(&name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-verbosity=0"])
            .env("STRONGROOM_FUZZ_TARGET", &name))?;
    }
    Ok(())
}

/// The triple that rustc builds for by itself.
fn host_triple() -> Result<String> {
    let output =
        Command::new("rustc").arg("-vV").output().map_err(|e| format!("rustc -vV: {e}"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .ok_or_else(|| "rustc -vV names no host".into())
}

fn folders(path: &std::path::Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
