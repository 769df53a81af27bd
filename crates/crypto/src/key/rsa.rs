//! RSA keys: what is accepted from outside, and in what form they are written.

use std::sync::OnceLock;

use super::trim;
use crate::backend::bn;
use crate::backend::rsa::{Part, RsaKey};
use crate::backend::rsa_import::{self, Components};
use crate::mechanism::{RSA_BITS_MAX, RSA_BITS_MIN_TOKEN};
use crate::{Error, SecretBytes, pkcs1};

/// An RSA private key, with the primes and CRT numbers that make it fast.
pub struct RsaPrivate {
    key: RsaKey,
    /// See [`pkcs1::rejection_secret`]; made at the first PKCS #1 v1.5 decryption.
    rejection_secret: OnceLock<SecretBytes>,
}

/// An RSA public key.
pub struct RsaPublic(RsaKey);

/// The numbers of an RSA private key to import (C_CreateObject), big-endian; leading zeros don't
/// matter.
///
/// Refused with [`Error::KeySize`]: a modulus that isn't of 1024 to 4096 bits. Refused with
/// [`Error::KeyInvalid`]: a public exponent that is even, 1, or above 33 bits, and numbers that
/// don't belong together. The primes are recovered where they are missing, the CRT numbers
/// computed; one of a pair or triple alone counts as missing.
pub struct RsaImport<'a> {
    /// n, CKA_MODULUS.
    pub modulus: &'a [u8],
    /// e, CKA_PUBLIC_EXPONENT.
    pub public_exponent: &'a [u8],
    /// d, CKA_PRIVATE_EXPONENT.
    pub private_exponent: &'a [u8],
    /// p, CKA_PRIME_1.
    pub prime_1: Option<&'a [u8]>,
    /// q, CKA_PRIME_2.
    pub prime_2: Option<&'a [u8]>,
    /// d mod (p - 1), CKA_EXPONENT_1.
    pub exponent_1: Option<&'a [u8]>,
    /// d mod (q - 1), CKA_EXPONENT_2.
    pub exponent_2: Option<&'a [u8]>,
    /// The inverse of q modulo p, CKA_COEFFICIENT.
    pub coefficient: Option<&'a [u8]>,
}

/// The secret numbers of an RSA private key, big-endian without leading zeros.
pub struct RsaParts {
    /// d, CKA_PRIVATE_EXPONENT.
    pub d: SecretBytes,
    /// p, CKA_PRIME_1.
    pub p: SecretBytes,
    /// q, CKA_PRIME_2.
    pub q: SecretBytes,
    /// d mod (p - 1), CKA_EXPONENT_1.
    pub dp: SecretBytes,
    /// d mod (q - 1), CKA_EXPONENT_2.
    pub dq: SecretBytes,
    /// The inverse of q modulo p, CKA_COEFFICIENT.
    pub qinv: SecretBytes,
}

