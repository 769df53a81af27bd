//! The tables of members: who is one, who was, who wants to be, and what was sealed to whom.

use std::collections::{BTreeMap, BTreeSet};

use super::State;
use crate::codec::TopologyRecord;
use crate::limits::{CUT_OFF_SECONDS_DEFAULT, HSMS_MAX, JOIN_REQUESTS_MAX, WITNESSES_MAX};
use crate::{Fingerprint, JoinPolicy, JoinRequest, LogIndex, Member, NodeId, Role};

/// Members, and what is kept of their keys.
#[derive(Default)]
pub(crate) struct Members {
    /// By Raft's number.
    pub(crate) present: BTreeMap<NodeId, Member>,
    /// Device keys of members that were removed: none of them joins again.
    pub(crate) revoked: BTreeSet<Fingerprint>,
    /// HSMs that wait for the admins.
    pub(crate) waiting: BTreeMap<Fingerprint, JoinRequest>,
    /// Secrets by epoch and member, sealed to it: for one that was away when they were made.
    pub(crate) sealed: BTreeMap<(u64, NodeId), Vec<u8>>,
}

impl Members {
    /// Members that hold secrets.
    pub(crate) fn hsms(&self) -> impl Iterator<Item = &Member> {
        self.present.values().filter(|member| !member.witness)
    }

    /// Whether the tables are ones that `apply` leaves.
    pub(crate) fn is_consistent(&self, next_node: NodeId, topology: &TopologyRecord) -> bool {
        let fingerprints: BTreeSet<_> = self.present.values().map(Member::fingerprint).collect();
        let hsm = |node| self.present.get(node).is_some_and(|member| !member.witness);
        self.present.keys().all(|&node| NodeId(0) < node && node < next_node)
            && fingerprints.len() == self.present.len()
            && fingerprints.is_disjoint(&self.revoked)
            && self.hsms().count() <= HSMS_MAX
            && self.present.len() - self.hsms().count() <= WITNESSES_MAX
            && self.waiting.len() <= JOIN_REQUESTS_MAX
            && self.waiting.iter().all(|(fingerprint, request)| {
                *fingerprint == request.member.fingerprint()
                    && !self.revoked.contains(fingerprint)
                    && !fingerprints.contains(fingerprint)
            })
            && self.sealed.keys().all(|(epoch, node)| *epoch <= topology.secrets_epoch && hsm(node))
    }
}

impl Default for TopologyRecord {
    /// As a cluster begins.
    fn default() -> Self {
        Self {
            version: LogIndex(0),
            join_policy: JoinPolicy::Owner,
            cut_off_seconds: CUT_OFF_SECONDS_DEFAULT,
            recovery_keys: Vec::new(),
            recovery_threshold: 0,
            secrets_epoch: 1,
            rotation_due: false,
            generation: 1,
            certified_generation: 0,
            fence: 0,
        }
    }
}

impl State {
    /// All members, by number; witnesses too.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.present.values()
    }

    /// A member by its number.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.present.get(&node)
    }

    /// A member by its device key.
    #[must_use]
    pub fn member_by_key(&self, fingerprint: &Fingerprint) -> Option<&Member> {
        self.members().find(|member| member.fingerprint() == *fingerprint)
    }

    /// The number that the next member gets.
    #[must_use]
    pub fn next_node(&self) -> NodeId {
        self.progress.next_node
    }

    /// Whether a device key is a removed member's.
    #[must_use]
    pub fn is_revoked(&self, fingerprint: &Fingerprint) -> bool {
        self.members.revoked.contains(fingerprint)
    }

    /// Device keys of removed members.
    pub fn revoked(&self) -> impl Iterator<Item = &Fingerprint> {
        self.members.revoked.iter()
    }

    /// HSMs that wait for the admins' approval, by fingerprint.
    pub fn join_requests(&self) -> impl Iterator<Item = (&Fingerprint, &JoinRequest)> {
        self.members.waiting.iter()
    }

    /// How many admins have approved a request and still are admins.
    #[must_use]
    pub fn approvals(&self, request: &JoinRequest) -> usize {
        let admin = |id| self.user(id).is_some_and(|user| user.role == Role::Admin);
        request.approvals.iter().filter(|&&id| admin(id)).count()
    }

    /// The entry that last changed what members there are or where they stand.
    #[must_use]
    pub fn topology_version(&self) -> LogIndex {
        self.topology.as_ref().map_or(LogIndex(0), |topology| topology.version)
    }

    /// Who may join; the strictest before the cluster is created.
    #[must_use]
    pub fn join_policy(&self) -> JoinPolicy {
        self.topology.as_ref().map_or(JoinPolicy::Owner, |topology| topology.join_policy)
    }

    /// For how long an HSM that is cut off from the majority uses keys; `u64::MAX` is for ever.
    #[must_use]
    pub fn cut_off_seconds(&self) -> u64 {
        let topology = self.topology.as_ref();
        topology.map_or(CUT_OFF_SECONDS_DEFAULT, |topology| topology.cut_off_seconds)
    }

    /// Whose signatures recover the cluster (SubjectPublicKeyInfo, DER), and how many of them;
    /// without any it is customerCA's.
    #[must_use]
    pub fn recovery_keys(&self) -> (&[Vec<u8>], u32) {
        self.topology.as_ref().map_or((&[], 0), |topology| {
            (topology.recovery_keys.as_slice(), topology.recovery_threshold)
        })
    }

    /// The epoch of the cluster's secrets, from 1.
    #[must_use]
    pub fn secrets_epoch(&self) -> u64 {
        self.topology.as_ref().map_or(1, |topology| topology.secrets_epoch)
    }

    /// Whether a member that knew the secrets has gone and they are still the same.
    #[must_use]
    pub fn rotation_due(&self) -> bool {
        self.topology.as_ref().is_some_and(|topology| topology.rotation_due)
    }

    /// The secrets of the epochs after `epoch` that are sealed to a member, oldest first.
    pub fn rotations(&self, node: NodeId, epoch: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let after = (epoch.saturating_add(1), NodeId(0))..;
        self.members
            .sealed
            .range(after)
            .filter(move |((_, to), _)| *to == node)
            .map(|(&(epoch, _), sealed)| (epoch, sealed.as_slice()))
    }

    /// The generation of the cluster key that is to be in use, from 1. It rises when a member goes
    /// that may still have the key.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.topology.as_ref().map_or(1, |topology| topology.generation)
    }

    /// The generation that the cluster's certificate is of; 0 before the owner has signed one.
    #[must_use]
    pub fn certified_generation(&self) -> u64 {
        self.topology.as_ref().map_or(0, |topology| topology.certified_generation)
    }

    /// Whether somebody outside of the cluster may have the key that its certificate is of: until the
    /// owner signs the newest one, clients can be deceived.
    #[must_use]
    pub fn cluster_key_compromised(&self) -> bool {
        (1..self.generation()).contains(&self.certified_generation())
    }

    /// Rises with each recovery: an HSM of a lower one is of a majority that was given up.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.topology.as_ref().map_or(0, |topology| topology.fence)
    }
}
