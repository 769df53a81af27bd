//! A snapshot on its way to an HSM that is too far behind for the log.

use prost::Message;

use super::{Ballot, Place};

/// The head of a snapshot.
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotBegin {
    /// The leader's vote.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Ballot>,
    /// The last entry that it contains.
    #[prost(message, optional, tag = "2")]
    pub last: Option<Place>,
    /// Where its membership stands in the log.
    #[prost(message, optional, tag = "3")]
    pub membership_place: Option<Place>,
    /// Its membership, as a log entry's payload.
    #[prost(bytes = "vec", tag = "4")]
    pub membership: Vec<u8>,
    /// Its name: where it stands.
    #[prost(string, tag = "5")]
    pub id: String,
    /// The epoch of `secrets`; 0: none are here.
    #[prost(uint64, tag = "6")]
    pub secrets_epoch: u64,
    /// The cluster's newest secrets as they were sealed to the receiver: it cannot open the chunks
    /// without them where it was away when they were made.
    #[prost(bytes = "vec", tag = "7")]
    pub secrets: Vec<u8>,
    /// To a witness alone: what it gives each HSM with this snapshot, where it comes to that.
    #[prost(message, optional, tag = "8")]
    pub copies: Option<SecretsCopies>,
}

/// The cluster's newest secrets as they were sealed to each HSM. Who passes them on opens none of them.
#[derive(Clone, PartialEq, Message)]
pub struct SecretsCopies {
    /// One for each HSM.
    #[prost(message, repeated, tag = "1")]
    pub copies: Vec<SecretsCopy>,
}

/// One HSM's copy.
#[derive(Clone, PartialEq, Message)]
pub struct SecretsCopy {
    /// Whose.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// The epoch of `secrets`.
    #[prost(uint64, tag = "2")]
    pub secrets_epoch: u64,
    /// Sealed to that HSM.
    #[prost(bytes = "vec", tag = "3")]
    pub secrets: Vec<u8>,
}

/// A piece of a snapshot.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct SnapshotChunk {
    /// Of which snapshot.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its number, from 0.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// Sealed under the cluster's log key.
    #[prost(bytes = "vec", tag = "3")]
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for SnapshotChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotChunk")
            .field("id", &self.id)
            .field("number", &self.number)
            .field("sealed_bytes", &self.sealed.len())
            .finish()
    }
}

/// The end of a snapshot.
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotEnd {
    /// Of which snapshot.
    #[prost(string, tag = "1")]
    pub id: String,
    /// How many chunks it has.
    #[prost(uint64, tag = "2")]
    pub chunks: u64,
}

/// The receiver has it.
#[derive(Clone, PartialEq, Message)]
pub struct Received {}

/// Answer to [`SnapshotEnd`].
#[derive(Clone, PartialEq, Message)]
pub struct Installed {
    /// The receiver's vote: where it is newer than the leader's, nothing was installed.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Ballot>,
}
