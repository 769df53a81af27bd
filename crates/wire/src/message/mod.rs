//! Messages of port 2223 (clients), and of the local HSM's UNIX socket.
//!
//! One request, one reply, in order, on a connection. Numbers of PKCS#11 (CKM, CKA, CKO, CKR, …)
//! travel as they are. Attribute values travel in PKCS#11's own form with a CK_ULONG as eight bytes,
//! little-endian, and a CK_BBOOL as one byte; a nested template is an encoded [`Template`].
//!
//! The same definitions stand in `proto/strongroom.proto` for other languages.

use prost::{Enumeration, Message, Oneof};

mod cluster;
mod connection;
mod object;
mod operation;
mod template;
mod user;

pub use cluster::*;
pub use connection::*;
pub use object::*;
pub use operation::*;
pub use template::*;
pub use user::*;

/// Messages that hold what nobody should find later: wiped when dropped, and shown without content.
macro_rules! secret_messages {
    ($($message:ident: $($field:ident),+;)+) => {$(
        impl Drop for $message {
            fn drop(&mut self) {
                $($crate::wipe::Wipe::wipe(&mut self.$field);)+
            }
        }

        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        }
    )+};
}
pub(crate) use secret_messages;

/// One request.
#[derive(PartialEq, Message)]
pub struct Request {
    /// The message set spoken; see [`crate::negotiate`].
    #[prost(uint32, tag = "1")]
    pub api_level: u32,
    /// The client's number of this request: rises by one for each new request of a client, and is
    /// the same when a request is sent again. With the client id it names a change for ever.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    /// The lowest sequence whose reply the client has not seen: older replies may be forgotten.
    #[prost(uint64, tag = "3")]
    pub lowest_unanswered: u64,
    /// The highest log index that the client has seen: the HSM answers from a state at least as new,
    /// unless [`Request::needs_index`] says otherwise.
    #[prost(uint64, tag = "4")]
    pub seen_index: u64,
    /// The application's session (C_OpenSession) that the request belongs to, 0 for none. Session
    /// objects belong to it.
    #[prost(uint64, tag = "5")]
    pub session: u64,
    /// The log index that the HSM must have applied before it answers, where that is lower than
    /// [`Request::seen_index`]: a use of a key does not depend on the newest of what its client has
    /// seen, and need not wait for it while a leader is elected.
    #[prost(uint64, optional, tag = "6")]
    pub needs_index: Option<u64>,
    /// What to do.
    #[prost(
        oneof = "Operation",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 60, 61, 70"
    )]
    pub operation: Option<Operation>,
}

