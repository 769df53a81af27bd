//! How many requests may be sent again at once: a tenth of those that are answered. When a whole
//! cluster is in trouble, retries must not multiply its load; beyond the budget a retry waits its
//! pause first.

/// Requests that pay for one retry.
const REQUESTS_PER_RETRY: u32 = 10;
/// Retries in hand at the start, so that a program that has just begun can fail over too.
const RETRIES_FIRST: u32 = 10;
/// Retries in hand at most: what the last thousand requests have earned.
const RETRIES_MAX: u32 = 100;

/// The retries in hand, in the requests that pay for them.
#[derive(Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(RETRIES_FIRST * REQUESTS_PER_RETRY)
    }

    /// Takes in what was answered since the last time.
    pub(crate) fn earn(&mut self, answers: u32) {
        self.0 = self.0.saturating_add(answers).min(RETRIES_MAX * REQUESTS_PER_RETRY);
    }

    /// Pays for one retry, where there is enough.
    pub(crate) fn pay(&mut self) -> bool {
        let left = self.0.checked_sub(REQUESTS_PER_RETRY);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_answers_may_be_retried() {
        let mut budget = Budget::new();
        while budget.pay() {}
        budget.earn(250);
        assert_eq!((0..1000).filter(|_| budget.pay()).count(), 25);
    }

    #[test]
    fn a_long_good_time_does_not_save_up_a_storm() {
        let mut budget = Budget::new();
        budget.earn(u32::MAX);
        budget.earn(u32::MAX);
        assert_eq!((0..1000).filter(|_| budget.pay()).count(), RETRIES_MAX as usize);
    }
}
