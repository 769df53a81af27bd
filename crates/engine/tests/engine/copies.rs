//! C_CopyObject: what a copy is, what it can't be made, and who may copy.

use cryptoki_sys::*;
use strongroom_wire::message::{Outcome, Parameter, Reply, Role};

use crate::support::*;

fn so(hsm: &Hsm) -> Client {
    let mut so = hsm.client();
    so.log_in("so", Role::Admin, b"so-pin").unwrap();
    so
}

fn token_or_not(on: bool) -> &'static [u8] {
    if on { TRUE } else { FALSE }
}

#[test]
fn token_and_session_objects_are_copied_to_either_and_by_themselves_stay_what_they_are() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    for from in [false, true] {
        let key = user.object(aes(&[(CKA_TOKEN, token_or_not(from)), (CKA_ENCRYPT, TRUE)]));
        let iv = || with(CKM_AES_CBC, Parameter::Iv(vec![7; 16]));
        let expected = user.bytes(encrypt(key, iv(), &[1; 16]));
        for (given, to) in [(None, from), (Some(false), false), (Some(true), true)] {
            let label: (u64, &[u8]) = (CKA_LABEL, b"copy");
            let copied = match given {
                None => user.object(copy(key, &[label])),
                Some(on) => user.object(copy(key, &[label, (CKA_TOKEN, token_or_not(on))])),
            };
            assert_ne!(copied, key);
            assert_eq!(user.boolean(copied, CKA_TOKEN), to);
            assert_eq!(user.attribute(copied, CKA_LABEL).unwrap(), b"copy");
            assert_eq!(user.attribute(key, CKA_LABEL).unwrap(), b"");
            for kind in [CKA_CLASS, CKA_KEY_TYPE, CKA_CHECK_VALUE, CKA_KEY_GEN_MECHANISM] {
                let (of_copy, of_key) = (user.attribute(copied, kind), user.attribute(key, kind));
                assert_eq!(of_copy, of_key, "{kind:#x}");
            }
            for kind in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_PRIVATE] {
                assert!(user.boolean(copied, kind), "{kind:#x}");
            }
            assert_eq!(user.bytes(encrypt(copied, iv(), &[1; 16])), expected);
            // The copy lives by itself.
            user.done(destroy(copied));
            assert_eq!(user.bytes(encrypt(key, iv(), &[1; 16])), expected);
        }
        user.done(destroy(key));
    }
}

