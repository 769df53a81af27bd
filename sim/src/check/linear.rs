//! Whether a history could have happened one operation after the other (Wing and Gong's search, with
//! Lowe's memory of configurations that led nowhere).
//!
//! Each operation has an interval, from its call to its reply, and must take effect at one moment in
//! it. One without a reply may take effect at any moment after its call, or never. The search walks over
//! operations in the order of their calls, and so needs no more memory than there are operations that
//! overlap.

use std::collections::HashSet;
use std::hash::Hash;

/// What a history is checked against.
pub trait Model {
    /// What the object remembers.
    type State: Clone + Eq + Hash;
    /// An operation with what came of it.
    type Operation;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The states that an operation with this reply may leave; none where the reply can't be.
    fn step(&self, state: &Self::State, operation: &Self::Operation) -> Vec<Self::State>;
}

/// One operation of a history.
#[derive(Clone, Debug)]
pub struct Call<O> {
    /// When it may have taken effect first.
    pub from: u64,
    /// When it had taken effect; `None`: perhaps later, perhaps never.
    pub until: Option<u64>,
    /// What was done and what came of it.
    pub operation: O,
}

/// Configurations that one check may look at: a history that needs more is reported, not passed over.
const CONFIGURATIONS_MAX: usize = 2_000_000;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It could have happened in an order.
    Linearizable,
    /// It could not.
    Impossible,
    /// The search was too long to say.
    Unknown,
}

/// Checks one object's history.
pub fn check<M: Model>(model: &M, mut calls: Vec<Call<M::Operation>>) -> Verdict {
    calls.sort_by_key(|call| (call.from, call.until.unwrap_or(u64::MAX)));
    let mut seen = HashSet::new();
    let mut open = vec![(Vec::new(), 0, model.initial())];
    while let Some((skipped, next, state)) = open.pop() {
        // All operations before `next` are placed, but for those in `skipped`.
        let waiting = |at: &usize| calls[*at].until.is_some();
        if next == calls.len() && !skipped.iter().any(waiting) {
            return Verdict::Linearizable;
        }
        if !seen.insert((skipped.clone(), next, state.clone())) {
            continue;
        }
        if seen.len() > CONFIGURATIONS_MAX {
            return Verdict::Unknown;
        }
        // Whatever comes next must begin before the first of those left ends.
        let left = skipped.iter().copied().chain(next..calls.len());
        let mut bound = u64::MAX;
        for at in left {
            if calls[at].from > bound {
                break;
            }
            bound = bound.min(calls[at].until.unwrap_or(u64::MAX));
        }
        let candidates: Vec<usize> = skipped
            .iter()
            .copied()
            .chain((next..calls.len()).take_while(|&at| calls[at].from <= bound))
            .filter(|&at| calls[at].from <= bound)
            .collect();
        for at in candidates {
            for after in model.step(&state, &calls[at].operation) {
                let mut skipped: Vec<usize> = skipped
                    .iter()
                    .copied()
                    .chain(next..at.max(next))
                    .filter(|&other| other != at)
                    .collect();
                skipped.sort_unstable();
                let next = if at >= next { at + 1 } else { next };
                open.push((skipped, next, after));
            }
        }
    }
    Verdict::Impossible
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register: writes, and reads of a value.
    struct Register;

    #[derive(Clone, Debug)]
    enum Do {
        Write(u64),
        Read(u64),
    }

    impl Model for Register {
        type State = u64;
        type Operation = Do;
        fn initial(&self) -> u64 {
            0
        }
        fn step(&self, state: &u64, operation: &Do) -> Vec<u64> {
            match operation {
                Do::Write(value) => vec![*value],
                Do::Read(value) if value == state => vec![*state],
                Do::Read(_) => vec![],
            }
        }
    }

    fn call(from: u64, until: u64, operation: Do) -> Call<Do> {
        Call { from, until: Some(until), operation }
    }

    fn lost(from: u64, operation: Do) -> Call<Do> {
        Call { from, until: None, operation }
    }

    #[test]
    fn overlapping_operations_may_be_in_either_order() {
        for read in [0, 1] {
            let history = vec![call(0, 10, Do::Write(1)), call(5, 8, Do::Read(read))];
            assert_eq!(check(&Register, history), Verdict::Linearizable);
        }
    }

    #[test]
    fn a_read_after_a_write_sees_it() {
        let history = vec![call(0, 10, Do::Write(1)), call(11, 12, Do::Read(0))];
        assert_eq!(check(&Register, history), Verdict::Impossible);
    }

    #[test]
    fn a_value_once_seen_does_not_go_back() {
        let history =
            vec![call(0, 100, Do::Write(1)), call(10, 20, Do::Read(1)), call(30, 40, Do::Read(0))];
        assert_eq!(check(&Register, history), Verdict::Impossible);
    }

    #[test]
    fn what_had_no_reply_may_happen_late_or_never() {
        for reads in [vec![0, 0], vec![0, 1], vec![1, 1]] {
            let mut history = vec![lost(0, Do::Write(1))];
            for (at, read) in (10..).step_by(10).zip(reads) {
                history.push(call(at, at + 5, Do::Read(read)));
            }
            assert_eq!(check(&Register, history), Verdict::Linearizable);
        }
        let history =
            vec![lost(0, Do::Write(1)), call(10, 15, Do::Read(1)), call(20, 25, Do::Read(0))];
        assert_eq!(check(&Register, history), Verdict::Impossible);
    }

    #[test]
    fn long_histories_of_many_clients_are_checked_in_time() {
        let mut history = Vec::new();
        for round in 0..500 {
            for client in 0..6 {
                history.push(call(round * 10 + client, round * 10 + 9, Do::Write(round)));
            }
            history.push(call(round * 10 + 9, round * 10 + 10, Do::Read(round)));
        }
        assert_eq!(check(&Register, history), Verdict::Linearizable);
    }
}
