//! Replication of vault commands: how an entry gets agreed on by the HSMs of a cluster, onto their
//! disks and into their states.
//!
//! In: entries that engines propose, and what other members send. Out: what applying an entry gave, once
//! a majority's disks have it. It must never answer before that, never decide what a command does (the
//! vault does), never vote or acknowledge before its own disk has it, and never go on after the disk
//! failed.
//!
//! - [`Node`]: one HSM's part, behind [`strongroom_vault::Replicator`]. A cluster of one HSM is a Raft of
//!   one voter.
//! - [`disk`]: what it needs of a disk. [`Transport`]: how it reaches the others, which know it as a
//!   [`Peer`]. [`Observer`]: who is told what happens.
//! - [`Custodian`]: new secrets for the cluster when a member has gone.
//! - [`sealing`]: the vault's entries as they lie in a log, a snapshot or a witness: ciphertext. Specified
//!   in `docs/spec/log.md`.
//!
//! openraft decides what Raft decides. Ours is the rest: `log`, `storage`, `machine` and `snapshot` are
//! its disk; `network`, `handler` and `convert` its network; `elections` its clock; `proposals` and
//! `proposer` bring entries to the leader; `reads` makes reads current; `manager` says who votes.

#![forbid(unsafe_code)]

mod chance;
mod contacts;
mod convert;
mod custody;
mod describe;
pub mod disk;
mod elections;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod handler;
mod log;
mod machine;
mod manager;
mod network;
mod node;
mod options;
mod overlay;
mod payload;
mod peer;
mod proposals;
mod proposer;
mod raft;
mod reads;
pub mod sealing;
mod shared;
mod snapshot;
mod storage;
mod transport;

pub use custody::{Custodian, take_rotation};
pub use error::Error;
pub use node::{Counters, Node};
pub use options::{
    Clock, Ended, Latency, MemberRole, MemberStatus, NodeStatus, Observer, Options,
    StorageExecutor, Timing,
};
pub use peer::{DeviceKeyHash, Peer};
pub use transport::{Call, Transport, TransportError};
