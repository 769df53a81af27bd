//! `verify` writes nothing; `fix` is its writing twin.

use std::process::Command;

use crate::build::client;
use crate::run::{Result, answers, cargo, root, run};
use crate::tidy;

/// The lint run of the workspace and of the client libraries' build.
const CLIPPY: &[&str] = &["clippy", "--release", "--all-targets"];
const CLIPPY_CLIENT: &[&str] = &["clippy", "--release", "--all-targets", "-p", "strongroom-pkcs11"];

/// Format, lints, dependencies, docs, tidiness.
pub(crate) fn verify() -> Result {
    tidy::check()?;
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(cargo(CLIPPY).args(["--", "-D", "warnings"]))?;
    run(cargo(&["clippy", "-p", "xtask", "--", "-D", "warnings"]).env_remove("RUSTFLAGS"))?;
    run(client(CLIPPY_CLIENT).args(["--", "-D", "warnings"]))?;
    run(cargo(&["doc", "--release", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))?;
    dependencies()
}

/// What of that can be mended by a machine.
pub(crate) fn fix() -> Result {
    run(&mut cargo(&["fmt", "--all"]))?;
    run(cargo(CLIPPY).args(["--fix", "--allow-dirty", "--allow-staged"]))?;
    run(client(CLIPPY_CLIENT).args(["--fix", "--allow-dirty", "--allow-staged"]))
}

/// Licences, bans and sources of every dependency. Advisories need a database from the network, so
/// they are checked where `STRONGROOM_ADVISORIES` is set, and the run says which it was.
fn dependencies() -> Result {
    if !answers("cargo", &["deny", "--version"]) {
        eprintln!("xtask: cargo-deny is not installed, so dependencies were NOT checked;");
        eprintln!("       `cargo install --locked cargo-deny` brings it");
        return Ok(());
    }
    let mut checks = vec!["deny", "--log-level", "error", "check", "bans", "licenses", "sources"];
    if std::env::var_os("STRONGROOM_ADVISORIES").is_some() {
        checks.push("advisories");
    } else {
        eprintln!(
            "xtask: advisories are not checked (set STRONGROOM_ADVISORIES where the database can be had)"
        );
    }
    run(Command::new("cargo").args(checks).current_dir(root()))
}
