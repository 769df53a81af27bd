//! Known answers of what this crate does beside aws-lc, whose own self-test has those of RSA, ECDSA,
//! ECDH, EdDSA, ML-DSA, ML-KEM, hashes, HMAC and AES: the signer for secp256k1, X25519, and key
//! derivation out of an agreed secret.
//!
//! In: nothing. Out: whether all came out as published. It never draws a key that anybody uses.

use cryptoki_sys as ck;

use crate::{AgreementKdf, Curve, Error, Hash, Key, Params, Scheme, agreement, mechanism, verify};

/// One test: its name, and whether the answer was the known one.
type Check = (&'static str, fn() -> Result<bool, Error>);

const CHECKS: &[Check] = &[
    ("ECDSA on secp256k1", secp256k1),
    ("X25519", x25519),
    ("ANSI X9.63's key derivation", x963),
    ("SP 800-56C's one-step key derivation", one_step),
];

/// Runs them all. The error names the first whose answer was another one.
pub(crate) fn run() -> Result<(), Error> {
    run_each(CHECKS)
}

fn run_each(checks: &[Check]) -> Result<(), Error> {
    for (name, check) in checks {
        match check() {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(Error::Backend(name)),
        }
    }
    Ok(())
}

/// Signatures have random nonces, so there is none to compare with: what one library signs the other
/// must verify, and over nothing else.
fn secp256k1() -> Result<bool, Error> {
    let key = Key::from_ec_private(Curve::Secp256k1, &[0x5a; 32])?;
    let public = key.public_key().ok_or(Error::KeyInvalid)?;
    let ecdsa = mechanism::find(ck::CKM_ECDSA).ok_or(Error::MechanismInvalid)?;
    let signature = crate::sign(&key, ecdsa, &Params::None, &[7; 32], false)?;
    let good = verify(&public, ecdsa, &Params::None, &[7; 32], false, &signature);
    let other = verify(&public, ecdsa, &Params::None, &[8; 32], false, &signature);
    Ok(good.is_ok() && other == Err(Error::SignatureInvalid))
}

/// RFC 7748, 5.2.
fn x25519() -> Result<bool, Error> {
    const SCALAR: [u8; 32] = *b"\xa5\x46\xe3\x6b\xf0\x52\x7c\x9d\x3b\x16\x15\x4b\x82\x46\x5e\xdd\
        \x62\x14\x4c\x0a\xc1\xfc\x5a\x18\x50\x6a\x22\x44\xba\x44\x9a\xc4";
    const PEER: [u8; 32] = *b"\xe6\xdb\x68\x67\x58\x30\x30\xdb\x35\x94\xc1\xa4\x24\xb1\x5f\x7c\
        \x72\x66\x24\xec\x26\xb3\x35\x3b\x10\xa9\x03\xa6\xd0\xab\x1c\x4c";
    const SECRET: [u8; 32] = *b"\xc3\xda\x55\x37\x9d\xe9\xc6\x90\x8e\x94\xea\x4d\xf2\x8d\x08\x4f\
        \x32\xec\xcf\x03\x49\x1c\x71\xf7\x54\xb4\x07\x55\x77\xa2\x85\x52";
    let key = Key::from_scheme_seed(Scheme::X25519, &SCALAR)?;
    let params = Params::Agreement { kdf: AgreementKdf::None, shared_info: &[], peer: &PEER };
    Ok(agreement::derive(&key, &params, None)?.ct_eq(&SECRET))
}

/// NIST's CAVP vectors (ansx963_2001), SHA-256, the first.
fn x963() -> Result<bool, Error> {
    const SECRET: [u8; 24] = *b"\x96\xc0\x56\x19\xd5\x6c\x32\x8a\xb9\x5f\xe8\x4b\
        \x18\x26\x4b\x08\x72\x5b\x85\xe3\x3f\xd3\x4f\x08";
    const KEY: [u8; 16] = *b"\x44\x30\x24\xc3\xda\xe6\x6b\x95\xe6\xf5\x67\x06\x01\x55\x8f\x71";
    let kdf = AgreementKdf::X963(Hash::Sha256);
    Ok(agreement::expand(kdf, &SECRET, &[], KEY.len())?.ct_eq(&KEY))
}

/// SP 800-56C, 4.1, as it is written: the hash of counter, secret and fixed information.
fn one_step() -> Result<bool, Error> {
    let expected = Hash::Sha256.digest(&[&[0, 0, 0, 1][..], &[7; 32], b"info"].concat());
    let kdf = AgreementKdf::OneStep(Hash::Sha256);
    Ok(agreement::expand(kdf, &[7; 32], b"info", 32)?.ct_eq(&expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_the_known_one() {
        assert_eq!(run(), Ok(()));
    }

    #[test]
    fn a_wrong_answer_and_no_answer_are_told_by_name() {
        let wrong: &[Check] = &[("good", || Ok(true)), ("wrong", || Ok(false))];
        assert_eq!(run_each(wrong), Err(Error::Backend("wrong")));
        let none: &[Check] = &[("none", || Err(Error::KeyInvalid))];
        assert_eq!(run_each(none), Err(Error::Backend("none")));
    }
}
