//! Session objects: whose they are, and how they end.

use cryptoki_sys::*;
use strongroom_wire::message::{CloseSession, Operation, Outcome, Role, SetAttributes};

use crate::support::*;

#[test]
fn a_session_key_works_in_all_sessions_of_its_client_and_in_no_other_client() {
    let hsm = Hsm::active();
    let mut one = hsm.alice();
    let before = one.seen_index;
    let (public, private) = session_pair(&mut one);
    assert_eq!(one.seen_index, before, "nothing was written");
    assert!(!one.boolean(private, CKA_TOKEN));
    let signature = one.bytes(ecdsa(private));
    one.bytes(ecdsa(private));
    let mut two = one.another(&hsm);
    two.session = 2;
    two.bytes(ecdsa(private));
    let mut stranger = hsm.alice();
    assert_eq!(stranger.refused(ecdsa(private)), CKR_KEY_HANDLE_INVALID);
    let check = verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature);
    assert_eq!(stranger.refused(check), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn closing_the_session_destroys_its_keys() {
    let hsm = Hsm::active();
    let mut one = hsm.alice();
    let (_, private) = session_pair(&mut one);
    let mut two = one.another(&hsm);
    two.session = 2;
    let (_, other) = session_pair(&mut two);
    two.bytes(ecdsa(private));
    one.done(Operation::CloseSession(CloseSession {}));
    for client in [&mut one, &mut two] {
        assert_eq!(client.refused(ecdsa(private)), CKR_KEY_HANDLE_INVALID);
        client.bytes(ecdsa(other));
    }
}

#[test]
fn logging_out_destroys_private_session_objects_only() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let private = session_pair(&mut user).1;
    let class = number(CKO_DATA);
    let public =
        user.object(create(&[(CKA_CLASS, &class), (CKA_PRIVATE, FALSE), (CKA_VALUE, b"note")]));
    user.done(logout());
    assert_eq!(user.attribute(public, CKA_VALUE).unwrap(), b"note");
    user.log_in("user", Role::CryptoUser, b"1234").unwrap();
    assert_eq!(user.refused(ecdsa(private)), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn session_objects_outlive_a_broken_connection_but_not_a_long_absence() {
    let hsm = Hsm::active();
    let mut one = hsm.alice();
    let key = session_pair(&mut one).1;
    let mut reconnected = one.another(&hsm);
    drop(one);
    reconnected.bytes(ecdsa(key));
    let (id, ticket) = (reconnected.id, reconnected.ticket.clone());
    let pair = reconnected.key.to_pkcs8().unwrap();
    drop(reconnected);
    let back = || {
        let mut back = hsm.client();
        back.id = id;
        back.ticket = ticket.clone();
        back.key = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
        back.attach().unwrap();
        back
    };
    pass_ms(60_000);
    hsm.engine.housekeeping();
    back().bytes(ecdsa(key));
    for _ in 0..10 {
        pass_ms(60_000);
        hsm.engine.housekeeping();
    }
    assert_eq!(back().refused(ecdsa(key)), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn a_session_objects_attributes_change_and_count_at_once() {
    let hsm = Hsm::active();
    let mut one = hsm.alice();
    let key = session_pair(&mut one).1;
    let mut two = one.another(&hsm);
    two.bytes(ecdsa(key));
    one.set(key, template(&[(CKA_SIGN, FALSE), (CKA_LABEL, b"quiet")])).unwrap();
    assert_eq!(one.attribute(key, CKA_LABEL).unwrap(), b"quiet");
    assert_eq!(two.refused(ecdsa(key)), CKR_KEY_FUNCTION_NOT_PERMITTED);
}

#[test]
fn a_session_key_becomes_a_token_key_and_its_old_handle_goes_on_working() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = session_pair(&mut alice);
    let set = SetAttributes {
        handle: private,
        template: Some(template(&[(CKA_TOKEN, TRUE), (CKA_LABEL, b"kept")])),
    };
    let Ok(Some(Outcome::Object(reply))) = alice.call(Operation::SetAttributes(set)) else {
        panic!("no new handle")
    };
    assert_eq!(reply.handle & (1 << 63), 0);
    for handle in [private, reply.handle] {
        assert!(alice.boolean(handle, CKA_TOKEN));
        assert_eq!(alice.attribute(handle, CKA_LABEL).unwrap(), b"kept");
        let signature = alice.bytes(ecdsa(handle));
        alice.done(verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
    }
    alice.done(Operation::CloseSession(CloseSession {}));
    alice.bytes(ecdsa(private));
    let hsm = hsm.restart();
    alice.another(&hsm).bytes(ecdsa(reply.handle));
    // A token object never becomes a session object.
    let mut alice = alice.another(&hsm);
    let back = alice.set(reply.handle, template(&[(CKA_TOKEN, FALSE)]));
    assert_eq!(back, Err(CKR_ATTRIBUTE_READ_ONLY));
}

#[test]
fn a_handle_from_before_a_restart_names_nothing_after_it() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let before = session_pair(&mut alice).1;
    let hsm = hsm.restart();
    let mut alice = alice.another(&hsm);
    let after = session_pair(&mut alice).1;
    assert_ne!(before, after);
    assert_eq!(alice.refused(ecdsa(before)), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn a_pair_may_be_half_token_and_half_session() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = alice.pair(generate_pair(
        CKM_EC_KEY_PAIR_GEN,
        &[(CKA_EC_PARAMS, P256), (CKA_VERIFY, TRUE)],
        &[(CKA_TOKEN, TRUE), (CKA_SIGN, TRUE)],
    ));
    assert!(public & (1 << 63) != 0 && private & (1 << 63) == 0);
    let signature = alice.bytes(ecdsa(private));
    alice.done(verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
    hsm.cut_off(true);
    let request =
        generate_pair(CKM_EC_KEY_PAIR_GEN, &[(CKA_EC_PARAMS, P256)], &[(CKA_TOKEN, TRUE)]);
    assert_eq!(alice.refused(request), CKR_DEVICE_ERROR);
    let session_objects = alice.find(template(&[(CKA_TOKEN, FALSE)]), 10);
    assert_eq!(session_objects, [public], "no half pair is left");
}

#[test]
fn session_keys_are_made_by_an_hsm_that_is_cut_off() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    hsm.cut_off(true);
    let key = session_pair(&mut alice).1;
    alice.bytes(ecdsa(key));
    assert_eq!(alice.refused(aes(&[])), CKR_DEVICE_ERROR);
}
