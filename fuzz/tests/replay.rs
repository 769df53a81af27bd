//! The ordinary test run's share of fuzzing: the corpus as it is, and mutations of it.
//!
//! The budget is 20 s for all targets on two cores, in release; each has its number of cases in the
//! list of targets. The mutations are the same in every run.

use std::time::Instant;

use strongroom_fuzz::{Mutator, TARGETS, Target, corpus};

const SEED: u64 = 20_261_124;

#[test]
fn no_seed_and_no_mutation_of_one_panics() {
    for target in TARGETS {
        let begin = Instant::now();
        replay(target);
        println!("{}: {} ms", target.name, begin.elapsed().as_millis());
    }
}

fn replay(target: &Target) {
    let seeds = corpus(target);
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let accepted = seeds.iter().enumerate().filter(|(number, seed)| {
        println!("{} seed {number}", target.name);
        (target.run)(seed)
    });
    let (accepted, all) = (accepted.count(), seeds.len());
    println!("{}: {accepted} of {all} seeds accepted", target.name);
    assert!(accepted > 0, "{} looks at nothing but refusals", target.name);
    let bytes: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    let mut mutator = Mutator::new(SEED);
    for case in 0..target.cases {
        println!("{} case {case}", target.name);
        (target.run)(&mutator.case(&bytes));
    }
}
