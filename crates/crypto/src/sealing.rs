//! Sealing bytes to a device: only the holder of its sealing key opens them.
//!
//! HPKE (RFC 9180, base mode) with MLKEM768-X25519 (draft-ietf-hpke-pq, also called X-Wing),
//! HKDF-SHA256 and AES-256-GCM. It holds as long as one of X25519 and ML-KEM-768 does. Specified,
//! with test vectors, in `docs/spec/sealing.md`:
//!
//! ```text
//! format 1 | ML-KEM ciphertext[1088] | X25519 public value[32] | ciphertext | tag[16]
//! ```
//! Every message has a key of its own, so the nonce is fixed. Sealing proves nothing about who
//! sealed: who may is for the caller to know.

use crate::backend::kem::{CIPHERTEXT_BYTES, MlKem, PUBLIC_BYTES, SECRET_BYTES, SEED_BYTES};
use crate::backend::{Failed, digest, kem};
use crate::memory::LockedBytes;
use crate::symmetric::{AeadKey, NONCE_BYTES, TAG_BYTES};
use crate::{Error, Hash, SecretBytes, random};

/// Bytes of a public sealing key: ML-KEM-768's, then X25519's.
pub const PUBLIC_KEY_BYTES: usize = PUBLIC_BYTES + SECRET_BYTES;
/// Bytes of a sealing key pair as [`SealingKeyPair::to_secret_bytes`] gives it: a seed.
pub const SECRET_KEY_BYTES: usize = 32;
/// A sealed message is this many bytes longer than its plaintext.
pub const OVERHEAD_BYTES: usize = 1 + ENCAPSULATED_BYTES + TAG_BYTES;

const FORMAT: u8 = 1;
const ENCAPSULATED_BYTES: usize = CIPHERTEXT_BYTES + SECRET_BYTES;
/// "HPKE", KEM 0x647a, KDF HKDF-SHA256, AEAD AES-256-GCM.
const SUITE: &[u8; 10] = b"HPKE\x64\x7a\x00\x01\x00\x02";
const VERSION: &[u8] = b"HPKE-v1";
const MODE_BASE: u8 = 0;
/// What the KEM's combiner hashes last: X-Wing's label.
const COMBINER_LABEL: &[u8] = b"\\.//^\\";

/// A device's sealing key: what is sealed to its public half, only it opens.
pub struct SealingKeyPair {
    seed: LockedBytes,
    ml_kem: MlKem,
    x25519: LockedBytes,
    public_key: Vec<u8>,
}

impl SealingKeyPair {
    /// A new key pair.
    ///
    /// # Errors
    /// Where the backend fails, or there is no memory to lock.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = SecretBytes::zeroed(SECRET_KEY_BYTES);
        random(seed.as_mut_bytes())?;
        Self::from_secret_bytes(seed.as_bytes())
    }

    /// The pair that [`SealingKeyPair::to_secret_bytes`] gave.
    ///
    /// # Errors
    /// [`Error::KeySize`] where it has another length; else as [`SealingKeyPair::generate`].
    pub fn from_secret_bytes(seed: &[u8]) -> Result<Self, Error> {
        if seed.len() != SECRET_KEY_BYTES {
            return Err(Error::KeySize);
        }
        let locked =
            |bytes| LockedBytes::copied(bytes).map_err(|_| Error::Backend("locked memory"));
        let expanded = digest::shake256(seed, SEED_BYTES + SECRET_BYTES);
        let (ml_kem_seed, x25519) = split::<SEED_BYTES, SECRET_BYTES>(expanded.as_bytes())
            .map_err(Error::backend("expanding a sealing key"))?;
        let ml_kem =
            MlKem::from_seed(ml_kem_seed).map_err(Error::backend("making an ML-KEM key"))?;
        let ml_kem_public = ml_kem.public().map_err(Error::backend("an ML-KEM public key"))?;
        Ok(Self {
            seed: locked(seed)?,
            public_key: [&ml_kem_public[..], &kem::x25519_public(x25519)].concat(),
            x25519: locked(x25519)?,
            ml_kem,
        })
    }

    /// The pair as 32 secret bytes.
    #[must_use]
    pub fn to_secret_bytes(&self) -> SecretBytes {
        SecretBytes::copied(self.seed.as_bytes())
    }

    /// What others seal to.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Opens what [`seal_to`] made for this key with the same `info` and associated data.
    ///
    /// # Errors
    /// [`Error::EncryptedDataLength`] where it is too short, else [`Error::EncryptedDataInvalid`].
    pub fn open(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, Error> {
        let (head, ciphertext) = sealed
            .split_first_chunk::<{ 1 + ENCAPSULATED_BYTES }>()
            .filter(|(_, ciphertext)| ciphertext.len() >= TAG_BYTES)
            .ok_or(Error::EncryptedDataLength)?;
        let [FORMAT, encapsulated @ ..] = head else {
            return Err(Error::EncryptedDataInvalid);
        };
        let secret = self.decapsulate(encapsulated).map_err(|_| Error::EncryptedDataInvalid)?;
        let (key, nonce) = schedule(&secret, info)?;
        key.open(nonce, aad, ciphertext)
    }

    fn decapsulate(&self, encapsulated: &[u8; ENCAPSULATED_BYTES]) -> Result<SecretBytes, Failed> {
        let (ciphertext, ephemeral) = split::<CIPHERTEXT_BYTES, SECRET_BYTES>(encapsulated)?;
        let private = self.x25519.as_bytes().try_into().map_err(|_| Failed)?;
        let traditional = kem::x25519(private, ephemeral)?;
        let post_quantum = self.ml_kem.decapsulate(ciphertext)?;
        Ok(combine(&post_quantum, &traditional, ephemeral, &self.public_key[PUBLIC_BYTES..]))
    }
}

