//! A P-256 key that signs certificates, without a copy of its private half outside the backend.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};

use super::CertificateError;

/// The cluster's key, the device's, or an owner's that lives for one call.
pub(crate) struct P256Key {
    pair: EcdsaKeyPair,
}

impl P256Key {
    /// From the secrets; `what` names it in the error.
    ///
    /// # Errors
    /// Where it is no P-256 key.
    pub(crate) fn from_pkcs8(what: &'static str, pkcs8: &[u8]) -> Result<Self, CertificateError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
            .map_err(|e| CertificateError::Making { what, problem: e.to_string() })?;
        Ok(Self { pair })
    }

    /// A fresh one; `what` names it in the error.
    ///
    /// # Errors
    /// Where the backend fails.
    pub(crate) fn generate(what: &'static str) -> Result<Self, CertificateError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|e| CertificateError::Making { what, problem: e.to_string() })?;
        Ok(Self { pair })
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }
}

impl PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| rcgen::Error::RingUnspecified)
    }
}
