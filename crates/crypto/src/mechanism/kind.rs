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
    /// [`crate::generate_secret`] of a key whose type has one length.
    GenerateFixed,
    /// [`crate::generate_rsa`].
    GenerateRsa,
    /// [`crate::generate_ec`].
    GenerateEc,
    /// RSASSA-PKCS1-v1_5 and RSAES-PKCS1-v1_5 (RFC 8017). Without a hash: the data is what is
    /// padded (a DigestInfo, mostly).
    RsaPkcs,
    /// The bare RSA function (X.509), without any padding.
    RsaRaw,
    /// RSASSA-PSS (RFC 8017). Without a hash: the data is the hash.
    RsaPss,
    /// RSAES-OAEP (RFC 8017).
    RsaOaep,
    /// ECDSA (FIPS 186-5), signatures as r || s. Without a hash: the data is the hash.
    Ecdsa,
    /// HMAC (FIPS 198-1).
    Hmac,
    /// HMAC, cut to the length that the parameter says.
    HmacGeneral,
    /// AES-CMAC (SP 800-38B).
    Cmac,
    /// AES-CMAC, cut to the length that the parameter says.
    CmacGeneral,
    /// AES-GMAC (SP 800-38D): the tag of AES-GCM over data that isn't encrypted.
    Gmac,
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
    /// AES-CFB with 8-bit segments.
    AesCfb8,
    /// AES-CFB with whole blocks for segments.
    AesCfb128,
    /// AES-OFB.
    AesOfb,
    /// AES-XTS (SP 800-38E) of one data unit.
    AesXts,
    /// AES-CCM (SP 800-38C): ciphertext || tag.
    AesCcm,
    /// ChaCha20 (RFC 8439).
    ChaCha20,
    /// ChaCha20-Poly1305 (RFC 8439): ciphertext || tag.
    ChaCha20Poly1305,
    /// Triple-DES in ECB mode of whole blocks.
    Des3Ecb,
    /// Triple-DES in CBC mode of whole blocks.
    Des3Cbc,
    /// Triple-DES in CBC mode with PKCS#7 padding.
    Des3CbcPad,
    /// AES key wrap (RFC 3394, SP 800-38F KW) of whole 8-byte blocks.
    AesKeyWrap,
    /// AES key wrap with padding (RFC 5649, SP 800-38F KWP).
    AesKeyWrapPad,
    /// AES key wrap (RFC 3394) after PKCS#5 padding to 8-byte blocks.
    AesKeyWrapPkcs5,
    /// [`crate::generate_scheme`] of Ed25519.
    GenerateEdwards,
    /// [`crate::generate_scheme`] of X25519.
    GenerateMontgomery,
    /// [`crate::generate_scheme`] of ML-DSA.
    GenerateMlDsa,
    /// [`crate::generate_scheme`] of ML-KEM.
    GenerateMlKem,
    /// EdDSA (RFC 8032): Ed25519, Ed25519ctx and Ed25519ph.
    Eddsa,
    /// ML-DSA (FIPS 204) of a message.
    MlDsa,
    /// HashML-DSA (FIPS 204, 5.4). Without a hash: the data is the hash that the parameter names.
    HashMlDsa,
    /// ML-DSA of the message representative mu, made elsewhere.
    MlDsaMu,
    /// ML-KEM (FIPS 203).
    MlKem,
    /// ECDH (SP 800-56A) with a key derivation function: see [`crate::derive()`].
    Ecdh,
    /// RSA-OAEP of a one-time AES key || AES key wrap with padding (RFC 5649) under it.
    RsaAesKeyWrap,
    /// SP 800-108's counter mode over HMAC or AES-CMAC.
    CounterKdf,
    /// HKDF (RFC 5869).
    Hkdf,
    /// The hash of a key.
    HashDerive,
    /// SHAKE128 of a key.
    Shake128Derive,
    /// SHAKE256 of a key.
    Shake256Derive,
    /// PBKDF2 (RFC 8018): a key of a password.
    Pbkdf2,
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
const EC: Keys = keys(ck::CKK_EC, 224, 521);
const EDWARDS: Keys = keys(ck::CKK_EC_EDWARDS, 255, 255);
const MONTGOMERY: Keys = keys(ck::CKK_EC_MONTGOMERY, 255, 255);
const ML_DSA: Keys = keys(ck::CKK_ML_DSA, 1312, 2592);
const ML_KEM: Keys = keys(ck::CKK_ML_KEM, 800, 1568);
const AES: Keys = keys(ck::CKK_AES, 16, 32);
const SECRET: Keys = keys(ck::CKK_GENERIC_SECRET, 1, GENERIC_SECRET_BYTES_MAX as u64);
const SECRET_BITS: Keys = keys(ck::CKK_GENERIC_SECRET, 8, 8 * GENERIC_SECRET_BYTES_MAX as u64);
const DES3: Keys = keys(ck::CKK_DES3, 24, 24);
const CHACHA20: Keys = keys(ck::CKK_CHACHA20, 256, 256);
const AES_XTS: Keys = keys(ck::CKK_AES_XTS, 64, 64);
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
    /// CK_CCM_PARAMS.
    Ccm,
    /// CK_CHACHA20_PARAMS.
    ChaCha20,
    /// CK_SALSA20_CHACHA20_POLY1305_PARAMS.
    ChaCha20Poly1305,
    /// CK_MAC_GENERAL_PARAMS: a length in bytes.
    MacLength,
    /// CK_RSA_PKCS_PSS_PARAMS.
    Pss,
    /// CK_RSA_PKCS_OAEP_PARAMS.
    Oaep,
    /// CK_RSA_AES_KEY_WRAP_PARAMS.
    RsaAes,
    /// CK_SP800_108_KDF_PARAMS.
    CounterKdf,
    /// CK_HKDF_PARAMS.
    Hkdf,
    /// CK_PKCS5_PBKD2_PARAMS2.
    Pbkdf2,
    /// CK_ECDH1_DERIVE_PARAMS.
    Ecdh,
    /// CK_EDDSA_PARAMS, or nothing.
    Eddsa,
    /// CK_SIGN_ADDITIONAL_CONTEXT, or nothing.
    SigningContext,
    /// CK_HASH_SIGN_ADDITIONAL_CONTEXT.
    HashSigningContext,
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
    /// Anywhere: the next IV is the last bytes of ciphertext, so many.
    Shifted(usize),
    /// At whole blocks of ciphertext, the last of which is the next IV.
    Feedback(usize),
    /// At whole blocks of key stream, the last of which is the next IV.
    KeyStream(usize),
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
    /// EdDSA.
    Eddsa,
    /// ML-DSA and ML-KEM.
    PostQuantum,
    /// Key agreement.
    Agreement,
    /// Deriving keys.
    Derivation,
    /// MACs.
    Macs,
    /// Digests.
    Digests,
    /// AES.
    Aes,
    /// AES key wrap.
    AesKeyWrap,
    /// ChaCha20.
    ChaCha20,
    /// Triple-DES.
    Des3,
}

