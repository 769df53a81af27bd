//! Finding and killing HSM processes, as an operator or an accident would.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The process that serves an HSM's data folder, if one does.
#[must_use]
pub fn hsm_process(folder: &Path) -> Option<u32> {
    let folder = folder.as_os_str().as_encoded_bytes();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        let serves = words.next()?.ends_with(b"strongroom")
            && words.next() == Some(b"hsm")
            && words.any(|word| word.starts_with(folder));
        (serves && alive(id)).then_some(id)
    })
}

/// The words that an HSM was started with, for starting it again as a child.
///
/// # Panics
/// Where the process is not there.
#[must_use]
pub fn command_line(process: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).expect("a process");
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let words = words.skip(1).map(|word| String::from_utf8_lossy(word).into_owned());
    // The first word is a name, not a path.
    let path = std::fs::read_link(format!("/proc/{process}/exe")).expect("a program");
    let path = path.to_string_lossy().into_owned();
    std::iter::once(path).chain(words.filter(|word| word != "--detached")).collect()
}

/// Starts a process with these words and says nothing of what it prints.
///
/// # Panics
/// Where it does not start.
#[must_use]
pub fn spawn(words: &[String]) -> Child {
    Command::new(&words[0])
        .args(&words[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process")
}

/// kill -9, and waits until the process is no more.
///
/// # Panics
/// Where it does not die.
pub fn kill_hard(process: u32) {
    end(process, "-KILL");
}

/// Sends a signal: `-STOP`, `-CONT`.
///
/// # Panics
/// Where the process is not there.
pub fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(sent.is_ok_and(|s| s.success()), "kill {signal} {process}");
}

/// Asks a process to stop in order, and waits until it has.
///
/// # Panics
/// Where it does not.
pub fn stop(process: u32) {
    end(process, "-TERM");
}

fn end(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(sent.is_ok_and(|s| s.success()) || !alive(process), "kill {signal} {process}");
    let patience = Instant::now() + Duration::from_secs(20);
    while alive(process) {
        assert!(Instant::now() < patience, "{process} outlives kill {signal}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process is there and not only waits to be reaped.
fn alive(process: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    // "PID (NAME) STATE …": the name may hold anything but ends at the last parenthesis.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
