//! Entries of the log: what may change the state, and what comes of it.

use crate::{
    ClientId, Endorsement, Fingerprint, Handle, JoinPolicy, LogIndex, LoginId, Member, Meta,
    NodeId, ObjectId, PasswordVerifier, Personality, Role, User, UserId,
};

/// On whose authority an entry was proposed. `authorise` runs on it again when it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The HSM itself (first start) or its provisioner over port 2224.
    System,
    /// A connection without a login.
    Anonymous,
    /// An open login.
    Login(LoginId),
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds since 1970, by the leader's clock. The state never goes back: an older stamp is
    /// applied as the newest seen.
    pub time_ms: u64,
    /// Which process asked.
    pub client: ClientId,
    /// The client's number of the request; with `client` the idempotency key. 0: none.
    pub sequence: u64,
    /// The client has seen the replies to all lower sequences.
    pub lowest_unanswered: u64,
    /// On whose authority.
    pub actor: Actor,
    /// What to change.
    pub command: Command,
}

/// What may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The cluster's first entry, by its first HSM (`System`).
    CreateCluster {
        /// What sealed objects name as theirs; a restored clone keeps it.
        masking_domain: [u8; 16],
        /// `cluster-…`.
        cluster_id: String,
        /// For whom the token is.
        personality: Personality,
        /// Who may join.
        join_policy: JoinPolicy,
    },
    /// The owner's certificates, already verified (`System`). Phase `Uninitialized` → `Initialized`.
    InitialiseCluster {
        /// DER.
        cluster_certificate: Vec<u8>,
        /// DER.
        trust_anchor: Vec<u8>,
    },
    /// The unactivated admin becomes an admin with this password. Phase `Initialized` → `Active`.
    ActivateCluster {
        /// Of the new password.
        verifier: PasswordVerifier,
    },
    /// Personality `token`: all objects, users and logins go; label and SO PIN are set; phase → `Active`.
    /// The engine has checked the present SO PIN where there is one.
    InitToken {
        /// 32 bytes, blank-padded.
        label: Vec<u8>,
        /// Of the SO's PIN.
        so_verifier: PasswordVerifier,
        /// The SO's epoch at the check, 0 where the token was uninitialised: refused if it has changed.
        so_epoch: u64,
    },
    /// Personality `token`: the SO sets the user's PIN (and makes the user), which also unlocks it.
    InitPin {
        /// Of the user's PIN.
        verifier: PasswordVerifier,
    },
    /// A new user.
    CreateUser {
        /// Any case; stored lower.
        name: String,
        /// `Admin` or `CryptoUser`.
        role: Role,
        /// Of the password.
        verifier: PasswordVerifier,
    },
    /// Remove a user.
    DeleteUser {
        /// Name.
        name: String,
        /// Role.
        role: Role,
    },
    /// A new password, which also unlocks the user and ends the user's logins.
    ChangePassword {
        /// Name.
        name: String,
        /// Role.
        role: Role,
        /// Of the new password.
        verifier: PasswordVerifier,
    },
    /// Counts one failed login in advance, before the hash is computed. An unknown name changes
    /// nothing and gives `Outcome::LoginCharged { user: None }`, so that it costs as much.
    ChargeLogin {
        /// Name.
        name: String,
        /// Role.
        role: Role,
    },
    /// The hash was right: gives the charges back and opens a login.
    OpenLogin {
        /// Whose.
        user: UserId,
        /// The user's epoch when the verifier was read: refused if it has changed.
        epoch: u64,
        /// The client's public key; see [`crate::Login`].
        client_key: [u8; 32],
    },
    /// A login that an HSM gave while it was cut off becomes the cluster's (`System`). The failures that
    /// it counted meanwhile were merged before. Refused if the user's epoch has changed.
    AdoptLogin {
        /// Of [`LoginId::began_apart`].
        login: LoginId,
        /// Whose.
        user: UserId,
        /// As in `OpenLogin`.
        epoch: u64,
        /// As in `OpenLogin`.
        client_key: [u8; 32],
    },
    /// The clients of these logins are connected to an HSM (`System`). Unknown ones are passed over.
    SeeLogins {
        /// At most [`crate::limits::SEEN_LOGINS_MAX`].
        logins: Vec<LoginId>,
    },
    /// The hash was right, and no login is wanted (C_SetPIN, C_InitToken): gives the charges back.
    RefundLogin {
        /// Whose.
        user: UserId,
        /// As in `OpenLogin`.
        epoch: u64,
    },
    /// Ends logins: logout, or those whose clients are gone for long (`System`).
    CloseLogins {
        /// Which; unknown ones are passed over.
        logins: Vec<LoginId>,
    },
    /// New token objects, all or none (a key pair is two).
    CreateObjects {
        /// In order of their handles.
        objects: Vec<NewObject>,
    },
    /// Remove a token object.
    DestroyObject {
        /// Which.
        handle: Handle,
    },
    /// New metadata of a token object.
    SetMeta {
        /// Which.
        handle: Handle,
        /// The object's version that the proposer saw: refused if it has changed.
        version: u64,
        /// The new metadata, made by [`crate::attributes::change`] and checked again when applied.
        meta: Meta,
    },
    /// A new member of the cluster (`System`): the first one, one that the join policy lets in, or one
    /// that rejoins because it fell behind what it once knew.
    AddMember {
        /// What it is; its number is given when this is applied.
        member: Member,
        /// On whose word; without meaning where it rejoins.
        endorsement: Endorsement,
        /// Where it rejoins: the member that it was, of the same keys. That one goes.
        replaces: Option<NodeId>,
    },
    /// An HSM waits for the admins' approval (`System`; join policy `Quorum`).
    RequestJoin {
        /// What it would be.
        member: Member,
    },
    /// An admin's word for an HSM that waits; one word each.
    ApproveJoin {
        /// Of the HSM's device key.
        fingerprint: Fingerprint,
    },
    /// A member goes (`System`). Its device key is revoked for ever.
    RemoveMember {
        /// Which.
        node: NodeId,
        /// It left a signed receipt of having destroyed its secrets. Without one the cluster needs a
        /// new key: [`crate::State::generation`] rises.
        receipt: bool,
    },
    /// A member stands elsewhere now (`System`).
    UpdateMember {
        /// Which.
        node: NodeId,
        /// As in [`Member`].
        address: String,
        /// As in [`Member`].
        port_offset: u16,
        /// As in [`Member`].
        zone: String,
    },
    /// Who may join, from now on (an admin). Whoever waits has to ask again.
    SetJoinPolicy {
        /// The policy.
        policy: JoinPolicy,
    },
    /// How long an HSM that is cut off from the majority uses keys (an admin).
    SetCutOffPolicy {
        /// 0: not at all; `u64::MAX`: for ever.
        seconds: u64,
    },
    /// Whose signatures recover a cluster that has lost its majority (an admin).
    SetRecoveryKeys {
        /// SubjectPublicKeyInfo, DER. Without any it is customerCA's.
        keys: Vec<Vec<u8>>,
        /// How many must sign; 0 without keys.
        threshold: u32,
    },
    /// New secrets for the members that there are (`System`).
    RotateSecrets {
        /// The one after [`crate::State::secrets_epoch`]; refused otherwise.
        epoch: u64,
        /// The new secrets, sealed to each member: to all that hold secrets, and to no other.
        sealed: Vec<(NodeId, Vec<u8>)>,
    },
    /// Objects masked under the newest masking key (`System`). One that is gone is passed over.
    Remask {
        /// Handle, identity, and new blob.
        objects: Vec<(Handle, ObjectId, Vec<u8>)>,
    },
    /// The owner's certificate of the cluster's newest key, already verified (an admin, or `System`).
    InstallClusterCertificate {
        /// The key's: the present one, or it is refused.
        generation: u64,
        /// DER.
        cluster_certificate: Vec<u8>,
    },
    /// Failed logins that an HSM counted while it was cut off (`System`).
    MergeFailures {
        /// User, the user's epoch as the HSM knew it, and how many.
        failures: Vec<(UserId, u64, u32)>,
    },
    /// The first entry after a recovery (`System`): all other members are gone, without a receipt.
    Recovered {
        /// Higher than any before: the old majority is behind it.
        fence: u64,
        /// Who is left.
        members: Vec<NodeId>,
    },
}