impl Family {
    /// All, in the page's order, with their titles.
    pub const ALL: &[(Self, &str)] = &[
        (Self::Generation, "Making keys"),
        (Self::Rsa, "RSA"),
        (Self::Ecdsa, "ECDSA"),
        (Self::Eddsa, "EdDSA"),
        (Self::Agreement, "Key agreement"),
        (Self::Derivation, "Key derivation"),
        (Self::PostQuantum, "ML-DSA and ML-KEM"),
        (Self::Macs, "MACs"),
        (Self::Digests, "Digests"),
        (Self::Aes, "AES"),
        (Self::AesKeyWrap, "AES key wrap"),
        (Self::ChaCha20, "ChaCha20"),
        (Self::Des3, "Triple-DES"),
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
        use Cut::{Blocks, Chained, Counted, Feedback, KeyStream, Padded, Sealed, Shifted, Whole};
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
                "CKM_EC_KEY_PAIR_GEN: CKA_EC_PARAMS is the DER object identifier of a named curve, or its name as a \
                 PrintableString; with that of Ed25519 it makes such a pair of the type CKK_EC, as CloudHSM does."),
            Self::RsaPkcs => facts(Family::Rsa, RSA, Form::None, Whole,
                "CKM_RSA_PKCS signs what it gets, a DER DigestInfo as a rule. Its decryption and \
                 unwrapping give no error for bad padding but other bytes (implicit rejection), so that \
                 nobody learns from it."),
            Self::RsaRaw => facts(Family::Rsa, RSA, Form::None, Whole,
                "CKM_RSA_X_509 is the bare function: data is filled up with zeros in front, and must be below the \
                 modulus. Who may sign so may decrypt, too: CKA_ALLOWED_MECHANISMS keeps a key from it."),
            Self::RsaPss => facts(Family::Rsa, RSA, Form::Pss, Whole,
                "PSS: hashAlg is the mechanism's hash, mgf any of CKG_MGF1_SHA1 to SHA512, the salt up to \
                 what the modulus has room for. CKM_RSA_PKCS_PSS takes the digest."),
            Self::RsaOaep => facts(Family::Rsa, RSA, Form::Oaep, Whole,
                "OAEP: any hash and mask function of SHA-1 to SHA-512, and a label."),
            Self::Ecdsa => facts(Family::Ecdsa, EC, Form::None, Whole,
                "ECDSA signatures are r || s, each as long as the curve's field. CKM_ECDSA takes the digest, of \
                 which the leftmost bits count (FIPS 186-5, 6.4)."),
            Self::GenerateEdwards => facts(Family::Generation, EDWARDS, Form::None, Whole,
                "CKM_EC_EDWARDS_KEY_PAIR_GEN: CKA_EC_PARAMS names Ed25519, by object identifier or as `edwards25519`. \
                 Ed448 is left out: the backend lacks it."),
            Self::GenerateMontgomery => facts(Family::Generation, MONTGOMERY, Form::None, Whole,
                "CKM_EC_MONTGOMERY_KEY_PAIR_GEN: CKA_EC_PARAMS names X25519, by object identifier or as \
                 `curve25519`. X448 is left out: the backend lacks it."),
            Self::GenerateMlDsa => facts(Family::Generation, ML_DSA, Form::None, Whole,
                "CKM_ML_DSA_KEY_PAIR_GEN and CKM_ML_KEM_KEY_PAIR_GEN: CKA_PARAMETER_SET stands in the public key's \
                 template. Sizes are of the public key, in bytes. A private key is kept as its seed (CKA_SEED)."),
            Self::GenerateMlKem => facts(Family::Generation, ML_KEM, Form::None, Whole, ""),
            Self::Eddsa => facts(Family::Eddsa, EDWARDS, Form::Eddsa, Whole,
                "CKM_EDDSA: without a parameter Ed25519, with CK_EDDSA_PARAMS Ed25519ctx, and where phFlag is true \
                 Ed25519ph, whose message is hashed in the library. A context has at most 255 bytes."),
            Self::MlDsa => facts(Family::PostQuantum, ML_DSA, Form::SigningContext, Whole,
                "CKM_ML_DSA: a parameter may give a context of at most 255 bytes. Signatures are always hedged: \
                 CKH_DETERMINISTIC_REQUIRED is CKR_MECHANISM_PARAM_INVALID, because the backend has no other."),
            Self::HashMlDsa => facts(Family::PostQuantum, ML_DSA, Form::SigningContext, Whole,
                "HashML-DSA: the message is hashed in the library, so it may be of any size. CKM_HASH_ML_DSA takes \
                 the digest, and in its parameter the hash; SHA-1 is not taken."),
            Self::MlDsaMu => facts(Family::PostQuantum, ML_DSA, Form::None, Whole,
                "CKM_CLOUDHSM_EXT_MU_ML_DSA: the data is the 64 bytes of mu."),
            Self::MlKem => facts(Family::PostQuantum, ML_KEM, Form::None, Whole,
                "CKM_ML_KEM: the new key has 32 bytes, or the first of them where CKA_VALUE_LEN says 14 or more. A ciphertext of the right length that is not for the key \
                 gives another key and no error (implicit rejection)."),
            Self::Ecdh => facts(Family::Agreement, EC, Form::Ecdh, Whole,
                "CKM_ECDH1_DERIVE: pPublicData is the peer's point, bare or in its OCTET STRING; one off the curve \
                 is CKR_MECHANISM_PARAM_INVALID. The KDF is CKD_NULL (the last bytes of the secret, without shared \
                 data), CKD_SHA1_KDF to CKD_SHA512_KDF (ANSI X9.63) or CKD_SHA1_KDF_SP800 to \
                 CKD_SHA512_KDF_SP800 (SP 800-56C); the last ten want CKA_VALUE_LEN. A derived key has 14 \
                 bytes at least. X25519 keys serve as well. All curves have the cofactor 1, so CKM_ECDH1_COFACTOR_DERIVE is the same."),
            Self::RsaAesKeyWrap => facts(Family::Rsa, RSA, Form::RsaAes, Whole,
                "CKM_RSA_AES_KEY_WRAP: OAEP of an AES key that is made for it (128, 192 or 256 bits), then RFC 5649 \
                 under that key: private keys and secrets of any length."),
            Self::CounterKdf => facts(Family::Derivation, SECRET, Form::CounterKdf, Whole,
                "CKM_SP800_108_COUNTER_KDF and CloudHSM's number for it: HMAC of a generic secret, or CKM_AES_CMAC \
                 of an AES key; byte arrays, one counter of 8 to 32 bits and at most one length of 8 to 64, in any \
                 order. Additional derived keys are refused. A derived key has 14 bytes at least."),
            Self::Hkdf => facts(Family::Derivation, SECRET, Form::Hkdf, Whole,
                "CKM_HKDF_DERIVE: extract, expand or both, with any hash here; the salt null or bytes, not a key."),
            Self::HashDerive => facts(Family::Derivation, SECRET, Form::None, Whole,
                "CKM_…_KEY_DERIVATION: the hash of an AES key's or generic secret's value, of which the first \
                 bytes are the key where CKA_VALUE_LEN says so."),
            Self::Shake128Derive | Self::Shake256Derive => facts(Family::Derivation, SECRET, Form::None, Whole, ""),
            Self::Pbkdf2 => facts(Family::Generation, NO_KEY, Form::Pbkdf2, Whole,
                "CKM_PKCS5_PBKD2: a key of a password, by C_GenerateKey; CKA_KEY_TYPE is CKK_GENERIC_SECRET where it \
                 is not given. 1 to 2,000,000 iterations; FIPS mode wants 1,000 and a salt of 16 bytes (SP 800-132)."),
            Self::GenerateFixed => facts(Family::Generation, NO_KEY, Form::None, Whole,
                "Key types of one length (triple-DES, ChaCha20, AES-XTS): CKA_VALUE_LEN may be left out."),
            Self::Hmac => facts(Family::Macs, SECRET, Form::None, Whole,
                "HMAC takes generic secrets, and keys of its own type (CKK_SHA256_HMAC for CKM_SHA256_HMAC). \
                 CKM_…_KEY_GEN makes those."),
            Self::HmacGeneral => facts(Family::Macs, SECRET, Form::MacLength, Whole,
                "CKM_…_GENERAL: a MAC of 4 bytes at least; a shorter one is guessed too soon (SP 800-224)."),
            Self::Cmac => facts(Family::Macs, AES, Form::None, Whole, ""),
            Self::CmacGeneral => facts(Family::Macs, AES, Form::MacLength, Whole, ""),
            Self::Gmac => facts(Family::Macs, AES, Form::Gcm, Whole,
                "CKM_AES_GMAC: CK_GCM_PARAMS with the caller's IV, no pAAD, and a tag of 96 to 128 bits. An IV \
                 must never come twice under one key."),
            Self::Digest => facts(Family::Digests, NO_KEY, Form::None, Whole,
                "Digests are made in the library and need no login."),
            Self::AesGcm => facts(Family::Aes, AES, Form::Gcm, Sealed(0),
                "CKM_AES_GCM in personality `cloudhsm`: the HSM makes the IV. Give 12 zero bytes, into \
                 which it is written. In personality `token` the caller's IV counts, of 1 to 1,024 bytes. \
                 ulTagBits is a multiple of 8 up to 128. Ciphertext and tag are one piece; decryption \
                 gives nothing before the tag is checked."),
            Self::AesGcmWithIv => facts(Family::Aes, AES, Form::Gcm, Sealed(12),
                "CKM_CLOUDHSM_AES_GCM puts the HSM's IV, 12 bytes, in front of the ciphertext, and expects \
                 it there."),
            Self::AesCbc => facts(Family::Aes, AES, Form::Iv(16), Chained(16),
                "CKM_AES_CBC and CKM_AES_ECB take whole blocks of 16 bytes."),
            Self::AesCbcPad => facts(Family::Aes, AES, Form::Iv(16), Padded(16, ck::CKM_AES_CBC),
                "CKM_AES_CBC_PAD pads as PKCS#7. The key that unwraps by it has CKA_DECRYPT too."),
            Self::AesEcb => facts(Family::Aes, AES, Form::None, Blocks(16), ""),
            Self::AesCtr => facts(Family::Aes, AES, Form::Counter, Counted(16),
                "CKM_AES_CTR: ulCounterBits from 1 to 128; a counter never wraps within an operation."),
            Self::AesCfb8 => facts(Family::Aes, AES, Form::Iv(16), Shifted(16), ""),
            Self::AesCfb128 => facts(Family::Aes, AES, Form::Iv(16), Feedback(16), ""),
            Self::AesOfb => facts(Family::Aes, AES, Form::Iv(16), KeyStream(16), ""),
            Self::AesXts => facts(Family::Aes, AES_XTS, Form::Iv(16), Whole,
                "CKM_AES_XTS: CKK_AES_XTS keys of 64 bytes (two AES-256 keys), the parameter the tweak; one \
                 operation is one data unit, of 16 bytes at least. XTS with AES-128 is not there: the \
                 backend has none."),
            Self::AesCcm => facts(Family::Aes, AES, Form::Ccm, Sealed(0),
                "CKM_AES_CCM: a nonce of 7 to 13 bytes that never comes twice under one key, a MAC of 8 to 16 \
                 bytes (decryption: 4 to 16), and ulDataLen as long as the plaintext."),
            Self::ChaCha20 => facts(Family::ChaCha20, CHACHA20, Form::ChaCha20, Counted(64),
                "CKM_CHACHA20: the nonce has 96 bits and the counter 32 (RFC 8439); other widths are refused."),
            Self::ChaCha20Poly1305 => facts(Family::ChaCha20, CHACHA20, Form::ChaCha20Poly1305, Sealed(0),
                "CKM_CHACHA20_POLY1305: a nonce of 12 bytes that never comes twice under one key; the tag has \
                 16 bytes and stands behind the ciphertext."),
            Self::Des3Ecb => facts(Family::Des3, DES3, Form::None, Blocks(8),
                "Triple-DES is there for data of old: FIPS mode decrypts with it and does nothing else. The \
                 three keys must differ from one to the next."),
            Self::Des3Cbc => facts(Family::Des3, DES3, Form::Iv(8), Chained(8), ""),
            Self::Des3CbcPad => facts(Family::Des3, DES3, Form::Iv(8), Padded(8, ck::CKM_DES3_CBC), ""),
            Self::AesKeyWrap => facts(Family::AesKeyWrap, AES, Form::KeyWrapIv, Whole,
                "CKM_AES_KEY_WRAP (RFC 3394): what is wrapped has whole blocks of 8 bytes. Key wrap works on keys only: a key \
                 that could also C_Decrypt would lay open what it wrapped."),
            Self::AesKeyWrapPad => facts(Family::AesKeyWrap, AES, Form::None, Whole,
                "CKM_AES_KEY_WRAP_KWP (RFC 5649). CKM_AES_KEY_WRAP_PAD, whose padding PKCS#11 2.40 leaves open, is the same."),
            Self::AesKeyWrapPkcs5 => facts(Family::AesKeyWrap, AES, Form::KeyWrapIv, Whole,
                "CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD: RFC 3394 after PKCS#5 padding to 8 bytes."),
        }
    }

    /// Whether it signs with a secret key.
    pub const fn is_mac(self) -> bool {
        matches!(self, Self::Hmac | Self::HmacGeneral | Self::Cmac | Self::CmacGeneral | Self::Gmac)
    }
}
