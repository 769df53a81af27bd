//! Messages of port 2224: administration of one HSM by the provisioner that started it.
//!
//! The port asks for the provisioner's TLS client certificate; nothing here acts without it.
//!
//! How an HSM is added: ask the new one [`DeviceInfo`], tell it with [`Join`] whose welcome to take,
//! hand what it said of itself to a member with [`AddHsm`]. Each step can be repeated.

use prost::{Enumeration, Message, Oneof};

use crate::message::{ClusterCsr, JoinRequestInfo, MemberRole, SetJoinPolicy};

/// One request to the administration port.
#[derive(Clone, PartialEq, Message)]
pub struct AdminRequest {
    /// The message set spoken; see [`crate::negotiate`].
    #[prost(uint32, tag = "1")]
    pub api_level: u32,
    /// What to do.
    #[prost(
        oneof = "AdminOperation",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29"
    )]
    pub operation: Option<AdminOperation>,
}

/// What the administration port does.
#[derive(Clone, PartialEq, Oneof)]
pub enum AdminOperation {
    /// Report the HSM's state.
    #[prost(message, tag = "16")]
    Status(Status),
    /// Give the certificate signing request of the cluster's newest key.
    #[prost(message, tag = "17")]
    ClusterCsr(ClusterCsr),
    /// Take the owner's certificates: at the cluster's initialisation, and for each newer cluster key.
    #[prost(message, tag = "18")]
    Initialize(Initialize),
    /// Stop in order: hand over leadership, finish what runs, close the store, exit.
    #[prost(message, tag = "19")]
    Shutdown(Shutdown),
    /// Say who this HSM is.
    #[prost(message, tag = "20")]
    DeviceInfo(DeviceInfo),
    /// To an HSM that waits for a cluster: whose welcome to take.
    #[prost(message, tag = "21")]
    Join(Join),
    /// To a member: let another HSM in.
    #[prost(message, tag = "22")]
    AddHsm(AddHsm),
    /// To a member: remove another one.
    #[prost(message, tag = "23")]
    RemoveHsm(RemoveHsm),
    /// To a member: leave the cluster, destroy your secrets, and say so under your device key.
    #[prost(message, tag = "24")]
    Leave(Leave),
    /// Destroy your secrets now, whatever the cluster says.
    #[prost(message, tag = "25")]
    Zeroise(Zeroise),
    /// Where a member listens now.
    #[prost(message, tag = "26")]
    UpdateAddress(UpdateAddress),
    /// After the majority is lost for ever: what has to be signed to go on without it.
    #[prost(message, tag = "27")]
    RecoveryStatement(RecoveryStatement),
    /// Go on without the majority, on the word of those who signed.
    #[prost(message, tag = "28")]
    Recover(Recover),
    /// To the leader: let another voter lead.
    #[prost(message, tag = "29")]
    TransferLeadership(TransferLeadership),
}

/// Report the HSM's state.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Status {
    /// With [`StatusReply::state_digest`].
    #[prost(bool, tag = "1")]
    pub digest: bool,
}

/// Take the owner's certificates.
#[derive(Clone, PartialEq, Message)]
pub struct Initialize {
    /// The cluster's certificate, signed by the trust anchor, PEM.
    #[prost(string, tag = "1")]
    pub signed_certificate: String,
    /// The customer's self-signed CA, PEM.
    #[prost(string, tag = "2")]
    pub trust_anchor: String,
}

/// Stop in order.
#[derive(Clone, PartialEq, Message)]
pub struct Shutdown {}

/// Say who this HSM is.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceInfo {}

/// What an HSM says of itself, under its device key.
#[derive(Clone, PartialEq, Message)]
pub struct SignedDevice {
    /// An encoded [`DeviceStatement`].
    #[prost(bytes = "vec", tag = "1")]
    pub statement: Vec<u8>,
    /// ECDSA P-256 with SHA-256, DER, by the device key over [`DEVICE_CONTEXT`] and the statement.
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
}

/// What the device key signs: this, then the statement.
pub const DEVICE_CONTEXT: &[u8] = b"strongroom device 1\0";

