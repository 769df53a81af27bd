//! What clients saw, in the order in which they saw it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::check::linear::{self, Call, Verdict};
use crate::check::models::{Key, KeyOperation, User, UserOperation};
use crate::trace::Trace;

/// A moment: milliseconds of virtual time, and an order within each.
pub type Moment = u64;

const ORDER_BITS: u32 = 20;

/// Milliseconds as moments.
#[must_use]
pub fn moments(ms: u64) -> Moment {
    ms << ORDER_BITS
}

/// The history of a run. Clones are the same one.
#[derive(Clone)]
pub struct History {
    trace: Trace,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    last: Moment,
    keys: BTreeMap<String, Vec<Call<KeyOperation>>>,
    users: BTreeMap<String, Vec<Call<UserOperation>>>,
    problems: Vec<String>,
    changes: u64,
    uses: u64,
    given_up: u64,
    slowest_change_ms: u64,
    slowest_use_ms: u64,
}

/// How much was done, and how long the longest took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Changes that were answered.
    pub changes: u64,
    /// Uses of keys that were answered.
    pub uses: u64,
    /// Requests that a client gave up.
    pub given_up: u64,
    /// The slowest change, in milliseconds.
    pub slowest_change_ms: u64,
    /// The slowest use of a key.
    pub slowest_use_ms: u64,
}

impl History {
    /// An empty one.
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        Self { trace, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment after all that were given before.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let now = moments(self.trace.now_ms());
        let mut inner = self.lock();
        inner.last = now.max(inner.last + 1);
        inner.last
    }

    /// Something was done with a key.
    pub fn key(&self, label: &str, call: Call<KeyOperation>) {
        let mut inner = self.lock();
        if let Some(until) = call.until {
            let took_ms = (until - call.from) >> ORDER_BITS;
            match call.operation {
                KeyOperation::Created | KeyOperation::Destroyed => {
                    inner.changes += 1;
                    inner.slowest_change_ms = inner.slowest_change_ms.max(took_ms);
                }
                // Its interval is longer than it took, by what it may be behind.
                _ => inner.uses += 1,
            }
        }
        inner.keys.entry(label.to_owned()).or_default().push(call);
    }

    /// Something was done with a user.
    pub fn user(&self, name: &str, call: Call<UserOperation>) {
        self.lock().users.entry(name.to_owned()).or_default().push(call);
    }

    /// A use of a key took so long.
    pub fn took(&self, ms: u64) {
        let mut inner = self.lock();
        inner.slowest_use_ms = inner.slowest_use_ms.max(ms);
    }

    /// A client gave a request up.
    pub fn gave_up(&self) {
        self.lock().given_up += 1;
    }

    /// Something is wrong, whatever the rest of the history says.
    pub fn problem(&self, what: impl Into<String>) {
        let what = what.into();
        let known = self.lock().problems.contains(&what);
        if !known {
            self.trace.note(format_args!("PROBLEM {what}"));
            self.lock().problems.push(what);
        }
    }

    /// How much was done.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        Totals {
            changes: inner.changes,
            uses: inner.uses,
            given_up: inner.given_up,
            slowest_change_ms: inner.slowest_change_ms,
            slowest_use_ms: inner.slowest_use_ms,
        }
    }

    /// All that is wrong: what was noted on the way, and each key and each user whose history can't
    /// have happened in an order.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let inner = self.lock();
        let mut problems = inner.problems.clone();
        for (label, calls) in &inner.keys {
            judge(&mut problems, "key", label, linear::check(&Key, calls.clone()), calls);
        }
        let user = User { failures_max: strongroom_vault::limits::LOGIN_FAILURES_MAX, at_once: 4 };
        for (name, calls) in &inner.users {
            judge(&mut problems, "user", name, linear::check(&user, calls.clone()), calls);
        }
        problems
    }
}

fn judge<O: std::fmt::Debug>(
    problems: &mut Vec<String>,
    what: &str,
    name: &str,
    verdict: Verdict,
    calls: &[Call<O>],
) {
    if verdict == Verdict::Linearizable {
        return;
    }
    let mut text = format!("the history of {what} {name} is {verdict:?}:");
    for call in calls {
        let until = call.until.map_or("?".to_owned(), show);
        text.push_str(&format!("\n    {} .. {until} {:?}", show(call.from), call.operation));
    }
    problems.push(text);
}

fn show(moment: Moment) -> String {
    format!("{}.{}", moment >> ORDER_BITS, moment & ((1 << ORDER_BITS) - 1))
}
