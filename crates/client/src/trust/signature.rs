//! The allow-list of signature algorithms and keys, and the check itself.
//!
//! RSA from 2048 bits with PKCS#1 v1.5 or PSS, ECDSA on P-256, P-384 and P-521; SHA-256, SHA-384 or
//! SHA-512. Anything else (SHA-1 above all) is refused by name.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_cert::{
    der::{
        self, Decode, Reader, SliceReader, TagNumber,
        asn1::{AnyRef, ContextSpecific, ObjectIdentifier, UintRef},
    },
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef},
};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// RSA moduli, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// SHA-2, as far as it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A certificate's signature algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
    /// Not allowed, and why.
    Refused(String),
}

/// A public key's kind and raw form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// RSAPublicKey, DER.
    Rsa(&'a [u8]),
    /// Uncompressed points.
    P256(&'a [u8]),
    P384(&'a [u8]),
    P521(&'a [u8]),
}

impl Algorithm {
    pub(super) fn of(identifier: AlgorithmIdentifierRef<'_>) -> Self {
        match identifier.oid {
            RSA_SHA256 => Self::RsaPkcs1(Hash::Sha256),
            RSA_SHA384 => Self::RsaPkcs1(Hash::Sha384),
            RSA_SHA512 => Self::RsaPkcs1(Hash::Sha512),
            ECDSA_SHA256 => Self::Ecdsa(Hash::Sha256),
            ECDSA_SHA384 => Self::Ecdsa(Hash::Sha384),
            ECDSA_SHA512 => Self::Ecdsa(Hash::Sha512),
            RSA_PSS => match pss_hash(identifier.parameters) {
                Some(hash) => Self::RsaPss(hash),
                None => Self::Refused(
                    "RSA-PSS parameters are not allowed: the hash must be SHA-256, SHA-384 or \
                     SHA-512, in MGF1 too, and the salt as long as it (openssl: -sigopt \
                     rsa_pss_saltlen:digest)"
                        .into(),
                ),
            },
            other => Self::Refused(format!(
                "signature algorithm {} is not allowed (RSA or ECDSA with SHA-256, SHA-384 or \
                 SHA-512 is)",
                algorithm_name(other)
            )),
        }
    }
}

impl<'a> Key<'a> {
    /// Reads a SubjectPublicKeyInfo and checks its strength.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, String> {
        let unreadable = |_| "its public key is not readable".to_owned();
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(unreadable)?;
        let raw = info.subject_public_key.as_bytes().ok_or("its public key is not readable")?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => {
                let bits = rsa_bits(raw).map_err(unreadable)?;
                if !RSA_BITS.contains(&bits) {
                    return Err(format!(
                        "an RSA key of {bits} bits is not allowed (2048 to 8192 are)"
                    ));
                }
                Ok(Self::Rsa(raw))
            }
            EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
                Ok(P256) => Ok(Self::P256(raw)),
                Ok(P384) => Ok(Self::P384(raw)),
                Ok(P521) => Ok(Self::P521(raw)),
                _ => Err("its curve is not allowed (P-256, P-384 and P-521 are)".into()),
            },
            other => Err(format!("a key of kind {other} is not allowed (RSA and EC are)")),
        }
    }
}

/// Checks a signature with an issuer's SubjectPublicKeyInfo.
pub(super) fn verify(
    algorithm: &Algorithm,
    issuer_key: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    if let Algorithm::Refused(why) = algorithm {
        return Err(why.clone());
    }
    let key = Key::parse(issuer_key)?;
    let (verifier, raw) = verifier(algorithm, key)
        .ok_or("the signature algorithm does not fit to the issuer's key")?;
    UnparsedPublicKey::new(verifier, raw)
        .verify(signed, signature)
        .map_err(|_| "the signature is wrong".into())
}

fn verifier<'a>(
    algorithm: &Algorithm,
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

/// The modulus' length, in bits, of an RSAPublicKey (RFC 8017, appendix A.1.1).
fn rsa_bits(der: &[u8]) -> der::Result<usize> {
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|inner| {
        let modulus = UintRef::decode(inner)?;
        UintRef::decode(inner)?;
        let bytes = modulus.as_bytes();
        let unused = bytes.first().map_or(8, |byte| byte.leading_zeros() as usize);
        Ok((bytes.len() * 8).saturating_sub(unused))
    })
}

/// The hash of RSASSA-PSS-params (RFC 8017, appendix A.2.3), where the rest follows from it. The
/// defaults of its fields are SHA-1's, which is not allowed, so the first three must be there.
fn pss_hash(parameters: Option<AnyRef<'_>>) -> Option<Hash> {
    let (hash, mask, salt_length, trailer) = pss_fields(parameters?).ok()?;
    let mask_hash: AlgorithmIdentifierRef<'_> = mask.parameters?.decode_as().ok()?;
    let (allowed, bytes) = match hash.oid {
        SHA256 => (Hash::Sha256, 32),
        SHA384 => (Hash::Sha384, 48),
        SHA512 => (Hash::Sha512, 64),
        _ => return None,
    };
    let follows = mask.oid == MGF1
        && mask_hash.oid == hash.oid
        && salt_length == bytes
        && trailer.is_none_or(|trailer| trailer == 1);
    follows.then_some(allowed)
}

type PssFields<'a> = (AlgorithmIdentifierRef<'a>, AlgorithmIdentifierRef<'a>, u16, Option<u8>);

fn pss_fields(parameters: AnyRef<'_>) -> der::Result<PssFields<'_>> {
    parameters.sequence(|inner| {
        let missing = || der::Error::from(der::ErrorKind::Failed);
        let hash = ContextSpecific::decode_explicit(inner, TagNumber(0))?.ok_or_else(missing)?;
        let mask = ContextSpecific::decode_explicit(inner, TagNumber(1))?.ok_or_else(missing)?;
        let salt = ContextSpecific::decode_explicit(inner, TagNumber(2))?.ok_or_else(missing)?;
        let trailer = ContextSpecific::decode_explicit(inner, TagNumber(3))?;
        Ok((hash.value, mask.value, salt.value, trailer.map(|field| field.value)))
    })
}

/// The names of those that people meet.
fn algorithm_name(oid: ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.113549.1.1.4" => "MD5 with RSA".into(),
        "1.2.840.113549.1.1.5" => "SHA-1 with RSA".into(),
        "1.2.840.10045.4.1" => "ECDSA with SHA-1".into(),
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224".into(),
        "1.3.101.112" => "Ed25519".into(),
        other => other.to_owned(),
    }
}
