use std::sync::OnceLock;

use super::*;
use crate::backend::testing::hex;
use crate::{Curve, generate_ec, generate_rsa, generate_secret, mechanism};

fn named(kind: u64) -> &'static Mechanism {
    mechanism::find(kind).expect("in the table")
}

fn rsa() -> &'static (Key, Key) {
    static PAIR: OnceLock<(Key, Key)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let private = generate_rsa(2048, &[1, 0, 1]).expect("a key");
        let public = private.public_key().expect("a pair");
        (private, public)
    })
}

/// RFC 6979, A.2.5 to A.2.7 (message "sample"), and for secp256k1 the vector that Bitcoin's
/// libraries share (message "Satoshi Nakamoto", private key 1).
struct EcVector {
    curve: Curve,
    mechanism: u64,
    scalar: &'static str,
    message: &'static [u8],
    signature: &'static str,
}

const EC_VECTORS: &[EcVector] = &[
    EcVector {
        curve: Curve::P256,
        mechanism: ck::CKM_ECDSA_SHA256,
        scalar: "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
        message: b"sample",
        signature: "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716
                    f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    },
    EcVector {
        curve: Curve::P256,
        mechanism: ck::CKM_ECDSA_SHA1,
        scalar: "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
        message: b"sample",
        signature: "61340c88c3aaebeb4f6d667f672ca9759a6ccaa9fa8811313039ee4a35471d32
                    6d7f147dac089441bb2e2fe8f7a3fa264b9c475098fdcf6e00d7c996e1b8b7eb",
    },
    EcVector {
        curve: Curve::P256,
        mechanism: ck::CKM_ECDSA_SHA512,
        scalar: "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
        message: b"sample",
        signature: "8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f00
                    2362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe",
    },
    EcVector {
        curve: Curve::P384,
        mechanism: ck::CKM_ECDSA_SHA384,
        scalar: "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8
                 96d5724e4c70a825f872c9ea60d2edf5",
        message: b"sample",
        signature: "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c
                    81a648152e44acf96e36dd1e80fabe46
                    99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f
                    a329c145786e679e7b82c71a38628ac8",
    },
    EcVector {
        curve: Curve::P521,
        mechanism: ck::CKM_ECDSA_SHA512,
        scalar: "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75
                 caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
        message: b"sample",
        signature: "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f
                    174e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa
                    00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af
                    282623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a",
    },
    EcVector {
        curve: Curve::Secp256k1,
        mechanism: ck::CKM_ECDSA_SHA256,
        scalar: "01",
        message: b"Satoshi Nakamoto",
        signature: "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8
                    2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
    },
];

#[test]
fn published_ecdsa_signatures_verify() {
    for vector in EC_VECTORS {
        let private = Key::from_ec_private(vector.curve, &hex(vector.scalar)).expect("a scalar");
        let public = private.public_key().expect("a pair");
        let mechanism = named(vector.mechanism);
        let signature = hex(vector.signature);
        let check = |signature: &[u8]| {
            verify(&public, mechanism, &Params::None, vector.message, false, signature)
        };
        assert_eq!(check(&signature), Ok(()), "{:?} {}", vector.curve, mechanism.name);
        // The other s is as valid (libraries that refuse it would refuse half of all signatures).
        let hash = mechanism.hash.expect("named").digest(vector.message);
        let raw = named(ck::CKM_ECDSA);
        assert_eq!(verify(&public, raw, &Params::None, &hash, false, &signature), Ok(()));
        assert_eq!(
            verify(&public, mechanism, &Params::None, &hash, true, &signature),
            Ok(()),
            "prehashed"
        );
        let mut altered = signature.clone();
        altered[3] ^= 0x10;
        assert_eq!(check(&altered), Err(Error::SignatureInvalid));
    }
}

#[test]
fn ecdsa_signs_hashes_of_any_length_on_each_curve() {
    for curve in Curve::ALL {
        let private = generate_ec(curve).expect("a key");
        let public = private.public_key().expect("a pair");
        let raw = named(ck::CKM_ECDSA);
        for length in [1, 15, 16, 20, 28, 32, 48, 64, 100] {
            let hash = vec![0xa5; length];
            let signature = sign(&private, raw, &Params::None, &hash, false).expect("signed");
            assert_eq!(signature.len(), 2 * curve.field_bytes());
            assert_eq!(verify(&public, raw, &Params::None, &hash, false, &signature), Ok(()));
            let mut other = hash.clone();
            other[0] ^= 1;
            assert_eq!(
                verify(&public, raw, &Params::None, &other, false, &signature),
                Err(Error::SignatureInvalid)
            );
        }
        let empty = sign(&private, raw, &Params::None, &[], false);
        assert_eq!(empty, Err(Error::DataLength));
    }
}

