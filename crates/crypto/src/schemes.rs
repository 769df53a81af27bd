//! What is done with keys of a [`Scheme`]: Ed25519's and ML-DSA's signatures, ML-KEM's secrets.
//!
//! Formatting only: what FIPS 204 puts in front of a message before it is signed (5.4) is put there,
//! and the hashes and signatures are the backend's.

use cryptoki_sys as ck;

use crate::backend::digest;
use crate::backend::raw_key::Eddsa;
use crate::hash::Digest;
use crate::{Error, Hash, Key, Kind, Mechanism, Params, Scheme, SecretBytes};

/// The longest context of a signature, in bytes (RFC 8032, 5.1; FIPS 204, 5.2).
pub(crate) const CONTEXT_BYTES_MAX: usize = 255;
/// Length of ML-DSA's message representative mu, in bytes.
const MU_BYTES: usize = 64;

/// Whether [`sign`] and [`verify`] implement it.
pub(crate) fn signs(operation: Kind) -> bool {
    matches!(operation, Kind::Eddsa | Kind::MlDsa | Kind::HashMlDsa | Kind::MlDsaMu)
}

/// [`crate::sign`] of these mechanisms.
pub(crate) fn sign(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
    prehashed: bool,
) -> Result<Vec<u8>, Error> {
    let Key::SchemePrivate(key) = key else { return Err(Error::KeyType) };
    let key_public = key.public();
    let signature = match Input::new(mechanism, key.scheme(), params, key_public, data, prehashed)?
    {
        Input::Eddsa(input) => input.get().sign(key.seed().as_bytes(), key_public),
        Input::Message(context) => key.backend().ml_dsa_sign(data, context),
        Input::Mu(mu) => key.backend().ml_dsa_sign_mu(&mu),
    };
    signature.map_err(Error::backend("signature"))
}

/// [`crate::verify`] of these mechanisms.
pub(crate) fn verify(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
    prehashed: bool,
    signature: &[u8],
) -> Result<(), Error> {
    let Key::SchemePublic(key) = key else { return Err(Error::KeyType) };
    let input = Input::new(mechanism, key.scheme(), params, key.public(), data, prehashed)?;
    if signature.len() != key.scheme().signature_bytes() {
        return Err(Error::SignatureLength);
    }
    match input {
        Input::Eddsa(input) => input.get().verify(key.public(), signature),
        Input::Message(context) => key.backend().ml_dsa_verify(data, context, signature),
        Input::Mu(mu) => key.backend().ml_dsa_verify_mu(&mu, signature),
    }
    .map_err(|_| Error::SignatureInvalid)
}

/// What goes to the backend.
enum Input<'a> {
    Eddsa(EddsaInput<'a>),
    /// The message itself, in this context.
    Message(&'a [u8]),
    /// ML-DSA's representative of the message.
    Mu([u8; MU_BYTES]),
}

/// The forms of RFC 8032.
enum EddsaInput<'a> {
    Pure(&'a [u8]),
    Context(&'a [u8], &'a [u8]),
    Prehashed([u8; 64], &'a [u8]),
}

impl EddsaInput<'_> {
    fn get(&self) -> Eddsa<'_> {
        match self {
            Self::Pure(message) => Eddsa::Pure(message),
            Self::Context(message, context) => Eddsa::Context(message, context),
            Self::Prehashed(hash, context) => Eddsa::Prehashed(hash, context),
        }
    }
}

impl<'a> Input<'a> {
    fn new(
        mechanism: &Mechanism,
        scheme: Scheme,
        params: &Params<'a>,
        public: &[u8],
        data: &'a [u8],
        prehashed: bool,
    ) -> Result<Self, Error> {
        match mechanism.operation {
            Kind::Eddsa if scheme == Scheme::Ed25519 => eddsa(params, data, prehashed),
            Kind::MlDsa if scheme.is_ml_dsa() => {
                let (context, hash) = signing_context(params)?;
                if hash.is_some() {
                    return Err(Error::ParameterInvalid);
                }
                if prehashed { Err(Error::DataInvalid) } else { Ok(Self::Message(context)) }
            }
            Kind::HashMlDsa if scheme.is_ml_dsa() => {
                let (context, named) = signing_context(params)?;
                let hash = match (mechanism.hash, named) {
                    (Some(fixed), None) => fixed,
                    (None, Some(named)) => named,
                    _ => return Err(Error::ParameterInvalid),
                };
                let is_hash = prehashed || mechanism.hash.is_none();
                let hashed = if is_hash {
                    Digest::adopt(hash, data).ok_or(Error::DataLength)?
                } else {
                    hash.digest_on_stack(data)
                };
                hashed_mu(hash, public, context, hashed.as_bytes()).map(Self::Mu)
            }
            Kind::MlDsaMu if scheme.is_ml_dsa() => {
                params.expect_none()?;
                match data.try_into() {
                    Ok(mu) if !prehashed => Ok(Self::Mu(mu)),
                    _ => Err(Error::DataLength),
                }
            }
            _ => Err(Error::KeyType),
        }
    }
}