/// Checks the public numbers of a key to import, before anything is computed with them.
fn check_public(modulus: &[u8], public_exponent: &[u8]) -> Result<(), Error> {
    let bits = match modulus.first() {
        None => 0,
        Some(first) => 8 * modulus.len() - first.leading_zeros() as usize,
    };
    if !(RSA_BITS_MIN_TOKEN as usize..=RSA_BITS_MAX as usize).contains(&bits) {
        return Err(Error::KeySize);
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    // aws-lc takes public exponents of up to 33 bits: a bound against denial of service.
    let exponent_fits = match public_exponent {
        [] | [1] => false,
        [first, rest @ ..] => rest.len() < 4 || (rest.len() == 4 && *first == 1),
    };
    if odd(modulus) && odd(public_exponent) && exponent_fits {
        Ok(())
    } else {
        Err(Error::KeyInvalid)
    }
}

/// Checks a key that the backend parsed.
fn check_parsed(key: &RsaKey) -> Result<(), Error> {
    let read = Error::backend("reading an RSA key");
    check_public(&key.modulus().map_err(&read)?, &key.public_exponent().map_err(&read)?)
}

impl RsaPrivate {
    pub(crate) fn backend(&self) -> &RsaKey {
        &self.key
    }

    /// Takes a complete key that was just generated or checked.
    pub(super) fn adopt(key: RsaKey) -> Self {
        Self { key, rejection_secret: OnceLock::new() }
    }

    /// What made-up messages of failed decryptions depend on.
    pub(crate) fn rejection_secret(&self) -> Result<&SecretBytes, Error> {
        if let Some(secret) = self.rejection_secret.get() {
            return Ok(secret);
        }
        let secret = pkcs1::rejection_secret(&self.key)?;
        Ok(self.rejection_secret.get_or_init(|| secret))
    }

    pub(super) fn import(parts: &RsaImport<'_>) -> Result<Self, Error> {
        let (modulus, public_exponent) = (trim(parts.modulus), trim(parts.public_exponent));
        check_public(modulus, public_exponent)?;
        let bounded = |number| {
            let number = trim(number);
            if number.is_empty() || number.len() > modulus.len() {
                return Err(Error::KeyInvalid);
            }
            Ok(number)
        };
        let primes = match (parts.prime_1, parts.prime_2) {
            (Some(p), Some(q)) => Some((bounded(p)?, bounded(q)?)),
            _ => None,
        };
        let crt = match (parts.exponent_1, parts.exponent_2, parts.coefficient) {
            // They say nothing where it is open which prime is p.
            (Some(dp), Some(dq), Some(qinv)) if primes.is_some() => {
                Some([bounded(dp)?, bounded(dq)?, bounded(qinv)?])
            }
            _ => None,
        };
        rsa_import::private_key(&Components {
            modulus,
            public_exponent,
            private_exponent: bounded(parts.private_exponent)?,
            primes,
            crt,
        })
        .map(Self::adopt)
        .map_err(|_| Error::KeyInvalid)
    }

    pub(super) fn from_der(der: &[u8]) -> Result<Self, Error> {
        Self::checked(RsaKey::from_private_der(der).map_err(|_| Error::KeyInvalid)?)
    }

    /// Accepts a key that the backend parsed, completing it if it came without primes.
    pub(super) fn checked(key: RsaKey) -> Result<Self, Error> {
        check_parsed(&key)?;
        let complete = key.part(Part::Coefficient).is_ok_and(|number| !number.is_empty());
        if complete {
            return Ok(Self::adopt(key));
        }
        let read = Error::backend("reading an RSA key");
        Self::import(&RsaImport {
            modulus: &key.modulus().map_err(&read)?,
            public_exponent: &key.public_exponent().map_err(&read)?,
            private_exponent: key
                .part(Part::PrivateExponent)
                .map_err(|_| Error::KeyInvalid)?
                .as_bytes(),
            prime_1: None,
            prime_2: None,
            exponent_1: None,
            exponent_2: None,
            coefficient: None,
        })
    }

    pub(super) fn parts(&self) -> Result<RsaParts, Error> {
        let part = |part| self.key.part(part).map_err(Error::backend("reading an RSA key"));
        Ok(RsaParts {
            d: part(Part::PrivateExponent)?,
            p: part(Part::Prime1)?,
            q: part(Part::Prime2)?,
            dp: part(Part::Exponent1)?,
            dq: part(Part::Exponent2)?,
            qinv: part(Part::Coefficient)?,
        })
    }
}

impl RsaPublic {
    pub(crate) fn backend(&self) -> &RsaKey {
        &self.0
    }

    pub(super) fn import(modulus: &[u8], public_exponent: &[u8]) -> Result<Self, Error> {
        let (modulus, public_exponent) = (trim(modulus), trim(public_exponent));
        check_public(modulus, public_exponent)?;
        let number = |bytes| bn::number(bytes).map_err(Error::backend("out of memory"));
        RsaKey::public(&number(modulus)?, &number(public_exponent)?)
            .map(Self)
            .map_err(|_| Error::KeyInvalid)
    }

    pub(super) fn from_der(der: &[u8]) -> Result<Self, Error> {
        Self::checked(RsaKey::from_public_der(der).map_err(|_| Error::KeyInvalid)?)
    }

    /// Accepts a key that the backend parsed.
    pub(super) fn checked(key: RsaKey) -> Result<Self, Error> {
        check_parsed(&key)?;
        Ok(Self(key))
    }
}