#[test]
fn ecdsa_signatures_of_impossible_lengths_are_refused_as_such() {
    let private = generate_ec(Curve::P256).expect("a key");
    let public = private.public_key().expect("a pair");
    let mechanism = named(ck::CKM_ECDSA_SHA256);
    for length in [0, 1, 63, 65, 66, 1000] {
        assert_eq!(
            verify(&public, mechanism, &Params::None, b"data", false, &vec![1; length]),
            Err(Error::SignatureLength),
            "{length}"
        );
    }
    for signature in [[0; 64], [0xff; 64]] {
        assert_eq!(
            verify(&public, mechanism, &Params::None, b"data", false, &signature),
            Err(Error::SignatureInvalid)
        );
    }
}

#[test]
fn a_shorter_ecdsa_signature_of_two_halves_verifies() {
    let private = generate_ec(Curve::P521).expect("a key");
    let public = private.public_key().expect("a pair");
    let mechanism = named(ck::CKM_ECDSA_SHA512);
    // The first byte of r and of s holds one bit only: it is 0 in one of four signatures.
    let signature = std::iter::repeat_with(|| {
        sign(&private, mechanism, &Params::None, b"data", false).expect("signed")
    })
    .find(|signature| signature[0] == 0 && signature[66] == 0)
    .expect("an endless iterator");
    let shorter = [&signature[1..66], &signature[67..]].concat();
    assert_eq!(verify(&public, mechanism, &Params::None, b"data", false, &shorter), Ok(()));
}

#[test]
fn rsa_pkcs1_signatures_verify_with_each_hash_and_are_what_a_digest_info_gives() {
    let (private, public) = rsa();
    for kind in [
        ck::CKM_SHA1_RSA_PKCS,
        ck::CKM_SHA224_RSA_PKCS,
        ck::CKM_SHA256_RSA_PKCS,
        ck::CKM_SHA384_RSA_PKCS,
        ck::CKM_SHA512_RSA_PKCS,
    ] {
        let mechanism = named(kind);
        let hash = mechanism.hash.expect("named");
        let signature = sign(private, mechanism, &Params::None, b"message", false).expect("signed");
        let prehashed = hash.digest(b"message");
        assert_eq!(
            sign(private, mechanism, &Params::None, &prehashed, true).as_ref(),
            Ok(&signature)
        );
        let digest_info = [hash.digest_info_prefix(), &prehashed].concat();
        let raw = named(ck::CKM_RSA_PKCS);
        assert_eq!(sign(private, raw, &Params::None, &digest_info, false).as_ref(), Ok(&signature));
        let check = |data: &[u8], signature: &[u8]| {
            verify(public, mechanism, &Params::None, data, false, signature)
        };
        assert_eq!(check(b"message", &signature), Ok(()));
        assert_eq!(check(b"messagf", &signature), Err(Error::SignatureInvalid));
        assert_eq!(check(b"message", &signature[1..]), Err(Error::SignatureLength));
        assert_eq!(check(b"message", &[0xff; 256]), Err(Error::SignatureInvalid));
        assert_eq!(
            sign(private, mechanism, &Params::None, b"no hash", true),
            Err(Error::DataLength)
        );
    }
}

#[test]
fn raw_rsa_pkcs1_signs_what_fits() {
    let (private, public) = rsa();
    let raw = named(ck::CKM_RSA_PKCS);
    for length in [0, 1, 51, 245] {
        let data = vec![7; length];
        let signature = sign(private, raw, &Params::None, &data, false).expect("it fits");
        assert_eq!(verify(public, raw, &Params::None, &data, false, &signature), Ok(()));
    }
    let too_long = sign(private, raw, &Params::None, &[7; 246], false);
    assert_eq!(too_long, Err(Error::DataLength));
}

