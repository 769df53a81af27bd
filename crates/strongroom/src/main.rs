//! The one binary of Strongroom.
//!
//! In: a command line. Called as `cloudhsm-cli` or `configure-…` (a link to this file, or the first
//! argument), it is that program; else it runs an HSM (`hsm`) or a region of HSMs on this machine
//! (`up`, `down`, `status`, `env`, `leave`, `zeroise`, `replace`, `recover`). It must keep no secret
//! but in the region folder's files of mode 0600, and take none from arguments.

#![forbid(unsafe_code)]

mod administration;
mod arguments;
mod client_config;
mod down;
mod env;
mod error;
mod first_use;
mod first_users;
mod fleet;
mod foreground;
mod hsm;
mod leave;
mod log;
mod members;
mod owner;
mod places;
mod private_folder;
mod process;
mod recover;
mod region;
mod replace;
mod signature;
mod status;
mod steps;
mod up;
mod zeroise;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let mut argv: Vec<OsString> = std::env::args_os().collect();
    let is_tool = |name: &OsString| {
        let name = Path::new(name).file_name().unwrap_or_default();
        strongroom_cli::PROGRAMS.iter().any(|program| name == *program)
    };
    if argv.first().is_some_and(is_tool) {
        return strongroom_cli::main(argv);
    }
    if argv.get(1).is_some_and(is_tool) {
        argv.remove(0);
        return strongroom_cli::main(argv);
    }
    let command = Arguments::parse_from(argv).command;
    log::start(&command);
    let result = match command {
        Command::Up(options) => up::run(&options),
        Command::Down(options) => down::run(&options.region()),
        Command::Status { region, json, digest } => {
            return status::run(&region.region(), json, digest);
        }
        Command::Replace { hsm_id, region } => replace::run(&region.region(), &hsm_id),
        Command::Leave { hsm_id, region } => leave::run(&region.region(), &hsm_id),
        Command::Zeroise { hsm_id, region, force } => {
            zeroise::run(&region.region(), &hsm_id, force)
        }
        Command::Recover(options) => recover::run(&options),
        Command::Env { region, json } => env::run(&region.region(), json),
        Command::Hsm(options) => hsm::run(&options),
        Command::FirstUse { dir } => first_use::run(&region::Region::at(&dir)),
        Command::Version => {
            steps::say(concat!(
                "strongroom ",
                env!("CARGO_PKG_VERSION"),
                " (software; not FIPS-validated)"
            ));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("strongroom: {e}");
            match e {
                error::Error::Hsm(strongroom_hsm::Error::Zeroised { .. }) => {
                    ExitCode::from(strongroom_hsm::EXIT_ZEROISED)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}
