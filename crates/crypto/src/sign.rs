//! Signing and verifying: RSA, ECDSA and MACs.

use cryptoki_sys as ck;
use subtle::ConstantTimeEq;

use crate::hash::{Digest, LONGEST};
use crate::mac::mac;
use crate::{Error, Hash, Key, Kind, Mechanism, Params, schemes};

/// Signs `data` with a private or secret key.
///
/// Where the mechanism names a hash, `data` is the message, or with `prehashed` its hash, computed
/// elsewhere (HMAC has no such form). Where it names none, `data` is what the mechanism signs as it
/// is: CKM_RSA_PKCS up to the modulus's length less 11 bytes, CKM_RSA_PKCS_PSS a hash of the
/// parameter's length, CKM_ECDSA a hash of any length, of which the leftmost bits count.
///
/// A signature by ECDSA is r || s, each of the curve's field length.
pub fn sign(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
    prehashed: bool,
) -> Result<Vec<u8>, Error> {
    if !mechanism.offers(ck::CKF_SIGN) {
        return Err(Error::MechanismInvalid);
    }
    if schemes::signs(mechanism.operation) {
        return schemes::sign(key, mechanism, params, data, prehashed);
    }
    match (mechanism.operation, key) {
        (Kind::RsaPkcs, Key::RsaPrivate(key)) => {
            params.expect_none()?;
            let key = key.backend();
            let encoded = Encoded::new(mechanism, data, prehashed)?;
            let encoded = encoded.fitting(key.size())?;
            key.sign_pkcs1(encoded).map_err(Error::backend("RSA signature"))
        }
        (Kind::RsaRaw, Key::RsaPrivate(key)) => {
            params.expect_none()?;
            let key = key.backend();
            key.sign_raw(&filled_up(data, key.size())?).map_err(|_| Error::DataInvalid)
        }
        (Kind::RsaPss, Key::RsaPrivate(key)) => {
            let key = key.backend();
            let pss = Pss::new(mechanism, params, key.bits())?;
            let hashed = hashed(pss.hash, data, prehashed || mechanism.hash.is_none())?;
            key.sign_pss(pss.hash, pss.mgf, pss.salt_length, hashed.as_bytes())
                .map_err(Error::backend("RSA signature"))
        }
        (Kind::Ecdsa, Key::EcPrivate(key)) => {
            params.expect_none()?;
            match mechanism.hash {
                Some(hash) => key.sign(hashed(hash, data, prehashed)?.as_bytes()),
                None if data.is_empty() => Err(Error::DataLength),
                None => key.sign(data),
            }
        }
        (operation, Key::Secret(key)) if operation.is_mac() => {
            unhashed(prehashed)?;
            mac(key, mechanism, params, &[], data)
        }
        (operation, _) if is_signature(operation) => Err(Error::KeyType),
        _ => Err(Error::MechanismInvalid),
    }
}

/// Verifies a signature over `data` with a public or secret key; `data` and `prehashed` are as in
/// [`sign`]. A signature that doesn't verify is [`Error::SignatureInvalid`], one of a length that
/// none has [`Error::SignatureLength`].
pub fn verify(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
    prehashed: bool,
    signature: &[u8],
) -> Result<(), Error> {
    if !mechanism.offers(ck::CKF_VERIFY) {
        return Err(Error::MechanismInvalid);
    }
    if schemes::signs(mechanism.operation) {
        return schemes::verify(key, mechanism, params, data, prehashed, signature);
    }
    match (mechanism.operation, key) {
        (Kind::RsaPkcs, Key::RsaPublic(key)) => {
            params.expect_none()?;
            let key = key.backend();
            let encoded = Encoded::new(mechanism, data, prehashed)?;
            let encoded = encoded.fitting(key.size())?;
            expect_length(signature, key.size())?;
            // Compared with the one right encoding: nothing is parsed, so Bleichenbacher's forgery
            // of 2006 has nothing to hide in.
            match key.recover_pkcs1(signature) {
                Ok(recovered) if recovered == encoded => Ok(()),
                _ => Err(Error::SignatureInvalid),
            }
        }
        (Kind::RsaRaw, Key::RsaPublic(key)) => {
            params.expect_none()?;
            let key = key.backend();
            let expected = filled_up(data, key.size())?;
            expect_length(signature, key.size())?;
            match key.encrypt_raw(signature) {
                Ok(recovered) if recovered == expected => Ok(()),
                _ => Err(Error::SignatureInvalid),
            }
        }
        (Kind::RsaPss, Key::RsaPublic(key)) => {
            let key = key.backend();
            let pss = Pss::new(mechanism, params, key.bits())?;
            let hashed = hashed(pss.hash, data, prehashed || mechanism.hash.is_none())?;
            expect_length(signature, key.size())?;
            key.verify_pss(pss.hash, pss.mgf, pss.salt_length, hashed.as_bytes(), signature)
                .map_err(|_| Error::SignatureInvalid)
        }
        (Kind::Ecdsa, Key::EcPublic(key)) => {
            params.expect_none()?;
            let key = key.backend();
            let digest;
            let hashed = match mechanism.hash {
                Some(hash) => {
                    digest = hashed(hash, data, prehashed)?;
                    digest.as_bytes()
                }
                None if data.is_empty() => return Err(Error::DataLength),
                None => data,
            };
            // PKCS#11 v2.40 mechanisms, 2.3.1: "an ECDSA signature is an octet string of even
            // length which is at most two times nLen octets"; "For signatures passed to a token
            // for verification, the signature may have a shorter length but must be composed as
            // specified before."
            let most = 2 * key.curve().field_bytes();
            if signature.is_empty() || signature.len() > most || !signature.len().is_multiple_of(2)
            {
                return Err(Error::SignatureLength);
            }
            let (r, s) = signature.split_at(signature.len() / 2);
            key.verify(hashed, r, s).map_err(|_| Error::SignatureInvalid)
        }
        (operation, Key::Secret(key)) if operation.is_mac() => {
            unhashed(prehashed)?;
            let tag = mac(key, mechanism, params, &[], data)?;
            expect_length(signature, tag.len())?;
            if tag.ct_eq(signature).into() { Ok(()) } else { Err(Error::SignatureInvalid) }
        }
        (operation, _) if is_signature(operation) => Err(Error::KeyType),
        _ => Err(Error::MechanismInvalid),
    }
}

