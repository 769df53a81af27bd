//! Messages of port 2223 (clients), and of the local HSM's UNIX socket.
//!
//! One request, one reply, in order, on a connection. Numbers of PKCS#11 (CKM, CKA, CKO, CKR, …)
//! travel as they are. Attribute values travel in PKCS#11's own form with a CK_ULONG as eight bytes,
//! little-endian, and a CK_BBOOL as one byte; a nested template is an encoded [`Template`].
//!
//! The same definitions stand in `proto/strongroom.proto` for other languages.

use prost::{Enumeration, Message, Oneof};
use zeroize::Zeroize;

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
    /// The highest log index that the client has seen: the HSM answers from a state at least as new.
    #[prost(uint64, tag = "4")]
    pub seen_index: u64,
    /// The application's session (C_OpenSession) that the request belongs to, 0 for none. Session
    /// objects belong to it.
    #[prost(uint64, tag = "5")]
    pub session: u64,
    /// What to do.
    #[prost(
        oneof = "Operation",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46"
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
                | Self::DestroyObject(_)
                | Self::SetAttributes(_)
                | Self::UnwrapKey(_)
                | Self::CreateUser(_)
                | Self::DeleteUser(_)
                | Self::ChangePassword(_)
                | Self::ActivateCluster(_)
                | Self::InitToken(_)
                | Self::InitPin(_)
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
        tags = "17, 18, 21, 22, 23, 26, 28, 29, 31, 37, 38, 45, 46"
    )]
    pub outcome: Option<Outcome>,
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
    /// To [`Random`], [`Decrypt`], [`WrapKey`].
    #[prost(message, tag = "21")]
    Data(Data),
    /// To [`GenerateKey`], [`CreateObject`], [`UnwrapKey`].
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

/// Is the HSM there?
#[derive(PartialEq, Message)]
pub struct Ping {}

/// The first request of a connection.
#[derive(PartialEq, Message)]
pub struct Hello {
    /// The oldest message set that the client speaks.
    #[prost(uint32, tag = "1")]
    pub api_level_min: u32,
    /// The newest message set that the client speaks.
    #[prost(uint32, tag = "2")]
    pub api_level_max: u32,
    /// The program, for the audit log: `strongroom-pkcs11 0.1.0`.
    #[prost(string, tag = "3")]
    pub client_name: String,
}

/// Answer to [`Hello`].
#[derive(PartialEq, Message)]
pub struct HelloReply {
    /// The message set of this connection.
    #[prost(uint32, tag = "1")]
    pub api_level: u32,
    /// `hsm-…`.
    #[prost(string, tag = "2")]
    pub hsm_id: String,
    /// `cluster-…`.
    #[prost(string, tag = "3")]
    pub cluster_id: String,
    /// The set-up's phase.
    #[prost(enumeration = "ClusterPhase", tag = "4")]
    pub phase: i32,
    /// The token's personality.
    #[prost(enumeration = "Personality", tag = "5")]
    pub personality: i32,
    /// On a UNIX socket: 32 random bytes that stand for the TLS channel binding. Else empty.
    #[prost(bytes = "vec", tag = "6")]
    pub server_nonce: Vec<u8>,
    /// Whether the cluster is in FIPS mode (its rules; the software is not validated).
    #[prost(bool, tag = "7")]
    pub fips_mode: bool,
    /// HSMs in the cluster.
    #[prost(uint32, tag = "8")]
    pub hsms: u32,
}

/// Prove a password, get a ticket.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Login {
    /// User name; in personality `token`: `so` (admin) or `user` (crypto user).
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role under which to log in.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
    /// The password. Wiped when the message is dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub password: Vec<u8>,
    /// The client's fresh Ed25519 public key (32 bytes), whose private half proves the ticket.
    #[prost(bytes = "vec", tag = "4")]
    pub client_public_key: Vec<u8>,
}

