//! The client against HSMs that are played by the tests: whom it trusts, what it sends again after a
//! lost connection, how it logs in, and how it starts a local HSM.

mod fake;
mod folder;
mod local;
mod login;
mod pki;
mod retry;
mod tls;
mod trust;
