//! Mechanisms at work, and the codes with which they are refused.

use cryptoki_sys::*;
use strongroom_engine::audit::{BLOCK_VERSION, RECORD_BYTES};
use strongroom_wire::limits::{DATA_BYTES_MAX, RANDOM_BYTES_MAX};
use strongroom_wire::message::{
    GcmParameter, ListMechanisms, OaepParameter, Operation, Outcome, Parameter, PssParameter,
    Random,
};

use crate::support::*;

fn rsa_pair(client: &mut Client) -> (u64, u64) {
    let bits = number(2048);
    client.pair(generate_pair(
        CKM_RSA_PKCS_KEY_PAIR_GEN,
        &[(CKA_MODULUS_BITS, &bits), (CKA_VERIFY, TRUE), (CKA_ENCRYPT, TRUE)],
        &[(CKA_SIGN, TRUE), (CKA_DECRYPT, TRUE)],
    ))
}

fn cipher_key(client: &mut Client) -> u64 {
    client.object(aes(&[(CKA_ENCRYPT, TRUE), (CKA_DECRYPT, TRUE)]))
}

fn gcm(iv: &[u8]) -> Parameter {
    Parameter::Gcm(GcmParameter { iv: iv.to_vec(), aad: b"aad".to_vec(), tag_bits: 128 })
}

#[test]
fn rsa_and_ecdsa_sign_and_verify_data_and_digests() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (rsa_public, rsa_private) = rsa_pair(&mut alice);
    let (ec_public, ec_private) = alice.pair(p256());
    let pss = || {
        with(
            CKM_SHA256_RSA_PKCS_PSS,
            Parameter::Pss(PssParameter {
                hash: CKM_SHA256,
                mgf: CKG_MGF1_SHA256,
                salt_length: 32,
            }),
        )
    };
    let digest = strongroom_crypto::Hash::Sha256.digest(b"data");
    for (public, private, mechanism) in [
        (rsa_public, rsa_private, mechanism(CKM_SHA256_RSA_PKCS)),
        (rsa_public, rsa_private, pss()),
        (ec_public, ec_private, mechanism(CKM_ECDSA_SHA256)),
    ] {
        let signature = alice.bytes(sign(private, mechanism.clone(), b"data"));
        alice.done(verify(public, mechanism.clone(), b"data", &signature));
        let mut prehashed = strongroom_wire::message::Sign::default();
        prehashed.handle = private;
        prehashed.mechanism = mechanism.clone();
        prehashed.data = digest.clone();
        prehashed.prehashed = true;
        let signature = alice.bytes(Operation::Sign(prehashed));
        alice.done(verify(public, mechanism.clone(), b"data", &signature));
        let wrong = verify(public, mechanism.clone(), b"other", &signature);
        assert_eq!(alice.refused(wrong), CKR_SIGNATURE_INVALID);
        let short = verify(public, mechanism, b"data", &signature[1..]);
        assert_eq!(alice.refused(short), CKR_SIGNATURE_LEN_RANGE);
    }
}

#[test]
fn a_digest_of_another_length_or_for_a_mechanism_without_hash_is_refused() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (_, private) = alice.pair(p256());
    let mut prehashed = |kind, length| {
        let mut sign = strongroom_wire::message::Sign::default();
        sign.handle = private;
        sign.mechanism = mechanism(kind);
        sign.data = vec![1; length];
        sign.prehashed = true;
        alice.refused(Operation::Sign(sign))
    };
    assert_eq!(prehashed(CKM_ECDSA_SHA256, 20), CKR_DATA_LEN_RANGE);
    assert_eq!(prehashed(CKM_ECDSA, 32), CKR_ARGUMENTS_BAD);
}

#[test]
fn hmac_works_with_generic_secrets() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let length = number(32);
    let key = alice.object(generate(CKM_GENERIC_SECRET_KEY_GEN, &[(CKA_VALUE_LEN, &length)]));
    let mac = alice.bytes(sign(key, mechanism(CKM_SHA256_HMAC), b"data"));
    assert_eq!(mac.len(), 32);
    alice.done(verify(key, mechanism(CKM_SHA256_HMAC), b"data", &mac));
    let wrong = verify(key, mechanism(CKM_SHA256_HMAC), b"datb", &mac);
    assert_eq!(alice.refused(wrong), CKR_SIGNATURE_INVALID);
}