/// Answer to [`Login`].
#[derive(PartialEq, Message)]
pub struct LoginReply {
    /// Opaque to the client; presented in [`Attach`].
    #[prost(bytes = "vec", tag = "1")]
    pub ticket: Vec<u8>,
    /// The user's number.
    #[prost(uint32, tag = "2")]
    pub user_id: u32,
    /// Role logged in under.
    #[prost(enumeration = "Role", tag = "3")]
    pub role: i32,
}

/// Make this connection one of a client's.
#[derive(PartialEq, Message)]
pub struct Attach {
    /// 16 random bytes, one for each process (and each child after fork).
    #[prost(bytes = "vec", tag = "1")]
    pub client_id: Vec<u8>,
    /// From [`LoginReply`]; empty for a connection without login.
    #[prost(bytes = "vec", tag = "2")]
    pub ticket: Vec<u8>,
    /// Ed25519 signature of [`crate::attach_statement`]; empty without ticket.
    #[prost(bytes = "vec", tag = "3")]
    pub proof: Vec<u8>,
}

/// End the client's login.
#[derive(PartialEq, Message)]
pub struct Logout {}

/// Random bytes.
#[derive(PartialEq, Message)]
pub struct Random {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub bytes: u32,
}

/// One attribute: CKA_ number and value.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct Attribute {
    /// CKA_ number.
    #[prost(uint64, tag = "1")]
    pub kind: u64,
    /// Value; wiped when dropped.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// A template.
#[derive(Clone, PartialEq, Message)]
pub struct Template {
    /// In the caller's order.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<Attribute>,
}

/// A mechanism and its parameter.
#[derive(Clone, PartialEq, Message)]
pub struct Mechanism {
    /// CKM_ number.
    #[prost(uint64, tag = "1")]
    pub kind: u64,
    /// Its parameter.
    #[prost(oneof = "Parameter", tags = "2, 3, 4, 5")]
    pub parameter: Option<Parameter>,
}

/// Mechanism parameters.
#[derive(Clone, PartialEq, Oneof)]
pub enum Parameter {
    /// An IV: CBC (16 bytes), key wrap (8 bytes).
    #[prost(bytes, tag = "2")]
    Iv(Vec<u8>),
    /// CK_RSA_PKCS_PSS_PARAMS.
    #[prost(message, tag = "3")]
    Pss(PssParameter),
    /// CK_GCM_PARAMS.
    #[prost(message, tag = "4")]
    Gcm(GcmParameter),
    /// CK_RSA_PKCS_OAEP_PARAMS.
    #[prost(message, tag = "5")]
    Oaep(OaepParameter),
}

/// CK_RSA_PKCS_PSS_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct PssParameter {
    /// CKM_SHA…
    #[prost(uint64, tag = "1")]
    pub hash: u64,
    /// CKG_MGF1_…
    #[prost(uint64, tag = "2")]
    pub mgf: u64,
    /// In bytes.
    #[prost(uint64, tag = "3")]
    pub salt_length: u64,
}

/// CK_GCM_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct GcmParameter {
    /// Empty or zeroed 12 bytes: the HSM makes it.
    #[prost(bytes = "vec", tag = "1")]
    pub iv: Vec<u8>,
    /// Additional authenticated data.
    #[prost(bytes = "vec", tag = "2")]
    pub aad: Vec<u8>,
    /// In bits.
    #[prost(uint32, tag = "3")]
    pub tag_bits: u32,
}

/// CK_RSA_PKCS_OAEP_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct OaepParameter {
    /// CKM_SHA…
    #[prost(uint64, tag = "1")]
    pub hash: u64,
    /// CKG_MGF1_…
    #[prost(uint64, tag = "2")]
    pub mgf: u64,
    /// The label.
    #[prost(bytes = "vec", tag = "3")]
    pub label: Vec<u8>,
}

