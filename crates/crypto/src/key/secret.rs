//! Secret keys: AES, generic secrets, and key types of one length.

use std::sync::OnceLock;

use cryptoki_sys as ck;
use subtle::ConstantTimeEq;

use crate::backend::aead::Aead;
use crate::backend::cipher::{self, BLOCK, Direction, Mode, run};
use crate::mechanism::GENERIC_SECRET_BYTES_MAX;
use crate::{Error, SecretBytes};

/// A secret key: AES, AES-XTS, ChaCha20, triple-DES, or a generic secret.
pub struct SecretKey {
    key_type: u64,
    bytes: SecretBytes,
    /// The key expanded for GCM with full tags, at its first use with it.
    gcm: OnceLock<Aead>,
}

impl SecretKey {
    pub(super) fn new(key_type: u64, bytes: SecretBytes) -> Result<Self, Error> {
        let length_fits = match key_type {
            ck::CKK_AES => matches!(bytes.len(), 16 | 24 | 32),
            ck::CKK_GENERIC_SECRET => (1..=GENERIC_SECRET_BYTES_MAX).contains(&bytes.len()),
            _ => fixed_length(key_type).ok_or(Error::KeyType)? == bytes.len(),
        };
        if !length_fits {
            return Err(Error::KeySize);
        }
        let parts_differ = match key_type {
            // SP 800-38E by way of IEEE 1619: equal halves make the tweak's encryption known.
            ck::CKK_AES_XTS => !bool::from(bytes.as_bytes()[..32].ct_eq(&bytes.as_bytes()[32..])),
            // Two equal neighbours cancel out: what is left is single DES.
            ck::CKK_DES3 => {
                let [one, two, three] = [0, 8, 16].map(|at| &bytes.as_bytes()[at..at + 8]);
                !(same_des_key(one, two) | same_des_key(two, three))
            }
            _ => true,
        };
        if !parts_differ {
            return Err(Error::KeyInvalid);
        }
        Ok(Self { key_type, bytes, gcm: OnceLock::new() })
    }

    /// `CKK_AES`, `CKK_GENERIC_SECRET`, …
    pub fn key_type(&self) -> u64 {
        self.key_type
    }

    /// The key's bytes.
    pub(crate) fn bytes(&self) -> &SecretBytes {
        &self.bytes
    }

    /// The bytes, if it is a key of the type `CKK_…`.
    pub(crate) fn of_type(&self, key_type: u64) -> Result<&[u8], Error> {
        if self.key_type == key_type { Ok(self.bytes.as_bytes()) } else { Err(Error::KeyType) }
    }

    /// The bytes, if it is an AES key.
    pub(crate) fn aes(&self) -> Result<&[u8], Error> {
        self.of_type(ck::CKK_AES)
    }

    /// The bytes, if it is a generic secret.
    pub(crate) fn generic(&self) -> Result<&[u8], Error> {
        self.of_type(ck::CKK_GENERIC_SECRET)
    }

    /// The bytes, if it is a ChaCha20 key.
    pub(crate) fn chacha20(&self) -> Result<&[u8; 32], Error> {
        self.of_type(ck::CKK_CHACHA20)?.try_into().map_err(|_| Error::KeySize)
    }

    /// The AES key prepared for GCM with 16-byte tags: made once, then shared by all threads.
    pub(crate) fn gcm(&self) -> Result<&Aead, Error> {
        if let Some(prepared) = self.gcm.get() {
            return Ok(prepared);
        }
        let prepared = Aead::new(self.aes()?, 16).map_err(Error::backend("preparing AES-GCM"))?;
        Ok(self.gcm.get_or_init(|| prepared))
    }

    pub(super) fn check_value(&self) -> Option<[u8; 3]> {
        if let Ok(key) = self.of_type(ck::CKK_DES3) {
            let block = run(Mode::Des3Ecb, Direction::Encrypt, key, &[], &[0; 8], false).ok()?;
            return block.as_bytes().first_chunk().copied();
        }
        let block = cipher::encrypt_block(self.aes().ok()?, &[0; BLOCK]).ok()?;
        block.first_chunk().copied()
    }
}

/// The length in bytes of keys whose type has only one.
pub fn fixed_length(key_type: u64) -> Option<usize> {
    match key_type {
        ck::CKK_DES3 => Some(24),
        ck::CKK_CHACHA20 => Some(32),
        ck::CKK_AES_XTS => Some(64),
        _ => None,
    }
}

/// Whether two DES keys are the same, their parity bits (the lowest) aside.
fn same_des_key(one: &[u8], two: &[u8]) -> bool {
    one.iter().zip(two).fold(0, |differs, (a, b)| differs | (a ^ b) & 0xfe) == 0
}

/// Sets each byte's lowest bit so that it has an odd number of ones, as DES keys have them
/// (FIPS 46-3).
pub(super) fn set_des_parity(key: &mut [u8]) {
    for byte in key {
        *byte = (*byte & 0xfe) | u8::from((*byte & 0xfe).count_ones() % 2 == 0);
    }
}
