//! Certificates as both sides of a connection read and check them.
//!
//! In: a certificate, PEM or DER, as its owner or a peer gives it. Out: a [`Certificate`] with what the
//! checks need, whether an issuer's key signed it with an allowed algorithm, and the name of an HSM
//! in it. It decides nothing about chains: which certificate may stand where is said by whoever
//! trusts one, the client (`trust`) and the HSM (`certificates`).
//!
//! It must never panic on any input, and never check a signature over anything but the bytes that
//! came in.

#![forbid(unsafe_code)]

mod certificate;
mod hsm_name;
mod pem;
mod signature;

pub use certificate::{CA_EXTENSIONS, Certificate, LEAF_EXTENSIONS, Malformed, OutOfTime};
pub use der::asn1::ObjectIdentifier;
pub use hsm_name::HsmName;
pub use pem::{NotPem, certificate_in_pem};
pub use signature::{ALLOWED, Fault, check_key, verify_message};
