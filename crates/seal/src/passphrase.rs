//! The seal that an operator opens: a passphrase, stretched by Argon2id.
//!
//! The parameters and the salt are in each blob, so that they can be raised without losing what was
//! sealed before.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use strongroom_crypto::SecretBytes;
use zeroize::Zeroizing;

use crate::blob::{self, Kind, Parsed};
use crate::{Error, Seal};

/// Memory of one hash, in KiB. With [`PASSES`] and [`LANES`]: RFC 9106 section 4, the second
/// recommended option.
const MEMORY_KIB: u32 = 64 * 1024;
/// Passes over the memory.
const PASSES: u32 = 3;
/// Lanes.
const LANES: u32 = 4;

/// Bounds on the parameters of a blob, which is not yet authenticated when they are used.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;

/// Memory, passes and lanes as big-endian numbers of 4 bytes.
const PARAMETERS_BYTES: usize = 12;
const KEY_BYTES: usize = 32;

/// Seals under a passphrase. Opening takes about a quarter of a second and 64 MiB.
pub struct PassphraseSeal {
    passphrase: SecretBytes,
    cost: Cost,
}

/// What a guess costs.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl PassphraseSeal {
    /// Takes the passphrase over.
    ///
    /// # Errors
    /// [`Error::EmptyPassphrase`].
    pub fn new(passphrase: SecretBytes) -> Result<Self, Error> {
        Self::at_cost(passphrase, Cost { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES })
    }

    pub(crate) fn at_cost(passphrase: SecretBytes, cost: Cost) -> Result<Self, Error> {
        if passphrase.as_bytes().is_empty() {
            return Err(Error::EmptyPassphrase);
        }
        Ok(Self { passphrase, cost })
    }

    pub(crate) fn stretch(&self, cost: Cost, salt: &[u8]) -> Result<SecretBytes, Error> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES))
            .map_err(|_| Error::Damaged("the parameters of the passphrase's hash"))?;
        let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
        let mut key = SecretBytes::zeroed(KEY_BYTES);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                self.passphrase.as_bytes(),
                salt,
                key.as_mut_bytes(),
                memory.as_mut_slice(),
            )
            .map_err(Error::Hash)?;
        Ok(key)
    }
}

impl Seal for PassphraseSeal {
    fn name(&self) -> &'static str {
        Kind::Passphrase.name()
    }

    fn seal(&self, secret: &[u8]) -> Result<Vec<u8>, Error> {
        let salt = blob::salt()?;
        let key = self.stretch(self.cost, &salt)?;
        blob::seal(Kind::Passphrase, &self.cost.to_bytes(), &salt, &key, secret)
    }

    fn open(&self, sealed: &[u8]) -> Result<SecretBytes, Error> {
        let (parsed, cost) = parse(sealed)?;
        let key = self.stretch(cost, parsed.salt)?;
        blob::open(&parsed, &key, Error::WrongPassphrase)
    }
}

/// Takes a blob apart, and its parameters, which are within their bounds.
pub(crate) fn parse(sealed: &[u8]) -> Result<(Parsed<'_>, Cost), Error> {
    let parsed = blob::parse(Kind::Passphrase, PARAMETERS_BYTES, sealed)?;
    let cost = Cost::from_bytes(parsed.parameters)?;
    Ok((parsed, cost))
}

impl Cost {
    pub(crate) fn to_bytes(self) -> [u8; PARAMETERS_BYTES] {
        let mut bytes = [0; PARAMETERS_BYTES];
        let numbers = [self.memory_kib, self.passes, self.lanes];
        for (chunk, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            chunk.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        const WRONG: Error = Error::Damaged("the parameters of the passphrase's hash");
        let (chunks, _) = bytes.as_chunks::<4>();
        let &[memory_kib, passes, lanes] = chunks else { return Err(WRONG) };
        let cost = Self {
            memory_kib: u32::from_be_bytes(memory_kib),
            passes: u32::from_be_bytes(passes),
            lanes: u32::from_be_bytes(lanes),
        };
        let bounded = cost.memory_kib <= MEMORY_KIB_MAX
            && cost.passes <= PASSES_MAX
            && cost.lanes <= LANES_MAX;
        if bounded { Ok(cost) } else { Err(WRONG) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal_of(passphrase: &[u8]) -> PassphraseSeal {
        // Tests show the blob's handling, not Argon2's strength.
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        PassphraseSeal::at_cost(SecretBytes::new(passphrase.to_vec()), cost).unwrap()
    }

    #[test]
    fn the_right_passphrase_opens() {
        let sealed = seal_of(b"correct horse").seal(b"secrets").unwrap();
        assert_eq!(seal_of(b"correct horse").open(&sealed).unwrap().as_bytes(), b"secrets");
    }

    #[test]
    fn the_shipped_cost_seals_and_opens() {
        let seal = PassphraseSeal::new(SecretBytes::new(b"correct horse".to_vec())).unwrap();
        let sealed = seal.seal(b"secrets").unwrap();
        assert_eq!(seal.open(&sealed).unwrap().as_bytes(), b"secrets");
    }

    #[test]
    fn a_wrong_passphrase_is_named_as_the_reason() {
        let sealed = seal_of(b"correct horse").seal(b"secrets").unwrap();
        for wrong in [&b"correct horsf"[..], b"correct horse ", b"c"] {
            assert!(matches!(seal_of(wrong).open(&sealed), Err(Error::WrongPassphrase)));
        }
    }

    #[test]
    fn a_damaged_blob_is_told_from_a_wrong_passphrase() {
        let seal = seal_of(b"correct horse");
        let mut sealed = seal.seal(b"secrets").unwrap();
        *sealed.last_mut().unwrap() ^= 1;
        assert!(matches!(seal.open(&sealed), Err(Error::Damaged(_))));
    }

    #[test]
    fn a_blob_cannot_ask_for_all_memory() {
        let seal = seal_of(b"correct horse");
        let mut sealed = seal.seal(b"secrets").unwrap();
        sealed[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(seal.open(&sealed), Err(Error::Damaged(_))));
    }

    #[test]
    fn no_byte_of_a_blob_can_be_changed_or_lost() {
        let seal = seal_of(b"correct horse");
        let sealed = seal.seal(b"secrets").unwrap();
        // The parameters' high bytes ask for more memory within the bounds: slow, so one is enough.
        for at in (0..sealed.len()).filter(|at| !(8..20).contains(at) || at % 4 == 3) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(&changed).is_err(), "byte {at} flipped");
            assert!(seal.open(&sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_empty_passphrase_is_refused() {
        let empty = PassphraseSeal::new(SecretBytes::new(Vec::new()));
        assert!(matches!(empty, Err(Error::EmptyPassphrase)));
    }

    #[test]
    fn a_blob_of_another_seal_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = crate::FileSeal::open_or_create(&folder.path().join("seal.key")).unwrap();
        let sealed = file.seal(b"secrets").unwrap();
        let error = seal_of(b"correct horse").open(&sealed).err().unwrap();
        assert_eq!(error.to_string(), "this was sealed with seal file, not passphrase");
    }
}
