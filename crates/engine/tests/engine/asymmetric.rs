//! Asymmetric mechanisms by the rules of mode and personality, and over restarts.

use cryptoki_sys::*;
use strongroom_wire::message::{
    DecapsulateKey, DeriveKey, EcdhParameter, EncapsulateKey, Operation, Outcome, Parameter,
};

use crate::support::*;

const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];
const X25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x6e];

fn rsa(bits: u64) -> Operation {
    generate_pair(CKM_RSA_X9_31_KEY_PAIR_GEN, &[(CKA_MODULUS_BITS, &number(bits))], &[])
}

fn secret() -> Option<strongroom_wire::message::Template> {
    Some(template(&[
        (CKA_CLASS, &number(CKO_SECRET_KEY)),
        (CKA_KEY_TYPE, &number(CKK_AES)),
        (CKA_VALUE_LEN, &number(32)),
        (CKA_TOKEN, TRUE),
    ]))
}

#[test]
fn short_rsa_keys_are_for_tokens_outside_of_fips_mode_only() {
    let (hsm, token) = (Hsm::active(), Hsm::token());
    assert_eq!(hsm.alice().refused(rsa(1024)), CKR_KEY_SIZE_RANGE);
    token.user().pair(rsa(1024));
    assert_eq!(token.in_fips_mode().user().refused(rsa(1024)), CKR_KEY_SIZE_RANGE);
    // Nor do they come in by C_CreateObject.
    let modulus = [0xff; 128];
    let import = create(&[
        (CKA_CLASS, &number(CKO_PUBLIC_KEY)),
        (CKA_KEY_TYPE, &number(CKK_RSA)),
        (CKA_MODULUS, &modulus),
        (CKA_PUBLIC_EXPONENT, &[1, 0, 1]),
    ]);
    assert_eq!(hsm.alice().refused(import), CKR_KEY_SIZE_RANGE);
}

#[test]
fn fips_mode_has_no_edwards_curves_and_no_hash_that_is_weaker_than_the_key() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (_, private) = alice.pair(generate_pair(
        CKM_EC_KEY_PAIR_GEN,
        &[(CKA_EC_PARAMS, &ED25519), (CKA_TOKEN, TRUE)],
        &[(CKA_SIGN, TRUE), (CKA_TOKEN, TRUE)],
    ));
    alice.bytes(sign(private, mechanism(CKM_EDDSA), b"data"));
    let (_, p256) = alice.pair(p256());
    alice.bytes(sign(p256, mechanism(CKM_ECDSA_SHA1), b"data"));

    let fips = hsm.in_fips_mode();
    let mut alice = fips.alice();
    let edwards = |kind| generate_pair(kind, &[(CKA_EC_PARAMS, &ED25519)], &[]);
    assert_eq!(alice.refused(edwards(CKM_EC_KEY_PAIR_GEN)), CKR_CURVE_NOT_SUPPORTED);
    assert_eq!(alice.refused(edwards(CKM_EC_EDWARDS_KEY_PAIR_GEN)), CKR_MECHANISM_INVALID);
    let signing = sign(private, mechanism(CKM_EDDSA), b"data");
    assert_eq!(alice.refused(signing), CKR_MECHANISM_INVALID);
    let weak = sign(p256, mechanism(CKM_ECDSA_SHA1), b"data");
    assert_eq!(alice.refused(weak), CKR_MECHANISM_INVALID);
    alice.bytes(sign(p256, mechanism(CKM_ECDSA_SHA256), b"data"));
}

#[test]
fn keys_of_every_scheme_are_there_after_a_restart() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let set = number(CKP_ML_DSA_65);
    let kem_set = number(CKP_ML_KEM_768);
    let made: Vec<(u64, u64)> = [
        (CKM_EC_EDWARDS_KEY_PAIR_GEN, (CKA_EC_PARAMS, &ED25519[..])),
        (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, (CKA_EC_PARAMS, &X25519)),
        (CKM_ML_DSA_KEY_PAIR_GEN, (CKA_PARAMETER_SET, &set)),
        (CKM_ML_KEM_KEY_PAIR_GEN, (CKA_PARAMETER_SET, &kem_set)),
    ]
    .into_iter()
    .map(|(kind, what)| {
        user.pair(generate_pair(kind, &[what, (CKA_TOKEN, TRUE)], &[(CKA_TOKEN, TRUE)]))
    })
    .collect();
    let infos: Vec<Vec<u8>> = made
        .iter()
        .map(|(public, _)| user.attribute(*public, CKA_PUBLIC_KEY_INFO).unwrap())
        .collect();
    let mut user = hsm.restart().user();
    for ((public, private), info) in made.iter().zip(infos) {
        assert_eq!(user.attribute(*public, CKA_PUBLIC_KEY_INFO).unwrap(), info);
        assert_eq!(user.attribute(*private, CKA_PUBLIC_KEY_INFO).unwrap(), info);
    }
    let signature = user.bytes(sign(made[0].1, mechanism(CKM_EDDSA), b"data"));
    user.done(verify(made[0].0, mechanism(CKM_EDDSA), b"data", &signature));
    let signature = user.bytes(sign(made[2].1, mechanism(CKM_ML_DSA), b"data"));
    user.done(verify(made[2].0, mechanism(CKM_ML_DSA), b"data", &signature));
}

#[test]
fn a_retried_derivation_makes_one_key_and_a_retried_encapsulation_is_refused() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let (public, private) = user.pair(generate_pair(
        CKM_EC_KEY_PAIR_GEN,
        &[(CKA_EC_PARAMS, &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07])],
        &[(CKA_DERIVE, TRUE)],
    ));
    let point = user.attribute(public, CKA_EC_POINT).unwrap();
    let derive = || {
        let parameter = Parameter::Ecdh(EcdhParameter {
            kdf: CKD_SHA256_KDF,
            shared_data: Vec::new(),
            public_data: point.clone(),
        });
        Operation::DeriveKey(DeriveKey {
            handle: private,
            mechanism: with(CKM_ECDH1_DERIVE, parameter),
            template: secret(),
        })
    };
    let first = user.send(7000, derive());
    let again = user.send(7000, derive());
    assert!(matches!(first.outcome, Some(Outcome::Object(_))), "{first:?}");
    assert_eq!(first.outcome, again.outcome);

    let set = number(CKP_ML_KEM_512);
    let (public, private) =
        user.pair(generate_pair(CKM_ML_KEM_KEY_PAIR_GEN, &[(CKA_PARAMETER_SET, &set)], &[]));
    let encapsulate = || {
        Operation::EncapsulateKey(EncapsulateKey {
            handle: public,
            mechanism: mechanism(CKM_ML_KEM),
            template: secret(),
        })
    };
    let first = user.send(7001, encapsulate());
    let Some(Outcome::Encapsulated(reply)) = &first.outcome else { panic!("{first:?}") };
    // The key is there, its ciphertext was lost: it can't be given again.
    assert_eq!(user.send(7001, encapsulate()).status, CKR_FUNCTION_FAILED);
    let decapsulate = Operation::DecapsulateKey(DecapsulateKey {
        handle: private,
        mechanism: mechanism(CKM_ML_KEM),
        ciphertext: reply.ciphertext.clone(),
        template: secret(),
    });
    let there = user.send(7002, decapsulate);
    let Some(Outcome::Object(other)) = &there.outcome else { panic!("{there:?}") };
    let value = |user: &mut Client, key| user.attribute(key, CKA_CHECK_VALUE).unwrap();
    assert_eq!(value(&mut user, other.handle), value(&mut user, reply.handle));
}
