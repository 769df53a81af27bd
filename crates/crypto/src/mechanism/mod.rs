//! The one table of mechanisms. PKCS#11's mechanism list, the engine's checks and the
//! documentation follow from it; a mechanism that isn't here doesn't exist.
//!
//! A line says only what works: a flag stands here when the function behind it does. What a
//! personality or FIPS mode hides on top of that is policy, and the engine's.

mod kind;

use std::sync::LazyLock;

use cryptoki_sys as ck;

use crate::Hash;

pub use kind::{Cut, Facts, Family, Form, Keys, Kind};

// AWS CloudHSM's own numbers, as its public header `cloudhsm_pkcs11_vendor_defs.h` names them.
// The wire crate's `vendor` module has the same ones for everybody else: this crate depends on
// none of ours, so they are kept equal by hand.

/// AES-GCM with the HSM's IV in front of the output.
pub const CKM_CLOUDHSM_AES_GCM: u64 = ck::CKM_VENDOR_DEFINED | 0x1087;
/// RFC 3394 key wrap.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD: u64 = ck::CKM_VENDOR_DEFINED | 0x2109;
/// RFC 3394 key wrap after PKCS#5 padding to 8-byte blocks.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD: u64 = ck::CKM_VENDOR_DEFINED | 0x210a;
/// Pair generation for ML-DSA. AWS publishes no numbers for this one and the three that follow: ours
/// are the standard's with the vendor's bit.
pub const CKM_CLOUDHSM_ML_DSA_KEY_PAIR_GEN: u64 =
    ck::CKM_VENDOR_DEFINED | ck::CKM_ML_DSA_KEY_PAIR_GEN;
/// ML-DSA of a message.
pub const CKM_CLOUDHSM_ML_DSA: u64 = ck::CKM_VENDOR_DEFINED | ck::CKM_ML_DSA;
/// ML-DSA of a message's mu.
pub const CKM_CLOUDHSM_EXT_MU_ML_DSA: u64 = ck::CKM_VENDOR_DEFINED | 0x1e;
/// Ed25519.
pub const CKM_CLOUDHSM_EDDSA: u64 = ck::CKM_VENDOR_DEFINED | ck::CKM_EDDSA;
/// RFC 5649 key wrap with padding.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD: u64 = ck::CKM_VENDOR_DEFINED | 0x216f;
/// SP 800-108's counter mode, with numbers of its own for the parts of its parameter.
pub const CKM_CLOUDHSM_SP800_108_COUNTER_KDF: u64 = ck::CKM_VENDOR_DEFINED | 1;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Mechanism {
    /// `CKM_…`.
    pub kind: u64,
    /// Its name in PKCS#11 or AWS's header.
    pub name: &'static str,
    /// `CKK_…` of the keys that it makes or takes; `None` for digests.
    pub key_type: Option<u64>,
    /// The functions that it works with (`CKF_SIGN`, …), and for elliptic curves the
    /// `CKF_EC_…` that C_GetMechanismInfo shows.
    pub flags: u64,
    /// Of `flags`, what FIPS mode refuses.
    pub not_fips: u64,
    /// Smallest key, in the unit that PKCS#11 gives the mechanism: bits for RSA, EC and generic
    /// secret generation, bytes for AES and HMAC, 0 for digests.
    pub min_size: u64,
    /// Largest key, in the same unit.
    pub max_size: u64,
    /// The hash that the mechanism's name fixes.
    pub hash: Option<Hash>,
    /// What it does.
    pub operation: Kind,
}

impl Mechanism {
    /// Whether it offers all functions of `flags` (`CKF_…`).
    pub fn offers(&self, flags: u64) -> bool {
        self.flags & flags == flags
    }

    /// Whether it works with keys of the type `CKK_…`. A key for one HMAC (`CKK_SHA256_HMAC`) is for
    /// no other.
    pub fn takes(&self, key_type: u64) -> bool {
        self.key_type == Some(key_type)
            || match self.operation {
                // CloudHSM's Ed25519 keys are of this type.
                Kind::Eddsa => key_type == ck::CKK_EC,
                Kind::Ecdh => key_type == ck::CKK_EC_MONTGOMERY,
                Kind::CounterKdf
                | Kind::HashDerive
                | Kind::Shake128Derive
                | Kind::Shake256Derive => key_type == ck::CKK_AES,
                Kind::Hkdf => key_type == ck::CKK_HKDF,
                operation => {
                    operation.is_mac()
                        && self.hash.is_some_and(|hash| hash.hmac_key_type() == key_type)
                }
            }
    }

