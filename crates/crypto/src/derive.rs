//! Deriving keys: what C_DeriveKey does with a base key.
//!
//! In come a base key and a mechanism with its parameter, out comes the new key's value. Which key may
//! be derived from, and what the new one may do, is the vault's to say.

use cryptoki_sys as ck;

use crate::mechanism::DERIVED_BYTES_MIN;
use crate::{Error, Key, Kind, Mechanism, Params, SecretBytes};
use crate::{agreement, kdf};

/// Derives a secret of `length` bytes from a key; without a length, all that the mechanism gives.
///
/// Fewer than [`DERIVED_BYTES_MIN`] bytes are [`Error::KeySize`], and so are more than the mechanism
/// gives.
pub fn derive(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    length: Option<usize>,
) -> Result<SecretBytes, Error> {
    if !mechanism.offers(ck::CKF_DERIVE) {
        return Err(Error::MechanismInvalid);
    }
    if length.is_some_and(|length| length < DERIVED_BYTES_MIN) {
        return Err(Error::KeySize);
    }
    match mechanism.operation {
        Kind::Ecdh => agreement::derive(key, params, length),
        Kind::CounterKdf
        | Kind::Hkdf
        | Kind::HashDerive
        | Kind::Shake128Derive
        | Kind::Shake256Derive => match key {
            Key::Secret(key) => kdf::derive(key, mechanism, params, length),
            _ => Err(Error::KeyType),
        },
        _ => Err(Error::MechanismInvalid),
    }
}
