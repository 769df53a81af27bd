//! Key agreement: ECDH, and what makes a key of the agreed secret.
//!
//! A peer's public key that is not on the key's curve is refused before anything is computed with it
//! (Biehl, Meyer and Müller, CRYPTO 2000), and so is one that gives no secret.

use cryptoki_sys as ck;

use crate::backend::{digest, ec::EcKey};
use crate::key::scheme;
use crate::{Error, Hash, Key, Params, Scheme, SecretBytes};

/// What makes a key of an agreed secret (`CKD_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgreementKdf {
    /// Nothing: the secret itself, of which the last bytes count.
    None,
    /// ANSI X9.63 (SEC 1, 3.6.1): Hash(secret || counter || shared info).
    X963(Hash),
    /// SP 800-56C's one-step derivation: Hash(counter || secret || shared info).
    OneStep(Hash),
}

impl AgreementKdf {
    /// Of its number (`CKD_…`).
    pub fn from_number(number: u64) -> Option<Self> {
        // AWS's names CKD_CLOUDHSM_X963_… have the standard's numbers here, with the vendor's bit.
        Some(match number & !ck::CKM_VENDOR_DEFINED {
            ck::CKD_NULL => Self::None,
            ck::CKD_SHA1_KDF => Self::X963(Hash::Sha1),
            ck::CKD_SHA224_KDF => Self::X963(Hash::Sha224),
            ck::CKD_SHA256_KDF => Self::X963(Hash::Sha256),
            ck::CKD_SHA384_KDF => Self::X963(Hash::Sha384),
            ck::CKD_SHA512_KDF => Self::X963(Hash::Sha512),
            ck::CKD_SHA3_224_KDF => Self::X963(Hash::Sha3_224),
            ck::CKD_SHA3_256_KDF => Self::X963(Hash::Sha3_256),
            ck::CKD_SHA3_384_KDF => Self::X963(Hash::Sha3_384),
            ck::CKD_SHA3_512_KDF => Self::X963(Hash::Sha3_512),
            ck::CKD_SHA1_KDF_SP800 => Self::OneStep(Hash::Sha1),
            ck::CKD_SHA224_KDF_SP800 => Self::OneStep(Hash::Sha224),
            ck::CKD_SHA256_KDF_SP800 => Self::OneStep(Hash::Sha256),
            ck::CKD_SHA384_KDF_SP800 => Self::OneStep(Hash::Sha384),
            ck::CKD_SHA512_KDF_SP800 => Self::OneStep(Hash::Sha512),
            ck::CKD_SHA3_224_KDF_SP800 => Self::OneStep(Hash::Sha3_224),
            ck::CKD_SHA3_256_KDF_SP800 => Self::OneStep(Hash::Sha3_256),
            ck::CKD_SHA3_384_KDF_SP800 => Self::OneStep(Hash::Sha3_384),
            ck::CKD_SHA3_512_KDF_SP800 => Self::OneStep(Hash::Sha3_512),
            _ => return None,
        })
    }
}

/// Agrees on a secret with the holder of `peer`, and makes `length` bytes of it.
///
/// A point off the curve, and parameters that contradict one another, are
/// [`Error::ParameterInvalid`]. A key derivation function must be told the length.
pub(crate) fn derive(
    key: &Key,
    params: &Params<'_>,
    length: Option<usize>,
) -> Result<SecretBytes, Error> {
    let Params::Agreement { kdf, shared_info, peer } = *params else {
        return Err(Error::ParameterInvalid);
    };
    // PKCS#11 v3.1, 6.3.18: "With the key derivation function CKD_NULL, pSharedData must be NULL and
    // ulSharedDataLen must be zero."
    if kdf == AgreementKdf::None && !shared_info.is_empty() {
        return Err(Error::ParameterInvalid);
    }
    let secret = match key {
        Key::EcPrivate(key) => {
            let peer = EcKey::from_point(key.curve(), peer).map_err(|_| Error::ParameterInvalid)?;
            key.backend().agree(&peer).map_err(Error::backend("ECDH"))?
        }
        Key::SchemePrivate(key) if key.scheme() == Scheme::X25519 => {
            scheme::agree(key.seed().as_bytes(), peer)?
        }
        _ => return Err(Error::KeyType),
    };
    match (kdf, length) {
        (AgreementKdf::None, None) => Ok(secret),
        // The same section: "the truncation removes bytes from the leading end of the secret value".
        (AgreementKdf::None, Some(length)) => {
            let start = secret.len().checked_sub(length).ok_or(Error::KeySize)?;
            Ok(SecretBytes::copied(&secret.as_bytes()[start..]))
        }
        (_, Some(length)) => expand(kdf, secret.as_bytes(), shared_info, length),
        (_, None) => Err(Error::KeySize),
    }
}

/// `length` bytes out of an agreed secret by a key derivation function.
pub(crate) fn expand(
    kdf: AgreementKdf,
    secret: &[u8],
    shared_info: &[u8],
    length: usize,
) -> Result<SecretBytes, Error> {
    match kdf {
        AgreementKdf::None => Err(Error::ParameterInvalid),
        AgreementKdf::X963(hash) => x963(hash, secret, shared_info, length),
        AgreementKdf::OneStep(hash) => digest::one_step_kdf(hash, secret, shared_info, length)
            .map_err(Error::backend("key derivation")),
    }
}

/// ANSI X9.63's key derivation function, which aws-lc lacks: hashes one after the other.
fn x963(
    hash: Hash,
    secret: &[u8],
    shared_info: &[u8],
    length: usize,
) -> Result<SecretBytes, Error> {
    let mut out = SecretBytes::zeroed(length);
    // Four bytes count; no key here is as long as that many hashes.
    for (counter, chunk) in (1u32..).zip(out.as_mut_bytes().chunks_mut(hash.len())) {
        let mut hasher = digest::Context::new(hash);
        hasher.update(secret);
        hasher.update(&counter.to_be_bytes());
        hasher.update(shared_info);
        let block = SecretBytes::new(hasher.finish());
        chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
