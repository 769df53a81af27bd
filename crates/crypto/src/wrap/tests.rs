use super::*;
use crate::backend::testing::hex;
use crate::{Curve, Hash, generate_ec, generate_rsa, generate_secret, mechanism};

fn named(kind: u64) -> &'static Mechanism {
    mechanism::find(kind).expect("in the table")
}

fn aes(key: &str) -> Key {
    Key::from_secret(ck::CKK_AES, hex(key)).expect("an AES key")
}

fn plain(unwrapped: Result<SecretBytes, Error>) -> Result<Vec<u8>, Error> {
    unwrapped.map(SecretBytes::into_plain)
}

/// RFC 3394, 4.1 and 4.6.
#[test]
fn key_wrap_gives_rfc_3394s_examples() {
    for (key, material, wrapped) in [
        (
            "000102030405060708090a0b0c0d0e0f",
            "00112233445566778899aabbccddeeff",
            "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
        ),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
            "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326
             cbc7f0e71a99f43bfb988b9b7a02dd21",
        ),
    ] {
        let (key, material, wrapped) = (aes(key), hex(material), hex(wrapped));
        for kind in [ck::CKM_AES_KEY_WRAP, mechanism::CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD] {
            for params in [Params::None, Params::Iv(&[0xa6; 8])] {
                assert_eq!(wrap(&key, named(kind), &params, &material).as_ref(), Ok(&wrapped));
                let unwrapped = plain(unwrap(&key, named(kind), &params, &wrapped));
                assert_eq!(unwrapped, Ok(material.clone()));
            }
        }
    }
}

