//! Wrapping and unwrapping keys: what C_WrapKey and C_UnwrapKey do with a key's bytes.
//!
//! The material is a secret key's raw bytes or a private key's PKCS#8 DER; which key may be wrapped
//! by which is the vault's to say.

use cryptoki_sys as ck;

use crate::backend::{key_wrap, pkey::Oaep};
use crate::cipher::{STRONG_TAGS, decrypt_any, encrypt_any};
use crate::{Error, Key, Kind, Mechanism, Params, SecretBytes, random};

/// RFC 3394's block, in bytes.
const BLOCK: usize = 8;
/// RFC 3394, 2.2.3.1, the default initial value: what callers may give, and what is used anyhow.
const DEFAULT_IV: [u8; 8] = [0xa6; 8];

/// Wraps `material` with a secret or public key.
///
/// Key wrap without padding takes whole 8-byte blocks, two at least; with RFC 5649's padding any
/// length but 0; with PKCS#5 padding 8 bytes or more. A length that the mechanism can't take is
/// [`Error::KeySize`].
pub fn wrap(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    material: &[u8],
) -> Result<Vec<u8>, Error> {
    if !mechanism.offers(ck::CKF_WRAP) {
        return Err(Error::MechanismInvalid);
    }
    if mechanism.operation == Kind::RsaAesKeyWrap {
        return rsa_aes_wrap(key, params, material);
    }
    let Some(padding) = Padding::of(mechanism.operation) else {
        return encrypt_any(key, mechanism, params, material).map_err(|error| match error {
            Error::DataLength => Error::KeySize,
            other => other,
        });
    };
    let key = wrapping_key(key)?;
    padding.check(params)?;
    let wrapped = match padding {
        Padding::None if material.len() >= 2 * BLOCK && material.len().is_multiple_of(BLOCK) => {
            key_wrap::wrap(key, material)
        }
        Padding::Zeros if !material.is_empty() => key_wrap::wrap_padded(key, material),
        Padding::Pkcs5 if material.len() >= BLOCK => {
            let padding = BLOCK - material.len() % BLOCK;
            let mut padded = SecretBytes::zeroed(material.len() + padding);
            let (front, rest) = padded.as_mut_bytes().split_at_mut(material.len());
            front.copy_from_slice(material);
            rest.fill(padding as u8);
            key_wrap::wrap(key, padded.as_bytes())
        }
        _ => return Err(Error::KeySize),
    };
    wrapped.map_err(Error::backend("AES key wrap"))
}

/// Unwraps what [`wrap`] made, with a secret or private key.
///
/// [`Error::WrappedKeyInvalid`] says that it was altered or isn't of this key, and
/// [`Error::WrappedKeyLength`] that nothing wrapped has this length. RSA PKCS #1 v1.5 gives
/// unpredictable material instead: see [`crate::decrypt`].
pub fn unwrap(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    wrapped: &[u8],
) -> Result<SecretBytes, Error> {
    if !mechanism.offers(ck::CKF_UNWRAP) {
        return Err(Error::MechanismInvalid);
    }
    if mechanism.operation == Kind::RsaAesKeyWrap {
        return rsa_aes_unwrap(key, params, wrapped);
    }
    let Some(padding) = Padding::of(mechanism.operation) else {
        return decrypt_any(key, mechanism, params, wrapped, STRONG_TAGS).map_err(
            |error| match error {
                Error::EncryptedDataInvalid => Error::WrappedKeyInvalid,
                Error::EncryptedDataLength => Error::WrappedKeyLength,
                other => other,
            },
        );
    };
    let key = wrapping_key(key)?;
    padding.check(params)?;
    // One block more than what was wrapped, which RFC 3394 lets have two or more, and RFC 5649 one.
    let blocks_min = if padding == Padding::Zeros { 2 } else { 3 };
    if !wrapped.len().is_multiple_of(BLOCK) || wrapped.len() < blocks_min * BLOCK {
        return Err(Error::WrappedKeyLength);
    }
    match padding {
        Padding::None => key_wrap::unwrap(key, wrapped).map_err(|_| Error::WrappedKeyInvalid),
        Padding::Zeros => {
            key_wrap::unwrap_padded(key, wrapped).map_err(|_| Error::WrappedKeyInvalid)
        }
        Padding::Pkcs5 => {
            // What arrives here was authenticated, so its padding has nothing to hide.
            let mut material =
                key_wrap::unwrap(key, wrapped).map_err(|_| Error::WrappedKeyInvalid)?;
            let padding = usize::from(*material.as_bytes().last().unwrap_or(&0));
            if !(1..=BLOCK).contains(&padding) {
                return Err(Error::WrappedKeyInvalid);
            }
            let length = material.len() - padding;
            if material.as_bytes()[length..].iter().any(|byte| usize::from(*byte) != padding) {
                return Err(Error::WrappedKeyInvalid);
            }
            material.truncate(length);
            Ok(material)
        }
    }
}

