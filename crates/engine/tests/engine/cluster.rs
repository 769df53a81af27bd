//! More than one HSM: who they are, what is told of a change made elsewhere, and what admins decide.

use cryptoki_sys::*;
use strongroom_vault::{Command, Endorsement, Member, NodeId};
use strongroom_wire::message::{
    self, ApproveJoin, ClusterInfo, Hello, InstallClusterCertificate, ListUsers, Operation,
    Outcome, Ping, Retry, Role, SetCutOffPolicy, SetJoinPolicy, SetRecoveryKeys, Topology,
};

use crate::follower::*;
use crate::support::*;

fn member(number: u8, witness: bool) -> Member {
    Member {
        node: NodeId(0),
        hsm_id: if number == 1 { "hsm-2345abcdefg".to_owned() } else { format!("hsm-{number}") },
        witness,
        address: format!("127.0.{number}.10"),
        port_offset: 100,
        zone: format!("zone-{number}"),
        device_key: vec![number; 91],
        sealing_key: vec![number; 64],
    }
}

fn add(hsm: &Hsm, number: u8, witness: bool) {
    hsm.memory.system(Command::AddMember {
        member: member(number, witness),
        endorsement: Endorsement::Provisioner,
        replaces: None,
    });
}

fn automatic(hsm: &Hsm) -> Client {
    let mut admin = hsm.admin();
    let policy = message::JoinPolicy::Automatic.into();
    admin.done(Operation::SetJoinPolicy(SetJoinPolicy { policy, approvals: 0 }));
    admin
}

fn info(client: &mut Client) -> message::ClusterInfoReply {
    match client.call(Operation::ClusterInfo(ClusterInfo {})) {
        Ok(Some(Outcome::ClusterInfo(info))) => info,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_learn_which_hsms_there_are_and_when_that_changes() {
    let hsm = Hsm::active();
    automatic(&hsm);
    let mut client = hsm.client();
    let ask = |client: &mut Client| match client.call(Operation::Topology(Topology {})) {
        Ok(Some(Outcome::Topology(topology))) => topology,
        other => panic!("{other:?}"),
    };
    assert!(ask(&mut client).hsms.is_empty());
    for (number, witness) in [(1, false), (2, true), (3, false)] {
        let before = client.send(0, Operation::Ping(Ping {})).topology;
        add(&hsm, number, witness);
        let reply = client.send(0, Operation::Ping(Ping {}));
        assert!(reply.topology > before);
        assert_eq!(ask(&mut client).version, reply.topology);
    }
    let hsms = ask(&mut client).hsms;
    let found: Vec<_> = hsms.iter().map(|hsm| (&hsm.hsm_id[..], hsm.port, &hsm.zone[..])).collect();
    assert_eq!(found, [("hsm-2345abcdefg", 2323, "zone-1"), ("hsm-3", 2323, "zone-3")]);
    let hello = Hello { api_level_min: 1, api_level_max: 1, client_name: String::new() };
    let Ok(Some(Outcome::Hello(reply))) = client.call(Operation::Hello(hello)) else {
        panic!("no hello")
    };
    assert_eq!((reply.hsms, &reply.zone[..]), (2, "zone-1"));
}

#[test]
fn a_topology_that_is_not_on_disk_yet_is_not_told() {
    let hsm = Hsm::active();
    automatic(&hsm);
    let mut client = hsm.client();
    let before = client.send(0, Operation::Ping(Ping {})).topology;
    hsm.lag(true);
    add(&hsm, 1, false);
    assert_eq!(client.send(0, Operation::Ping(Ping {})).topology, before);
    hsm.lag(false);
    assert!(client.send(0, Operation::Ping(Ping {})).topology > before);
}

#[test]
fn a_client_that_has_seen_what_the_cluster_lost_is_served_and_an_operator_told() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.pair(p256()).1;
    assert!(!info(&mut alice).warnings.iter().any(|warning| warning.contains("newer state")));
    let durable = hsm.memory.durable();
    alice.seen_index = durable + 50;
    alice.sequence += 1;
    let ecdsa = sign(key, mechanism(CKM_ECDSA_SHA256), b"data");
    let reply = alice.send(alice.sequence, ecdsa);
    assert_eq!((reply.status, reply.log_index), (CKR_OK, durable));
    assert_eq!(hsm.engine.newest_seen_by_clients().0, durable + 50);
    let warned = |client: &mut Client| {
        info(client).warnings.iter().any(|warning| warning.contains("newer state"))
    };
    assert!(warned(&mut alice));
    for _ in 0..50 {
        alice.seen_index = 0;
        alice.object(aes(&[]));
    }
    assert!(!warned(&mut alice));
}

#[test]
fn an_object_made_elsewhere_is_found_and_a_hit_asks_nobody() {
    let hsm = Hsm::active();
    let (other, link) = follower(&hsm, None);
    let mut there = other.alice();
    let mut alice = hsm.alice();
    let key = alice.pair(p256()).1;
    let ecdsa = || sign(key, mechanism(CKM_ECDSA_SHA256), b"data");
    // The clients have not heard of one another: no index says that there is something new.
    let before = link.barriers();
    there.bytes(ecdsa());
    assert_eq!(link.barriers(), before + 1);
    for _ in 0..3 {
        there.bytes(ecdsa());
        there.attribute(key, CKA_LABEL).unwrap();
    }
    assert_eq!(link.barriers(), before + 1, "what is there needs no barrier");
    let more = alice.object(aes(&[]));
    assert!(there.find(template(&[]), 1).contains(&more));
    alice.done(destroy(more));
    assert!(!there.find(template(&[]), 10).contains(&more));
    hsm.admin().done(create_user("carol", Role::CryptoUser));
    let Ok(Some(Outcome::Users(users))) = there.call(Operation::ListUsers(ListUsers {})) else {
        panic!("no users")
    };
    assert!(users.users.iter().any(|user| user.user == "carol"));
}

#[test]
fn a_use_that_needs_less_than_its_client_has_seen_waits_for_nothing() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.pair(p256()).1;
    let (other, link) = follower(&hsm, None);
    let mut there = other.alice();
    let ecdsa = |key| sign(key, mechanism(CKM_ECDSA_SHA256), b"data");
    there.bytes(ecdsa(key));
    let newer = alice.pair(p256()).1;
    let before = link.barriers();
    there.seen_index = alice.seen_index;
    there.needs_index = Some(0);
    there.sequence += 1;
    let reply = there.send(there.sequence, ecdsa(key));
    assert_eq!(reply.status, CKR_OK);
    assert!(reply.log_index < alice.seen_index, "the reply says which state it is of");
    assert_eq!(link.barriers(), before);
    // What is not there is waited for, whatever the request says.
    there.bytes(ecdsa(newer));
    assert_eq!(link.barriers(), before + 1);
}

