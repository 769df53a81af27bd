//! What mechanisms of one kind have in common: the implementation, the keys, the parameter, how data
//! may be cut, and what the manual says.
//!
//! A new kind is one row in [`Kind::facts`] and its function in `cipher`, `sign`, `wrap`, `derive` or
//! `key`; the engine, the client library and the manual follow from the row.

use cryptoki_sys as ck;

use super::{GENERIC_SECRET_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN};

/// What a mechanism does, whatever its number: the implementation that it selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`crate::generate_secret`] of an AES key.
    GenerateAes,
    /// [`crate::generate_secret`] of a generic secret.
    GenerateGeneric,
    /// [`crate::generate_rsa`].
    GenerateRsa,
    /// [`crate::generate_ec`].
    GenerateEc,
    /// RSASSA-PKCS1-v1_5 and RSAES-PKCS1-v1_5 (RFC 8017). Without a hash: the data is what is
    /// padded (a DigestInfo, mostly).
    RsaPkcs,
    /// RSASSA-PSS (RFC 8017). Without a hash: the data is the hash.
    RsaPss,
    /// RSAES-OAEP (RFC 8017).
    RsaOaep,
    /// ECDSA (FIPS 186-5), signatures as r || s. Without a hash: the data is the hash.
    Ecdsa,
    /// HMAC (FIPS 198-1).
    Hmac,
    /// A hash function.
    Digest,
    /// AES-GCM (SP 800-38D): ciphertext || tag.
    AesGcm,
    /// AES-GCM with an IV made here: IV (12 bytes) || ciphertext || tag.
    AesGcmWithIv,
    /// AES-CBC (SP 800-38A) of whole blocks.
    AesCbc,
    /// AES-CBC with PKCS#7 padding.
    AesCbcPad,
    /// AES-ECB of whole blocks.
    AesEcb,
    /// AES-CTR.
    AesCtr,
    /// AES key wrap (RFC 3394, SP 800-38F KW) of whole 8-byte blocks.
    AesKeyWrap,
    /// AES key wrap with padding (RFC 5649, SP 800-38F KWP).
    AesKeyWrapPad,
    /// AES key wrap (RFC 3394) after PKCS#5 padding to 8-byte blocks.
    AesKeyWrapPkcs5,
    /// ECDH (SP 800-56A) with a key derivation function: see [`crate::derive()`].
    Ecdh,
}

/// The keys of a kind: their type, and their sizes in the unit that PKCS#11 gives the mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// `CKK_…`; `None` where the mechanism has no key.
    pub key_type: Option<u64>,
    /// Smallest.
    pub min: u64,
    /// Largest.
    pub max: u64,
}

const fn keys(key_type: u64, min: u64, max: u64) -> Keys {
    Keys { key_type: Some(key_type), min, max }
}

const RSA: Keys = keys(ck::CKK_RSA, RSA_BITS_MIN as u64, RSA_BITS_MAX as u64);
const EC: Keys = keys(ck::CKK_EC, 256, 521);
const AES: Keys = keys(ck::CKK_AES, 16, 32);
const SECRET: Keys = keys(ck::CKK_GENERIC_SECRET, 1, GENERIC_SECRET_BYTES_MAX as u64);
const SECRET_BITS: Keys = keys(ck::CKK_GENERIC_SECRET, 8, 8 * GENERIC_SECRET_BYTES_MAX as u64);
const NO_KEY: Keys = Keys { key_type: None, min: 0, max: 0 };

/// The form of a mechanism's parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// None.
    None,
    /// Exactly so many bytes.
    Iv(usize),
    /// CK_AES_CTR_PARAMS: a counter block, and how much of it counts.
    Counter,
    /// AES key wrap's initial value, or nothing.
    KeyWrapIv,
    /// CK_GCM_PARAMS.
    Gcm,
    /// CK_RSA_PKCS_PSS_PARAMS.
    Pss,
    /// CK_RSA_PKCS_OAEP_PARAMS.
    Oaep,
    /// CK_ECDH1_DERIVE_PARAMS.
    Ecdh,
}

