//! `cloudhsm-cli` and the configure tools.
//!
//! In: a command line, or lines of an interactive session. Out: one JSON object for each command on
//! standard output, as AWS CloudHSM's CLI prints it, and an exit code of 0 or 1. Everything that
//! matters is decided by the HSM: this crate only asks and shows. It must never show, log or keep a
//! password, and never see private key material.
//!
//! - `grammar`: the commands, in one place: parsing and help follow.
//! - `attributes`: the table of key attributes: JSON, `--attributes` and filters follow.
//! - `filter`, `key`: which keys, and how one is shown.
//! - `commands`: what each command does, over the thin `backend`.
//! - `program`, `interactive`, `terminal`, `words`: the two modes, and where input comes from.
//! - `key_file`, `der`: the files of `key generate-file`.
//! - `configure`: `configure-cli`, `configure-pkcs11`, …

#![forbid(unsafe_code)]

mod attributes;
mod backend;
mod commands;
mod configure;
mod der;
mod error;
mod filter;
mod grammar;
mod interactive;
mod key;
mod key_file;
mod output;
mod program;
mod terminal;
#[cfg(test)]
mod tests;
mod words;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// What the HSM's audit log calls this program.
pub(crate) const CLIENT_NAME: &str = concat!("cloudhsm-cli ", env!("CARGO_PKG_VERSION"));

/// The programs of this crate: what the binary answers to by its own name or as a subcommand.
pub const PROGRAMS: &[&str] =
    &["cloudhsm-cli", "configure-cli", "configure-pkcs11", "configure-jce"];

/// Runs the program that `argv[0]` names, with or without a folder in front.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let name = argv.first().and_then(|name| Path::new(name).file_name()).unwrap_or_default();
    let Some(program) = PROGRAMS.iter().find(|program| name == **program) else {
        eprintln!("{}: not one of {}", name.display(), PROGRAMS.join(", "));
        return ExitCode::FAILURE;
    };
    // Passwords pass through: no core dump may keep one. Where the system refuses, go on.
    let _ = strongroom_crypto::memory::harden_process();
    match *program {
        "cloudhsm-cli" => program::main(argv),
        configure => configure::main(configure, argv),
    }
}
