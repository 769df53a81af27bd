//! A build that acknowledges before the majority: the simulation must notice it.
#![cfg(feature = "early-ack")]

use strongroom_sim::scenario;

#[test]
fn a_cluster_that_acknowledges_before_the_majority_is_noticed() {
    let scenario = scenario::named("crashes").unwrap();
    assert!((1..21).any(|seed| !scenario.run(seed, None, false).problems.is_empty()));
}
