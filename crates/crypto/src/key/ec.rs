//! Keys on elliptic curves.

use super::trim;
use crate::backend::ec::EcKey;
use crate::backend::secp256k1::Signer;
use crate::{Curve, Error};

/// A private key on an elliptic curve.
pub struct EcPrivate {
    key: EcKey,
    /// For secp256k1, the same scalar prepared for the library that signs there.
    signer: Option<Signer>,
}

/// A public key on an elliptic curve.
pub struct EcPublic(EcKey);

impl EcPrivate {
    /// The curve that it is on.
    pub fn curve(&self) -> Curve {
        self.key.curve()
    }

    pub(crate) fn backend(&self) -> &EcKey {
        &self.key
    }

    pub(super) fn import(curve: Curve, scalar: &[u8]) -> Result<Self, Error> {
        let scalar = trim(scalar);
        if scalar.is_empty() || scalar.len() > curve.field_bytes() {
            return Err(Error::KeyInvalid);
        }
        Self::checked(EcKey::from_scalar(curve, scalar).map_err(|_| Error::KeyInvalid)?)
    }

    /// Accepts a key that the backend made or parsed.
    pub(super) fn checked(key: EcKey) -> Result<Self, Error> {
        let scalar = key.scalar().map_err(|_| Error::KeyInvalid)?;
        let signer = match key.curve() {
            Curve::Secp256k1 => {
                Some(Signer::new(scalar.as_bytes()).map_err(|_| Error::KeyInvalid)?)
            }
            Curve::P224 | Curve::P256 | Curve::P384 | Curve::P521 => None,
        };
        Ok(Self { key, signer })
    }

    /// ECDSA over a hash: r || s.
    pub(crate) fn sign(&self, hashed: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.signer {
            Some(signer) => signer.sign(hashed),
            None => self.key.sign(hashed),
        }
        .map_err(Error::backend("ECDSA"))
    }
}

impl EcPublic {
    /// The curve that it is on.
    pub fn curve(&self) -> Curve {
        self.0.curve()
    }

    pub(crate) fn backend(&self) -> &EcKey {
        &self.0
    }

    pub(super) fn import(curve: Curve, point: &[u8]) -> Result<Self, Error> {
        EcKey::from_point(curve, point).map(Self).map_err(|_| Error::KeyInvalid)
    }

    /// Accepts a key that the backend parsed.
    pub(super) fn adopt(key: EcKey) -> Self {
        Self(key)
    }
}