/// C_GenerateKey.
#[derive(PartialEq, Message)]
pub struct GenerateKey {
    /// How.
    #[prost(message, optional, tag = "1")]
    pub mechanism: Option<Mechanism>,
    /// With what.
    #[prost(message, optional, tag = "2")]
    pub template: Option<Template>,
}

/// C_GenerateKeyPair.
#[derive(PartialEq, Message)]
pub struct GenerateKeyPair {
    /// How.
    #[prost(message, optional, tag = "1")]
    pub mechanism: Option<Mechanism>,
    /// The public key's template.
    #[prost(message, optional, tag = "2")]
    pub public_template: Option<Template>,
    /// The private key's template.
    #[prost(message, optional, tag = "3")]
    pub private_template: Option<Template>,
}

/// C_CreateObject.
#[derive(PartialEq, Message)]
pub struct CreateObject {
    /// With what.
    #[prost(message, optional, tag = "1")]
    pub template: Option<Template>,
}

/// C_DestroyObject.
#[derive(PartialEq, Message)]
pub struct DestroyObject {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
}

/// C_GetAttributeValue.
#[derive(PartialEq, Message)]
pub struct GetAttributes {
    /// Of which object.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// Which attributes, CKA_ numbers.
    #[prost(uint64, repeated, tag = "2")]
    pub kinds: Vec<u64>,
}

/// C_SetAttributeValue.
#[derive(PartialEq, Message)]
pub struct SetAttributes {
    /// Of which object.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// The new values.
    #[prost(message, optional, tag = "2")]
    pub template: Option<Template>,
}

/// C_FindObjects: the handles above `after` that match, in order.
#[derive(PartialEq, Message)]
pub struct FindObjects {
    /// All of these must match; empty matches all.
    #[prost(message, optional, tag = "1")]
    pub template: Option<Template>,
    /// 0 to begin; then the last handle of the page before.
    #[prost(uint64, tag = "2")]
    pub after: u64,
    /// At most so many; see [`crate::limits::FIND_HANDLES_MAX`].
    #[prost(uint32, tag = "3")]
    pub max: u32,
}

/// C_Sign.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Sign {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The data, or its digest where `prehashed`.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
    /// Whether the client has hashed already (a mechanism with a hash of its own, RSA and ECDSA).
    #[prost(bool, tag = "4")]
    pub prehashed: bool,
}

/// C_Verify.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Verify {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The data, or its digest where `prehashed`.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
    /// Whether the client has hashed already.
    #[prost(bool, tag = "4")]
    pub prehashed: bool,
    /// The signature.
    #[prost(bytes = "vec", tag = "5")]
    pub signature: Vec<u8>,
}

/// C_Encrypt, in one shot.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Encrypt {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// Plaintext; wiped when dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
}

/// Answer to [`Encrypt`].
#[derive(PartialEq, Message)]
pub struct EncryptedReply {
    /// Ciphertext (with GCM, then the tag).
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
    /// The IV that the HSM made, else empty.
    #[prost(bytes = "vec", tag = "2")]
    pub iv: Vec<u8>,
}

/// C_Decrypt, in one shot.
#[derive(PartialEq, Message)]
pub struct Decrypt {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// Ciphertext.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
}

/// C_WrapKey.
#[derive(PartialEq, Message)]
pub struct WrapKey {
    /// The wrapping key.
    #[prost(uint64, tag = "1")]
    pub wrapping_handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The key to wrap.
    #[prost(uint64, tag = "3")]
    pub handle: u64,
}

/// C_UnwrapKey.
#[derive(PartialEq, Message)]
pub struct UnwrapKey {
    /// The unwrapping key.
    #[prost(uint64, tag = "1")]
    pub wrapping_handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The wrapped key.
    #[prost(bytes = "vec", tag = "3")]
    pub wrapped: Vec<u8>,
    /// The new key's template.
    #[prost(message, optional, tag = "4")]
    pub template: Option<Template>,
}

