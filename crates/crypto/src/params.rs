//! A mechanism's parameter, as [`crate::sign`], [`crate::encrypt`] and [`crate::wrap`] take it.

use crate::{AgreementKdf, CounterKdf, Error, Hash, Hkdf};

/// The parameter of one operation. Each [`crate::Kind`] takes one of these forms; another one is
/// [`Error::ParameterInvalid`].
#[derive(Clone, Copy)]
pub enum Params<'a> {
    /// No parameter.
    None,
    /// CBC, CFB, OFB: the initialisation vector of one block. XTS: the tweak. ChaCha20: the 4-byte
    /// little-endian block counter, then the 12-byte nonce. CTR: the 16-byte initial counter block, counting
    /// over its full 128 bits. AES key wrap: the 8-byte initial value (or use [`Params::None`]).
    Iv(&'a [u8]),
    /// An authenticated cipher: AES-GCM, AES-CCM, ChaCha20-Poly1305; AES-GMAC. GCM's `iv` is 1 byte or longer (12 is what to use); for CKM_CLOUDHSM_AES_GCM it is
    /// empty, because the IV is made here and travels in front of the ciphertext.
    Gcm {
        /// Initialisation vector.
        iv: &'a [u8],
        /// Additional authenticated data, of any length.
        aad: &'a [u8],
        /// Tag length in bits; GCM's is 96, 104, 112, 120 or 128.
        tag_bits: u32,
    },
    /// The length of a MAC that is cut, in bytes.
    MacLength(usize),
    /// RSA-PSS.
    Pss {
        /// Hash of the message; that of the mechanism, if it names one.
        hash: Hash,
        /// Hash of the mask generation function.
        mgf: Hash,
        /// Salt length in bytes.
        salt_length: usize,
    },
    /// RSA-OAEP.
    Oaep {
        /// Hash of the label.
        hash: Hash,
        /// Hash of the mask generation function.
        mgf: Hash,
        /// The label (`pSourceData`), mostly empty.
        label: &'a [u8],
    },
    /// EdDSA other than pure Ed25519.
    Eddsa {
        /// Whether the message's SHA-512 is signed (Ed25519ph).
        prehash: bool,
        /// The context, of at most 255 bytes.
        context: &'a [u8],
    },
    /// ML-DSA.
    SigningContext {
        /// The context, of at most 255 bytes.
        context: &'a [u8],
        /// The hash that the data is of, where the mechanism leaves it open.
        hash: Option<Hash>,
    },
    /// SP 800-108's counter mode.
    CounterKdf(CounterKdf<'a>),
    /// HKDF.
    Hkdf(Hkdf<'a>),
    /// PBKDF2, for [`crate::pbkdf2`].
    Pbkdf2 {
        /// The hash of its HMAC.
        hash: Hash,
        /// The password.
        password: &'a [u8],
        /// The salt.
        salt: &'a [u8],
        /// How often.
        iterations: u32,
    },
    /// RSA_AES key wrap: a one-time AES key under OAEP, and the key under that.
    RsaAes {
        /// The one-time key's size: 128, 192 or 256.
        aes_bits: u32,
        /// OAEP's hash of the label.
        hash: Hash,
        /// OAEP's hash of the mask generation function.
        mgf: Hash,
        /// OAEP's label.
        label: &'a [u8],
    },
    /// Key agreement with another's public key.
    Agreement {
        /// What makes a key of the agreed secret.
        kdf: AgreementKdf,
        /// What both sides put into the key derivation function; empty without one.
        shared_info: &'a [u8],
        /// The other side's public key: an encoded point (SEC 1).
        peer: &'a [u8],
    },
}

impl Params<'_> {
    /// Refuses a parameter where the mechanism takes none.
    pub(crate) fn expect_none(&self) -> Result<(), Error> {
        match self {
            Self::None => Ok(()),
            _ => Err(Error::ParameterInvalid),
        }
    }
}
