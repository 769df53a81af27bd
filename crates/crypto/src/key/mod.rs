//! Parsed keys: made by generation, import or unwrapping, kept in caches, used from many threads.
//!
//! Key material comes in and goes out through the constructors and [`Key::to_stored`] here; what
//! is done with keys is in the crate's `sign`, `cipher` and `wrap` modules.

mod ec;
mod generate;
mod rsa;
pub(crate) mod scheme;
mod secret;

use cryptoki_sys as ck;

pub use ec::{EcPrivate, EcPublic};
pub use generate::{generate_ec, generate_rsa, generate_scheme, generate_secret};
pub use rsa::{RsaImport, RsaParts, RsaPrivate, RsaPublic};
pub use scheme::{SchemePrivate, SchemePublic};
pub use secret::{SecretKey, fixed_length};

use crate::backend::pkey::{self, AnyKey};
use crate::{Curve, Error, Hash, Scheme, SecretBytes};

/// A parsed key. No Debug, Clone or comparison: share it in an `Arc`.
pub enum Key {
    /// A secret key.
    Secret(SecretKey),
    /// An RSA private key.
    RsaPrivate(RsaPrivate),
    /// An RSA public key.
    RsaPublic(RsaPublic),
    /// A private key on an elliptic curve.
    EcPrivate(EcPrivate),
    /// A public key on an elliptic curve.
    EcPublic(EcPublic),
    /// A private key of another scheme.
    SchemePrivate(SchemePrivate),
    /// A public key of another scheme.
    SchemePublic(SchemePublic),
}

/// What a key is, without its material: what [`Key::from_stored`] has to know beside the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A secret key of type `CKK_AES`, `CKK_GENERIC_SECRET`, …
    Secret(u64),
    /// An RSA private key.
    RsaPrivate,
    /// An RSA public key.
    RsaPublic,
    /// A private key on this curve.
    EcPrivate(Curve),
    /// A public key on this curve.
    EcPublic(Curve),
    /// A private key of this scheme.
    SchemePrivate(Scheme),
    /// A public key of this scheme.
    SchemePublic(Scheme),
}

impl KeyKind {
    /// `CKK_…`.
    pub fn key_type(self) -> u64 {
        match self {
            Self::Secret(key_type) => key_type,
            Self::RsaPrivate | Self::RsaPublic => ck::CKK_RSA,
            Self::EcPrivate(_) | Self::EcPublic(_) => ck::CKK_EC,
            Self::SchemePrivate(scheme) | Self::SchemePublic(scheme) => scheme.key_type(),
        }
    }

    /// `CKO_…`.
    pub fn class(self) -> u64 {
        match self {
            Self::Secret(_) => ck::CKO_SECRET_KEY,
            Self::RsaPrivate | Self::EcPrivate(_) | Self::SchemePrivate(_) => ck::CKO_PRIVATE_KEY,
            Self::RsaPublic | Self::EcPublic(_) | Self::SchemePublic(_) => ck::CKO_PUBLIC_KEY,
        }
    }
}

impl Key {
    /// A secret key of its bytes. `key_type` is `CKK_AES` (16, 24 or 32 bytes),
    /// `CKK_GENERIC_SECRET` (1 to 800), or a type of one length; other lengths are [`Error::KeySize`], other types
    /// [`Error::KeyType`].
    pub fn from_secret(key_type: u64, bytes: Vec<u8>) -> Result<Self, Error> {
        SecretKey::new(key_type, SecretBytes::new(bytes)).map(Self::Secret)
    }

    /// An RSA private key of its numbers; see [`RsaImport`] for what is checked.
    pub fn from_rsa_private_parts(parts: &RsaImport<'_>) -> Result<Self, Error> {
        RsaPrivate::import(parts).map(Self::RsaPrivate)
    }

    /// An RSA public key of its modulus (1024 to 4096 bits) and exponent (odd, from 3 to 33
    /// bits), big-endian.
    pub fn from_rsa_public(modulus: &[u8], public_exponent: &[u8]) -> Result<Self, Error> {
        RsaPublic::import(modulus, public_exponent).map(Self::RsaPublic)
    }

    /// An EC private key of its scalar, big-endian, from 1 to the curve's order less 1.
    pub fn from_ec_private(curve: Curve, scalar: &[u8]) -> Result<Self, Error> {
        EcPrivate::import(curve, scalar).map(Self::EcPrivate)
    }

    /// An EC public key of its encoded point (SEC 1, compressed or not; without the DER OCTET
    /// STRING that CKA_EC_POINT puts around it). A point off the curve, or at infinity, is
    /// [`Error::KeyInvalid`].
    pub fn from_ec_public(curve: Curve, point: &[u8]) -> Result<Self, Error> {
        EcPublic::import(curve, point).map(Self::EcPublic)
    }

    /// A private key of its seed: 32 bytes, of ML-KEM 64.
    pub fn from_scheme_seed(scheme: Scheme, seed: &[u8]) -> Result<Self, Error> {
        SchemePrivate::from_seed(scheme, seed).map(Self::SchemePrivate)
    }