/// What a client asks for.
#[derive(PartialEq, Oneof)]
pub enum Operation {
    /// Is the HSM there?
    #[prost(message, tag = "16")]
    Ping(Ping),
    /// The first request of a connection.
    #[prost(message, tag = "17")]
    Hello(Hello),
    /// Prove a password, get a ticket.
    #[prost(message, tag = "18")]
    Login(Login),
    /// Make this connection one of a client's, with its ticket or without.
    #[prost(message, tag = "19")]
    Attach(Attach),
    /// End the client's login on all its connections.
    #[prost(message, tag = "20")]
    Logout(Logout),
    /// Random bytes.
    #[prost(message, tag = "21")]
    Random(Random),
    /// C_GenerateKey.
    #[prost(message, tag = "22")]
    GenerateKey(GenerateKey),
    /// C_GenerateKeyPair.
    #[prost(message, tag = "23")]
    GenerateKeyPair(GenerateKeyPair),
    /// C_CreateObject.
    #[prost(message, tag = "24")]
    CreateObject(CreateObject),
    /// C_DestroyObject.
    #[prost(message, tag = "25")]
    DestroyObject(DestroyObject),
    /// C_GetAttributeValue.
    #[prost(message, tag = "26")]
    GetAttributes(GetAttributes),
    /// C_SetAttributeValue.
    #[prost(message, tag = "27")]
    SetAttributes(SetAttributes),
    /// C_FindObjects.
    #[prost(message, tag = "28")]
    FindObjects(FindObjects),
    /// C_Sign.
    #[prost(message, tag = "29")]
    Sign(Sign),
    /// C_Verify.
    #[prost(message, tag = "30")]
    Verify(Verify),
    /// C_Encrypt.
    #[prost(message, tag = "31")]
    Encrypt(Encrypt),
    /// C_Decrypt.
    #[prost(message, tag = "32")]
    Decrypt(Decrypt),
    /// C_WrapKey.
    #[prost(message, tag = "33")]
    WrapKey(WrapKey),
    /// C_UnwrapKey.
    #[prost(message, tag = "34")]
    UnwrapKey(UnwrapKey),
    /// C_DeriveKey.
    #[prost(message, tag = "35")]
    DeriveKey(DeriveKey),
    /// C_CloseSession: destroys the session's objects.
    #[prost(message, tag = "36")]
    CloseSession(CloseSession),
    /// What the HSM is.
    #[prost(message, tag = "37")]
    HsmInfo(HsmInfo),
    /// All users.
    #[prost(message, tag = "38")]
    ListUsers(ListUsers),
    /// A new user.
    #[prost(message, tag = "39")]
    CreateUser(CreateUser),
    /// Remove a user.
    #[prost(message, tag = "40")]
    DeleteUser(DeleteUser),
    /// A new password.
    #[prost(message, tag = "41")]
    ChangePassword(ChangePassword),
    /// The first admin's password.
    #[prost(message, tag = "42")]
    ActivateCluster(ActivateCluster),
    /// C_InitToken (personality `token`).
    #[prost(message, tag = "43")]
    InitToken(InitToken),
    /// C_InitPIN (personality `token`).
    #[prost(message, tag = "44")]
    InitPin(InitPin),
    /// What C_GetTokenInfo shows.
    #[prost(message, tag = "45")]
    TokenInfo(TokenInfo),
    /// C_GetMechanismList and C_GetMechanismInfo.
    #[prost(message, tag = "46")]
    ListMechanisms(ListMechanisms),
    /// C_CopyObject (personality `token`).
    #[prost(message, tag = "47")]
    CopyObject(CopyObject),
    /// Which HSMs the cluster has.
    #[prost(message, tag = "48")]
    Topology(Topology),
    /// Session objects that another HSM of the cluster made for this login.
    #[prost(message, tag = "49")]
    RestoreObjects(RestoreObjects),
    /// Members, policies and what the cluster lacks.
    #[prost(message, tag = "50")]
    ClusterInfo(ClusterInfo),
    /// Who may join.
    #[prost(message, tag = "51")]
    SetJoinPolicy(SetJoinPolicy),
    /// An admin's word for an HSM that asks to join.
    #[prost(message, tag = "52")]
    ApproveJoin(ApproveJoin),
    /// How long HSMs that are cut off go on.
    #[prost(message, tag = "53")]
    SetCutOffPolicy(SetCutOffPolicy),
    /// Whose signatures recover a cluster that lost its majority.
    #[prost(message, tag = "54")]
    SetRecoveryKeys(SetRecoveryKeys),
    /// A certificate signing request for the cluster's newest key.
    #[prost(message, tag = "55")]
    ClusterCsr(ClusterCsr),
    /// The owner's certificate for the cluster's newest key.
    #[prost(message, tag = "56")]
    InstallClusterCertificate(InstallClusterCertificate),
    /// C_EncapsulateKey.
    #[prost(message, tag = "60")]
    EncapsulateKey(EncapsulateKey),
    /// C_DecapsulateKey.
    #[prost(message, tag = "61")]
    DecapsulateKey(DecapsulateKey),
    /// A part of a MAC.
    #[prost(message, tag = "70")]
    MacPart(MacPart),
}

impl Operation {
    /// Whether the request changes replicated state, so that it must never run twice.
    #[must_use]
    pub fn is_change(&self) -> bool {
        matches!(
            self,
            Self::GenerateKey(_)
                | Self::GenerateKeyPair(_)
                | Self::CreateObject(_)
                | Self::CopyObject(_)
                | Self::DestroyObject(_)
                | Self::SetAttributes(_)
                | Self::UnwrapKey(_)
                | Self::DeriveKey(_)
                | Self::EncapsulateKey(_)
                | Self::DecapsulateKey(_)
                | Self::CreateUser(_)
                | Self::DeleteUser(_)
                | Self::ChangePassword(_)
                | Self::ActivateCluster(_)
                | Self::InitToken(_)
                | Self::InitPin(_)
                | Self::SetJoinPolicy(_)
                | Self::ApproveJoin(_)
                | Self::SetCutOffPolicy(_)
                | Self::SetRecoveryKeys(_)
                | Self::InstallClusterCertificate(_)
        )
    }
}

