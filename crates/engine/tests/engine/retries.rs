//! A request that is sent again after a lost reply runs once.

use cryptoki_sys::*;
use strongroom_wire::message::{Operation, Outcome, Reply, Role};

use crate::follower::follower;
use crate::support::*;

fn handle(reply: &Reply) -> u64 {
    assert_eq!(reply.status, CKR_OK, "{}", reply.message);
    match &reply.outcome {
        Some(Outcome::Object(object)) => object.handle,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retried_creation_gives_the_same_handle_on_another_connection_and_after_a_restart() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let first = handle(&alice.send(50, aes(&[])));
    assert_eq!(handle(&alice.send(50, aes(&[]))), first);
    let mut again = alice.another(&hsm);
    assert_eq!(handle(&again.send(50, aes(&[]))), first);
    let hsm = hsm.restart();
    let mut restarted = alice.another(&hsm);
    assert_eq!(handle(&restarted.send(50, aes(&[]))), first);
    assert_ne!(handle(&restarted.send(51, aes(&[]))), first);
    assert_eq!(restarted.find(template(&[]), 10).len(), 2);
}

#[test]
fn a_retried_pair_and_a_retried_session_key_are_the_first_ones() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let session = aes(&[(CKA_TOKEN, FALSE)]);
    let first = handle(&alice.send(60, session));
    assert_eq!(handle(&alice.send(60, aes(&[(CKA_TOKEN, FALSE)]))), first);
    let one = alice.send(61, p256());
    let two = alice.send(61, p256());
    assert_eq!(one.outcome, two.outcome);
    assert_eq!(alice.find(template(&[]), 10).len(), 3);
}

#[test]
fn a_retried_change_of_users_and_objects_succeeds_once() {
    let hsm = Hsm::active();
    let mut admin = hsm.admin();
    for _ in 0..2 {
        assert_eq!(admin.send(70, create_user("carol", Role::CryptoUser)).status, CKR_OK);
    }
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[]));
    let set = || {
        Operation::SetAttributes(strongroom_wire::message::SetAttributes {
            handle: key,
            template: Some(template(&[(CKA_LABEL, b"new")])),
        })
    };
    for _ in 0..2 {
        assert_eq!(alice.send(80, set()).status, CKR_OK);
    }
    for _ in 0..2 {
        assert_eq!(alice.send(81, destroy(key)).status, CKR_OK);
    }
    assert_ne!(alice.send(82, destroy(key)).status, CKR_OK);
}

#[test]
fn a_sequence_that_was_another_requests_is_refused() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    alice.send(90, p256());
    assert_eq!(alice.send(90, aes(&[])).status, CKR_ARGUMENTS_BAD);
}

#[test]
fn a_change_that_did_not_happen_happens_when_it_is_tried_again() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    hsm.cut_off(true);
    assert_eq!(alice.send(95, aes(&[])).status, CKR_DEVICE_ERROR);
    hsm.cut_off(false);
    handle(&alice.send(95, aes(&[])));
    assert_eq!(alice.find(template(&[]), 10).len(), 1);
}

#[test]
fn an_hsm_that_is_behind_catches_up_before_it_answers() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (other, link) = follower(&hsm, None);
    let key = alice.object(aes(&[(CKA_LABEL, b"before")]));
    let mut there = alice.another(&other);
    there.seen_index = alice.seen_index;
    there.attribute(key, CKA_LABEL).unwrap();
    alice.set(key, template(&[(CKA_LABEL, b"after")])).unwrap();
    // The object is there, so nothing but the client's index says that it has changed.
    let before = link.barriers();
    assert_eq!(there.attribute(key, CKA_LABEL).unwrap(), b"before");
    assert_eq!(link.barriers(), before);
    there.seen_index = alice.seen_index;
    assert_eq!(there.attribute(key, CKA_LABEL).unwrap(), b"after");
}
