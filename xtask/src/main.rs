//! The project's own commands, as `cargo xtask COMMAND`.
//!
//! It has no dependencies, so that it builds in a second on a fresh machine, and it holds no logic of
//! the product: it builds, calls, and says what it calls.

#![forbid(unsafe_code)]

mod build;
mod debian;
mod run;
mod sim;
mod suites;
mod tidy;
mod verify;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  up [FLAGS]         build, then set up and run a region; the flags of `strongroom up`
  build              build the binary, the PKCS#11 module and the links beside them
  test [--full] [F]  verify, then all tests; installs the Debian packages that they need.
                     --full adds the long forms; F runs only tests whose name contains it, without verify
  verify             format, lints, dependencies, docs, tidiness; writes nothing
  fix                what of that can be mended by a machine
  bench [NAME]       ratios against the raw library and peers of the same run; writes JSON
  fuzz [--seconds N] [--blind] [TARGET…]
                     fuzz every decoder for N seconds (default 60), guided by coverage where a C++
                     compiler is there
  fuzz model         a million random calls of the PKCS#11 module, held against a reference model
  sim [--seeds N] [--from S] [--scenario NAME] [--mutants]
                     simulate the cluster from N seeds, on all cores; --mutants breaks each thing on
                     purpose and sees that it is noticed
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match command {
        "up" => suites::up(rest),
        "build" => build::all(),
        "test" => suites::test(rest),
        "verify" => verify::verify(),
        "fix" => verify::fix(),
        "bench" => suites::bench(rest),
        "fuzz" => suites::fuzz(rest),
        "sim" => sim::sim(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no command {other:?}\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
