//! AES-GCM with a prepared key: expanded once, used from many threads.

use aws_lc_sys as sys;

use super::{Failed, Owned, ok, written};
use crate::SecretBytes;

/// An AES key prepared for GCM with one tag length.
pub(crate) struct Aead {
    context: Owned<sys::EVP_AEAD_CTX>,
    tag_bytes: usize,
}

// SAFETY: the context is owned memory without ties to a thread.
unsafe impl Send for Aead {}
// SAFETY: aead.h of EVP_AEAD_CTX_seal and open: "this function may be called concurrently with
// itself and with the other seal/open functions … on the same |EVP_AEAD_CTX|, but ONLY for the
// following AEADs: |EVP_aead_aes_128_gcm|, |EVP_aead_aes_192_gcm|, |EVP_aead_aes_256_gcm| …".
unsafe impl Sync for Aead {}

impl Aead {
    /// Prepares `key` (16, 24 or 32 bytes) for tags of `tag_bytes` (1 to 16).
    pub(crate) fn new(key: &[u8], tag_bytes: usize) -> Result<Self, Failed> {
        // SAFETY: these take nothing and return pointers to statics.
        let algorithm = unsafe {
            match key.len() {
                16 => sys::EVP_aead_aes_128_gcm(),
                24 => sys::EVP_aead_aes_192_gcm(),
                32 => sys::EVP_aead_aes_256_gcm(),
                _ => return Err(Failed),
            }
        };
        // 0 would be aws-lc's "default length".
        if tag_bytes == 0 {
            return Err(Failed);
        }
        // SAFETY: the key is read by its length and copied; the new context is ours.
        let context = unsafe {
            Owned::new(sys::EVP_AEAD_CTX_new(algorithm, key.as_ptr(), key.len(), tag_bytes))?
        };
        Ok(Self { context, tag_bytes })
    }

    /// `prefix || ciphertext || tag`. The nonce is 1 byte or longer.
    pub(crate) fn seal(
        &self,
        prefix: &[u8],
        nonce: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Failed> {
        let room = plaintext.len() + self.tag_bytes;
        let mut length = 0;
        // SAFETY: the buffer has room for the prefix and then for plaintext and tag; `seal` writes
        // at most `room` bytes there and reports how many.
        unsafe {
            written(prefix.len() + room, |out| {
                out.copy_from_nonoverlapping(prefix.as_ptr(), prefix.len());
                ok(sys::EVP_AEAD_CTX_seal(
                    self.context.as_ptr(),
                    out.add(prefix.len()),
                    &mut length,
                    room,
                    nonce.as_ptr(),
                    nonce.len(),
                    plaintext.as_ptr(),
                    plaintext.len(),
                    aad.as_ptr(),
                    aad.len(),
                ))?;
                Ok(prefix.len() + length)
            })
        }
    }

    /// The plaintext of `ciphertext || tag`, if the tag verifies.
    pub(crate) fn open(
        &self,
        nonce: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, Failed> {
        let mut length = 0;
        // SAFETY: the buffer has the length of the input, and `open` writes at most that many
        // bytes and reports how many. On failure it wipes what it wrote ("in the event of an
        // error, clear the output buffer", aead.c).
        let plaintext = unsafe {
            written(sealed.len(), |out| {
                ok(sys::EVP_AEAD_CTX_open(
                    self.context.as_ptr(),
                    out,
                    &mut length,
                    sealed.len(),
                    nonce.as_ptr(),
                    nonce.len(),
                    sealed.as_ptr(),
                    sealed.len(),
                    aad.as_ptr(),
                    aad.len(),
                ))?;
                Ok(length)
            })?
        };
        Ok(SecretBytes::new(plaintext))
    }
}
