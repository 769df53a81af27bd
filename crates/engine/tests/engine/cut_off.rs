//! An HSM that is cut off from the majority: it uses keys for a while, takes no change, and counts failed
//! logins so that nobody gains a guess.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_vault::limits::LOGIN_FAILURES_MAX;
use strongroom_wire::message::{
    FindObjects, Operation, Ping, Reply, Retry, Role, SetCutOffPolicy, Topology,
};

use crate::follower::*;
use crate::support::*;

fn elsewhere(reply: &Reply) -> bool {
    reply.status == CKR_DEVICE_ERROR && reply.retry() == Retry::Elsewhere
}

fn failures(hsm: &Hsm, user: &str) -> u32 {
    hsm.memory.user(user).failures
}

#[test]
fn keys_are_used_for_as_long_as_the_policy_says_and_nothing_is_changed() {
    let hsm = Hsm::active();
    let (other, link) = follower(&hsm, None);
    let mut admin = hsm.admin();
    let mut alice = other.alice();
    let key = alice.pair(p256()).1;
    for (policy, cut_off, used) in [
        (3600, 2, true),
        (3600, 3599, true),
        (3600, 3600, false),
        (0, 1, false),
        (10, 11, false),
        (u64::MAX, 1_000_000_000, true),
    ] {
        admin.done(Operation::SetCutOffPolicy(SetCutOffPolicy { seconds: policy }));
        link.catch_up();
        link.cut_off_for(Some(cut_off));
        for session_key in [false, true] {
            let request = if session_key { aes(&[(CKA_TOKEN, FALSE)]) } else { ecdsa(key) };
            let sequence = alice.sequence + 1;
            alice.sequence = sequence;
            let reply = alice.send(sequence, request);
            if used {
                assert_eq!(reply.status, CKR_OK, "{policy} {cut_off}: {}", reply.message);
            } else {
                assert!(elsewhere(&reply), "{policy} {cut_off}");
                assert!(reply.message.contains("cut off"), "{}", reply.message);
            }
        }
        alice.sequence += 1;
        let change = alice.send(alice.sequence, aes(&[]));
        assert!(elsewhere(&change), "no change, {policy} {cut_off}");
        if used {
            assert!(change.message.contains("strongroom recover"), "{}", change.message);
        }
        // Where else to go is always told.
        alice.call(Operation::Topology(Topology {})).unwrap();
        alice.done(Operation::Ping(Ping {}));
        link.cut_off_for(None);
        alice.bytes(ecdsa(key));
        alice.object(aes(&[]));
    }
}

