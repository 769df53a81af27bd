//! Encryption and decryption: AES modes, ChaCha20, triple-DES and RSA.

use cryptoki_sys as ck;

use crate::backend::aead::{Aead, Ccm};
use crate::backend::cipher::{BLOCK, Direction, Mode, chacha20, run};
use crate::backend::pkey::Oaep;
use crate::sign::filled_up;
use crate::{Error, Key, Kind, Mechanism, Params, SecretBytes, SecretKey, pkcs1, random};

/// Length of the IV that CKM_CLOUDHSM_AES_GCM makes, in bytes.
const MADE_IV: usize = 12;

/// Encrypts `data` with a secret or public key.
///
/// What comes out: for CKM_AES_GCM ciphertext || tag; for CKM_CLOUDHSM_AES_GCM IV (12 random
/// bytes) || ciphertext || tag, as "the IV is prepended to the output" has it; for CKM_AES_CBC,
/// _ECB and _CTR as many bytes as came in; for CKM_AES_CBC_PAD the next whole block; for RSA the
/// modulus's length.
///
/// A GCM tag is 96, 104, 112, 120 or 128 bits long: SP 800-38D allows 32 and 64 for special
/// uses, which nobody asks a key store for. Uniqueness of the IV is the caller's to see to.
pub fn encrypt(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
) -> Result<Vec<u8>, Error> {
    if !mechanism.offers(ck::CKF_ENCRYPT) {
        return Err(Error::MechanismInvalid);
    }
    encrypt_any(key, mechanism, params, data)
}

/// Decrypts `data` with a secret or private key.
///
/// One error, [`Error::EncryptedDataInvalid`], says that a tag or a padding is wrong. RSA
/// PKCS #1 v1.5 doesn't say even that: a wrong padding gives an unpredictable message, as
/// OpenSSL 3.2 has it, because the bit would be enough to decrypt anything.
///
/// GCM takes the tag lengths of [`encrypt`], and 32 and 64 bits, which others may have made.
pub fn decrypt(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
) -> Result<SecretBytes, Error> {
    if !mechanism.offers(ck::CKF_DECRYPT) {
        return Err(Error::MechanismInvalid);
    }
    decrypt_any(key, mechanism, params, data, &[32, 64, 96, 104, 112, 120, 128])
}

/// [`encrypt`] without asking whether the mechanism encrypts: it may wrap.
pub(crate) fn encrypt_any(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
) -> Result<Vec<u8>, Error> {
    match (mechanism.operation, key) {
        (Kind::AesGcm, Key::Secret(key)) => {
            let gcm = Gcm::new(params, STRONG_TAGS)?;
            if gcm.iv.is_empty() {
                return Err(Error::ParameterInvalid);
            }
            gcm.seal(key, &[], gcm.iv, data)
        }
        (Kind::AesGcmWithIv, Key::Secret(key)) => {
            let gcm = Gcm::new(params, STRONG_TAGS)?;
            if !gcm.iv.is_empty() {
                return Err(Error::ParameterInvalid);
            }
            let mut iv = [0; MADE_IV];
            random(&mut iv)?;
            gcm.seal(key, &iv, &iv, data)
        }
        (Kind::AesCcm, Key::Secret(key)) => {
            let ccm = ccm(key, params, STRONG_CCM_TAGS, data.len(), Error::DataLength)?;
            ccm.seal(data).map_err(Error::backend("AES-CCM"))
        }
        (Kind::ChaCha20Poly1305, Key::Secret(key)) => {
            let (prepared, nonce, aad) = chacha20_poly1305(key, params)?;
            prepared.seal(&[], nonce, aad, data).map_err(Error::backend("ChaCha20-Poly1305"))
        }
        (Kind::ChaCha20, Key::Secret(key)) => {
            key_stream(key, params, data, Error::DataLength).map(SecretBytes::into_plain)
        }
        (operation, Key::Secret(key)) if BlockMode::of(operation).is_some() => {
            let mode = BlockMode::new(operation, params)?;
            if !mode.takes(data.len()) {
                return Err(Error::DataLength);
            }
            let key = key.of_type(mechanism.key_type.ok_or(Error::MechanismInvalid)?)?;
            mode.run(Direction::Encrypt, key, data)
                .map(SecretBytes::into_plain)
                .map_err(Error::backend("encryption"))
        }
        (Kind::RsaPkcs, Key::RsaPublic(key)) => {
            params.expect_none()?;
            let key = key.backend();
            if data.len() + 11 > key.size() {
                return Err(Error::DataLength);
            }
            key.encrypt_pkcs1(data).map_err(Error::backend("RSA encryption"))
        }
        (Kind::RsaRaw, Key::RsaPublic(key)) => {
            params.expect_none()?;
            let key = key.backend();
            key.encrypt_raw(&filled_up(data, key.size())?).map_err(|_| Error::DataInvalid)
        }
        (Kind::RsaOaep, Key::RsaPublic(key)) => {
            let oaep = oaep(params)?;
            let key = key.backend();
            // RFC 8017, 7.1.1: "mLen <= k - 2hLen - 2". The largest hash leaves room in all keys.
            if data.len() + 2 * oaep.hash.len() + 2 > key.size() {
                return Err(Error::DataLength);
            }
            oaep.encrypt(key, data).map_err(Error::backend("RSA encryption"))
        }
        (operation, _) if is_cipher(operation) => Err(Error::KeyType),
        _ => Err(Error::MechanismInvalid),
    }
}

