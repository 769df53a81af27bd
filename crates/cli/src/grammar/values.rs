//! What options take: names, passwords, bytes.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use strongroom_crypto::Hash;
use strongroom_wire::message as wire;
use zeroize::Zeroizing;

use crate::attributes::curve_params;

/// A password, wiped when the last holder drops it. Cloning (which the parser asks of every value)
/// shares it.
#[derive(Clone)]
pub(crate) struct Password(Arc<Zeroizing<Vec<u8>>>);

impl Password {
    /// Takes the bytes over.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A role that a user can log in under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// A crypto user makes keys and uses them.
    #[value(alias = "crypto_user")]
    CryptoUser,
    /// An admin manages users.
    Admin,
}

impl Role {
    /// As the wire has it.
    pub(crate) fn wire(self) -> wire::Role {
        match self {
            Self::CryptoUser => wire::Role::CryptoUser,
            Self::Admin => wire::Role::Admin,
        }
    }
}

/// What `key generate-file` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// A private key file that names the key in the HSM instead of holding it.
    ReferencePem,
    /// The public key (SubjectPublicKeyInfo).
    Pem,
}

/// Whether data is hashed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataType {
    /// Data, to be hashed.
    Raw,
    /// A digest.
    Digest,
}

/// Bytes given in Base64.
#[derive(Clone)]
pub(crate) struct Base64(pub(crate) Vec<u8>);

impl std::str::FromStr for Base64 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        BASE64_STANDARD.decode(text).map(Self).map_err(|error| format!("not Base64: {error}"))
    }
}

/// Hash functions, by name; a mask generation function is named `mgf1-` and its hash.
static HASHES: &[(&str, &str, Hash)] = &[
    ("sha1", "mgf1-sha1", Hash::Sha1),
    ("sha224", "mgf1-sha224", Hash::Sha224),
    ("sha256", "mgf1-sha256", Hash::Sha256),
    ("sha384", "mgf1-sha384", Hash::Sha384),
    ("sha512", "mgf1-sha512", Hash::Sha512),
];

/// A hash function's name.
pub(super) fn hash_parser() -> impl TypedValueParser<Value = Hash> {
    one_of(HASHES.iter().map(|(name, _, hash)| (*name, *hash)))
}

/// A mask generation function's name, for its hash.
pub(super) fn mgf_parser() -> impl TypedValueParser<Value = Hash> {
    one_of(HASHES.iter().map(|(_, name, hash)| (*name, *hash)))
}

/// The name of a curve of the table, for its CKA_EC_PARAMS.
pub(super) fn curve_parser() -> impl TypedValueParser<Value = &'static [u8]> {
    one_of(curve_params())
}

/// Takes a name and gives what it stands for; help lists the names.
fn one_of<T: Copy + Send + Sync + 'static>(
    table: impl Iterator<Item = (&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let table: Vec<(&'static str, T)> = table.collect();
    let names: Vec<&'static str> = table.iter().map(|(name, _)| *name).collect();
    PossibleValuesParser::new(names).try_map(move |text| {
        table.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or("unknown name")
    })
}
