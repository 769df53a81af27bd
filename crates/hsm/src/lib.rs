//! The HSM as a process: data folder, seal, listeners, trust, hardening, start and stop.
//!
//! In: a [`Config`], and frames from peers. Out: replies of the engine, on
//! - port 2223, clients, TLS 1.3 with a certificate under the owner's `customerCA`;
//! - port 2224, administration, TLS 1.3 with the device's certificate and the provisioner's;
//! - port 2225, other HSMs of the cluster, TLS 1.3 with both devices' certificates;
//! - or a UNIX socket of one user, for the local HSM that a client library starts on demand.
//!
//! It decides who may connect and how the process lives; it must hold no policy about keys or
//! users (the vault's and the engine's), keep no secret longer than a request, and log none.
//!
//! Read [`process`] first: it is the life of an HSM from top to bottom.

#![forbid(unsafe_code)]

mod administration;
#[cfg(test)]
mod agreed;
mod certificates;
mod clock;
mod cluster_desk;
mod config;
mod confine;
mod connection;
mod connections;
mod custody;
mod desk;
mod detach;
mod device;
mod error;
mod folder;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod genesis;
mod housekeeping;
mod hsm;
mod joining;
mod link;
mod listener;
mod local;
mod membership;
mod observer;
mod ownership;
mod passphrase;
mod peers;
pub mod process;
mod recovery;
mod rejoin;
mod removal;
mod replica;
mod site;
mod status;
mod stop;
mod tamper;
mod tls;
mod trust;

pub use certificates::{CertificateError, Which};
pub use config::{Config, Endpoint, FirstJoinPolicy, PassphraseSource, SealKind};
pub use detach::{Log, start_detached};
pub use error::Error;
pub use folder::{DEVICE_CERTIFICATE_FILE, LOG_FILE, SOCKET_FILE, SOCKET_POINTER_FILE, new_hsm_id};
pub use local::start_local;
pub use process::run;
pub use tamper::{EXIT_ZEROISED, ZEROISED_FILE, is_zeroised_record};
