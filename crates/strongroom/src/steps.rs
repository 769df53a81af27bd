//! Telling a person what is done and how long it took.

use std::fmt::Display;
use std::io::Write;
use std::time::Instant;

/// Prints a line. Nobody may be there to read it (`strongroom up | head`): that stops nothing.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The steps of one command.
pub(crate) struct Steps {
    began: Instant,
    step: Instant,
}

impl Steps {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, step: now }
    }

    /// Prints that a step is done, with its time.
    pub(crate) fn done(&mut self, what: impl Display) {
        say(format_args!("  {:>6} ms  {what}", self.step.elapsed().as_millis()));
        self.step = Instant::now();
    }

    /// The time of all steps, in milliseconds.
    pub(crate) fn total_ms(&self) -> u128 {
        self.began.elapsed().as_millis()
    }
}
