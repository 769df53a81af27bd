//! Replication of vault commands: how an entry gets into the log, onto the disk and into the state.
//!
//! In: entries that an engine proposes. Out: what applying them gave, once that is durable. It must
//! never answer before the disk has what it answers, never decide what a command does (the vault
//! does), and never go on after the store failed.
//!
//! - [`OneVoter`]: a cluster of one HSM, behind [`strongroom_vault::Replicator`].
//! - [`Peer`], [`Transport`]: another HSM, and how it is reached. [`Observer`]: who is told what
//!   happens.
//! - [`sealing`]: log entries as they lie in a log, a snapshot or a witness: ciphertext. Specified
//!   in `docs/spec/log.md`.

#![forbid(unsafe_code)]

mod describe;
mod error;
mod one_voter;
mod options;
mod peer;
mod queue;
pub mod sealing;
mod transport;
mod writer;

pub use error::Error;
pub use one_voter::{Counters, OneVoter};
pub use options::{Clock, Ended, MemberRole, MemberStatus, NodeStatus, Observer, Options, Timing};
pub use peer::{DeviceKeyHash, Peer};
pub use transport::{Call, Transport, TransportError};