#[test]
fn a_cloudhsm_makes_the_gcm_iv_itself() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = cipher_key(&mut alice);
    let mut ivs = Vec::new();
    for given in [&[][..], &[0; 12]] {
        let request = encrypt(key, with(CKM_AES_GCM, gcm(given)), b"plaintext");
        let Ok(Some(Outcome::Encrypted(reply))) = alice.call(request) else {
            panic!("not encrypted")
        };
        assert_eq!(reply.iv.len(), 12);
        assert_eq!(reply.data.len(), 9 + 16);
        let opened = decrypt(key, with(CKM_AES_GCM, gcm(&reply.iv)), &reply.data);
        assert_eq!(alice.bytes(opened), b"plaintext");
        let other = decrypt(key, with(CKM_AES_GCM, gcm(&[1; 12])), &reply.data);
        assert_eq!(alice.refused(other), CKR_ENCRYPTED_DATA_INVALID);
        ivs.push(reply.iv);
    }
    assert_ne!(ivs[0], ivs[1]);
    let chosen = encrypt(key, with(CKM_AES_GCM, gcm(&[1; 12])), b"plaintext");
    assert_eq!(alice.refused(chosen), CKR_MECHANISM_PARAM_INVALID);
}

#[test]
fn a_token_uses_the_callers_gcm_iv() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let key = cipher_key(&mut user);
    let request = || encrypt(key, with(CKM_AES_GCM, gcm(&[0; 12])), b"plaintext");
    let (one, two) = (user.bytes(request()), user.bytes(request()));
    assert_eq!(one, two);
    let Ok(Some(Outcome::Encrypted(reply))) = user.call(request()) else { panic!() };
    assert!(reply.iv.is_empty());
    let request = encrypt(key, with(CKM_AES_GCM, gcm(&[])), b"plaintext");
    let Ok(Some(Outcome::Encrypted(reply))) = user.call(request) else { panic!() };
    assert_eq!(reply.iv.len(), 12);
}

#[test]
fn aws_gcm_carries_its_iv_in_front() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = cipher_key(&mut alice);
    let kind = strongroom_wire::vendor::CKM_CLOUDHSM_AES_GCM;
    let sealed = alice.bytes(encrypt(key, with(kind, gcm(&[])), b"plaintext"));
    assert_eq!(sealed.len(), 12 + 9 + 16);
    assert_eq!(alice.bytes(decrypt(key, with(kind, gcm(&[])), &sealed)), b"plaintext");
}

#[test]
fn cbc_pads_and_oaep_opens() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = cipher_key(&mut alice);
    let cbc = || with(CKM_AES_CBC_PAD, Parameter::Iv(vec![9; 16]));
    let sealed = alice.bytes(encrypt(key, cbc(), b"plaintext"));
    assert_eq!(sealed.len(), 16);
    assert_eq!(alice.bytes(decrypt(key, cbc(), &sealed)), b"plaintext");
    assert_eq!(alice.refused(decrypt(key, cbc(), &sealed[1..])), CKR_ENCRYPTED_DATA_LEN_RANGE);
    let (public, private) = rsa_pair(&mut alice);
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
    let sealed = alice.bytes(encrypt(public, oaep(), b"plaintext"));
    assert_eq!(alice.bytes(decrypt(private, oaep(), &sealed)), b"plaintext");
}

#[test]
fn each_way_of_being_wrong_has_its_code() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = alice.pair(p256());
    let key = cipher_key(&mut alice);
    let ecdsa = || mechanism(CKM_ECDSA_SHA256);
    let sha256 = mechanism(CKM_SHA256);
    assert_eq!(alice.refused(sign(private, None, b"")), CKR_ARGUMENTS_BAD);
    assert_eq!(alice.refused(sign(private, mechanism(0xdead), b"")), CKR_MECHANISM_INVALID);
    assert_eq!(alice.refused(sign(private, sha256, b"")), CKR_MECHANISM_INVALID);
    assert_eq!(alice.refused(sign(12345, ecdsa(), b"")), CKR_KEY_HANDLE_INVALID);
    assert_eq!(alice.refused(sign(1 << 63, ecdsa(), b"")), CKR_KEY_HANDLE_INVALID);
    assert_eq!(alice.refused(sign(key, ecdsa(), b"")), CKR_KEY_TYPE_INCONSISTENT);
    let rsa = mechanism(CKM_SHA256_RSA_PKCS);
    assert_eq!(alice.refused(sign(private, rsa, b"")), CKR_KEY_TYPE_INCONSISTENT);
    assert_eq!(alice.refused(sign(public, ecdsa(), b"")), CKR_KEY_FUNCTION_NOT_PERMITTED);
    let parameter = with(CKM_ECDSA_SHA256, Parameter::Iv(vec![0; 16]));
    assert_eq!(alice.refused(sign(private, parameter, b"")), CKR_MECHANISM_PARAM_INVALID);
    let cbc = || with(CKM_AES_CBC, Parameter::Iv(vec![0; 16]));
    assert_eq!(alice.refused(encrypt(key, cbc(), &[0; 15])), CKR_DATA_LEN_RANGE);
    let no_iv = mechanism(CKM_AES_CBC);
    assert_eq!(alice.refused(encrypt(key, no_iv, &[0; 16])), CKR_MECHANISM_PARAM_INVALID);
    let long = vec![0; DATA_BYTES_MAX + 16];
    assert_eq!(alice.refused(encrypt(key, cbc(), &long)), CKR_DATA_LEN_RANGE);
    assert_eq!(alice.refused(decrypt(key, cbc(), &long)), CKR_ENCRYPTED_DATA_LEN_RANGE);
    assert_eq!(alice.refused(sign(private, ecdsa(), &long)), CKR_DATA_LEN_RANGE);
}

