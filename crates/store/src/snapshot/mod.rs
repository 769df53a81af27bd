//! Snapshots: a store's records and blobs as a stream, from one HSM to another. Specified in
//! `docs/spec/log.md`, section "Snapshots".
//!
//! In: a store, read in a transaction of its own while the writer goes on; or the chunks of another
//! HSM's. Out: chunks of at most [`CHUNK_BYTES_MAX`]; or the store, whose state, log and position are
//! then the snapshot's, all in one transaction. Neither side holds more than a chunk and a row in
//! memory. The chunks are plaintext: they must not leave the HSM unsealed.

mod install;
mod reader;
pub(crate) mod stream;

pub use reader::SnapshotReader;
pub use stream::CHUNK_BYTES_MAX;

use strongroom_vault::LogIndex;

use crate::Position;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The log entry up to which all is in it.
    pub position: Position,
    /// The members up to there, in the replication's form.
    pub membership: Vec<u8>,
    /// The vault's last entry.
    pub index: LogIndex,
    /// How many records follow.
    pub records: u64,
    /// How many blobs follow.
    pub blobs: u64,
}
