//! Members come, go, are lost, and are cut off for ever.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_cluster::{Ended, MemberRole, Node, Options, Timing};
use strongroom_vault::{Actor, Command, Endorsement, Member, NodeId, Replicator};

use crate::common::{Owner, entry};
use crate::support::{Cluster, PATIENCE, member, peer};

fn managed() -> Options {
    let timing = Timing { voter_lost: Duration::from_secs(2), ..Timing::default() };
    Options { timing, log_entries_kept: 100, ..Options::default() }
}

/// A cluster whose leader looks after its members, as the state says.
fn of(count: u64) -> (Cluster, Owner) {
    let mut cluster = Cluster::one(managed);
    let owner = cluster.set_up(1);
    assert_eq!(cluster.add_member(1, 1), NodeId(1));
    for number in 2..=count {
        assert_eq!(cluster.add_member(cluster.leader(), number), NodeId(number));
        cluster.prepare(number);
        cluster.start(number);
        assert!(cluster.node(number).ready(PATIENCE));
    }
    (cluster, owner)
}

/// Who votes, once all members know it and nothing changes.
fn voters(cluster: &Cluster) -> Vec<u64> {
    let Some((_, leader)) = cluster.running().find(|(_, node)| node.leads()) else {
        return Vec::new();
    };
    let members: Vec<u64> = leader.status().members.iter().map(|member| member.node.0).collect();
    let voters = voters_at(leader);
    let agreed = cluster
        .running()
        .filter(|(number, _)| members.contains(number))
        .all(|(_, node)| voters_at(node) == voters && !node.status().changing);
    if agreed { voters } else { Vec::new() }
}

fn voters_at(node: &Node) -> Vec<u64> {
    let members = node.status().members.into_iter();
    members.filter(|m| m.role != MemberRole::Learner).map(|m| m.node.0).collect()
}

#[test]
fn whoever_is_a_member_by_the_state_gets_the_log_and_perhaps_a_vote() {
    let (cluster, _) = of(6);
    cluster.eventually("five vote", |cluster| voters(cluster).len() == 5);
    cluster.same_everywhere();
}

#[test]
fn a_lost_voter_is_replaced_by_a_learner() {
    let (mut cluster, _) = of(4);
    cluster.eventually("three vote", |cluster| voters(cluster).len() == 3);
    let leader = cluster.leader();
    let lost = voters(&cluster).into_iter().find(|voter| *voter != leader).unwrap();
    cluster.stop(lost);
    cluster.eventually("the fourth votes instead", |cluster| {
        let voters = voters(cluster);
        voters.len() == 3 && !voters.contains(&lost)
    });
}

#[test]
fn a_removed_member_takes_no_part_any_more() {
    let (cluster, _) = of(3);
    cluster.eventually("three vote", |cluster| voters(cluster).len() == 3);
    let leader = cluster.leader();
    let gone = 1 + leader % 3;
    let remove = Command::RemoveMember { node: NodeId(gone), receipt: true };
    cluster.apply(leader, &entry(Actor::System, remove));
    cluster.eventually("it is out", |cluster| {
        let status = cluster.node(cluster.leader()).status();
        status.members.len() == 2 && voters(cluster).len() == 2
    });
}

#[test]
fn a_leader_that_is_removed_hands_over_first() {
    let (cluster, _) = of(3);
    cluster.eventually("three vote", |cluster| voters(cluster).len() == 3);
    let leader = cluster.leader();
    let remove = Command::RemoveMember { node: NodeId(leader), receipt: true };
    cluster.apply(leader, &entry(Actor::System, remove));
    cluster.eventually("two are left", |cluster| voters(cluster).len() == 2);
    assert_ne!(cluster.leader(), leader);
}

#[test]
fn a_new_member_gets_a_snapshot_where_the_log_is_cut() {
    let mut cluster = Cluster::one(managed);
    let owner = cluster.set_up(1);
    cluster.add_member(1, 1);
    for number in 0..1_500 {
        cluster.create(1, owner, &number.to_string());
    }
    cluster.add_member(1, 2);
    cluster.prepare(2);
    cluster.start(2);
    assert!(cluster.node(2).ready(PATIENCE));
    cluster.same_everywhere();
    cluster.eventually("both vote", |cluster| voters(cluster).len() == 2);
    let state = cluster.node(2).state().read();
    assert_eq!(state.object_count(), 1_500);
    let ids: Vec<_> = (0..1_500)
        .filter_map(|n| {
            state.object(strongroom_vault::Handle(strongroom_vault::Handle::FIRST.0 + n))
        })
        .map(|object| object.id)
        .collect();
    drop(state);
    assert_eq!(ids.len(), 1_500);
    for id in ids {
        let blob = cluster.node(2).blob(id).unwrap();
        assert!(blob.is_some());
        assert_eq!(blob, cluster.node(1).blob(id).unwrap());
    }
    // It goes on from there, over a restart too.
    cluster.stop(2);
    cluster.start(2);
    cluster.create(2, owner, "after");
    cluster.same_everywhere();
}

