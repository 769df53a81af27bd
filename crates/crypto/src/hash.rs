//! Hash functions: the table's names for them, and hashing whole or piece by piece.

use cryptoki_sys as ck;

use crate::backend::digest;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-1: for signatures of old, HMAC and OAEP only.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    Sha512_224,
    /// SHA-512/256.
    Sha512_256,
    /// SHA3-224.
    Sha3_224,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
    /// SHA3-512.
    Sha3_512,
}

/// The longest output of any [`Hash`], in bytes.
pub(crate) const LONGEST: usize = 64;

/// One row of [`Hash::facts`].
#[derive(Clone, Copy)]
struct Facts {
    /// Length of the output in bytes.
    length: usize,
    /// `CKM_…`
    mechanism: u64,
    /// `CKK_…_HMAC`
    hmac_key_type: u64,
    /// `CKG_MGF1_…`, where PKCS#11 has one.
    mgf: Option<u64>,
    /// What stands in front of the hash in a DER `DigestInfo`.
    prefix: &'static [u8],
}

/// The DER in front of a hash under NIST's arc 2.16.840.1.101.3.4.2.
const fn prefix(arc: u8, length: u8) -> [u8; 19] {
    [
        0x30,
        17 + length,
        0x30,
        0x0d,
        0x06,
        0x09,
        0x60,
        0x86,
        0x48,
        0x01,
        0x65,
        0x03,
        0x04,
        0x02,
        arc,
        0x05,
        0x00,
        0x04,
        length,
    ]
}

impl Hash {
    /// All hash functions.
    pub const ALL: [Self; 11] = [
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha512_224,
        Self::Sha512_256,
        Self::Sha3_224,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
    ];

    #[rustfmt::skip] // one row each
    const fn facts(self) -> Facts {
        const fn row(
            length: usize,
            mechanism: u64,
            hmac_key_type: u64,
            mgf: Option<u64>,
            prefix: &'static [u8],
        ) -> Facts {
            Facts { length, mechanism, hmac_key_type, mgf, prefix }
        }
        match self {
            Self::Sha1 => row(20, ck::CKM_SHA_1, ck::CKK_SHA_1_HMAC, Some(ck::CKG_MGF1_SHA1),
                &[0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14]),
            Self::Sha224 => row(28, ck::CKM_SHA224, ck::CKK_SHA224_HMAC, Some(ck::CKG_MGF1_SHA224), &const { prefix(4, 28) }),
            Self::Sha256 => row(32, ck::CKM_SHA256, ck::CKK_SHA256_HMAC, Some(ck::CKG_MGF1_SHA256), &const { prefix(1, 32) }),
            Self::Sha384 => row(48, ck::CKM_SHA384, ck::CKK_SHA384_HMAC, Some(ck::CKG_MGF1_SHA384), &const { prefix(2, 48) }),
            Self::Sha512 => row(64, ck::CKM_SHA512, ck::CKK_SHA512_HMAC, Some(ck::CKG_MGF1_SHA512), &const { prefix(3, 64) }),
            Self::Sha512_224 => row(28, ck::CKM_SHA512_224, ck::CKK_SHA512_224_HMAC, None, &const { prefix(5, 28) }),
            Self::Sha512_256 => row(32, ck::CKM_SHA512_256, ck::CKK_SHA512_256_HMAC, None, &const { prefix(6, 32) }),
            Self::Sha3_224 => row(28, ck::CKM_SHA3_224, ck::CKK_SHA3_224_HMAC, Some(ck::CKG_MGF1_SHA3_224), &const { prefix(7, 28) }),
            Self::Sha3_256 => row(32, ck::CKM_SHA3_256, ck::CKK_SHA3_256_HMAC, Some(ck::CKG_MGF1_SHA3_256), &const { prefix(8, 32) }),
            Self::Sha3_384 => row(48, ck::CKM_SHA3_384, ck::CKK_SHA3_384_HMAC, Some(ck::CKG_MGF1_SHA3_384), &const { prefix(9, 48) }),
            Self::Sha3_512 => row(64, ck::CKM_SHA3_512, ck::CKK_SHA3_512_HMAC, Some(ck::CKG_MGF1_SHA3_512), &const { prefix(10, 64) }),
        }
    }

    /// Whether the backend shows its state between two blocks: SHA-3's it keeps to itself.
    pub(crate) fn has_state(self) -> bool {
        !matches!(self, Self::Sha3_224 | Self::Sha3_256 | Self::Sha3_384 | Self::Sha3_512)
    }

