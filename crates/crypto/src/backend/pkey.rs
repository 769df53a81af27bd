//! PKCS#8 and SubjectPublicKeyInfo, and what only `EVP_PKEY` offers: RSA-OAEP.

use std::ptr;

use aws_lc_sys as sys;

use super::bytes::{from_der, to_der};
use super::ec::EcKey;
use super::raw_key::RawKey;
use super::rsa::RsaKey;
use super::{Failed, Owned, digest, ok};
use crate::{Hash, SecretBytes};

/// A key of a type that this crate knows.
pub(crate) enum AnyKey {
    Rsa(RsaKey),
    Ec(EcKey),
    Raw(RawKey),
}

/// A private key from PKCS#8 (RFC 5208), checked for consistency by the backend.
pub(crate) fn from_pkcs8(der: &[u8]) -> Result<AnyKey, Failed> {
    from_der(der, |reader| {
        // SAFETY: the reader covers `der`; a returned key is ours.
        let key = unsafe { Owned::new(sys::EVP_parse_private_key(reader))? };
        classify(key)
    })
}

/// A public key from SubjectPublicKeyInfo (RFC 5280).
pub(crate) fn from_spki(der: &[u8]) -> Result<AnyKey, Failed> {
    from_der(der, |reader| {
        // SAFETY: the reader covers `der`; a returned key is ours.
        let key = unsafe { Owned::new(sys::EVP_parse_public_key(reader))? };
        classify(key)
    })
}

fn classify(key: Owned<sys::EVP_PKEY>) -> Result<AnyKey, Failed> {
    // SAFETY: the key is valid; `get1` returns a reference of our own, or null if the type differs.
    unsafe {
        match sys::EVP_PKEY_id(key.as_ptr()) {
            sys::EVP_PKEY_RSA => {
                let rsa = Owned::new(sys::EVP_PKEY_get1_RSA(key.as_ptr()))?;
                Ok(AnyKey::Rsa(RsaKey::adopt(rsa)))
            }
            sys::EVP_PKEY_EC => {
                let ec = Owned::new(sys::EVP_PKEY_get1_EC_KEY(key.as_ptr()))?;
                Ok(AnyKey::Ec(EcKey::adopt(ec)?))
            }
            _ => RawKey::adopt(key).map(AnyKey::Raw),
        }
    }
}

/// An `EVP_PKEY` that shares `rsa`.
fn wrap_rsa(rsa: &RsaKey) -> Result<Owned<sys::EVP_PKEY>, Failed> {
    // SAFETY: `set1` takes a reference of its own (an atomic count) and leaves the key as it is.
    unsafe {
        let key = Owned::new(sys::EVP_PKEY_new())?;
        ok(sys::EVP_PKEY_set1_RSA(key.as_ptr(), rsa.as_ptr()))?;
        Ok(key)
    }
}

/// An `EVP_PKEY` that shares `ec`.
fn wrap_ec(ec: &EcKey) -> Result<Owned<sys::EVP_PKEY>, Failed> {
    // SAFETY: `set1` takes a reference of its own (an atomic count) and leaves the key as it is.
    unsafe {
        let key = Owned::new(sys::EVP_PKEY_new())?;
        ok(sys::EVP_PKEY_set1_EC_KEY(key.as_ptr(), ec.as_ptr()))?;
        Ok(key)
    }
}

fn private_der(key: &Owned<sys::EVP_PKEY>) -> Result<SecretBytes, Failed> {
    // SAFETY: writer and key are valid.
    to_der(|writer| ok(unsafe { sys::EVP_marshal_private_key(writer, key.as_ptr()) }))
}

fn public_der(key: &Owned<sys::EVP_PKEY>) -> Result<Vec<u8>, Failed> {
    // SAFETY: writer and key are valid.
    let der = to_der(|writer| ok(unsafe { sys::EVP_marshal_public_key(writer, key.as_ptr()) }))?;
    Ok(der.into_plain())
}

/// PKCS#8 of an RSA private key.
pub(crate) fn rsa_to_pkcs8(rsa: &RsaKey) -> Result<SecretBytes, Failed> {
    private_der(&wrap_rsa(rsa)?)
}

