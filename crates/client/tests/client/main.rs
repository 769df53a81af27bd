//! The client against HSMs that are played by the tests: whom it trusts, what it sends again after a
//! lost connection, how it logs in, where it goes when an HSM dies, and how it starts a local HSM.

mod fake;
mod fleet;
mod folder;
mod local;
mod login;
mod pins;
mod pki;
mod retry;
mod session_objects;
mod tls;
mod trust;
