//! What an HSM signs itself: its device's certificate, its cluster's request, and, for a local HSM
//! that has no other owner, the owner's certificates.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose};

use super::CertificateError;
use super::check::Owner;
use super::key::P256Key;

/// The years of certificates that are pinned, or that nobody outside ever sees.
const FIRST_YEAR: i32 = 2020;
const LAST_YEAR: i32 = 2099;

/// The device's certificate, PEM: self-signed, and pinned by whoever provisioned the HSM.
///
/// # Errors
/// Where it cannot be made.
pub(crate) fn device_certificate(key: &P256Key, hsm_id: &str) -> Result<String, CertificateError> {
    let mut params = named(hsm_id);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(key).map_err(making("device certificate"))?;
    Ok(certificate.pem())
}

/// The cluster's certificate signing request, PEM. Its subject names the cluster, and the
/// certificate must keep that name.
///
/// # Errors
/// Where it cannot be made.
pub(crate) fn cluster_request(key: &P256Key, cluster_id: &str) -> Result<String, CertificateError> {
    named(cluster_id)
        .serialize_request(key)
        .and_then(|request| request.pem())
        .map_err(making("certificate signing request"))
}

/// An owner for a local HSM of personality `cloudhsm`: a CA whose key is forgotten at once, so that
/// the cluster has the certificates that programs expect, and nobody can issue another.
///
/// # Errors
/// Where they cannot be made.
pub(crate) fn own_owner(key: &P256Key, cluster_id: &str) -> Result<Owner, CertificateError> {
    const WHAT: &str = "local owner's certificates";
    let ca_key = P256Key::generate(WHAT)?;
    let mut ca = named("Strongroom local owner");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let trust_anchor = ca.self_signed(&ca_key).map_err(making(WHAT))?.der().to_vec();

    let mut cluster = named(cluster_id);
    cluster.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    cluster.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let cluster_certificate = cluster
        .signed_by(key, &Issuer::from_params(&ca, &ca_key))
        .map_err(making(WHAT))?
        .der()
        .to_vec();
    Ok(Owner { cluster_certificate, trust_anchor })
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Strongroom");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = rcgen::date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = rcgen::date_time_ymd(LAST_YEAR, 12, 31);
    params
}

fn making(what: &'static str) -> impl FnOnce(rcgen::Error) -> CertificateError {
    move |error| CertificateError::Making { what, problem: error.to_string() }
}