/// C_CloseSession: destroys the objects of the request's session.
#[derive(PartialEq, Message)]
pub struct CloseSession {}

/// What the HSM is.
#[derive(PartialEq, Message)]
pub struct HsmInfo {}

/// All users.
#[derive(PartialEq, Message)]
pub struct ListUsers {}

/// A new user.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct CreateUser {
    /// Name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
    /// Password; wiped when dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub password: Vec<u8>,
}

/// Remove a user.
#[derive(PartialEq, Message)]
pub struct DeleteUser {
    /// Name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
}

/// A new password, one's own or, for an admin, another user's.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct ChangePassword {
    /// Name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
    /// The new password; wiped when dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub password: Vec<u8>,
    /// The old password, checked where given (C_SetPIN gives it); wiped when dropped.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub old_password: Option<Vec<u8>>,
}

/// The first admin's password: `admin` becomes an admin, the cluster active.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct ActivateCluster {
    /// The password; wiped when dropped.
    #[prost(bytes = "vec", tag = "1")]
    pub password: Vec<u8>,
}

/// C_InitToken: destroys all objects and users, sets SO PIN and label.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct InitToken {
    /// The SO's PIN: the present one where the token is initialised, else the new one. Wiped.
    #[prost(bytes = "vec", tag = "1")]
    pub so_pin: Vec<u8>,
    /// The token's label, 32 bytes, blank-padded.
    #[prost(bytes = "vec", tag = "2")]
    pub label: Vec<u8>,
}

/// C_InitPIN: the SO sets the user's PIN.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct InitPin {
    /// The PIN; wiped when dropped.
    #[prost(bytes = "vec", tag = "1")]
    pub pin: Vec<u8>,
}

/// What C_GetTokenInfo shows.
#[derive(PartialEq, Message)]
pub struct TokenInfo {}

/// C_GetMechanismList and C_GetMechanismInfo.
#[derive(PartialEq, Message)]
pub struct ListMechanisms {}

/// Bytes.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Data {
    /// Wiped when dropped.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// A new object.
#[derive(PartialEq, Message)]
pub struct ObjectReply {
    /// Its handle.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
}

/// A new key pair.
#[derive(PartialEq, Message)]
pub struct PairReply {
    /// The public key's handle.
    #[prost(uint64, tag = "1")]
    pub public_handle: u64,
    /// The private key's handle.
    #[prost(uint64, tag = "2")]
    pub private_handle: u64,
}

/// One attribute's value or why there is none.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct AttributeReply {
    /// CKA_ number.
    #[prost(uint64, tag = "1")]
    pub kind: u64,
    /// CKR_OK, CKR_ATTRIBUTE_SENSITIVE or CKR_ATTRIBUTE_TYPE_INVALID.
    #[prost(uint64, tag = "2")]
    pub status: u64,
    /// The value; wiped when dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub value: Vec<u8>,
}

/// Answer to [`GetAttributes`], in the request's order.
#[derive(PartialEq, Message)]
pub struct AttributesReply {
    /// One for each that was asked for.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<AttributeReply>,
}

/// Answer to [`FindObjects`].
#[derive(PartialEq, Message)]
pub struct FoundReply {
    /// Handles, rising.
    #[prost(uint64, repeated, tag = "1")]
    pub handles: Vec<u64>,
    /// Whether more may follow.
    #[prost(bool, tag = "2")]
    pub more: bool,
}

/// Answer to [`HsmInfo`].
#[derive(PartialEq, Message)]
pub struct HsmInfoReply {
    /// Who made it.
    #[prost(string, tag = "1")]
    pub vendor: String,
    /// Model.
    #[prost(string, tag = "2")]
    pub model: String,
    /// Serial number: the HSM's id.
    #[prost(string, tag = "3")]
    pub serial_number: String,
    /// Software version, major.
    #[prost(uint32, tag = "4")]
    pub version_major: u32,
    /// Software version, minor.
    #[prost(uint32, tag = "5")]
    pub version_minor: u32,
    /// Software version, build.
    #[prost(uint32, tag = "6")]
    pub version_build: u32,
    /// Whether FIPS mode's rules hold.
    #[prost(bool, tag = "7")]
    pub fips_mode: bool,
}