/// Who an HSM is, where it listens and how it can be given secrets.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceStatement {
    /// `hsm-…`.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
    /// IP address of all its ports.
    #[prost(string, tag = "2")]
    pub address: String,
    /// Added to each port.
    #[prost(uint32, tag = "3")]
    pub port_offset: u32,
    /// Availability zone; may be empty.
    #[prost(string, tag = "4")]
    pub zone: String,
    /// Whether it only votes and gets no secrets.
    #[prost(bool, tag = "5")]
    pub witness: bool,
    /// The device's certificate of ports 2224 and 2225, DER.
    #[prost(bytes = "vec", tag = "6")]
    pub device_certificate: Vec<u8>,
    /// What secrets are sealed to; empty of a witness.
    #[prost(bytes = "vec", tag = "7")]
    pub sealing_key: Vec<u8>,
    /// The running binary's version.
    #[prost(string, tag = "8")]
    pub version: String,
}

/// Whose welcome to take. Counts until the HSM is a member, and can be repeated.
#[derive(Clone, PartialEq, Message)]
pub struct Join {
    /// `cluster-…`.
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    /// SHA-256 of the device keys' SubjectPublicKeyInfo of the members that may welcome it.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub welcomers: Vec<Vec<u8>>,
    /// The owner's customerCA, PEM, where it is known: then the cluster must be the owner's. May be
    /// empty.
    #[prost(string, tag = "3")]
    pub trust_anchor: String,
}

/// Let an HSM in.
#[derive(Clone, PartialEq, Message)]
pub struct AddHsm {
    /// What the new HSM says of itself.
    #[prost(message, optional, tag = "1")]
    pub device: Option<SignedDevice>,
    /// The owner's word for it: certificates, DER, from one under customerCA down to one over the
    /// device key. Empty where the cluster's policy asks for none.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub endorsement: Vec<Vec<u8>>,
}

/// How far an HSM has come in.
#[derive(Clone, PartialEq, Message)]
pub struct AddHsmReply {
    /// Whether it is a member.
    #[prost(enumeration = "Admission", tag = "1")]
    pub admission: i32,
    /// Raft's number of it, where it is a member.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// What it waits for, in words; may be empty.
    #[prost(string, tag = "3")]
    pub message: String,
}

/// Whether an HSM is a member. A refusal is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Admission {
    /// It has the cluster's secrets, and catches up.
    Welcomed = 0,
    /// It waits for admins' approval; ask again.
    Waiting = 1,
    /// It is a member, and could not be reached with the cluster's secrets yet; ask again.
    Unreached = 2,
}

/// Remove a member.
#[derive(Clone, PartialEq, Message)]
pub struct RemoveHsm {
    /// `hsm-…`.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
    /// Also where it gives no receipt that its secrets are destroyed: then the cluster makes a new
    /// key, which the owner has to sign.
    #[prost(bool, tag = "2")]
    pub force: bool,
    /// The leaver's receipt, where the provisioner has it already; else the leaver is asked for it. May
    /// be empty.
    #[prost(bytes = "vec", tag = "3")]
    pub receipt: Vec<u8>,
}

/// How a removal ended.
#[derive(Clone, PartialEq, Message)]
pub struct RemovalReply {
    /// The leaver's word that its secrets are destroyed, signed by its device key; empty where it
    /// gave none.
    #[prost(bytes = "vec", tag = "1")]
    pub receipt: Vec<u8>,
    /// The generation of the cluster key from now on.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
}

/// Leave the cluster and destroy your secrets.
#[derive(Clone, PartialEq, Message)]
pub struct Leave {
    /// The HSM that is meant: `hsm-…`. Another one refuses.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
}

/// Destroy your secrets.
#[derive(Clone, PartialEq, Message)]
pub struct Zeroise {
    /// The HSM that is meant: `hsm-…`. Another one refuses.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
}

/// Where a member listens now. Each HSM finds its own address by itself; it is told others' when
/// many move at once and none can reach another.
#[derive(Clone, PartialEq, Message)]
pub struct UpdateAddress {
    /// `hsm-…`.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
    /// IP address of all its ports.
    #[prost(string, tag = "2")]
    pub address: String,
    /// Added to each port.
    #[prost(uint32, tag = "3")]
    pub port_offset: u32,
}

