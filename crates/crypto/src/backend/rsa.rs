//! RSA keys and the operations on them.
//!
//! One `RSA` object is shared by all threads. Its mutable parts (the Montgomery contexts made at
//! first use and the cache of blinding factors) are behind its own lock, which is held for
//! neither the exponentiation nor the blinding: `rsa_blinding_get` hands each concurrent caller a
//! `BN_BLINDING` of its own, up to 1,024 of them, and makes a fresh one beyond.
//!
//! A fault during a signature doesn't leak the key: aws-lc's `rsa_default_private_transform` ends
//! each private-key operation with
//!
//! > Verify the result to protect against fault attacks as described in the 1997 paper "On the
//! > Importance of Checking Cryptographic Protocols for Faults" by Dan Boneh, Richard A. DeMillo,
//! > and Richard J. Lipton. Some implementations do this only when the CRT is used, but we do it
//! > in all cases.
//!
//! (aws-lc 5.12.0, crypto/fipsmodule/rsa/rsa_impl.c), so nothing here verifies a second time; a test
//! plays the fault.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use super::bn::{self, Number};
use super::bytes::allocated;
use super::{Failed, Owned, digest, ok, written};
use crate::{Hash, SecretBytes};

/// An RSA key, private or public.
pub(crate) struct RsaKey(Owned<sys::RSA>);

// SAFETY: the object is owned memory without ties to a thread.
unsafe impl Send for RsaKey {}
// SAFETY: rsa.h: "A given object may be used concurrently on multiple threads by non-mutating
// functions, provided no other thread is concurrently calling a mutating function", and of signing,
// verifying, encrypting and decrypting: "These functions are considered non-mutating for
// thread-safety purposes". Nothing here mutates a key after it was made.
unsafe impl Sync for RsaKey {}

/// A number of a private key.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    PrivateExponent,
    Prime1,
    Prime2,
    Exponent1,
    Exponent2,
    Coefficient,
}

impl RsaKey {
    /// Takes over an object that nobody mutates any more.
    pub(super) fn adopt(rsa: Owned<sys::RSA>) -> Self {
        Self(rsa)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::RSA {
        self.0.as_ptr()
    }

    /// Generates a key with exponent 65537 by FIPS 186-5's algorithm, pairwise test included.
    pub(crate) fn generate_fips(bits: u32) -> Result<Self, Failed> {
        let bits = c_int::try_from(bits).map_err(|_| Failed)?;
        // SAFETY: the new object is ours; a null callback is none.
        unsafe {
            let rsa = Owned::new(sys::RSA_new())?;
            ok(sys::RSA_generate_key_fips(rsa.as_ptr(), bits, ptr::null_mut()))?;
            Ok(Self(rsa))
        }
    }

    /// The same with another public exponent, which aws-lc's FIPS function doesn't take: its
    /// generator and its checks are the same two calls.
    pub(crate) fn generate_with_exponent(bits: u32, exponent: &[u8]) -> Result<Self, Failed> {
        let bits = c_int::try_from(bits).map_err(|_| Failed)?;
        let exponent = bn::number(exponent)?;
        // SAFETY: the new object is ours, the exponent valid; a null callback is none.
        unsafe {
            let rsa = Owned::new(sys::RSA_new())?;
            ok(sys::RSA_generate_key_ex(rsa.as_ptr(), bits, exponent.as_ptr(), ptr::null_mut()))?;
            ok(sys::RSA_check_fips(rsa.as_ptr()))?;
            Ok(Self(rsa))
        }
    }

    /// A public key of its two numbers.
    pub(crate) fn public(modulus: &Number, exponent: &Number) -> Result<Self, Failed> {
        // SAFETY: the numbers are valid and are copied; the new object is ours.
        unsafe {
            Ok(Self(Owned::new(sys::RSA_new_public_key(modulus.as_ptr(), exponent.as_ptr()))?))
        }
    }

    /// A private key from PKCS#1 DER, checked for consistency (RSA_check_key).
    pub(crate) fn from_private_der(der: &[u8]) -> Result<Self, Failed> {
        // SAFETY: the bytes are read by their length; the new object is ours.
        unsafe { Ok(Self(Owned::new(sys::RSA_private_key_from_bytes(der.as_ptr(), der.len()))?)) }
    }

    /// A public key from PKCS#1 DER.
    pub(crate) fn from_public_der(der: &[u8]) -> Result<Self, Failed> {
        // SAFETY: the bytes are read by their length; the new object is ours.
        unsafe { Ok(Self(Owned::new(sys::RSA_public_key_from_bytes(der.as_ptr(), der.len()))?)) }
    }

    /// PKCS#1 DER of the private key.
    pub(crate) fn private_der(&self) -> Result<SecretBytes, Failed> {
        // SAFETY: the key is valid, and an allocation is handed over.
        unsafe {
            allocated(|start, length| {
                ok(sys::RSA_private_key_to_bytes(start, length, self.as_ptr()))
            })
        }
    }

    /// PKCS#1 DER of the public key.
    pub(crate) fn public_der(&self) -> Result<Vec<u8>, Failed> {
        // SAFETY: the key is valid, and an allocation is handed over.
        let der = unsafe {
            allocated(|start, length| {
                ok(sys::RSA_public_key_to_bytes(start, length, self.as_ptr()))
            })?
        };
        Ok(der.into_plain())
    }

    /// Length of the modulus in bits.
    pub(crate) fn bits(&self) -> u32 {
        // SAFETY: a key always has its modulus.
        unsafe { sys::RSA_bits(self.as_ptr()) }
    }

    /// Length of the modulus, and of signatures and ciphertexts, in bytes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: a key always has its modulus.
        unsafe { sys::RSA_size(self.as_ptr()) as usize }
    }

