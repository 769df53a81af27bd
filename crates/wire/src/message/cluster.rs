//! The cluster: which HSMs there are, who may join, what becomes of session objects when one is lost.

use prost::{Enumeration, Message};

/// Which HSMs does the cluster have? Answered before a login too: an application has to know where
/// else to go when it can't log in here.
#[derive(PartialEq, Message)]
pub struct Topology {}

/// Answer to [`Topology`].
#[derive(Clone, PartialEq, Message)]
pub struct TopologyReply {
    /// The log index of the last change: [`super::Reply::topology`] rises with it.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// The HSMs that serve clients; no witness is among them.
    #[prost(message, repeated, tag = "2")]
    pub hsms: Vec<TopologyHsm>,
}

/// Where clients find one HSM.
#[derive(Clone, PartialEq, Message)]
pub struct TopologyHsm {
    /// `hsm-…`.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
    /// IP address.
    #[prost(string, tag = "2")]
    pub address: String,
    /// Port of clients.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// Availability zone; may be empty.
    #[prost(string, tag = "4")]
    pub zone: String,
}

/// A session object as its client keeps it: so that it can be put onto another HSM when its own dies.
#[derive(Clone, PartialEq, Message)]
pub struct SessionObject {
    /// Its handle, the same on every HSM.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// The application's session that it belongs to.
    #[prost(uint64, tag = "2")]
    pub session: u64,
    /// Rises with each change of the object.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// All of it, masked under a key of the client's login. Opens on every HSM of the cluster, for
    /// this client and login alone.
    #[prost(bytes = "vec", tag = "4")]
    pub blob: Vec<u8>,
}

/// Puts session objects onto this HSM, in place of older versions of them.
#[derive(Clone, PartialEq, Message)]
pub struct RestoreObjects {
    /// As replies gave them.
    #[prost(message, repeated, tag = "1")]
    pub objects: Vec<SessionObject>,
}

/// Members, policies and what the cluster lacks. Needs no login.
#[derive(PartialEq, Message)]
pub struct ClusterInfo {}

/// Answer to [`ClusterInfo`].
#[derive(Clone, PartialEq, Message)]
pub struct ClusterInfoReply {
    /// All members, witnesses too.
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<MemberInfo>,
    /// Who may join.
    #[prost(message, optional, tag = "2")]
    pub join_policy: Option<SetJoinPolicy>,
    /// HSMs that have asked to join and wait for admins' approval.
    #[prost(message, repeated, tag = "3")]
    pub waiting: Vec<JoinRequestInfo>,
    /// How long cut-off HSMs go on.
    #[prost(message, optional, tag = "4")]
    pub cut_off_policy: Option<SetCutOffPolicy>,
    /// What an operator must do, in words; empty where all is well.
    #[prost(string, repeated, tag = "5")]
    pub warnings: Vec<String>,
    /// The generation of the cluster's key, from 1.
    #[prost(uint64, tag = "6")]
    pub generation: u64,
    /// Whose signatures recover the cluster.
    #[prost(message, optional, tag = "7")]
    pub recovery_keys: Option<SetRecoveryKeys>,
}

/// One member.
#[derive(Clone, PartialEq, Message)]
pub struct MemberInfo {
    /// `hsm-…`.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
    /// Raft's number.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// IP address.
    #[prost(string, tag = "3")]
    pub address: String,
    /// Port of clients.
    #[prost(uint32, tag = "4")]
    pub port: u32,
    /// Availability zone; may be empty.
    #[prost(string, tag = "5")]
    pub zone: String,
    /// SHA-256 of the device key's SubjectPublicKeyInfo.
    #[prost(bytes = "vec", tag = "6")]
    pub fingerprint: Vec<u8>,
    /// Whether it only votes and holds no keys.
    #[prost(bool, tag = "7")]
    pub witness: bool,
    /// Its part in agreement, as this HSM knows it.
    #[prost(enumeration = "MemberRole", tag = "8")]
    pub role: i32,
    /// Entries of the log that it lacks, where the leader is asked; else 0.
    #[prost(uint64, tag = "9")]
    pub lag: u64,
}

/// A member's part in agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum MemberRole {
    /// Gets the log, and has no vote.
    Learner = 0,
    /// Votes.
    Voter = 1,
    /// Votes, and orders the log.
    Leader = 2,
}

/// An HSM that has asked to join.
#[derive(Clone, PartialEq, Message)]
pub struct JoinRequestInfo {
    /// `hsm-…`, as it calls itself.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
    /// IP address.
    #[prost(string, tag = "2")]
    pub address: String,
    /// SHA-256 of the device key's SubjectPublicKeyInfo: what admins compare and approve.
    #[prost(bytes = "vec", tag = "3")]
    pub fingerprint: Vec<u8>,
    /// Admins that have approved.
    #[prost(string, repeated, tag = "4")]
    pub approved_by: Vec<String>,
}

/// Who may join. By an admin.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SetJoinPolicy {
    /// The policy.
    #[prost(enumeration = "JoinPolicy", tag = "1")]
    pub policy: i32,
    /// For [`JoinPolicy::Quorum`]: how many admins must approve.
    #[prost(uint32, tag = "2")]
    pub approvals: u32,
}

/// Who says that an HSM may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum JoinPolicy {
    /// The provisioner alone: whoever runs the control plane can add an HSM and so read keys.
    Automatic = 0,
    /// The owner: the HSM's host bears a certificate under the owner's join key.
    Owner = 1,
    /// So many admins, by the HSM's fingerprint.
    Quorum = 2,
}

/// An admin's word for an HSM that asks to join. By an admin; one word each.
#[derive(Clone, PartialEq, Message)]
pub struct ApproveJoin {
    /// Of the HSM's device key.
    #[prost(bytes = "vec", tag = "1")]
    pub fingerprint: Vec<u8>,
}

/// How long an HSM that is cut off from the majority goes on using keys. By an admin.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SetCutOffPolicy {
    /// Seconds; 0 for not at all, `u64::MAX` for ever. 3,600 by default.
    #[prost(uint64, tag = "1")]
    pub seconds: u64,
}

/// Whose signatures recover a cluster that has lost its majority. By an admin. Without such keys it
/// is customerCA's.
#[derive(Clone, PartialEq, Message)]
pub struct SetRecoveryKeys {
    /// SubjectPublicKeyInfo, DER, of the keys that may sign: P-256, P-384 or RSA from 2048 bits.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub keys: Vec<Vec<u8>>,
    /// How many of them must.
    #[prost(uint32, tag = "2")]
    pub threshold: u32,
}

/// A request for the cluster's newest key, after an HSM was removed without a receipt.
#[derive(Clone, PartialEq, Message)]
pub struct ClusterCsr {}

/// Answer to [`ClusterCsr`].
#[derive(Clone, PartialEq, Message)]
pub struct ClusterCsrReply {
    /// PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// The key's generation.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
}

/// The owner's certificate for the cluster's newest key. By an admin.
#[derive(Clone, PartialEq, Message)]
pub struct InstallClusterCertificate {
    /// PEM, signed by the trust anchor.
    #[prost(string, tag = "1")]
    pub signed_certificate: String,
}
