//! The protobuf messages, as they stand on disk. Tags are for ever: a field that goes leaves its
//! tag unused.

use prost::{Message, Oneof};
use zeroize::Zeroize;

use super::cluster_messages as cluster;

/// One entry of the log.
#[derive(PartialEq, Message)]
pub(super) struct Entry {
    #[prost(uint64, tag = "1")]
    pub(super) time_ms: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) client: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(super) sequence: u64,
    #[prost(uint64, tag = "4")]
    pub(super) lowest_unanswered: u64,
    /// 1 the system, 2 anonymous, 3 a login.
    #[prost(uint32, tag = "5")]
    pub(super) actor: u32,
    /// Of actor 3.
    #[prost(uint64, tag = "6")]
    pub(super) login: u64,
    #[prost(
        oneof = "Command",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45"
    )]
    pub(super) command: Option<Command>,
}

/// What to change.
#[derive(PartialEq, Oneof)]
pub(super) enum Command {
    #[prost(message, tag = "16")]
    CreateCluster(CreateCluster),
    #[prost(message, tag = "17")]
    InitialiseCluster(InitialiseCluster),
    #[prost(message, tag = "18")]
    ActivateCluster(Verifier),
    #[prost(message, tag = "19")]
    InitToken(InitToken),
    #[prost(message, tag = "20")]
    InitPin(Verifier),
    #[prost(message, tag = "21")]
    CreateUser(NamedUser),
    #[prost(message, tag = "22")]
    DeleteUser(NamedUser),
    #[prost(message, tag = "23")]
    ChangePassword(NamedUser),
    #[prost(message, tag = "24")]
    ChargeLogin(NamedUser),
    #[prost(message, tag = "25")]
    OpenLogin(Login),
    #[prost(message, tag = "26")]
    RefundLogin(UserEpoch),
    #[prost(message, tag = "27")]
    CloseLogins(Numbers),
    #[prost(message, tag = "28")]
    CreateObjects(CreateObjects),
    #[prost(message, tag = "29")]
    DestroyObject(Number),
    #[prost(message, tag = "30")]
    SetMeta(SetMeta),
    #[prost(message, tag = "31")]
    AddMember(cluster::AddMember),
    #[prost(message, tag = "32")]
    RequestJoin(cluster::Member),
    #[prost(message, tag = "33")]
    ApproveJoin(cluster::Bytes),
    #[prost(message, tag = "34")]
    RemoveMember(cluster::RemoveMember),
    #[prost(message, tag = "35")]
    UpdateMember(cluster::UpdateMember),
    #[prost(message, tag = "36")]
    SetJoinPolicy(cluster::JoinPolicy),
    #[prost(message, tag = "37")]
    SetCutOffPolicy(Number),
    #[prost(message, tag = "38")]
    SetRecoveryKeys(cluster::RecoveryKeys),
    #[prost(message, tag = "39")]
    RotateSecrets(cluster::RotateSecrets),
    #[prost(message, tag = "40")]
    Remask(cluster::Remask),
    #[prost(message, tag = "41")]
    InstallClusterCertificate(cluster::InstallClusterCertificate),
    #[prost(message, tag = "42")]
    MergeFailures(cluster::MergeFailures),
    #[prost(message, tag = "43")]
    Recovered(cluster::Recovered),
    #[prost(message, tag = "44")]
    AdoptLogin(Login),
    #[prost(message, tag = "45")]
    SeeLogins(Numbers),
}

#[derive(PartialEq, Message)]
pub(super) struct CreateCluster {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) masking_domain: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) cluster_id: String,
    #[prost(uint32, tag = "3")]
    pub(super) personality: u32,
    #[prost(message, optional, tag = "4")]
    pub(super) join_policy: Option<cluster::JoinPolicy>,
}

#[derive(PartialEq, Message)]
pub(super) struct InitialiseCluster {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) cluster_certificate: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) trust_anchor: Vec<u8>,
}

/// A password's verifier; wiped when dropped.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Verifier {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) phc: Vec<u8>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.phc.zeroize();
    }
}

#[derive(PartialEq, Message)]
pub(super) struct InitToken {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) label: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(super) so_verifier: Option<Verifier>,
    #[prost(uint64, tag = "3")]
    pub(super) so_epoch: u64,
}

#[derive(PartialEq, Message)]
pub(super) struct NamedUser {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint32, tag = "2")]
    pub(super) role: u32,
    #[prost(message, optional, tag = "3")]
    pub(super) verifier: Option<Verifier>,
}

#[derive(PartialEq, Message)]
pub(super) struct UserEpoch {
    #[prost(uint32, tag = "1")]
    pub(super) user: u32,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
}

