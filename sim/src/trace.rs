//! What happened, line by line: the same seed must give the same lines.
//!
//! A line holds virtual time, who, and what; never random bytes, sizes that depend on them, or an
//! address of memory.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use tokio::time::Instant;

/// Lines that are kept for the report of a failure.
const KEPT: usize = 60;

/// The trace of a run. Clones write to the same one.
#[derive(Clone)]
pub struct Trace {
    began: Instant,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    hash: digest::Context,
    lines: u64,
    last: VecDeque<String>,
    echo: bool,
}

impl Trace {
    /// An empty trace, whose time begins now. With `echo` each line is printed, too.
    #[must_use]
    pub fn new(echo: bool) -> Self {
        let hash = digest::Context::new(&digest::SHA256);
        let inner = Inner { hash, lines: 0, last: VecDeque::new(), echo };
        Self { began: Instant::now(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// Milliseconds of virtual time since the run began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes a line.
    pub fn note(&self, what: impl std::fmt::Display) {
        let line = format!("{:>7} {what}", self.now_ms());
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.hash.update(line.as_bytes());
        inner.hash.update(b"\n");
        inner.lines += 1;
        if inner.echo {
            println!("{line}");
        }
        if inner.last.len() == KEPT {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// The hash of all lines so far, in hexadecimal, and how many there are.
    #[must_use]
    pub fn hash(&self) -> (String, u64) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for byte in inner.hash.clone().finish().as_ref() {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        (text, inner.lines)
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last.iter().fold(String::new(), |all, line| all + line + "\n")
    }
}