/// What has to be signed for a recovery on this HSM.
#[derive(Clone, PartialEq, Message)]
pub struct RecoveryStatement {
    /// The HSMs that are left, `hsm-…`; this one among them.
    #[prost(string, repeated, tag = "1")]
    pub survivors: Vec<String>,
}

/// What a recovery would do.
#[derive(Clone, PartialEq, Message)]
pub struct RecoveryStatementReply {
    /// What the recovery keys sign, as it stands.
    #[prost(bytes = "vec", tag = "1")]
    pub statement: Vec<u8>,
    /// What it says, in words, line by line.
    #[prost(string, repeated, tag = "2")]
    pub explanation: Vec<String>,
    /// How many signatures it needs.
    #[prost(uint32, tag = "3")]
    pub threshold: u32,
}

/// Go on without the majority.
#[derive(Clone, PartialEq, Message)]
pub struct Recover {
    /// As [`RecoveryStatementReply`] gave it.
    #[prost(bytes = "vec", tag = "1")]
    pub statement: Vec<u8>,
    /// By different keys.
    #[prost(message, repeated, tag = "2")]
    pub signatures: Vec<RecoverySignature>,
}

/// One signature of a recovery statement.
#[derive(Clone, PartialEq, Message)]
pub struct RecoverySignature {
    /// SubjectPublicKeyInfo, DER.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// With SHA-256 (SHA-384 for P-384); ECDSA in DER, RSA in PKCS#1 v1.5.
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
}

/// Let another voter lead: whichever is nearest to the log's end.
#[derive(Clone, PartialEq, Message)]
pub struct TransferLeadership {}

/// The answer to one [`AdminRequest`].
#[derive(Clone, PartialEq, Message)]
pub struct AdminReply {
    /// Empty on success; otherwise what went wrong and what to do.
    #[prost(string, tag = "1")]
    pub error: String,
    /// The HSM's state after the request.
    #[prost(message, optional, tag = "2")]
    pub status: Option<StatusReply>,
    /// The cluster's certificate signing request, PEM, where it was asked for.
    #[prost(string, tag = "3")]
    pub cluster_csr: String,
    /// To [`DeviceInfo`].
    #[prost(message, optional, tag = "4")]
    pub device: Option<SignedDevice>,
    /// To [`AddHsm`].
    #[prost(message, optional, tag = "5")]
    pub added: Option<AddHsmReply>,
    /// To [`RemoveHsm`] and [`Leave`].
    #[prost(message, optional, tag = "6")]
    pub removed: Option<RemovalReply>,
    /// To [`RecoveryStatement`].
    #[prost(message, optional, tag = "7")]
    pub recovery: Option<RecoveryStatementReply>,
}

