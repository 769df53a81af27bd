//! The whole cluster under virtual time, network and disk, from a seed.
//!
//! In: a scenario and a seed. Out: a trace, the same for the same seed, and what was found wrong. What
//! runs is what ships: vault, cluster, engine and the client's choice of HSMs; virtual are time, the
//! network between them, and their disks. It must never use real time, real randomness or the order
//! of a hash map for anything that a trace shows.
//!
//! - [`scenario`]: what is run; [`faults`] and [`disasters`]: what goes wrong; [`workload`]: what clients
//!   do.
//! - [`world`], [`hsm`], [`client`], [`cluster`]: who is in it.
//! - [`bridge`], [`network`], [`disk`], [`dice`], [`trace`]: what is virtual.
//! - [`history`], [`check`]: what must hold.
//! - [`mutant`]: that it would be noticed if it did not.
//! - [`throughput`]: another thing: a model of how the load is spread over up to 28 HSMs.

#![forbid(unsafe_code)]

pub mod bridge;
pub mod check;
pub mod client;
pub mod cluster;
pub mod dice;
pub mod disasters;
pub mod disk;
pub mod faults;
pub mod history;
pub mod hsm;
pub mod logins;
pub mod mutant;
pub mod network;
pub mod scenario;
pub mod throughput;
pub mod trace;
pub mod workload;
pub mod world;
