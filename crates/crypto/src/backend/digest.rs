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

/// What an HMAC that goes on from `state` (or from the beginning) gives: its state after `data`, which
/// is whole blocks of 128 bytes, or with `last` its tag.
///
/// The state is the inner hash between two blocks: the bytes hashed so far, key block included, in 8
/// bytes, little-endian, then the chaining value. SHA-3, whose state aws-lc keeps to itself, has none.
pub(crate) fn hmac_part(
    hash: Hash,
    key: &[u8],
    state: Option<&[u8]>,
    data: &[u8],
    last: bool,
) -> Result<SecretBytes, Failed> {
    if chaining_words(hash).is_none() || !(last || data.len().is_multiple_of(128)) {
        return Err(Failed);
    }
    let mut tag = SecretBytes::zeroed(hash.len());
    let mut length: c_uint = 0;
    // SAFETY: the context is fresh, ours and initialised; key and data are read by their lengths; the tag
    // has the hash's length. The context's hash is of the family that its union is accessed as.
    unsafe {
        let context = Owned::new(sys::HMAC_CTX_new())?;
        let at = context.as_ptr();
        let (key_start, engine) = (key.as_ptr().cast(), ptr::null_mut());
        ok(sys::HMAC_Init_ex(at, key_start, key.len(), description(hash), engine))?;
        // Of nothing: from here on the context counts as one in progress.
        ok(sys::HMAC_Update(at, data.as_ptr(), 0))?;
        if let Some(state) = state {
            restore(hash, &mut (*at).md_ctx, state)?;
        }
        ok(sys::HMAC_Update(at, data.as_ptr(), data.len()))?;
        if !last {
            return save(hash, &(*at).md_ctx);
        }
        ok(sys::HMAC_Final(at, tag.as_mut_bytes().as_mut_ptr(), &mut length))?;
    }
    if length as usize == tag.len() { Ok(tag) } else { Err(Failed) }
}

/// The chaining value's words and their bytes.
fn chaining_words(hash: Hash) -> Option<(usize, usize)> {
    match hash {
        Hash::Sha1 => Some((5, 4)),
        Hash::Sha224 | Hash::Sha256 => Some((8, 4)),
        Hash::Sha384 | Hash::Sha512 | Hash::Sha512_224 | Hash::Sha512_256 => Some((8, 8)),
        Hash::Sha3_224 | Hash::Sha3_256 | Hash::Sha3_384 | Hash::Sha3_512 => None,
    }
}

/// Puts a state of [`save`] into a context.
///
/// # Safety
/// The context is one of `hash`.
unsafe fn restore(hash: Hash, context: &mut sys::md_ctx_union, state: &[u8]) -> Result<(), Failed> {
    let (words, width) = chaining_words(hash).ok_or(Failed)?;
    let (count, chaining) = state.split_first_chunk::<8>().ok_or(Failed)?;
    if chaining.len() != words * width {
        return Err(Failed);
    }
    let bits = u64::from_le_bytes(*count).checked_mul(8).ok_or(Failed)?;
    let narrow = || {
        chaining.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap_or([0; 4])))
    };
    // SAFETY: by this function's contract the union holds the hash's own context.
    unsafe {
        match (words, width) {
            (5, _) => {
                let context = &mut context.sha1;
                context.h.iter_mut().zip(narrow()).for_each(|(to, from)| *to = from);
                (context.Nl, context.Nh, context.num) = (bits as u32, (bits >> 32) as u32, 0);
            }
            (_, 4) => {
                let context = &mut context.sha256;
                context.h.iter_mut().zip(narrow()).for_each(|(to, from)| *to = from);
                (context.Nl, context.Nh, context.num) = (bits as u32, (bits >> 32) as u32, 0);
            }
            _ => {
                let context = &mut context.sha512;
                for (to, from) in context.h.iter_mut().zip(chaining.chunks_exact(8)) {
                    *to = u64::from_le_bytes(from.try_into().unwrap_or([0; 8]));
                }
                (context.Nl, context.Nh, context.num) = (bits, 0, 0);
            }
        }
    }
    Ok(())
}

/// The state of a context that stands between two blocks.
///
/// # Safety
/// The context is one of `hash`.
unsafe fn save(hash: Hash, context: &sys::md_ctx_union) -> Result<SecretBytes, Failed> {
    let (words, width) = chaining_words(hash).ok_or(Failed)?;
    let mut state = SecretBytes::zeroed(8 + words * width);
    // SAFETY: by this function's contract the union holds the hash's own context.
    let (bits, within) = unsafe {
        let out = state.as_mut_bytes();
        let put = |out: &mut [u8], words: &[u32]| {
            for (to, from) in out.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&from.to_le_bytes());
            }
        };
        match (words, width) {
            (5, _) => {
                put(&mut out[8..], &context.sha1.h);
                let (low, high) = (context.sha1.Nl, context.sha1.Nh);
                (u64::from(high) << 32 | u64::from(low), context.sha1.num)
            }
            (_, 4) => {
                put(&mut out[8..], &context.sha256.h);
                let (low, high) = (context.sha256.Nl, context.sha256.Nh);
                (u64::from(high) << 32 | u64::from(low), context.sha256.num)
            }
            _ => {
                for (to, from) in out[8..].chunks_exact_mut(8).zip(&context.sha512.h) {
                    to.copy_from_slice(&from.to_le_bytes());
                }
                (context.sha512.Nl, context.sha512.num)
            }
        }
    };
    if within != 0 {
        return Err(Failed);
    }
    state.as_mut_bytes()[..8].copy_from_slice(&(bits / 8).to_le_bytes());
    Ok(state)
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
