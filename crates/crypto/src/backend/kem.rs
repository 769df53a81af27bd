//! Key agreement for sealing: ML-KEM-768 (FIPS 203) and X25519 (RFC 7748).

use std::ptr;

use aws_lc_sys as sys;

use super::bytes::from_der;
use super::{Failed, Owned, ok};
use crate::SecretBytes;

/// Bytes of an ML-KEM-768 seed, d || z.
pub(crate) const SEED_BYTES: usize = 64;
/// Bytes of an ML-KEM-768 encapsulation key.
pub(crate) const PUBLIC_BYTES: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext.
pub(crate) const CIPHERTEXT_BYTES: usize = 1088;
/// Bytes of any secret, scalar or point here.
pub(crate) const SECRET_BYTES: usize = 32;

/// PKCS#8 of an ML-KEM-768 private key by its seed (RFC 9935, section 6), up to the seed: version 0,
/// the algorithm 2.16.840.1.101.3.4.4.2, and an octet string that holds `[0]` with 64 bytes.
const SEED_PREFIX: [u8; 22] = [
    0x30, 0x54, 0x02, 0x01, 0x00, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
    0x04, 0x02, 0x04, 0x42, 0x80, 0x40,
];

/// An ML-KEM-768 key: a pair, or its public half.
pub(crate) struct MlKem(Owned<sys::EVP_PKEY>);

// SAFETY: the key is owned memory without ties to a thread.
unsafe impl Send for MlKem {}
// SAFETY: through a shared reference it is only read; its reference count is atomic.
unsafe impl Sync for MlKem {}

impl MlKem {
    /// The pair of a seed (FIPS 203, algorithm 16).
    pub(crate) fn from_seed(seed: &[u8; SEED_BYTES]) -> Result<Self, Failed> {
        let mut der = SecretBytes::zeroed(SEED_PREFIX.len() + SEED_BYTES);
        der.as_mut_bytes()[..SEED_PREFIX.len()].copy_from_slice(&SEED_PREFIX);
        der.as_mut_bytes()[SEED_PREFIX.len()..].copy_from_slice(seed);
        from_der(der.as_bytes(), |reader| {
            // SAFETY: the reader covers `der`; a returned key is ours.
            unsafe { Owned::new(sys::EVP_parse_private_key(reader)) }.map(Self)
        })
    }

    /// A public key. That its coefficients are in range is checked when it is used.
    pub(crate) fn from_public(public: &[u8; PUBLIC_BYTES]) -> Result<Self, Failed> {
        // SAFETY: the key is read by its length and copied; the new object is ours.
        unsafe {
            Owned::new(sys::EVP_PKEY_kem_new_raw_public_key(
                sys::NID_MLKEM768,
                public.as_ptr(),
                public.len(),
            ))
        }
        .map(Self)
    }

    pub(crate) fn public(&self) -> Result<[u8; PUBLIC_BYTES], Failed> {
        let mut public = [0; PUBLIC_BYTES];
        let mut length = public.len();
        // SAFETY: the key is valid; at most `length` bytes are written.
        ok(unsafe {
            sys::EVP_PKEY_get_raw_public_key(self.0.as_ptr(), public.as_mut_ptr(), &mut length)
        })?;
        if length == PUBLIC_BYTES { Ok(public) } else { Err(Failed) }
    }

    /// A fresh secret, and its ciphertext for the holder of the private key.
    pub(crate) fn encapsulate(&self) -> Result<(SecretBytes, [u8; CIPHERTEXT_BYTES]), Failed> {
        let (mut secret, mut ciphertext) =
            (SecretBytes::zeroed(SECRET_BYTES), [0; CIPHERTEXT_BYTES]);
        let (mut secret_length, mut ciphertext_length) = (secret.len(), ciphertext.len());
        // SAFETY: the context takes its own reference to the key; both outputs have the lengths that
        // are said.
        unsafe {
            let context = Owned::new(sys::EVP_PKEY_CTX_new(self.0.as_ptr(), ptr::null_mut()))?;
            ok(sys::EVP_PKEY_encapsulate(
                context.as_ptr(),
                ciphertext.as_mut_ptr(),
                &mut ciphertext_length,
                secret.as_mut_bytes().as_mut_ptr(),
                &mut secret_length,
            ))?;
        }
        if (secret_length, ciphertext_length) == (SECRET_BYTES, CIPHERTEXT_BYTES) {
            Ok((secret, ciphertext))
        } else {
            Err(Failed)
        }
    }

    /// The secret of a ciphertext. One that was not made for this key gives another secret, not a
    /// failure (FIPS 203's implicit rejection).
    pub(crate) fn decapsulate(
        &self,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
    ) -> Result<SecretBytes, Failed> {
        let mut secret = SecretBytes::zeroed(SECRET_BYTES);
        let mut length = secret.len();
        // SAFETY: the context takes its own reference to the key; the ciphertext is read by its
        // length, and the output has the length that is said.
        unsafe {
            let context = Owned::new(sys::EVP_PKEY_CTX_new(self.0.as_ptr(), ptr::null_mut()))?;
            ok(sys::EVP_PKEY_decapsulate(
                context.as_ptr(),
                secret.as_mut_bytes().as_mut_ptr(),
                &mut length,
                ciphertext.as_ptr(),
                ciphertext.len(),
            ))?;
        }
        if length == SECRET_BYTES { Ok(secret) } else { Err(Failed) }
    }
}

/// The public value of an X25519 private key.
pub(crate) fn x25519_public(private: &[u8; SECRET_BYTES]) -> [u8; SECRET_BYTES] {
    let mut public = [0; SECRET_BYTES];
    // SAFETY: both are 32 bytes, as the function reads and writes.
    unsafe { sys::X25519_public_from_private(public.as_mut_ptr(), private.as_ptr()) };
    public
}

/// X25519's shared secret; a peer's value of small order, which would make it zero, fails.
pub(crate) fn x25519(
    private: &[u8; SECRET_BYTES],
    peer: &[u8; SECRET_BYTES],
) -> Result<SecretBytes, Failed> {
    let mut secret = SecretBytes::zeroed(SECRET_BYTES);
    // SAFETY: all three are 32 bytes, as the function reads and writes.
    ok(unsafe {
        sys::X25519(secret.as_mut_bytes().as_mut_ptr(), private.as_ptr(), peer.as_ptr())
    })?;
    Ok(secret)
}