#[test]
fn a_login_made_elsewhere_is_known_though_this_hsm_is_behind() {
    let hsm = Hsm::active();
    let (other, _) = follower(&hsm, None);
    let mut alice = hsm.alice();
    alice.seen_index = 0;
    let mut there = alice.another(&other);
    assert_eq!(there.find(template(&[]), 10), [] as [u64; 0]);
}

#[test]
fn a_retry_by_way_of_an_hsm_that_is_behind_gets_the_first_answer() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (one, two) = (alice.object(aes(&[])), alice.object(aes(&[])));
    let (other, _) = follower(&hsm, None);
    let mut there = alice.another(&other);
    alice.shared = true;
    let label = || {
        Operation::SetAttributes(message::SetAttributes {
            handle: two,
            template: Some(template(&[(CKA_LABEL, b"new")])),
        })
    };
    for (sequence, request) in [(90, destroy(one)), (91, label()), (92, destroy(two))] {
        assert_eq!(alice.send(sequence, request).status, CKR_OK);
    }
    // The replies were lost, and with them the indices.
    for (sequence, request) in [(91, label()), (90, destroy(one)), (92, destroy(two))] {
        there.seen_index = 0;
        assert_eq!(there.send(sequence, request).status, CKR_OK, "{sequence}");
    }
    assert_eq!(there.send(93, destroy(one)).status, CKR_OBJECT_HANDLE_INVALID);
}

#[test]
fn an_hsm_that_stops_sends_its_clients_elsewhere() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.pair(p256()).1;
    hsm.engine.drain();
    for request in [sign(key, mechanism(CKM_ECDSA_SHA256), b"data"), aes(&[]), hello()] {
        alice.sequence += 1;
        let reply = alice.send(alice.sequence, request);
        assert_eq!((reply.status, reply.retry()), (CKR_DEVICE_ERROR, Retry::Elsewhere));
    }
    alice.done(Operation::Ping(Ping {}));
}

#[test]
fn where_no_majority_answers_the_client_asks_again() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    hsm.cut_off(true);
    let reply = alice.send(40, aes(&[]));
    assert_eq!((reply.status, reply.retry()), (CKR_DEVICE_ERROR, Retry::Again));
    hsm.cut_off(false);
    assert_eq!(alice.send(40, aes(&[])).status, CKR_OK);
    let reply = alice.send(41, sign(1, mechanism(CKM_ECDSA_SHA256), b"data"));
    assert_eq!(reply.retry(), Retry::Never);
}

