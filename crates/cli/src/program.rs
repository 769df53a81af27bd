//! `cloudhsm-cli`: from the command line to the exit code.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser as _, ValueEnum as _};
use serde_json::Value;
use strongroom_client::{Client, Config};
use zeroize::Zeroizing;

use crate::commands::Session;
use crate::error::Error;
use crate::grammar::{Command, Invocation, Password, Role, Start};
use crate::terminal::Terminal;
use crate::{interactive, output};

/// Runs the program.
pub(crate) fn main(argv: Vec<OsString>) -> ExitCode {
    let invocation = match Invocation::try_parse_from(argv) {
        Ok(invocation) => invocation,
        Err(help) if interactive::asks_for_help(&help) => {
            return exit(help.print().is_ok());
        }
        Err(error) => {
            let _ = error.print();
            return finish(&Err(interactive::misunderstood(&error)));
        }
    };
    let mut terminal = Terminal::stdin();
    let cluster = invocation.cluster.cluster_id.as_deref();
    match invocation.command {
        Start::Interactive => match connect(cluster) {
            Ok(mut session) => {
                let person = terminal.is_interactive();
                let run = interactive::run(&mut session, &mut terminal, &mut std::io::stdout());
                // A person has seen what failed; a script learns it from the exit code.
                exit(run.is_ok_and(|all_good| all_good || person))
            }
            Err(error) => finish(&Err(error)),
        },
        Start::Command(command) => finish(&single(&command, cluster, &mut terminal)),
    }
}

/// One command, with the login of the environment where it needs one.
fn single(
    command: &Command,
    cluster: Option<&str>,
    terminal: &mut Terminal<std::io::Stdin>,
) -> Result<Value, Error> {
    let credentials = match command.needs_login() {
        true => credentials(
            std::env::var("CLOUDHSM_ROLE").ok().as_deref(),
            std::env::var("CLOUDHSM_PIN").ok().map(Zeroizing::new),
        )?,
        false => None,
    };
    let mut session = connect(cluster)?;
    if let Some((user, role, password)) = credentials {
        session.login(&user, role, &password)?;
    }
    let result = session.run(command, terminal);
    session.close();
    result
}

fn connect(cluster: Option<&str>) -> Result<Session, Error> {
    let client = Client::open(Config::load()?, crate::CLIENT_NAME)?;
    let session = Session::new(Box::new(client));
    session.check_cluster(cluster)?;
    Ok(session)
}

/// The login of CLOUDHSM_ROLE and CLOUDHSM_PIN; none where both are absent.
fn credentials(
    role: Option<&str>,
    pin: Option<Zeroizing<String>>,
) -> Result<Option<(String, Role, Password)>, Error> {
    let (role, pin) = match (role, pin) {
        (None, None) => return Ok(None),
        (Some(role), Some(pin)) => (role, pin),
        _ => return Err(Error::usage("Set both CLOUDHSM_ROLE and CLOUDHSM_PIN, or neither")),
    };
    let role = Role::from_str(role, true)
        .map_err(|_| Error::usage("CLOUDHSM_ROLE must be crypto-user or admin"))?;
    // The first colon separates: user names have none.
    let (user, password) =
        pin.split_once(':').ok_or_else(|| Error::usage("CLOUDHSM_PIN must be user:password"))?;
    Ok(Some((user.to_lowercase(), role, Password::new(password.as_bytes().to_vec()))))
}

fn finish(result: &Result<Value, Error>) -> ExitCode {
    let written = writeln!(std::io::stdout(), "{}", output::render(result));
    exit(result.is_ok() && written.is_ok())
}

fn exit(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        role: Option<&str>,
        pin: Option<&str>,
    ) -> Result<Option<(String, Role, Password)>, Error> {
        credentials(role, pin.map(|pin| Zeroizing::new(pin.to_owned())))
    }

    #[test]
    fn a_pin_is_cut_at_its_first_colon() {
        let (user, role, password) =
            read(Some("crypto-user"), Some("Alice:pass:word")).ok().unwrap().unwrap();
        assert_eq!((user.as_str(), role), ("alice", Role::CryptoUser));
        assert_eq!(password.as_bytes(), b"pass:word");
        assert!(read(None, None).ok().unwrap().is_none());
    }

    #[test]
    fn half_a_login_is_an_error_that_does_not_show_the_pin() {
        for (role, pin) in [
            (Some("admin"), None),
            (None, Some("a:b")),
            (Some("admin"), Some("canary")),
            (Some("root"), Some("a:canary")),
        ] {
            let error = read(role, pin).err().unwrap().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
