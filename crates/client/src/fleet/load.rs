//! What all threads see of one HSM without asking the fleet: how much is under way there, and how it
//! stands. Plain atomics on a cache line of their own, so that a request costs two additions.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How one HSM stands, as far as its open connections are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// It answers.
    Good = 0,
    /// A connection broke, or it sent a request elsewhere: open connections go on, new ones are
    /// rather opened to others.
    Doubtful = 1,
    /// It is dead, or no HSM of the cluster any more: nothing is sent to it, and what waits for its
    /// answer goes elsewhere.
    Gone = 2,
}

/// One HSM's load and standing.
#[derive(Debug)]
#[repr(align(128))]
pub struct Load {
    /// Requests begun in the upper half, those under way in the lower.
    counts: AtomicU64,
    standing: AtomicU8,
}

const ONE_BEGUN: u64 = 1 << 32;
const ONE_UNDER_WAY: u64 = 1;

impl Load {
    pub(crate) fn new() -> Self {
        Self { counts: AtomicU64::new(0), standing: AtomicU8::new(Standing::Good as u8) }
    }

    /// A request begins. It ends by [`Load::answered`] or [`Load::failed`]. Returns the answers that
    /// came so far, for a [`super::Watch`] over it.
    pub fn begin(&self) -> u32 {
        answers(self.counts.fetch_add(ONE_BEGUN + ONE_UNDER_WAY, Ordering::Relaxed))
    }

    /// A request has its answer, whatever it says.
    pub fn answered(&self) {
        self.counts.fetch_sub(ONE_UNDER_WAY, Ordering::Relaxed);
    }

    /// A request ends without an answer, as if it had not begun.
    pub fn failed(&self) {
        self.counts.fetch_sub(ONE_BEGUN + ONE_UNDER_WAY, Ordering::Relaxed);
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            0 => Standing::Good,
            1 => Standing::Doubtful,
            _ => Standing::Gone,
        }
    }

    pub(crate) fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.counts.load(Ordering::Relaxed) as u32
    }

    /// Answers that came so far, over all threads; wraps around. A change is a sign of life.
    #[must_use]
    pub fn answers(&self) -> u32 {
        answers(self.counts.load(Ordering::Relaxed))
    }
}

fn answers(counts: u64) -> u32 {
    ((counts >> 32) as u32).wrapping_sub(counts as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_are_signs_of_life() {
        let load = Load::new();
        load.begin();
        load.begin();
        assert_eq!((load.under_way(), load.answers()), (2, 0));
        load.failed();
        assert_eq!((load.under_way(), load.answers()), (1, 0));
        load.answered();
        assert_eq!((load.under_way(), load.answers()), (0, 1));
    }
}
