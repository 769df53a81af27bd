//! What the checks need to know of one certificate, taken from its DER once.
//!
//! In: DER, or PEM with exactly one certificate. Out: a [`Certificate`] whose signed bytes are the
//! very bytes that came in, never an encoding of what was understood.

use aws_lc_rs::digest;
use x509_cert::{
    certificate::Version,
    der::{
        Decode, Encode, Reader, SliceReader, Tagged,
        asn1::{
            Ia5StringRef, ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef,
        },
        referenced::OwnedToRef,
    },
    ext::{
        Extension,
        pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, name::GeneralName},
    },
    name::Name,
};

use super::signature::{self, Algorithm};

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// One certificate, understood as far as the checks need it.
pub(super) struct Certificate {
    pub(super) is_v3: bool,
    /// Names as DER, compared byte by byte.
    pub(super) issuer: Vec<u8>,
    pub(super) subject: Vec<u8>,
    /// All texts in the subject (CN, O, OU, …).
    pub(super) subject_texts: Vec<String>,
    /// Seconds since 1970.
    pub(super) not_before: u64,
    pub(super) not_before_text: String,
    pub(super) not_after: u64,
    pub(super) not_after_text: String,
    /// The SubjectPublicKeyInfo.
    pub(super) key_der: Vec<u8>,
    /// `None` where the certificate says nothing about it.
    pub(super) is_ca: Option<bool>,
    pub(super) may_sign_certificates: Option<bool>,
    pub(super) may_sign_data: Option<bool>,
    pub(super) for_servers: bool,
    pub(super) uris: Vec<String>,
    /// An extension marked critical that is not understood here.
    pub(super) unknown_critical: Option<String>,
    algorithm: Algorithm,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// The DER of the only certificate in a PEM text. Text around it (as `openssl x509 -text` writes it)
/// is skipped.
pub(super) fn from_pem(pem: &str) -> Result<Vec<u8>, String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut starts = pem.match_indices(BEGIN);
    let (Some((start, _)), None) = (starts.next(), starts.next()) else {
        return Err("must hold exactly one PEM certificate, the customerCA's".into());
    };
    let block = pem[start..].split_inclusive(END).next().unwrap_or_default();
    let (_, der) = pem_rfc7468::decode_vec(block.as_bytes())
        .map_err(|e| format!("is not a PEM certificate: {e}"))?;
    Ok(der)
}

impl Certificate {
    pub(super) fn parse(der: &[u8]) -> Result<Self, String> {
        Self::read(der).map_err(|e| format!("is not an X.509 certificate: {e}"))
    }

    fn read(der: &[u8]) -> x509_cert::der::Result<Self> {
        let certificate = x509_cert::Certificate::from_der(der)?;
        let tbs = certificate.tbs_certificate();
        if tbs.signature() != certificate.signature_algorithm() {
            // RFC 5280, section 4.1.1.2: "This field MUST contain the same algorithm identifier as
            // the signature field in the sequence tbsCertificate".
            return Err(x509_cert::der::ErrorKind::Failed.into());
        }
        let mut this = Self {
            is_v3: tbs.version() == Version::V3,
            issuer: tbs.issuer().to_der()?,
            subject: tbs.subject().to_der()?,
            subject_texts: texts(tbs.subject()),
            not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
            not_before_text: tbs.validity().not_before.to_string(),
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
            not_after_text: tbs.validity().not_after.to_string(),
            key_der: tbs.subject_public_key_info().to_der()?,
            is_ca: None,
            may_sign_certificates: None,
            may_sign_data: None,
            for_servers: false,
            uris: Vec::new(),
            unknown_critical: None,
            algorithm: Algorithm::of(certificate.signature_algorithm().owned_to_ref()),
            signed: signed_bytes(der)?,
            signature: certificate.signature().as_bytes().unwrap_or_default().to_vec(),
        };
        for extension in tbs.extensions().into_iter().flatten() {
            this.read_extension(extension)?;
        }
        Ok(this)
    }

    fn read_extension(&mut self, extension: &Extension) -> x509_cert::der::Result<()> {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            BASIC_CONSTRAINTS => self.is_ca = Some(BasicConstraints::from_der(value)?.ca),
            KEY_USAGE => {
                let usage = KeyUsage::from_der(value)?;
                self.may_sign_certificates = Some(usage.key_cert_sign());
                self.may_sign_data = Some(usage.digital_signature());
            }
            EXTENDED_KEY_USAGE => {
                self.for_servers = ExtendedKeyUsage::from_der(value)?.0.contains(&SERVER_AUTH);
            }
            SUBJECT_ALT_NAME => {
                for name in SubjectAltName::from_der(value)?.0 {
                    if let GeneralName::UniformResourceIdentifier(uri) = name {
                        self.uris.push(uri.as_str().to_owned());
                    }
                }
            }
            other if extension.critical => self.unknown_critical = Some(other.to_string()),
            _ => {}
        }
        Ok(())
    }

    /// Whether `issuer`'s key made this certificate's signature, with an allowed algorithm and a
    /// key that is strong enough.
    pub(super) fn check_signed_by(&self, issuer: &Self) -> Result<(), String> {
        signature::verify(&self.algorithm, &issuer.key_der, &self.signed, &self.signature)
    }

    /// Whether this certificate's own key is of an allowed kind and strength.
    pub(super) fn check_key(&self) -> Result<(), String> {
        signature::Key::parse(&self.key_der).map(drop)
    }

    /// What `cluster_key` pins.
    pub(super) fn key_sha256(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.key_der).as_ref());
        bytes
    }
}

/// The bytes of the first element of the certificate's sequence: TBSCertificate, as it came.
fn signed_bytes(der: &[u8]) -> x509_cert::der::Result<Vec<u8>> {
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|inner| {
        let signed = inner.tlv_bytes()?.to_vec();
        while !inner.is_finished() {
            inner.tlv_bytes()?;
        }
        Ok(signed)
    })
}

fn texts(name: &Name) -> Vec<String> {
    let text = |value: &x509_cert::der::Any| match value.tag() {
        x509_cert::der::Tag::Utf8String => {
            value.decode_as::<Utf8StringRef<'_>>().ok().map(|s| s.as_str().to_owned())
        }
        x509_cert::der::Tag::PrintableString => {
            value.decode_as::<PrintableStringRef<'_>>().ok().map(|s| s.as_str().to_owned())
        }
        x509_cert::der::Tag::Ia5String => {
            value.decode_as::<Ia5StringRef<'_>>().ok().map(|s| s.as_str().to_owned())
        }
        x509_cert::der::Tag::TeletexString => {
            value.decode_as::<TeletexStringRef<'_>>().ok().map(|s| s.as_str().to_owned())
        }
        _ => None,
    };
    name.iter().filter_map(|attribute| text(&attribute.value)).collect()
}
