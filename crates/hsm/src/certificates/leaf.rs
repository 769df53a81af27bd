//! The leaf certificate of one start: what clients see on port 2223.
//!
//! It is encoded here rather than by rcgen because the issuer's name must be the cluster
//! certificate's subject byte for byte, however the owner's CA chose to encode that.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString};
use der::{Decode, Encode, Sequence};
use rcgen::SigningKey as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use strongroom_pki::HsmName;
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::ext::{Extension, Extensions};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use super::CertificateError;
use super::key::P256Key;

/// ecdsa-with-SHA256 (RFC 5758, section 3.2).
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// id-kp-serverAuth (RFC 5280, section 4.2.1.12).
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// How long a leaf is valid. Housekeeping replaces it after half of that.
const VALIDITY: Duration = Duration::from_secs(14 * 24 * 3600);
/// Clocks of clients may be behind by so much.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);

/// What a leaf says.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// `cluster-…`.
    pub(crate) cluster_id: String,
    /// `hsm-…`.
    pub(crate) hsm_id: String,
    /// Where the HSM listens.
    pub(crate) address: IpAddr,
}

impl Leaf {
    /// When a leaf issued at `now` is to be replaced.
    pub(crate) fn renewal(now: SystemTime) -> SystemTime {
        now + VALIDITY / 2
    }

    /// A leaf over a fresh key, under the cluster's certificate.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(crate) fn issue(
        &self,
        cluster_key: &P256Key,
        cluster_certificate: &[u8],
        now: SystemTime,
    ) -> Result<CertifiedKey, CertificateError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(making)?;
        let issuer = Certificate::from_der(cluster_certificate).map_err(making)?;
        let issuer = issuer.tbs_certificate().subject().clone();
        let tbs_certificate = self.to_be_signed(issuer, &key, now).map_err(making)?;
        let signed_part = tbs_certificate.to_der().map_err(making)?;
        let signature = cluster_key.sign(&signed_part).map_err(making)?;
        let certificate = LeafCertificate {
            tbs_certificate,
            signature_algorithm: ecdsa_sha256(),
            signature: BitString::from_bytes(&signature).map_err(making)?,
        };
        let chain = vec![
            CertificateDer::from(certificate.to_der().map_err(making)?),
            CertificateDer::from(cluster_certificate.to_vec()),
        ];
        let pkcs8 = key.to_pkcs8v1().map_err(making)?;
        certified(chain, pkcs8.as_ref()).map_err(making)
    }

    fn to_be_signed(
        &self,
        issuer: Name,
        key: &EcdsaKeyPair,
        now: SystemTime,
    ) -> Result<LeafTbs, der::Error> {
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| der::Error::from(der::ErrorKind::Failed))?;
        // RFC 5280, section 4.1.2.2: "The serial number MUST be a positive integer".
        serial[0] = (serial[0] & 0x7f) | 0x40;
        Ok(LeafTbs {
            version: Version::V3,
            serial_number: SerialNumber::new(&serial)?,
            signature: ecdsa_sha256(),
            issuer,
            validity: Validity::new(
                Time::try_from(now - CLOCK_TOLERANCE)?,
                Time::try_from(now + VALIDITY)?,
            ),
            subject: Name::from_str(&format!("CN={},O=Strongroom", self.hsm_id))?,
            subject_public_key_info: public_key_info(key)?,
            extensions: self.extensions()?,
        })
    }

    fn extensions(&self) -> Result<Extensions, der::Error> {
        let name = HsmName { cluster_id: self.cluster_id.clone(), hsm_id: self.hsm_id.clone() };
        let address = match self.address {
            IpAddr::V4(address) => OctetString::new(address.octets())?,
            IpAddr::V6(address) => OctetString::new(address.octets())?,
        };
        let names = SubjectAltName(vec![
            GeneralName::UniformResourceIdentifier(Ia5String::new(&name.to_string())?),
            GeneralName::IpAddress(address),
        ]);
        let constraints = BasicConstraints { ca: false, path_len_constraint: None };
        let usage = KeyUsage(KeyUsages::DigitalSignature.into());
        Ok(vec![
            extension("2.5.29.19", true, &constraints)?,
            extension("2.5.29.15", true, &usage)?,
            extension("2.5.29.37", false, &ExtendedKeyUsage(vec![SERVER_AUTH]))?,
            extension("2.5.29.17", false, &names)?,
        ])
    }
}

/// A chain with its private key as rustls takes it.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    pkcs8: &[u8],
) -> Result<CertifiedKey, rustls::Error> {
    // Borrowed, so that no copy of the key stays on the heap.
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
    let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key)?;
    Ok(CertifiedKey::new(chain, key))
}

/// TBSCertificate of a leaf (RFC 5280, section 4.1): no unique identifiers, always extensions.
#[derive(Sequence)]
struct LeafTbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

/// Certificate (RFC 5280, section 4.1).
#[derive(Sequence)]
struct LeafCertificate {
    tbs_certificate: LeafTbs,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// RFC 5758, section 3.2: "the encoding MUST omit the parameters field".
fn ecdsa_sha256() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: ECDSA_SHA256, parameters: None }
}

fn public_key_info(key: &EcdsaKeyPair) -> Result<SubjectPublicKeyInfoOwned, der::Error> {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    let info: PublicKeyX509Der<'_> =
        key.public_key().as_der().map_err(|_| der::Error::from(der::ErrorKind::Failed))?;
    SubjectPublicKeyInfoOwned::from_der(info.as_ref())
}

fn extension(oid: &str, critical: bool, value: &impl Encode) -> Result<Extension, der::Error> {
    Ok(Extension {
        extn_id: ObjectIdentifier::new(oid)?,
        critical,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

fn making(error: impl std::fmt::Display) -> CertificateError {
    CertificateError::Making { what: "leaf certificate", problem: error.to_string() }
}
