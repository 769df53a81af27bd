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
}

/// The longest output of any [`Hash`], in bytes.
pub(crate) const LONGEST: usize = 64;

impl Hash {
    /// All hash functions.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Length of the output in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
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
        match self {
            Self::Sha1 => ck::CKM_SHA_1,
            Self::Sha224 => ck::CKM_SHA224,
            Self::Sha256 => ck::CKM_SHA256,
            Self::Sha384 => ck::CKM_SHA384,
            Self::Sha512 => ck::CKM_SHA512,
        }
    }

    /// The type of keys that are for the HMAC of this hash alone (`CKK_SHA256_HMAC`, …).
    pub fn hmac_key_type(self) -> u64 {
        match self {
            Self::Sha1 => ck::CKK_SHA_1_HMAC,
            Self::Sha224 => ck::CKK_SHA224_HMAC,
            Self::Sha256 => ck::CKK_SHA256_HMAC,
            Self::Sha384 => ck::CKK_SHA384_HMAC,
            Self::Sha512 => ck::CKK_SHA512_HMAC,
        }
    }

    /// The hash of a mask generation function (`CKG_MGF1_…`).
    pub fn from_mgf(mgf: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.mgf() == mgf)
    }

    /// The mask generation function over this hash (`CKG_MGF1_…`).
    pub fn mgf(self) -> u64 {
        match self {
            Self::Sha1 => ck::CKG_MGF1_SHA1,
            Self::Sha224 => ck::CKG_MGF1_SHA224,
            Self::Sha256 => ck::CKG_MGF1_SHA256,
            Self::Sha384 => ck::CKG_MGF1_SHA384,
            Self::Sha512 => ck::CKG_MGF1_SHA512,
        }
    }

    /// What stands in front of the hash in a DER `DigestInfo` (RFC 8017, section 9.2, note 1).
    pub fn digest_info_prefix(self) -> &'static [u8] {
        match self {
            Self::Sha1 => &[
                0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04,
                0x14,
            ],
            Self::Sha224 => &[
                0x30, 0x2d, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x04, 0x05, 0x00, 0x04, 0x1c,
            ],
            Self::Sha256 => &[
                0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x01, 0x05, 0x00, 0x04, 0x20,
            ],
            Self::Sha384 => &[
                0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x02, 0x05, 0x00, 0x04, 0x30,
            ],
            Self::Sha512 => &[
                0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x03, 0x05, 0x00, 0x04, 0x40,
            ],
        }
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

    /// FIPS 180-4's examples for "abc" (SHA-1 … SHA-512).
    const ABC: [(Hash, &str); 5] = [
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
            assert_eq!(Hash::from_mgf(hash.mgf()), Some(hash));
            let prefix = hash.digest_info_prefix();
            assert_eq!(usize::from(prefix[1]) + 2, prefix.len() + hash.len());
        }
        assert_eq!(Hash::from_mechanism(ck::CKM_MD5), None);
        assert_eq!(Hash::from_mgf(0), None);
    }
}
