//! `cloudhsm-cli` and `configure-cli` as built, against a region over TLS and against a local HSM.
//!
//! - `commands`: every command on keys and signatures, in both modes, checked with `openssl` outside.
//! - `users`: users, passwords, lock-out, and who sees what.
//! - `prompts`: passwords that are typed, and what another process could see of them.
//! - `configure`: from an address to a configuration that works, and what is refused.

mod cli;
mod commands;
mod configure;
mod prompts;
mod users;