/// A login, in a command and in a record, where its number is the record's key.
#[derive(PartialEq, Message)]
pub(super) struct Login {
    #[prost(uint32, tag = "1")]
    pub(super) user: u32,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) client_key: Vec<u8>,
    /// Of a record.
    #[prost(uint64, tag = "4")]
    pub(super) seen_ms: u64,
    /// Of `AdoptLogin`.
    #[prost(uint64, tag = "5")]
    pub(super) id: u64,
}

#[derive(PartialEq, Message)]
pub(super) struct Number {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
}

#[derive(PartialEq, Message)]
pub(super) struct Numbers {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) numbers: Vec<u64>,
}

#[derive(PartialEq, Message)]
pub(super) struct CreateObjects {
    #[prost(message, repeated, tag = "1")]
    pub(super) objects: Vec<NewObject>,
}

#[derive(PartialEq, Message)]
pub(super) struct NewObject {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) owner: u32,
    #[prost(message, optional, tag = "3")]
    pub(super) meta: Option<Meta>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) blob: Vec<u8>,
}

#[derive(PartialEq, Message)]
pub(super) struct SetMeta {
    #[prost(uint64, tag = "1")]
    pub(super) handle: u64,
    #[prost(uint64, tag = "2")]
    pub(super) version: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) meta: Option<Meta>,
}

#[derive(PartialEq, Message)]
pub(super) struct Meta {
    #[prost(uint64, tag = "1")]
    pub(super) class: u64,
    #[prost(uint64, optional, tag = "2")]
    pub(super) key_type: Option<u64>,
    #[prost(uint32, tag = "3")]
    pub(super) flags: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) label: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) cka_id: Vec<u8>,
    #[prost(uint32, tag = "6")]
    pub(super) size_bits: u32,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(super) check_value: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "8")]
    pub(super) generated_by: Option<u64>,
    #[prost(message, repeated, tag = "9")]
    pub(super) more: Vec<More>,
}

#[derive(PartialEq, Message)]
pub(super) struct More {
    #[prost(uint64, tag = "1")]
    pub(super) kind: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// What an entry gave.
#[derive(PartialEq, Message)]
pub(super) struct Reply {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) answer: Option<Answer>,
}

#[derive(PartialEq, Oneof)]
pub(super) enum Answer {
    #[prost(message, tag = "1")]
    Refused(Refused),
    #[prost(message, tag = "2")]
    Done(Done),
    #[prost(message, tag = "3")]
    Created(Numbers),
    #[prost(message, tag = "4")]
    LoginCharged(LoginCharged),
    #[prost(uint64, tag = "5")]
    LoginOpened(u64),
    #[prost(uint32, tag = "6")]
    UserCreated(u32),
    #[prost(uint64, tag = "7")]
    MemberAdded(u64),
}

#[derive(PartialEq, Message)]
pub(super) struct Done {}

#[derive(PartialEq, Message)]
pub(super) struct Refused {
    #[prost(uint64, tag = "1")]
    pub(super) ckr: u64,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

#[derive(PartialEq, Message)]
pub(super) struct LoginCharged {
    #[prost(message, optional, tag = "1")]
    pub(super) user: Option<User>,
}

#[derive(PartialEq, Message)]
pub(super) struct User {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(uint32, tag = "3")]
    pub(super) role: u32,
    #[prost(message, optional, tag = "4")]
    pub(super) verifier: Option<Verifier>,
    #[prost(uint32, tag = "5")]
    pub(super) failures: u32,
    #[prost(uint64, tag = "6")]
    pub(super) epoch: u64,
}

#[derive(PartialEq, Message)]
pub(super) struct Progress {
    #[prost(uint64, tag = "1")]
    pub(super) applied: u64,
    #[prost(uint64, tag = "2")]
    pub(super) time_ms: u64,
    #[prost(uint64, tag = "3")]
    pub(super) next_handle: u64,
    #[prost(uint32, tag = "4")]
    pub(super) next_user: u32,
    #[prost(uint64, tag = "5")]
    pub(super) next_node: u64,
}

#[derive(PartialEq, Message)]
pub(super) struct Cluster {
    #[prost(string, tag = "1")]
    pub(super) cluster_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) masking_domain: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(super) personality: u32,
    #[prost(uint32, tag = "4")]
    pub(super) phase: u32,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(super) cluster_certificate: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(super) trust_anchor: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) token_label: Vec<u8>,
}

#[derive(PartialEq, Message)]
pub(super) struct Object {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) owner: u32,
    #[prost(uint64, tag = "3")]
    pub(super) version: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) meta: Option<Meta>,
}

#[derive(PartialEq, Message)]
pub(super) struct Client {
    #[prost(uint64, tag = "1")]
    pub(super) used: u64,
    #[prost(uint64, tag = "2")]
    pub(super) used_ms: u64,
    #[prost(uint64, tag = "3")]
    pub(super) floor: u64,
    /// First and last of each run, in turn.
    #[prost(uint64, repeated, tag = "4")]
    pub(super) forgotten: Vec<u64>,
}
