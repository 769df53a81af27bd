//! Commands that build the product and then run something with it.

use std::process::Command;

use crate::build;
use crate::debian;
use crate::run::{Result, cargo, release, root, run};
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
    debian::ensure()?;
    if filters.is_empty() {
        verify::verify()?;
    }
    build::all()?;
    let full = if full { "1" } else { "0" };
    run(cargo(&["test", "--release"]).env("STRONGROOM_FULL", full).arg("--").args(&filters))?;
    run(build::client(&["test", "--release", "-p", "strongroom-pkcs11"])
        .env("STRONGROOM_FULL", full)
        .arg("--")
        .args(&filters))
}

/// The benchmarks, in one process that starts what it compares.
pub(crate) fn bench(names: &[String]) -> Result {
    debian::ensure()?;
    build::all()?;
    run(Command::new(release().join("strongroom-bench")).args(names).current_dir(root()))
}

/// The fuzz targets, for longer than a test run can.
pub(crate) fn fuzz(arguments: &[String]) -> Result {
    build::all()?;
    run(Command::new(release().join("strongroom-fuzz")).args(arguments).current_dir(root()))
}
