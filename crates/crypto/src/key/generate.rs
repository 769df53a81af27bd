//! Making new keys.

use cryptoki_sys as ck;

use super::secret::set_des_parity;
use super::{EcPrivate, Key, RsaPrivate, SchemePrivate, SecretKey, trim};
use crate::backend::ec::EcKey;
use crate::backend::rsa::RsaKey;
use crate::mechanism::{
    GENERIC_SECRET_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN, RSA_BITS_MIN_TOKEN, RSA_BITS_STEP,
};
use crate::{Curve, Error, Scheme, SecretBytes, random};

/// 65537, the public exponent that everybody uses.
const F4: &[u8] = &[1, 0, 1];

/// A new secret key of `length` bytes. `key_type` is `CKK_AES` (16, 24 or 32 bytes),
/// `CKK_GENERIC_SECRET` (1 to 800), or a type of one length ([`crate::fixed_length`]).
pub fn generate_secret(key_type: u64, length: usize) -> Result<Key, Error> {
    if length > GENERIC_SECRET_BYTES_MAX {
        return Err(Error::KeySize);
    }
    let mut bytes = SecretBytes::zeroed(length);
    random(bytes.as_mut_bytes())?;
    if key_type == ck::CKK_DES3 {
        set_des_parity(bytes.as_mut_bytes());
    }
    SecretKey::new(key_type, bytes).map(Key::Secret)
}

/// A new RSA private key with a modulus of exactly `bits` bits: 1024 to 4096 in steps of 256. Whether one below
/// 2048 may be is the caller's to say.
///
/// `public_exponent` (big-endian) is odd, at least 65537 as FIPS 186-5 (A.1.1) and CloudHSM have it,
/// and of at most the 32 bits that aws-lc takes; others are [`Error::ParameterInvalid`].
///
/// Both CKM_RSA_PKCS_KEY_PAIR_GEN and CKM_RSA_X9_31_KEY_PAIR_GEN come here: aws-lc has no
/// generator with X9.31's auxiliary primes (FIPS 186-5, A.1.6), so both use its FIPS generator of
/// probable primes (A.1.3) with the pairwise consistency test.
pub fn generate_rsa(bits: u32, public_exponent: &[u8]) -> Result<Key, Error> {
    if !(RSA_BITS_MIN_TOKEN..=RSA_BITS_MAX).contains(&bits) || !bits.is_multiple_of(RSA_BITS_STEP) {
        return Err(Error::KeySize);
    }
    let exponent = trim(public_exponent);
    // aws-lc's FIPS function makes none below 2048 bits.
    let key = if exponent == F4 && bits >= RSA_BITS_MIN {
        RsaKey::generate_fips(bits)
    } else {
        let large_enough = exponent.len() > 3 || (exponent.len() == 3 && exponent >= F4);
        let small_enough = exponent.len() <= 4;
        let odd = exponent.last().is_some_and(|last| last & 1 == 1);
        if !(large_enough && small_enough && odd) {
            return Err(Error::ParameterInvalid);
        }
        RsaKey::generate_with_exponent(bits, exponent)
    }
    .map_err(Error::backend("RSA key generation"))?;
    // aws-lc rounds odd sizes down to a multiple of 128; ours are, so this is its promise checked.
    if key.bits() != bits {
        return Err(Error::Backend("RSA key generation gave another size"));
    }
    Ok(Key::RsaPrivate(RsaPrivate::adopt(key)))
}

/// A new private key on `curve`, its pairwise consistency tested.
pub fn generate_ec(curve: Curve) -> Result<Key, Error> {
    let key = EcKey::generate(curve).map_err(Error::backend("EC key generation"))?;
    let key = EcPrivate::checked(key)?;
    // aws-lc has tried its own signature; the one that will be used is k256's.
    if curve == Curve::Secp256k1 {
        let signature = key.sign(&[7; 32])?;
        let (r, s) = signature.split_at(signature.len() / 2);
        let tried = key.backend().verify(&[7; 32], r, s);
        tried.map_err(Error::backend("a new key's pairwise test"))?;
    }
    Ok(Key::EcPrivate(key))
}

/// A new private key of a scheme, its pairwise consistency tested.
pub fn generate_scheme(scheme: Scheme) -> Result<Key, Error> {
    SchemePrivate::generate(scheme).map(Key::SchemePrivate)
}
