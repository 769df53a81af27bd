//! Several nodes: what a majority has is never lost, and everybody comes to see it.

#[path = "../../../store/tests/common/mod.rs"]
mod common;
mod members;
mod support;

use strongroom_cluster::{Ended, MemberRole};
use strongroom_vault::{ClientId, Contact, Entry, NodeId, ReplicationError, Replicator};

use common::{blob_of, entry, new_key, new_object};
use support::{Cluster, peer};

#[test]
fn what_one_node_proposes_all_apply() {
    let cluster = Cluster::of(3);
    let owner = cluster.set_up(2);
    for number in 1..=3 {
        cluster.create(number, owner, &format!("by {number}"));
    }
    cluster.same_everywhere();
    assert_eq!(cluster.node(3).state().read().object_count(), 3);
}

#[test]
fn who_asks_after_an_answer_sees_it_on_every_node() {
    let cluster = Cluster::of(3);
    let owner = cluster.set_up(1);
    for round in 0..20 {
        let (by, at) = (1 + round % 3, 1 + (round + 1) % 3);
        let object = new_object(owner, &format!("{round}"));
        let id = object.id;
        let create = strongroom_vault::Command::CreateObjects { objects: vec![object] };
        cluster.apply(by, &entry(owner.actor(), create));
        let node = cluster.node(at);
        node.read_barrier().unwrap();
        assert_eq!(node.state().read().object_count() as u64, round + 1);
        assert_eq!(node.blob(id).unwrap().unwrap(), blob_of(&format!("{round}")));
    }
}

#[test]
fn a_lost_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::of(3);
    let owner = cluster.set_up(1);
    for round in 0..6 {
        let leader = cluster.leader();
        cluster.create(leader, owner, &format!("before {round}"));
        cluster.stop(leader);
        let other = 1 + leader % 3;
        cluster.create(other, owner, &format!("after {round}"));
        assert_eq!(cluster.node(other).state().read().object_count(), 2 * (round + 1));
        cluster.start(leader);
        cluster.same_everywhere();
    }
}

#[test]
fn a_leader_without_a_majority_knows_it_and_commits_nothing() {
    let cluster = Cluster::of(3);
    let owner = cluster.set_up(1);
    cluster.same_everywhere();
    cluster.net.isolate(1);
    cluster.eventually("it notices", |cluster| {
        matches!(cluster.node(1).contact(), Contact::CutOff { .. })
    });
    let refused = cluster.node(1).propose(entry(owner.actor(), new_key(owner, "lost")));
    assert_eq!(refused, Err(ReplicationError::CutOff));
    assert_eq!(cluster.node(1).read_barrier(), Err(ReplicationError::CutOff));
    cluster.create(2, owner, "kept");
    assert_eq!(cluster.node(1).state().read().object_count(), 0);
    cluster.net.heal();
    cluster.eventually("it is in touch again", |cluster| {
        cluster.node(1).contact() == Contact::Connected
    });
    cluster.same_everywhere();
    assert_eq!(cluster.node(1).state().read().object_count(), 1);
}

#[test]
fn a_follower_of_a_leader_without_a_majority_knows_that_it_is_cut_off() {
    let cluster = Cluster::of(5);
    let leader = cluster.leader();
    let follower = 1 + leader % 5;
    for far in (1..=5).filter(|far| ![leader, follower].contains(far)) {
        for near in [leader, follower] {
            cluster.net.cut(near, far);
            cluster.net.cut(far, near);
        }
    }
    cluster.eventually("it notices", |cluster| {
        matches!(cluster.node(follower).contact(), Contact::CutOff { .. })
    });
    assert_eq!(cluster.node(follower).status().leader, Some(NodeId(leader)), "it hears one");
    cluster.net.heal();
    cluster.eventually("it is in touch again", |cluster| {
        cluster.node(follower).contact() == Contact::Connected
    });
}

