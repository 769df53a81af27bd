//! Ratios, not numbers: every figure is measured beside its peers in the same run.
//!
//! The parent starts a region, a SoftHSM2 token and a `p11-kit server` in front of it, then lets a
//! child measure one side at a time, in turn, round after round, so that a machine that slows down
//! slows all sides. A child loads one module (or the raw library), makes its key, and signs or
//! encrypts from some threads for a fixed time. What is printed is the median over the rounds; the
//! JSON beside it has every round.

#![forbid(unsafe_code)]

mod cluster;
mod measure;
mod module;
mod raw;
mod report;
mod sides;
mod start;

use std::process::ExitCode;

/// What is measured on every side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// CKM_SHA256_RSA_PKCS over 32 bytes, RSA-2048.
    Rsa2048,
    /// CKM_ECDSA over a 32-byte digest, P-256.
    P256,
    /// CKM_AES_GCM encryption of 1 KiB, AES-256.
    Gcm1K,
    /// CKM_AES_GCM encryption of 16 KiB, AES-256.
    Gcm16K,
    /// CKM_AES_ECB encryption of 1 KiB, AES-256: what p11-kit 0.24 passes on of AES (it refuses the
    /// parameters of GCM and CBC), so the only AES that its server can be compared at.
    Ecb1K,
    /// C_GenerateRandom of one byte: a round trip with next to nothing in it.
    Empty,
    /// C_GenerateKey of an AES-256 token key: durable before it is answered.
    DurableKey,
}

impl Work {
    pub(crate) const ALL: [Self; 7] = [
        Self::Rsa2048,
        Self::P256,
        Self::Gcm1K,
        Self::Gcm16K,
        Self::Ecb1K,
        Self::Empty,
        Self::DurableKey,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048-sign",
            Self::P256 => "p-256-sign",
            Self::Gcm1K => "aes-gcm-1k",
            Self::Gcm16K => "aes-gcm-16k",
            Self::Ecb1K => "aes-ecb-1k",
            Self::Empty => "empty-round-trip",
            Self::DurableKey => "durable-aes-key",
        }
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.name() == name)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = if arguments.first().is_some_and(|a| a == "--measure") {
        measure::child(&arguments[1..])
    } else if arguments.first().is_some_and(|a| a == "--fill") {
        cluster::fill_child(&arguments[1..])
    } else {
        report::run(&arguments)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}
