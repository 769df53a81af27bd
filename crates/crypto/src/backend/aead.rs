//! AES-GCM and ChaCha20-Poly1305 with a prepared key, expanded once and used from many threads; and
//! AES-CCM.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use super::{Failed, Owned, failed, ok, written};
use crate::SecretBytes;

/// A key prepared for one algorithm and tag length.
pub(crate) struct Aead {
    context: Owned<sys::EVP_AEAD_CTX>,
    tag_bytes: usize,
}

// SAFETY: the context is owned memory without ties to a thread.
unsafe impl Send for Aead {}
// SAFETY: aead.h of EVP_AEAD_CTX_seal and open: "this function may be called concurrently with
// itself and with the other seal/open functions … on the same |EVP_AEAD_CTX|, but ONLY for the
// following AEADs: |EVP_aead_aes_128_gcm|, |EVP_aead_aes_192_gcm|, |EVP_aead_aes_256_gcm|, … |EVP_aead_chacha20_poly1305| …".
unsafe impl Sync for Aead {}

impl Aead {
    /// Prepares an AES key (16, 24 or 32 bytes) for GCM with tags of `tag_bytes` (1 to 16).
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
        Self::prepare(algorithm, key, tag_bytes)
    }

    /// Prepares a key for ChaCha20-Poly1305 with its tags of 16 bytes.
    pub(crate) fn chacha20_poly1305(key: &[u8; 32]) -> Result<Self, Failed> {
        // SAFETY: takes nothing and returns a pointer to a static.
        Self::prepare(unsafe { sys::EVP_aead_chacha20_poly1305() }, key, 16)
    }

    fn prepare(
        algorithm: *const sys::EVP_AEAD,
        key: &[u8],
        tag_bytes: usize,
    ) -> Result<Self, Failed> {
        // SAFETY: the key is read by its length and copied; the new context is ours.
        let context = unsafe {
            Owned::new(sys::EVP_AEAD_CTX_new(algorithm, key.as_ptr(), key.len(), tag_bytes))?
        };
        Ok(Self { context, tag_bytes })
    }

    /// `prefix || ciphertext || tag`. GCM's nonce is 1 byte or longer,
    /// ChaCha20-Poly1305's has 12.
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

/// AES-CCM (SP 800-38C) of one message. A nonce has 7 to 13 bytes, and a tag 4 to 16, an even number.
pub(crate) struct Ccm<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) nonce: &'a [u8],
    pub(crate) aad: &'a [u8],
    pub(crate) tag_bytes: usize,
}

impl Ccm<'_> {
    /// `ciphertext || tag`.
    pub(crate) fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, Failed> {
        let context = self.begin(None, plaintext.len())?;
        let mut out = vec![0; plaintext.len() + self.tag_bytes];
        let (front, tag) = out.split_at_mut(plaintext.len());
        Self::pass(&context, plaintext, front)?;
        // SAFETY: the context has made a tag of this length, which is the room.
        ok(unsafe {
            sys::EVP_CIPHER_CTX_ctrl(
                context.as_ptr(),
                sys::EVP_CTRL_AEAD_GET_TAG,
                self.tag_bytes as c_int,
                tag.as_mut_ptr().cast(),
            )
        })?;
        Ok(out)
    }

    /// The plaintext of `ciphertext || tag`, if the tag verifies.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<SecretBytes, Failed> {
        let length = sealed.len().checked_sub(self.tag_bytes).ok_or(Failed)?;
        let (ciphertext, tag) = sealed.split_at(length);
        let context = self.begin(Some(tag), length)?;
        let mut out = SecretBytes::zeroed(length);
        Self::pass(&context, ciphertext, out.as_mut_bytes())?;
        Ok(out)
    }

    /// A context that is ready for the data, `length` bytes of it. Decryption has its tag first.
    fn begin(
        &self,
        tag: Option<&[u8]>,
        length: usize,
    ) -> Result<Owned<sys::EVP_CIPHER_CTX>, Failed> {
        // SAFETY: these take nothing and return pointers to statics.
        let cipher = unsafe {
            match self.key.len() {
                16 => sys::EVP_aes_128_ccm(),
                24 => sys::EVP_aes_192_ccm(),
                32 => sys::EVP_aes_256_ccm(),
                _ => return Err(Failed),
            }
        };
        let number = |length: usize| c_int::try_from(length).map_err(|_| Failed);
        let encrypt = c_int::from(tag.is_none());
        let tag_start = tag.map_or(ptr::null(), <[u8]>::as_ptr).cast_mut();
        let mut done = 0;
        // SAFETY: the context is fresh and ours; the key has the cipher's length, the nonce the length
        // that was set, the tag is read by its own; associated data likewise.
        unsafe {
            let context = Owned::new(sys::EVP_CIPHER_CTX_new())?;
            let at = context.as_ptr();
            let (none, no_bytes) = (ptr::null_mut(), ptr::null());
            ok(sys::EVP_CipherInit_ex(at, cipher, none, no_bytes, no_bytes, encrypt))?;
            let nonce_bytes = number(self.nonce.len())?;
            let set_nonce = sys::EVP_CTRL_AEAD_SET_IVLEN;
            ok(sys::EVP_CIPHER_CTX_ctrl(at, set_nonce, nonce_bytes, ptr::null_mut()))?;
            let (set_tag, tag_bytes) = (sys::EVP_CTRL_AEAD_SET_TAG, number(self.tag_bytes)?);
            ok(sys::EVP_CIPHER_CTX_ctrl(at, set_tag, tag_bytes, tag_start.cast()))?;
            let (key, nonce) = (self.key.as_ptr(), self.nonce.as_ptr());
            ok(sys::EVP_CipherInit_ex(at, ptr::null(), none, key, nonce, encrypt))?;
            let no_output = ptr::null_mut();
            ok(sys::EVP_CipherUpdate(at, no_output, &mut done, no_bytes, number(length)?))?;
            if !self.aad.is_empty() {
                let aad = self.aad.as_ptr();
                ok(sys::EVP_CipherUpdate(
                    at,
                    ptr::null_mut(),
                    &mut done,
                    aad,
                    number(self.aad.len())?,
                ))?;
            }
            Ok(context)
        }
    }

    fn pass(
        context: &Owned<sys::EVP_CIPHER_CTX>,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Failed> {
        let length = c_int::try_from(input.len()).map_err(|_| Failed)?;
        let mut done = 0;
        // SAFETY: as many bytes are written as are read, and the output is as long as the input. With
        // a wrong tag the backend wipes what it wrote.
        let code = unsafe {
            sys::EVP_CipherUpdate(
                context.as_ptr(),
                output.as_mut_ptr(),
                &mut done,
                input.as_ptr(),
                length,
            )
        };
        ok(code)?;
        if done == length { Ok(()) } else { Err(failed()) }
    }
}