/// Seals `plaintext` to the holder of `public_key`. `info` says what for, so that nothing sealed for
/// one purpose opens for another; both `info` and `aad` must be the same to open.
///
/// # Errors
/// [`Error::KeyInvalid`] where it is no public sealing key; else where the backend fails.
pub fn seal_to(
    public_key: &[u8],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut ephemeral = SecretBytes::zeroed(SECRET_BYTES);
    random(ephemeral.as_mut_bytes())?;
    let (secret, encapsulated) =
        encapsulate(public_key, &ephemeral).map_err(|_| Error::KeyInvalid)?;
    let (key, nonce) = schedule(&secret, info)?;
    Ok([&[FORMAT][..], &encapsulated, &key.seal(nonce, aad, plaintext)].concat())
}

fn encapsulate(
    public_key: &[u8],
    ephemeral: &SecretBytes,
) -> Result<(SecretBytes, Vec<u8>), Failed> {
    let (ml_kem, x25519) = split::<PUBLIC_BYTES, SECRET_BYTES>(public_key)?;
    let ephemeral = ephemeral.as_bytes().try_into().map_err(|_| Failed)?;
    let ephemeral_public = kem::x25519_public(ephemeral);
    let traditional = kem::x25519(ephemeral, x25519)?;
    let (post_quantum, ciphertext) = MlKem::from_public(ml_kem)?.encapsulate()?;
    let secret = combine(&post_quantum, &traditional, &ephemeral_public, x25519);
    Ok((secret, [&ciphertext[..], &ephemeral_public].concat()))
}

/// One secret of both: it is unknown while one of them is. ML-KEM's ciphertext needn't go in, as
/// ML-KEM itself binds it.
fn combine(
    post_quantum: &SecretBytes,
    traditional: &SecretBytes,
    ephemeral_public: &[u8],
    x25519_public: &[u8],
) -> SecretBytes {
    digest::sha3_256(&[
        post_quantum.as_bytes(),
        traditional.as_bytes(),
        ephemeral_public,
        x25519_public,
        COMBINER_LABEL,
    ])
}

/// RFC 9180, section 5.1, in base mode: the key and the nonce of the only message.
fn schedule(secret: &SecretBytes, info: &[u8]) -> Result<(AeadKey, [u8; NONCE_BYTES]), Error> {
    let derive = || {
        let psk_id_hash = labeled_extract(&[], b"psk_id_hash", &[])?;
        let info_hash = labeled_extract(&[], b"info_hash", info)?;
        let context = [&[MODE_BASE][..], psk_id_hash.as_bytes(), info_hash.as_bytes()].concat();
        let secret = labeled_extract(secret.as_bytes(), b"secret", &[])?;
        let key = labeled_expand(&secret, b"key", &context, 32)?;
        let nonce = labeled_expand(&secret, b"base_nonce", &context, NONCE_BYTES)?;
        Ok((key, nonce))
    };
    let (key, nonce) = derive().map_err(Error::backend("HPKE's key schedule"))?;
    let nonce = nonce.as_bytes().try_into().map_err(|_| Error::Backend("HPKE's nonce"))?;
    Ok((AeadKey::from_secret(&key)?, nonce))
}

fn labeled_extract(salt: &[u8], label: &[u8], key: &[u8]) -> Result<SecretBytes, Failed> {
    let labeled = SecretBytes::new([VERSION, SUITE, label, key].concat());
    digest::hkdf_extract(Hash::Sha256, salt, labeled.as_bytes())
}

fn labeled_expand(
    secret: &SecretBytes,
    label: &[u8],
    context: &[u8],
    length: usize,
) -> Result<SecretBytes, Failed> {
    let length_bytes = u16::try_from(length).map_err(|_| Failed)?.to_be_bytes();
    let labeled = [&length_bytes[..], VERSION, SUITE, label, context].concat();
    digest::hkdf_expand(Hash::Sha256, secret.as_bytes(), &labeled, length)
}

