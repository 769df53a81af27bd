//! Keys that leave and enter under other keys.

use cryptoki_sys::*;
use strongroom_wire::message::{GcmParameter, OaepParameter, Outcome, Parameter};
use strongroom_wire::vendor::*;

use crate::support::*;

fn wrapping_key(client: &mut Client) -> u64 {
    client.object(aes(&[(CKA_WRAP, TRUE), (CKA_UNWRAP, TRUE)]))
}

/// A key that can be compared: what it encrypts.
fn fingerprint(client: &mut Client, key: u64) -> Vec<u8> {
    let ctr = with(CKM_AES_CTR, Parameter::Iv(vec![0; 16]));
    client.bytes(encrypt(key, ctr, &[0; 32]))
}

#[test]
fn an_aes_key_travels_under_every_key_wrap() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let wrapping = wrapping_key(&mut alice);
    let target = alice.object(aes(&[(CKA_ENCRYPT, TRUE)]));
    let expected = fingerprint(&mut alice, target);
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
    for mechanism_kind in [
        CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD,
        CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD,
        CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD,
    ] {
        let wrapped = alice.bytes(wrap(wrapping, mechanism(mechanism_kind), target));
        let given: &[(u64, &[u8])] =
            &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_ENCRYPT, TRUE), (CKA_TOKEN, TRUE)];
        let key = alice.object(unwrap(wrapping, mechanism(mechanism_kind), &wrapped, given));
        assert_eq!(fingerprint(&mut alice, key), expected);
        for flag in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE] {
            assert!(!alice.boolean(key, flag), "{flag:#x}");
        }
        let mut damaged = wrapped.clone();
        damaged[3] ^= 1;
        let request = unwrap(wrapping, mechanism(mechanism_kind), &damaged, given);
        assert_eq!(alice.refused(request), CKR_WRAPPED_KEY_INVALID);
    }
}

#[test]
fn private_keys_travel_as_pkcs8_and_must_be_what_the_template_says() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let wrapping = wrapping_key(&mut alice);
    let (public, private) = alice.pair(p256());
    let zero_pad = || mechanism(CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD);
    let wrapped = alice.bytes(wrap(wrapping, zero_pad(), private));
    let class = number(CKO_PRIVATE_KEY);
    let (ec, rsa) = (number(CKK_EC), number(CKK_RSA));
    let key = alice.object(unwrap(
        wrapping,
        zero_pad(),
        &wrapped,
        &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &ec), (CKA_SIGN, TRUE)],
    ));
    let signature = alice.bytes(sign(key, mechanism(CKM_ECDSA_SHA256), b"data"));
    alice.done(verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
    let request =
        unwrap(wrapping, zero_pad(), &wrapped, &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &rsa)]);
    assert_eq!(alice.refused(request), CKR_WRAPPED_KEY_INVALID);
    // PKCS#8 of a private key is no AES key.
    let (class, aes) = (number(CKO_SECRET_KEY), number(CKK_AES));
    let request =
        unwrap(wrapping, zero_pad(), &wrapped, &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &aes)]);
    assert_eq!(alice.refused(request), CKR_WRAPPED_KEY_LEN_RANGE);
}

#[test]
fn gcm_wrapping_gives_its_iv_back() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let wrapping = wrapping_key(&mut alice);
    let target = alice.object(aes(&[(CKA_ENCRYPT, TRUE)]));
    let expected = fingerprint(&mut alice, target);
    let gcm = |iv: Vec<u8>| {
        with(CKM_AES_GCM, Parameter::Gcm(GcmParameter { iv, aad: Vec::new(), tag_bits: 128 }))
    };
    let Ok(Some(Outcome::Encrypted(wrapped))) =
        alice.call(wrap(wrapping, gcm(vec![0; 12]), target))
    else {
        panic!("no IV")
    };
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
    let key = alice.object(unwrap(
        wrapping,
        gcm(wrapped.iv.clone()),
        &wrapped.data,
        &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_ENCRYPT, TRUE)],
    ));
    assert_eq!(fingerprint(&mut alice, key), expected);
    let chosen = wrap(wrapping, gcm(vec![1; 12]), target);
    assert_eq!(alice.refused(chosen), CKR_MECHANISM_PARAM_INVALID);
}

