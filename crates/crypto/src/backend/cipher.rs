//! AES in ECB, CBC and CTR mode, and of a single block.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use super::{Failed, Owned, ok};
use crate::SecretBytes;

/// The block length of AES in bytes.
pub(crate) const BLOCK: usize = 16;

/// A mode of operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each block alone; no IV.
    Ecb,
    /// Chained blocks, IV of one block.
    Cbc,
    /// A key stream, initial counter of one block.
    Ctr,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

fn description(mode: Mode, key_bytes: usize) -> Option<*const sys::EVP_CIPHER> {
    // SAFETY: these take nothing and return pointers to statics.
    unsafe {
        Some(match (mode, key_bytes) {
            (Mode::Ecb, 16) => sys::EVP_aes_128_ecb(),
            (Mode::Ecb, 24) => sys::EVP_aes_192_ecb(),
            (Mode::Ecb, 32) => sys::EVP_aes_256_ecb(),
            (Mode::Cbc, 16) => sys::EVP_aes_128_cbc(),
            (Mode::Cbc, 24) => sys::EVP_aes_192_cbc(),
            (Mode::Cbc, 32) => sys::EVP_aes_256_cbc(),
            (Mode::Ctr, 16) => sys::EVP_aes_128_ctr(),
            (Mode::Ctr, 24) => sys::EVP_aes_192_ctr(),
            (Mode::Ctr, 32) => sys::EVP_aes_256_ctr(),
            _ => return None,
        })
    }
}

/// Encrypts or decrypts all of `data`. `iv` is of one block, and empty for ECB. With `padding`
/// (PKCS#7; not for CTR) any length encrypts; without, `data` is whole blocks, or any length for
/// CTR.
pub(crate) fn run(
    mode: Mode,
    direction: Direction,
    key: &[u8],
    iv: &[u8],
    data: &[u8],
    padding: bool,
) -> Result<SecretBytes, Failed> {
    let expected_iv = if mode == Mode::Ecb { 0 } else { BLOCK };
    let cipher = description(mode, key.len()).ok_or(Failed)?;
    let length = c_int::try_from(data.len()).map_err(|_| Failed)?;
    if iv.len() != expected_iv || length > c_int::MAX - BLOCK as c_int {
        return Err(Failed);
    }
    let mut out = SecretBytes::zeroed(data.len() + BLOCK);
    let (mut first, mut last) = (0, 0);
    // SAFETY: the context is fresh and ours. Key and IV have the cipher's lengths. Update writes at
    // most the input's length plus one block less one byte, and with Final no more than the
    // input's length plus one block in all: the buffer's size.
    unsafe {
        let context = Owned::new(sys::EVP_CIPHER_CTX_new())?;
        let iv = if iv.is_empty() { ptr::null() } else { iv.as_ptr() };
        let encrypt = c_int::from(direction == Direction::Encrypt);
        ok(sys::EVP_CipherInit_ex(
            context.as_ptr(),
            cipher,
            ptr::null_mut(),
            key.as_ptr(),
            iv,
            encrypt,
        ))?;
        ok(sys::EVP_CIPHER_CTX_set_padding(context.as_ptr(), c_int::from(padding)))?;
        let start = out.as_mut_bytes().as_mut_ptr();
        ok(sys::EVP_CipherUpdate(context.as_ptr(), start, &mut first, data.as_ptr(), length))?;
        ok(sys::EVP_CipherFinal_ex(context.as_ptr(), start.add(first as usize), &mut last))?;
    }
    out.truncate((first + last) as usize);
    Ok(out)
}

/// An expanded AES key, wiped on drop. Boxed, because a move would leave a copy on the stack.
pub(super) struct Schedule(Box<sys::AES_KEY>);

impl Schedule {
    /// Expands `key` (16, 24 or 32 bytes) for one direction.
    pub(super) fn new(key: &[u8], direction: Direction) -> Result<Self, Failed> {
        if !matches!(key.len(), 16 | 24 | 32) {
            return Err(Failed);
        }
        let mut schedule = Self(Box::new(sys::AES_KEY { rd_key: [0; 60], rounds: 0 }));
        let bits = 8 * key.len() as u32;
        let (start, target) = (key.as_ptr(), &raw mut *schedule.0);
        // SAFETY: the key has `bits` bits, and the schedule is exclusively ours. Unlike the rest of
        // aws-lc, these return 0 for success.
        let code = unsafe {
            match direction {
                Direction::Encrypt => sys::AES_set_encrypt_key(start, bits, target),
                Direction::Decrypt => sys::AES_set_decrypt_key(start, bits, target),
            }
        };
        ok(c_int::from(code == 0))?;
        Ok(schedule)
    }

    pub(super) fn as_ptr(&self) -> *const sys::AES_KEY {
        &raw const *self.0
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        // SAFETY: the structure is exclusively ours, and zeros are a value of it.
        unsafe { sys::OPENSSL_cleanse((&raw mut *self.0).cast(), size_of::<sys::AES_KEY>()) }
    }
}

/// Encrypts one block.
pub(crate) fn encrypt_block(key: &[u8], block: &[u8; BLOCK]) -> Result<[u8; BLOCK], Failed> {
    let schedule = Schedule::new(key, Direction::Encrypt)?;
    let mut out = [0; BLOCK];
    // SAFETY: one block is read and one written; the schedule is for encryption.
    unsafe { sys::AES_encrypt(block.as_ptr(), out.as_mut_ptr(), schedule.as_ptr()) };
    Ok(out)
}
