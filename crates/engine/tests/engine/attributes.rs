//! Attributes: what may change, and in which direction.

use cryptoki_sys::*;
use strongroom_wire::message::{GetAttributes, Operation, Outcome};

use crate::support::*;

#[test]
fn labels_change_and_one_way_attributes_go_one_way() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_LABEL, b"before"), (CKA_SENSITIVE, FALSE)]));
    alice.set(key, template(&[(CKA_LABEL, b"after")])).unwrap();
    assert_eq!(alice.attribute(key, CKA_LABEL).unwrap(), b"after");
    alice.set(key, template(&[(CKA_SENSITIVE, TRUE)])).unwrap();
    assert_eq!(alice.set(key, template(&[(CKA_SENSITIVE, FALSE)])), Err(CKR_ATTRIBUTE_READ_ONLY));
    alice.set(key, template(&[(CKA_EXTRACTABLE, FALSE)])).unwrap();
    assert_eq!(alice.set(key, template(&[(CKA_EXTRACTABLE, TRUE)])), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert!(!alice.boolean(key, CKA_ALWAYS_SENSITIVE));
    assert!(!alice.boolean(key, CKA_NEVER_EXTRACTABLE));
    alice.set(key, template(&[(CKA_MODIFIABLE, FALSE)])).unwrap();
    assert!(alice.set(key, template(&[(CKA_LABEL, b"again")])).is_err());
}

#[test]
fn a_changed_permission_counts_at_once_on_every_connection() {
    let hsm = Hsm::active();
    let mut one = hsm.alice();
    let mut two = one.another(&hsm);
    let key = one.pair(p256()).1;
    let request = || sign(key, mechanism(CKM_ECDSA_SHA256), b"data");
    two.bytes(request());
    one.set(key, template(&[(CKA_SIGN, FALSE)])).unwrap();
    assert_eq!(two.refused(request()), CKR_KEY_FUNCTION_NOT_PERMITTED);
    one.set(key, template(&[(CKA_SIGN, TRUE)])).unwrap();
    two.bytes(request());
}

#[test]
fn an_open_keys_value_can_be_read_until_it_is_made_sensitive() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_SENSITIVE, FALSE)]));
    assert_eq!(alice.attribute(key, CKA_VALUE).unwrap().len(), 32);
    alice.set(key, template(&[(CKA_SENSITIVE, TRUE)])).unwrap();
    assert_eq!(alice.attribute(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
}

#[test]
fn a_tokens_open_rsa_key_shows_all_its_parts() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let bits = number(2048);
    let (_, private) = user.pair(generate_pair(
        CKM_RSA_PKCS_KEY_PAIR_GEN,
        &[(CKA_MODULUS_BITS, &bits)],
        &[(CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)],
    ));
    for part in [
        CKA_PRIVATE_EXPONENT,
        CKA_PRIME_1,
        CKA_PRIME_2,
        CKA_EXPONENT_1,
        CKA_EXPONENT_2,
        CKA_COEFFICIENT,
    ] {
        assert!(!user.attribute(private, part).unwrap().is_empty(), "{part:#x}");
    }
}

#[test]
fn attributes_come_in_the_requests_order_with_a_status_each() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let handle = alice.object(aes(&[(CKA_LABEL, b"key")]));
    let kinds = vec![CKA_VALUE, CKA_LABEL, CKA_MODULUS, CKA_LABEL, 0xdead_beef];
    let get = Operation::GetAttributes(GetAttributes { handle, kinds: kinds.clone() });
    let Ok(Some(Outcome::Attributes(reply))) = alice.call(get) else { panic!("no attributes") };
    let got: Vec<(u64, u64)> = reply.attributes.iter().map(|a| (a.kind, a.status)).collect();
    let status = [
        CKR_ATTRIBUTE_SENSITIVE,
        CKR_OK,
        CKR_ATTRIBUTE_TYPE_INVALID,
        CKR_OK,
        CKR_ATTRIBUTE_TYPE_INVALID,
    ];
    assert_eq!(got, kinds.into_iter().zip(status).collect::<Vec<_>>());
    let get = Operation::GetAttributes(GetAttributes { handle, kinds: vec![CKA_LABEL; 257] });
    assert_eq!(alice.refused(get), CKR_ARGUMENTS_BAD);
}

#[test]
fn values_over_the_limits_are_refused() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let long = vec![b'x'; 1025];
    assert_eq!(alice.refused(aes(&[(CKA_LABEL, &long)])), CKR_ATTRIBUTE_VALUE_INVALID);
    let many: Vec<(u64, &[u8])> = vec![(CKA_LABEL, b"x"); 129];
    assert_eq!(alice.refused(generate(CKM_AES_KEY_GEN, &many)), CKR_ARGUMENTS_BAD);
}

#[test]
fn a_change_that_changes_nothing_writes_nothing() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_LABEL, b"same")]));
    let before = alice.seen_index;
    alice.set(key, template(&[(CKA_LABEL, b"same")])).unwrap();
    assert_eq!(alice.seen_index, before);
}