#[test]
fn what_is_not_known_here_is_answered_from_here_while_it_is_cut_off() {
    let hsm = Hsm::active();
    let (other, link) = follower(&hsm, None);
    let mut here = other.alice();
    let known = here.object(aes(&[]));
    link.cut_off_for(Some(5));
    let mut alice = hsm.alice();
    let unknown = alice.object(aes(&[]));
    assert_eq!(here.attribute(unknown, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(here.find(template(&[]), 10), [known]);
    // But never to a client that has seen more, whatever it says that it needs.
    for needs in [None, Some(0)] {
        here.seen_index = alice.seen_index;
        here.needs_index = needs;
        here.sequence += 1;
        let get = sign(unknown, mechanism(CKM_ECDSA_SHA256), b"data");
        assert!(elsewhere(&here.send(here.sequence, get)));
    }
    here.needs_index = None;
    assert_eq!(other.engine.newest_seen_by_clients().0, alice.seen_index);
    link.cut_off_for(None);
    link.catch_up();
    assert_eq!(here.find(template(&[]), 10), [known, unknown]);
}

#[test]
fn failed_logins_count_on_top_of_what_was_known_and_a_restart_forgets_none() {
    let hsm = Hsm::active();
    let counters = Arc::new(Counters::default());
    for _ in 0..2 {
        hsm.client().log_in("alice", Role::CryptoUser, b"wrong password").unwrap_err();
    }
    let (mut other, link) = follower(&hsm, Some(&counters));
    link.cut_off_for(Some(5));
    for _ in 0..3 {
        let refused = other.client().log_in("alice", Role::CryptoUser, b"wrong password");
        assert_eq!(refused.unwrap_err().status, CKR_PIN_INCORRECT);
        other = restarted(&hsm, &link, Some(&counters));
    }
    for password in [PASSWORD, b"wrong password"] {
        let refused = other.client().log_in("alice", Role::CryptoUser, password).unwrap_err();
        assert_eq!(refused.status, CKR_PIN_LOCKED);
    }
    for (user, role) in [("nobody", Role::CryptoUser), ("bob", Role::Admin)] {
        let refused = other.client().log_in(user, role, PASSWORD).unwrap_err();
        assert_eq!(refused.status, CKR_PIN_INCORRECT);
    }
    assert_eq!(failures(&hsm, "alice"), 2, "nothing has reached the cluster");
    link.cut_off_for(None);
    other.engine.housekeeping();
    assert_eq!(failures(&hsm, "alice"), LOGIN_FAILURES_MAX);
    assert_eq!(failures(&hsm, "bob"), 0);
    assert!(counters.0.lock().unwrap().is_empty(), "and they count once");
    let refused = hsm.client().log_in("alice", Role::CryptoUser, PASSWORD).unwrap_err();
    assert_eq!(refused.status, CKR_PIN_LOCKED);
}

#[test]
fn failures_from_before_a_restart_reach_the_cluster_before_the_next_login() {
    let hsm = Hsm::active();
    let counters = Arc::new(Counters::default());
    let (other, link) = follower(&hsm, Some(&counters));
    link.cut_off_for(Some(5));
    for _ in 0..4 {
        other.client().log_in("alice", Role::CryptoUser, b"wrong password").unwrap_err();
    }
    let other = restarted(&hsm, &link, Some(&counters));
    link.cut_off_for(None);
    for status in [CKR_PIN_INCORRECT, CKR_PIN_LOCKED] {
        let refused = other.client().log_in("alice", Role::CryptoUser, b"wrong password");
        assert_eq!(refused.unwrap_err().status, status);
    }
}

#[test]
fn failures_that_could_not_be_merged_are_kept() {
    let hsm = Hsm::active();
    let counters = Arc::new(Counters::default());
    let (other, link) = follower(&hsm, Some(&counters));
    link.cut_off_for(Some(5));
    other.client().log_in("alice", Role::CryptoUser, b"wrong password").unwrap_err();
    let mut alice = other.client();
    alice.log_in("bob", Role::CryptoUser, PASSWORD).unwrap();
    link.cut_off_for(None);
    hsm.cut_off(true);
    other.engine.housekeeping();
    assert_eq!(counters.0.lock().unwrap().len(), 1);
    hsm.cut_off(false);
    other.engine.housekeeping();
    assert_eq!(failures(&hsm, "alice"), 1);
    assert!(counters.0.lock().unwrap().is_empty());
    alice.another(&hsm).object(aes(&[]));
}

#[test]
fn a_login_while_cut_off_counts_here_and_then_everywhere() {
    let hsm = Hsm::active();
    let counters = Arc::new(Counters::default());
    let (other, link) = follower(&hsm, Some(&counters));
    let key = hsm.alice().pair(p256()).1;
    link.catch_up();
    link.cut_off_for(Some(5));
    other.client().log_in("alice", Role::CryptoUser, b"wrong password").unwrap_err();
    let mut alice = other.client();
    alice.log_in("alice", Role::CryptoUser, PASSWORD).unwrap();
    assert!(counters.0.lock().unwrap().is_empty(), "a good login forgives");
    alice.bytes(ecdsa(key));
    let session_key = alice.object(aes(&[(CKA_TOKEN, FALSE), (CKA_ENCRYPT, TRUE)]));
    alice.another(&other).bytes(ecdsa(key));
    assert_eq!(alice.refused(aes(&[])), CKR_DEVICE_ERROR);

    // Elsewhere it is not known yet, and not here either after a restart.
    for hsm in [&hsm, &restarted(&hsm, &link, Some(&counters))] {
        let mut unknown = hsm.client();
        unknown.ticket.clone_from(&alice.ticket);
        unknown.id = alice.id;
        let pkcs8 = alice.key.to_pkcs8().unwrap();
        unknown.key = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        assert_eq!(unknown.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
    }

    link.cut_off_for(None);
    other.engine.housekeeping();
    alice.object(aes(&[]));
    let mut moved = alice.moved(&hsm);
    moved.bytes(ecdsa(key));
    assert!(moved.boolean(session_key, CKA_ENCRYPT));
    moved.object(aes(&[]));
    moved.done(logout());
    link.catch_up();
    assert_eq!(alice.refused(ecdsa(key)), CKR_USER_NOT_LOGGED_IN);
}

#[test]
fn the_first_change_after_contact_is_back_makes_the_login_the_clusters() {
    let hsm = Hsm::active();
    let counters = Arc::new(Counters::default());
    let (other, link) = follower(&hsm, Some(&counters));
    link.cut_off_for(Some(5));
    let mut alice = other.client();
    alice.log_in("alice", Role::CryptoUser, PASSWORD).unwrap();
    link.cut_off_for(None);
    let key = alice.object(aes(&[]));
    alice.another(&hsm).done(destroy(key));
}

#[test]
fn a_login_while_cut_off_ends_where_the_password_has_changed_meanwhile() {
    let hsm = Hsm::active();
    let counters = Arc::new(Counters::default());
    let (other, link) = follower(&hsm, Some(&counters));
    let mut owner = hsm.alice();
    let used = owner.pair(p256()).1;
    owner.done(logout());
    link.catch_up();
    link.cut_off_for(Some(5));
    let mut alice = other.client();
    alice.log_in("alice", Role::CryptoUser, PASSWORD).unwrap();
    alice.bytes(ecdsa(used));
    let before = hsm.memory.shared_logins();
    hsm.admin().done(change_password("alice", Role::CryptoUser, None, b"another one"));
    let key = alice.object(aes(&[(CKA_TOKEN, FALSE)]));
    link.cut_off_for(None);
    other.engine.housekeeping();
    link.catch_up();
    // It is told that its login has ended, rather than that there are no keys.
    let find = Operation::FindObjects(FindObjects { template: None, after: 0, max: 10 });
    for request in [aes(&[]), ecdsa(used), destroy(used), find] {
        assert_eq!(alice.refused(request), CKR_USER_NOT_LOGGED_IN);
    }
    assert_eq!(alice.refused(destroy(key)), CKR_OBJECT_HANDLE_INVALID);
    assert_eq!(hsm.memory.shared_logins(), before + 1, "the admin's");
}

#[test]
fn one_logs_out_of_a_login_that_began_apart() {
    let hsm = Hsm::active();
    let counters = Arc::new(Counters::default());
    let (other, link) = follower(&hsm, Some(&counters));
    link.cut_off_for(Some(5));
    let mut alice = other.client();
    alice.log_in("alice", Role::CryptoUser, PASSWORD).unwrap();
    alice.object(aes(&[(CKA_TOKEN, FALSE)]));
    let before = hsm.memory.shared_logins();
    alice.done(logout());
    assert_eq!(alice.refused(aes(&[(CKA_TOKEN, FALSE)])), CKR_USER_NOT_LOGGED_IN);
    link.cut_off_for(None);
    other.engine.housekeeping();
    assert_eq!(hsm.memory.shared_logins(), before);
}

#[test]
fn without_a_disk_for_failures_nobody_logs_in_on_an_hsm_that_is_cut_off() {
    let hsm = Hsm::active();
    let (other, link) = follower(&hsm, None);
    link.cut_off_for(Some(5));
    let mut alice = other.client();
    let refused = alice.log_in("alice", Role::CryptoUser, PASSWORD).unwrap_err();
    assert_eq!(refused.status, CKR_DEVICE_ERROR);
}