/// A token object to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    /// Random.
    pub id: ObjectId,
    /// Who will own it.
    pub owner: UserId,
    /// Metadata.
    pub meta: Meta,
    /// Key material and immutable attributes, sealed under the masking key.
    pub blob: Vec<u8>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, and nothing to say.
    Done,
    /// Of `CreateObjects`, in order.
    Created(Vec<Handle>),
    /// Of `ChargeLogin`: whom to check, or `None` for an unknown name.
    LoginCharged {
        /// The user as charged.
        user: Option<User>,
    },
    /// Of `OpenLogin`.
    LoginOpened(LoginId),
    /// Of `CreateUser`.
    UserCreated(UserId),
    /// Of `AddMember`.
    MemberAdded(NodeId),
}

/// What a store must write so that disk equals memory after one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Put a record: its key, and its value as [`crate::codec`] encodes it.
    Put {
        /// See [`crate::codec`].
        key: Vec<u8>,
        /// See [`crate::codec`].
        value: Vec<u8>,
    },
    /// Remove a record.
    Delete {
        /// See [`crate::codec`].
        key: Vec<u8>,
    },
    /// Keep a sealed blob.
    PutBlob {
        /// Whose.
        id: ObjectId,
        /// Sealed.
        blob: Vec<u8>,
    },
    /// Forget a sealed blob.
    DeleteBlob {
        /// Whose.
        id: ObjectId,
    },
    /// Forget all records and blobs (C_InitToken); the `Put`s that follow in the same list stay.
    Clear,
}

/// The log index that a login's number is made of.
impl From<LogIndex> for LoginId {
    fn from(index: LogIndex) -> Self {
        Self(index.0)
    }
}