/// RFC 5649, section 6.
#[test]
fn key_wrap_with_padding_gives_rfc_5649s_examples() {
    let key = aes("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
    for (material, wrapped) in [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ] {
        let (material, wrapped) = (hex(material), hex(wrapped));
        for kind in [
            ck::CKM_AES_KEY_WRAP_KWP,
            ck::CKM_AES_KEY_WRAP_PAD,
            mechanism::CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD,
        ] {
            assert_eq!(wrap(&key, named(kind), &Params::None, &material).as_ref(), Ok(&wrapped));
            let unwrapped = plain(unwrap(&key, named(kind), &Params::None, &wrapped));
            assert_eq!(unwrapped, Ok(material.clone()));
        }
    }
}

#[test]
fn pkcs5_padding_is_rfc_3394_over_the_padded_key() {
    let key = generate_secret(ck::CKK_AES, 32).expect("a key");
    let padded = named(mechanism::CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD);
    let bare = named(ck::CKM_AES_KEY_WRAP);
    for length in 8..=40 {
        let material = vec![0xee; length];
        let wrapped = wrap(&key, padded, &Params::None, &material).expect("wrapped");
        // A block-aligned key gains a block of padding beside the wrap's own.
        assert_eq!(wrapped.len(), 8 * (length / 8 + 2));
        let padding = 8 - length % 8;
        let expected = [&material[..], &vec![padding as u8; padding]].concat();
        assert_eq!(plain(unwrap(&key, bare, &Params::None, &wrapped)), Ok(expected));
        assert_eq!(plain(unwrap(&key, padded, &Params::None, &wrapped)), Ok(material));
    }
    // What was wrapped without padding, or with another one, isn't taken for padded.
    for last in [0, 9, 2, 0xff] {
        let mut material = [1; 24];
        material[23] = last;
        let wrapped = wrap(&key, bare, &Params::None, &material).expect("wrapped");
        let unwrapped = plain(unwrap(&key, padded, &Params::None, &wrapped));
        assert_eq!(unwrapped, Err(Error::WrappedKeyInvalid), "{last}");
    }
}

#[test]
fn lengths_that_a_wrap_cannot_have_are_refused() {
    let key = generate_secret(ck::CKK_AES, 16).expect("a key");
    let wrapped = |kind, length| wrap(&key, named(kind), &Params::None, &vec![1; length]);
    for length in [0, 1, 8, 15, 17, 23] {
        assert_eq!(wrapped(ck::CKM_AES_KEY_WRAP, length), Err(Error::KeySize));
    }
    assert_eq!(wrapped(ck::CKM_AES_KEY_WRAP_KWP, 0), Err(Error::KeySize));
    let pkcs5 = mechanism::CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD;
    assert_eq!(wrapped(pkcs5, 7), Err(Error::KeySize));

    let unwrapped =
        |kind, length| plain(unwrap(&key, named(kind), &Params::None, &vec![1; length]));
    for length in [0, 8, 16, 23, 25] {
        assert_eq!(unwrapped(ck::CKM_AES_KEY_WRAP, length), Err(Error::WrappedKeyLength));
        assert_eq!(unwrapped(pkcs5, length), Err(Error::WrappedKeyLength));
    }
    for length in [0, 8, 15, 17] {
        assert_eq!(unwrapped(ck::CKM_AES_KEY_WRAP_KWP, length), Err(Error::WrappedKeyLength));
    }
}

#[test]
fn another_initial_value_is_refused() {
    let key = generate_secret(ck::CKK_AES, 16).expect("a key");
    let wrapped = |kind, params| wrap(&key, named(kind), &params, &[1; 16]);
    for params in [Params::Iv(&[0; 8]), Params::Iv(&[0xa6; 7]), Params::Iv(&[])] {
        assert_eq!(wrapped(ck::CKM_AES_KEY_WRAP, params), Err(Error::ParameterInvalid));
    }
    assert_eq!(
        wrapped(ck::CKM_AES_KEY_WRAP_KWP, Params::Iv(&[0xa6; 8])),
        Err(Error::ParameterInvalid)
    );
}

/// Each mechanism that the table says wraps wraps a key that it can hold, unwraps it, and unwraps
/// nothing altered.
#[test]
fn each_wrapping_mechanism_wraps_unwraps_and_detects_alteration() {
    // A fixed key: what CBC gives for an altered block ends in a right padding once in 256 times.
    let secret = Key::from_secret(ck::CKK_AES, vec![1; 32]).expect("a key");
    let private = generate_rsa(2048, &[1, 0, 1]).expect("a key");
    let public = private.public_key().expect("a pair");
    let (iv, material) = ([7; 16], [0x42; 32]);
    for mechanism in mechanism::MECHANISMS {
        if !mechanism.offers(ck::CKF_WRAP | ck::CKF_UNWRAP) {
            continue;
        }
        let (params, wrapping, unwrapping) = match mechanism.operation {
            Kind::RsaPkcs => (Params::None, &public, &private),
            Kind::RsaOaep => (
                Params::Oaep { hash: Hash::Sha256, mgf: Hash::Sha256, label: b"" },
                &public,
                &private,
            ),
            Kind::RsaAesKeyWrap => (
                Params::RsaAes { aes_bits: 192, hash: Hash::Sha1, mgf: Hash::Sha256, label: b"l" },
                &public,
                &private,
            ),
            Kind::AesGcm => (Params::Gcm { iv: &iv, aad: b"a", tag_bits: 128 }, &secret, &secret),
            Kind::AesGcmWithIv => {
                (Params::Gcm { iv: &[], aad: b"a", tag_bits: 96 }, &secret, &secret)
            }
            Kind::AesCbcPad => (Params::Iv(&iv), &secret, &secret),
            _ => (Params::None, &secret, &secret),
        };
        let wrapped = wrap(wrapping, mechanism, &params, &material).expect(mechanism.name);
        let unwrapped = plain(unwrap(unwrapping, mechanism, &params, &wrapped));
        assert_eq!(unwrapped, Ok(material.to_vec()), "{}", mechanism.name);
        let mut altered = wrapped.clone();
        *altered.last_mut().expect("not empty") ^= 1;
        let unwrapped = plain(unwrap(unwrapping, mechanism, &params, &altered));
        match mechanism.operation {
            // Says nothing, and gives something else.
            Kind::RsaPkcs => assert_ne!(unwrapped, Ok(material.to_vec())),
            _ => assert_eq!(unwrapped, Err(Error::WrappedKeyInvalid), "{}", mechanism.name),
        }
    }
}

#[test]
fn private_keys_travel_as_pkcs8() {
    let wrapping = generate_secret(ck::CKK_AES, 32).expect("a key");
    let mechanism = named(ck::CKM_AES_KEY_WRAP_KWP);
    for key in [
        generate_rsa(2048, &[1, 0, 1]).expect("a key"),
        generate_ec(Curve::P521).expect("a key"),
        generate_ec(Curve::Secp256k1).expect("a key"),
    ] {
        let pkcs8 = key.to_pkcs8().expect("a private key");
        let wrapped = wrap(&wrapping, mechanism, &Params::None, pkcs8.as_bytes()).expect("wrapped");
        let unwrapped = unwrap(&wrapping, mechanism, &Params::None, &wrapped).expect("unwrapped");
        let back = Key::from_pkcs8(unwrapped.as_bytes()).expect("a key");
        assert_eq!(back.kind(), key.kind());
        assert!(back.to_stored().ct_eq(key.to_stored().as_bytes()));
    }
}

#[test]
fn short_gcm_tags_do_not_unwrap() {
    let key = generate_secret(ck::CKK_AES, 32).expect("a key");
    let params = Params::Gcm { iv: &[1; 12], aad: b"", tag_bits: 32 };
    let unwrapped = unwrap(&key, named(ck::CKM_AES_GCM), &params, &[0; 36]);
    assert_eq!(plain(unwrapped), Err(Error::ParameterInvalid));
}

#[test]
fn keys_and_mechanisms_of_another_kind_are_refused() {
    let generic = generate_secret(ck::CKK_GENERIC_SECRET, 32).expect("a key");
    let aes = generate_secret(ck::CKK_AES, 32).expect("a key");
    let wrapped = |key, kind| wrap(key, named(kind), &Params::None, &[1; 16]);
    assert_eq!(wrapped(&generic, ck::CKM_AES_KEY_WRAP), Err(Error::KeyType));
    assert_eq!(wrapped(&aes, ck::CKM_RSA_PKCS), Err(Error::KeyType));
    assert_eq!(wrapped(&aes, ck::CKM_AES_ECB), Err(Error::MechanismInvalid));
    assert_eq!(wrapped(&aes, ck::CKM_SHA256_HMAC), Err(Error::MechanismInvalid));
}
