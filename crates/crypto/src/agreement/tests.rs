use super::*;
use crate::backend::testing::hex;
use crate::{Curve, Mechanism, generate_ec, mechanism};

fn ecdh() -> &'static Mechanism {
    mechanism::find(ck::CKM_ECDH1_DERIVE).expect("in the table")
}

fn agreement<'a>(kdf: AgreementKdf, shared_info: &'a [u8], peer: &'a [u8]) -> Params<'a> {
    Params::Agreement { kdf, shared_info, peer }
}

fn derived(key: &Key, params: &Params<'_>, length: Option<usize>) -> Result<Vec<u8>, Error> {
    crate::derive(key, ecdh(), params, length).map(SecretBytes::into_plain)
}

/// RFC 5903, 8.1.
#[test]
fn p256_agrees_on_what_rfc_5903_says() {
    let scalar = hex("c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433");
    let peer = hex("04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63
         56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab");
    let secret = hex("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de");
    let key = Key::from_ec_private(Curve::P256, &scalar).expect("a key");
    let params = agreement(AgreementKdf::None, &[], &peer);
    assert_eq!(derived(&key, &params, None).as_ref(), Ok(&secret));
    // Bytes go from the front.
    assert_eq!(derived(&key, &params, Some(16)), Ok(secret[16..].to_vec()));
    assert_eq!(derived(&key, &params, Some(33)), Err(Error::KeySize));
}

/// NIST's CAVP vectors of ANSI X9.63 (ansx963_2001), SHA-256.
#[test]
fn x963_gives_the_published_key_data() {
    let z = hex("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08");
    let out = x963(Hash::Sha256, &z, &[], 16).map(SecretBytes::into_plain);
    assert_eq!(out, Ok(hex("443024c3dae66b95e6f5670601558f71")));
    let z = hex("22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d");
    let info = hex("75eef81aa3041e33b80971203d2c0c52");
    let out = x963(Hash::Sha256, &z, &info, 128).map(SecretBytes::into_plain);
    let expected = hex("c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e
         52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6cf92f30d0097111485
         500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269
         142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21");
    assert_eq!(out, Ok(expected));
}

/// The one-step derivation is the hash of counter, secret and shared info, as SP 800-56C (4.1) says.
#[test]
fn one_step_derivation_hashes_the_counter_first() {
    let (secret, info) = ([7; 32], b"info");
    let out = digest::one_step_kdf(Hash::Sha256, &secret, info, 40).expect("derived").into_plain();
    let block =
        |counter: u32| Hash::Sha256.digest(&[&counter.to_be_bytes()[..], &secret, info].concat());
    assert_eq!(out, [&block(1)[..], &block(2)[..8]].concat());
}

#[test]
fn both_sides_agree_on_every_curve_with_every_kdf() {
    for curve in Curve::ALL {
        let (one, two) = (generate_ec(curve).expect("a key"), generate_ec(curve).expect("a key"));
        let points = [&one, &two].map(|key| key.ec_point().expect("a point"));
        for number in ck::CKD_NULL..=ck::CKD_SHA512_KDF_SP800 {
            let Some(kdf) = AgreementKdf::from_number(number) else { continue };
            let info: &[u8] = if kdf == AgreementKdf::None { &[] } else { b"shared" };
            let here = derived(&one, &agreement(kdf, info, &points[1]), Some(24));
            let there = derived(&two, &agreement(kdf, info, &points[0]), Some(24));
            assert!(here.is_ok(), "{curve:?} {kdf:?}");
            assert_eq!(here, there);
        }
    }
}

#[test]
fn a_point_off_the_curve_and_a_short_key_are_refused() {
    let key = generate_ec(Curve::P256).expect("a key");
    let mut peer = generate_ec(Curve::P256).expect("a key").ec_point().expect("a point");
    let good = agreement(AgreementKdf::X963(Hash::Sha256), &[], &peer);
    assert_eq!(derived(&key, &good, Some(mechanism::DERIVED_BYTES_MIN - 1)), Err(Error::KeySize));
    assert_eq!(derived(&key, &good, None), Err(Error::KeySize));
    let shared = agreement(AgreementKdf::None, b"shared", &peer);
    assert_eq!(derived(&key, &shared, None), Err(Error::ParameterInvalid));
    assert_eq!(derived(&key, &Params::None, None), Err(Error::ParameterInvalid));
    let elsewhere = generate_ec(Curve::Secp256k1).expect("a key").ec_point().expect("a point");
    for off in [&elsewhere[..], &[0], &[], &[4; 65]] {
        let params = agreement(AgreementKdf::None, &[], off);
        assert_eq!(derived(&key, &params, None), Err(Error::ParameterInvalid));
    }
    peer[40] ^= 1;
    let params = agreement(AgreementKdf::None, &[], &peer);
    assert_eq!(derived(&key, &params, None), Err(Error::ParameterInvalid));
    let public = key.public_key().expect("a public key");
    assert_eq!(derived(&public, &params, None), Err(Error::KeyType));
}