    /// The form of its parameter. CKM_HASH_ML_DSA's names the hash that others of its kind fix.
    pub fn parameter(&self) -> Form {
        match self.operation {
            Kind::HashMlDsa if self.hash.is_none() => Form::HashSigningContext,
            operation => operation.facts().parameter,
        }
    }

    /// Whether the message is hashed before a key is needed, so that its digest can be signed in its
    /// place.
    pub fn takes_digest(&self) -> bool {
        self.hash.is_some() && !self.operation.is_mac()
    }

    /// Makes or takes keys of this type instead of its kind's.
    const fn of(mut self, key_type: u64, min_size: u64, max_size: u64) -> Self {
        self.key_type = Some(key_type);
        self.min_size = min_size;
        self.max_size = max_size;
        self
    }

    /// Takes functions out of FIPS mode.
    const fn not_fips(mut self, flags: u64) -> Self {
        self.not_fips = flags;
        self
    }
}

/// The line of a mechanism number.
pub fn find(kind: u64) -> Option<&'static Mechanism> {
    let at = BY_NUMBER.binary_search_by_key(&kind, |mechanism| mechanism.kind).ok()?;
    BY_NUMBER.get(at).copied()
}

/// The mechanism of a kind that hashes with `hash` and offers `flags`, where there is one.
pub fn hashing(operation: Kind, hash: Hash, flags: u64) -> Option<&'static Mechanism> {
    MECHANISMS
        .iter()
        .find(|row| row.operation == operation && row.hash == Some(hash) && row.offers(flags))
}

/// The table by rising number.
static BY_NUMBER: LazyLock<Vec<&'static Mechanism>> = LazyLock::new(|| {
    let mut rows: Vec<_> = MECHANISMS.iter().collect();
    rows.sort_unstable_by_key(|mechanism| mechanism.kind);
    rows
});

/// Smallest RSA modulus of CloudHSM, and in FIPS mode, in bits.
pub const RSA_BITS_MIN: u32 = 2048;
/// Smallest RSA modulus of all, in bits: too short for anything new. Generic programs' tests use it.
pub const RSA_BITS_MIN_TOKEN: u32 = 1024;
/// Largest RSA modulus that is generated or imported, in bits.
pub const RSA_BITS_MAX: u32 = 4096;
/// Generated RSA moduli are a multiple of this many bits, as CloudHSM's are.
pub const RSA_BITS_STEP: u32 = 256;
/// Shortest key that a derivation gives, in bytes (112 bits, as SP 800-131A asks): of a shorter one
/// all values can be tried, and so, length by length, a secret be learned byte by byte.
pub const DERIVED_BYTES_MIN: usize = 14;
/// Longest generic secret, in bytes, as in CloudHSM.
pub const GENERIC_SECRET_BYTES_MAX: usize = 800;

const SECRET_BITS_MAX: u64 = 8 * GENERIC_SECRET_BYTES_MAX as u64;

const GENERATE: u64 = ck::CKF_GENERATE;
const GENERATE_PAIR: u64 = ck::CKF_GENERATE_KEY_PAIR;
const SIGN: u64 = ck::CKF_SIGN | ck::CKF_VERIFY;
const ENCRYPT: u64 = ck::CKF_ENCRYPT | ck::CKF_DECRYPT;
const MESSAGES: u64 = ck::CKF_MESSAGE_ENCRYPT | ck::CKF_MESSAGE_DECRYPT;
const WRAP: u64 = ck::CKF_WRAP | ck::CKF_UNWRAP;
const DIGEST: u64 = ck::CKF_DIGEST;
const DERIVE: u64 = ck::CKF_DERIVE;
const ENCAPSULATE: u64 = ck::CKF_ENCAPSULATE | ck::CKF_DECAPSULATE;
const EC: u64 = ck::CKF_EC_F_P | ck::CKF_EC_NAMEDCURVE | ck::CKF_EC_UNCOMPRESS;