/// openraft #1802: with five voters, two acknowledgements of five advanced the commit index.
#[test]
fn two_of_five_voters_commit_nothing() {
    let cluster = Cluster::of(5);
    let owner = cluster.set_up(1);
    cluster.same_everywhere();
    let leader = cluster.leader();
    let follower = 1 + leader % 5;
    for far in (1..=5).filter(|far| ![leader, follower].contains(far)) {
        for near in [leader, follower] {
            cluster.net.cut(near, far);
            cluster.net.cut(far, near);
        }
    }
    let committed = cluster.node(leader).status().committed;
    let answer = cluster.node(leader).propose(entry(owner.actor(), new_key(owner, "lost")));
    assert!(matches!(answer, Err(ReplicationError::NoQuorum | ReplicationError::CutOff)));
    assert_eq!(cluster.node(leader).status().committed, committed);
    let other = (1..=5).find(|n| ![leader, follower].contains(n)).unwrap();
    cluster.create(other, owner, "kept");
    cluster.net.heal();
    cluster.same_everywhere();
}

#[test]
fn a_retry_through_another_node_gets_the_first_answer() {
    let cluster = Cluster::of(3);
    let owner = cluster.set_up(1);
    let client = ClientId([9; 16]);
    let request = Entry { client, sequence: 5, ..entry(owner.actor(), new_key(owner, "once")) };
    let first = cluster.propose(2, &request);
    let again = cluster.propose(3, &request);
    assert_eq!(again.result, first.result);
    cluster.same_everywhere();
    assert_eq!(cluster.node(1).state().read().object_count(), 1);
}

#[test]
fn a_node_that_comes_back_disturbs_nobody() {
    let cluster = Cluster::of(3);
    let owner = cluster.set_up(1);
    let leader = cluster.leader();
    let flapping = 1 + leader % 3;
    let term = cluster.node(leader).status().term;
    for round in 0..3 {
        cluster.net.isolate(flapping);
        cluster.eventually("it is cut off", |cluster| {
            matches!(cluster.node(flapping).contact(), Contact::CutOff { .. })
        });
        cluster.net.heal();
        cluster.create(flapping, owner, &format!("{round}"));
    }
    assert_eq!(cluster.node(leader).status().term, term);
    assert_eq!(cluster.leader(), leader);
}

#[test]
fn a_leader_hands_over_when_it_is_told_to() {
    let cluster = Cluster::of(3);
    let owner = cluster.set_up(1);
    let leader = cluster.leader();
    cluster.runtime.block_on(cluster.node(leader).transfer_leadership()).unwrap();
    cluster.create(leader, owner, "after");
    assert_ne!(cluster.leader(), leader);
}

#[test]
fn a_disk_that_was_put_back_from_a_copy_is_found_out() {
    let mut cluster = Cluster::of(3);
    let owner = cluster.set_up(1);
    cluster.create(1, owner, "old");
    cluster.same_everywhere();
    cluster.stop(3);
    let path = cluster.hsms[&3].path.clone();
    let copy = path.with_extension("copy");
    copy_files(&path, &copy);
    cluster.start(3);
    cluster.create(3, owner, "new");
    cluster.same_everywhere();
    cluster.stop(3);
    copy_files(&copy, &path);
    cluster.start(3);
    cluster.eventually("it is found out", |cluster| {
        *cluster.hsms[&3].watch.ended.lock().unwrap() == Some(Ended::RolledBack)
    });
    let refused = cluster.node(3).propose(entry(owner.actor(), new_key(owner, "no")));
    assert_eq!(refused, Err(ReplicationError::CutOff));
    // It rejoins under a new number, with nothing.
    cluster.stop(3);
    cluster.prepare(4);
    cluster.start(4);
    let leader = cluster.leader();
    let added = cluster.node(leader).add_learner(NodeId(4), peer(4));
    cluster.runtime.block_on(added).unwrap();
    cluster.same_everywhere();
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(to).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn roles_and_lag_show_in_the_status() {
    let cluster = Cluster::of(3);
    let status = cluster.node(cluster.leader()).status();
    let roles: Vec<MemberRole> = status.members.iter().map(|member| member.role).collect();
    assert_eq!(roles, [MemberRole::Leader, MemberRole::Voter, MemberRole::Voter]);
    cluster.eventually("nobody lags", |cluster| {
        let status = cluster.node(1).status();
        status.members.iter().all(|member| member.lag == Some(0))
    });
    assert_eq!(status.node_of(&peer(2).device_key), Some(NodeId(2)));
}
