//! Messages of port 2224: administration of one HSM by the provisioner that started it.
//!
//! The port asks for the provisioner's TLS client certificate; nothing here acts without it.

use prost::{Message, Oneof};

/// One request to the administration port.
#[derive(Clone, PartialEq, Message)]
pub struct AdminRequest {
    /// The message set spoken; see [`crate::negotiate`].
    #[prost(uint32, tag = "1")]
    pub api_level: u32,
    /// What to do.
    #[prost(oneof = "AdminOperation", tags = "16, 17, 18, 19")]
    pub operation: Option<AdminOperation>,
}

/// What the administration port does.
#[derive(Clone, PartialEq, Oneof)]
pub enum AdminOperation {
    /// Report the HSM's state.
    #[prost(message, tag = "16")]
    Status(Status),
    /// Give the cluster's certificate signing request. Only before initialisation.
    #[prost(message, tag = "17")]
    ClusterCsr(ClusterCsr),
    /// Take the owner's certificates. Only before initialisation.
    #[prost(message, tag = "18")]
    Initialize(Initialize),
    /// Stop in order: finish what runs, close the store, exit.
    #[prost(message, tag = "19")]
    Shutdown(Shutdown),
}

/// Report the HSM's state.
#[derive(Clone, PartialEq, Message)]
pub struct Status {}

/// Give the cluster's certificate signing request.
#[derive(Clone, PartialEq, Message)]
pub struct ClusterCsr {}

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
}
