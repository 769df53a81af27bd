//! `crypto sign …` and `crypto verify …`
//!
//! Data is hashed here, as CloudHSM's client does: the HSM sees a digest, so a file of any size
//! costs one small request.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cryptoki_sys::*;
use serde_json::{Value, json};
use strongroom_crypto::{Hash, Hasher, Kind};
use strongroom_wire::message::{
    Mechanism, Operation, Outcome, Parameter, PssParameter, Sign, Verify,
};

use super::Session;
use crate::error::Error;
use crate::grammar::{
    CryptoCommand, DataArgs, DataType, PssArgs, SignCommand, SignatureArgs, VerifyCommand,
};
use crate::key::Key;

/// Signature files are small; anything bigger is the wrong file.
const SIGNATURE_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The signature schemes of the grammar.
#[derive(Clone, Copy)]
enum Scheme<'a> {
    Ecdsa,
    RsaPkcs,
    RsaPss(&'a PssArgs),
}

pub(super) fn run(session: &mut Session, command: &CryptoCommand) -> Result<Value, Error> {
    match command {
        CryptoCommand::Sign(command) => {
            let (scheme, data) = match command {
                SignCommand::Ecdsa(data) => (Scheme::Ecdsa, data),
                SignCommand::RsaPkcs(data) => (Scheme::RsaPkcs, data),
                SignCommand::RsaPkcsPss { data, pss } => (Scheme::RsaPss(pss), data),
            };
            sign(session, scheme, data)
        }
        CryptoCommand::Verify(command) => {
            let (scheme, data, signature) = match command {
                VerifyCommand::Ecdsa { data, signature } => (Scheme::Ecdsa, data, signature),
                VerifyCommand::RsaPkcs { data, signature } => (Scheme::RsaPkcs, data, signature),
                VerifyCommand::RsaPkcsPss { data, pss, signature } => {
                    (Scheme::RsaPss(pss), data, signature)
                }
            };
            verify(session, scheme, data, signature)
        }
    }
}

fn sign(session: &mut Session, scheme: Scheme<'_>, args: &DataArgs) -> Result<Value, Error> {
    let mechanism = scheme.mechanism(args.hash_function)?;
    let digest = scheme.digest(args)?;
    let handle = session.find_one(&args.key_filter)?;
    let operation =
        Operation::Sign(Sign { handle, mechanism: Some(mechanism), data: digest, prehashed: true });
    match session.backend.call(operation)? {
        Some(Outcome::Signature(signature)) => Ok(json!({
            "key-reference": Key::reference_of(handle),
            "signature": BASE64_STANDARD.encode(&signature.data)
        })),
        _ => Err(Error::Answer("Sign")),
    }
}

fn verify(
    session: &mut Session,
    scheme: Scheme<'_>,
    args: &DataArgs,
    signature: &SignatureArgs,
) -> Result<Value, Error> {
    let mechanism = scheme.mechanism(args.hash_function)?;
    let digest = scheme.digest(args)?;
    let signature = read_signature(signature)?;
    let handle = session.find_one(&args.key_filter)?;
    let operation = Operation::Verify(Verify {
        handle,
        mechanism: Some(mechanism),
        data: digest,
        prehashed: true,
        signature,
    });
    match session.backend.call(operation) {
        Ok(_) => Ok(json!({ "message": "Signature verified successfully" })),
        Err(Error::Hsm { ckr: CKR_SIGNATURE_INVALID | CKR_SIGNATURE_LEN_RANGE, .. }) => {
            Err(Error::usage("Signature verification failed"))
        }
        Err(other) => Err(other),
    }
}

impl Scheme<'_> {
    /// The mechanism that hashes with `hash`, for a digest of it.
    fn mechanism(self, hash: Hash) -> Result<Mechanism, Error> {
        let operation = match self {
            Self::Ecdsa => Kind::Ecdsa,
            Self::RsaPkcs => Kind::RsaPkcs,
            Self::RsaPss(_) => Kind::RsaPss,
        };
        let named = strongroom_crypto::mechanism::hashing(operation, hash, CKF_SIGN);
        let kind = named.ok_or_else(|| Error::usage("No such hash function here"))?.kind;
        let parameter = match self {
            Self::RsaPss(pss) if pss.mgf != hash => {
                return Err(Error::usage("The hash of --mgf must be the one of --hash-function"));
            }
            Self::RsaPss(pss) => Some(Parameter::Pss(PssParameter {
                hash: hash.mechanism(),
                mgf: hash.mgf().ok_or_else(|| Error::usage("No such mask function here"))?,
                salt_length: pss.salt_length,
            })),
            _ => None,
        };
        Ok(Mechanism { kind, parameter })
    }

    /// The digest that is signed.
    fn digest(self, args: &DataArgs) -> Result<Vec<u8>, Error> {
        let hash = args.hash_function;
        if args.data_type == DataType::Raw {
            return hashed(args, hash);
        }
        let given = match (&args.input.data, &args.input.data_path) {
            (Some(data), _) => data.0.clone(),
            (None, Some(path)) => read_small(path)?,
            (None, None) => return Err(Error::usage("Give --data or --data-path")),
        };
        let digest = match self {
            // The guide: "For RSA-PKCS, the data must be passed in DER encoded format as specified
            // in RFC 8017, Section 9.2".
            Self::RsaPkcs => given.strip_prefix(hash.digest_info_prefix()).ok_or_else(|| {
                Error::usage(
                    "With --data-type digest, rsa-pkcs takes the DER DigestInfo (RFC 8017, section \
                     9.2) of the hash function",
                )
            })?,
            Self::Ecdsa | Self::RsaPss(_) => &given[..],
        };
        if digest.len() != hash.len() {
            return Err(Error::usage(format!(
                "The digest has {} bytes, one of this hash function has {}",
                digest.len(),
                hash.len()
            )));
        }
        Ok(digest.to_vec())
    }
}

fn hashed(args: &DataArgs, hash: Hash) -> Result<Vec<u8>, Error> {
    let mut hasher = Hasher::new(hash);
    match (&args.input.data, &args.input.data_path) {
        (Some(data), _) => hasher.update(&data.0),
        (None, Some(path)) => {
            let mut file = File::open(path).map_err(Error::file(path))?;
            let mut block = vec![0; 64 * 1024];
            loop {
                match file.read(&mut block).map_err(Error::file(path))? {
                    0 => break,
                    length => hasher.update(&block[..length]),
                }
            }
        }
        (None, None) => return Err(Error::usage("Give --data or --data-path")),
    }
    Ok(hasher.finish())
}

/// A signature file holds the signature's bytes, or the Base64 that `crypto sign` printed.
fn read_signature(args: &SignatureArgs) -> Result<Vec<u8>, Error> {
    match (&args.signature, &args.signature_path) {
        (Some(signature), _) => Ok(signature.0.clone()),
        (None, Some(path)) => {
            let bytes = read_small(path)?;
            let decoded = std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| BASE64_STANDARD.decode(text.trim()).ok());
            Ok(decoded.unwrap_or(bytes))
        }
        (None, None) => Err(Error::usage("Give --signature or --signature-path")),
    }
}

fn read_small(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIGNATURE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(Error::file(path))?;
    if bytes.len() as u64 > SIGNATURE_FILE_BYTES_MAX {
        return Err(Error::usage(format!("{} is too big", path.display())));
    }
    Ok(bytes)
}
