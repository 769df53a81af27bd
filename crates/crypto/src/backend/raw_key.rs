//! Keys that are a string of bytes to the backend: Ed25519, X25519, ML-DSA and ML-KEM.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use super::bytes::{from_der, to_der};
use super::{Failed, Owned, ok, written};
use crate::{Scheme, SecretBytes};

/// A key, private or public.
pub(crate) struct RawKey {
    key: Owned<sys::EVP_PKEY>,
    scheme: Scheme,
}

// SAFETY: the object is owned memory without ties to a thread.
unsafe impl Send for RawKey {}
// SAFETY: through a shared reference it is only read; its reference count is atomic.
unsafe impl Sync for RawKey {}

fn nid(scheme: Scheme) -> c_int {
    match scheme {
        Scheme::Ed25519 => sys::EVP_PKEY_ED25519,
        Scheme::X25519 => sys::EVP_PKEY_X25519,
        Scheme::MlDsa44 => sys::NID_MLDSA44,
        Scheme::MlDsa65 => sys::NID_MLDSA65,
        Scheme::MlDsa87 => sys::NID_MLDSA87,
        Scheme::MlKem512 => sys::NID_MLKEM512,
        Scheme::MlKem768 => sys::NID_MLKEM768,
        Scheme::MlKem1024 => sys::NID_MLKEM1024,
    }
}

/// What stands before the seed in a PKCS#8 key that holds nothing else (RFC 9935 and RFC 9881,
/// section 6): version 0, the algorithm, and an octet string that holds `[0]` with the seed.
fn seed_prefix(scheme: Scheme) -> [u8; 22] {
    let (branch, set) = match scheme {
        Scheme::MlKem512 => (0x04, 0x01),
        Scheme::MlKem768 => (0x04, 0x02),
        Scheme::MlKem1024 => (0x04, 0x03),
        Scheme::MlDsa44 => (0x03, 0x11),
        Scheme::MlDsa65 => (0x03, 0x12),
        Scheme::MlDsa87 | Scheme::Ed25519 | Scheme::X25519 => (0x03, 0x13),
    };
    let seed = scheme.seed_bytes() as u8;
    [
        0x30,
        20 + seed,
        0x02,
        0x01,
        0x00,
        0x30,
        0x0b,
        0x06,
        0x09,
        0x60,
        0x86,
        0x48,
        0x01,
        0x65,
        0x03,
        0x04,
        branch,
        set,
        0x04,
        2 + seed,
        0x80,
        seed,
    ]
}

impl RawKey {
    /// The private key of a seed, with its public half.
    pub(crate) fn from_seed(scheme: Scheme, seed: &[u8]) -> Result<Self, Failed> {
        if seed.len() != scheme.seed_bytes() {
            return Err(Failed);
        }
        let key = match scheme {
            // SAFETY: the seed is read by its length and copied; the new object is ours.
            Scheme::Ed25519 | Scheme::X25519 => unsafe {
                Owned::new(sys::EVP_PKEY_new_raw_private_key(
                    nid(scheme),
                    ptr::null_mut(),
                    seed.as_ptr(),
                    seed.len(),
                ))?
            },
            _ => {
                let prefix = seed_prefix(scheme);
                let mut der = SecretBytes::zeroed(prefix.len() + seed.len());
                let (front, rest) = der.as_mut_bytes().split_at_mut(prefix.len());
                front.copy_from_slice(&prefix);
                rest.copy_from_slice(seed);
                from_der(der.as_bytes(), |reader| {
                    // SAFETY: the reader covers `der`; a returned key is ours.
                    unsafe { Owned::new(sys::EVP_parse_private_key(reader)) }
                })?
            }
        };
        Ok(Self { key, scheme })
    }

    /// A public key. Of ML-KEM, that its coefficients are in range is checked when it is used.
    pub(crate) fn from_public(scheme: Scheme, public: &[u8]) -> Result<Self, Failed> {
        if public.len() != scheme.public_bytes() {
            return Err(Failed);
        }
        let (start, length) = (public.as_ptr(), public.len());
        // SAFETY: the key is read by its length and copied; the new object is ours.
        let key = unsafe {
            Owned::new(match scheme {
                Scheme::Ed25519 | Scheme::X25519 => {
                    sys::EVP_PKEY_new_raw_public_key(nid(scheme), ptr::null_mut(), start, length)
                }
                Scheme::MlDsa44 | Scheme::MlDsa65 | Scheme::MlDsa87 => {
                    sys::EVP_PKEY_pqdsa_new_raw_public_key(nid(scheme), start, length)
                }
                Scheme::MlKem512 | Scheme::MlKem768 | Scheme::MlKem1024 => {
                    sys::EVP_PKEY_kem_new_raw_public_key(nid(scheme), start, length)
                }
            })?
        };
        Ok(Self { key, scheme })
    }