#[test]
fn a_leader_whose_clock_is_wrong_gives_up_and_stamps_nothing() {
    let (cluster, _) = of(3);
    cluster.eventually("three vote", |cluster| voters(cluster).len() == 3);
    let leader = cluster.leader();
    let before = cluster.node(leader).state().read().time_ms();
    cluster.hsms[&leader].clock_apart_ms.store(3_600_000, Ordering::Relaxed);
    let other = 1 + leader % 3;
    cluster.eventually("another leads", |cluster| cluster.leader() != leader);
    let close = Command::CloseLogins { logins: Vec::new() };
    cluster.apply(other, &entry(Actor::System, close));
    assert!(cluster.node(other).state().read().time_ms() < before + 3_600_000);
}

#[test]
fn survivors_of_a_disaster_go_on_and_the_old_majority_is_fenced() {
    let (mut cluster, owner) = of(3);
    cluster.eventually("three vote", |cluster| voters(cluster).len() == 3);
    cluster.same_everywhere();
    for number in 1..=3 {
        cluster.stop(number);
    }
    {
        let (mut disk, _) = cluster.disk(3);
        let alone = BTreeMap::from([(NodeId(3), peer(3))]);
        Node::force_membership(&mut disk, NodeId(3), 1, &alone).unwrap();
        assert!(Node::force_membership(&mut disk, NodeId(3), 1, &alone).is_err());
    }
    cluster.start(3);
    assert!(cluster.node(3).ready(PATIENCE));
    assert_eq!(cluster.node(3).status().fence, 1);
    let recovered = Command::Recovered { fence: 1, members: vec![NodeId(3)] };
    cluster.apply(3, &entry(Actor::System, recovered));
    cluster.create(3, owner, "after");
    // The old majority comes back, hears of it, and ends.
    cluster.start(1);
    cluster.start(2);
    cluster.eventually("both are fenced", |cluster| {
        [1, 2].iter().all(|n| *cluster.hsms[n].watch.ended.lock().unwrap() == Some(Ended::Fenced))
    });
}

/// Two HSMs and a witness, which all vote.
fn with_witness() -> (Cluster, Owner) {
    let (mut cluster, owner) = of(2);
    let witness = Member { witness: true, sealing_key: Vec::new(), ..member(3) };
    let add = Command::AddMember {
        member: witness,
        endorsement: Endorsement::Provisioner,
        replaces: None,
    };
    cluster.apply(1, &entry(Actor::System, add));
    cluster.prepare_as(3, true);
    cluster.start(3);
    cluster.eventually("all three vote", |cluster| voters(cluster).len() == 3);
    (cluster, owner)
}

#[test]
fn two_hsms_and_a_witness_go_on_without_one_of_the_hsms() {
    let (mut cluster, owner) = with_witness();
    cluster.stop(1);
    cluster.create(2, owner, "by the other");
    assert_eq!(cluster.leader(), 2);
    assert_eq!(cluster.node(3).state().read().object_count(), 0, "a witness knows nothing");
}

#[test]
fn a_witness_brings_an_hsm_up_to_date_and_hands_over() {
    let (mut cluster, owner) = with_witness();
    cluster.lead(1);
    cluster.net.isolate(2);
    for number in 0..3 {
        cluster.create(1, owner, &number.to_string());
    }
    assert_eq!(cluster.node(2).state().read().object_count(), 0);
    // Only the witness has what was acknowledged.
    cluster.stop(1);
    cluster.net.heal();
    cluster.create(2, owner, "after");
    assert_eq!(cluster.node(2).state().read().object_count(), 4);
    cluster.eventually("the HSM leads", |cluster| cluster.node(2).leads());
}

#[test]
fn a_witness_passes_a_snapshot_on_that_it_cannot_open() {
    let (mut cluster, owner) = with_witness();
    cluster.lead(1);
    cluster.stop(2);
    for number in 0..2_500 {
        cluster.create(1, owner, &number.to_string());
    }
    cluster.eventually("the witness's log is cut", |cluster| {
        cluster.node(3).status().first_log > 1_000
    });
    cluster.stop(1);
    cluster.start(2);
    cluster.create(2, owner, "after");
    assert_eq!(cluster.node(2).state().read().object_count(), 2_501);
}

#[test]
fn a_witness_gives_an_hsm_the_secrets_that_were_made_while_it_was_away() {
    let (mut cluster, owner) = with_witness();
    cluster.lead(1);
    cluster.stop(2);
    cluster.rotate(1);
    for number in 0..2_500 {
        cluster.create(1, owner, &number.to_string());
    }
    cluster.eventually("the witness's log is cut", |cluster| {
        cluster.node(3).status().first_log > 1_000
    });
    // From now on nobody is there who could open what the witness has, but for the one that was away.
    cluster.stop(1);
    cluster.stop(3);
    cluster.start(3);
    cluster.start(2);
    cluster.create(2, owner, "after");
    assert_eq!(cluster.node(2).state().read().object_count(), 2_501);
    assert_eq!(cluster.node(2).state().read().secrets_epoch(), 2);
    cluster.eventually("the HSM leads", |cluster| cluster.node(2).leads());
}