#[test]
fn a_copy_outlives_its_original_and_a_restart_and_a_session_copy_does_not() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let (public, private) = user.pair(p256());
    let kept = user.object(copy(private, &[(CKA_LABEL, b"kept")]));
    let passing = user.object(copy(private, &[(CKA_TOKEN, FALSE)]));
    user.done(destroy(private));
    let hsm = hsm.restart();
    let mut user = user.another(&hsm);
    let signature = user.bytes(sign(kept, mechanism(CKM_ECDSA_SHA256), b"data"));
    user.done(verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
    assert_eq!(user.attribute(passing, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
}

#[test]
fn every_sort_of_object_is_copied_with_what_it_holds() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let (public, private) = user.pair(p256());
    let class = number(CKO_DATA);
    let data = user.object(create(&[
        (CKA_CLASS, &class),
        (CKA_TOKEN, TRUE),
        (CKA_APPLICATION, b"test"),
        (CKA_VALUE, b"note"),
    ]));
    for (object, kinds) in [
        (public, vec![CKA_EC_PARAMS, CKA_EC_POINT, CKA_VERIFY]),
        (private, vec![CKA_EC_PARAMS, CKA_SIGN, CKA_SENSITIVE]),
        (data, vec![CKA_APPLICATION, CKA_VALUE]),
    ] {
        let copied = user.object(copy(object, &[]));
        for kind in kinds {
            let (of_copy, of_object) = (user.attribute(copied, kind), user.attribute(object, kind));
            assert!(of_copy.as_ref().is_ok_and(|value| !value.is_empty()));
            assert_eq!(of_copy, of_object, "{kind:#x}");
        }
    }
}

#[test]
fn a_copy_is_no_weaker_than_its_original() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let strict: [(u64, &[u8]); 6] = [
        (CKA_SENSITIVE, TRUE),
        (CKA_EXTRACTABLE, FALSE),
        (CKA_WRAP_WITH_TRUSTED, TRUE),
        (CKA_MODIFIABLE, FALSE),
        (CKA_DESTROYABLE, FALSE),
        (CKA_PRIVATE, TRUE),
    ];
    for on_token in [FALSE, TRUE] {
        let mut given = strict.to_vec();
        given.push((CKA_TOKEN, on_token));
        let key = user.object(aes(&given));
        for (kind, value) in strict {
            let weaker = if value == TRUE { FALSE } else { TRUE };
            for to in [FALSE, TRUE] {
                let request = copy(key, &[(kind, weaker), (CKA_TOKEN, to)]);
                let expected = match kind {
                    CKA_PRIVATE => CKR_TEMPLATE_INCONSISTENT,
                    _ => CKR_ATTRIBUTE_READ_ONLY,
                };
                assert_eq!(user.refused(request), expected, "{kind:#x}");
            }
        }
        for (kind, value) in [
            (CKA_LOCAL, FALSE),
            (CKA_ALWAYS_SENSITIVE, FALSE),
            (CKA_NEVER_EXTRACTABLE, FALSE),
            (CKA_TRUSTED, TRUE),
        ] {
            assert_eq!(user.refused(copy(key, &[(kind, value)])), CKR_ATTRIBUTE_READ_ONLY);
        }
        let value = user.refused(copy(key, &[(CKA_VALUE, &[1; 32])]));
        assert_eq!(value, CKR_ATTRIBUTE_READ_ONLY);
        assert_eq!(user.attribute(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    }
}

#[test]
fn a_copy_may_be_stricter_than_its_original() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let key = user.object(aes(&[(CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)]));
    let copied = user.object(copy(
        key,
        &[
            (CKA_SENSITIVE, TRUE),
            (CKA_EXTRACTABLE, FALSE),
            (CKA_COPYABLE, FALSE),
            (CKA_MODIFIABLE, FALSE),
        ],
    ));
    assert_eq!(user.attribute(copied, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    // What was once open was not always closed.
    for kind in [CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_EXTRACTABLE] {
        assert!(!user.boolean(copied, kind), "{kind:#x}");
    }
    assert_eq!(user.refused(copy(copied, &[])), CKR_ACTION_PROHIBITED);
    assert!(user.attribute(key, CKA_VALUE).is_ok(), "the original stays as it was");
}

#[test]
fn what_is_trusted_is_not_copied() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let key = user.object(aes(&[(CKA_WRAP, TRUE), (CKA_PRIVATE, FALSE)]));
    so(&hsm).set(key, template(&[(CKA_TRUSTED, TRUE)])).unwrap();
    assert_eq!(user.refused(copy(key, &[(CKA_DECRYPT, TRUE)])), CKR_ACTION_PROHIBITED);
    assert_eq!(user.refused(copy(key, &[])), CKR_ACTION_PROHIBITED);
}

#[test]
fn a_private_object_is_copied_by_the_user_alone() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let private = user.object(aes(&[]));
    let of_session = user.object(aes(&[(CKA_TOKEN, FALSE)]));
    let public = user.object(aes(&[(CKA_PRIVATE, FALSE)]));
    for mut other in [hsm.client(), so(&hsm)] {
        assert_eq!(other.refused(copy(private, &[])), CKR_OBJECT_HANDLE_INVALID);
        assert_eq!(other.refused(copy(of_session, &[])), CKR_OBJECT_HANDLE_INVALID);
        assert_eq!(other.refused(copy(public, &[(CKA_PRIVATE, TRUE)])), CKR_USER_NOT_LOGGED_IN);
        let copied = other.object(copy(public, &[]));
        assert!(!other.boolean(copied, CKA_PRIVATE));
    }
    // Session objects are one application's, whoever is logged in to another.
    assert_eq!(hsm.user().refused(copy(of_session, &[])), CKR_OBJECT_HANDLE_INVALID);
    let copied = user.object(copy(public, &[(CKA_PRIVATE, TRUE)]));
    assert_eq!(hsm.client().attribute(copied, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(user.refused(copy(0x7777, &[])), CKR_OBJECT_HANDLE_INVALID);
}

#[test]
fn a_cloudhsm_copies_nothing() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[]));
    for mut client in [alice, hsm.bob(), hsm.admin(), hsm.client()] {
        assert_eq!(client.refused(copy(key, &[])), CKR_FUNCTION_NOT_SUPPORTED);
    }
}

#[test]
fn a_retried_copy_is_the_first_one_also_when_the_original_is_gone() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    // Nothing is forgotten while the replies are waited for.
    user.shared = true;
    let copied = |reply: Reply| match reply.outcome {
        Some(Outcome::Object(object)) => object.handle,
        _ => panic!("{} {}", reply.status, reply.message),
    };
    for (sequence, on_token) in [(50, TRUE), (60, FALSE)] {
        let key = user.object(aes(&[(CKA_TOKEN, on_token)]));
        let before = user.find(template(&[]), 10).len();
        let first = copied(user.send(sequence, copy(key, &[])));
        assert_eq!(copied(user.send(sequence, copy(key, &[]))), first);
        user.done(destroy(key));
        assert_eq!(copied(user.send(sequence, copy(key, &[]))), first);
        assert_eq!(user.find(template(&[]), 10).len(), before);
        assert_ne!(user.send(sequence + 1, copy(key, &[])).status, CKR_OK);
    }
    let first = user.object(aes(&[]));
    user.send(70, p256());
    assert_eq!(user.send(70, copy(first, &[])).status, CKR_ARGUMENTS_BAD);
}

#[test]
fn a_copys_material_reaches_the_disk_masked_only() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let key =
        user.object(aes(&[(CKA_TOKEN, FALSE), (CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)]));
    let value = user.attribute(key, CKA_VALUE).unwrap();
    let kept = user.object(copy(key, &[(CKA_TOKEN, TRUE)]));
    assert_eq!(user.attribute(kept, CKA_VALUE).unwrap(), value);
    assert!(!hsm.disk_holds(&value));
}
