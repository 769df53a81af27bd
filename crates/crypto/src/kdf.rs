//! Key derivation functions over a secret key: SP 800-108 in counter mode, HKDF, the hash of a key, and
//! PBKDF2 over a password.
//!
//! The pseudorandom functions are aws-lc's; here they are only chained as the standards say.

use crate::backend::{cipher, digest};
use crate::hash::LONGEST;
use crate::{Error, Hash, Kind, Mechanism, Params, SecretBytes, SecretKey};

/// The pseudorandom function of [`CounterKdf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prf {
    /// HMAC, of a generic secret.
    Hmac(Hash),
    /// AES-CMAC, of an AES key.
    Cmac,
}

/// A number inside the pseudorandom function's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberField {
    /// How many bytes of the fixed input stand before it.
    pub at: usize,
    /// Its width: 8, 16, 24, 32 and so on, up to 64.
    pub bits: u32,
    /// Whether its lowest byte comes first.
    pub little_endian: bool,
}

impl NumberField {
    /// `number` as it stands in the input; `None` where it doesn't fit.
    fn bytes(&self, number: u64) -> Option<Vec<u8>> {
        let width = self.bits as usize / 8;
        if !self.bits.is_multiple_of(8) || !(1..=8).contains(&width) {
            return None;
        }
        let bytes = number.to_be_bytes();
        let (high, low) = bytes.split_at(8 - width);
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        let mut low = low.to_vec();
        if self.little_endian {
            low.reverse();
        }
        Some(low)
    }
}

/// SP 800-108 r1, 4.1: K(i) = PRF(key, fixed input with the counter i and perhaps the length in it).
#[derive(Clone, Copy, Debug)]
pub struct CounterKdf<'a> {
    /// The pseudorandom function.
    pub prf: Prf,
    /// The input but for counter and length.
    pub fixed: &'a [u8],
    /// Where the counter stands.
    pub counter: NumberField,
    /// Where the length stands, in bits of derived keying material.
    pub length: Option<NumberField>,
    /// Whether the length is that of whole outputs of the function, not of the key.
    pub length_of_segments: bool,
    /// Where both stand at the same place: whether the length comes first.
    pub length_first: bool,
}

/// What HKDF does.
#[derive(Clone, Copy, Debug)]
pub struct Hkdf<'a> {
    /// Whether it extracts; without, the key is a pseudorandom key already.
    pub extract: bool,
    /// Whether it expands; without, the pseudorandom key is what comes out.
    pub expand: bool,
    /// The hash of its HMAC.
    pub hash: Hash,
    /// The salt; none is as many zeros as the hash is long (RFC 5869, 2.2).
    pub salt: &'a [u8],
    /// What the expansion is for.
    pub info: &'a [u8],
}

/// Derives from a secret key: see [`crate::derive`].
pub(crate) fn derive(
    key: &SecretKey,
    mechanism: &Mechanism,
    params: &Params<'_>,
    length: Option<usize>,
) -> Result<SecretBytes, Error> {
    match (mechanism.operation, *params, mechanism.hash) {
        (Kind::CounterKdf, Params::CounterKdf(kdf), _) => {
            counter(key, &kdf, length.ok_or(Error::KeySize)?)
        }
        (Kind::Hkdf, Params::Hkdf(kdf), _) => hkdf(key.generic()?, &kdf, length),
        (Kind::HashDerive, Params::None, Some(hash)) => {
            let whole = hash.digest_on_stack(key.bytes().as_bytes());
            let whole = SecretBytes::copied(whole.as_bytes());
            match length {
                None => Ok(whole),
                Some(length) if length <= whole.len() => {
                    Ok(SecretBytes::copied(&whole.as_bytes()[..length]))
                }
                Some(_) => Err(Error::KeySize),
            }
        }
        (Kind::Shake128Derive, Params::None, _) => {
            Ok(digest::shake128(key.bytes().as_bytes(), length.ok_or(Error::KeySize)?))
        }
        (Kind::Shake256Derive, Params::None, _) => {
            Ok(digest::shake256(key.bytes().as_bytes(), length.ok_or(Error::KeySize)?))
        }
        _ => Err(Error::ParameterInvalid),
    }
}

