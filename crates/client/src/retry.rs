//! How long to go on after a failure: at once, then after growing pauses, until the patience is over.

use std::time::{Duration, Instant};

/// The first pause; each later one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The patience of one request, from its first failure on.
pub(crate) struct Patience {
    total: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(total: Duration) -> Self {
        Self { total, since: None, pause: Duration::ZERO }
    }

    /// After a failure: how long to pause before the next attempt; `None` where it is over.
    pub(crate) fn next_pause(&mut self) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let left = self.total.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
        // The first attempt was often on a connection that had died unnoticed: no pause.
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        // Many clients that lost the same HSM must not come back in step.
        Some(pause.mul_f64(0.5 + 0.5 * fraction()))
    }
}

/// From 0 to 1, different in each thread and moment; not for anything secret.
fn fraction() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0);
    (random >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_after_a_failure_comes_at_once_and_later_ones_ever_later() {
        let mut patience = Patience::new(Duration::from_secs(3600));
        assert_eq!(patience.next_pause(), Some(Duration::ZERO));
        for turn in 0..12 {
            let pause = patience.next_pause().unwrap();
            let expected = (PAUSE_MIN * (1 << turn.min(6))).min(PAUSE_MAX);
            assert!(pause <= expected && pause >= expected / 2, "{pause:?} {expected:?}");
        }
    }

    #[test]
    fn no_patience_means_no_second_attempt() {
        assert_eq!(Patience::new(Duration::ZERO).next_pause(), None);
    }
}