    /// The modulus, big-endian.
    pub(crate) fn modulus(&self) -> Result<Vec<u8>, Failed> {
        // SAFETY: a key always has its modulus, which lives as long as it.
        Ok(unsafe { bn::to_bytes(sys::RSA_get0_n(self.as_ptr()))? }.into_plain())
    }

    /// The public exponent, big-endian.
    pub(crate) fn public_exponent(&self) -> Result<Vec<u8>, Failed> {
        // SAFETY: no constructor here makes a key without a public exponent.
        Ok(unsafe { bn::to_bytes(sys::RSA_get0_e(self.as_ptr()))? }.into_plain())
    }

    /// A number of the private key, big-endian; an error where the key hasn't got it.
    pub(crate) fn part(&self, part: Part) -> Result<SecretBytes, Failed> {
        // SAFETY: the key is valid; the number is null or lives as long as the key.
        unsafe {
            let number = match part {
                Part::PrivateExponent => sys::RSA_get0_d(self.as_ptr()),
                Part::Prime1 => sys::RSA_get0_p(self.as_ptr()),
                Part::Prime2 => sys::RSA_get0_q(self.as_ptr()),
                Part::Exponent1 => sys::RSA_get0_dmp1(self.as_ptr()),
                Part::Exponent2 => sys::RSA_get0_dmq1(self.as_ptr()),
                Part::Coefficient => sys::RSA_get0_iqmp(self.as_ptr()),
            };
            if number.is_null() { Err(Failed) } else { bn::to_bytes(number) }
        }
    }

    /// RSASSA-PKCS1-v1_5 of an encoded DigestInfo (or whatever the caller has), up to
    /// [`RsaKey::size`] less 11 bytes.
    pub(crate) fn sign_pkcs1(&self, encoded: &[u8]) -> Result<Vec<u8>, Failed> {
        let room = self.size();
        let mut length = 0;
        // SAFETY: the data is read by its length; at most `room` bytes are written.
        unsafe {
            written(room, |out| {
                ok(sys::RSA_sign_raw(
                    self.as_ptr(),
                    &mut length,
                    out,
                    room,
                    encoded.as_ptr(),
                    encoded.len(),
                    sys::RSA_PKCS1_PADDING,
                ))?;
                Ok(length)
            })
        }
    }

    /// The bare private-key operation on `data`, of [`RsaKey::size`] bytes and below the modulus.
    pub(crate) fn sign_raw(&self, data: &[u8]) -> Result<Vec<u8>, Failed> {
        let room = self.size();
        let mut length = 0;
        // SAFETY: the data is read by its length; at most `room` bytes are written.
        unsafe {
            written(room, |out| {
                ok(sys::RSA_sign_raw(
                    self.as_ptr(),
                    &mut length,
                    out,
                    room,
                    data.as_ptr(),
                    data.len(),
                    sys::RSA_NO_PADDING,
                ))?;
                Ok(length)
            })
        }
    }

