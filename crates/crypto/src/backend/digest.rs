//! Hashing, HMAC and HKDF.

use std::ffi::{c_int, c_uint};
use std::ptr;

use aws_lc_sys as sys;

use super::{Failed, Owned, ok};
use crate::SecretBytes;
use crate::hash::{Hash, LONGEST};

/// aws-lc's description of a hash: a static, valid for ever.
pub(super) fn description(hash: Hash) -> *const sys::EVP_MD {
    // SAFETY: these take nothing and return pointers to statics.
    unsafe {
        match hash {
            Hash::Sha1 => sys::EVP_sha1(),
            Hash::Sha224 => sys::EVP_sha224(),
            Hash::Sha256 => sys::EVP_sha256(),
            Hash::Sha384 => sys::EVP_sha384(),
            Hash::Sha512 => sys::EVP_sha512(),
            Hash::Sha512_224 => sys::EVP_sha512_224(),
            Hash::Sha512_256 => sys::EVP_sha512_256(),
            Hash::Sha3_224 => sys::EVP_sha3_224(),
            Hash::Sha3_256 => sys::EVP_sha3_256(),
            Hash::Sha3_384 => sys::EVP_sha3_384(),
            Hash::Sha3_512 => sys::EVP_sha3_512(),
        }
    }
}

/// Hashing can only fail for want of memory, which Rust's own allocator aborts on, too.
fn must(code: c_int) {
    assert!(ok(code).is_ok(), "hashing failed: out of memory");
}

/// Hashes `data` into the front of `out`.
pub(crate) fn once(hash: Hash, data: &[u8], out: &mut [u8; LONGEST]) {
    // SAFETY: `data` is read by its length; no hash here writes more than LONGEST bytes; the
    // length's out-pointer and the engine may be null.
    must(unsafe {
        sys::EVP_Digest(
            data.as_ptr().cast(),
            data.len(),
            out.as_mut_ptr(),
            ptr::null_mut(),
            description(hash),
            ptr::null_mut(),
        )
    });
}

/// A hash in progress.
pub(crate) struct Context {
    context: Owned<sys::EVP_MD_CTX>,
    hash: Hash,
}

// SAFETY: the context is owned memory without ties to a thread.
unsafe impl Send for Context {}
// SAFETY: through a shared reference it can only be copied, which reads it.
unsafe impl Sync for Context {}

impl Context {
    fn empty(hash: Hash) -> Self {
        // SAFETY: a fresh context is ours.
        let context = unsafe { Owned::new(sys::EVP_MD_CTX_new()) };
        let context = context.expect("hashing failed: out of memory");
        Self { context, hash }
    }

    pub(crate) fn new(hash: Hash) -> Self {
        let new = Self::empty(hash);
        // SAFETY: the context is valid and ours, the description static, the engine none.
        must(unsafe {
            sys::EVP_DigestInit_ex(new.context.as_ptr(), description(hash), ptr::null_mut())
        });
        new
    }

    pub(crate) fn hash(&self) -> Hash {
        self.hash
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised and exclusively ours; `data` is read by its length.
        must(unsafe {
            sys::EVP_DigestUpdate(self.context.as_ptr(), data.as_ptr().cast(), data.len())
        });
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = vec![0; self.hash.len()];
        // SAFETY: the context is initialised; exactly the hash's length is written.
        must(unsafe {
            sys::EVP_DigestFinal_ex(self.context.as_ptr(), out.as_mut_ptr(), ptr::null_mut())
        });
        out
    }
}

impl Clone for Context {
    fn clone(&self) -> Self {
        let copy = Self::empty(self.hash);
        // SAFETY: both are valid, and the copy is exclusively ours.
        must(unsafe { sys::EVP_MD_CTX_copy_ex(copy.context.as_ptr(), self.context.as_ptr()) });
        copy
    }
}

/// HMAC of `data` into the front of `out`; returns its length.
pub(crate) fn hmac(
    hash: Hash,
    key: &[u8],
    data: &[u8],
    out: &mut [u8; LONGEST],
) -> Result<usize, Failed> {
    let mut length: c_uint = 0;
    // SAFETY: key and data are read by their lengths; no hash here writes more than LONGEST bytes.
    let result = unsafe {
        sys::HMAC(
            description(hash),
            key.as_ptr().cast(),
            key.len(),
            data.as_ptr(),
            data.len(),
            out.as_mut_ptr(),
            &mut length,
        )
    };
    ok(c_int::from(!result.is_null()))?;
    Ok(length as usize)
}

/// HKDF-SHA256 (RFC 5869, extract and expand) with an empty salt.
pub(crate) fn hkdf_sha256(key: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), Failed> {
    // SAFETY: all slices are read or written by their lengths; a null salt has length 0.
    ok(unsafe {
        sys::HKDF(
            out.as_mut_ptr(),
            out.len(),
            description(Hash::Sha256),
            key.as_ptr(),
            key.len(),
            ptr::null(),
            0,
            info.as_ptr(),
            info.len(),
        )
    })
}