const fn line(kind: u64, name: &'static str, operation: Kind, flags: u64) -> Mechanism {
    let Keys { key_type, min, max } = operation.facts().keys;
    Mechanism {
        kind,
        name,
        key_type,
        flags,
        not_fips: 0,
        min_size: min,
        max_size: max,
        hash: None,
        operation,
    }
}

const fn hashed(
    kind: u64,
    name: &'static str,
    operation: Kind,
    flags: u64,
    hash: Hash,
) -> Mechanism {
    Mechanism { hash: Some(hash), ..line(kind, name, operation, flags) }
}

/// The table.
#[rustfmt::skip] // one line each
pub static MECHANISMS: &[Mechanism] = &[
    line(ck::CKM_AES_KEY_GEN, "CKM_AES_KEY_GEN", Kind::GenerateAes, GENERATE),
    line(ck::CKM_GENERIC_SECRET_KEY_GEN, "CKM_GENERIC_SECRET_KEY_GEN", Kind::GenerateGeneric, GENERATE),
    line(ck::CKM_SHA_1_KEY_GEN, "CKM_SHA_1_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA_1_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA224_KEY_GEN, "CKM_SHA224_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA224_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA256_KEY_GEN, "CKM_SHA256_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA256_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA384_KEY_GEN, "CKM_SHA384_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA384_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA512_KEY_GEN, "CKM_SHA512_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA512_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA512_224_KEY_GEN, "CKM_SHA512_224_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA512_224_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA512_256_KEY_GEN, "CKM_SHA512_256_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA512_256_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA3_224_KEY_GEN, "CKM_SHA3_224_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA3_224_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA3_256_KEY_GEN, "CKM_SHA3_256_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA3_256_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA3_384_KEY_GEN, "CKM_SHA3_384_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA3_384_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_SHA3_512_KEY_GEN, "CKM_SHA3_512_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_SHA3_512_HMAC, 8, SECRET_BITS_MAX),
    line(ck::CKM_HKDF_KEY_GEN, "CKM_HKDF_KEY_GEN", Kind::GenerateGeneric, GENERATE).of(ck::CKK_HKDF, 8, SECRET_BITS_MAX),
    line(ck::CKM_PKCS5_PBKD2, "CKM_PKCS5_PBKD2", Kind::Pbkdf2, GENERATE),
    line(ck::CKM_DES3_KEY_GEN, "CKM_DES3_KEY_GEN", Kind::GenerateFixed, GENERATE).of(ck::CKK_DES3, 24, 24).not_fips(GENERATE),
    line(ck::CKM_CHACHA20_KEY_GEN, "CKM_CHACHA20_KEY_GEN", Kind::GenerateFixed, GENERATE).of(ck::CKK_CHACHA20, 256, 256).not_fips(GENERATE),
    line(ck::CKM_AES_XTS_KEY_GEN, "CKM_AES_XTS_KEY_GEN", Kind::GenerateFixed, GENERATE).of(ck::CKK_AES_XTS, 64, 64),
    line(ck::CKM_RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN", Kind::GenerateRsa, GENERATE_PAIR),
    // The same generator (FIPS 186-5, probable primes): see `generate_rsa`.
    line(ck::CKM_RSA_X9_31_KEY_PAIR_GEN, "CKM_RSA_X9_31_KEY_PAIR_GEN", Kind::GenerateRsa, GENERATE_PAIR),
    line(ck::CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN", Kind::GenerateEc, GENERATE_PAIR | EC),

    // FIPS mode: "RSA PKCS#1 v1.5 wrap, unwrap, encrypt, decrypt refused (signatures stay)".
    line(ck::CKM_RSA_PKCS, "CKM_RSA_PKCS", Kind::RsaPkcs, SIGN | ENCRYPT | WRAP).not_fips(ENCRYPT | WRAP),
    hashed(ck::CKM_SHA1_RSA_PKCS, "CKM_SHA1_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha1),
    hashed(ck::CKM_SHA224_RSA_PKCS, "CKM_SHA224_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha224),
    hashed(ck::CKM_SHA256_RSA_PKCS, "CKM_SHA256_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha256),
    hashed(ck::CKM_SHA384_RSA_PKCS, "CKM_SHA384_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha384),
    hashed(ck::CKM_SHA512_RSA_PKCS, "CKM_SHA512_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha512),
    hashed(ck::CKM_SHA3_224_RSA_PKCS, "CKM_SHA3_224_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha3_224),
    hashed(ck::CKM_SHA3_256_RSA_PKCS, "CKM_SHA3_256_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha3_256),
    hashed(ck::CKM_SHA3_384_RSA_PKCS, "CKM_SHA3_384_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha3_384),
    hashed(ck::CKM_SHA3_512_RSA_PKCS, "CKM_SHA3_512_RSA_PKCS", Kind::RsaPkcs, SIGN, Hash::Sha3_512),

    // Without padding it decrypts what FIPS mode does not let CKM_RSA_PKCS decrypt.
    line(ck::CKM_RSA_X_509, "CKM_RSA_X_509", Kind::RsaRaw, SIGN | ENCRYPT).not_fips(ENCRYPT),

    line(ck::CKM_RSA_PKCS_PSS, "CKM_RSA_PKCS_PSS", Kind::RsaPss, SIGN),
    hashed(ck::CKM_SHA1_RSA_PKCS_PSS, "CKM_SHA1_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha1),
    hashed(ck::CKM_SHA224_RSA_PKCS_PSS, "CKM_SHA224_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha224),
    hashed(ck::CKM_SHA256_RSA_PKCS_PSS, "CKM_SHA256_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha256),
    hashed(ck::CKM_SHA384_RSA_PKCS_PSS, "CKM_SHA384_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha384),
    hashed(ck::CKM_SHA512_RSA_PKCS_PSS, "CKM_SHA512_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha512),
    hashed(ck::CKM_SHA3_224_RSA_PKCS_PSS, "CKM_SHA3_224_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha3_224),
    hashed(ck::CKM_SHA3_256_RSA_PKCS_PSS, "CKM_SHA3_256_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha3_256),
    hashed(ck::CKM_SHA3_384_RSA_PKCS_PSS, "CKM_SHA3_384_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha3_384),
    hashed(ck::CKM_SHA3_512_RSA_PKCS_PSS, "CKM_SHA3_512_RSA_PKCS_PSS", Kind::RsaPss, SIGN, Hash::Sha3_512),

    line(ck::CKM_RSA_PKCS_OAEP, "CKM_RSA_PKCS_OAEP", Kind::RsaOaep, ENCRYPT | WRAP),
    line(ck::CKM_RSA_AES_KEY_WRAP, "CKM_RSA_AES_KEY_WRAP", Kind::RsaAesKeyWrap, WRAP),

    line(ck::CKM_ECDSA, "CKM_ECDSA", Kind::Ecdsa, SIGN | EC),
    hashed(ck::CKM_ECDSA_SHA1, "CKM_ECDSA_SHA1", Kind::Ecdsa, SIGN | EC, Hash::Sha1),
    hashed(ck::CKM_ECDSA_SHA224, "CKM_ECDSA_SHA224", Kind::Ecdsa, SIGN | EC, Hash::Sha224),
    hashed(ck::CKM_ECDSA_SHA256, "CKM_ECDSA_SHA256", Kind::Ecdsa, SIGN | EC, Hash::Sha256),
    hashed(ck::CKM_ECDSA_SHA384, "CKM_ECDSA_SHA384", Kind::Ecdsa, SIGN | EC, Hash::Sha384),
    hashed(ck::CKM_ECDSA_SHA512, "CKM_ECDSA_SHA512", Kind::Ecdsa, SIGN | EC, Hash::Sha512),
    hashed(ck::CKM_ECDSA_SHA3_224, "CKM_ECDSA_SHA3_224", Kind::Ecdsa, SIGN | EC, Hash::Sha3_224),
    hashed(ck::CKM_ECDSA_SHA3_256, "CKM_ECDSA_SHA3_256", Kind::Ecdsa, SIGN | EC, Hash::Sha3_256),
    hashed(ck::CKM_ECDSA_SHA3_384, "CKM_ECDSA_SHA3_384", Kind::Ecdsa, SIGN | EC, Hash::Sha3_384),
    hashed(ck::CKM_ECDSA_SHA3_512, "CKM_ECDSA_SHA3_512", Kind::Ecdsa, SIGN | EC, Hash::Sha3_512),

    line(ck::CKM_EC_EDWARDS_KEY_PAIR_GEN, "CKM_EC_EDWARDS_KEY_PAIR_GEN", Kind::GenerateEdwards, GENERATE_PAIR).not_fips(GENERATE_PAIR),
    line(ck::CKM_EC_MONTGOMERY_KEY_PAIR_GEN, "CKM_EC_MONTGOMERY_KEY_PAIR_GEN", Kind::GenerateMontgomery, GENERATE_PAIR).not_fips(GENERATE_PAIR),
    line(ck::CKM_ML_DSA_KEY_PAIR_GEN, "CKM_ML_DSA_KEY_PAIR_GEN", Kind::GenerateMlDsa, GENERATE_PAIR),
    line(CKM_CLOUDHSM_ML_DSA_KEY_PAIR_GEN, "CKM_CLOUDHSM_ML_DSA_KEY_PAIR_GEN", Kind::GenerateMlDsa, GENERATE_PAIR),
    line(ck::CKM_ML_KEM_KEY_PAIR_GEN, "CKM_ML_KEM_KEY_PAIR_GEN", Kind::GenerateMlKem, GENERATE_PAIR),

    // CloudHSM's FIPS mode has neither Ed25519 nor X25519.
    line(ck::CKM_EDDSA, "CKM_EDDSA", Kind::Eddsa, SIGN).not_fips(SIGN),
    line(CKM_CLOUDHSM_EDDSA, "CKM_CLOUDHSM_EDDSA", Kind::Eddsa, SIGN).not_fips(SIGN),

    line(ck::CKM_ML_DSA, "CKM_ML_DSA", Kind::MlDsa, SIGN),
    line(CKM_CLOUDHSM_ML_DSA, "CKM_CLOUDHSM_ML_DSA", Kind::MlDsa, SIGN),
    line(CKM_CLOUDHSM_EXT_MU_ML_DSA, "CKM_CLOUDHSM_EXT_MU_ML_DSA", Kind::MlDsaMu, SIGN),
    line(ck::CKM_HASH_ML_DSA, "CKM_HASH_ML_DSA", Kind::HashMlDsa, SIGN),
    hashed(ck::CKM_HASH_ML_DSA_SHA224, "CKM_HASH_ML_DSA_SHA224", Kind::HashMlDsa, SIGN, Hash::Sha224),
    hashed(ck::CKM_HASH_ML_DSA_SHA256, "CKM_HASH_ML_DSA_SHA256", Kind::HashMlDsa, SIGN, Hash::Sha256),
    hashed(ck::CKM_HASH_ML_DSA_SHA384, "CKM_HASH_ML_DSA_SHA384", Kind::HashMlDsa, SIGN, Hash::Sha384),
    hashed(ck::CKM_HASH_ML_DSA_SHA512, "CKM_HASH_ML_DSA_SHA512", Kind::HashMlDsa, SIGN, Hash::Sha512),
    hashed(ck::CKM_HASH_ML_DSA_SHA3_224, "CKM_HASH_ML_DSA_SHA3_224", Kind::HashMlDsa, SIGN, Hash::Sha3_224),
    hashed(ck::CKM_HASH_ML_DSA_SHA3_256, "CKM_HASH_ML_DSA_SHA3_256", Kind::HashMlDsa, SIGN, Hash::Sha3_256),
    hashed(ck::CKM_HASH_ML_DSA_SHA3_384, "CKM_HASH_ML_DSA_SHA3_384", Kind::HashMlDsa, SIGN, Hash::Sha3_384),
    hashed(ck::CKM_HASH_ML_DSA_SHA3_512, "CKM_HASH_ML_DSA_SHA3_512", Kind::HashMlDsa, SIGN, Hash::Sha3_512),
    line(ck::CKM_ML_KEM, "CKM_ML_KEM", Kind::MlKem, ENCAPSULATE),

    line(ck::CKM_ECDH1_DERIVE, "CKM_ECDH1_DERIVE", Kind::Ecdh, DERIVE | EC),
    // The same: all curves here have the cofactor 1.
    line(ck::CKM_SP800_108_COUNTER_KDF, "CKM_SP800_108_COUNTER_KDF", Kind::CounterKdf, DERIVE),
    line(CKM_CLOUDHSM_SP800_108_COUNTER_KDF, "CKM_CLOUDHSM_SP800_108_COUNTER_KDF", Kind::CounterKdf, DERIVE),
    line(ck::CKM_HKDF_DERIVE, "CKM_HKDF_DERIVE", Kind::Hkdf, DERIVE),
    hashed(ck::CKM_SHA1_KEY_DERIVATION, "CKM_SHA1_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha1),
    hashed(ck::CKM_SHA224_KEY_DERIVATION, "CKM_SHA224_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha224),
    hashed(ck::CKM_SHA256_KEY_DERIVATION, "CKM_SHA256_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha256),
    hashed(ck::CKM_SHA384_KEY_DERIVATION, "CKM_SHA384_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha384),
    hashed(ck::CKM_SHA512_KEY_DERIVATION, "CKM_SHA512_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha512),
    hashed(ck::CKM_SHA512_224_KEY_DERIVATION, "CKM_SHA512_224_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha512_224),
    hashed(ck::CKM_SHA512_256_KEY_DERIVATION, "CKM_SHA512_256_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha512_256),
    hashed(ck::CKM_SHA3_224_KEY_DERIVATION, "CKM_SHA3_224_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha3_224),
    hashed(ck::CKM_SHA3_256_KEY_DERIVATION, "CKM_SHA3_256_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha3_256),
    hashed(ck::CKM_SHA3_384_KEY_DERIVATION, "CKM_SHA3_384_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha3_384),
    hashed(ck::CKM_SHA3_512_KEY_DERIVATION, "CKM_SHA3_512_KEY_DERIVATION", Kind::HashDerive, DERIVE, Hash::Sha3_512),
    line(ck::CKM_SHAKE_128_KEY_DERIVATION, "CKM_SHAKE_128_KEY_DERIVATION", Kind::Shake128Derive, DERIVE),
    line(ck::CKM_SHAKE_256_KEY_DERIVATION, "CKM_SHAKE_256_KEY_DERIVATION", Kind::Shake256Derive, DERIVE),
    line(ck::CKM_ECDH1_COFACTOR_DERIVE, "CKM_ECDH1_COFACTOR_DERIVE", Kind::Ecdh, DERIVE | EC),

    hashed(ck::CKM_SHA_1_HMAC, "CKM_SHA_1_HMAC", Kind::Hmac, SIGN, Hash::Sha1),
    hashed(ck::CKM_SHA224_HMAC, "CKM_SHA224_HMAC", Kind::Hmac, SIGN, Hash::Sha224),
    hashed(ck::CKM_SHA256_HMAC, "CKM_SHA256_HMAC", Kind::Hmac, SIGN, Hash::Sha256),
    hashed(ck::CKM_SHA384_HMAC, "CKM_SHA384_HMAC", Kind::Hmac, SIGN, Hash::Sha384),
    hashed(ck::CKM_SHA512_HMAC, "CKM_SHA512_HMAC", Kind::Hmac, SIGN, Hash::Sha512),
    hashed(ck::CKM_SHA512_224_HMAC, "CKM_SHA512_224_HMAC", Kind::Hmac, SIGN, Hash::Sha512_224),
    hashed(ck::CKM_SHA512_256_HMAC, "CKM_SHA512_256_HMAC", Kind::Hmac, SIGN, Hash::Sha512_256),
    hashed(ck::CKM_SHA3_224_HMAC, "CKM_SHA3_224_HMAC", Kind::Hmac, SIGN, Hash::Sha3_224),
    hashed(ck::CKM_SHA3_256_HMAC, "CKM_SHA3_256_HMAC", Kind::Hmac, SIGN, Hash::Sha3_256),
    hashed(ck::CKM_SHA3_384_HMAC, "CKM_SHA3_384_HMAC", Kind::Hmac, SIGN, Hash::Sha3_384),
    hashed(ck::CKM_SHA3_512_HMAC, "CKM_SHA3_512_HMAC", Kind::Hmac, SIGN, Hash::Sha3_512),
    hashed(ck::CKM_SHA_1_HMAC_GENERAL, "CKM_SHA_1_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha1),
    hashed(ck::CKM_SHA224_HMAC_GENERAL, "CKM_SHA224_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha224),
    hashed(ck::CKM_SHA256_HMAC_GENERAL, "CKM_SHA256_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha256),
    hashed(ck::CKM_SHA384_HMAC_GENERAL, "CKM_SHA384_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha384),
    hashed(ck::CKM_SHA512_HMAC_GENERAL, "CKM_SHA512_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha512),
    hashed(ck::CKM_SHA512_224_HMAC_GENERAL, "CKM_SHA512_224_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha512_224),
    hashed(ck::CKM_SHA512_256_HMAC_GENERAL, "CKM_SHA512_256_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha512_256),
    hashed(ck::CKM_SHA3_224_HMAC_GENERAL, "CKM_SHA3_224_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha3_224),
    hashed(ck::CKM_SHA3_256_HMAC_GENERAL, "CKM_SHA3_256_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha3_256),
    hashed(ck::CKM_SHA3_384_HMAC_GENERAL, "CKM_SHA3_384_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha3_384),
    hashed(ck::CKM_SHA3_512_HMAC_GENERAL, "CKM_SHA3_512_HMAC_GENERAL", Kind::HmacGeneral, SIGN, Hash::Sha3_512),
    line(ck::CKM_AES_CMAC, "CKM_AES_CMAC", Kind::Cmac, SIGN),
    line(ck::CKM_AES_CMAC_GENERAL, "CKM_AES_CMAC_GENERAL", Kind::CmacGeneral, SIGN),
    // SP 800-131A: a MAC of triple-DES is still checked, and made no more.
    line(ck::CKM_DES3_CMAC, "CKM_DES3_CMAC", Kind::Cmac, SIGN).of(ck::CKK_DES3, 24, 24).not_fips(ck::CKF_SIGN),
    line(ck::CKM_DES3_CMAC_GENERAL, "CKM_DES3_CMAC_GENERAL", Kind::CmacGeneral, SIGN).of(ck::CKK_DES3, 24, 24).not_fips(ck::CKF_SIGN),
    line(ck::CKM_AES_GMAC, "CKM_AES_GMAC", Kind::Gmac, SIGN),

    hashed(ck::CKM_SHA_1, "CKM_SHA_1", Kind::Digest, DIGEST, Hash::Sha1),
    hashed(ck::CKM_SHA224, "CKM_SHA224", Kind::Digest, DIGEST, Hash::Sha224),
    hashed(ck::CKM_SHA256, "CKM_SHA256", Kind::Digest, DIGEST, Hash::Sha256),
    hashed(ck::CKM_SHA384, "CKM_SHA384", Kind::Digest, DIGEST, Hash::Sha384),
    hashed(ck::CKM_SHA512, "CKM_SHA512", Kind::Digest, DIGEST, Hash::Sha512),
    hashed(ck::CKM_SHA512_224, "CKM_SHA512_224", Kind::Digest, DIGEST, Hash::Sha512_224),
    hashed(ck::CKM_SHA512_256, "CKM_SHA512_256", Kind::Digest, DIGEST, Hash::Sha512_256),
    hashed(ck::CKM_SHA3_224, "CKM_SHA3_224", Kind::Digest, DIGEST, Hash::Sha3_224),
    hashed(ck::CKM_SHA3_256, "CKM_SHA3_256", Kind::Digest, DIGEST, Hash::Sha3_256),
    hashed(ck::CKM_SHA3_384, "CKM_SHA3_384", Kind::Digest, DIGEST, Hash::Sha3_384),
    hashed(ck::CKM_SHA3_512, "CKM_SHA3_512", Kind::Digest, DIGEST, Hash::Sha3_512),

    line(ck::CKM_AES_GCM, "CKM_AES_GCM", Kind::AesGcm, ENCRYPT | MESSAGES | WRAP),
    line(CKM_CLOUDHSM_AES_GCM, "CKM_CLOUDHSM_AES_GCM", Kind::AesGcmWithIv, ENCRYPT | WRAP),
    line(ck::CKM_AES_CBC, "CKM_AES_CBC", Kind::AesCbc, ENCRYPT),
    line(ck::CKM_AES_CBC_PAD, "CKM_AES_CBC_PAD", Kind::AesCbcPad, ENCRYPT | WRAP),
    line(ck::CKM_AES_ECB, "CKM_AES_ECB", Kind::AesEcb, ENCRYPT),
    line(ck::CKM_AES_CTR, "CKM_AES_CTR", Kind::AesCtr, ENCRYPT),
    line(ck::CKM_AES_CFB8, "CKM_AES_CFB8", Kind::AesCfb8, ENCRYPT),
    line(ck::CKM_AES_CFB128, "CKM_AES_CFB128", Kind::AesCfb128, ENCRYPT),
    line(ck::CKM_AES_OFB, "CKM_AES_OFB", Kind::AesOfb, ENCRYPT),
    line(ck::CKM_AES_XTS, "CKM_AES_XTS", Kind::AesXts, ENCRYPT),
    line(ck::CKM_AES_CCM, "CKM_AES_CCM", Kind::AesCcm, ENCRYPT | MESSAGES),

    line(ck::CKM_CHACHA20, "CKM_CHACHA20", Kind::ChaCha20, ENCRYPT).not_fips(ENCRYPT),
    line(ck::CKM_CHACHA20_POLY1305, "CKM_CHACHA20_POLY1305", Kind::ChaCha20Poly1305, ENCRYPT | MESSAGES).not_fips(ENCRYPT | MESSAGES),

    // FIPS mode after 2023: "3DES key generation and 3DES encryption refused (3DES decryption stays
    // allowed)".
    line(ck::CKM_DES3_ECB, "CKM_DES3_ECB", Kind::Des3Ecb, ENCRYPT).not_fips(ck::CKF_ENCRYPT),
    line(ck::CKM_DES3_CBC, "CKM_DES3_CBC", Kind::Des3Cbc, ENCRYPT).not_fips(ck::CKF_ENCRYPT),
    line(ck::CKM_DES3_CBC_PAD, "CKM_DES3_CBC_PAD", Kind::Des3CbcPad, ENCRYPT).not_fips(ck::CKF_ENCRYPT),

    // Only for keys: with C_Decrypt on them, a key that may both unwrap and decrypt would lay
    // every wrapped key open (Clulow, CHES 2003).
    line(ck::CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP", Kind::AesKeyWrap, WRAP),
    line(ck::CKM_AES_KEY_WRAP_KWP, "CKM_AES_KEY_WRAP_KWP", Kind::AesKeyWrapPad, WRAP),
    // PKCS#11 v2.40 left its padding open; SoftHSM2 and v3.0's CKM_AES_KEY_WRAP_KWP read RFC 5649.
    line(ck::CKM_AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD", Kind::AesKeyWrapPad, WRAP),
    line(ck::CKM_AES_KEY_WRAP_PKCS7, "CKM_AES_KEY_WRAP_PKCS7", Kind::AesKeyWrapPkcs5, WRAP),
    line(CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, "CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD", Kind::AesKeyWrap, WRAP),
    line(CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, "CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD", Kind::AesKeyWrapPad, WRAP),
    line(CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, "CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD", Kind::AesKeyWrapPkcs5, WRAP),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_and_name_stands_once() {
        for (place, mechanism) in MECHANISMS.iter().enumerate() {
            for other in &MECHANISMS[place + 1..] {
                assert_ne!(mechanism.kind, other.kind, "{}", mechanism.name);
                assert_ne!(mechanism.name, other.name);
            }
            assert_eq!(find(mechanism.kind).map(|found| found.name), Some(mechanism.name));
            assert!(mechanism.flags != 0);
            assert!(mechanism.min_size <= mechanism.max_size);
        }
        assert!(find(ck::CKM_MD5_RSA_PKCS).is_none());
    }

    #[test]
    fn vendor_numbers_are_those_of_awss_header() {
        assert_eq!(CKM_CLOUDHSM_AES_GCM, 0x8000_1087);
        assert_eq!(CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, 0x8000_2109);
        assert_eq!(CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, 0x8000_210a);
        assert_eq!(CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, 0x8000_216f);
    }
}
