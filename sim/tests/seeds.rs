//! A fixed set of seeds, and that what is broken on purpose is noticed. `cargo xtask sim` runs more.
#![cfg(not(feature = "early-ack"))]

use strongroom_sim::mutant::{self, Mutant};
use strongroom_sim::scenario::{self, Report};

fn run(name: &str, seed: u64) -> Report {
    let scenario = scenario::named(name).unwrap();
    let report = scenario.run(seed, None, false);
    assert!(
        report.problems.is_empty(),
        "again: cargo xtask sim --scenario {name} --from {seed} --seeds 1\n{}\n{}",
        report.tail,
        report.problems.join("\n")
    );
    report
}

fn holds(name: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let report = run(name, seed);
        assert!(report.totals.changes > 20 && report.totals.uses > 20, "{:?}", report.totals);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for name in ["crashes", "network", "five", "logins", "theft", "witness", "recovery"] {
        assert_eq!(run(name, 11).trace, run(name, 11).trace, "{name}");
        assert_ne!(run(name, 11).trace, run(name, 12).trace, "{name}");
    }
}

#[test]
fn nothing_is_lost_when_processes_are_killed() {
    holds("crashes", 1..4);
}

#[test]
fn nothing_is_lost_when_the_network_falls_apart() {
    holds("network", 1..4);
}

#[test]
fn nothing_is_lost_by_bad_disks_old_disks_and_wrong_clocks() {
    holds("disks", 1..3);
    // A leader's disk is put back to an older copy.
    holds("disks", 109..110);
}

#[test]
fn nothing_is_lost_when_hsms_come_and_go() {
    holds("members", 1..3);
}

#[test]
fn nothing_is_done_under_a_login_that_has_ended() {
    holds("logins", 1..4);
}

#[test]
fn five_hsms_hold_against_everything_at_once() {
    holds("five", 1..4);
}

#[test]
fn who_was_removed_and_runs_on_gets_nowhere_and_the_rest_have_new_secrets() {
    holds("theft", 1..4);
    // An HSM that was removed answers a client that has seen its key destroyed.
    holds("theft", 8..9);
}

#[test]
fn what_a_witness_alone_has_is_not_lost() {
    holds("witness", 1..4);
}

#[test]
fn a_cluster_goes_on_without_its_majority_which_is_fenced_when_it_returns() {
    // In the first one a survivor begins again under another number: new secrets were sealed to its old
    // one. And a follower of a leader that has lost its majority has to know that it is cut off.
    holds("recovery", 1..5);
}

#[test]
fn a_hundred_leaders_in_a_row_are_replaced_within_a_second_each() {
    let scenario = scenario::named("leader-loss").unwrap().with_leaders_killed(100);
    let report = scenario.run(1, None, false);
    assert!(report.problems.is_empty(), "{}", report.problems.join("\n"));
    assert_eq!(report.stalls_ms.len(), 100);
}

#[test]
fn what_is_broken_on_purpose_is_noticed() {
    // Those that are noticed at once; `cargo xtask sim --mutants` has all.
    for (mutant, scenario) in [
        (Mutant::SkippedFsync, "crashes"),
        (Mutant::ForgottenReplies, "crashes"),
        (Mutant::UnchargedGuess, "logins"),
        (Mutant::StaleTicket, "calm"),
        (Mutant::DoubleProposal, "calm"),
        (Mutant::NoRotation, "theft"),
        (Mutant::NoFence, "recovery"),
    ] {
        assert!(mutant::noticed(Some(mutant), scenario, 1, 5).is_some(), "{mutant:?}");
    }
}
