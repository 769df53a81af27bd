//! MACs with secret keys, and MACs of data that comes in more than one request.
//!
//! Between two requests an unfinished MAC is a state that its caller keeps: sealed under a key that is
//! derived from the MAC's own, so that every HSM that has the key can go on, and nobody else learns or
//! forges one. A chaining value in the open would let its holder go on by himself.

use cryptoki_sys as ck;
use subtle::ConstantTimeEq;

use crate::backend::aead::Aead;
use crate::backend::{cipher, digest};
use crate::cipher::STRONG_TAGS;
use crate::hash::LONGEST;
use crate::symmetric::{self, AeadKey, NONCE_BYTES};
use crate::{Error, Hash, Key, Kind, Mechanism, Params, SecretBytes, SecretKey, random};

/// The shortest MAC, in bytes: "at least 32 bits" (SP 800-224, 4.2; SP 800-38B, appendix A, advises 64).
const MAC_BYTES_MIN: usize = 4;
/// What [`mac_update`] takes is a multiple of so many bytes: a block of each hash and cipher.
pub const MAC_PART_BYTES: usize = 128;
const CONTEXT: &[u8] = b"strongroom MAC state 1\0";

/// The MACs that can be taken up again.
enum Chained {
    Hmac(Hash),
    Cmac,
}

impl Chained {
    fn of(mechanism: &Mechanism) -> Option<Self> {
        match (mechanism.operation, mechanism.hash) {
            (Kind::Hmac | Kind::HmacGeneral, Some(hash)) if hash.has_state() => {
                Some(Self::Hmac(hash))
            }
            (Kind::Cmac | Kind::CmacGeneral, None) if mechanism.key_type == Some(ck::CKK_AES) => {
                Some(Self::Cmac)
            }
            _ => None,
        }
    }
}

impl Mechanism {
    /// Whether its data may come in more than one request: see [`mac_update`].
    pub fn has_mac_state(&self) -> bool {
        Chained::of(self).is_some()
    }
}

