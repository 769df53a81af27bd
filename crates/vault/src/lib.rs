//! The HSM's replicated state as a pure state machine: users, logins, objects, attributes,
//! and which HSMs are its members.
//!
//! In: one [`Entry`] at a time, in log order. Out: an [`Outcome`] or a [`Refusal`], and the
//! [`Change`]s that make the state on disk equal to the one in memory. The same entries give the
//! same state on every HSM, so there is no I/O here, no clock, no randomness and no thread: what is
//! random or timed is in the entry, put there by its proposer.
//!
//! Key material never enters: an object is its metadata here, and a sealed blob elsewhere.
//!
//! - [`State::apply`] changes the state; [`State::authorise`] says who may do what, and runs twice
//!   for every change: when it is proposed and again when it is applied.
//! - [`attributes`] is the one table of attributes and the rules of templates.
//! - [`Replicator`] is how an engine gets an entry agreed and applied.

#![forbid(unsafe_code)]

mod apply;
pub mod attributes;
mod authorise;
pub mod codec;
mod command;
pub mod gate;
#[doc(hidden)]
pub mod guard;
mod ids;
pub mod limits;
mod member;
mod object;
mod refusal;
mod replicator;
mod state;
#[cfg(test)]
mod testing;
mod user;

pub use authorise::{Action, Principal};
pub use command::{Actor, Change, Command, Entry, NewObject, Outcome};
pub use gate::Gate;
pub use ids::{ClientId, Handle, LogIndex, LoginId, NodeId, ObjectId, UserId};
pub use member::{Endorsement, Fingerprint, JoinPolicy, JoinRequest, Member};
pub use object::{Flags, Meta, Object};
pub use refusal::Refusal;
pub use replicator::{Committed, Contact, ReplicationError, Replicator, SharedState};
pub use state::{FirstVersion, Personality, Phase, State};
pub use user::{Login, PasswordVerifier, Role, User};