/// PKCS#11 v3.1, 6.1.22: a one-time AES key wrapped by OAEP || the material wrapped under it by RFC 5649.
fn rsa_aes_wrap(key: &Key, params: &Params<'_>, material: &[u8]) -> Result<Vec<u8>, Error> {
    let (aes_bits, oaep) = rsa_aes(params)?;
    let Key::RsaPublic(key) = key else { return Err(Error::KeyType) };
    if material.is_empty() {
        return Err(Error::KeySize);
    }
    let mut one_time = SecretBytes::zeroed(aes_bits as usize / 8);
    random(one_time.as_mut_bytes())?;
    let encrypted = oaep.encrypt(key.backend(), one_time.as_bytes());
    let mut wrapped = encrypted.map_err(Error::backend("RSA encryption"))?;
    let under_it = key_wrap::wrap_padded(one_time.as_bytes(), material);
    wrapped.extend_from_slice(&under_it.map_err(Error::backend("AES key wrap"))?);
    Ok(wrapped)
}

/// One error whatever is wrong, so that nobody learns whether it was OAEP (Manger, CRYPTO 2001).
fn rsa_aes_unwrap(key: &Key, params: &Params<'_>, wrapped: &[u8]) -> Result<SecretBytes, Error> {
    let (aes_bits, oaep) = rsa_aes(params)?;
    let Key::RsaPrivate(key) = key else { return Err(Error::KeyType) };
    let (encrypted, wrapped) =
        wrapped.split_at_checked(key.backend().size()).ok_or(Error::WrappedKeyLength)?;
    if !wrapped.len().is_multiple_of(BLOCK) || wrapped.len() < 2 * BLOCK {
        return Err(Error::WrappedKeyLength);
    }
    let one_time = oaep.decrypt(key.backend(), encrypted).map_err(|_| Error::WrappedKeyInvalid)?;
    if one_time.len() != aes_bits as usize / 8 {
        return Err(Error::WrappedKeyInvalid);
    }
    key_wrap::unwrap_padded(one_time.as_bytes(), wrapped).map_err(|_| Error::WrappedKeyInvalid)
}

fn rsa_aes<'a>(params: &Params<'a>) -> Result<(u32, Oaep<'a>), Error> {
    match *params {
        Params::RsaAes { aes_bits: aes_bits @ (128 | 192 | 256), hash, mgf, label } => {
            Ok((aes_bits, Oaep { hash, mgf, label }))
        }
        _ => Err(Error::ParameterInvalid),
    }
}

/// How AES key wrap comes to whole blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    None,
    Zeros,
    Pkcs5,
}

impl Padding {
    fn of(operation: Kind) -> Option<Self> {
        match operation {
            Kind::AesKeyWrap => Some(Self::None),
            Kind::AesKeyWrapPad => Some(Self::Zeros),
            Kind::AesKeyWrapPkcs5 => Some(Self::Pkcs5),
            _ => None,
        }
    }

    /// The IV is "NULL (recommended), or for NO_PAD and PKCS5_PAD exactly `A6A6A6A6A6A6A6A6`;
    /// ZERO_PAD refuses any" (AWS CloudHSM, "AES key wrapping").
    fn check(self, params: &Params<'_>) -> Result<(), Error> {
        match params {
            Params::None => Ok(()),
            Params::Iv(iv) if self != Self::Zeros && *iv == DEFAULT_IV => Ok(()),
            _ => Err(Error::ParameterInvalid),
        }
    }
}

fn wrapping_key(key: &Key) -> Result<&[u8], Error> {
    match key {
        Key::Secret(key) => key.aes(),
        _ => Err(Error::KeyType),
    }
}

#[cfg(test)]
mod tests;
