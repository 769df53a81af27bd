//! Mutations by a seeded generator: no coverage, but the same cases again from the same seed.

/// Makes cases out of seeds.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
}

/// Values that lengths and counts go wrong at.
const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];

impl Mutator {
    /// The same seed gives the same cases.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15 }
    }

    /// One case made from one or two seeds.
    ///
    /// # Panics
    /// Where there is no seed.
    #[must_use]
    pub fn case(&mut self, seeds: &[&[u8]]) -> Vec<u8> {
        let mut case = seeds[self.below(seeds.len())].to_vec();
        if self.below(8) == 0 {
            let other = seeds[self.below(seeds.len())];
            let cut = self.below(case.len() + 1);
            case.truncate(cut);
            case.extend_from_slice(&other[self.below(other.len() + 1)..]);
        }
        for _ in 0..=self.below(6) {
            self.mutate(&mut case);
        }
        case
    }

    fn mutate(&mut self, case: &mut Vec<u8>) {
        let place = self.below(case.len() + 1);
        match self.below(7) {
            0 => case.truncate(place),
            1 => case.insert(place, EDGES[self.below(EDGES.len())]),
            2 => {
                let end = (place + 1 + self.below(16)).min(case.len());
                case.drain(place.min(end)..end);
            }
            3 => {
                let end = (place + 1 + self.below(64)).min(case.len());
                let piece = case[place.min(end)..end].to_vec();
                let at = self.below(case.len() + 1);
                case.splice(at..at, piece);
            }
            4 => {
                if let Some(byte) = case.get_mut(place) {
                    *byte = EDGES[self.below(EDGES.len())];
                }
            }
            _ => {
                let bit = self.below(8);
                if let Some(byte) = case.get_mut(place) {
                    *byte ^= 1 << bit;
                }
            }
        }
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*, good enough to pick places.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let mixed = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).unwrap_or(0) % limit
    }
}
