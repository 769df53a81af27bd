//! Connections: greeting, login, attaching, logout.

use prost::Message;

use super::{ClusterPhase, Personality, Role, secret_messages};

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
    /// Where the HSM stands: an availability zone's name, empty where nobody said.
    #[prost(string, tag = "9")]
    pub zone: String,
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

/// C_CloseSession: destroys the objects of the request's session.
#[derive(PartialEq, Message)]
pub struct CloseSession {}

secret_messages! {
    Login: password;
}
