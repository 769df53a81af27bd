//! Which signature algorithms and keys a certificate of the owner may use, and the check itself.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Sequence};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
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

const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// Why a signature does not count.
pub(super) enum Fault {
    /// Not on the list; its name.
    Algorithm(String),
    /// On the list, and wrong.
    Signature,
}

/// Checks `signature` by `key` over `message`.
pub(super) fn verify(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: &AlgorithmIdentifierOwned,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Fault> {
    let verification = verification(key, algorithm)?;
    UnparsedPublicKey::new(verification, key.subject_public_key.raw_bytes())
        .verify(message, signature)
        .map_err(|_| Fault::Signature)
}

/// Whether a key may sign or be certified at all: its family and size.
pub(super) fn check_key(key: &SubjectPublicKeyInfoOwned) -> Result<(), Fault> {
    match key.algorithm.oid {
        RSA_ENCRYPTION => {
            let bits = rsa_bits(key.subject_public_key.raw_bytes())
                .ok_or_else(|| Fault::Algorithm("an RSA key that does not parse".to_owned()))?;
            if RSA_BITS.contains(&bits) {
                Ok(())
            } else {
                Err(Fault::Algorithm(format!("RSA of {bits} bits")))
            }
        }
        EC_PUBLIC_KEY => match curve(&key.algorithm) {
            Some(P256 | P384 | P521) => Ok(()),
            Some(other) => Err(Fault::Algorithm(format!("the curve {other}"))),
            None => Err(Fault::Algorithm("a curve without a name".to_owned())),
        },
        other => Err(Fault::Algorithm(format!("a key of type {other}"))),
    }
}

fn verification(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: &AlgorithmIdentifierOwned,
) -> Result<&'static dyn VerificationAlgorithm, Fault> {
    check_key(key)?;
    let chosen: Option<&'static dyn VerificationAlgorithm> = if key.algorithm.oid == RSA_ENCRYPTION
    {
        match algorithm.oid {
            SHA256_WITH_RSA => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            SHA384_WITH_RSA => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            SHA512_WITH_RSA => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            RSASSA_PSS => match pss(algorithm) {
                Some((SHA256, 32)) => Some(&signature::RSA_PSS_2048_8192_SHA256),
                Some((SHA384, 48)) => Some(&signature::RSA_PSS_2048_8192_SHA384),
                Some((SHA512, 64)) => Some(&signature::RSA_PSS_2048_8192_SHA512),
                Some((hash, salt)) => {
                    return Err(Fault::Algorithm(format!(
                        "RSASSA-PSS with hash {hash} and {salt} bytes of salt (allowed is as much \
                         as the hash has)"
                    )));
                }
                None => None,
            },
            _ => None,
        }
    } else {
        match (curve(&key.algorithm), algorithm.oid) {
            (Some(P256), ECDSA_SHA256) => Some(&signature::ECDSA_P256_SHA256_ASN1),
            (Some(P256), ECDSA_SHA384) => Some(&signature::ECDSA_P256_SHA384_ASN1),
            (Some(P256), ECDSA_SHA512) => Some(&signature::ECDSA_P256_SHA512_ASN1),
            (Some(P384), ECDSA_SHA256) => Some(&signature::ECDSA_P384_SHA256_ASN1),
            (Some(P384), ECDSA_SHA384) => Some(&signature::ECDSA_P384_SHA384_ASN1),
            (Some(P384), ECDSA_SHA512) => Some(&signature::ECDSA_P384_SHA512_ASN1),
            (Some(P521), ECDSA_SHA256) => Some(&signature::ECDSA_P521_SHA256_ASN1),
            (Some(P521), ECDSA_SHA384) => Some(&signature::ECDSA_P521_SHA384_ASN1),
            (Some(P521), ECDSA_SHA512) => Some(&signature::ECDSA_P521_SHA512_ASN1),
            _ => None,
        }
    };
    chosen.ok_or_else(|| Fault::Algorithm(format!("the signature algorithm {}", algorithm.oid)))
}

fn curve(algorithm: &AlgorithmIdentifierOwned) -> Option<ObjectIdentifier> {
    algorithm.parameters.as_ref()?.decode_as().ok()
}

/// RSAPublicKey (RFC 8017, appendix A.1.1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

fn rsa_bits(key: &[u8]) -> Option<u32> {
    let modulus = RsaPublicKey::from_der(key).ok()?.modulus;
    let bytes = modulus.as_bytes();
    let first = bytes.first()?;
    Some(u32::try_from(bytes.len()).ok()? * 8 - first.leading_zeros())
}

/// RSASSA-PSS-params (RFC 8017, appendix A.2.3).
#[derive(Sequence)]
struct PssParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask_generation: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt_length: Option<u32>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u32>,
}

/// Hash and salt length in bytes. The mask's hash must be the same, or the signature is not valid.
fn pss(algorithm: &AlgorithmIdentifierOwned) -> Option<(ObjectIdentifier, u32)> {
    const SALT_LENGTH_DEFAULT: u32 = 20;
    let parameters: PssParameters = algorithm.parameters.as_ref()?.decode_as().ok()?;
    Some((parameters.hash?.oid, parameters.salt_length.unwrap_or(SALT_LENGTH_DEFAULT)))
}
