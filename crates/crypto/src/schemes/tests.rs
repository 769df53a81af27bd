use super::*;
use crate::backend::testing::hex;
use crate::{KeyKind, generate_ec, generate_scheme, mechanism, sign, verify};

fn named(kind: u64) -> &'static Mechanism {
    mechanism::find(kind).expect("in the table")
}

fn ed25519(seed: &str) -> (Key, Key) {
    let key = Key::from_scheme_seed(Scheme::Ed25519, &hex(seed)).expect("a key");
    let public = key.public_key().expect("a public key");
    (key, public)
}

/// RFC 8032, 7.1 (test 2), 7.2 (foo) and 7.3 (abc).
#[test]
fn ed25519_signs_as_rfc_8032_says() {
    let eddsa = named(ck::CKM_EDDSA);
    let (key, _) = ed25519("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let signature = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    assert_eq!(sign(&key, eddsa, &Params::None, &[0x72], false), Ok(signature));

    let (key, public) = ed25519("0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6");
    let message = hex("f726936d19c800494e3fdaff20b276a8");
    let params = Params::Eddsa { prehash: false, context: b"foo" };
    let signature = hex("55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a
         8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d");
    assert_eq!(sign(&key, eddsa, &params, &message, false).as_ref(), Ok(&signature));
    assert_eq!(verify(&public, eddsa, &params, &message, false, &signature), Ok(()));
    let other = Params::Eddsa { prehash: false, context: b"bar" };
    let refused = verify(&public, eddsa, &other, &message, false, &signature);
    assert_eq!(refused, Err(Error::SignatureInvalid));

    let (key, public) = ed25519("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42");
    let params = Params::Eddsa { prehash: true, context: &[] };
    let signature = hex("98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41
         31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406");
    let hashed = Hash::Sha512.digest(b"abc");
    assert_eq!(sign(&key, eddsa, &params, b"abc", false).as_ref(), Ok(&signature));
    assert_eq!(sign(&key, eddsa, &params, &hashed, true).as_ref(), Ok(&signature));
    assert_eq!(verify(&public, eddsa, &params, &hashed, true, &signature), Ok(()));
}

#[test]
fn every_generated_key_comes_back_from_each_form() {
    for scheme in Scheme::ALL {
        let key = generate_scheme(scheme).expect("a key");
        let public = key.public_key().expect("a public key");
        assert_eq!(key.kind(), KeyKind::SchemePrivate(scheme));
        assert_eq!(public.scheme_public().map(<[u8]>::len), Some(scheme.public_bytes()));
        for (key, kind) in
            [(&key, KeyKind::SchemePrivate(scheme)), (&public, KeyKind::SchemePublic(scheme))]
        {
            let stored = key.to_stored();
            let again = Key::from_stored(kind, stored.as_bytes()).expect("stored");
            assert_eq!(again.scheme_public(), key.scheme_public());
            assert_eq!(again.check_value(), key.check_value());
            assert!(Key::from_stored(kind, &stored.as_bytes()[1..]).is_err());
        }
        let wrapped = key.to_pkcs8().expect("PKCS#8");
        let again = Key::from_pkcs8(wrapped.as_bytes()).expect("PKCS#8");
        assert_eq!(again.to_stored().as_bytes(), key.to_stored().as_bytes());
        let again = Key::from_spki(&public.to_spki().expect("SPKI")).expect("SPKI");
        assert_eq!(again.scheme_public(), key.scheme_public());
    }
}

#[test]
fn ml_dsa_signs_in_a_context_and_only_there() {
    let pure = named(ck::CKM_ML_DSA);
    for scheme in [Scheme::MlDsa44, Scheme::MlDsa65, Scheme::MlDsa87] {
        let key = generate_scheme(scheme).expect("a key");
        let public = key.public_key().expect("a public key");
        let params = Params::SigningContext { context: b"here", hash: None };
        let signature = sign(&key, pure, &params, b"message", false).expect("a signature");
        assert_eq!(signature.len(), scheme.signature_bytes());
        assert_eq!(verify(&public, pure, &params, b"message", false, &signature), Ok(()));
        let elsewhere = verify(&public, pure, &Params::None, b"message", false, &signature);
        assert_eq!(elsewhere, Err(Error::SignatureInvalid));
        let short = verify(&public, pure, &params, b"message", false, &signature[1..]);
        assert_eq!(short, Err(Error::SignatureLength));
        // Hedged: no two are alike.
        assert_ne!(sign(&key, pure, &params, b"message", false), Ok(signature));
        let long = Params::SigningContext { context: &[0; 256], hash: None };
        let refused = sign(&key, pure, &long, b"message", false);
        assert_eq!(refused, Err(Error::ParameterInvalid));
    }
}

/// What is in front of the message is as FIPS 204 has it: a signature of the message itself verifies
/// over a mu that is made here, with the domain of pure signatures.
#[test]
fn mu_is_what_the_signature_is_over() {
    let by_mu = named(mechanism::CKM_CLOUDHSM_EXT_MU_ML_DSA);
    let key = generate_scheme(Scheme::MlDsa65).expect("a key");
    let public = key.public_key().expect("a public key");
    let of_key = digest::shake256(key.scheme_public().expect("a public key"), MU_BYTES);
    let framed = [of_key.as_bytes(), &[0, 4], b"here", b"message"].concat();
    let mu = digest::shake256(&framed, MU_BYTES);
    let params = Params::SigningContext { context: b"here", hash: None };
    let signature =
        sign(&key, named(ck::CKM_ML_DSA), &params, b"message", false).expect("a signature");
    let verified = verify(&public, by_mu, &Params::None, mu.as_bytes(), false, &signature);
    assert_eq!(verified, Ok(()));
    let signature = sign(&key, by_mu, &Params::None, mu.as_bytes(), false).expect("a signature");
    let verified = verify(&public, named(ck::CKM_ML_DSA), &params, b"message", false, &signature);
    assert_eq!(verified, Ok(()));
    let short = sign(&key, by_mu, &Params::None, &mu.as_bytes()[1..], false);
    assert_eq!(short, Err(Error::DataLength));
}

#[test]
fn hash_ml_dsa_signs_the_digest_under_its_own_domain() {
    let fixed = named(ck::CKM_HASH_ML_DSA_SHA256);
    let open = named(ck::CKM_HASH_ML_DSA);
    let key = generate_scheme(Scheme::MlDsa44).expect("a key");
    let public = key.public_key().expect("a public key");
    let context = Params::SigningContext { context: b"here", hash: None };
    let with_hash = Params::SigningContext { context: b"here", hash: Some(Hash::Sha256) };
    let hashed = Hash::Sha256.digest(b"message");
    let signature = sign(&key, fixed, &context, b"message", false).expect("a signature");
    assert_eq!(verify(&public, fixed, &context, &hashed, true, &signature), Ok(()));
    assert_eq!(verify(&public, open, &with_hash, &hashed, false, &signature), Ok(()));
    let other = Params::SigningContext { context: b"here", hash: Some(Hash::Sha512) };
    let wrong_length = verify(&public, open, &other, &hashed, false, &signature);
    assert_eq!(wrong_length, Err(Error::DataLength));
    let pure = verify(&public, named(ck::CKM_ML_DSA), &context, &hashed, false, &signature);
    assert_eq!(pure, Err(Error::SignatureInvalid));
    let sha1 = Params::SigningContext { context: &[], hash: Some(Hash::Sha1) };
    let refused = sign(&key, open, &sha1, &[0; 20], false);
    assert_eq!(refused, Err(Error::ParameterInvalid));
    assert_eq!(sign(&key, open, &context, &hashed, false), Err(Error::ParameterInvalid));
}

#[test]
fn ml_kem_gives_both_sides_one_secret_and_a_strangers_ciphertext_another() {
    let kem = named(ck::CKM_ML_KEM);
    for scheme in [Scheme::MlKem512, Scheme::MlKem768, Scheme::MlKem1024] {
        let key = generate_scheme(scheme).expect("a key");
        let public = key.public_key().expect("a public key");
        let (secret, mut ciphertext) = encapsulate(&public, kem, &Params::None).expect("a secret");
        assert_eq!(ciphertext.len(), scheme.ciphertext_bytes());
        let same = decapsulate(&key, kem, &Params::None, &ciphertext).expect("a secret");
        assert_eq!(same.as_bytes(), secret.as_bytes());
        ciphertext[7] ^= 1;
        let other = decapsulate(&key, kem, &Params::None, &ciphertext).expect("a secret");
        assert_ne!(other.as_bytes(), secret.as_bytes());
        let short = decapsulate(&key, kem, &Params::None, &ciphertext[1..]).err();
        assert_eq!(short, Some(Error::WrappedKeyLength));
        assert!(encapsulate(&key, kem, &Params::None).is_err());
        // A coefficient out of range (FIPS 203, 7.2).
        let mut bytes = public.scheme_public().expect("a public key").to_vec();
        bytes[..3].fill(0xff);
        let refused = Key::from_scheme_public(scheme, &bytes).err();
        assert_eq!(refused, Some(Error::KeyInvalid));
    }
}

#[test]
fn a_key_of_another_scheme_is_of_the_wrong_type() {
    let ed25519 = generate_scheme(Scheme::Ed25519).expect("a key");
    let ml_kem = generate_scheme(Scheme::MlKem512).expect("a key");
    let p256 = generate_ec(crate::Curve::P256).expect("a key");
    for (key, kind) in [
        (&ed25519, ck::CKM_ML_DSA),
        (&ml_kem, ck::CKM_ML_DSA),
        (&ml_kem, ck::CKM_EDDSA),
        (&p256, ck::CKM_EDDSA),
        (&ed25519, ck::CKM_ECDSA),
    ] {
        assert_eq!(sign(key, named(kind), &Params::None, &[1; 32], false), Err(Error::KeyType));
    }
}
