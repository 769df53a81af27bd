//! Sets of numbers as runs: first and last of each, rising, none touching the next.

/// Adds one number to runs that are in order, joining what touches.
pub(super) fn insert(runs: &mut Vec<(u64, u64)>, number: u64) {
    let at = runs.partition_point(|&(_, last)| last < number);
    if runs.get(at).is_some_and(|&(first, _)| first <= number) {
        return;
    }
    // What is before `at` ends below `number`, so that nothing overflows.
    let joins_before = at > 0 && runs[at - 1].1 + 1 == number;
    let joins_after = runs.get(at).is_some_and(|&(first, _)| first - 1 == number);
    match (joins_before, joins_after) {
        (true, true) => {
            runs[at - 1].1 = runs[at].1;
            runs.remove(at);
        }
        (true, false) => runs[at - 1].1 = number,
        (false, true) => runs[at].0 = number,
        (false, false) => runs.insert(at, (number, number)),
    }
}

/// Whether a number is in a run.
pub(super) fn contains(runs: &[(u64, u64)], number: u64) -> bool {
    let at = runs.partition_point(|&(_, last)| last < number);
    runs.get(at).is_some_and(|&(first, _)| first <= number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_hold_exactly_what_was_put_in(numbers in vec(0..60_u64, 0..60)) {
            let mut runs = Vec::new();
            for &number in &numbers {
                insert(&mut runs, number);
            }
            let held: Vec<u64> = runs.iter().flat_map(|&(first, last)| first..=last).collect();
            let expected: BTreeSet<u64> = numbers.into_iter().collect();
            for number in 0..60 {
                prop_assert_eq!(contains(&runs, number), expected.contains(&number));
            }
            prop_assert!(held.into_iter().eq(expected));
        }
    }

    #[test]
    fn the_last_number_of_all_is_a_number_too() {
        let mut runs = vec![(0, 3)];
        insert(&mut runs, u64::MAX);
        insert(&mut runs, u64::MAX - 1);
        insert(&mut runs, u64::MAX);
        assert_eq!(runs, [(0, 3), (u64::MAX - 1, u64::MAX)]);
    }
}
