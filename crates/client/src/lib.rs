//! The blocking client: configuration, trust, connections, login, retry.
//!
//! In: a [`Config`] and operations of `strongroom-wire`. Out: outcomes, or an [`Error`] that is named
//! by whose fault it is and maps to a CKR_ value. The PKCS#11 module, the command line and every
//! other front sit on it.
//!
//! It must never send anything before the HSM's certificate chain has passed every check of
//! [`trust`], never run a change twice, never keep a password after it was sent, never start a
//! thread, and never touch process-wide state (logger, signal handlers, fork handlers).
//!
//! - [`config`]: where the HSMs are; reading and editing `client.json`.
//! - [`trust`]: leaf ← cluster ← customerCA, and nothing else.
//! - `pins`: which keys of the cluster are taken, also after the file has changed.
//! - `requests`: the way of one request, from HSM to HSM where it must be.
//! - `endpoint`: how a connection is made.
//! - `site`: what is kept for each HSM.
//! - `connection`, `socket`: one connection: frames, TLS, the first request, attaching.
//! - `buffer`: where messages stay while they are sent and read, and no longer.
//! - `pool`: one connection for each calling thread.
//! - `numbers`: sequences, so that a change that is sent again is not done again.
//! - `login`: the ticket and the key that proves it.
//! - `objects`: session objects, so that they outlive their HSM.
//! - `local`: the HSM that is started on demand.
//! - [`seen`]: how new a state a request needs.
//! - [`fleet`]: what is known of the HSMs, and where a request goes.
//! - [`identify`]: who answers at an address, for the configure tools.
//! - [`client`]: [`Client`], which ties these together.

#![forbid(unsafe_code)]

mod buffer;
pub mod client;
pub mod config;
mod connection;
mod endpoint;
mod errors;
pub mod fleet;
mod local;
mod login;
mod numbers;
mod objects;
mod pins;
mod pool;
mod requests;
pub mod seen;
mod site;
mod socket;
pub mod trust;

pub use client::{Client, Info, Options};
pub use config::Config;
pub use connection::identify;
pub use errors::Error;
