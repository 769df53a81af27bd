//! New keys: generated, imported, kept, destroyed.

use cryptoki_sys::*;

use crate::support::*;

#[test]
fn a_generated_aes_key_is_local_and_was_always_sensitive() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_LABEL, b"my key"), (CKA_ID, &[1, 2])]));
    assert_eq!(alice.attribute(key, CKA_LABEL).unwrap(), b"my key");
    assert_eq!(alice.attribute(key, CKA_ID).unwrap(), [1, 2]);
    assert_eq!(alice.attribute(key, CKA_VALUE_LEN).unwrap(), number(32));
    assert_eq!(alice.attribute(key, CKA_CLASS).unwrap(), number(CKO_SECRET_KEY));
    assert_eq!(alice.attribute(key, CKA_KEY_TYPE).unwrap(), number(CKK_AES));
    assert_eq!(alice.attribute(key, CKA_KEY_GEN_MECHANISM).unwrap(), number(CKM_AES_KEY_GEN));
    assert_eq!(alice.attribute(key, CKA_CHECK_VALUE).unwrap().len(), 3);
    for flag in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_SENSITIVE, CKA_TOKEN, CKA_PRIVATE] {
        assert!(alice.boolean(key, flag), "{flag:#x}");
    }
    assert_eq!(alice.attribute(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert_eq!(alice.attribute(key, CKA_MODULUS), Err(CKR_ATTRIBUTE_TYPE_INVALID));
}

#[test]
fn key_sizes_are_checked() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    for bytes in [0, 15, 20, 33, u64::MAX - 1] {
        let length = number(bytes);
        let request = generate(CKM_AES_KEY_GEN, &[(CKA_VALUE_LEN, &length)]);
        assert_eq!(alice.refused(request), CKR_KEY_SIZE_RANGE, "{bytes}");
    }
    assert_eq!(alice.refused(generate(CKM_AES_KEY_GEN, &[])), CKR_TEMPLATE_INCOMPLETE);
    let length = number(801);
    let request = generate(CKM_GENERIC_SECRET_KEY_GEN, &[(CKA_VALUE_LEN, &length)]);
    assert_eq!(alice.refused(request), CKR_KEY_SIZE_RANGE);
    let bits = number(1024);
    let request = generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &[(CKA_MODULUS_BITS, &bits)], &[]);
    assert_eq!(alice.refused(request), CKR_KEY_SIZE_RANGE);
    let request = generate_pair(CKM_EC_KEY_PAIR_GEN, &[(CKA_EC_PARAMS, &[6, 1, 1])], &[]);
    assert_eq!(alice.refused(request), CKR_CURVE_NOT_SUPPORTED);
}

#[test]
fn a_mechanism_that_generates_nothing_of_the_kind_is_invalid() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let length = number(32);
    for kind in [CKM_AES_GCM, CKM_RSA_PKCS_KEY_PAIR_GEN, 0xdead_beef] {
        let request = generate(kind, &[(CKA_VALUE_LEN, &length)]);
        assert_eq!(alice.refused(request), CKR_MECHANISM_INVALID);
    }
    let request = generate_pair(CKM_AES_KEY_GEN, &[], &[]);
    assert_eq!(alice.refused(request), CKR_MECHANISM_INVALID);
}

#[test]
fn an_rsa_pair_shows_its_public_half_and_hides_its_private_one() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let bits = number(2048);
    let (public, private) = alice.pair(generate_pair(
        CKM_RSA_X9_31_KEY_PAIR_GEN,
        &[
            (CKA_MODULUS_BITS, &bits),
            (CKA_PUBLIC_EXPONENT, &[1, 0, 1]),
            (CKA_TOKEN, TRUE),
            (CKA_VERIFY, TRUE),
        ],
        &[(CKA_TOKEN, TRUE), (CKA_SIGN, TRUE)],
    ));
    assert_eq!(private, public + 1);
    let modulus = alice.attribute(public, CKA_MODULUS).unwrap();
    assert_eq!(modulus.len(), 256);
    assert_eq!(alice.attribute(private, CKA_MODULUS).unwrap(), modulus);
    assert_eq!(alice.attribute(public, CKA_MODULUS_BITS).unwrap(), bits);
    assert_eq!(alice.attribute(public, CKA_PUBLIC_EXPONENT).unwrap(), [1, 0, 1]);
    for secret in [CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_COEFFICIENT] {
        assert_eq!(alice.attribute(private, secret), Err(CKR_ATTRIBUTE_SENSITIVE));
        assert_eq!(alice.attribute(public, secret), Err(CKR_ATTRIBUTE_TYPE_INVALID));
    }
    assert_eq!(
        alice.attribute(public, CKA_CHECK_VALUE).unwrap(),
        alice.attribute(private, CKA_CHECK_VALUE).unwrap()
    );
    let info = alice.attribute(public, CKA_PUBLIC_KEY_INFO).unwrap();
    assert!(info.windows(modulus.len()).any(|window| window == modulus));
}