#[test]
fn a_key_for_some_mechanisms_works_with_those_only() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let allowed = number(CKM_ECDSA_SHA384);
    let (_, private) = alice.pair(generate_pair(
        CKM_EC_KEY_PAIR_GEN,
        &[(CKA_EC_PARAMS, P256)],
        &[(CKA_SIGN, TRUE), (CKA_ALLOWED_MECHANISMS, &allowed)],
    ));
    alice.bytes(sign(private, mechanism(CKM_ECDSA_SHA384), b"data"));
    let other = sign(private, mechanism(CKM_ECDSA_SHA256), b"data");
    assert_eq!(alice.refused(other), CKR_MECHANISM_INVALID);
}

#[test]
fn random_bytes_differ_and_are_bounded() {
    let hsm = Hsm::active();
    let mut client = hsm.client();
    let random = |bytes| Operation::Random(Random { bytes });
    let one = client.bytes(random(32));
    assert_ne!(one, client.bytes(random(32)));
    assert!(client.bytes(random(0)).is_empty());
    let over = u32::try_from(RANDOM_BYTES_MAX).unwrap() + 1;
    assert_eq!(client.refused(random(over)), CKR_ARGUMENTS_BAD);
}

#[test]
fn mechanisms_are_listed_from_the_table() {
    let hsm = Hsm::active();
    let mut client = hsm.client();
    let list = Operation::ListMechanisms(ListMechanisms {});
    let Ok(Some(Outcome::Mechanisms(reply))) = client.call(list) else { panic!() };
    let ecdsa = reply.mechanisms.iter().find(|m| m.kind == CKM_ECDSA).unwrap();
    assert_ne!(ecdsa.flags & CKF_SIGN, 0);
    assert_eq!((ecdsa.min_key_size, ecdsa.max_key_size), (224, 521));
}

#[test]
fn every_use_is_recorded_the_refused_ones_too() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (_, private) = alice.pair(p256());
    let another = hsm.bob();
    alice.bytes(sign(private, mechanism(CKM_ECDSA_SHA256), b"data"));
    alice.refused(sign(private, mechanism(CKM_SHA256_RSA_PKCS), b"data"));
    hsm.engine.housekeeping();
    // A connection that ends leaves nothing behind.
    alice.refused(sign(7, mechanism(CKM_ECDSA_SHA256), b"data"));
    drop((alice, another));
    let blocks = hsm.uses.0.lock().unwrap();
    let records: Vec<&[u8]> = blocks
        .iter()
        .flat_map(|block| {
            assert_eq!(block[0], BLOCK_VERSION);
            block[1..].chunks_exact(RECORD_BYTES)
        })
        .collect();
    let number =
        |record: &[u8], at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
    let seen: Vec<(u64, u64, u32)> = records
        .iter()
        .map(|record| {
            let status = u32::from_le_bytes(record[44..48].try_into().unwrap());
            (number(record, 16), number(record, 24), status)
        })
        .collect();
    assert_eq!(
        seen,
        [
            (private, CKM_ECDSA_SHA256, 0),
            (private, CKM_SHA256_RSA_PKCS, CKR_KEY_TYPE_INCONSISTENT as u32),
            (7, CKM_ECDSA_SHA256, CKR_KEY_HANDLE_INVALID as u32),
        ]
    );
    assert!(records.iter().all(|record| number(record, 8) != 0), "under alice's login");
}

#[test]
fn a_stranger_who_is_refused_does_not_fill_the_audit_log() {
    let hsm = Hsm::active();
    let private = hsm.alice().pair(p256()).1;
    let mut stranger = hsm.client();
    for handle in [7, private] {
        stranger.refused(sign(handle, mechanism(CKM_ECDSA_SHA256), b"data"));
        stranger.refused(wrap(handle, mechanism(CKM_AES_KEY_WRAP), handle));
    }
    drop(stranger);
    hsm.engine.housekeeping();
    assert!(hsm.uses.0.lock().unwrap().is_empty());
}
