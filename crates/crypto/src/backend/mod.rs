//! aws-lc behind safe functions: all of the crate's calls into C.
//!
//! Slices and owned handles come in, owned values or [`Failed`] go out. Each C object is owned by
//! one [`Owned`], freed on drop; aws-lc's own `OPENSSL_free` wipes what it frees. The functions
//! here know nothing of mechanisms or PKCS#11: their callers check types, lengths and limits, and
//! give a failure its meaning.

pub(crate) mod aead;
pub(crate) mod bn;
pub(crate) mod bytes;
pub(crate) mod cipher;
pub(crate) mod digest;
pub(crate) mod ec;
pub(crate) mod kem;
pub(crate) mod key_wrap;
pub(crate) mod pkey;
pub(crate) mod raw_key;
pub(crate) mod rsa;
pub(crate) mod rsa_import;
pub(crate) mod secp256k1;

use std::ffi::c_int;
use std::ptr::NonNull;

use aws_lc_sys as sys;

/// The backend refused or failed. What it means depends on the call: its caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// aws-lc's 1 for success. A failure also empties the thread's error queue, which nobody reads and
/// which would otherwise hold the last failure until the thread ends.
fn ok(code: c_int) -> Result<(), Failed> {
    if code == 1 { Ok(()) } else { Err(failed()) }
}

#[cold]
fn failed() -> Failed {
    // SAFETY: touches only this thread's error queue.
    unsafe { sys::ERR_clear_error() };
    Failed
}

/// A C type with its destructor.
pub(crate) trait Release {
    /// Frees `object`.
    ///
    /// # Safety
    /// `object` was allocated by aws-lc, is owned by the caller, and isn't used afterwards.
    unsafe fn release(object: *mut Self);
}

macro_rules! release {
    ($($object:ident by $free:ident,)+) => {
        $(impl Release for sys::$object {
            unsafe fn release(object: *mut Self) {
                // SAFETY: the caller owns `object`, and this is its type's destructor.
                unsafe { sys::$free(object) }
            }
        })+
    };
}

release! {
    // Wiped too: most numbers here are secret.
    BIGNUM by BN_clear_free,
    BN_CTX by BN_CTX_free,
    BN_MONT_CTX by BN_MONT_CTX_free,
    CMAC_CTX by CMAC_CTX_free,
    EC_KEY by EC_KEY_free,
    EC_POINT by EC_POINT_free,
    ECDSA_SIG by ECDSA_SIG_free,
    EVP_AEAD_CTX by EVP_AEAD_CTX_free,
    EVP_CIPHER_CTX by EVP_CIPHER_CTX_free,
    EVP_MD_CTX by EVP_MD_CTX_free,
    EVP_PKEY by EVP_PKEY_free,
    EVP_PKEY_CTX by EVP_PKEY_CTX_free,
    HMAC_CTX by HMAC_CTX_free,
    RSA by RSA_free,
}

/// A C object that is ours to free.
pub(crate) struct Owned<T: Release>(NonNull<T>);

impl<T: Release> Owned<T> {
    /// Takes over what an allocating function returned; null is its failure.
    ///
    /// # Safety
    /// `object` is null or allocated by aws-lc and owned by nobody else.
    pub(crate) unsafe fn new(object: *mut T) -> Result<Self, Failed> {
        NonNull::new(object).map(Self).ok_or_else(failed)
    }

    /// The object, valid as long as `self` is. C's types are not const-correct, so it is `*mut`:
    /// what a call may do to a shared object is said where it is called.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// Gives the object up to a C object that takes ownership.
    pub(crate) fn into_raw(self) -> *mut T {
        let object = self.0.as_ptr();
        std::mem::forget(self);
        object
    }
}

impl<T: Release> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new`'s contract makes us the owner, and `self` ends here.
        unsafe { T::release(self.0.as_ptr()) }
    }
}

/// Overwrites `bytes` with zeros that the compiler may not leave out. (`zeroize` writes a byte at
/// a time; this is a `memset`, which counts at 16 KiB.)
pub(crate) fn cleanse(bytes: &mut [u8]) {
    // SAFETY: pointer and length are those of a writable slice.
    unsafe { sys::OPENSSL_cleanse(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// Wipes a vector's whole allocation, the part beyond its length included, and empties it.
pub(crate) fn cleanse_vec(bytes: &mut Vec<u8>) {
    bytes.clear();
    let spare = bytes.spare_capacity_mut();
    // SAFETY: after `clear` the spare capacity is the whole allocation, writable, and needn't be
    // initialised to be written.
    unsafe { sys::OPENSSL_cleanse(spare.as_mut_ptr().cast(), spare.len()) }
}

/// A vector of what `write` puts into a buffer of `capacity` bytes, which needn't be zeroed first:
/// that counts at 16 KiB.
///
/// # Safety
/// When `write` returns `Ok(length)`, it has initialised the first `length` bytes, and `length`
/// isn't above `capacity`. It writes nothing beyond `capacity` bytes.
unsafe fn written(
    capacity: usize,
    write: impl FnOnce(*mut u8) -> Result<usize, Failed>,
) -> Result<Vec<u8>, Failed> {
    let mut out = Vec::with_capacity(capacity);
    let length = write(out.as_mut_ptr())?;
    assert!(length <= capacity, "the backend wrote beyond its buffer");
    // SAFETY: by this function's contract the first `length` bytes are initialised.
    unsafe { out.set_len(length) };
    Ok(out)
}

/// Fills `out` with random bytes.
pub(crate) fn random(out: &mut [u8]) -> Result<(), Failed> {
    // SAFETY: pointer and length are those of a writable slice.
    ok(unsafe { sys::RAND_bytes(out.as_mut_ptr(), out.len()) })
}

/// Runs all known-answer tests.
pub(crate) fn self_test() -> Result<(), Failed> {
    // SAFETY: takes nothing, and may run at any time.
    ok(unsafe { sys::BORINGSSL_self_test() })
}

/// Whether an Ed25519 signature verifies.
pub(crate) fn ed25519_verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    // SAFETY: the function reads 64 bytes of signature, 32 of key, and the message by its length.
    let code = unsafe {
        sys::ED25519_verify(message.as_ptr(), message.len(), signature.as_ptr(), public.as_ptr())
    };
    ok(code).is_ok()
}

#[cfg(test)]
pub(crate) mod testing {
    //! What tests of all modules share.

    /// The bytes that `text` says in hex.
    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        assert!(digits.len().is_multiple_of(2), "odd number of hex digits");
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }
}