/// Takes `data`, whole parts of [`MAC_PART_BYTES`], into a MAC that began with this call (an empty
/// `state`) or goes on from the state that the last one gave; gives the next state.
///
/// # Errors
/// [`Error::DataLength`] for other lengths, [`Error::DataInvalid`] for a state that is of another key or
/// mechanism, [`Error::MechanismInvalid`] where it can't be taken up again.
pub fn mac_update(
    key: &Key,
    mechanism: &Mechanism,
    state: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Error> {
    let chained = Chained::of(mechanism).ok_or(Error::MechanismInvalid)?;
    let Key::Secret(key) = key else { return Err(Error::KeyType) };
    if data.is_empty() || !data.len().is_multiple_of(MAC_PART_BYTES) {
        return Err(Error::DataLength);
    }
    let before = open(key, mechanism, state)?;
    let before = before.as_ref().map(SecretBytes::as_bytes);
    let after = match chained {
        Chained::Hmac(hash) => digest::hmac_part(hash, key.generic()?, before, data, false)
            .map_err(Error::backend("HMAC"))?,
        Chained::Cmac => {
            // CMAC is CBC but for its last block (SP 800-38B, 6.2).
            let iv = before.unwrap_or(&[0; cipher::BLOCK]);
            let (mode, direction) = (cipher::Mode::Cbc, cipher::Direction::Encrypt);
            let chain = cipher::run(mode, direction, key.aes()?, iv, data, false);
            let chain = chain.map_err(Error::backend("CMAC"))?;
            SecretBytes::copied(&chain.as_bytes()[data.len() - cipher::BLOCK..])
        }
    };
    let mut nonce = [0; NONCE_BYTES];
    random(&mut nonce)?;
    let sealed = sealing(key)?.seal(nonce, &bound(mechanism), after.as_bytes());
    Ok([&nonce[..], &sealed].concat())
}

/// The state that a caller gives; `None` for an empty one.
fn open(
    key: &SecretKey,
    mechanism: &Mechanism,
    state: &[u8],
) -> Result<Option<SecretBytes>, Error> {
    if state.is_empty() {
        return Ok(None);
    }
    let (nonce, sealed) = state.split_first_chunk().ok_or(Error::DataInvalid)?;
    let opened = sealing(key)?.open(*nonce, &bound(mechanism), sealed);
    opened.map(Some).map_err(|_| Error::DataInvalid)
}

/// The key of a key's states. As HKDF's input the MAC's key is a message under a key of zeros, which is no
/// MAC that it makes.
fn sealing(key: &SecretKey) -> Result<AeadKey, Error> {
    AeadKey::from_secret(&symmetric::derive(key.bytes().as_bytes(), CONTEXT))
}

/// What a state is bound to beside its key: the function, whole or cut.
fn bound(mechanism: &Mechanism) -> Vec<u8> {
    let function = mechanism.hash.map_or(ck::CKM_AES_CMAC, Hash::mechanism);
    [CONTEXT, &function.to_le_bytes()].concat()
}

/// A MAC with a secret key, of the length that mechanism and parameter say, over what `state` stands for
/// and then `data`.
pub(crate) fn mac(
    key: &SecretKey,
    mechanism: &Mechanism,
    params: &Params<'_>,
    state: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Error> {
    if mechanism.operation == Kind::Gmac {
        return if state.is_empty() { gmac(key, params, data) } else { Err(Error::DataInvalid) };
    }
    let mut tag = match (open(key, mechanism, state)?, mechanism.hash) {
        (None, Some(hash)) => {
            let mut out = [0; LONGEST];
            let length = digest::hmac(hash, key.generic()?, data, &mut out);
            out[..length.map_err(Error::backend("HMAC"))?].to_vec()
        }
        (None, None) => {
            let key_type = mechanism.key_type.ok_or(Error::MechanismInvalid)?;
            cipher::cmac(key.of_type(key_type)?, key_type == ck::CKK_DES3, data)
                .map_err(Error::backend("CMAC"))?
                .into_plain()
        }
        (Some(state), Some(hash)) => {
            digest::hmac_part(hash, key.generic()?, Some(state.as_bytes()), data, true)
                .map_err(Error::backend("HMAC"))?
                .into_plain()
        }
        (Some(chain), None) => {
            // What goes on from a chaining value is the CMAC of the rest with that value in its first
            // block, where that is whole.
            let mut rest = SecretBytes::copied(data);
            let first = rest.as_mut_bytes().get_mut(..cipher::BLOCK).ok_or(Error::DataLength)?;
            first.iter_mut().zip(chain.as_bytes()).for_each(|(byte, chained)| *byte ^= chained);
            cipher::cmac(key.aes()?, false, rest.as_bytes())
                .map_err(Error::backend("CMAC"))?
                .into_plain()
        }
    };
    match (mechanism.operation, *params) {
        (Kind::Hmac | Kind::Cmac, Params::None) => Ok(tag),
        (Kind::HmacGeneral | Kind::CmacGeneral, Params::MacLength(length))
            if (MAC_BYTES_MIN..=tag.len()).contains(&length) =>
        {
            tag.truncate(length);
            Ok(tag)
        }
        _ => Err(Error::ParameterInvalid),
    }
}

fn gmac(key: &SecretKey, params: &Params<'_>, data: &[u8]) -> Result<Vec<u8>, Error> {
    match *params {
        Params::Gcm { iv, aad: [], tag_bits }
            if !iv.is_empty() && STRONG_TAGS.contains(&tag_bits) =>
        {
            let prepared = Aead::new(key.aes()?, tag_bits as usize / 8);
            let prepared = prepared.map_err(Error::backend("preparing AES-GMAC"))?;
            prepared.seal(&[], iv, data, &[]).map_err(Error::backend("AES-GMAC"))
        }
        _ => Err(Error::ParameterInvalid),
    }
}

/// As [`crate::verify`], of a MAC that [`mac_update`] began.
pub fn mac_check(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    state: &[u8],
    data: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    let tag = mac_finish(key, mechanism, params, state, data)?;
    if tag.len() != signature.len() {
        return Err(Error::SignatureLength);
    }
    if tag.ct_eq(signature).into() { Ok(()) } else { Err(Error::SignatureInvalid) }
}

/// As [`crate::sign`], of a MAC that [`mac_update`] began.
pub fn mac_finish(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    state: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Error> {
    if !mechanism.has_mac_state() {
        return Err(Error::MechanismInvalid);
    }
    match key {
        Key::Secret(key) => mac(key, mechanism, params, state, data),
        _ => Err(Error::KeyType),
    }
}