fn expect_length(signature: &[u8], length: usize) -> Result<(), Error> {
    if signature.len() == length { Ok(()) } else { Err(Error::SignatureLength) }
}

/// Data of the bare RSA function, with zeros in front up to the modulus's length: "the input data is
/// … prepended with zero bytes" (PKCS#11 v3.1, 6.1.13).
pub(crate) fn filled_up(data: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let zeros = length.checked_sub(data.len()).ok_or(Error::DataLength)?;
    Ok([&vec![0; zeros][..], data].concat())
}

/// The hash of `data`, or `data` itself where it is one already.
fn hashed(hash: Hash, data: &[u8], prehashed: bool) -> Result<Digest, Error> {
    if prehashed {
        Digest::adopt(hash, data).ok_or(Error::DataLength)
    } else {
        Ok(hash.digest_on_stack(data))
    }
}

/// Whether [`sign`] and [`verify`] implement it, with a key of the right type.
fn is_signature(operation: Kind) -> bool {
    operation.is_mac()
        || matches!(operation, Kind::RsaPkcs | Kind::RsaRaw | Kind::RsaPss | Kind::Ecdsa)
}

/// A MAC has no digest in its data's place.
fn unhashed(prehashed: bool) -> Result<(), Error> {
    if prehashed { Err(Error::DataInvalid) } else { Ok(()) }
}

/// What RSASSA-PKCS1-v1_5 pads: the caller's own bytes, or a DigestInfo on the stack.
enum Encoded<'a> {
    Given(&'a [u8]),
    DigestInfo { bytes: [u8; DIGEST_INFO_MAX], length: usize },
}

/// The longest DigestInfo of any [`Hash`], in bytes.
const DIGEST_INFO_MAX: usize = 19 + LONGEST;

impl<'a> Encoded<'a> {
    fn new(mechanism: &Mechanism, data: &'a [u8], prehashed: bool) -> Result<Self, Error> {
        let Some(hash) = mechanism.hash else { return Ok(Self::Given(data)) };
        let digest = hashed(hash, data, prehashed)?;
        let prefix = hash.digest_info_prefix();
        let length = prefix.len() + hash.len();
        let mut bytes = [0; DIGEST_INFO_MAX];
        bytes[..prefix.len()].copy_from_slice(prefix);
        bytes[prefix.len()..length].copy_from_slice(digest.as_bytes());
        Ok(Self::DigestInfo { bytes, length })
    }

    /// The bytes, if a modulus of `modulus_bytes` takes them (RFC 8017, section 9.2: 3 bytes of
    /// frame and 8 of padding at least).
    fn fitting(&self, modulus_bytes: usize) -> Result<&[u8], Error> {
        let bytes = match self {
            Self::Given(bytes) => bytes,
            Self::DigestInfo { bytes, length } => &bytes[..*length],
        };
        if bytes.len() + 11 <= modulus_bytes { Ok(bytes) } else { Err(Error::DataLength) }
    }
}

/// The parameter of RSASSA-PSS, checked against mechanism and key.
struct Pss {
    hash: Hash,
    mgf: Hash,
    salt_length: usize,
}

impl Pss {
    fn new(mechanism: &Mechanism, params: &Params<'_>, modulus_bits: u32) -> Result<Self, Error> {
        let Params::Pss { hash, mgf, salt_length } = *params else {
            return Err(Error::ParameterInvalid);
        };
        // RFC 8017, 9.1.1: emLen must be at least hLen + sLen + 2, of a modulus less one bit.
        let room = (modulus_bits as usize - 1).div_ceil(8) - 2 - hash.len();
        if salt_length > room || mechanism.hash.is_some_and(|named| named != hash) {
            return Err(Error::ParameterInvalid);
        }
        Ok(Self { hash, mgf, salt_length })
    }
}

#[cfg(test)]
mod tests;
