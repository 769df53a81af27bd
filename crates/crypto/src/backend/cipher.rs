//! AES and triple-DES in the modes without authentication, ChaCha20, and AES of a single block.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use super::{Failed, Owned, ok};
use crate::SecretBytes;

/// The block length of AES in bytes.
pub(crate) const BLOCK: usize = 16;
/// The block length of DES in bytes.
const DES_BLOCK: usize = 8;

/// A cipher in a mode of operation. AES, where it says nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each block alone; no IV.
    Ecb,
    /// Chained blocks, IV of one block.
    Cbc,
    /// A key stream, initial counter of one block.
    Ctr,
    /// Ciphertext fed back, 8 bits at a time.
    Cfb8,
    /// Ciphertext fed back by blocks.
    Cfb128,
    /// Key stream fed back.
    Ofb,
    /// One data unit, its tweak for IV; the key is two keys.
    Xts,
    /// Triple-DES, each block alone; no IV.
    Des3Ecb,
    /// Triple-DES, chained blocks.
    Des3Cbc,
}

impl Mode {
    /// The cipher's block, in bytes.
    pub(crate) fn block(self) -> usize {
        if matches!(self, Self::Des3Ecb | Self::Des3Cbc) { DES_BLOCK } else { BLOCK }
    }

    /// The IV, in bytes.
    pub(crate) fn iv(self) -> usize {
        if matches!(self, Self::Ecb | Self::Des3Ecb) { 0 } else { self.block() }
    }
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
            (Mode::Cfb8, 16) => sys::EVP_aes_128_cfb8(),
            (Mode::Cfb8, 24) => sys::EVP_aes_192_cfb8(),
            (Mode::Cfb8, 32) => sys::EVP_aes_256_cfb8(),
            (Mode::Cfb128, 16) => sys::EVP_aes_128_cfb128(),
            (Mode::Cfb128, 24) => sys::EVP_aes_192_cfb128(),
            (Mode::Cfb128, 32) => sys::EVP_aes_256_cfb128(),
            (Mode::Ofb, 16) => sys::EVP_aes_128_ofb(),
            (Mode::Ofb, 24) => sys::EVP_aes_192_ofb(),
            (Mode::Ofb, 32) => sys::EVP_aes_256_ofb(),
            (Mode::Xts, 64) => sys::EVP_aes_256_xts(),
            (Mode::Des3Ecb, 24) => sys::EVP_des_ede3_ecb(),
            (Mode::Des3Cbc, 24) => sys::EVP_des_ede3_cbc(),
            _ => return None,
        })
    }
}

/// Encrypts or decrypts all of `data`. `iv` has the mode's length. With `padding` (PKCS#7; for CBC)
/// any length encrypts; without, `data` is whole blocks for ECB and CBC, a block or more for XTS, and of
/// any length for the others.
pub(crate) fn run(
    mode: Mode,
    direction: Direction,
    key: &[u8],
    iv: &[u8],
    data: &[u8],
    padding: bool,
) -> Result<SecretBytes, Failed> {
    let cipher = description(mode, key.len()).ok_or(Failed)?;
    let length = c_int::try_from(data.len()).map_err(|_| Failed)?;
    if iv.len() != mode.iv() || length > c_int::MAX - BLOCK as c_int {
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

/// Encrypts or decrypts by ChaCha20 (RFC 8439): the block counter's first value, and 12 bytes of nonce.
pub(crate) fn chacha20(key: &[u8; 32], counter: u32, nonce: &[u8; 12], data: &[u8]) -> SecretBytes {
    let mut out = SecretBytes::zeroed(data.len());
    // SAFETY: key and nonce have the lengths that are read, and the output that of the input.
    unsafe {
        sys::CRYPTO_chacha_20(
            out.as_mut_bytes().as_mut_ptr(),
            data.as_ptr(),
            data.len(),
            key.as_ptr(),
            nonce.as_ptr(),
            counter,
        );
    }
    out
}

/// CMAC (SP 800-38B) of `data` under an AES key, or a triple-DES key where `des3`. One block comes out.
pub(crate) fn cmac(key: &[u8], des3: bool, data: &[u8]) -> Result<SecretBytes, Failed> {
    let mode = if des3 { Mode::Des3Cbc } else { Mode::Cbc };
    let cipher = description(mode, key.len()).ok_or(Failed)?;
    let mut out = SecretBytes::zeroed(mode.block());
    let mut length = 0;
    // SAFETY: the context is fresh and ours; the key has the cipher's length; `data` is read by its
    // length; one block is written, which is the buffer.
    unsafe {
        let context = Owned::new(sys::CMAC_CTX_new())?;
        let key_start = key.as_ptr().cast();
        ok(sys::CMAC_Init(context.as_ptr(), key_start, key.len(), cipher, ptr::null_mut()))?;
        ok(sys::CMAC_Update(context.as_ptr(), data.as_ptr(), data.len()))?;
        ok(sys::CMAC_Final(context.as_ptr(), out.as_mut_bytes().as_mut_ptr(), &mut length))?;
    }
    if length != mode.block() { Err(Failed) } else { Ok(out) }
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
