//! Entrances for the fuzz targets: blobs that cost little to open, and what others would cost.

use strongroom_crypto::SecretBytes;

use crate::passphrase::{self, Cost};
use crate::{Error, PassphraseSeal, Seal};

/// A blob under a passphrase, at the least cost that Argon2 knows.
///
/// # Errors
/// Where the passphrase is empty, or the backend fails.
pub fn cheap_blob(passphrase: &[u8], secret: &[u8]) -> Result<Vec<u8>, Error> {
    let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    PassphraseSeal::at_cost(SecretBytes::new(passphrase.to_vec()), cost)?.seal(secret)
}

/// What a blob would cost to open, in KiB of memory times passes.
///
/// # Errors
/// Those of opening, as far as they show before the hash.
pub fn opening_cost(sealed: &[u8]) -> Result<u64, Error> {
    let (_, cost) = passphrase::parse(sealed)?;
    Ok(u64::from(cost.memory_kib) * u64::from(cost.passes))
}
