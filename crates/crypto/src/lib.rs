//! Every mechanism of the HSM over its backend, the types that hold key material, and the one
//! table of mechanisms.
//!
//! In come keys (generated here, or parsed from their stored or wrapped form), a [`Mechanism`] of
//! the table with its [`Params`], and data; out go signatures, ciphertexts and secrets. Parsed
//! keys are immutable, `Send + Sync`, and made to be kept and used from many threads at once.
//!
//! What it never does: implement a primitive (aws-lc does, and k256 signs for secp256k1), decide
//! who may use a key (the vault does), keep state between two calls, or do any I/O.
//!
//! This is the only crate of the HSM with `unsafe` code, and it is confined to `backend` (calls into
//! aws-lc), [`memory`] (locked pages) and [`descriptors`] (what started programs inherit).

#![deny(unsafe_code)]

mod agreement;
#[allow(unsafe_code)]
mod backend;
mod cipher;
mod curve;
mod derive;
#[allow(unsafe_code)]
pub mod descriptors;
pub mod ed25519;
mod error;
mod hash;
mod kdf;
mod key;
mod known_answers;
mod mac;
pub mod mechanism;
#[allow(unsafe_code)]
pub mod memory;
mod params;
mod pkcs1;
mod random;
mod scheme;
mod schemes;
pub mod sealing;
mod secret;
mod self_test;
mod sign;
pub mod symmetric;
mod wrap;

pub use agreement::AgreementKdf;
pub use cipher::{decrypt, encrypt};
pub use curve::Curve;
pub use derive::derive;
pub use error::Error;
pub use hash::{Hash, Hasher};
pub use kdf::{CounterKdf, Hkdf, NumberField, Prf, pbkdf2};
pub use key::{
    EcPrivate, EcPublic, Key, KeyKind, RsaImport, RsaParts, RsaPrivate, RsaPublic, SchemePrivate,
    SchemePublic, SecretKey, fixed_length, generate_ec, generate_rsa, generate_scheme,
    generate_secret,
};
pub use mac::{MAC_PART_BYTES, mac_check, mac_finish, mac_update};
pub use mechanism::{Kind, Mechanism};
pub use params::Params;
pub use random::random;
pub use scheme::Scheme;
pub use schemes::{decapsulate, encapsulate};
pub use secret::SecretBytes;
pub use self_test::self_test;
pub use sign::{sign, verify};
pub use wrap::{unwrap, wrap};
