//! Where chance comes from: time-outs must differ between nodes, and be the same again for a seed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Error;

/// SplitMix64: even, and no secret.
pub(crate) struct Chance {
    state: Mutex<u64>,
}

impl Chance {
    /// From a seed, or from the system.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub(crate) fn new(seed: Option<u64>, node: u64) -> Result<Self, Error> {
        let seed = match seed {
            Some(seed) => seed ^ node.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            None => {
                let mut bytes = [0; 8];
                strongroom_crypto::random(&mut bytes)?;
                u64::from_le_bytes(bytes)
            }
        };
        Ok(Self { state: Mutex::new(seed) })
    }

    /// A duration from `min` up to `max`, in microseconds.
    pub(crate) fn between(&self, min: Duration, max: Duration) -> Duration {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let span = micros(max).saturating_sub(micros(min)).max(1);
        Duration::from_micros(micros(min) + self.next() % span)
    }

    fn next(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_again_and_nodes_differ() {
        let (min, max) = (Duration::from_millis(150), Duration::from_millis(300));
        let draw = |seed, node| {
            let chance = Chance::new(Some(seed), node).unwrap();
            (0..20).map(|_| chance.between(min, max)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert!(draw(7, 1).iter().all(|d| (min..max).contains(d)));
    }
}