#[test]
fn admins_decide_for_the_cluster_and_others_do_not() {
    let hsm = Hsm::active();
    let (other, _) = follower(&hsm, None);
    let mut admin = other.admin();
    let mut alice = other.alice();
    let quorum = message::JoinPolicy::Quorum.into();
    let changes = || {
        [
            Operation::SetJoinPolicy(SetJoinPolicy { policy: quorum, approvals: 1 }),
            Operation::SetCutOffPolicy(SetCutOffPolicy { seconds: 60 }),
            Operation::SetRecoveryKeys(SetRecoveryKeys { keys: vec![vec![1, 2, 3]], threshold: 1 }),
        ]
    };
    for change in changes() {
        assert_eq!(alice.refused(change), CKR_ACTION_PROHIBITED);
    }
    for change in changes() {
        admin.sequence += 1;
        let sequence = admin.sequence;
        assert_eq!(admin.send(sequence, change).status, CKR_OK);
    }
    let policy = info(&mut alice);
    assert_eq!(
        policy.join_policy.map(|policy| (policy.policy, policy.approvals)),
        Some((quorum, 1))
    );
    assert_eq!(policy.cut_off_policy.map(|policy| policy.seconds), Some(60));
    assert_eq!(hsm.memory.state_recovery_keys(), 1);

    let unknown = Operation::SetJoinPolicy(SetJoinPolicy { policy: 9, approvals: 1 });
    assert_eq!(admin.refused(unknown), CKR_ARGUMENTS_BAD);
    let bad = SetRecoveryKeys { keys: vec![vec![1, 2]], threshold: 1 };
    assert_eq!(admin.refused(Operation::SetRecoveryKeys(bad)), CKR_ARGUMENTS_BAD);
}

#[test]
fn admins_approve_an_hsm_that_waits() {
    let hsm = Hsm::active();
    let mut admin = hsm.admin();
    let policy = message::JoinPolicy::Quorum.into();
    admin.done(Operation::SetJoinPolicy(SetJoinPolicy { policy, approvals: 1 }));
    hsm.memory.system(Command::RequestJoin { member: member(4, false) });
    let waiting = info(&mut admin).waiting;
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].approved_by.is_empty());
    let approve = |fingerprint| Operation::ApproveJoin(ApproveJoin { fingerprint });
    assert_eq!(admin.refused(approve(vec![1; 31])), CKR_ARGUMENTS_BAD);
    assert_eq!(hsm.alice().refused(approve(vec![1; 32])), CKR_ACTION_PROHIBITED);
    admin.done(approve(waiting[0].fingerprint.clone()));
    assert_eq!(info(&mut admin).waiting[0].approved_by, ["admin"]);
}

#[test]
fn the_owners_new_certificate_is_checked_before_it_is_installed() {
    let hsm = Hsm::active();
    let (other, _) = follower(&hsm, None);
    let mut admin = other.admin();
    let csr = || Operation::ClusterCsr(message::ClusterCsr {});
    assert_eq!(other.alice().refused(csr()), CKR_ACTION_PROHIBITED);
    let Ok(Some(Outcome::ClusterCsr(reply))) = admin.call(csr()) else { panic!("no request") };
    assert_eq!((&reply.csr[..], reply.generation), ("a request", 1));
    let install = |text: &str| {
        let signed_certificate = text.to_owned();
        Operation::InstallClusterCertificate(InstallClusterCertificate { signed_certificate })
    };
    let refused = admin.call(install("forged")).unwrap_err();
    assert_eq!(refused.message, "signed by a stranger");
    assert_eq!(other.alice().refused(install("signed")), CKR_ACTION_PROHIBITED);
    admin.done(install("signed"));
    assert_eq!(hsm.memory.cluster_certificate(), [9; 10]);
}

#[test]
fn what_an_operator_must_know_is_told_to_everybody() {
    let hsm = Hsm::active();
    automatic(&hsm);
    add(&hsm, 1, false);
    let (other, link) = follower(&hsm, None);
    let mut client = other.client();
    let alone = info(&mut client);
    assert_eq!(alone.members.len(), 1);
    assert_eq!(alone.members[0].role(), message::MemberRole::Leader);
    assert!(alone.warnings.iter().any(|warning| warning.contains("one HSM")));
    assert!(alone.warnings.iter().any(|warning| warning.contains("automatic")));
    add(&hsm, 2, false);
    add(&hsm, 3, false);
    link.catch_up();
    hsm.memory.system(Command::RemoveMember { node: NodeId(3), receipt: false });
    link.catch_up();
    link.cut_off_for(Some(5));
    let warnings = info(&mut client).warnings.join("\n");
    for part in ["cut off", "without proof", "two HSMs", "hsm-2 has no part"] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
}