#[test]
fn an_rsa_key_wraps_by_oaep() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let bits = number(2048);
    let (public, private) = alice.pair(generate_pair(
        CKM_RSA_PKCS_KEY_PAIR_GEN,
        &[(CKA_MODULUS_BITS, &bits), (CKA_WRAP, TRUE)],
        &[(CKA_UNWRAP, TRUE)],
    ));
    let target = alice.object(aes(&[(CKA_ENCRYPT, TRUE)]));
    let expected = fingerprint(&mut alice, target);
    let oaep = || {
        with(
            CKM_RSA_PKCS_OAEP,
            Parameter::Oaep(OaepParameter {
                hash: CKM_SHA256,
                mgf: CKG_MGF1_SHA256,
                label: Vec::new(),
            }),
        )
    };
    let wrapped = alice.bytes(wrap(public, oaep(), target));
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
    let key = alice.object(unwrap(
        private,
        oaep(),
        &wrapped,
        &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_ENCRYPT, TRUE)],
    ));
    assert_eq!(fingerprint(&mut alice, key), expected);
}

#[test]
fn what_may_not_leave_does_not() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let wrapping = wrapping_key(&mut alice);
    let no_pad = || mechanism(CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD);
    let locked = alice.object(aes(&[(CKA_EXTRACTABLE, FALSE)]));
    assert_eq!(alice.refused(wrap(wrapping, no_pad(), locked)), CKR_KEY_UNEXTRACTABLE);
    let careful = alice.object(aes(&[(CKA_WRAP_WITH_TRUSTED, TRUE)]));
    assert_eq!(alice.refused(wrap(wrapping, no_pad(), careful)), CKR_KEY_NOT_WRAPPABLE);
    hsm.admin().set(wrapping, template(&[(CKA_TRUSTED, TRUE)])).unwrap();
    alice.bytes(wrap(wrapping, no_pad(), careful));
    let idle = alice.object(aes(&[]));
    let target = alice.object(aes(&[]));
    assert_eq!(alice.refused(wrap(idle, no_pad(), target)), CKR_KEY_FUNCTION_NOT_PERMITTED);
    let (public, _) = alice.pair(p256());
    assert_eq!(alice.refused(wrap(wrapping, no_pad(), public)), CKR_KEY_NOT_WRAPPABLE);
    let mut bob = hsm.bob();
    let bobs = wrapping_key(&mut bob);
    assert_eq!(bob.refused(wrap(bobs, no_pad(), target)), CKR_KEY_HANDLE_INVALID);
    assert_eq!(bob.refused(wrap(wrapping, no_pad(), target)), CKR_WRAPPING_KEY_HANDLE_INVALID);
}

#[test]
fn wrong_wrapping_handles_and_types_have_their_own_codes() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let wrapping = wrapping_key(&mut alice);
    let (_, private) = alice.pair(p256());
    let no_pad = || mechanism(CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD);
    assert_eq!(alice.refused(wrap(99, no_pad(), wrapping)), CKR_WRAPPING_KEY_HANDLE_INVALID);
    assert_eq!(alice.refused(wrap(wrapping, no_pad(), 99)), CKR_KEY_HANDLE_INVALID);
    assert_eq!(
        alice.refused(wrap(private, no_pad(), wrapping)),
        CKR_WRAPPING_KEY_TYPE_INCONSISTENT
    );
    assert_eq!(
        alice.refused(unwrap(99, no_pad(), &[0; 24], &[])),
        CKR_UNWRAPPING_KEY_HANDLE_INVALID
    );
    assert_eq!(
        alice.refused(unwrap(private, no_pad(), &[0; 24], &[])),
        CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT
    );
    assert_eq!(alice.refused(unwrap(wrapping, no_pad(), &[0; 24], &[])), CKR_TEMPLATE_INCOMPLETE);
    let ecb = mechanism(CKM_AES_ECB);
    assert_eq!(alice.refused(wrap(wrapping, ecb, wrapping)), CKR_MECHANISM_INVALID);
}

#[test]
fn an_unwrap_template_is_added_and_not_contradicted() {
    use prost::Message;
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let inner = template(&[(CKA_EXTRACTABLE, FALSE)]).encode_to_vec();
    let wrapping =
        alice.object(aes(&[(CKA_WRAP, TRUE), (CKA_UNWRAP, TRUE), (CKA_UNWRAP_TEMPLATE, &inner)]));
    let target = alice.object(aes(&[]));
    let no_pad = || mechanism(CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD);
    let wrapped = alice.bytes(wrap(wrapping, no_pad(), target));
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
    let key = alice.object(unwrap(
        wrapping,
        no_pad(),
        &wrapped,
        &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind)],
    ));
    assert!(!alice.boolean(key, CKA_EXTRACTABLE));
    let request = unwrap(
        wrapping,
        no_pad(),
        &wrapped,
        &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_EXTRACTABLE, TRUE)],
    );
    assert_eq!(alice.refused(request), CKR_TEMPLATE_INCONSISTENT);
}