fn eddsa<'a>(params: &Params<'a>, data: &'a [u8], prehashed: bool) -> Result<Input<'a>, Error> {
    let input = match *params {
        Params::None if !prehashed => EddsaInput::Pure(data),
        Params::Eddsa { context, .. } if context.len() > CONTEXT_BYTES_MAX => {
            return Err(Error::ParameterInvalid);
        }
        Params::Eddsa { prehash: false, context } if !prehashed => {
            EddsaInput::Context(data, context)
        }
        Params::Eddsa { prehash: true, context } => {
            let hash = if prehashed {
                Digest::adopt(Hash::Sha512, data).ok_or(Error::DataLength)?
            } else {
                Hash::Sha512.digest_on_stack(data)
            };
            let hash = hash.as_bytes().try_into().map_err(|_| Error::DataLength)?;
            EddsaInput::Prehashed(hash, context)
        }
        _ => return Err(Error::ParameterInvalid),
    };
    Ok(Input::Eddsa(input))
}

/// The context string of a parameter, and the hash that it names.
fn signing_context<'a>(params: &Params<'a>) -> Result<(&'a [u8], Option<Hash>), Error> {
    match *params {
        Params::None => Ok((&[], None)),
        Params::SigningContext { context, hash } if context.len() <= CONTEXT_BYTES_MAX => {
            Ok((context, hash))
        }
        _ => Err(Error::ParameterInvalid),
    }
}

/// Mu of HashML-DSA (FIPS 204, algorithms 4 and 7): `SHAKE256(SHAKE256(pk) || M')`, where M' is
/// `0x01 || length of context || context || OID || hash`.
fn hashed_mu(
    hash: Hash,
    public: &[u8],
    context: &[u8],
    hashed: &[u8],
) -> Result<[u8; MU_BYTES], Error> {
    // Not of an approved hash, which FIPS 204 asks for (5.4.1).
    if hash == Hash::Sha1 {
        return Err(Error::ParameterInvalid);
    }
    let length = u8::try_from(context.len()).map_err(|_| Error::ParameterInvalid)?;
    let of_key = digest::shake256(public, MU_BYTES);
    let message =
        [of_key.as_bytes(), &[1, length], context, hash.object_identifier(), hashed].concat();
    let mu = digest::shake256(&message, MU_BYTES);
    mu.as_bytes().try_into().map_err(|_| Error::Backend("SHAKE256"))
}

/// A fresh secret by CKM_ML_KEM, and its ciphertext for the holder of the private key.
pub fn encapsulate(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
) -> Result<(SecretBytes, Vec<u8>), Error> {
    if !mechanism.offers(ck::CKF_ENCAPSULATE) {
        return Err(Error::MechanismInvalid);
    }
    params.expect_none()?;
    match key {
        Key::SchemePublic(key) if key.scheme().is_ml_kem() => {
            key.backend().encapsulate().map_err(Error::backend("encapsulation"))
        }
        _ => Err(Error::KeyType),
    }
}

/// The secret of a ciphertext. One of the right length that was not made for this key gives another
/// secret, always the same, and no error: FIPS 203's implicit rejection.
pub fn decapsulate(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    ciphertext: &[u8],
) -> Result<SecretBytes, Error> {
    if !mechanism.offers(ck::CKF_DECAPSULATE) {
        return Err(Error::MechanismInvalid);
    }
    params.expect_none()?;
    match key {
        Key::SchemePrivate(key) if key.scheme().is_ml_kem() => {
            if ciphertext.len() != key.scheme().ciphertext_bytes() {
                return Err(Error::WrappedKeyLength);
            }
            key.backend().decapsulate(ciphertext).map_err(Error::backend("decapsulation"))
        }
        _ => Err(Error::KeyType),
    }
}

#[cfg(test)]
mod tests;
