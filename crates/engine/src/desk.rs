//! What an engine asks its HSM about the cluster: its key, its certificates, who agrees with whom.

use std::sync::Arc;

use strongroom_vault::{NodeId, UserId};
use strongroom_wire::message::MemberRole;

/// The part of the HSM that keeps the cluster's key and takes part in agreement.
pub trait ClusterDesk: Send + Sync {
    /// A request for a certificate of the cluster's newest key (PEM), and the key's generation.
    ///
    /// # Errors
    /// Why there is none, for the admin.
    fn csr(&self) -> Result<(String, u64), String>;

    /// Checks a certificate (PEM) of the cluster's newest key, signed by the trust anchor: its DER, and
    /// the key's generation.
    ///
    /// # Errors
    /// What is wrong with it, for the admin.
    fn check_certificate(&self, pem: &str) -> Result<(Vec<u8>, u64), String>;

    /// Checks a public key (SubjectPublicKeyInfo, DER) that is to sign recoveries.
    ///
    /// # Errors
    /// Why it can't.
    fn check_recovery_key(&self, spki: &[u8]) -> Result<(), String>;

    /// Each member's part in agreement, as this HSM knows it.
    fn standings(&self) -> Vec<Standing>;
}

/// One member's part in agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The member.
    pub node: NodeId,
    /// Its part.
    pub role: MemberRole,
    /// Entries of the log that it lacks; 0 where this HSM doesn't know.
    pub lag: u64,
}

/// Failed logins of one user that this HSM counted while it was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalFailures {
    /// Whose.
    pub user: UserId,
    /// The user's epoch when they were counted.
    pub epoch: u64,
    /// How many.
    pub count: u32,
}

/// Keeps the failed logins that an HSM counts while it is cut off, durably: a restart must not give
/// new guesses.
pub trait LocalCounters: Send + Sync {
    /// What was kept last; nothing at first.
    ///
    /// # Errors
    /// Where it is there and can't be read: then nobody may log in here while it is cut off.
    fn load(&self) -> Result<Vec<LocalFailures>, String>;

    /// Keeps these, in place of what was kept; when it returns, they are on disk. There are never more
    /// than the cluster has users.
    ///
    /// # Errors
    /// Where the disk fails.
    fn save(&self, failures: &[LocalFailures]) -> Result<(), String>;
}

/// An HSM that is its cluster all by itself.
pub(crate) struct NoDesk;

const ALONE: &str = "this HSM has no cluster key of an owner";

impl ClusterDesk for NoDesk {
    fn csr(&self) -> Result<(String, u64), String> {
        Err(ALONE.to_owned())
    }

    fn check_certificate(&self, _pem: &str) -> Result<(Vec<u8>, u64), String> {
        Err(ALONE.to_owned())
    }

    fn check_recovery_key(&self, _spki: &[u8]) -> Result<(), String> {
        Err(ALONE.to_owned())
    }

    fn standings(&self) -> Vec<Standing> {
        Vec::new()
    }
}

pub(crate) fn no_desk() -> Arc<dyn ClusterDesk> {
    Arc::new(NoDesk)
}
