//! Joining, leaving, handing over leadership, and taking stock after a loss.

use prost::Message;

use super::{Ballot, PeerMember, Place};

/// From a leader that gives up its place.
#[derive(Clone, PartialEq, Message)]
pub struct Stand {
    /// The leader's vote, which the receiver must know.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Ballot>,
    /// The leader's last entry, which the receiver must have.
    #[prost(message, optional, tag = "2")]
    pub last: Option<Place>,
}

/// Answer to [`Stand`].
#[derive(Clone, PartialEq, Message)]
pub struct Standing {}

/// The receiver is of a newer life of the cluster.
#[derive(Clone, PartialEq, Message)]
pub struct Fenced {
    /// Its fence.
    #[prost(uint64, tag = "1")]
    pub fence: u64,
}

/// A new HSM's request.
#[derive(Clone, PartialEq, Message)]
pub struct Welcome {
    /// As the `hsm` crate encodes it.
    #[prost(bytes = "vec", tag = "1")]
    pub request: Vec<u8>,
}

/// Answer to [`Welcome`].
#[derive(Clone, PartialEq, Message)]
pub struct WelcomeReply {
    /// As the `hsm` crate encodes it.
    #[prost(bytes = "vec", tag = "1")]
    pub reply: Vec<u8>,
}

/// Tells an HSM to leave.
#[derive(Clone, PartialEq, Message)]
pub struct Leave {
    /// As the `hsm` crate encodes it.
    #[prost(bytes = "vec", tag = "1")]
    pub request: Vec<u8>,
}

/// Answer to [`Leave`].
#[derive(Clone, PartialEq, Message)]
pub struct LeaveReply {
    /// As the `hsm` crate encodes it.
    #[prost(bytes = "vec", tag = "1")]
    pub reply: Vec<u8>,
}

/// Asks a survivor how far it has come.
#[derive(Clone, PartialEq, Message)]
pub struct Survey {}

/// Answer to [`Survey`].
#[derive(Clone, PartialEq, Message)]
pub struct SurveyReply {
    /// Its last Raft entry.
    #[prost(message, optional, tag = "1")]
    pub last: Option<Place>,
    /// The last of the vault's entries that it has applied.
    #[prost(uint64, tag = "2")]
    pub applied: u64,
    /// When that was stamped, in milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub applied_ms: u64,
    /// The newest of the vault's entries that a client said it had seen.
    #[prost(uint64, tag = "4")]
    pub seen: u64,
    /// For how long it has been without a majority, in milliseconds; 0 where it is not.
    #[prost(uint64, tag = "5")]
    pub cut_off_ms: u64,
}

/// From an HSM whose disk is damaged, or older than what others saw of it, or of a life of the cluster
/// that was given up. Its device key proves which member it was.
#[derive(Clone, PartialEq, Message)]
pub struct Rejoin {}

/// Answer to [`Rejoin`].
#[derive(Clone, PartialEq, Message)]
pub struct RejoinReply {
    /// Its new node number.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// All members.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<PeerMember>,
}

/// The sender's device key is a removed member's.
#[derive(Clone, PartialEq, Message)]
pub struct Removed {}
