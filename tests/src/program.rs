//! Foreign and own programs, run to their end, with all they said in the failure message.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where the built files lie: `target/release` of the repository.
#[must_use]
pub fn release() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join("target/release")
}

/// A program by name: one of ours from `target/release`, else one of the system's.
#[must_use]
pub fn program(name: &str) -> Program {
    let ours = release().join(name);
    let path = if ours.exists() { ours } else { PathBuf::from(name) };
    let mut command = Command::new(path);
    // Nothing of the person's own set-up may leak into a test.
    for variable in [
        "STRONGROOM_CONFIG",
        "STRONGROOM_DIR",
        "STRONGROOM_PERSONALITY",
        "CLOUDHSM_PIN",
        "CLOUDHSM_ROLE",
    ] {
        command.env_remove(variable);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("LC_ALL", "C");
    Program { command, input: Vec::new() }
}

/// A command to be run.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

impl Program {
    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable of the environment away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs in this folder.
    #[must_use]
    pub fn dir(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Gives this on standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// The command, for a test that runs it in its own way.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Runs to the end, whatever that is.
    ///
    /// # Panics
    /// Where the program can't be started.
    pub fn output(mut self) -> Output {
        let shown = format!("{:?}", self.command);
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{shown}: {e}"));
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = std::mem::take(&mut self.input);
        // The program may end without reading, which is no failure of the test.
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap_or_else(|e| panic!("{shown}: {e}"));
        let _ = writer.join();
        output
    }

    /// Runs to the end and expects success; gives standard output.
    ///
    /// # Panics
    /// Where the program fails, with all that it said.
    pub fn ok(self) -> Vec<u8> {
        let shown = format!("{:?}", self.command);
        let output = self.output();
        assert!(output.status.success(), "{shown}\n{}", said(&output));
        output.stdout
    }

    /// As [`Program::ok`], as text.
    ///
    /// # Panics
    /// As [`Program::ok`].
    pub fn text(self) -> String {
        String::from_utf8_lossy(&self.ok()).into_owned()
    }

    /// Runs to the end and expects failure; gives all that the program said.
    ///
    /// # Panics
    /// Where the program succeeds.
    pub fn fails(self) -> String {
        let shown = format!("{:?}", self.command);
        let output = self.output();
        assert!(!output.status.success(), "{shown} succeeded\n{}", said(&output));
        said(&output)
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
