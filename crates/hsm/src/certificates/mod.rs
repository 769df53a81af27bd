//! The certificates of an HSM: those that it makes, and the check of those that its owner gives.
//!
//! ```text
//! customerCA (the owner's, self-signed)            device key (this HSM's)
//!   └ cluster certificate, over the cluster key      └ device certificate, self-signed: port 2224
//!       └ leaf, over a key of this start: port 2223
//! ```
//! The owner signs the cluster's request with customerCA, so clients trust customerCA alone. The
//! leaf's key lives in memory only and is made anew at each start.

mod check;
mod issue;
mod key;
mod leaf;
#[cfg(test)]
mod tests;

use strongroom_pki::{Certificate, certificate_in_pem};
use strongroom_wire::limits::CERTIFICATE_BYTES_MAX;

#[cfg(test)]
use check::Owner;
pub(crate) use check::{check_cluster_certificate, check_owner, check_renewal};
pub(crate) use issue::{cluster_request, device_certificate, own_owner};
pub(crate) use key::P256Key;
pub(crate) use leaf::{Leaf, certified};

/// Which certificate is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The owner's CA.
    TrustAnchor,
    /// The cluster's, signed by it.
    Cluster,
    /// The provisioner's, for port 2224.
    Provisioner,
    /// An HSM's own, for ports 2224 and 2225.
    Device,
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TrustAnchor => "trust anchor (customerCA)",
            Self::Cluster => "signed cluster certificate",
            Self::Provisioner => "provisioner's certificate",
            Self::Device => "device's certificate",
        })
    }
}

/// Which check a certificate failed, and what the owner can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not one PEM certificate within the limit of length.
    #[error("the {which} is not one certificate in PEM form: {problem}")]
    NotPem {
        /// Which.
        which: Which,
        /// What is wrong with it.
        problem: String,
    },
    /// PEM, but no X.509 certificate inside.
    #[error("the {which} does not parse as X.509: {problem}")]
    Malformed {
        /// Which.
        which: Which,
        /// The parser's words.
        problem: String,
    },
    /// An algorithm that is not on the list, or a key that is too short.
    #[error("the {which} uses {algorithm}; allowed are {}", strongroom_pki::ALLOWED)]
    Algorithm {
        /// Which.
        which: Which,
        /// What it uses.
        algorithm: String,
    },
    /// The signature is not the trust anchor's.
    #[error("the {which} is not signed by the given trust anchor")]
    NotSignedByAnchor {
        /// Which.
        which: Which,
    },
    /// Issuer and subject differ.
    #[error("the issuer named in the {which} is not the trust anchor")]
    IssuerName {
        /// Which.
        which: Which,
    },
    /// Not valid yet.
    #[error("the {which} is not valid yet: from {from}; check the clocks")]
    NotYetValid {
        /// Which.
        which: Which,
        /// Seconds since 1970 as a date.
        from: String,
    },
    /// Not valid any more.
    #[error("the {which} has expired: {until}")]
    Expired {
        /// Which.
        which: Which,
        /// As `from`.
        until: String,
    },
    /// Over another key than the request's.
    #[error(
        "the signed cluster certificate is not over this cluster's key; sign the request that this \
         HSM gives now"
    )]
    OtherKey,
    /// The subject lost the cluster's id.
    #[error("the signed cluster certificate's subject does not have CN={0}, as its request has")]
    OtherSubject(String),
    /// A form or an extension that forbids the use.
    #[error("the {which} cannot be used: {problem}")]
    NotForThis {
        /// Which.
        which: Which,
        /// Which rule of RFC 5280 says so.
        problem: String,
    },
    /// The owner's certificates are there already, and for ever.
    #[error("the cluster is initialised already")]
    AlreadyInitialised,
    /// Nothing to renew.
    #[error("the cluster is not initialised yet")]
    NotInitialised,
    /// Our own certificate could not be made.
    #[error("cannot make the {what}: {problem}")]
    Making {
        /// What.
        what: &'static str,
        /// The library's words.
        problem: String,
    },
}

/// The DER inside exactly one PEM certificate.
///
/// # Errors
/// Where there is none, more than one, another thing, or too much.
pub(crate) fn pem_certificate(which: Which, pem: &str) -> Result<Vec<u8>, CertificateError> {
    if pem.len() > CERTIFICATE_BYTES_MAX {
        let problem = format!("it has over {CERTIFICATE_BYTES_MAX} bytes");
        return Err(CertificateError::NotPem { which, problem });
    }
    certificate_in_pem(pem)
        .map_err(|not_pem| CertificateError::NotPem { which, problem: not_pem.to_string() })
}

/// The SubjectPublicKeyInfo of a peer's certificate, DER: what a pin compares.
///
/// # Errors
/// [`CertificateError::Malformed`].
pub(crate) fn public_key_of(der: &[u8]) -> Result<Vec<u8>, CertificateError> {
    Ok(parse(Which::Provisioner, der)?.public_key)
}

fn parse(which: Which, der: &[u8]) -> Result<Certificate, CertificateError> {
    Certificate::from_der(der)
        .map_err(|e| CertificateError::Malformed { which, problem: e.to_string() })
}
