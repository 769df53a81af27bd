//! `key …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{Encoding, curve_parser};
use crate::attributes::Assignment;
use crate::filter::Criterion;

/// `key …`
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// List the keys that the user owns, and all public keys.
    List {
        /// Which keys: key-reference=0x… or attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE, several
        /// of which must all hold.
        #[arg(long, num_args = 0..)]
        filter: Vec<Criterion>,
        /// How many keys to print at most; next_token in the output then tells how to go on.
        #[arg(long, default_value_t = 10)]
        max_items: usize,
        /// Where to go on: next_token of the output before.
        #[arg(long)]
        starting_token: Option<usize>,
        /// Print all attributes of each key.
        #[arg(short, long)]
        verbose: bool,
    },
    /// Generate a secret key.
    #[command(subcommand)]
    GenerateSymmetric(SymmetricCommand),
    /// Generate a key pair.
    #[command(subcommand)]
    GenerateAsymmetricPair(PairCommand),
    /// Delete one key.
    Delete {
        /// Which key: key-reference=0x… or attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE.
        #[arg(long, num_args = 1.., required = true)]
        filter: Vec<Criterion>,
    },
    /// Write a file for one key: its public half, or a reference to it. Never private material.
    GenerateFile {
        /// What to write.
        #[arg(long)]
        encoding: Encoding,
        /// Where to write it.
        #[arg(long)]
        path: PathBuf,
        /// Which key: key-reference=0x… or attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE.
        #[arg(long, num_args = 1.., required = true)]
        filter: Vec<Criterion>,
    },
}

/// `key generate-symmetric …`
#[derive(Subcommand)]
pub(crate) enum SymmetricCommand {
    /// Generate an AES key.
    Aes(SymmetricArgs),
    /// Generate a generic secret key.
    GenericSecret(SymmetricArgs),
}

/// Options of a new secret key.
#[derive(Args)]
pub(crate) struct SymmetricArgs {
    /// Label of the key.
    #[arg(long)]
    pub(crate) label: String,
    /// The key goes when this session ends.
    #[arg(long)]
    pub(crate) session: bool,
    /// Length of the key in bytes.
    #[arg(long)]
    pub(crate) key_length_bytes: u64,
    /// Attributes of the key: KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE, several.
    #[arg(long, num_args = 0.., value_name = "KEY_ATTRIBUTES")]
    pub(crate) attributes: Vec<Assignment>,
}

/// `key generate-asymmetric-pair …`
#[derive(Subcommand)]
pub(crate) enum PairCommand {
    /// Generate an RSA key pair.
    Rsa {
        #[command(flatten)]
        pair: PairArgs,
        /// Size of the modulus in bits.
        #[arg(long)]
        modulus_size_bits: u64,
        /// Public exponent: odd, 65537 or more.
        #[arg(long)]
        public_exponent: u64,
    },
    /// Generate an elliptic curve key pair.
    Ec {
        #[command(flatten)]
        pair: PairArgs,
        /// The curve.
        #[arg(long, value_parser = curve_parser())]
        curve: &'static [u8],
    },
}

/// Options of a new key pair.
#[derive(Args)]
pub(crate) struct PairArgs {
    /// Label of the public key.
    #[arg(long)]
    pub(crate) public_label: String,
    /// Label of the private key.
    #[arg(long)]
    pub(crate) private_label: String,
    /// The keys go when this session ends.
    #[arg(long)]
    pub(crate) session: bool,
    /// Attributes of the public key: KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE, several.
    #[arg(long, num_args = 0.., value_name = "PUBLIC_KEY_ATTRIBUTES")]
    pub(crate) public_attributes: Vec<Assignment>,
    /// Attributes of the private key: KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE, several.
    #[arg(long, num_args = 0.., value_name = "PRIVATE_KEY_ATTRIBUTES")]
    pub(crate) private_attributes: Vec<Assignment>,
}
