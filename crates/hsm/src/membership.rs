//! As which member this HSM takes part, in a file of the data folder: its number has to be known
//! before the log is read, and its first peers before the log has any.
//!
//! Nothing in it is secret. Whoever could change it could as well take the folder away; what peers
//! say is believed by their device keys only.

use std::path::Path;

use serde::{Deserialize, Serialize};
use strongroom_cluster::Peer;
use strongroom_vault::{NodeId, State};
use strongroom_wire::limits::MEMBERS_MAX;
use strongroom_wire::peer::PeerMember;

use crate::Error;
use crate::device::peer_of;

const FILE: &str = "membership.json";
/// The number of a cluster's first member: numbers are given from it on, and never again.
const FIRST: u64 = 1;
/// All members with long names.
const BYTES_MAX: u64 = 64 * 1024;

/// As which member an HSM takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Membership {
    /// `cluster-…`.
    pub(crate) cluster_id: String,
    node: u64,
    #[serde(default)]
    pub(crate) witness: bool,
    /// Whether it has taken part: its store is not empty from then on.
    #[serde(default)]
    took_part: bool,
    /// Those that there were when it joined.
    #[serde(default)]
    peers: Vec<KnownPeer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KnownPeer {
    node: u64,
    hsm_id: String,
    address: String,
    device_key: [u8; 32],
    #[serde(default)]
    witness: bool,
}

impl Membership {
    /// Of a cluster's first HSM.
    pub(crate) fn first(cluster_id: String) -> Self {
        Self { cluster_id, node: FIRST, witness: false, took_part: false, peers: Vec::new() }
    }

    /// Of one that was welcomed. Peers that make no sense are left out.
    pub(crate) fn welcomed(
        cluster_id: String,
        node: u64,
        witness: bool,
        members: &[PeerMember],
    ) -> Self {
        let peers = members.iter().take(MEMBERS_MAX).filter_map(|member| {
            Some(KnownPeer {
                node: member.node,
                hsm_id: member.hsm_id.clone(),
                address: member.address.clone(),
                device_key: member.device_key.as_slice().try_into().ok()?,
                witness: member.witness,
            })
        });
        Self { cluster_id, node, witness, took_part: false, peers: peers.collect() }
    }

    /// The same, once it takes part.
    pub(crate) fn taking_part(&self) -> Self {
        Self { took_part: true, ..self.clone() }
    }

    /// Whether it has taken part before.
    pub(crate) fn took_part(&self) -> bool {
        self.took_part
    }

    /// The same, with the members that there are now.
    pub(crate) fn with_peers(&self, state: &State) -> Self {
        let peers = state.members().filter(|member| member.node.0 != self.node);
        let peers = peers.filter_map(|member| {
            let peer = peer_of(member)?;
            Some(KnownPeer {
                node: member.node.0,
                hsm_id: peer.hsm_id,
                address: peer.address,
                device_key: peer.device_key,
                witness: peer.witness,
            })
        });
        Self { peers: peers.take(MEMBERS_MAX).collect(), ..self.clone() }
    }

    /// Whether it is the HSM that the cluster began with: it makes the log's first entries.
    pub(crate) fn founds(&self) -> bool {
        self.node == FIRST
    }

    /// Raft's number.
    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.node)
    }

    /// The peers that there were when it joined.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (NodeId, Peer)> {
        self.peers.iter().map(|peer| {
            let known = Peer {
                hsm_id: peer.hsm_id.clone(),
                address: peer.address.clone(),
                device_key: peer.device_key,
                witness: peer.witness,
                ..Peer::default()
            };
            (NodeId(peer.node), known)
        })
    }

    /// What the folder has; `None` before this HSM is a member.
    ///
    /// # Errors
    /// Where the file does not read.
    pub(crate) fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        let failed = |problem: String| Error::folder(folder, format!("{FILE}: {problem}"));
        let metadata = match path.metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(|e| failed(e.to_string()))?,
        };
        if metadata.len() > BYTES_MAX {
            return Err(failed("it is too long".to_owned()));
        }
        let text = std::fs::read(&path).map_err(|e| failed(e.to_string()))?;
        let membership: Self = serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?;
        if membership.node == 0 {
            return Err(failed("a member's number is not 0".to_owned()));
        }
        Ok(Some(membership))
    }

    /// Keeps it, durably, in place of what was there.
    ///
    /// # Errors
    /// Where the file system fails.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), Error> {
        let text =
            serde_json::to_vec_pretty(self).map_err(|e| Error::folder(folder, e.to_string()))?;
        Ok(strongroom_seal::write_atomically(&folder.join(FILE), &text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Membership::load(folder.path()).unwrap(), None);
        let members = [
            PeerMember { node: 1, device_key: vec![7; 32], ..PeerMember::default() },
            PeerMember { node: 2, device_key: vec![7; 31], ..PeerMember::default() },
        ];
        let saved = Membership::welcomed("cluster-a".to_owned(), 5, false, &members);
        saved.save(folder.path()).unwrap();
        let loaded = Membership::load(folder.path()).unwrap().unwrap();
        assert_eq!(loaded, saved);
        assert_eq!(loaded.node(), NodeId(5));
        assert_eq!(loaded.peers().map(|(node, _)| node).collect::<Vec<_>>(), [NodeId(1)]);
    }

    #[test]
    fn a_damaged_file_is_no_new_hsm() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", r#"{"cluster-id": "c", "node": 0}"#] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert!(Membership::load(folder.path()).is_err(), "{text}");
        }
    }
}
