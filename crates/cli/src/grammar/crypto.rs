//! `crypto …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use strongroom_crypto::Hash;

use super::values::{Base64, DataType, hash_parser, mgf_parser};
use crate::filter::Criterion;

/// `crypto …`
#[derive(Subcommand)]
pub(crate) enum CryptoCommand {
    /// Sign with a private key.
    #[command(subcommand)]
    Sign(SignCommand),
    /// Verify a signature with a public key.
    #[command(subcommand)]
    Verify(VerifyCommand),
}

/// `crypto sign …`
#[derive(Subcommand)]
pub(crate) enum SignCommand {
    /// Sign with ECDSA; the signature is r and s, concatenated.
    Ecdsa(DataArgs),
    /// Sign with RSASSA-PKCS1-v1_5.
    RsaPkcs(DataArgs),
    /// Sign with RSASSA-PSS.
    RsaPkcsPss {
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        pss: PssArgs,
    },
}

/// `crypto verify …`
#[derive(Subcommand)]
pub(crate) enum VerifyCommand {
    /// Verify an ECDSA signature (r and s, concatenated).
    Ecdsa {
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        signature: SignatureArgs,
    },
    /// Verify an RSASSA-PKCS1-v1_5 signature.
    RsaPkcs {
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        signature: SignatureArgs,
    },
    /// Verify an RSASSA-PSS signature.
    RsaPkcsPss {
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        pss: PssArgs,
        #[command(flatten)]
        signature: SignatureArgs,
    },
}

/// A key and what is signed.
#[derive(Args)]
pub(crate) struct DataArgs {
    /// Which key: key-reference=0x… or attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE.
    #[arg(long, num_args = 1.., required = true)]
    pub(crate) key_filter: Vec<Criterion>,
    /// The hash function.
    #[arg(long, value_parser = hash_parser())]
    pub(crate) hash_function: Hash,
    #[command(flatten)]
    pub(crate) input: DataInput,
    /// raw: the data is hashed. digest: it is hashed already (for rsa-pkcs a DER DigestInfo).
    #[arg(long, default_value = "raw")]
    pub(crate) data_type: DataType,
}

/// `--data` or `--data-path`
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct DataInput {
    /// File with the data.
    #[arg(long)]
    pub(crate) data_path: Option<PathBuf>,
    /// The data, in Base64.
    #[arg(long)]
    pub(crate) data: Option<Base64>,
}

/// `--signature` or `--signature-path`
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SignatureArgs {
    /// File with the signature: its bytes, or its Base64.
    #[arg(long)]
    pub(crate) signature_path: Option<PathBuf>,
    /// The signature, in Base64.
    #[arg(long)]
    pub(crate) signature: Option<Base64>,
}

/// Parameters of RSASSA-PSS.
#[derive(Args)]
pub(crate) struct PssArgs {
    /// The mask generation function; its hash is the hash function's.
    #[arg(long, value_parser = mgf_parser())]
    pub(crate) mgf: Hash,
    /// Length of the salt in bytes.
    #[arg(long)]
    pub(crate) salt_length: u64,
}
