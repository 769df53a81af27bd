//! The check of the certificates that an owner gives: is this our cluster, under this customerCA?
//!
//! As a client's verifier, it knows exactly one form of chain, so it needs no path building. The
//! cluster certificate may be X.509 v1, because `openssl x509 -req` without extensions makes one,
//! and AWS's own instructions say just that command.

use std::time::{SystemTime, UNIX_EPOCH};

use der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::time::Time;

use super::parse::Parsed;
use super::signature::{self, Fault};
use super::{CertificateError, Which};

/// id-ce-basicConstraints and id-ce-keyUsage (RFC 5280): the critical extensions that we know.
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
/// id-at-commonName.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// An owner's certificates that passed.
pub(crate) struct Owner {
    /// DER.
    pub(crate) cluster_certificate: Vec<u8>,
    /// DER.
    pub(crate) trust_anchor: Vec<u8>,
}

/// Checks what an owner gives at initialisation, both PEM.
///
/// # Errors
/// The first check that fails.
pub(crate) fn check_owner(
    cluster_public_key: &[u8],
    cluster_id: &str,
    signed_certificate: &str,
    trust_anchor: &str,
    now: SystemTime,
) -> Result<Owner, CertificateError> {
    let anchor = Parsed::from_pem(Which::TrustAnchor, trust_anchor)?;
    let cluster = Parsed::from_pem(Which::Cluster, signed_certificate)?;

    check_key(&anchor)?;
    check_key(&cluster)?;
    check_time(&anchor, now)?;
    check_time(&cluster, now)?;
    check_anchor_form(&anchor)?;
    check_cluster_form(&cluster)?;
    check_signature(&anchor, &anchor)?;
    check_signature(&cluster, &anchor)?;
    if cluster.public_key()? != cluster_public_key {
        return Err(CertificateError::OtherKey);
    }
    if !has_common_name(&cluster, cluster_id) {
        return Err(CertificateError::OtherSubject(cluster_id.to_owned()));
    }
    Ok(Owner { cluster_certificate: cluster.der, trust_anchor: anchor.der })
}

fn check_key(parsed: &Parsed) -> Result<(), CertificateError> {
    signature::check_key(parsed.certificate.tbs_certificate().subject_public_key_info())
        .map_err(|fault| fault_of(parsed.which, fault))
}

fn check_time(parsed: &Parsed, now: SystemTime) -> Result<(), CertificateError> {
    let validity = parsed.certificate.tbs_certificate().validity();
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let date = |time: &Time| time.to_date_time().to_string();
    if now < validity.not_before.to_unix_duration() {
        return Err(CertificateError::NotYetValid {
            which: parsed.which,
            from: date(&validity.not_before),
        });
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(CertificateError::Expired {
            which: parsed.which,
            until: date(&validity.not_after),
        });
    }
    Ok(())
}

/// A trust anchor is v3 and says that it is a CA.
fn check_anchor_form(anchor: &Parsed) -> Result<(), CertificateError> {
    let wrong = |problem: &str| not_for_this(anchor, problem);
    if anchor.certificate.tbs_certificate().version() != Version::V3 {
        return Err(wrong("it is not X.509 version 3"));
    }
    check_extensions(anchor)?;
    match basic_constraints(anchor)? {
        Some(constraints) if constraints.ca => match constraints.path_len_constraint {
            Some(0) => Err(wrong("its path length of 0 allows no cluster certificate below it")),
            _ => Ok(()),
        },
        _ => Err(wrong("it is not marked as a CA (basicConstraints)")),
    }
}

/// A cluster certificate is v1, or v3 that does not say that it is no CA.
fn check_cluster_form(cluster: &Parsed) -> Result<(), CertificateError> {
    let wrong = |problem: &str| not_for_this(cluster, problem);
    match cluster.certificate.tbs_certificate().version() {
        Version::V1 => return Ok(()),
        Version::V2 => return Err(wrong("it is X.509 version 2")),
        Version::V3 => {}
    }
    check_extensions(cluster)?;
    match basic_constraints(cluster)? {
        Some(constraints) if !constraints.ca => {
            Err(wrong("it says CA:FALSE; sign the request without extensions, or with CA:TRUE"))
        }
        _ => Ok(()),
    }
}

/// RFC 5280, section 4.2: "a certificate-using system MUST reject the certificate if it encounters a
/// critical extension it does not recognize".
fn check_extensions(parsed: &Parsed) -> Result<(), CertificateError> {
    let extensions = parsed.certificate.tbs_certificate().extensions();
    let unknown = extensions.into_iter().flatten().find(|extension| {
        extension.critical && ![BASIC_CONSTRAINTS, KEY_USAGE].contains(&extension.extn_id)
    });
    if let Some(extension) = unknown {
        let problem = format!("its extension {} is critical and not known", extension.extn_id);
        return Err(not_for_this(parsed, &problem));
    }
    let usage = parsed
        .certificate
        .tbs_certificate()
        .get_extension::<KeyUsage>()
        .map_err(|e| malformed(parsed, &e))?;
    match usage {
        Some((_, usage)) if !usage.key_cert_sign() => {
            Err(not_for_this(parsed, "its key usage does not allow it to sign certificates"))
        }
        _ => Ok(()),
    }
}

fn basic_constraints(parsed: &Parsed) -> Result<Option<BasicConstraints>, CertificateError> {
    let extension = parsed
        .certificate
        .tbs_certificate()
        .get_extension::<BasicConstraints>()
        .map_err(|e| malformed(parsed, &e))?;
    Ok(extension.map(|(_, constraints)| constraints))
}

fn check_signature(parsed: &Parsed, issuer: &Parsed) -> Result<(), CertificateError> {
    let which = parsed.which;
    let certificate = &parsed.certificate;
    if certificate.tbs_certificate().issuer() != issuer.certificate.tbs_certificate().subject() {
        return Err(CertificateError::IssuerName { which });
    }
    // RFC 5280, section 4.1.1.2: the inner field "MUST contain the same algorithm identifier".
    if certificate.signature_algorithm() != certificate.tbs_certificate().signature() {
        return Err(not_for_this(parsed, "it names two signature algorithms"));
    }
    signature::verify(
        issuer.certificate.tbs_certificate().subject_public_key_info(),
        certificate.signature_algorithm(),
        &parsed.signed_part,
        certificate.signature().raw_bytes(),
    )
    .map_err(|fault| fault_of(which, fault))
}

fn has_common_name(parsed: &Parsed, name: &str) -> bool {
    parsed.certificate.tbs_certificate().subject().iter().any(|attribute| {
        attribute.oid == COMMON_NAME && AnyRef::from(&attribute.value).value() == name.as_bytes()
    })
}

fn fault_of(which: Which, fault: Fault) -> CertificateError {
    match fault {
        Fault::Algorithm(algorithm) => CertificateError::Algorithm { which, algorithm },
        Fault::Signature => CertificateError::NotSignedByAnchor { which },
    }
}

fn not_for_this(parsed: &Parsed, problem: &str) -> CertificateError {
    CertificateError::NotForThis { which: parsed.which, problem: problem.to_owned() }
}

fn malformed(parsed: &Parsed, error: &der::Error) -> CertificateError {
    CertificateError::Malformed { which: parsed.which, problem: error.to_string() }
}
