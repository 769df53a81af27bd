//! The owner's word that an HSM may join: join policy `owner`.
//!
//! ```text
//! customerCA
//!   └ join certificate, CN "Strongroom join key": the owner makes it once
//!       └ host certificate: the owner makes one for each host that it enrols   (may be left out)
//!           └ certificate over the HSM's device key
//! ```
//! The name of the join certificate is what makes it one: customerCA may be an owner's general CA,
//! and no server certificate of it, nor the cluster's own, may let HSMs in.

use std::time::{SystemTime, UNIX_EPOCH};

use strongroom_pki::{CA_EXTENSIONS, Certificate, LEAF_EXTENSIONS, OutOfTime};
use strongroom_wire::limits::CERTIFICATE_BYTES_MAX;

/// CN of the join certificate.
const JOIN_NAME: &str = "Strongroom join key";

/// Why an endorsement does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndorsementError {
    #[error(
        "the join policy is `owner`, and the request has no certificates for the new HSM: give the \
         join certificate, then the host's, then the device's"
    )]
    Missing,
    #[error("the cluster has no owner yet, so nobody can endorse an HSM: initialise it first")]
    NoOwner,
    #[error("certificate {0} of the endorsement {1}")]
    Certificate(usize, String),
}

/// Checks certificates from the join certificate down to one over `device_key`
/// (SubjectPublicKeyInfo), under the owner's `trust_anchor` (DER).
///
/// # Errors
/// The first check that fails.
pub(crate) fn check_endorsement(
    chain: &[Vec<u8>],
    trust_anchor: Option<&[u8]>,
    device_key: &[u8],
    now: SystemTime,
) -> Result<(), EndorsementError> {
    if !(2..=3).contains(&chain.len()) {
        return Err(EndorsementError::Missing);
    }
    let anchor = trust_anchor.ok_or(EndorsementError::NoOwner)?;
    let mut issuer = Certificate::from_der(anchor).map_err(|_| EndorsementError::NoOwner)?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for (place, der) in chain.iter().enumerate() {
        let failed = |problem: &dyn std::fmt::Display| {
            EndorsementError::Certificate(place + 1, problem.to_string())
        };
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(failed(&"is too long"));
        }
        let certificate = Certificate::from_der(der).map_err(|e| failed(&e))?;
        let below = chain.len() - place - 1;
        certificate.check_key().map_err(|e| failed(&e))?;
        certificate.check_time(now).map_err(|e| match e {
            OutOfTime::NotYet(from) => failed(&format!("is not valid before {from}")),
            OutOfTime::Expired(until) => failed(&format!("has expired: {until}")),
        })?;
        check_form(&certificate, place, below).map_err(|problem| failed(&problem))?;
        if certificate.issuer != issuer.subject {
            return Err(failed(&"names another issuer than the one before it"));
        }
        certificate.check_signed_by(&issuer).map_err(|e| failed(&e))?;
        if below == 0 && certificate.public_key != device_key {
            return Err(failed(&"is over another key than the new HSM's device key"));
        }
        issuer = certificate;
    }
    Ok(())
}

