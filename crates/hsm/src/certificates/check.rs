//! The check of the certificates that an owner gives: is this our cluster, under this customerCA?
//!
//! As a client's verifier, it knows exactly one form of chain, so it needs no path building. The
//! cluster certificate may be X.509 v1, because `openssl x509 -req` without extensions makes one,
//! and AWS's own instructions say just that command.

use std::time::{SystemTime, UNIX_EPOCH};

use strongroom_pki::{CA_EXTENSIONS, Certificate, Fault, OutOfTime};

use super::{CertificateError, Which, parse, pem_certificate};

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
    let cluster = pem_certificate(Which::Cluster, signed_certificate)?;
    let anchor = pem_certificate(Which::TrustAnchor, trust_anchor)?;
    check_cluster_certificate(cluster_public_key, cluster_id, &cluster, &anchor, now)?;
    Ok(Owner { cluster_certificate: cluster, trust_anchor: anchor })
}

/// Checks a cluster's certificate and its trust anchor, both DER.
///
/// # Errors
/// The first check that fails.
pub(crate) fn check_cluster_certificate(
    cluster_public_key: &[u8],
    cluster_id: &str,
    signed_certificate: &[u8],
    trust_anchor: &[u8],
    now: SystemTime,
) -> Result<(), CertificateError> {
    let read = |which, der| Ok(Given { which, certificate: parse(which, der)? });
    let anchor = read(Which::TrustAnchor, trust_anchor)?;
    let cluster = read(Which::Cluster, signed_certificate)?;

    anchor.check_key()?;
    cluster.check_key()?;
    anchor.check_time(now)?;
    cluster.check_time(now)?;
    anchor.check_anchor_form()?;
    cluster.check_cluster_form()?;
    anchor.check_signed_by(&anchor)?;
    cluster.check_signed_by(&anchor)?;
    cluster.check_names(cluster_public_key, cluster_id)
}

/// Checks what the owner gives for a newer key of a cluster that is theirs already: PEM, under the
/// trust anchor (DER) of its initialisation. Gives the certificate as DER.
///
/// # Errors
/// The first check that fails.
pub(crate) fn check_renewal(
    cluster_public_key: &[u8],
    cluster_id: &str,
    signed_certificate: &str,
    trust_anchor: &[u8],
    now: SystemTime,
) -> Result<Vec<u8>, CertificateError> {
    let which = Which::TrustAnchor;
    let anchor = Given { which, certificate: parse(which, trust_anchor)? };
    let cluster = Given::read(Which::Cluster, signed_certificate)?;
    cluster.check_key()?;
    cluster.check_time(now)?;
    cluster.check_cluster_form()?;
    cluster.check_signed_by(&anchor)?;
    cluster.check_names(cluster_public_key, cluster_id)?;
    Ok(cluster.certificate.der().to_vec())
}

/// A certificate of the owner's, with the words for what is wrong with it.
struct Given {
    which: Which,
    certificate: Certificate,
}

impl Given {
    fn read(which: Which, pem: &str) -> Result<Self, CertificateError> {
        Ok(Self { which, certificate: parse(which, &pem_certificate(which, pem)?)? })
    }

    fn check_names(&self, public_key: &[u8], cluster_id: &str) -> Result<(), CertificateError> {
        if self.certificate.public_key != public_key {
            return Err(CertificateError::OtherKey);
        }
        if !self.certificate.has_common_name(cluster_id) {
            return Err(CertificateError::OtherSubject(cluster_id.to_owned()));
        }
        Ok(())
    }

    fn check_key(&self) -> Result<(), CertificateError> {
        self.certificate.check_key().map_err(|fault| self.fault(fault))
    }

    fn check_time(&self, now: SystemTime) -> Result<(), CertificateError> {
        let which = self.which;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.certificate.check_time(now).map_err(|out_of_time| match out_of_time {
            OutOfTime::NotYet(from) => CertificateError::NotYetValid { which, from },
            OutOfTime::Expired(until) => CertificateError::Expired { which, until },
        })
    }

    /// A trust anchor is v3 and says that it is a CA.
    fn check_anchor_form(&self) -> Result<(), CertificateError> {
        if self.certificate.version != 3 {
            return Err(self.not_for_this("it is not X.509 version 3"));
        }
        self.check_extensions()?;
        if self.certificate.is_ca != Some(true) {
            return Err(self.not_for_this("it is not marked as a CA (basicConstraints)"));
        }
        if self.certificate.path_length == Some(0) {
            return Err(
                self.not_for_this("its path length of 0 allows no cluster certificate below it")
            );
        }
        Ok(())
    }

    /// A cluster certificate is v1, or v3 that does not say that it is no CA.
    fn check_cluster_form(&self) -> Result<(), CertificateError> {
        if self.certificate.version == 2 {
            return Err(self.not_for_this("it is X.509 version 2"));
        }
        self.check_extensions()?;
        if self.certificate.is_ca == Some(false) {
            return Err(self.not_for_this(
                "it says CA:FALSE; sign the request without extensions, or with CA:TRUE",
            ));
        }
        Ok(())
    }

    fn check_extensions(&self) -> Result<(), CertificateError> {
        if let Some(id) = self.certificate.critical_extension_beyond(CA_EXTENSIONS) {
            return Err(self.not_for_this(&format!("its extension {id} is critical and not known")));
        }
        if self.certificate.may_sign_certificates == Some(false) {
            return Err(self.not_for_this("its key usage does not allow it to sign certificates"));
        }
        Ok(())
    }

    fn check_signed_by(&self, issuer: &Self) -> Result<(), CertificateError> {
        if self.certificate.issuer != issuer.certificate.subject {
            return Err(CertificateError::IssuerName { which: self.which });
        }
        self.certificate.check_signed_by(&issuer.certificate).map_err(|fault| self.fault(fault))
    }

    fn fault(&self, fault: Fault) -> CertificateError {
        let which = self.which;
        match fault {
            Fault::NotAllowed(algorithm) => CertificateError::Algorithm { which, algorithm },
            Fault::Wrong => CertificateError::NotSignedByAnchor { which },
        }
    }

    fn not_for_this(&self, problem: &str) -> CertificateError {
        CertificateError::NotForThis { which: self.which, problem: problem.to_owned() }
    }
}