#[test]
fn rsa_pss_verifies_with_the_parameters_that_it_was_made_with_and_no_others() {
    let (private, public) = rsa();
    let mechanism = named(ck::CKM_SHA256_RSA_PKCS_PSS);
    let pss = |mgf, salt_length| Params::Pss { hash: Hash::Sha256, mgf, salt_length };
    for salt_length in [0, 20, 32, 222] {
        let params = pss(Hash::Sha256, salt_length);
        let signature = sign(private, mechanism, &params, b"message", false).expect("signed");
        assert_eq!(verify(public, mechanism, &params, b"message", false, &signature), Ok(()));
        let raw = named(ck::CKM_RSA_PKCS_PSS);
        let hash = Hash::Sha256.digest(b"message");
        assert_eq!(verify(public, raw, &params, &hash, false, &signature), Ok(()));
        for other in [pss(Hash::Sha1, salt_length), pss(Hash::Sha256, 31)] {
            assert_eq!(
                verify(public, mechanism, &other, b"message", false, &signature),
                Err(Error::SignatureInvalid)
            );
        }
    }
    let signed = |params| sign(private, mechanism, &params, b"message", false);
    assert_eq!(signed(pss(Hash::Sha256, 223)), Err(Error::ParameterInvalid));
    assert_eq!(signed(pss(Hash::Sha256, usize::MAX)), Err(Error::ParameterInvalid));
    assert_eq!(signed(Params::None), Err(Error::ParameterInvalid));
    let other_hash = Params::Pss { hash: Hash::Sha1, mgf: Hash::Sha1, salt_length: 20 };
    assert_eq!(signed(other_hash), Err(Error::ParameterInvalid));
    let raw = named(ck::CKM_RSA_PKCS_PSS);
    assert_eq!(sign(private, raw, &pss(Hash::Sha256, 32), &[0; 31], false), Err(Error::DataLength));
}

/// RFC 2202 and RFC 4231, test case 2.
#[test]
fn hmac_gives_the_published_tags() {
    let key = Key::from_secret(ck::CKK_GENERIC_SECRET, b"Jefe".to_vec()).expect("a key");
    let data = b"what do ya want for nothing?";
    for (kind, tag) in [
        (ck::CKM_SHA_1_HMAC, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (ck::CKM_SHA224_HMAC, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
        (ck::CKM_SHA256_HMAC, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            ck::CKM_SHA384_HMAC,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e
             8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            ck::CKM_SHA512_HMAC,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ] {
        let (mechanism, tag) = (named(kind), hex(tag));
        assert_eq!(sign(&key, mechanism, &Params::None, data, false).as_ref(), Ok(&tag));
        let check = |tag: &[u8]| verify(&key, mechanism, &Params::None, data, false, tag);
        assert_eq!(check(&tag), Ok(()));
        assert_eq!(check(&tag[1..]), Err(Error::SignatureLength));
        assert_eq!(check(&vec![0; tag.len()]), Err(Error::SignatureInvalid));
        let prehashed = sign(&key, mechanism, &Params::None, data, true);
        assert_eq!(prehashed, Err(Error::DataInvalid));
    }
}

#[test]
fn keys_and_mechanisms_of_another_kind_are_refused() {
    let (private, public) = rsa();
    let aes = generate_secret(ck::CKK_AES, 32).expect("a key");
    let signed = |key, kind| sign(key, named(kind), &Params::None, b"data", false);
    assert_eq!(signed(public, ck::CKM_SHA256_RSA_PKCS), Err(Error::KeyType));
    assert_eq!(signed(private, ck::CKM_ECDSA_SHA256), Err(Error::KeyType));
    assert_eq!(signed(&aes, ck::CKM_SHA256_HMAC), Err(Error::KeyType));
    assert_eq!(signed(private, ck::CKM_RSA_PKCS_OAEP), Err(Error::MechanismInvalid));
    assert_eq!(signed(&aes, ck::CKM_AES_GCM), Err(Error::MechanismInvalid));
    let checked = verify(private, named(ck::CKM_RSA_PKCS), &Params::None, b"", false, b"");
    assert_eq!(checked, Err(Error::KeyType));
    let with_params = Params::Iv(&[0; 16]);
    let signed = sign(private, named(ck::CKM_SHA256_RSA_PKCS), &with_params, b"", false);
    assert_eq!(signed, Err(Error::ParameterInvalid));
}

/// One key object serves many threads at once: each signature is right, RSA's blinding included.
#[test]
fn one_key_signs_on_many_threads_at_once() {
    let (rsa_private, rsa_public) = rsa();
    let pairs: Vec<(Key, Key)> = [Curve::P256, Curve::Secp256k1]
        .into_iter()
        .map(|curve| {
            let private = generate_ec(curve).expect("a key");
            let public = private.public_key().expect("a pair");
            (private, public)
        })
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let pairs = &pairs;
            scope.spawn(move || {
                for round in 0..40u8 {
                    let data = [thread, round];
                    let check = |private, public, kind| {
                        let mechanism = named(kind);
                        let signature =
                            sign(private, mechanism, &Params::None, &data, false).expect("signed");
                        verify(public, mechanism, &Params::None, &data, false, &signature)
                            .expect("verified");
                    };
                    check(rsa_private, rsa_public, ck::CKM_SHA256_RSA_PKCS);
                    for (private, public) in pairs {
                        check(private, public, ck::CKM_ECDSA_SHA256);
                    }
                }
            });
        }
    });
}