/// How the data of an encryption can be cut into requests of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// Not at all; what an encryption adds is the tag, and so many bytes of IV in front.
    Sealed(usize),
    /// Into whole blocks of so many bytes, each on its own.
    Blocks(usize),
    /// Into whole blocks, each with the ciphertext block before it for its IV.
    Chained(usize),
    /// As [`Cut::Chained`], and a padded last block: all before it goes by the mechanism that is
    /// named, which doesn't pad.
    Padded(usize, u64),
    /// At blocks of a key stream that an incremented counter block makes.
    Counted(usize),
}

/// The sections of the manual's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Making keys.
    Generation,
    /// RSA.
    Rsa,
    /// ECDSA.
    Ecdsa,
    /// Key agreement.
    Agreement,
    /// HMAC.
    Hmac,
    /// Digests.
    Digests,
    /// AES.
    Aes,
    /// AES key wrap.
    AesKeyWrap,
}

impl Family {
    /// All, in the page's order, with their titles.
    pub const ALL: &[(Self, &str)] = &[
        (Self::Generation, "Making keys"),
        (Self::Rsa, "RSA"),
        (Self::Ecdsa, "ECDSA"),
        (Self::Agreement, "Key agreement"),
        (Self::Hmac, "HMAC"),
        (Self::Digests, "Digests"),
        (Self::Aes, "AES"),
        (Self::AesKeyWrap, "AES key wrap"),
    ];
}

/// One row of [`Kind::facts`].
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Where the manual has it.
    pub family: Family,
    /// Its keys.
    pub keys: Keys,
    /// Its parameter.
    pub parameter: Form,
    /// How its data can be cut.
    pub cut: Cut,
    /// What a caller should know of it, in the manual; may be empty.
    pub note: &'static str,
}

const fn facts(family: Family, keys: Keys, parameter: Form, cut: Cut, note: &'static str) -> Facts {
    Facts { family, keys, parameter, cut, note }
}