/// One reply.
#[derive(PartialEq, Message)]
pub struct Reply {
    /// The request's sequence.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// The log index that the answer reflects.
    #[prost(uint64, tag = "2")]
    pub log_index: u64,
    /// A CKR_ value of PKCS#11; 0 is CKR_OK.
    #[prost(uint64, tag = "3")]
    pub status: u64,
    /// Where `status` is not 0: what went wrong and what to do, without secrets.
    #[prost(string, tag = "4")]
    pub message: String,
    /// The answer. Empty where there is nothing to say but the status.
    #[prost(
        oneof = "Outcome",
        tags = "17, 18, 21, 22, 23, 26, 28, 29, 31, 37, 38, 45, 46, 48, 50, 55, 60"
    )]
    pub outcome: Option<Outcome>,
    /// Where `status` is not 0: whether the same request may do better.
    #[prost(enumeration = "Retry", tag = "5")]
    pub retry: i32,
    /// The log index of the newest change of [`Topology`] that this HSM knows.
    #[prost(uint64, tag = "6")]
    pub topology: u64,
    /// Session objects as the request left them, for the client to keep.
    #[prost(message, repeated, tag = "7")]
    pub session_objects: Vec<SessionObject>,
}

/// The answers that carry something.
#[derive(PartialEq, Oneof)]
pub enum Outcome {
    /// To [`Hello`].
    #[prost(message, tag = "17")]
    Hello(HelloReply),
    /// To [`Login`].
    #[prost(message, tag = "18")]
    Login(LoginReply),
    /// To [`Random`], [`Decrypt`], [`MacPart`], [`WrapKey`].
    #[prost(message, tag = "21")]
    Data(Data),
    /// To [`GenerateKey`], [`CreateObject`], [`CopyObject`], [`UnwrapKey`], [`DeriveKey`],
    /// [`DecapsulateKey`].
    #[prost(message, tag = "22")]
    Object(ObjectReply),
    /// To [`GenerateKeyPair`].
    #[prost(message, tag = "23")]
    Pair(PairReply),
    /// To [`GetAttributes`].
    #[prost(message, tag = "26")]
    Attributes(AttributesReply),
    /// To [`FindObjects`].
    #[prost(message, tag = "28")]
    Found(FoundReply),
    /// To [`Sign`].
    #[prost(message, tag = "29")]
    Signature(Data),
    /// To [`Encrypt`].
    #[prost(message, tag = "31")]
    Encrypted(EncryptedReply),
    /// To [`HsmInfo`].
    #[prost(message, tag = "37")]
    HsmInfo(HsmInfoReply),
    /// To [`ListUsers`].
    #[prost(message, tag = "38")]
    Users(UsersReply),
    /// To [`TokenInfo`].
    #[prost(message, tag = "45")]
    Token(TokenInfoReply),
    /// To [`ListMechanisms`].
    #[prost(message, tag = "46")]
    Mechanisms(MechanismsReply),
    /// To [`Topology`].
    #[prost(message, tag = "48")]
    Topology(TopologyReply),
    /// To [`ClusterInfo`].
    #[prost(message, tag = "50")]
    ClusterInfo(ClusterInfoReply),
    /// To [`ClusterCsr`].
    #[prost(message, tag = "55")]
    ClusterCsr(ClusterCsrReply),
    /// To [`EncapsulateKey`].
    #[prost(message, tag = "60")]
    Encapsulated(EncapsulatedReply),
}

/// Whether a request that was refused may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Retry {
    /// The answer stands: the same request gets the same one.
    Never = 0,
    /// This HSM can't now (it stops, is cut off or behind); nothing was done. Another one may.
    Elsewhere = 1,
    /// It is not known whether the change was made: ask again, here or elsewhere, under the same
    /// client id and sequence.
    Again = 2,
}

/// Which programs the token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Personality {
    /// CloudHSM: PIN `user:password`, one slot, no C_InitToken.
    CloudHsm = 0,
    /// A generic token: plain PINs, C_InitToken, C_InitPIN.
    Token = 1,
}

/// How far the cluster's set-up has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ClusterPhase {
    /// The seal is not open: only health is answered.
    Locked = 0,
    /// No owner yet (personality `token`: C_InitToken has not run).
    Uninitialized = 1,
    /// The owner's certificates are in; no admin yet.
    Initialized = 2,
    /// In use.
    Active = 3,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Role {
    /// No role: never valid in a request.
    Unspecified = 0,
    /// `admin` before activation.
    UnactivatedAdmin = 1,
    /// Manages users (CloudHSM's CO, a token's SO).
    Admin = 2,
    /// Owns and uses keys (CloudHSM's CU, a token's user).
    CryptoUser = 3,
    /// The service's own (CloudHSM's AU).
    ApplianceUser = 4,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let mut login = Login::default();
        login.password = b"canary-7f3a".to_vec();
        let request = Request { operation: Some(Operation::Login(login)), ..Request::default() };
        let text = format!("{request:?}");
        assert!(text.contains("Login"));
        assert!(!text.contains("canary") && !text.contains("99, 97, 110"), "{text}");
    }
}
