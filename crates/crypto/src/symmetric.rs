//! What the HSM seals its own things with: AES-256-GCM, HKDF-SHA256 and HMAC-SHA256.
//!
//! Not for users' keys: those go through the table of mechanisms.

use crate::backend::aead::Aead;
use crate::backend::digest;
use crate::hash::LONGEST;
use crate::{Error, Hash, SecretBytes};

/// Length of a nonce in bytes.
pub const NONCE_BYTES: usize = 12;
/// Length of a tag in bytes: a sealed value is this much longer than its plaintext.
pub const TAG_BYTES: usize = 16;

/// A key for AES-256-GCM, prepared once and usable from many threads. Wiped when dropped.
pub struct AeadKey(Aead);

impl AeadKey {
    /// Prepares a key. The caller's copy stays the caller's to wipe.
    pub fn new(key: &[u8; 32]) -> Self {
        // With a key of the right length this fails only where Rust's allocator would abort.
        Self(Aead::new(key, TAG_BYTES).expect("preparing AES-256-GCM: out of memory"))
    }

    /// Prepares a key of 32 bytes, such as [`derive()`] makes; others are [`Error::KeySize`].
    pub fn from_secret(key: &SecretBytes) -> Result<Self, Error> {
        let key = key.as_bytes().try_into().map_err(|_| Error::KeySize)?;
        Ok(Self::new(key))
    }

    /// Encrypts `plaintext` and authenticates it together with `aad`: ciphertext || tag. No nonce
    /// may ever be used twice with one key.
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        // It fails for plaintexts of more than 64 GiB, which no limit here lets come near.
        self.0.seal(&[], &nonce, aad, plaintext).expect("AES-256-GCM takes any data below 64 GiB")
    }

    /// The plaintext of what [`AeadKey::seal`] made with the same nonce and associated data, else
    /// [`Error::EncryptedDataInvalid`].
    pub fn open(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, Error> {
        self.0.open(&nonce, aad, sealed).map_err(|_| Error::EncryptedDataInvalid)
    }
}

/// A 32-byte key for the purpose that `info` names, derived from `key` by HKDF-SHA256 (RFC 5869,
/// extract with an empty salt, then expand).
pub fn derive(key: &[u8], info: &[u8]) -> SecretBytes {
    let mut out = SecretBytes::zeroed(32);
    // HKDF fails for outputs of more than 255 hashes only.
    digest::hkdf_sha256(key, info, out.as_mut_bytes()).expect("HKDF-SHA256 of 32 bytes");
    out
}

/// HMAC-SHA256 of `data`.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut out = [0; LONGEST];
    digest::hmac(Hash::Sha256, key, data, &mut out).expect("HMAC-SHA256: out of memory");
    let mut tag = [0; 32];
    tag.copy_from_slice(&out[..32]);
    tag
}

/// Whether `tag` is the HMAC-SHA256 of `data`, in constant time.
pub fn verify_hmac(key: &[u8], data: &[u8], tag: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    hmac_sha256(key, data).as_slice().ct_eq(tag).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::hex;

    /// "The Galois/Counter Mode of Operation", McGrew and Viega, test case 16.
    #[test]
    fn aes_256_gcm_gives_the_published_vector() {
        let key: [u8; 32] = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
            .try_into()
            .expect("32 bytes");
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().expect("12 bytes");
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plaintext = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
        let expected = hex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662\
             76fc6ece0f4e1768cddf8853bb2d551b");
        let key = AeadKey::new(&key);
        let sealed = key.seal(nonce, &aad, &plaintext);
        assert_eq!(sealed, expected);
        assert!(key.open(nonce, &aad, &sealed).is_ok_and(|opened| opened.ct_eq(&plaintext)));
    }

    #[test]
    fn nothing_altered_opens() {
        let key = AeadKey::from_secret(&derive(b"key", b"test")).expect("32 bytes");
        let sealed = key.seal([1; 12], b"aad", b"plaintext");
        assert!(key.open([1; 12], b"aad", &sealed).is_ok());
        assert!(key.open([2; 12], b"aad", &sealed).is_err());
        assert!(key.open([1; 12], b"aae", &sealed).is_err());
        assert!(key.open([1; 12], b"aad", &sealed[1..]).is_err());
        assert!(key.open([1; 12], b"aad", &[]).is_err());
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert!(key.open([1; 12], b"aad", &altered).is_err());
        }
        assert!(matches!(AeadKey::from_secret(&SecretBytes::zeroed(16)), Err(Error::KeySize)));
    }

    /// RFC 5869, A.3: HKDF-SHA256 with neither salt nor info (its first 32 bytes).
    #[test]
    fn hkdf_gives_the_rfc_5869_vector() {
        let derived = derive(&hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"), b"");
        assert!(
            derived.ct_eq(&hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"))
        );
        assert!(!derive(b"key", b"one").ct_eq(derive(b"key", b"two").as_bytes()));
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_gives_the_rfc_4231_vector_and_verifies_it() {
        let tag = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let data = b"what do ya want for nothing?";
        assert_eq!(hmac_sha256(b"Jefe", data).as_slice(), tag);
        assert!(verify_hmac(b"Jefe", data, &tag));
        assert!(!verify_hmac(b"Jefe", data, &tag[..31]));
        assert!(!verify_hmac(b"Jeff", data, &tag));
    }
}