/// HKDF-Extract of RFC 5869.
pub(crate) fn hkdf_extract(hash: Hash, salt: &[u8], key: &[u8]) -> Result<SecretBytes, Failed> {
    let mut out = SecretBytes::zeroed(hash.len());
    let mut length = out.len();
    // SAFETY: salt and key are read by their lengths; the hash's length is written, which is the room.
    ok(unsafe {
        sys::HKDF_extract(
            out.as_mut_bytes().as_mut_ptr(),
            &mut length,
            description(hash),
            key.as_ptr(),
            key.len(),
            salt.as_ptr(),
            salt.len(),
        )
    })?;
    Ok(out)
}

/// HKDF-Expand of RFC 5869, to `length` bytes.
pub(crate) fn hkdf_expand(
    hash: Hash,
    key: &[u8],
    info: &[u8],
    length: usize,
) -> Result<SecretBytes, Failed> {
    let mut out = SecretBytes::zeroed(length);
    // SAFETY: key and info are read by their lengths, and the output has the length that is said.
    ok(unsafe {
        sys::HKDF_expand(
            out.as_mut_bytes().as_mut_ptr(),
            length,
            description(hash),
            key.as_ptr(),
            key.len(),
            info.as_ptr(),
            info.len(),
        )
    })?;
    Ok(out)
}

/// SP 800-56C's one-step key derivation with a hash, to `length` bytes.
pub(crate) fn one_step_kdf(
    hash: Hash,
    secret: &[u8],
    info: &[u8],
    length: usize,
) -> Result<SecretBytes, Failed> {
    let mut out = SecretBytes::zeroed(length);
    // SAFETY: secret and info are read by their lengths, and the output has the length that is said.
    ok(unsafe {
        sys::SSKDF_digest(
            out.as_mut_bytes().as_mut_ptr(),
            length,
            description(hash),
            secret.as_ptr(),
            secret.len(),
            info.as_ptr(),
            info.len(),
        )
    })?;
    Ok(out)
}

/// PBKDF2 (RFC 8018) with HMAC, to `length` bytes.
pub(crate) fn pbkdf2(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
) -> Result<SecretBytes, Failed> {
    let mut out = SecretBytes::zeroed(length);
    // SAFETY: password and salt are read by their lengths, and the output has the length that is said.
    ok(unsafe {
        sys::PKCS5_PBKDF2_HMAC(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            iterations,
            description(hash),
            length,
            out.as_mut_bytes().as_mut_ptr(),
        )
    })?;
    Ok(out)
}

/// SHA3-256 of the parts, one after the other.
pub(crate) fn sha3_256(parts: &[&[u8]]) -> SecretBytes {
    // SAFETY: takes nothing and returns a pointer to a static.
    keccak(unsafe { sys::EVP_sha3_256() }, parts, 32)
}

/// `length` bytes of SHAKE128 of `data`.
pub(crate) fn shake128(data: &[u8], length: usize) -> SecretBytes {
    // SAFETY: takes nothing and returns a pointer to a static.
    keccak(unsafe { sys::EVP_shake128() }, &[data], length)
}

/// `length` bytes of SHAKE256 of `data`.
pub(crate) fn shake256(data: &[u8], length: usize) -> SecretBytes {
    // SAFETY: takes nothing and returns a pointer to a static.
    keccak(unsafe { sys::EVP_shake256() }, &[data], length)
}

/// `length` is the hash's own, or any where it is extendable.
fn keccak(description: *const sys::EVP_MD, parts: &[&[u8]], length: usize) -> SecretBytes {
    let mut out = SecretBytes::zeroed(length);
    // SAFETY: a fresh context is ours and initialised with a static description; the parts are read
    // by their lengths; the output has the hash's length, or the one that is said to FinalXOF.
    unsafe {
        let context = Owned::new(sys::EVP_MD_CTX_new()).expect("hashing failed: out of memory");
        must(sys::EVP_DigestInit_ex(context.as_ptr(), description, ptr::null_mut()));
        for part in parts {
            must(sys::EVP_DigestUpdate(context.as_ptr(), part.as_ptr().cast(), part.len()));
        }
        let start = out.as_mut_bytes().as_mut_ptr();
        if description == sys::EVP_shake128() || description == sys::EVP_shake256() {
            must(sys::EVP_DigestFinalXOF(context.as_ptr(), start, length));
        } else {
            assert_eq!(length, sys::EVP_MD_CTX_size(context.as_ptr()), "the hash's length");
            must(sys::EVP_DigestFinal_ex(context.as_ptr(), start, ptr::null_mut()));
        }
    }
    out
}
