//! Secret keys: AES and generic.

use std::sync::OnceLock;

use cryptoki_sys as ck;

use crate::backend::aead::Aead;
use crate::backend::cipher::{self, BLOCK};
use crate::mechanism::GENERIC_SECRET_BYTES_MAX;
use crate::{Error, SecretBytes};

/// An AES key or a generic secret.
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
            _ => return Err(Error::KeyType),
        };
        if !length_fits {
            return Err(Error::KeySize);
        }
        Ok(Self { key_type, bytes, gcm: OnceLock::new() })
    }

    /// `CKK_AES` or `CKK_GENERIC_SECRET`.
    pub fn key_type(&self) -> u64 {
        self.key_type
    }

    /// The key's bytes.
    pub(crate) fn bytes(&self) -> &SecretBytes {
        &self.bytes
    }

    /// The bytes, if it is an AES key.
    pub(crate) fn aes(&self) -> Result<&[u8], Error> {
        match self.key_type {
            ck::CKK_AES => Ok(self.bytes.as_bytes()),
            _ => Err(Error::KeyType),
        }
    }

    /// The bytes, if it is a generic secret.
    pub(crate) fn generic(&self) -> Result<&[u8], Error> {
        match self.key_type {
            ck::CKK_GENERIC_SECRET => Ok(self.bytes.as_bytes()),
            _ => Err(Error::KeyType),
        }
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
        let block = cipher::encrypt_block(self.aes().ok()?, &[0; BLOCK]).ok()?;
        block.first_chunk().copied()
    }
}
