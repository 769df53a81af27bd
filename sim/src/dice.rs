//! Chance from a seed: all of a run's luck comes from here.

/// A stream of chance. SplitMix64: short, and good enough to choose faults by.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5374_726f_6e67_726d)
    }

    /// A stream of its own for one part of the world: what that part draws changes nothing elsewhere.
    #[must_use]
    pub fn fork(&self, part: u64) -> Self {
        let mut fork = Self(self.0 ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03));
        fork.draw();
        fork
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.draw() % bound }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of several; `None` of none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(among.len() as u64)).unwrap_or(0);
        among.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_and_its_parts_do_not_disturb_each_other() {
        let (mut one, mut again) = (Dice::new(7), Dice::new(7));
        assert_eq!(one.draw(), again.draw());
        let before = one.fork(1).draw();
        one.fork(2).draw();
        assert_eq!(one.fork(1).draw(), before);
        assert_ne!(one.fork(2).draw(), before);
        assert!((0..1000).all(|_| (3..=5).contains(&one.between(3, 5))));
    }
}
