//! From PEM to a parsed certificate with the exact bytes that were signed.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Encode, Sequence};
use strongroom_wire::limits::CERTIFICATE_BYTES_MAX;
use x509_cert::Certificate;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{CertificateError, Which};

/// A certificate, parsed, with what its signature covers.
pub(super) struct Parsed {
    pub(super) which: Which,
    pub(super) der: Vec<u8>,
    /// The bytes of tbsCertificate as they were signed.
    pub(super) signed_part: Vec<u8>,
    pub(super) certificate: Certificate,
}

/// The outer form of a certificate (RFC 5280, section 4.1) with its signed part untouched.
#[derive(Sequence)]
struct Outer<'a> {
    tbs_certificate: AnyRef<'a>,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

impl Parsed {
    /// Parses exactly one PEM certificate.
    pub(super) fn from_pem(which: Which, pem: &str) -> Result<Self, CertificateError> {
        Self::from_der(which, pem_certificate(which, pem)?)
    }

    fn from_der(which: Which, der: Vec<u8>) -> Result<Self, CertificateError> {
        let malformed =
            |e: der::Error| CertificateError::Malformed { which, problem: e.to_string() };
        let certificate = Certificate::from_der(&der).map_err(malformed)?;
        let outer = Outer::from_der(&der).map_err(malformed)?;
        let signed_part = outer.tbs_certificate.to_der().map_err(malformed)?;
        Ok(Self { which, der, signed_part, certificate })
    }

    /// SubjectPublicKeyInfo, DER.
    pub(super) fn public_key(&self) -> Result<Vec<u8>, CertificateError> {
        self.certificate
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()
            .map_err(|e| CertificateError::Malformed { which: self.which, problem: e.to_string() })
    }
}

/// The DER inside exactly one PEM certificate.
///
/// # Errors
/// Where there is none, more than one, another thing, or too much.
pub(crate) fn pem_certificate(which: Which, pem: &str) -> Result<Vec<u8>, CertificateError> {
    let wrong = |problem: String| CertificateError::NotPem { which, problem };
    if pem.len() > CERTIFICATE_BYTES_MAX {
        return Err(wrong(format!("it has over {CERTIFICATE_BYTES_MAX} bytes")));
    }
    let blocks = pem.matches("-----BEGIN ").count();
    if blocks != 1 {
        return Err(wrong(format!("it has {blocks} PEM blocks")));
    }
    // `openssl x509 -text` puts words before the block, and editors blanks behind it.
    let begin = pem.find("-----BEGIN ").unwrap_or_default();
    let block = pem[begin..].trim_end();
    let (label, der) =
        pem_rfc7468::decode_vec(block.as_bytes()).map_err(|e| wrong(e.to_string()))?;
    if label != "CERTIFICATE" {
        return Err(wrong(format!("it is a {label}")));
    }
    Ok(der)
}

/// The SubjectPublicKeyInfo of a peer's certificate, DER: what a pin compares.
///
/// # Errors
/// [`CertificateError::Malformed`].
pub(crate) fn public_key_of(der: &[u8]) -> Result<Vec<u8>, CertificateError> {
    Parsed::from_der(Which::Provisioner, der.to_vec())?.public_key()
}