    /// Takes over a key that was parsed, if it is of one of our schemes.
    pub(super) fn adopt(key: Owned<sys::EVP_PKEY>) -> Result<Self, Failed> {
        // SAFETY: the key is valid, and each function is asked of keys of its own type.
        let kind = unsafe {
            match sys::EVP_PKEY_id(key.as_ptr()) {
                sys::EVP_PKEY_PQDSA => sys::EVP_PKEY_pqdsa_get_type(key.as_ptr()),
                sys::EVP_PKEY_KEM => sys::EVP_PKEY_kem_get_type(key.as_ptr()),
                other => other,
            }
        };
        let scheme = Scheme::ALL.into_iter().find(|scheme| nid(*scheme) == kind).ok_or(Failed)?;
        Ok(Self { key, scheme })
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The public key.
    pub(crate) fn public(&self) -> Result<Vec<u8>, Failed> {
        let room = self.scheme.public_bytes();
        let mut length = room;
        // SAFETY: the key is valid; at most `length` bytes are written.
        let public = unsafe {
            written(room, |out| {
                ok(sys::EVP_PKEY_get_raw_public_key(self.key.as_ptr(), out, &mut length))?;
                Ok(length)
            })?
        };
        if public.len() == room { Ok(public) } else { Err(Failed) }
    }

    /// The seed of a private key that was parsed; a failure where it came without one.
    pub(crate) fn seed(&self) -> Result<SecretBytes, Failed> {
        let mut seed = SecretBytes::zeroed(self.scheme.seed_bytes());
        let mut length = seed.len();
        let out = seed.as_mut_bytes().as_mut_ptr();
        // SAFETY: the key is valid; at most `length` bytes are written.
        ok(unsafe {
            match self.scheme {
                Scheme::Ed25519 | Scheme::X25519 => {
                    sys::EVP_PKEY_get_raw_private_key(self.key.as_ptr(), out, &mut length)
                }
                _ => sys::EVP_PKEY_get_private_seed(self.key.as_ptr(), out, &mut length),
            }
        })?;
        if length == seed.len() { Ok(seed) } else { Err(Failed) }
    }

    /// The private key as FIPS 203 and 204 have it, made of the seed.
    pub(crate) fn expanded(&self) -> Result<SecretBytes, Failed> {
        let mut length = 0;
        // SAFETY: the key is valid; without an output only the length is written.
        ok(unsafe {
            sys::EVP_PKEY_get_raw_private_key(self.key.as_ptr(), ptr::null_mut(), &mut length)
        })?;
        let mut expanded = SecretBytes::zeroed(length);
        let out = expanded.as_mut_bytes().as_mut_ptr();
        // SAFETY: the key is valid; at most `length` bytes are written.
        ok(unsafe { sys::EVP_PKEY_get_raw_private_key(self.key.as_ptr(), out, &mut length) })?;
        if length == expanded.len() { Ok(expanded) } else { Err(Failed) }
    }

    /// PKCS#8 of a private key: its seed.
    pub(crate) fn to_pkcs8(&self) -> Result<SecretBytes, Failed> {
        // SAFETY: writer and key are valid.
        to_der(|writer| ok(unsafe { sys::EVP_marshal_private_key(writer, self.key.as_ptr()) }))
    }

    /// SubjectPublicKeyInfo.
    pub(crate) fn to_spki(&self) -> Result<Vec<u8>, Failed> {
        // SAFETY: writer and key are valid.
        let der =
            to_der(|writer| ok(unsafe { sys::EVP_marshal_public_key(writer, self.key.as_ptr()) }));
        Ok(der?.into_plain())
    }

    /// ML-DSA of a message with a context of at most 255 bytes, hedged.
    pub(crate) fn ml_dsa_sign(&self, message: &[u8], context: &[u8]) -> Result<Vec<u8>, Failed> {
        let room = self.scheme.signature_bytes();
        let mut length = room;
        // SAFETY: the digest context is ours and keeps its own reference to the key; `inner` is owned
        // by it; message and context are read by their lengths, and at most `length` bytes written.
        unsafe {
            let digest = Owned::new(sys::EVP_MD_CTX_new())?;
            let mut inner = ptr::null_mut();
            ok(sys::EVP_DigestSignInit(
                digest.as_ptr(),
                &mut inner,
                ptr::null(),
                ptr::null_mut(),
                self.key.as_ptr(),
            ))?;
            set_context(inner, context)?;
            written(room, |out| {
                ok(sys::EVP_DigestSign(
                    digest.as_ptr(),
                    out,
                    &mut length,
                    message.as_ptr(),
                    message.len(),
                ))?;
                Ok(length)
            })
        }
    }

    /// Whether an ML-DSA signature of a message verifies.
    pub(crate) fn ml_dsa_verify(
        &self,
        message: &[u8],
        context: &[u8],
        signature: &[u8],
    ) -> Result<(), Failed> {
        // SAFETY: as in `ml_dsa_sign`; the signature is read by its length.
        unsafe {
            let digest = Owned::new(sys::EVP_MD_CTX_new())?;
            let mut inner = ptr::null_mut();
            ok(sys::EVP_DigestVerifyInit(
                digest.as_ptr(),
                &mut inner,
                ptr::null(),
                ptr::null_mut(),
                self.key.as_ptr(),
            ))?;
            set_context(inner, context)?;
            ok(sys::EVP_DigestVerify(
                digest.as_ptr(),
                signature.as_ptr(),
                signature.len(),
                message.as_ptr(),
                message.len(),
            ))
        }
    }

    /// ML-DSA of a message's representative mu (FIPS 204, algorithm 7), hedged.
    pub(crate) fn ml_dsa_sign_mu(&self, mu: &[u8; 64]) -> Result<Vec<u8>, Failed> {
        let room = self.scheme.signature_bytes();
        let mut length = room;
        // SAFETY: the context is ours and keeps its own reference to the key; mu is read by its
        // length, and at most `length` bytes are written.
        unsafe {
            let context = Owned::new(sys::EVP_PKEY_CTX_new(self.key.as_ptr(), ptr::null_mut()))?;
            ok(sys::EVP_PKEY_sign_init(context.as_ptr()))?;
            written(room, |out| {
                ok(sys::EVP_PKEY_sign(context.as_ptr(), out, &mut length, mu.as_ptr(), mu.len()))?;
                Ok(length)
            })
        }
    }

    /// Whether an ML-DSA signature of mu verifies.
    pub(crate) fn ml_dsa_verify_mu(&self, mu: &[u8; 64], signature: &[u8]) -> Result<(), Failed> {
        // SAFETY: as in `ml_dsa_sign_mu`; the signature is read by its length.
        unsafe {
            let context = Owned::new(sys::EVP_PKEY_CTX_new(self.key.as_ptr(), ptr::null_mut()))?;
            ok(sys::EVP_PKEY_verify_init(context.as_ptr()))?;
            ok(sys::EVP_PKEY_verify(
                context.as_ptr(),
                signature.as_ptr(),
                signature.len(),
                mu.as_ptr(),
                mu.len(),
            ))
        }
    }

    /// A fresh secret by ML-KEM, and its ciphertext for the holder of the private key.
    pub(crate) fn encapsulate(&self) -> Result<(SecretBytes, Vec<u8>), Failed> {
        let room = self.scheme.ciphertext_bytes();
        let mut secret = SecretBytes::zeroed(SHARED_BYTES);
        let (mut secret_length, mut length) = (secret.len(), room);
        // SAFETY: the context is ours and keeps its own reference to the key; both outputs have the
        // lengths that are said.
        let ciphertext = unsafe {
            let context = Owned::new(sys::EVP_PKEY_CTX_new(self.key.as_ptr(), ptr::null_mut()))?;
            let secret = secret.as_mut_bytes().as_mut_ptr();
            written(room, |out| {
                ok(sys::EVP_PKEY_encapsulate(
                    context.as_ptr(),
                    out,
                    &mut length,
                    secret,
                    &mut secret_length,
                ))?;
                Ok(length)
            })?
        };
        if (secret_length, ciphertext.len()) == (SHARED_BYTES, room) {
            Ok((secret, ciphertext))
        } else {
            Err(Failed)
        }
    }

    /// The secret of an ML-KEM ciphertext. One that was not made for this key gives another secret,
    /// not a failure (FIPS 203's implicit rejection).
    pub(crate) fn decapsulate(&self, ciphertext: &[u8]) -> Result<SecretBytes, Failed> {
        if ciphertext.len() != self.scheme.ciphertext_bytes() {
            return Err(Failed);
        }
        let mut secret = SecretBytes::zeroed(SHARED_BYTES);
        let mut length = secret.len();
        // SAFETY: the context is ours and keeps its own reference to the key; the ciphertext is read
        // by its length, and the output has the length that is said.
        unsafe {
            let context = Owned::new(sys::EVP_PKEY_CTX_new(self.key.as_ptr(), ptr::null_mut()))?;
            ok(sys::EVP_PKEY_decapsulate(
                context.as_ptr(),
                secret.as_mut_bytes().as_mut_ptr(),
                &mut length,
                ciphertext.as_ptr(),
                ciphertext.len(),
            ))?;
        }
        if length == SHARED_BYTES { Ok(secret) } else { Err(Failed) }
    }
}

/// Bytes of a secret that ML-KEM gives.
const SHARED_BYTES: usize = 32;

/// Sets the context string of an ML-DSA operation that was just initialised.
///
/// # Safety
/// `inner` is the key context of a live digest context.
unsafe fn set_context(inner: *mut sys::EVP_PKEY_CTX, context: &[u8]) -> Result<(), Failed> {
    if context.is_empty() {
        return Ok(());
    }
    // SAFETY: `inner` is live; the string is read by its length and copied.
    ok(unsafe { sys::EVP_PKEY_CTX_set_signature_context(inner, context.as_ptr(), context.len()) })
}

/// The three signatures of RFC 8032 with Ed25519.
#[derive(Clone, Copy)]
pub(crate) enum Eddsa<'a> {
    /// Of a message.
    Pure(&'a [u8]),
    /// Of a message in a context.
    Context(&'a [u8], &'a [u8]),
    /// Of a message's SHA-512, in a context.
    Prehashed(&'a [u8; 64], &'a [u8]),
}

impl Eddsa<'_> {
    /// Signs with a seed and its public key.
    pub(crate) fn sign(&self, seed: &[u8], public: &[u8]) -> Result<Vec<u8>, Failed> {
        if (seed.len(), public.len()) != (32, 32) {
            return Err(Failed);
        }
        let mut private = SecretBytes::zeroed(64);
        private.as_mut_bytes()[..32].copy_from_slice(seed);
        private.as_mut_bytes()[32..].copy_from_slice(public);
        let private = private.as_bytes().as_ptr();
        let mut out = vec![0; 64];
        let start = out.as_mut_ptr();
        // SAFETY: the signature has 64 bytes and the private key, too; the rest is read by its length.
        ok(unsafe {
            match *self {
                Self::Pure(message) => {
                    sys::ED25519_sign(start, message.as_ptr(), message.len(), private)
                }
                Self::Context(message, context) => sys::ED25519ctx_sign(
                    start,
                    message.as_ptr(),
                    message.len(),
                    private,
                    context.as_ptr(),
                    context.len(),
                ),
                Self::Prehashed(digest, context) => sys::ED25519ph_sign_digest(
                    start,
                    digest.as_ptr(),
                    private,
                    context.as_ptr(),
                    context.len(),
                ),
            }
        })?;
        Ok(out)
    }

    /// Whether a signature verifies.
    pub(crate) fn verify(&self, public: &[u8], signature: &[u8]) -> Result<(), Failed> {
        if (public.len(), signature.len()) != (32, 64) {
            return Err(Failed);
        }
        let (public, start) = (public.as_ptr(), signature.as_ptr());
        // SAFETY: the signature has 64 bytes and the public key 32; the rest is read by its length.
        ok(unsafe {
            match *self {
                Self::Pure(message) => {
                    sys::ED25519_verify(message.as_ptr(), message.len(), start, public)
                }
                Self::Context(message, context) => sys::ED25519ctx_verify(
                    message.as_ptr(),
                    message.len(),
                    start,
                    public,
                    context.as_ptr(),
                    context.len(),
                ),
                Self::Prehashed(digest, context) => sys::ED25519ph_verify_digest(
                    digest.as_ptr(),
                    start,
                    public,
                    context.as_ptr(),
                    context.len(),
                ),
            }
        })
    }
}