/// A certificate that signs others is v3 and says so.
fn check_form(certificate: &Certificate, place: usize, below: usize) -> Result<(), &'static str> {
    if place == 0 && !certificate.has_common_name(JOIN_NAME) {
        return Err("does not have CN=Strongroom join key");
    }
    let known = if below > 0 { CA_EXTENSIONS } else { LEAF_EXTENSIONS };
    if certificate.critical_extension_beyond(known).is_some() {
        return Err("has a critical extension that is not known");
    }
    if below == 0 {
        return Ok(());
    }
    if certificate.is_ca != Some(true) || certificate.may_sign_certificates == Some(false) {
        return Err("does not say that it is a CA");
    }
    // RFC 5280, section 4.2.1.9: CA certificates that may follow, the last one not counted.
    match certificate.path_length {
        Some(length) if usize::from(length) < below - 1 => Err("allows no certificate so far down"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    };

    use super::*;

    struct Signed {
        der: Vec<u8>,
        params: CertificateParams,
        key: KeyPair,
    }

    fn params(name: &str, ca: Option<BasicConstraints>) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2099, 1, 1);
        if let Some(constraints) = ca {
            params.is_ca = IsCa::Ca(constraints);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        params
    }

    fn ca() -> Option<BasicConstraints> {
        Some(BasicConstraints::Unconstrained)
    }

    fn root() -> Signed {
        let (params, key) = (params("Owner", ca()), KeyPair::generate().unwrap());
        Signed { der: params.self_signed(&key).unwrap().der().to_vec(), params, key }
    }

    fn under(issuer: &Signed, params: CertificateParams) -> Signed {
        let key = KeyPair::generate().unwrap();
        let signer = Issuer::from_params(&issuer.params, &issuer.key);
        Signed { der: params.signed_by(&key, &signer).unwrap().der().to_vec(), params, key }
    }

    fn check(root: &Signed, chain: &[&Signed]) -> Result<(), EndorsementError> {
        use rcgen::PublicKeyData;
        let device = chain.last().unwrap().key.subject_public_key_info();
        let chain: Vec<_> = chain.iter().map(|signed| signed.der.clone()).collect();
        check_endorsement(&chain, Some(&root.der), &device, SystemTime::now())
    }

    fn fails_at(place: usize, result: Result<(), EndorsementError>) {
        match result {
            Err(EndorsementError::Certificate(at, _)) => assert_eq!(at, place),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_owners_join_key_lets_in_a_device_and_an_enrolled_hosts_devices() {
        let root = root();
        let join = under(&root, params(JOIN_NAME, ca()));
        let device = under(&join, params("hsm-abcdefghijk", None));
        assert_eq!(check(&root, &[&join, &device]), Ok(()));
        let host = under(&join, params("host-1", ca()));
        let device = under(&host, params("hsm-abcdefghijk", None));
        assert_eq!(check(&root, &[&join, &host, &device]), Ok(()));
    }

    #[test]
    fn no_other_certificate_of_the_owner_lets_anything_in() {
        let root = root();
        let cluster = under(&root, params("cluster-abcdefghijk", ca()));
        let device = under(&cluster, params("hsm-abcdefghijk", None));
        fails_at(1, check(&root, &[&cluster, &device]));
        let alone = under(&root, params(JOIN_NAME, None));
        assert_eq!(check(&root, &[&alone]), Err(EndorsementError::Missing));
        let leaf = under(&root, params(JOIN_NAME, None));
        let device = under(&leaf, params("hsm-abcdefghijk", None));
        fails_at(1, check(&root, &[&leaf, &device]));
    }

    #[test]
    fn another_owners_join_key_lets_nothing_in() {
        let (owner, stranger) = (root(), root());
        let join = under(&stranger, params(JOIN_NAME, ca()));
        let device = under(&join, params("hsm-abcdefghijk", None));
        fails_at(1, check(&owner, &[&join, &device]));
    }

    #[test]
    fn a_chain_for_another_device_does_not_count() {
        let root = root();
        let join = under(&root, params(JOIN_NAME, ca()));
        let device = under(&join, params("hsm-abcdefghijk", None));
        let chain = [join.der, device.der];
        let result = check_endorsement(&chain, Some(&root.der), b"other", SystemTime::now());
        fails_at(2, result);
    }

    #[test]
    fn a_join_certificate_that_allows_no_host_below_it_allows_none() {
        let root = root();
        let join = under(&root, params(JOIN_NAME, Some(BasicConstraints::Constrained(0))));
        let host = under(&join, params("host-1", ca()));
        let device = under(&host, params("hsm-abcdefghijk", None));
        fails_at(1, check(&root, &[&join, &host, &device]));
        let device = under(&join, params("hsm-abcdefghijk", None));
        assert_eq!(check(&root, &[&join, &device]), Ok(()));
    }
}