/// Bytes of exactly two lengths, one after the other.
fn split<const N: usize, const M: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8; M]), Failed> {
    let (first, second) = bytes.split_first_chunk::<N>().ok_or(Failed)?;
    Ok((first, second.try_into().map_err(|_| Failed)?))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::backend::testing::hex;

    fn vectors() -> Value {
        let text = include_str!("../../../docs/spec/vectors/sealing.json");
        serde_json::from_str(text).expect("JSON")
    }

    fn bytes(vector: &Value, name: &str) -> Vec<u8> {
        hex(vector[name].as_str().expect("a string"))
    }

    #[test]
    fn what_is_sealed_to_a_key_opens_with_it() {
        let pair = SealingKeyPair::generate().expect("a key");
        let sealed = seal_to(pair.public_key(), b"info", b"aad", b"plaintext").expect("sealed");
        assert_eq!(sealed.len(), b"plaintext".len() + OVERHEAD_BYTES);
        assert_eq!(pair.public_key().len(), PUBLIC_KEY_BYTES);
        let again = SealingKeyPair::from_secret_bytes(pair.to_secret_bytes().as_bytes());
        let opened = again.expect("the same key").open(b"info", b"aad", &sealed);
        assert!(opened.is_ok_and(|opened| opened.ct_eq(b"plaintext")));
    }

    #[test]
    fn no_bit_of_a_sealed_message_can_be_changed_and_no_byte_lost() {
        let pair = SealingKeyPair::generate().expect("a key");
        let sealed = seal_to(pair.public_key(), b"info", b"aad", b"x").expect("sealed");
        for bit in 0..sealed.len() * 8 {
            // The X25519 value's highest bit is masked off by RFC 7748, but hashed by the combiner.
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(pair.open(b"info", b"aad", &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(pair.open(b"info", b"aad", &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn another_purpose_other_associated_data_or_another_key_opens_nothing() {
        let pair = SealingKeyPair::generate().expect("a key");
        let other = SealingKeyPair::generate().expect("a key");
        let sealed = seal_to(pair.public_key(), b"info", b"aad", b"plaintext").expect("sealed");
        assert_eq!(pair.open(b"infp", b"aad", &sealed).err(), Some(Error::EncryptedDataInvalid));
        assert_eq!(pair.open(b"info", b"aae", &sealed).err(), Some(Error::EncryptedDataInvalid));
        assert_eq!(other.open(b"info", b"aad", &sealed).err(), Some(Error::EncryptedDataInvalid));
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let pair = SealingKeyPair::generate().expect("a key");
        let good = pair.public_key().to_vec();
        let small_order = [&good[..PUBLIC_BYTES], &[0; 32]].concat();
        // Coefficients are below 3329 (FIPS 203, section 7.2).
        let out_of_range = [&[0xff; PUBLIC_BYTES][..], &good[PUBLIC_BYTES..]].concat();
        for wrong in [&good[1..], &[], &small_order, &out_of_range] {
            assert_eq!(seal_to(wrong, b"", b"", b"").err(), Some(Error::KeyInvalid));
        }
        assert_eq!(SealingKeyPair::from_secret_bytes(&[0; 31]).err(), Some(Error::KeySize));
    }

    /// The test vector of draft-ietf-hpke-pq: ML-KEM-768 (key from its seed, decapsulation), X25519
    /// and the combiner.
    #[test]
    fn the_kem_gives_the_draft_s_vector() {
        for vector in vectors()["kem"].as_array().expect("a list") {
            let pair = SealingKeyPair::from_secret_bytes(&bytes(vector, "secret_key"));
            let pair = pair.expect("a key");
            assert_eq!(pair.public_key(), bytes(vector, "public_key"));
            let encapsulated = bytes(vector, "encapsulated");
            let secret = pair.decapsulate(encapsulated.as_slice().try_into().expect("its length"));
            assert!(secret.is_ok_and(|secret| secret.ct_eq(&bytes(vector, "shared_secret"))));
        }
    }

    /// Messages that Go's crypto/hpke sealed.
    #[test]
    fn messages_of_another_implementation_open() {
        for vector in vectors()["messages"].as_array().expect("a list") {
            let pair = SealingKeyPair::from_secret_bytes(&bytes(vector, "secret_key"));
            let pair = pair.expect("a key");
            assert_eq!(pair.public_key(), bytes(vector, "public_key"));
            let (info, aad) = (bytes(vector, "info"), bytes(vector, "aad"));
            let opened = pair.open(&info, &aad, &bytes(vector, "sealed"));
            assert!(opened.is_ok_and(|opened| opened.ct_eq(&bytes(vector, "plaintext"))));
        }
    }
}
