//! The whole cluster under virtual time, network and disk, from a seed.
//!
//! In: a scenario and a seed. Out: a trace, the same for the same seed, and what was found wrong. What
//! runs is what ships: vault, cluster, engine and the client's choice of HSMs; virtual are time, the
//! network between them, and their disks. It must never use real time, real randomness or the order
//! of a hash map for anything that a trace shows.

#![forbid(unsafe_code)]

pub mod bridge;
pub mod check;
pub mod dice;
pub mod trace;
