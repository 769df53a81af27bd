//! C_FindObjects.

use cryptoki_sys::*;

use crate::support::*;

#[test]
fn pages_hold_every_match_once_token_objects_first() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let mut made = Vec::new();
    for round in 0..10 {
        let token = if round % 3 == 0 { FALSE } else { TRUE };
        made.push(alice.object(aes(&[(CKA_TOKEN, token), (CKA_LABEL, b"many")])));
        alice.object(aes(&[(CKA_LABEL, b"other")]));
    }
    made.sort_unstable();
    for max in [1, 2, 3, 10, 11, 1000] {
        assert_eq!(alice.find(template(&[(CKA_LABEL, b"many")]), max), made, "pages of {max}");
    }
    assert_eq!(alice.find(template(&[]), 7).len(), 20);
    assert!(alice.find(template(&[(CKA_LABEL, b"none")]), 7).is_empty());
}

#[test]
fn what_only_the_sealed_body_knows_is_searched_too() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let mut points = Vec::new();
    for _ in 0..5 {
        let public = alice.pair(p256()).0;
        points.push((public, alice.attribute(public, CKA_EC_POINT).unwrap()));
    }
    let class = number(CKO_PUBLIC_KEY);
    for (public, point) in points {
        let found = alice.find(template(&[(CKA_CLASS, &class), (CKA_EC_POINT, &point)]), 2);
        assert_eq!(found, [public]);
    }
    let (session, _) =
        alice.pair(generate_pair(CKM_EC_KEY_PAIR_GEN, &[(CKA_EC_PARAMS, P256)], &[]));
    let point = alice.attribute(session, CKA_EC_POINT).unwrap();
    let found = alice.find(template(&[(CKA_CLASS, &class), (CKA_EC_POINT, &point)]), 2);
    assert_eq!(found, [session]);
}

#[test]
fn a_secret_cannot_be_guessed_by_searching_for_it() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
    let import = |sensitive: &'static [u8]| {
        create(&[
            (CKA_CLASS, &class),
            (CKA_KEY_TYPE, &kind),
            (CKA_VALUE, &[0x42; 16]),
            (CKA_SENSITIVE, sensitive),
        ])
    };
    let open = alice.object(import(FALSE));
    alice.object(import(TRUE));
    assert_eq!(alice.find(template(&[(CKA_VALUE, &[0x42; 16])]), 10), [open]);
    assert!(alice.find(template(&[(CKA_VALUE, &[0x43; 16])]), 10).is_empty());
}

#[test]
fn another_users_objects_are_not_found() {
    let hsm = Hsm::active();
    let (public, private) = hsm.alice().pair(p256());
    let mut bob = hsm.bob();
    let own = bob.object(aes(&[]));
    assert_eq!(bob.find(template(&[]), 10), [public, own]);
    assert!(hsm.admin().find(template(&[]), 10).contains(&private), "admins list keys");
}
