//! Who may see and use whose keys.

use cryptoki_sys::*;

use crate::support::*;

#[test]
fn another_crypto_user_neither_sees_nor_uses_a_private_key() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = alice.pair(p256());
    let signature = alice.bytes(sign(private, mechanism(CKM_ECDSA_SHA256), b"data"));
    let mut bob = hsm.bob();
    let request = sign(private, mechanism(CKM_ECDSA_SHA256), b"data");
    assert_eq!(bob.refused(request), CKR_KEY_HANDLE_INVALID);
    assert_eq!(bob.attribute(private, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(bob.set(private, template(&[(CKA_LABEL, b"x")])), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(bob.refused(destroy(private)), CKR_OBJECT_HANDLE_INVALID);
    assert!(!bob.find(template(&[]), 100).contains(&private));
    // Public keys are everybody's to use, and nobody else's to change.
    bob.done(verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
    assert!(bob.set(public, template(&[(CKA_LABEL, b"x")])).is_err());
    assert!(bob.refused(destroy(public)) != CKR_OK);
}

#[test]
fn a_key_of_another_type_is_not_told_from_a_missing_one() {
    let hsm = Hsm::active();
    let private = hsm.alice().pair(p256()).1;
    let request = sign(private, mechanism(CKM_SHA256_RSA_PKCS), b"data");
    assert_eq!(hsm.bob().refused(request), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn an_admin_uses_no_key_and_makes_none() {
    let hsm = Hsm::active();
    let private = hsm.alice().pair(p256()).1;
    let mut admin = hsm.admin();
    let request = sign(private, mechanism(CKM_ECDSA_SHA256), b"data");
    assert_eq!(admin.refused(request), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(admin.refused(aes(&[])), CKR_ACTION_PROHIBITED);
    assert!(admin.refused(destroy(private)) != CKR_OK);
}

#[test]
fn an_open_keys_value_is_its_owners_to_read() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_SENSITIVE, FALSE)]));
    let value = alice.attribute(key, CKA_VALUE).unwrap();
    let by_value = || template(&[(CKA_VALUE, &value)]);
    assert_eq!(alice.find(by_value(), 10), [key]);
    let mut admin = hsm.admin();
    assert!(admin.attribute(key, CKA_LABEL).is_ok());
    assert_eq!(admin.attribute(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert!(admin.find(by_value(), 10).is_empty(), "nor is it guessed");
}

#[test]
fn without_a_login_nothing_private_is_used_or_made() {
    let hsm = Hsm::active();
    let private = hsm.alice().pair(p256()).1;
    let mut client = hsm.client();
    let request = sign(private, mechanism(CKM_ECDSA_SHA256), b"data");
    assert_eq!(client.refused(request), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(client.refused(aes(&[])), CKR_USER_NOT_LOGGED_IN);
    assert!(client.find(template(&[]), 100).is_empty());
}

#[test]
fn only_an_admin_makes_a_key_trusted() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_WRAP, TRUE)]));
    let trusted = || template(&[(CKA_TRUSTED, TRUE)]);
    assert_eq!(alice.set(key, trusted()), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert_eq!(alice.refused(aes(&[(CKA_TRUSTED, TRUE)])), CKR_ATTRIBUTE_READ_ONLY);
    hsm.admin().set(key, trusted()).unwrap();
    assert!(alice.boolean(key, CKA_TRUSTED));
}