    /// Length of the output in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(self) -> usize {
        self.facts().length
    }

    /// The hash of `data`.
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        self.digest_on_stack(data).as_bytes().to_vec()
    }

    /// The hash of `data`, without an allocation.
    pub(crate) fn digest_on_stack(self, data: &[u8]) -> Digest {
        let mut bytes = [0; LONGEST];
        digest::once(self, data, &mut bytes);
        Digest { bytes, length: self.len() }
    }

    /// The hash that a digest mechanism (`CKM_SHA256`, …) computes.
    pub fn from_mechanism(kind: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.mechanism() == kind)
    }

    /// The digest mechanism (`CKM_SHA256`, …).
    pub fn mechanism(self) -> u64 {
        self.facts().mechanism
    }

    /// The type of keys that are for the HMAC of this hash alone (`CKK_SHA256_HMAC`, …).
    pub fn hmac_key_type(self) -> u64 {
        self.facts().hmac_key_type
    }

    /// The hash of a mask generation function (`CKG_MGF1_…`).
    pub fn from_mgf(mgf: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.mgf() == Some(mgf))
    }

    /// The mask generation function over this hash (`CKG_MGF1_…`), where PKCS#11 has one.
    pub fn mgf(self) -> Option<u64> {
        self.facts().mgf
    }

    /// The hash's object identifier in DER.
    pub(crate) fn object_identifier(self) -> &'static [u8] {
        // In a DigestInfo it is the first thing inside two sequences.
        let inside = &self.digest_info_prefix()[4..];
        &inside[..2 + usize::from(inside[1])]
    }

    /// What stands in front of the hash in a DER `DigestInfo` (RFC 8017, section 9.2, note 1).
    pub fn digest_info_prefix(self) -> &'static [u8] {
        self.facts().prefix
    }
}

/// A hash's output on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Digest {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Digest {
    /// Takes `bytes` for an output of `hash`, if they are as long as one.
    pub(crate) fn adopt(hash: Hash, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != hash.len() {
            return None;
        }
        let mut digest = Self { bytes: [0; LONGEST], length: bytes.len() };
        digest.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(digest)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Hashing piece by piece. A clone goes on from where the original stands.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Hasher {
    /// Starts hashing.
    pub fn new(hash: Hash) -> Self {
        Self(digest::Context::new(hash))
    }

    /// The hash function that it was started with.
    pub fn hash(&self) -> Hash {
        self.0.hash()
    }

    /// Takes in more data, of any length.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The hash of all data taken in.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::hex;

    /// The examples for "abc" of FIPS 180-4 and FIPS 202 (NIST, "Examples with intermediate values").
    const ABC: [(Hash, &str); 11] = [
        (Hash::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (Hash::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        (Hash::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            Hash::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
             8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            Hash::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (Hash::Sha512_224, "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"),
        (Hash::Sha512_256, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
        (Hash::Sha3_224, "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"),
        (Hash::Sha3_256, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        (
            Hash::Sha3_384,
            "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2\
             98d88cea927ac7f539f1edf228376d25",
        ),
        (
            Hash::Sha3_512,
            "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e\
             10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
        ),
    ];

    #[test]
    fn the_standards_examples_hash_as_printed() {
        for (hash, expected) in ABC {
            assert_eq!(hash.digest(b"abc"), hex(expected));
            assert_eq!(hash.len(), hex(expected).len());
        }
    }

    #[test]
    fn pieces_hash_like_the_whole_and_a_clone_goes_on_alone() {
        for (hash, expected) in ABC {
            let mut hasher = Hasher::new(hash);
            hasher.update(b"a");
            let mut other = hasher.clone();
            hasher.update(b"");
            hasher.update(b"bc");
            other.update(b"other");
            assert_eq!(hasher.hash(), hash);
            assert_eq!(hasher.finish(), hex(expected));
            assert_eq!(other.finish(), hash.digest(b"aother"));
        }
    }

    #[test]
    fn numbers_map_both_ways() {
        for hash in Hash::ALL {
            assert_eq!(Hash::from_mechanism(hash.mechanism()), Some(hash));
            if let Some(mgf) = hash.mgf() {
                assert_eq!(Hash::from_mgf(mgf), Some(hash));
            }
            let prefix = hash.digest_info_prefix();
            assert_eq!(usize::from(prefix[1]) + 2, prefix.len() + hash.len());
        }
        assert_eq!(Hash::from_mechanism(ck::CKM_MD5), None);
        assert_eq!(Hash::from_mgf(0), None);
    }
}