#[test]
fn an_ec_pairs_point_is_a_der_octet_string() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = alice.pair(p256());
    let point = alice.attribute(public, CKA_EC_POINT).unwrap();
    assert_eq!(point[..3], [0x04, 65, 0x04]);
    assert_eq!(point.len(), 67);
    assert_eq!(alice.attribute(public, CKA_EC_PARAMS).unwrap(), P256);
    assert_eq!(alice.attribute(private, CKA_EC_PARAMS).unwrap(), P256);
    assert_eq!(alice.attribute(private, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
}

#[test]
fn an_imported_secret_key_is_neither_local_nor_always_sensitive() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
    let value = [0x5a; 32];
    let key = alice.object(create(&[
        (CKA_CLASS, &class),
        (CKA_KEY_TYPE, &kind),
        (CKA_TOKEN, TRUE),
        (CKA_VALUE, &value),
    ]));
    for flag in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE] {
        assert!(!alice.boolean(key, flag), "{flag:#x}");
    }
    assert!(!hsm.disk_holds(&value));
    let request = create(&[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_VALUE, &value[..5])]);
    assert_eq!(alice.refused(request), CKR_KEY_SIZE_RANGE);
}

#[test]
fn imported_public_keys_verify_what_the_hsm_signs() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = alice.pair(p256());
    let point = alice.attribute(public, CKA_EC_POINT).unwrap();
    let signature = alice.bytes(sign(private, mechanism(CKM_ECDSA_SHA256), b"data"));
    let (class, kind) = (number(CKO_PUBLIC_KEY), number(CKK_EC));
    // In DER as the standard has it, and bare as many programs give it.
    for point in [&point[..], &point[2..]] {
        let imported = alice.object(create(&[
            (CKA_CLASS, &class),
            (CKA_KEY_TYPE, &kind),
            (CKA_EC_PARAMS, P256),
            (CKA_EC_POINT, point),
            (CKA_VERIFY, TRUE),
        ]));
        alice.done(verify(imported, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
        let other = verify(imported, mechanism(CKM_ECDSA_SHA256), b"datb", &signature);
        assert_eq!(alice.refused(other), CKR_SIGNATURE_INVALID);
    }
    let mut off_curve = point.clone();
    off_curve[20] ^= 1;
    let request = create(&[
        (CKA_CLASS, &class),
        (CKA_KEY_TYPE, &kind),
        (CKA_EC_PARAMS, P256),
        (CKA_EC_POINT, &off_curve),
    ]);
    assert_eq!(alice.refused(request), CKR_ATTRIBUTE_VALUE_INVALID);
}

#[test]
fn a_certificate_keeps_its_value_and_has_a_check_value() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (class, kind) = (number(CKO_CERTIFICATE), number(CKC_X_509));
    let value = vec![0x30; 2000];
    let certificate = alice.object(create(&[
        (CKA_CLASS, &class),
        (CKA_CERTIFICATE_TYPE, &kind),
        (CKA_TOKEN, TRUE),
        (CKA_SUBJECT, b"subject"),
        (CKA_VALUE, &value),
    ]));
    assert_eq!(alice.attribute(certificate, CKA_VALUE).unwrap(), value);
    assert_eq!(alice.attribute(certificate, CKA_SUBJECT).unwrap(), b"subject");
    assert_eq!(alice.attribute(certificate, CKA_CHECK_VALUE).unwrap().len(), 3);
    // It is no key.
    let request = sign(certificate, mechanism(CKM_ECDSA), &[0; 32]);
    assert_eq!(alice.refused(request), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn keys_work_after_a_restart_and_destroyed_ones_are_gone() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = alice.pair(p256());
    let gone = alice.object(aes(&[]));
    alice.done(destroy(gone));
    assert_eq!(alice.refused(destroy(gone)), CKR_OBJECT_HANDLE_INVALID);
    let hsm = hsm.restart();
    let mut alice = alice.another(&hsm);
    let signature = alice.bytes(sign(private, mechanism(CKM_ECDSA_SHA256), b"data"));
    alice.done(verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
    assert_eq!(alice.attribute(gone, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
}

#[test]
fn a_destroyed_key_works_on_no_connection_that_had_it_in_its_cache() {
    let hsm = Hsm::active();
    let mut one = hsm.alice();
    let mut two = one.another(&hsm);
    let key = one.pair(p256()).1;
    let request = || sign(key, mechanism(CKM_ECDSA_SHA256), b"data");
    two.bytes(request());
    one.done(destroy(key));
    assert_eq!(two.refused(request()), CKR_KEY_HANDLE_INVALID);
    assert_eq!(one.refused(request()), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn a_key_that_may_not_be_destroyed_stays() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_DESTROYABLE, FALSE)]));
    assert_eq!(alice.refused(destroy(key)), CKR_ACTION_PROHIBITED);
}

#[test]
fn a_damaged_blob_is_a_device_error_and_not_a_key() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.pair(p256()).1;
    let hsm = hsm.restart();
    hsm.damage_blobs();
    let mut alice = alice.another(&hsm);
    let request = sign(key, mechanism(CKM_ECDSA_SHA256), b"data");
    assert_eq!(alice.refused(request), CKR_DEVICE_ERROR);
    // What is metadata is still told.
    assert!(alice.attribute(key, CKA_LABEL).is_ok());
}
