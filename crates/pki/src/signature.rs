//! The allow-list of signature algorithms and keys, and the check itself.
//!
//! Anything that is not on the list, SHA-1 above all, is refused by name.

use std::ops::RangeInclusive;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use der::{Decode, Sequence};
use x509_cert::spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

/// What the list has, in words.
pub const ALLOWED: &str = "RSA of 2048 to 8192 bits (PKCS#1 v1.5 or PSS) and ECDSA on P-256, P-384 or \
                           P-521, with SHA-256, SHA-384 or SHA-512";

const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// Why a key or a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not on the list: what it is, with its article.
    #[error("{0} is not allowed ({ALLOWED} are)")]
    NotAllowed(String),
    /// It is on the list, and wrong.
    #[error("the signature is wrong")]
    Wrong,
}

/// SHA-2, as far as it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A signature algorithm on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
}

/// A public key on the list, in its raw form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key<'a> {
    /// RSAPublicKey, DER.
    Rsa(&'a [u8]),
    /// Uncompressed points.
    P256(&'a [u8]),
    P384(&'a [u8]),
    P521(&'a [u8]),
}

/// Whether a key, SubjectPublicKeyInfo in DER, is of an allowed kind and strength.
///
/// # Errors
/// [`Fault::NotAllowed`].
pub fn check_key(info: &[u8]) -> Result<(), Fault> {
    Key::parse(info).map(drop)
}

/// Checks a signature with an issuer's SubjectPublicKeyInfo.
///
/// # Errors
/// [`Fault`].
pub(crate) fn verify(
    algorithm: &AlgorithmIdentifierOwned,
    issuer_key: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Result<(), Fault> {
    let found = Algorithm::of(algorithm)?;
    let key = Key::parse(issuer_key)?;
    let Some((verification, raw)) = verification(found, key) else {
        let name = name(algorithm.oid);
        return Err(Fault::NotAllowed(format!("the signature algorithm {name} with such a key")));
    };
    UnparsedPublicKey::new(verification, raw).verify(signed, signature).map_err(|_| Fault::Wrong)
}

/// Checks a bare signature over a message with a SubjectPublicKeyInfo, DER: RSA by PKCS#1 v1.5 with
/// SHA-256; ECDSA, in DER, with SHA-256 on P-256, SHA-384 on P-384, SHA-512 on P-521.
///
/// # Errors
/// [`Fault`].
pub fn verify_message(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Fault> {
    let (verification, raw): (&dyn VerificationAlgorithm, _) = match Key::parse(key)? {
        Key::Rsa(raw) => (&RSA_PKCS1_2048_8192_SHA256, raw),
        Key::P256(raw) => (&ECDSA_P256_SHA256_ASN1, raw),
        Key::P384(raw) => (&ECDSA_P384_SHA384_ASN1, raw),
        Key::P521(raw) => (&ECDSA_P521_SHA512_ASN1, raw),
    };
    UnparsedPublicKey::new(verification, raw).verify(message, signature).map_err(|_| Fault::Wrong)
}

impl Algorithm {
    fn of(identifier: &AlgorithmIdentifierOwned) -> Result<Self, Fault> {
        Ok(match identifier.oid {
            RSA_SHA256 => Self::RsaPkcs1(Hash::Sha256),
            RSA_SHA384 => Self::RsaPkcs1(Hash::Sha384),
            RSA_SHA512 => Self::RsaPkcs1(Hash::Sha512),
            ECDSA_SHA256 => Self::Ecdsa(Hash::Sha256),
            ECDSA_SHA384 => Self::Ecdsa(Hash::Sha384),
            ECDSA_SHA512 => Self::Ecdsa(Hash::Sha512),
            RSASSA_PSS => Self::RsaPss(pss_hash(identifier).ok_or_else(|| {
                Fault::NotAllowed(
                    "RSASSA-PSS with another salt length than the hash's, or another hash in MGF1 \
                     (openssl: -sigopt rsa_pss_saltlen:digest)"
                        .to_owned(),
                )
            })?),
            other => {
                return Err(Fault::NotAllowed(format!("the signature algorithm {}", name(other))));
            }
        })
    }
}

impl<'a> Key<'a> {
    fn parse(info: &'a [u8]) -> Result<Self, Fault> {
        let unreadable = || Fault::NotAllowed("a public key that does not parse".to_owned());
        let info = SubjectPublicKeyInfoRef::from_der(info).map_err(|_| unreadable())?;
        let raw = info.subject_public_key.as_bytes().ok_or_else(unreadable)?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => match rsa_bits(raw).ok_or_else(unreadable)? {
                bits if RSA_BITS.contains(&bits) => Ok(Self::Rsa(raw)),
                bits => Err(Fault::NotAllowed(format!("an RSA key of {bits} bits"))),
            },
            EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
                Ok(P256) => Ok(Self::P256(raw)),
                Ok(P384) => Ok(Self::P384(raw)),
                Ok(P521) => Ok(Self::P521(raw)),
                Ok(other) => Err(Fault::NotAllowed(format!("the curve {}", name(other)))),
                Err(_) => Err(Fault::NotAllowed("a curve without a name".to_owned())),
            },
            other => Err(Fault::NotAllowed(format!("a key of type {}", name(other)))),
        }
    }
}

fn verification<'a>(
    algorithm: Algorithm,
    key: Key<'a>,
) -> Option<(&'static dyn VerificationAlgorithm, &'a [u8])> {
    use Hash::{Sha256, Sha384, Sha512};
    Some(match (algorithm, key) {
        (Algorithm::RsaPkcs1(Sha256), Key::Rsa(raw)) => (&RSA_PKCS1_2048_8192_SHA256, raw),
        (Algorithm::RsaPkcs1(Sha384), Key::Rsa(raw)) => (&RSA_PKCS1_2048_8192_SHA384, raw),
        (Algorithm::RsaPkcs1(Sha512), Key::Rsa(raw)) => (&RSA_PKCS1_2048_8192_SHA512, raw),
        (Algorithm::RsaPss(Sha256), Key::Rsa(raw)) => (&RSA_PSS_2048_8192_SHA256, raw),
        (Algorithm::RsaPss(Sha384), Key::Rsa(raw)) => (&RSA_PSS_2048_8192_SHA384, raw),
        (Algorithm::RsaPss(Sha512), Key::Rsa(raw)) => (&RSA_PSS_2048_8192_SHA512, raw),
        (Algorithm::Ecdsa(Sha256), Key::P256(raw)) => (&ECDSA_P256_SHA256_ASN1, raw),
        (Algorithm::Ecdsa(Sha384), Key::P256(raw)) => (&ECDSA_P256_SHA384_ASN1, raw),
        (Algorithm::Ecdsa(Sha512), Key::P256(raw)) => (&ECDSA_P256_SHA512_ASN1, raw),
        (Algorithm::Ecdsa(Sha256), Key::P384(raw)) => (&ECDSA_P384_SHA256_ASN1, raw),
        (Algorithm::Ecdsa(Sha384), Key::P384(raw)) => (&ECDSA_P384_SHA384_ASN1, raw),
        (Algorithm::Ecdsa(Sha512), Key::P384(raw)) => (&ECDSA_P384_SHA512_ASN1, raw),
        (Algorithm::Ecdsa(Sha256), Key::P521(raw)) => (&ECDSA_P521_SHA256_ASN1, raw),
        (Algorithm::Ecdsa(Sha384), Key::P521(raw)) => (&ECDSA_P521_SHA384_ASN1, raw),
        (Algorithm::Ecdsa(Sha512), Key::P521(raw)) => (&ECDSA_P521_SHA512_ASN1, raw),
        _ => return None,
    })
}

/// RSAPublicKey (RFC 8017, appendix A.1.1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

/// The modulus' length, in bits.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let modulus = RsaPublicKey::from_der(key).ok()?.modulus.as_bytes();
    let unused = modulus.first()?.leading_zeros() as usize;
    Some(modulus.len() * 8 - unused)
}

/// RSASSA-PSS-params (RFC 8017, appendix A.2.3). The defaults of the first three fields are SHA-1's,
/// which is not allowed, so they must be there.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask_generation: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    salt_length: u16,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u8>,
}

