//! Starting an HSM that outlives its starter, which returns only when the HSM is ready.
//!
//! The new process says one line on its standard output: `ready`, or why not. Then it lets that
//! go, and has nothing of its starter's left but the log file that is its standard error.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use strongroom_crypto::descriptors;

use crate::Error;

/// The option that the new process is started with.
const DETACHED_OPTION: &str = "--detached";

const READY: &str = "ready";
const FAILED: &str = "failed ";

/// Where a detached HSM logs.
#[derive(Clone, Copy, Debug)]
pub enum Log<'a> {
    /// Appended to a file, which is made with mode 0600.
    File(&'a Path),
    /// To this process's standard error.
    Inherited,
}

/// Runs this program again with `arguments` and one more that says so, with standard error to `log`,
/// and waits until it is ready. Relative paths in `arguments` count from this process's folder.
/// `inherited`: a descriptor that the new process shares until it is ready, for a passphrase.
///
/// # Errors
/// [`Error::Start`] with the new process's own words.
pub fn start_detached(
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    inherited: Option<u32>,
    log: Log<'_>,
) -> Result<Child, Error> {
    let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
    // What a library's host program has open is none of the HSM's business, and would stay open as
    // long as the HSM lives. An old kernel cannot do that, and it is no reason to stop.
    let _ = descriptors::keep_from_children(inherited);
    let log: Stdio = match log {
        Log::File(path) => OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::io(path.display().to_string()))?
            .into(),
        Log::Inherited => Stdio::inherit(),
    };
    let mut child = Command::new(&program)
        .arg0("strongroom")
        .args(arguments)
        .arg(DETACHED_OPTION)
        .stdin(if inherited == Some(0) { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(Error::io(program.display().to_string()))?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).map_err(Error::io("hearing from the HSM"))?;
    }
    match line.trim_end() {
        READY => Ok(child),
        said => {
            let status = child.wait().map_err(Error::io("waiting for the HSM"))?;
            let why = said.strip_prefix(FAILED).map_or_else(|| status.to_string(), str::to_owned);
            Err(Error::Start(why))
        }
    }
}

/// What this process still has of its starter.
pub(crate) struct Starter {
    /// Takes the place of the standard streams. Opened early: a confined process cannot.
    null: Option<File>,
}

impl Starter {
    /// Leaves the starter's session, so that neither its terminal nor its end reaches this process.
    pub(crate) fn leave_session() -> Self {
        // It fails only where this process leads a group already, which is as good.
        let _ = rustix::process::setsid();
        Self { null: OpenOptions::new().read(true).write(true).open("/dev/null").ok() }
    }

    /// Tells the starter that this process is ready, or why it is not, and lets go of all that is
    /// the starter's: its folder, and its standard streams but for the log.
    pub(crate) fn announce(self, result: Result<(), &Error>) {
        let line = match result {
            Ok(()) => READY.to_owned(),
            Err(e) => format!("{FAILED}{}", e.to_string().replace('\n', " ")),
        };
        // The starter may be gone: that is no reason to stop.
        let mut output = std::io::stdout().lock();
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
        drop(output);
        if let Some(null) = &self.null {
            let _ = rustix::stdio::dup2_stdin(null);
            let _ = rustix::stdio::dup2_stdout(null);
        }
        // Every path that is used from here on is absolute.
        let _ = std::env::set_current_dir("/");
    }
}
