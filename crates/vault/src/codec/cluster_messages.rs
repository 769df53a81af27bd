//! The protobuf messages of members and policies, as they stand on disk. Tags are for ever.

use prost::Message;

#[derive(PartialEq, Message)]
pub(super) struct Member {
    #[prost(uint64, tag = "1")]
    pub(super) node: u64,
    #[prost(string, tag = "2")]
    pub(super) hsm_id: String,
    #[prost(bool, tag = "3")]
    pub(super) witness: bool,
    #[prost(string, tag = "4")]
    pub(super) address: String,
    #[prost(uint32, tag = "5")]
    pub(super) port_offset: u32,
    #[prost(string, tag = "6")]
    pub(super) zone: String,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) device_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) sealing_key: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct JoinPolicy {
    /// 1 automatic, 2 owner, 3 quorum.
    #[prost(uint32, tag = "1")]
    pub(super) policy: u32,
    /// Of policy 3.
    #[prost(uint32, tag = "2")]
    pub(super) approvals: u32,
}

#[derive(PartialEq, Message)]
pub(super) struct AddMember {
    #[prost(message, optional, tag = "1")]
    pub(super) member: Option<Member>,
    /// 1 the provisioner, 2 the owner, 3 admins.
    #[prost(uint32, tag = "2")]
    pub(super) endorsement: u32,
    /// Of endorsement 2.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) certificate: Vec<u8>,
    #[prost(uint64, optional, tag = "4")]
    pub(super) replaces: Option<u64>,
}

#[derive(PartialEq, Message)]
pub(super) struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RemoveMember {
    #[prost(uint64, tag = "1")]
    pub(super) node: u64,
    #[prost(bool, tag = "2")]
    pub(super) receipt: bool,
}

#[derive(PartialEq, Message)]
pub(super) struct UpdateMember {
    #[prost(uint64, tag = "1")]
    pub(super) node: u64,
    #[prost(string, tag = "2")]
    pub(super) address: String,
    #[prost(uint32, tag = "3")]
    pub(super) port_offset: u32,
    #[prost(string, tag = "4")]
    pub(super) zone: String,
}

#[derive(PartialEq, Message)]
pub(super) struct RecoveryKeys {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) keys: Vec<Vec<u8>>,
    #[prost(uint32, tag = "2")]
    pub(super) threshold: u32,
}

#[derive(PartialEq, Message)]
pub(super) struct RotateSecrets {
    #[prost(uint64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) sealed: Vec<Sealed>,
}

#[derive(PartialEq, Message)]
pub(super) struct Sealed {
    #[prost(uint64, tag = "1")]
    pub(super) node: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) sealed: Vec<u8>,
}

#[derive(PartialEq, Message)]
pub(super) struct Remask {
    #[prost(message, repeated, tag = "1")]
    pub(super) objects: Vec<Remasked>,
}

#[derive(PartialEq, Message)]
pub(super) struct Remasked {
    #[prost(uint64, tag = "1")]
    pub(super) handle: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) blob: Vec<u8>,
}

#[derive(PartialEq, Message)]
pub(super) struct InstallClusterCertificate {
    #[prost(uint64, tag = "1")]
    pub(super) generation: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) cluster_certificate: Vec<u8>,
}

#[derive(PartialEq, Message)]
pub(super) struct MergeFailures {
    #[prost(message, repeated, tag = "1")]
    pub(super) failures: Vec<Failures>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Failures {
    #[prost(uint32, tag = "1")]
    pub(super) user: u32,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(uint32, tag = "3")]
    pub(super) count: u32,
}

#[derive(PartialEq, Message)]
pub(super) struct Recovered {
    #[prost(uint64, tag = "1")]
    pub(super) fence: u64,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) members: Vec<u64>,
}

/// Record: the one of table 7.
#[derive(PartialEq, Message)]
pub(super) struct Topology {
    #[prost(uint64, tag = "1")]
    pub(super) version: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) join_policy: Option<JoinPolicy>,
    #[prost(uint64, tag = "3")]
    pub(super) cut_off_seconds: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) recovery_keys: Option<RecoveryKeys>,
    #[prost(uint64, tag = "5")]
    pub(super) secrets_epoch: u64,
    #[prost(bool, tag = "6")]
    pub(super) rotation_due: bool,
    #[prost(uint64, tag = "7")]
    pub(super) generation: u64,
    #[prost(uint64, tag = "8")]
    pub(super) certified_generation: u64,
    #[prost(uint64, tag = "9")]
    pub(super) fence: u64,
}

/// Record: an HSM that waits.
#[derive(PartialEq, Message)]
pub(super) struct JoinRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) member: Option<Member>,
    #[prost(uint64, tag = "2")]
    pub(super) requested_ms: u64,
    #[prost(uint32, repeated, tag = "3")]
    pub(super) approvals: Vec<u32>,
}

/// Record: a key that says all.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Nothing {}
