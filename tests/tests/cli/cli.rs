//! Running `cloudhsm-cli`, and reading its one JSON object for each command.

use std::process::Output;

use serde_json::Value;
use strongroom_tests::{Program, Region};

/// Who runs a command.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) password: String,
}

impl User {
    pub(crate) fn new(name: &str, role: &'static str, password: &str) -> Self {
        Self { name: name.to_owned(), role, password: password.to_owned() }
    }

    /// The first admin of a region.
    pub(crate) fn admin(region: &Region) -> Self {
        Self::new("admin", "admin", &region.admin_password())
    }

    /// The crypto user that `up` makes.
    pub(crate) fn crypto_user(region: &Region) -> Self {
        let pin = region.variable("CLOUDHSM_PIN");
        let (name, password) = pin.split_once(':').expect("user:password");
        Self::new(name, "crypto-user", password)
    }

    /// Lets a program log in as this user.
    pub(crate) fn lend(&self, program: Program) -> Program {
        program
            .env("CLOUDHSM_ROLE", self.role)
            .env("CLOUDHSM_PIN", format!("{}:{}", self.name, self.password))
    }
}

/// The two ways to run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A process for each command, with the login in its environment.
    Single,
    /// All commands in one session, with a login at its beginning.
    Interactive,
}

pub(crate) const BOTH_MODES: [Mode; 2] = [Mode::Single, Mode::Interactive];

/// Runs commands as a user and gives the `data` of each.
///
/// # Panics
/// Where one fails.
pub(crate) fn run(region: &Region, user: &User, mode: Mode, commands: &[String]) -> Vec<Value> {
    match mode {
        Mode::Single => {
            commands.iter().map(|command| data(&single(region, user, command).output())).collect()
        }
        Mode::Interactive => {
            let mut objects = interactive(region, user, commands).into_iter();
            assert_eq!(objects.next().map(|login| login["error_code"].clone()), Some(0.into()));
            let results: Vec<Value> = objects.map(|object| good(object).expect("good")).collect();
            assert_eq!(results.len(), commands.len());
            results
        }
    }
}

/// One command of a process of its own, logged in by its environment.
pub(crate) fn single(region: &Region, user: &User, command: &str) -> Program {
    user.lend(region.program("cloudhsm-cli")).args(command.split_whitespace())
}

/// The same with nobody logged in.
pub(crate) fn anonymous(region: &Region, command: &str) -> Program {
    region
        .program("cloudhsm-cli")
        .without("CLOUDHSM_ROLE")
        .without("CLOUDHSM_PIN")
        .args(command.split_whitespace())
}

/// A session through a pipe: login, commands, quit. Gives every object that it prints.
fn interactive(region: &Region, user: &User, commands: &[String]) -> Vec<Value> {
    let script = format!(
        "login --username {} --role {}\n{}\n{}\nquit\n",
        user.name,
        user.role,
        user.password,
        commands.join("\n")
    );
    let output = anonymous(region, "interactive").input(script).output();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let objects = serde_json::Deserializer::from_str(&text).into_iter();
    objects.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The `data` of a command that succeeded: one object, exit code 0.
pub(crate) fn data(output: &Output) -> Value {
    let object = only_object(output);
    assert_eq!(output.status.code(), Some(0), "{object:#}");
    good(object).unwrap_or_else(|object| panic!("{object:#}"))
}

/// What a command that failed said: one object, exit code 1.
pub(crate) fn refusal(output: &Output) -> String {
    let object = only_object(output);
    assert_eq!(output.status.code(), Some(1), "{object:#}");
    assert_eq!(object["error_code"], 1, "{object:#}");
    object["data"].as_str().unwrap_or_else(|| panic!("{object:#}")).to_owned()
}

fn good(object: Value) -> Result<Value, Value> {
    if object["error_code"] == 0 { Ok(object["data"].clone()) } else { Err(object) }
}

fn only_object(output: &Output) -> Value {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}\nstdout: {out}\nstderr: {err}"))
}