    /// The bare public-key operation on `data`, of [`RsaKey::size`] bytes and below the modulus.
    pub(crate) fn encrypt_raw(&self, data: &[u8]) -> Result<Vec<u8>, Failed> {
        self.recover(data, sys::RSA_NO_PADDING)
    }

    /// What a RSASSA-PKCS1-v1_5 signature was made over.
    pub(crate) fn recover_pkcs1(&self, signature: &[u8]) -> Result<Vec<u8>, Failed> {
        self.recover(signature, sys::RSA_PKCS1_PADDING)
    }

    fn recover(&self, signature: &[u8], padding: c_int) -> Result<Vec<u8>, Failed> {
        let room = self.size();
        let mut length = 0;
        // SAFETY: the signature is read by its length; at most `room` bytes are written.
        unsafe {
            written(room, |out| {
                ok(sys::RSA_verify_raw(
                    self.as_ptr(),
                    &mut length,
                    out,
                    room,
                    signature.as_ptr(),
                    signature.len(),
                    padding,
                ))?;
                Ok(length)
            })
        }
    }

    /// RSASSA-PSS of a hash.
    pub(crate) fn sign_pss(
        &self,
        hash: Hash,
        mgf: Hash,
        salt_length: usize,
        hashed: &[u8],
    ) -> Result<Vec<u8>, Failed> {
        // Negative lengths are aws-lc's special values, so they must not be reached.
        let salt_length = c_int::try_from(salt_length).map_err(|_| Failed)?;
        let room = self.size();
        let mut length = 0;
        // SAFETY: the hash is read by its length; at most `room` bytes are written.
        unsafe {
            written(room, |out| {
                ok(sys::RSA_sign_pss_mgf1(
                    self.as_ptr(),
                    &mut length,
                    out,
                    room,
                    hashed.as_ptr(),
                    hashed.len(),
                    digest::description(hash),
                    digest::description(mgf),
                    salt_length,
                ))?;
                Ok(length)
            })
        }
    }

    /// Whether a RSASSA-PSS signature with exactly this salt length verifies.
    pub(crate) fn verify_pss(
        &self,
        hash: Hash,
        mgf: Hash,
        salt_length: usize,
        hashed: &[u8],
        signature: &[u8],
    ) -> Result<(), Failed> {
        let salt_length = c_int::try_from(salt_length).map_err(|_| Failed)?;
        // SAFETY: hash and signature are read by their lengths.
        ok(unsafe {
            sys::RSA_verify_pss_mgf1(
                self.as_ptr(),
                hashed.as_ptr(),
                hashed.len(),
                digest::description(hash),
                digest::description(mgf),
                salt_length,
                signature.as_ptr(),
                signature.len(),
            )
        })
    }

    /// RSAES-PKCS1-v1_5 encryption of up to [`RsaKey::size`] less 11 bytes.
    pub(crate) fn encrypt_pkcs1(&self, data: &[u8]) -> Result<Vec<u8>, Failed> {
        let room = self.size();
        let mut length = 0;
        // SAFETY: the data is read by its length; at most `room` bytes are written.
        unsafe {
            written(room, |out| {
                ok(sys::RSA_encrypt(
                    self.as_ptr(),
                    &mut length,
                    out,
                    room,
                    data.as_ptr(),
                    data.len(),
                    sys::RSA_PKCS1_PADDING,
                ))?;
                Ok(length)
            })
        }
    }

    /// The bare private-key operation on `data` (of [`RsaKey::size`] bytes), with its padding still
    /// on: for [`crate::pkcs1`], which takes it off without telling whether it was right.
    pub(crate) fn decrypt_raw(&self, data: &[u8]) -> Result<SecretBytes, Failed> {
        let mut out = SecretBytes::zeroed(self.size());
        let mut length = 0;
        // SAFETY: the data is read by its length; at most the modulus's length is written.
        ok(unsafe {
            sys::RSA_decrypt(
                self.as_ptr(),
                &mut length,
                out.as_mut_bytes().as_mut_ptr(),
                out.len(),
                data.as_ptr(),
                data.len(),
                sys::RSA_NO_PADDING,
            )
        })?;
        out.truncate(length);
        Ok(out)
    }
}

#[cfg(test)]
mod faults;