/// [`decrypt`] without asking whether the mechanism decrypts: it may unwrap.
pub(crate) fn decrypt_any(
    key: &Key,
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
    tags: &[u32],
) -> Result<SecretBytes, Error> {
    match (mechanism.operation, key) {
        (Kind::AesGcm, Key::Secret(key)) => {
            let gcm = Gcm::new(params, tags)?;
            if gcm.iv.is_empty() {
                return Err(Error::ParameterInvalid);
            }
            gcm.open(key, gcm.iv, data)
        }
        (Kind::AesGcmWithIv, Key::Secret(key)) => {
            let gcm = Gcm::new(params, tags)?;
            if !gcm.iv.is_empty() {
                return Err(Error::ParameterInvalid);
            }
            let (iv, data) = data.split_at_checked(MADE_IV).ok_or(Error::EncryptedDataLength)?;
            gcm.open(key, iv, data)
        }
        (Kind::AesCcm, Key::Secret(key)) => {
            let ccm = ccm(key, params, ALL_CCM_TAGS, data.len(), Error::EncryptedDataLength)?;
            if data.len() < ccm.tag_bytes {
                return Err(Error::EncryptedDataLength);
            }
            ccm.open(data).map_err(|_| Error::EncryptedDataInvalid)
        }
        (Kind::ChaCha20Poly1305, Key::Secret(key)) => {
            let (prepared, nonce, aad) = chacha20_poly1305(key, params)?;
            if data.len() < 16 {
                return Err(Error::EncryptedDataLength);
            }
            prepared.open(nonce, aad, data).map_err(|_| Error::EncryptedDataInvalid)
        }
        (Kind::ChaCha20, Key::Secret(key)) => {
            key_stream(key, params, data, Error::EncryptedDataLength)
        }
        (operation, Key::Secret(key)) if BlockMode::of(operation).is_some() => {
            let mode = BlockMode::new(operation, params)?;
            let whole = data.len().is_multiple_of(mode.mode.block()) && !data.is_empty();
            let possible = if mode.padding { whole } else { mode.takes(data.len()) };
            if !possible {
                return Err(Error::EncryptedDataLength);
            }
            let key = key.of_type(mechanism.key_type.ok_or(Error::MechanismInvalid)?)?;
            mode.run(Direction::Decrypt, key, data).map_err(|_| Error::EncryptedDataInvalid)
        }
        (Kind::RsaPkcs, Key::RsaPrivate(key)) => {
            params.expect_none()?;
            expect_modulus_length(data, key.backend().size())?;
            pkcs1::decrypt(key.backend(), key.rejection_secret()?, data)
        }
        (Kind::RsaRaw, Key::RsaPrivate(key)) => {
            params.expect_none()?;
            expect_modulus_length(data, key.backend().size())?;
            key.backend().decrypt_raw(data).map_err(|_| Error::EncryptedDataInvalid)
        }
        (Kind::RsaOaep, Key::RsaPrivate(key)) => {
            let oaep = oaep(params)?;
            expect_modulus_length(data, key.backend().size())?;
            oaep.decrypt(key.backend(), data).map_err(|_| Error::EncryptedDataInvalid)
        }
        (operation, _) if is_cipher(operation) => Err(Error::KeyType),
        _ => Err(Error::MechanismInvalid),
    }
}