/// The hash, where all other parameters follow from it: the verification takes no others.
fn pss_hash(identifier: &AlgorithmIdentifierOwned) -> Option<Hash> {
    let parameters: PssParameters<'_> =
        AnyRef::from(identifier.parameters.as_ref()?).decode_as().ok()?;
    let mask_hash: AlgorithmIdentifierRef<'_> =
        parameters.mask_generation.parameters?.decode_as().ok()?;
    let (hash, bytes) = match parameters.hash.oid {
        SHA256 => (Hash::Sha256, 32),
        SHA384 => (Hash::Sha384, 48),
        SHA512 => (Hash::Sha512, 64),
        _ => return None,
    };
    let follows = parameters.mask_generation.oid == MGF1
        && mask_hash.oid == parameters.hash.oid
        && parameters.salt_length == bytes
        && parameters.trailer.is_none_or(|trailer| trailer == 1);
    follows.then_some(hash)
}

/// The names of those that people meet.
fn name(oid: ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => "RSA".into(),
        "1.2.840.113549.1.1.4" => "MD5 with RSA".into(),
        "1.2.840.113549.1.1.5" => "SHA-1 with RSA".into(),
        "1.2.840.113549.1.1.10" => "RSASSA-PSS".into(),
        "1.2.840.113549.1.1.11" => "SHA-256 with RSA".into(),
        "1.2.840.113549.1.1.12" => "SHA-384 with RSA".into(),
        "1.2.840.113549.1.1.13" => "SHA-512 with RSA".into(),
        "1.2.840.113549.1.1.14" => "SHA-224 with RSA".into(),
        "1.2.840.10045.4.1" => "ECDSA with SHA-1".into(),
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224".into(),
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256".into(),
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384".into(),
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512".into(),
        "1.3.101.112" => "Ed25519".into(),
        "1.3.132.0.10" => "secp256k1".into(),
        other => other.to_owned(),
    }
}
