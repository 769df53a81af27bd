//! The ordinary test run's share of fuzzing: the corpus as it is, and mutations of it.

use strongroom_fuzz::{Mutator, TARGETS, corpus};

/// Mutations of each target: a second or two for all of them.
const CASES: usize = 20_000;
const SEED: u64 = 20_261_124;

#[test]
fn no_seed_and_no_mutation_of_one_panics() {
    for target in TARGETS {
        let seeds = corpus(target);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            println!("{} seed {number}", target.name);
            (target.run)(seed);
        }
        let bytes: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
        let mut mutator = Mutator::new(SEED);
        for case in 0..CASES {
            println!("{} case {case}", target.name);
            (target.run)(&mutator.case(&bytes));
        }
    }
}