/// PKCS#8 of an EC private key.
pub(crate) fn ec_to_pkcs8(ec: &EcKey) -> Result<SecretBytes, Failed> {
    private_der(&wrap_ec(ec)?)
}

/// SubjectPublicKeyInfo of an RSA key.
pub(crate) fn rsa_to_spki(rsa: &RsaKey) -> Result<Vec<u8>, Failed> {
    public_der(&wrap_rsa(rsa)?)
}

/// SubjectPublicKeyInfo of an EC key.
pub(crate) fn ec_to_spki(ec: &EcKey) -> Result<Vec<u8>, Failed> {
    public_der(&wrap_ec(ec)?)
}

/// What RSA-OAEP depends on beside the key.
pub(crate) struct Oaep<'a> {
    pub(crate) hash: Hash,
    pub(crate) mgf: Hash,
    pub(crate) label: &'a [u8],
}

impl Oaep<'_> {
    /// Sets padding, hashes and label of an operation that was just initialised.
    fn configure(&self, context: &Owned<sys::EVP_PKEY_CTX>) -> Result<(), Failed> {
        let context = context.as_ptr();
        // SAFETY: the context is valid and initialised for encryption or decryption.
        unsafe {
            ok(sys::EVP_PKEY_CTX_set_rsa_padding(context, sys::RSA_PKCS1_OAEP_PADDING))?;
            ok(sys::EVP_PKEY_CTX_set_rsa_oaep_md(context, digest::description(self.hash)))?;
            ok(sys::EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest::description(self.mgf)))?;
        }
        if self.label.is_empty() {
            return Ok(());
        }
        // SAFETY: a copy of the label is made, which `set0` takes over if it succeeds and which is
        // ours to free if not.
        unsafe {
            let label = sys::OPENSSL_memdup(self.label.as_ptr().cast(), self.label.len());
            let taken = !label.is_null()
                && sys::EVP_PKEY_CTX_set0_rsa_oaep_label(context, label.cast(), self.label.len())
                    == 1;
            if !taken {
                sys::OPENSSL_free(label);
                return Err(super::failed());
            }
        }
        Ok(())
    }

    /// Encrypts `data` to `rsa`.
    pub(crate) fn encrypt(&self, rsa: &RsaKey, data: &[u8]) -> Result<Vec<u8>, Failed> {
        let key = wrap_rsa(rsa)?;
        let mut out = vec![0; rsa.size()];
        let mut length = out.len();
        // SAFETY: the context takes its own reference to the key; at most `length` bytes, the
        // modulus's length, are written.
        unsafe {
            let context = Owned::new(sys::EVP_PKEY_CTX_new(key.as_ptr(), ptr::null_mut()))?;
            ok(sys::EVP_PKEY_encrypt_init(context.as_ptr()))?;
            self.configure(&context)?;
            ok(sys::EVP_PKEY_encrypt(
                context.as_ptr(),
                out.as_mut_ptr(),
                &mut length,
                data.as_ptr(),
                data.len(),
            ))?;
        }
        out.truncate(length);
        Ok(out)
    }

    /// Decrypts `data` with `rsa`. aws-lc checks the padding in constant time and has one failure
    /// for all of its faults, so there is nothing for Manger's attack to see.
    pub(crate) fn decrypt(&self, rsa: &RsaKey, data: &[u8]) -> Result<SecretBytes, Failed> {
        let key = wrap_rsa(rsa)?;
        let mut out = SecretBytes::zeroed(rsa.size());
        let mut length = out.len();
        // SAFETY: as in `encrypt`.
        unsafe {
            let context = Owned::new(sys::EVP_PKEY_CTX_new(key.as_ptr(), ptr::null_mut()))?;
            ok(sys::EVP_PKEY_decrypt_init(context.as_ptr()))?;
            self.configure(&context)?;
            ok(sys::EVP_PKEY_decrypt(
                context.as_ptr(),
                out.as_mut_bytes().as_mut_ptr(),
                &mut length,
                data.as_ptr(),
                data.len(),
            ))?;
        }
        out.truncate(length);
        Ok(out)
    }
}
