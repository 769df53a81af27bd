//! Telling a person what is done and how long it took.

use std::time::Instant;

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
    pub(crate) fn done(&mut self, what: impl std::fmt::Display) {
        println!("  {:>6} ms  {what}", self.step.elapsed().as_millis());
        self.step = Instant::now();
    }

    /// The time of all steps, in milliseconds.
    pub(crate) fn total_ms(&self) -> u128 {
        self.began.elapsed().as_millis()
    }
}
