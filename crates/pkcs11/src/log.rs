//! What the module says, and where: nothing but errors to stderr, unless asked for more.
//!
//! `STRONGROOM_LOG` (`off`, `error`, `warn`, `info`, `debug`, `trace`) sets the level; the
//! configuration may name a file. Lines never hold a PIN, a key or data.
//!
//! The host's own logging is not touched: this copy of `tracing` is the module's alone (only C_
//! functions leave the shared object). A line is one `write`, without any lock, so that a fork in
//! another thread leaves nothing locked; and a file is opened for each line, because a host that
//! becomes a daemon closes descriptors that it does not know.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use strongroom_client::config::{LogLevel, Logging};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::fork::PerProcess;
use crate::lock::write;

/// Verbosity: 0 is off, 1 errors, … 5 everything.
static VERBOSITY: AtomicUsize = AtomicUsize::new(1);
/// The log file, where there is one. Replaced, never changed in place, so that reading needs no lock.
static FILE: PerProcess<RwLock<Option<PathBuf>>> = PerProcess::new(|| RwLock::new(None), |_| ());
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Starts logging as the environment says. Later calls read the environment again.
pub(crate) fn start() {
    let level = std::env::var("STRONGROOM_LOG").ok();
    VERBOSITY.store(verbosity(level.as_deref()), Ordering::Relaxed);
    if !INSTALLED.swap(true, Ordering::AcqRel) {
        // Fails only where a subscriber is set already, which nobody but us can do here.
        let _ = tracing::subscriber::set_global_default(Lines);
        // The payload of a panic may hold data: only the place is logged.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(
                "internal error at {}: please report it",
                place.as_deref().unwrap_or("an unknown place")
            );
        }));
    }
    tracing::callsite::rebuild_interest_cache();
}

/// Follows the configuration: its file, and its level where the environment names none. Without a
/// file nothing but errors is written, to stderr: a library does not talk unasked.
pub(crate) fn configure(logging: &Logging) {
    write(FILE.get()).clone_from(&logging.file);
    let asked = logging.file.is_some() || logging.terminal;
    if asked && std::env::var_os("STRONGROOM_LOG").is_none() {
        let level = match logging.level {
            LogLevel::Off => 0,
            LogLevel::Error => 1,
            LogLevel::Warn => 2,
            LogLevel::Info => 3,
            LogLevel::Debug => 4,
            LogLevel::Trace => 5,
        };
        VERBOSITY.store(level, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }
}

fn verbosity(level: Option<&str>) -> usize {
    match level.unwrap_or("error").to_ascii_lowercase().as_str() {
        "off" => 0,
        "warn" => 2,
        "info" => 3,
        "debug" => 4,
        "trace" => 5,
        _ => 1,
    }
}

fn rank(level: &Level) -> usize {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Writes each event as one line.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && rank(metadata.level()) <= VERBOSITY.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match VERBOSITY.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut line = format!("strongroom-pkcs11[{}]: {level}: ", std::process::id());
        event.record(&mut Fields(&mut line));
        line.push('\n');
        write_line(&line);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// Appends an event's message and fields.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String does not fail.
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = if field.name() == "message" {
            write!(self.0, "{value}")
        } else {
            write!(self.0, " {}={value}", field.name())
        };
    }
}

fn write_line(line: &str) {
    let file = FILE.get().try_read().ok().and_then(|file| file.clone());
    let written = file.is_some_and(|file| {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(file)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .is_ok()
    });
    if !written {
        // SAFETY: the pointer and length are those of one live string. A short or failed write is
        // not repaired: there is nobody to tell.
        unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_level_shows_errors() {
        assert_eq!(verbosity(None), 1);
        assert_eq!(verbosity(Some("verbose")), 1);
        assert_eq!(verbosity(Some("TRACE")), 5);
        assert_eq!(verbosity(Some("off")), 0);
    }
}