/// Whether [`encrypt_any`] and [`decrypt_any`] implement it.
fn is_cipher(operation: Kind) -> bool {
    BlockMode::of(operation).is_some()
        || matches!(
            operation,
            Kind::AesGcm
                | Kind::AesGcmWithIv
                | Kind::AesCcm
                | Kind::ChaCha20
                | Kind::ChaCha20Poly1305
                | Kind::RsaPkcs
                | Kind::RsaRaw
                | Kind::RsaOaep
        )
}

/// Lengths of CCM's tag in bits: all that SP 800-38C has, and those that nobody guesses.
const ALL_CCM_TAGS: &[u32] = &[32, 48, 64, 80, 96, 112, 128];
const STRONG_CCM_TAGS: &[u32] = &[64, 80, 96, 112, 128];

/// CCM with its parameter checked. SP 800-38C, A.1: the data's length must fit into what the nonce
/// leaves of a block, 15 bytes less the nonce.
fn ccm<'a>(
    key: &'a SecretKey,
    params: &Params<'a>,
    tags: &[u32],
    length: usize,
    too_long: Error,
) -> Result<Ccm<'a>, Error> {
    match *params {
        Params::Gcm { iv, aad, tag_bits }
            if (7..=13).contains(&iv.len()) && tags.contains(&tag_bits) =>
        {
            if length as u64 >> (8 * (15 - iv.len()).min(7)) != 0 {
                return Err(too_long);
            }
            Ok(Ccm { key: key.aes()?, nonce: iv, aad, tag_bytes: tag_bits as usize / 8 })
        }
        _ => Err(Error::ParameterInvalid),
    }
}

/// ChaCha20-Poly1305, its nonce and associated data.
fn chacha20_poly1305<'a>(
    key: &SecretKey,
    params: &Params<'a>,
) -> Result<(Aead, &'a [u8], &'a [u8]), Error> {
    match *params {
        Params::Gcm { iv, aad, tag_bits: 128 } if iv.len() == 12 => {
            let prepared = Aead::chacha20_poly1305(key.chacha20()?);
            Ok((prepared.map_err(Error::backend("preparing ChaCha20-Poly1305"))?, iv, aad))
        }
        _ => Err(Error::ParameterInvalid),
    }
}

/// ChaCha20, either way. The counter must not wrap: its key stream would come again.
fn key_stream(
    key: &SecretKey,
    params: &Params<'_>,
    data: &[u8],
    too_long: Error,
) -> Result<SecretBytes, Error> {
    let Params::Iv(state) = *params else { return Err(Error::ParameterInvalid) };
    let state: &[u8; 16] = state.try_into().map_err(|_| Error::ParameterInvalid)?;
    let (Some(counter), Some(nonce)) = (state.first_chunk(), state.last_chunk()) else {
        return Err(Error::ParameterInvalid);
    };
    let counter = u32::from_le_bytes(*counter);
    if u64::from(counter) + data.len().div_ceil(64) as u64 > 1 << 32 {
        return Err(too_long);
    }
    Ok(chacha20(key.chacha20()?, counter, nonce, data))
}

fn expect_modulus_length(data: &[u8], length: usize) -> Result<(), Error> {
    if data.len() == length { Ok(()) } else { Err(Error::EncryptedDataLength) }
}

fn oaep<'a>(params: &Params<'a>) -> Result<Oaep<'a>, Error> {
    match *params {
        Params::Oaep { hash, mgf, label } => Ok(Oaep { hash, mgf, label }),
        _ => Err(Error::ParameterInvalid),
    }
}

