//! What options take: names, passwords, bytes.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use strongroom_crypto::{Curve, Hash};
use strongroom_wire::message as wire;
use zeroize::Zeroizing;

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

/// The names of hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub(crate) enum HashFunction {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl HashFunction {
    /// The hash itself.
    pub(crate) fn hash(self) -> Hash {
        match self {
            Self::Sha1 => Hash::Sha1,
            Self::Sha224 => Hash::Sha224,
            Self::Sha256 => Hash::Sha256,
            Self::Sha384 => Hash::Sha384,
            Self::Sha512 => Hash::Sha512,
        }
    }
}

/// The names of mask generation functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub(crate) enum Mgf {
    #[value(name = "mgf1-sha1")]
    Mgf1Sha1,
    #[value(name = "mgf1-sha224")]
    Mgf1Sha224,
    #[value(name = "mgf1-sha256")]
    Mgf1Sha256,
    #[value(name = "mgf1-sha384")]
    Mgf1Sha384,
    #[value(name = "mgf1-sha512")]
    Mgf1Sha512,
}

impl Mgf {
    /// The function's hash.
    pub(crate) fn hash(self) -> Hash {
        match self {
            Self::Mgf1Sha1 => Hash::Sha1,
            Self::Mgf1Sha224 => Hash::Sha224,
            Self::Mgf1Sha256 => Hash::Sha256,
            Self::Mgf1Sha384 => Hash::Sha384,
            Self::Mgf1Sha512 => Hash::Sha512,
        }
    }
}

/// The curves of the table, by name.
pub(super) fn curve_parser() -> impl clap::builder::TypedValueParser<Value = Curve> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    let names = crate::attributes::CURVES.iter().map(|(name, _)| *name);
    PossibleValuesParser::new(names).try_map(|text| {
        let found = crate::attributes::CURVES.iter().find(|(name, _)| *name == text);
        found.map(|(_, curve)| *curve).ok_or("no such curve")
    })
}