fn counter(key: &SecretKey, kdf: &CounterKdf<'_>, length: usize) -> Result<SecretBytes, Error> {
    let (key, segment) = match kdf.prf {
        Prf::Hmac(hash) => (key.generic()?, hash.len()),
        Prf::Cmac => (key.aes()?, cipher::BLOCK),
    };
    let keying_bytes =
        if kdf.length_of_segments { length.next_multiple_of(segment) } else { length };
    let bits = 8 * keying_bytes as u64;
    let length_field = match kdf.length {
        Some(field) => Some((field.at, field.bytes(bits).ok_or(Error::ParameterInvalid)?)),
        None => None,
    };
    let mut out = SecretBytes::zeroed(length);
    for (number, chunk) in (1u64..).zip(out.as_mut_bytes().chunks_mut(segment)) {
        let counter = kdf.counter.bytes(number).ok_or(Error::ParameterInvalid)?;
        let mut fields = vec![(kdf.counter.at, counter)];
        if let Some(field) = &length_field {
            let first = field.0 < kdf.counter.at || kdf.length_first && field.0 == kdf.counter.at;
            fields.insert(usize::from(!first), field.clone());
        }
        let mut input = Vec::with_capacity(kdf.fixed.len() + 16);
        let mut done = 0;
        for (at, bytes) in fields {
            input.extend_from_slice(kdf.fixed.get(done..at).ok_or(Error::ParameterInvalid)?);
            input.extend_from_slice(&bytes);
            done = at;
        }
        input.extend_from_slice(&kdf.fixed[done..]);
        let block = match kdf.prf {
            Prf::Hmac(hash) => hmac(hash, key, &input)?,
            Prf::Cmac => cipher::cmac(key, false, &input).map_err(Error::backend("CMAC"))?,
        };
        chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
    }
    Ok(out)
}

fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Result<SecretBytes, Error> {
    let mut out = [0; LONGEST];
    let length = digest::hmac(hash, key, data, &mut out).map_err(Error::backend("HMAC"))?;
    let block = SecretBytes::copied(&out[..length]);
    crate::backend::cleanse(&mut out);
    Ok(block)
}

fn hkdf(key: &[u8], kdf: &Hkdf<'_>, length: Option<usize>) -> Result<SecretBytes, Error> {
    let failed = Error::backend("HKDF");
    let extracted;
    let prk = if kdf.extract {
        extracted = digest::hkdf_extract(kdf.hash, kdf.salt, key).map_err(&failed)?;
        extracted.as_bytes()
    } else {
        key
    };
    match (kdf.extract, kdf.expand, length) {
        (_, true, Some(length)) if length <= 255 * kdf.hash.len() => {
            digest::hkdf_expand(kdf.hash, prk, kdf.info, length).map_err(failed)
        }
        (_, true, _) => Err(Error::KeySize),
        (true, false, None) => Ok(SecretBytes::copied(prk)),
        (true, false, Some(length)) if length == prk.len() => Ok(SecretBytes::copied(prk)),
        (true, false, Some(_)) => Err(Error::KeySize),
        (false, false, _) => Err(Error::ParameterInvalid),
    }
}

/// `length` bytes of PBKDF2 (RFC 8018) with HMAC of `hash`. The caller bounds the iterations: each costs
/// time.
pub fn pbkdf2(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
) -> Result<SecretBytes, Error> {
    if iterations == 0 || length == 0 {
        return Err(Error::ParameterInvalid);
    }
    digest::pbkdf2(hash, password, salt, iterations, length).map_err(Error::backend("PBKDF2"))
}
