//! Port 2225: between the HSMs of one cluster.
//!
//! In: requests of other HSMs, each side known by its device key. Out: requests to them, over
//! connections that are kept, one for each [`strongroom_wire::greeting::Lane`].
//!
//! All of this runs on the process's tokio runtime: nothing here may block a thread. Whoever is
//! admitted is decided by a [`Desk`], and asked again for every request: a removed HSM's connections
//! are of no more use to it than a stranger's.

mod frames;
mod lane;
mod nobody;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod versions;

pub(crate) use nobody::NoTransport;
pub(crate) use server::{Answer, Desk, PeerServer};
pub(crate) use tls::DeviceIdentity;
pub(crate) use transport::PeerTransport;
pub(crate) use versions::Versions;