/// Tag lengths in bits that SP 800-38D names for general use.
pub(crate) const STRONG_TAGS: &[u32] = &[96, 104, 112, 120, 128];

/// The parameter of GCM, checked.
struct Gcm<'a> {
    iv: &'a [u8],
    aad: &'a [u8],
    tag_bytes: usize,
}

impl<'a> Gcm<'a> {
    fn new(params: &Params<'a>, tags: &[u32]) -> Result<Self, Error> {
        match *params {
            Params::Gcm { iv, aad, tag_bits } if tags.contains(&tag_bits) => {
                Ok(Self { iv, aad, tag_bytes: tag_bits as usize / 8 })
            }
            _ => Err(Error::ParameterInvalid),
        }
    }

    /// Calls `with` the key prepared for the tag length: the kept one for the usual 16 bytes.
    fn with_key<T>(
        &self,
        key: &SecretKey,
        with: impl FnOnce(&Aead) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.tag_bytes == 16 {
            return with(key.gcm()?);
        }
        let prepared = Aead::new(key.aes()?, self.tag_bytes);
        with(&prepared.map_err(Error::backend("preparing AES-GCM"))?)
    }

    fn seal(
        &self,
        key: &SecretKey,
        prefix: &[u8],
        iv: &[u8],
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.with_key(key, |prepared| {
            prepared.seal(prefix, iv, self.aad, data).map_err(Error::backend("AES-GCM"))
        })
    }

    fn open(&self, key: &SecretKey, iv: &[u8], data: &[u8]) -> Result<SecretBytes, Error> {
        if data.len() < self.tag_bytes {
            return Err(Error::EncryptedDataLength);
        }
        self.with_key(key, |prepared| {
            prepared.open(iv, self.aad, data).map_err(|_| Error::EncryptedDataInvalid)
        })
    }
}

/// One of the modes that aren't authenticated, with its parameter checked.
struct BlockMode<'a> {
    mode: Mode,
    iv: &'a [u8],
    padding: bool,
}

impl<'a> BlockMode<'a> {
    /// The mode of a mechanism, and whether it pads.
    fn of(operation: Kind) -> Option<(Mode, bool)> {
        Some(match operation {
            Kind::AesEcb => (Mode::Ecb, false),
            Kind::AesCbc => (Mode::Cbc, false),
            Kind::AesCbcPad => (Mode::Cbc, true),
            Kind::AesCtr => (Mode::Ctr, false),
            Kind::AesCfb8 => (Mode::Cfb8, false),
            Kind::AesCfb128 => (Mode::Cfb128, false),
            Kind::AesOfb => (Mode::Ofb, false),
            Kind::AesXts => (Mode::Xts, false),
            Kind::Des3Ecb => (Mode::Des3Ecb, false),
            Kind::Des3Cbc => (Mode::Des3Cbc, false),
            Kind::Des3CbcPad => (Mode::Des3Cbc, true),
            _ => return None,
        })
    }

    fn new(operation: Kind, params: &Params<'a>) -> Result<Self, Error> {
        let (mode, padding) = Self::of(operation).ok_or(Error::MechanismInvalid)?;
        let iv = match *params {
            Params::None if mode.iv() == 0 => &[],
            Params::Iv(iv) if mode.iv() != 0 && iv.len() == mode.iv() => iv,
            _ => return Err(Error::ParameterInvalid),
        };
        Ok(Self { mode, iv, padding })
    }

    /// Whether data of this length can be encrypted.
    fn takes(&self, length: usize) -> bool {
        match self.mode {
            Mode::Ecb | Mode::Cbc | Mode::Des3Ecb | Mode::Des3Cbc => {
                self.padding || length.is_multiple_of(self.mode.block())
            }
            Mode::Xts => length >= BLOCK,
            Mode::Ctr | Mode::Cfb8 | Mode::Cfb128 | Mode::Ofb => true,
        }
    }

    fn run(
        &self,
        direction: Direction,
        key: &[u8],
        data: &[u8],
    ) -> Result<SecretBytes, crate::backend::Failed> {
        run(self.mode, direction, key, self.iv, data, self.padding)
    }
}

#[cfg(test)]
mod tests;