/// One HSM's state.
#[derive(Clone, PartialEq, Message)]
pub struct StatusReply {
    /// `hsm-…`.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
    /// `cluster-…`.
    #[prost(string, tag = "2")]
    pub cluster_id: String,
    /// See [`crate::message::ClusterPhase`].
    #[prost(enumeration = "crate::message::ClusterPhase", tag = "3")]
    pub phase: i32,
    /// The last log index on disk.
    #[prost(uint64, tag = "4")]
    pub log_index: u64,
    /// Token objects.
    #[prost(uint64, tag = "5")]
    pub objects: u64,
    /// Users.
    #[prost(uint64, tag = "6")]
    pub users: u64,
    /// Open client connections.
    #[prost(uint64, tag = "7")]
    pub connections: u64,
    /// How the root secret is kept: `file`, `passphrase`, …
    #[prost(string, tag = "8")]
    pub seal: String,
    /// Process id.
    #[prost(uint64, tag = "9")]
    pub process_id: u64,
    /// Seconds since the process started.
    #[prost(uint64, tag = "10")]
    pub uptime_seconds: u64,
    /// The running binary's version.
    #[prost(string, tag = "11")]
    pub version: String,
    /// What it does now.
    #[prost(enumeration = "HsmState", tag = "12")]
    pub state: i32,
    /// Raft's number of this HSM; 0 while it is no member.
    #[prost(uint64, tag = "13")]
    pub node: u64,
    /// Its part in agreement.
    #[prost(enumeration = "MemberRole", tag = "14")]
    pub role: i32,
    /// `hsm-…` of the leader, as this HSM knows it; empty where it knows none.
    #[prost(string, tag = "15")]
    pub leader: String,
    /// Raft's term.
    #[prost(uint64, tag = "16")]
    pub term: u64,
    /// Raft's positions: the last entry that this HSM has.
    #[prost(uint64, tag = "17")]
    pub last: u64,
    /// The last one that it knows a majority to have.
    #[prost(uint64, tag = "18")]
    pub committed: u64,
    /// The last one that its state shows.
    #[prost(uint64, tag = "19")]
    pub applied: u64,
    /// For how long it has had no contact with the leader or, as the leader, with a majority, in
    /// milliseconds; 0 while it is connected.
    #[prost(uint64, tag = "20")]
    pub cut_off_ms: u64,
    /// All members, as this HSM knows them.
    #[prost(message, repeated, tag = "21")]
    pub members: Vec<MemberStatus>,
    /// HSMs that wait for admins' approval.
    #[prost(message, repeated, tag = "22")]
    pub waiting: Vec<JoinRequestInfo>,
    /// What an operator must do, in words; empty where all is well.
    #[prost(string, repeated, tag = "23")]
    pub warnings: Vec<String>,
    /// Memory of the process that is in RAM.
    #[prost(uint64, tag = "24")]
    pub memory_bytes: u64,
    /// Its availability zone; may be empty.
    #[prost(string, tag = "25")]
    pub zone: String,
    /// Whether it only votes.
    #[prost(bool, tag = "26")]
    pub witness: bool,
    /// Who may join.
    #[prost(message, optional, tag = "27")]
    pub join_policy: Option<SetJoinPolicy>,
    /// The generation of the cluster's key, from 1.
    #[prost(uint64, tag = "28")]
    pub generation: u64,
    /// The epoch of the cluster's secrets.
    #[prost(uint64, tag = "29")]
    pub secrets_epoch: u64,
    /// SHA-256 over the state at `log_index`, where it was asked for: the same on every HSM that is
    /// so far.
    #[prost(bytes = "vec", tag = "30")]
    pub state_digest: Vec<u8>,
    /// Transactions of its store since the process started, each with one fsync.
    #[prost(uint64, tag = "31")]
    pub transactions: u64,
    /// Who votes is changing, or will as soon as those who answer have caught up: the loss of one HSM may
    /// be the loss of the majority meanwhile. The leader knows; the others know of a change that is under
    /// way.
    #[prost(bool, tag = "32")]
    pub changing: bool,
}

/// What an HSM does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum HsmState {
    /// It serves, or would if the cluster had an owner.
    Serving = 0,
    /// It has no cluster yet, and waits for a welcome.
    Waiting = 1,
    /// It is a member, and has not caught up with the others yet.
    CatchingUp = 2,
    /// It is cut off from the majority: keys work for as long as the cluster's policy says.
    CutOff = 3,
    /// It is no member any more, or its secrets are destroyed: it serves nobody ever again.
    Retired = 4,
}

/// One member as another one knows it.
#[derive(Clone, PartialEq, Message)]
pub struct MemberStatus {
    /// `hsm-…`.
    #[prost(string, tag = "1")]
    pub hsm_id: String,
    /// Raft's number of it.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// IP address of all its ports.
    #[prost(string, tag = "3")]
    pub address: String,
    /// Added to each port.
    #[prost(uint32, tag = "4")]
    pub port_offset: u32,
    /// Availability zone; may be empty.
    #[prost(string, tag = "5")]
    pub zone: String,
    /// Whether it only votes and holds no keys.
    #[prost(bool, tag = "6")]
    pub witness: bool,
    /// Its part in agreement.
    #[prost(enumeration = "MemberRole", tag = "7")]
    pub role: i32,
    /// Raft entries that it lacks; only the leader knows.
    #[prost(uint64, optional, tag = "8")]
    pub lag: Option<u64>,
    /// Since it last answered, in milliseconds; only the leader knows.
    #[prost(uint64, optional, tag = "9")]
    pub last_contact_ms: Option<u64>,
    /// Its binary's version, where the two have spoken.
    #[prost(string, tag = "10")]
    pub version: String,
    /// SHA-256 of its device key's SubjectPublicKeyInfo.
    #[prost(bytes = "vec", tag = "11")]
    pub fingerprint: Vec<u8>,
}