impl Kind {
    /// What all mechanisms of the kind have in common.
    #[rustfmt::skip] // one row each
    pub const fn facts(self) -> Facts {
        use Cut::{Blocks, Chained, Counted, Padded, Sealed, Whole};
        match self {
            Self::GenerateAes => facts(Family::Generation, AES, Form::None, Whole,
                "CKM_AES_KEY_GEN: CKA_VALUE_LEN is 16, 24 or 32."),
            Self::GenerateGeneric => facts(Family::Generation, SECRET_BITS, Form::None, Whole,
                "CKM_GENERIC_SECRET_KEY_GEN: CKA_VALUE_LEN is in bytes."),
            Self::GenerateRsa => facts(Family::Generation, RSA, Form::None, Whole,
                "CKM_RSA_PKCS_KEY_PAIR_GEN and CKM_RSA_X9_31_KEY_PAIR_GEN are the same generator: \
                 probable primes as FIPS 186-5 has them, not X9.31's auxiliary primes. CKA_PUBLIC_EXPONENT \
                 is odd, from 65,537 up to 4 bytes; without it, it is 65,537."),
            Self::GenerateEc => facts(Family::Generation, EC, Form::None, Whole,
                "CKM_EC_KEY_PAIR_GEN: CKA_EC_PARAMS is the DER object identifier of a named curve."),
            Self::RsaPkcs => facts(Family::Rsa, RSA, Form::None, Whole,
                "CKM_RSA_PKCS signs what it gets, a DER DigestInfo as a rule. Its decryption and \
                 unwrapping give no error for bad padding but other bytes (implicit rejection), so that \
                 nobody learns from it."),
            Self::RsaPss => facts(Family::Rsa, RSA, Form::Pss, Whole,
                "PSS: hashAlg is the mechanism's hash, mgf any of CKG_MGF1_SHA1 to SHA512, the salt up to \
                 what the modulus has room for. CKM_RSA_PKCS_PSS takes the digest."),
            Self::RsaOaep => facts(Family::Rsa, RSA, Form::Oaep, Whole,
                "OAEP: any hash and mask function of SHA-1 to SHA-512, and a label."),
            Self::Ecdsa => facts(Family::Ecdsa, EC, Form::None, Whole,
                "ECDSA signatures are r || s, each as long as the curve's field. CKM_ECDSA takes the digest, of \
                 which the leftmost bits count (FIPS 186-5, 6.4)."),
            Self::Ecdh => facts(Family::Agreement, EC, Form::Ecdh, Whole,
                "CKM_ECDH1_DERIVE: pPublicData is the peer's point, bare or in its OCTET STRING; one off the curve \
                 is CKR_MECHANISM_PARAM_INVALID. The KDF is CKD_NULL (the last bytes of the secret, without shared \
                 data), CKD_SHA1_KDF to CKD_SHA512_KDF (ANSI X9.63) or CKD_SHA1_KDF_SP800 to \
                 CKD_SHA512_KDF_SP800 (SP 800-56C); the last ten want CKA_VALUE_LEN. A derived key has 14 \
                 bytes at least. All curves have the cofactor 1, so CKM_ECDH1_COFACTOR_DERIVE is the same."),
            Self::Hmac => facts(Family::Hmac, SECRET, Form::None, Whole,
                "The whole MAC; there is no CKM_…_HMAC_GENERAL."),
            Self::Digest => facts(Family::Digests, NO_KEY, Form::None, Whole,
                "Digests are made in the library and need no login."),
            Self::AesGcm => facts(Family::Aes, AES, Form::Gcm, Sealed(0),
                "CKM_AES_GCM in personality `cloudhsm`: the HSM makes the IV. Give 12 zero bytes, into \
                 which it is written. In personality `token` the caller's IV counts, of 1 to 256 bytes. \
                 ulTagBits is a multiple of 8 up to 128. Ciphertext and tag are one piece; decryption \
                 gives nothing before the tag is checked."),
            Self::AesGcmWithIv => facts(Family::Aes, AES, Form::Gcm, Sealed(12),
                "CKM_CLOUDHSM_AES_GCM puts the HSM's IV, 12 bytes, in front of the ciphertext, and expects \
                 it there."),
            Self::AesCbc => facts(Family::Aes, AES, Form::Iv(16), Chained(16),
                "CKM_AES_CBC and CKM_AES_ECB take whole blocks of 16 bytes."),
            Self::AesCbcPad => facts(Family::Aes, AES, Form::Iv(16), Padded(16, ck::CKM_AES_CBC),
                "CKM_AES_CBC_PAD pads as PKCS#7."),
            Self::AesEcb => facts(Family::Aes, AES, Form::None, Blocks(16), ""),
            Self::AesCtr => facts(Family::Aes, AES, Form::Counter, Counted(16),
                "CKM_AES_CTR: ulCounterBits from 1 to 128; a counter never wraps within an operation."),
            Self::AesKeyWrap => facts(Family::AesKeyWrap, AES, Form::KeyWrapIv, Whole,
                "CKM_AES_KEY_WRAP (RFC 3394): what is wrapped has whole blocks of 8 bytes. Key wrap works on keys only: a key \
                 that could also C_Decrypt would lay open what it wrapped."),
            Self::AesKeyWrapPad => facts(Family::AesKeyWrap, AES, Form::None, Whole,
                "CKM_AES_KEY_WRAP_KWP (RFC 5649). CKM_AES_KEY_WRAP_PAD, whose padding PKCS#11 2.40 leaves open, is the same."),
            Self::AesKeyWrapPkcs5 => facts(Family::AesKeyWrap, AES, Form::KeyWrapIv, Whole,
                "CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD: RFC 3394 after PKCS#5 padding to 8 bytes."),
        }
    }
}
