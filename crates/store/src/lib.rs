//! One HSM's data folder: its secrets, and its log, state, blobs and audit records.
//!
//! In: batches of what Raft appends, takes back, votes and applies, with the changes that the vault says
//! make the disk equal to memory. Out: the same state after any crash, or an error that names the record that does not
//! check. Everything in the folder is sealed; it must never write a key, a name or a label in
//! plaintext, never acknowledge before the disk has, and never go on after a failed commit.
//!
//! - [`Folder`]: the data folder, locked to one process, closed to other users.
//! - [`Secrets`]: the keys of the HSM and, once it has joined, of its cluster ([`ClusterSecrets`]), in
//!   `secrets.sealed`.
//! - [`Store`]: the SQLite file `store.db` and its one writer. [`BlobReader`] and [`LogReader`]: its
//!   readers, from any thread.
//! - [`sealing`]: how one row is sealed; [`audit`]: how audit records are chained. Both are
//!   specified in `docs/spec/log.md`.

#![forbid(unsafe_code)]

pub mod audit;
mod batch;
mod blobs;
mod cluster_secrets;
mod database;
mod error;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod incoming;
mod kept;
mod keys;
mod log;
mod membership;
mod migrate;
mod open;
mod quarantine;
mod readers;
pub mod sealing;
mod secrets;
mod snapshot;
mod store;
mod tally;
#[cfg(test)]
mod vectors;
mod write;

pub use batch::{Applied, Batch};
pub use blobs::BlobReader;
pub use cluster_secrets::{ClusterSecrets, Rotation};
pub use error::Error;
pub use folder::Folder;
pub use incoming::{Chunks, Inbox, Incoming, Received, SEALED_CHUNK_BYTES_MAX};
pub use kept::KeptSnapshot;
pub use keys::{EpochKey, KeyRing};
pub use log::{LogReader, LogRow, LogState, Position};
pub use sealing::Boot;
pub use secrets::{Secrets, random_id};
pub use snapshot::{CHUNK_BYTES_MAX, SnapshotHeader, SnapshotReader};
pub use store::Store;

use readers::Readers;
