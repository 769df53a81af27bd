//! What the engine is told of the cluster, and what it keeps while it is cut off.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom_cluster::{MemberRole, Node};
use strongroom_crypto::symmetric::{AeadKey, NONCE_BYTES, derive};
use strongroom_engine::{ClusterDesk, LocalCounters, LocalFailures, Standing};
use strongroom_store::Secrets;
use strongroom_vault::UserId;
use strongroom_wire::message::MemberRole as WireRole;

use crate::ownership::Ownership;

const COUNTERS_FILE: &str = "failures.sealed";
/// What the counters' key is derived for, and what they are bound to.
const COUNTERS: &[u8] = b"strongroom cut-off failures 1";

/// The HSM as its engine asks it.
pub(crate) struct Desk {
    pub(crate) node: Arc<Node>,
    pub(crate) ownership: Ownership,
}

impl ClusterDesk for Desk {
    fn csr(&self) -> Result<(String, u64), String> {
        let request = self.ownership.request().map_err(|e| e.to_string())?;
        Ok((request.pem, request.generation))
    }

    fn check_certificate(&self, pem: &str) -> Result<(Vec<u8>, u64), String> {
        self.ownership.check_certificate(pem).map_err(|e| e.to_string())
    }

    fn check_recovery_key(&self, spki: &[u8]) -> Result<(), String> {
        strongroom_pki::check_key(spki).map_err(|e| e.to_string())
    }

    fn standings(&self) -> Vec<Standing> {
        let members = self.node.status().members;
        let standing = |member: &strongroom_cluster::MemberStatus| Standing {
            node: member.node,
            role: role(member.role),
            lag: member.lag.unwrap_or(0),
        };
        members.iter().map(standing).collect()
    }
}

/// Raft's word as port 2223 and 2224 have it.
pub(crate) fn role(role: MemberRole) -> WireRole {
    match role {
        MemberRole::Leader => WireRole::Leader,
        MemberRole::Voter => WireRole::Voter,
        MemberRole::Learner => WireRole::Learner,
    }
}

/// Failed logins of users, counted while the HSM is cut off, in a sealed file of the data folder.
pub(crate) struct Counters {
    path: PathBuf,
    key: AeadKey,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    user: u32,
    epoch: u64,
    count: u32,
}

impl Counters {
    /// Of the HSM with these secrets, in `folder`.
    ///
    /// # Errors
    /// Where the backend fails.
    pub(crate) fn new(
        folder: &std::path::Path,
        secrets: &Secrets,
    ) -> Result<Self, strongroom_crypto::Error> {
        // The HSM's own keys are not rotated.
        let key = derive(secrets.state.current().bytes(), COUNTERS);
        Ok(Self { path: folder.join(COUNTERS_FILE), key: AeadKey::from_secret(&key)? })
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<LocalFailures>> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let plaintext = self.key.open(*nonce, COUNTERS, ciphertext).ok()?;
        let kept: Vec<Kept> = serde_json::from_slice(plaintext.as_bytes()).ok()?;
        let failures =
            |Kept { user, epoch, count }| LocalFailures { user: UserId(user), epoch, count };
        Some(kept.into_iter().map(failures).collect())
    }
}

impl LocalCounters for Counters {
    fn load(&self) -> Result<Vec<LocalFailures>, String> {
        match std::fs::read(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e.to_string()),
            Ok(sealed) => self
                .open(&sealed)
                .ok_or_else(|| format!("{COUNTERS_FILE} was changed, or is another HSM's")),
        }
    }

    fn save(&self, failures: &[LocalFailures]) -> Result<(), String> {
        let kept: Vec<_> = failures
            .iter()
            .map(|f| Kept { user: f.user.0, epoch: f.epoch, count: f.count })
            .collect();
        let plaintext = serde_json::to_vec(&kept).map_err(|e| e.to_string())?;
        // Some thousand times in the life of a key at most: a random nonce does.
        let mut nonce = [0; NONCE_BYTES];
        strongroom_crypto::random(&mut nonce).map_err(|e| e.to_string())?;
        let sealed = [&nonce[..], &self.key.seal(nonce, COUNTERS, &plaintext)].concat();
        strongroom_seal::write_atomically(&self.path, &sealed).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_failures_outlive_a_restart_and_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::generate().unwrap();
        let counters = || Counters::new(folder.path(), &secrets).unwrap();
        assert_eq!(counters().load().unwrap(), []);
        let failures = [LocalFailures { user: UserId(7), epoch: 2, count: 3 }];
        counters().save(&failures).unwrap();
        assert_eq!(counters().load().unwrap(), failures);
        let path = folder.path().join(COUNTERS_FILE);
        let mut sealed = std::fs::read(&path).unwrap();
        *sealed.last_mut().unwrap() ^= 1;
        std::fs::write(&path, sealed).unwrap();
        assert!(counters().load().is_err());
    }
}
