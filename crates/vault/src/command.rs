//! Entries of the log: what may change the state, and what comes of it.

use crate::{
    ClientId, Handle, LogIndex, LoginId, Meta, ObjectId, PasswordVerifier, Personality, Role, User,
    UserId,
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