    /// A public key of its bytes.
    pub fn from_scheme_public(scheme: Scheme, public: &[u8]) -> Result<Self, Error> {
        SchemePublic::import(scheme, public).map(Self::SchemePublic)
    }

    /// What it is.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Secret(key) => KeyKind::Secret(key.key_type()),
            Self::RsaPrivate(_) => KeyKind::RsaPrivate,
            Self::RsaPublic(_) => KeyKind::RsaPublic,
            Self::EcPrivate(key) => KeyKind::EcPrivate(key.curve()),
            Self::EcPublic(key) => KeyKind::EcPublic(key.curve()),
            Self::SchemePrivate(key) => KeyKind::SchemePrivate(key.scheme()),
            Self::SchemePublic(key) => KeyKind::SchemePublic(key.scheme()),
        }
    }

    /// Size in bits: of the modulus, of the curve's field, or of all bytes of a secret or of another
    /// scheme's public key.
    pub fn size_bits(&self) -> u32 {
        match self {
            Self::Secret(key) => 8 * key.bytes().len() as u32,
            Self::RsaPrivate(key) => key.backend().bits(),
            Self::RsaPublic(key) => key.backend().bits(),
            Self::EcPrivate(key) => key.curve().bits(),
            Self::EcPublic(key) => key.curve().bits(),
            Self::SchemePrivate(key) => 8 * key.public().len() as u32,
            Self::SchemePublic(key) => 8 * key.public().len() as u32,
        }
    }

    /// CKA_CHECK_VALUE by CloudHSM's rule. A secret key: "first 3 bytes of the result of
    /// encrypting a zero-block with the key". A key pair: "first 3 bytes of the SHA-1 hash of the
    /// public key", the same for both halves; what is hashed is the content of
    /// `subjectPublicKey`, as RFC 5280 (4.2.1.2, method 1) has it for key identifiers, because
    /// AWS leaves that open. `None` for a generic secret ("KCV for HMAC keys is not supported").
    pub fn check_value(&self) -> Option<[u8; 3]> {
        let bytes = match self {
            Self::Secret(key) => return key.check_value(),
            Self::RsaPrivate(key) => key.backend().public_der(),
            Self::RsaPublic(key) => key.backend().public_der(),
            Self::EcPrivate(key) => key.backend().point(),
            Self::EcPublic(key) => key.backend().point(),
            Self::SchemePrivate(key) => Ok(key.public().to_vec()),
            Self::SchemePublic(key) => Ok(key.public().to_vec()),
        };
        Hash::Sha1.digest_on_stack(&bytes.ok()?).as_bytes().first_chunk().copied()
    }

    /// The form in which it is kept, sealed: the raw bytes of a secret, PKCS#1 DER of an RSA key,
    /// the scalar of an EC private key, the uncompressed point of an EC public one, the seed and the
    /// public bytes of other schemes' keys.
    pub fn to_stored(&self) -> SecretBytes {
        let stored = match self {
            Self::Secret(key) => Ok(SecretBytes::copied(key.bytes().as_bytes())),
            Self::RsaPrivate(key) => key.backend().private_der(),
            Self::RsaPublic(key) => key.backend().public_der().map(SecretBytes::new),
            Self::EcPrivate(key) => key.backend().scalar(),
            Self::EcPublic(key) => key.backend().point().map(SecretBytes::new),
            Self::SchemePrivate(key) => Ok(SecretBytes::copied(key.seed().as_bytes())),
            Self::SchemePublic(key) => Ok(SecretBytes::copied(key.public())),
        };
        // Each constructor made sure that the numbers are there and fit.
        stored.expect("writing a parsed key: out of memory")
    }

    /// The key that [`Key::to_stored`] wrote. Everything is checked again.
    pub fn from_stored(kind: KeyKind, bytes: &[u8]) -> Result<Self, Error> {
        match kind {
            KeyKind::Secret(key_type) => {
                SecretKey::new(key_type, SecretBytes::copied(bytes)).map(Self::Secret)
            }
            KeyKind::RsaPrivate => RsaPrivate::from_der(bytes).map(Self::RsaPrivate),
            KeyKind::RsaPublic => RsaPublic::from_der(bytes).map(Self::RsaPublic),
            KeyKind::EcPrivate(curve) => Self::from_ec_private(curve, bytes),
            KeyKind::EcPublic(curve) => Self::from_ec_public(curve, bytes),
            KeyKind::SchemePrivate(scheme) => Self::from_scheme_seed(scheme, bytes),
            KeyKind::SchemePublic(scheme) => Self::from_scheme_public(scheme, bytes),
        }
    }

    /// A private key as PKCS#8 DER (RFC 5208), the form in which C_WrapKey wraps it. Other keys:
    /// [`Error::KeyType`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        match self {
            Self::RsaPrivate(key) => pkey::rsa_to_pkcs8(key.backend()),
            Self::EcPrivate(key) => pkey::ec_to_pkcs8(key.backend()),
            Self::SchemePrivate(key) => key.backend().to_pkcs8(),
            _ => return Err(Error::KeyType),
        }
        .map_err(Error::backend("writing PKCS#8"))
    }

    /// A private key from PKCS#8 DER, all of which must be the key. An RSA key without its primes
    /// is completed; a curve or algorithm that isn't offered is [`Error::KeyInvalid`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        match pkey::from_pkcs8(der).map_err(|_| Error::KeyInvalid)? {
            AnyKey::Rsa(key) => RsaPrivate::checked(key).map(Self::RsaPrivate),
            AnyKey::Ec(key) => EcPrivate::checked(key).map(Self::EcPrivate),
            AnyKey::Raw(key) => SchemePrivate::checked(key).map(Self::SchemePrivate),
        }
    }

    /// The public key as SubjectPublicKeyInfo DER (CKA_PUBLIC_KEY_INFO, `openssl -pubin`), of
    /// either half of a pair; `None` for secret keys.
    pub fn to_spki(&self) -> Option<Vec<u8>> {
        match self {
            Self::Secret(_) => return None,
            Self::RsaPrivate(key) => pkey::rsa_to_spki(key.backend()),
            Self::RsaPublic(key) => pkey::rsa_to_spki(key.backend()),
            Self::EcPrivate(key) => pkey::ec_to_spki(key.backend()),
            Self::EcPublic(key) => pkey::ec_to_spki(key.backend()),
            Self::SchemePrivate(key) => key.backend().to_spki(),
            Self::SchemePublic(key) => key.backend().to_spki(),
        }
        .ok()
    }

    /// A public key from SubjectPublicKeyInfo DER, all of which must be the key.
    pub fn from_spki(der: &[u8]) -> Result<Self, Error> {
        match pkey::from_spki(der).map_err(|_| Error::KeyInvalid)? {
            AnyKey::Rsa(key) => RsaPublic::checked(key).map(Self::RsaPublic),
            AnyKey::Ec(key) => Ok(Self::EcPublic(EcPublic::adopt(key))),
            AnyKey::Raw(key) => SchemePublic::checked(key).map(Self::SchemePublic),
        }
    }

    /// The public half of a pair, from either half; `None` for secret keys.
    pub fn public_key(&self) -> Option<Self> {
        match self {
            Self::Secret(_) => None,
            Self::RsaPrivate(key) => {
                RsaPublic::from_der(&key.backend().public_der().ok()?).ok().map(Self::RsaPublic)
            }
            Self::RsaPublic(key) => {
                RsaPublic::from_der(&key.backend().public_der().ok()?).ok().map(Self::RsaPublic)
            }
            Self::EcPrivate(key) => {
                Self::from_ec_public(key.curve(), &key.backend().point().ok()?).ok()
            }
            Self::EcPublic(key) => {
                Self::from_ec_public(key.curve(), &key.backend().point().ok()?).ok()
            }
            Self::SchemePrivate(key) => Self::from_scheme_public(key.scheme(), key.public()).ok(),
            Self::SchemePublic(key) => Self::from_scheme_public(key.scheme(), key.public()).ok(),
        }
    }

    /// The modulus of an RSA key, big-endian (CKA_MODULUS).
    pub fn rsa_modulus(&self) -> Option<Vec<u8>> {
        match self {
            Self::RsaPrivate(key) => key.backend().modulus().ok(),
            Self::RsaPublic(key) => key.backend().modulus().ok(),
            _ => None,
        }
    }

    /// The public exponent of an RSA key, big-endian (CKA_PUBLIC_EXPONENT).
    pub fn rsa_public_exponent(&self) -> Option<Vec<u8>> {
        match self {
            Self::RsaPrivate(key) => key.backend().public_exponent().ok(),
            Self::RsaPublic(key) => key.backend().public_exponent().ok(),
            _ => None,
        }
    }

    /// The secret numbers of an RSA private key, for reading a key that isn't sensitive.
    pub fn rsa_private_parts(&self) -> Option<RsaParts> {
        match self {
            Self::RsaPrivate(key) => key.parts().ok(),
            _ => None,
        }
    }

    /// The public key's bytes of another scheme's key.
    pub fn scheme_public(&self) -> Option<&[u8]> {
        match self {
            Self::SchemePrivate(key) => Some(key.public()),
            Self::SchemePublic(key) => Some(key.public()),
            _ => None,
        }
    }

    /// The private key of ML-DSA or ML-KEM as FIPS 204 and 203 have it, made of its seed.
    pub fn scheme_expanded(&self) -> Option<SecretBytes> {
        match self {
            Self::SchemePrivate(key) if key.scheme().parameter_set().is_some() => {
                key.backend().expanded().ok()
            }
            _ => None,
        }
    }

    /// The public point of an EC key: 0x04 || x || y (CKA_EC_POINT without its OCTET STRING).
    pub fn ec_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::EcPrivate(key) => key.backend().point().ok(),
            Self::EcPublic(key) => key.backend().point().ok(),
            _ => None,
        }
    }
}

/// A big-endian number without its leading zeros.
fn trim(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

#[cfg(test)]
mod tests;