/// One user.
#[derive(PartialEq, Message)]
pub struct UserReply {
    /// Name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
    /// Whether too many logins failed.
    #[prost(bool, tag = "3")]
    pub locked: bool,
    /// The user's number.
    #[prost(uint32, tag = "4")]
    pub id: u32,
    /// Failed logins since the last good one.
    #[prost(uint32, tag = "5")]
    pub failures: u32,
}

/// Answer to [`ListUsers`].
#[derive(PartialEq, Message)]
pub struct UsersReply {
    /// By number.
    #[prost(message, repeated, tag = "1")]
    pub users: Vec<UserReply>,
}

/// Answer to [`TokenInfo`].
#[derive(PartialEq, Message)]
pub struct TokenInfoReply {
    /// 32 bytes, blank-padded.
    #[prost(bytes = "vec", tag = "1")]
    pub label: Vec<u8>,
    /// Whether the token is initialised.
    #[prost(bool, tag = "2")]
    pub initialized: bool,
    /// Whether the user's PIN is set.
    #[prost(bool, tag = "3")]
    pub user_pin_set: bool,
    /// Whether the user is locked.
    #[prost(bool, tag = "4")]
    pub user_locked: bool,
    /// Failed logins of the user.
    #[prost(uint32, tag = "5")]
    pub user_failures: u32,
    /// Whether the SO is locked.
    #[prost(bool, tag = "6")]
    pub so_locked: bool,
    /// Failed logins of the SO.
    #[prost(uint32, tag = "7")]
    pub so_failures: u32,
    /// The serial number: 16 characters at most.
    #[prost(string, tag = "8")]
    pub serial_number: String,
}

/// One mechanism that the HSM offers.
#[derive(PartialEq, Message)]
pub struct MechanismReply {
    /// CKM_ number.
    #[prost(uint64, tag = "1")]
    pub kind: u64,
    /// CK_MECHANISM_INFO.ulMinKeySize.
    #[prost(uint64, tag = "2")]
    pub min_key_size: u64,
    /// CK_MECHANISM_INFO.ulMaxKeySize.
    #[prost(uint64, tag = "3")]
    pub max_key_size: u64,
    /// CK_MECHANISM_INFO.flags.
    #[prost(uint64, tag = "4")]
    pub flags: u64,
}

/// Answer to [`ListMechanisms`].
#[derive(PartialEq, Message)]
pub struct MechanismsReply {
    /// In the table's order.
    #[prost(message, repeated, tag = "1")]
    pub mechanisms: Vec<MechanismReply>,
}

/// Messages that hold what nobody should find later: wiped when dropped, and shown without content.
macro_rules! secret_messages {
    ($($message:ident: $($field:ident),+;)+) => {$(
        impl Drop for $message {
            fn drop(&mut self) {
                $(self.$field.zeroize();)+
            }
        }

        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        }
    )+};
}

secret_messages! {
    Login: password;
    CreateUser: password;
    ChangePassword: password, old_password;
    ActivateCluster: password;
    InitToken: so_pin;
    InitPin: pin;
    Attribute: value;
    AttributeReply: value;
    Encrypt: data;
    Sign: data;
    Verify: data;
    Data: data;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let mut login = Login::default();
        login.password = b"canary-7f3a".to_vec();
        let request = Request {
            operation: Some(Operation::Login(login)),
            ..Request::default()
        };
        let text = format!("{request:?}");
        assert!(text.contains("Login"));
        assert!(
            !text.contains("canary") && !text.contains("99, 97, 110"),
            "{text}"
        );
    }
}
