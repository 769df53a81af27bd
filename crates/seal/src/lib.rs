//! Keeping an HSM's root secret while it does not run.
//!
//! In: the secrets of one HSM as bytes. Out: a sealed blob that may lie on a disk, and the secrets
//! again for whoever can open that seal. A seal must never write or log what it seals, and one that
//! does not open leaves everything as it is: the HSM stays locked, nothing is destroyed.
//!
//! - [`Seal`]: what every way of sealing offers.
//! - [`FileSeal`]: a key in a file. For development: whoever reads the folder reads the keys.
//! - [`PassphraseSeal`]: an operator's passphrase, by Argon2id.
//! - [`keep`], [`fetch`], [`destroy`]: a secret in a sealed file.

#![forbid(unsafe_code)]

mod blob;
mod error;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod passphrase;
#[cfg(test)]
mod vectors;
mod write;

use std::path::Path;

use strongroom_crypto::SecretBytes;

pub use error::Error;
pub use file::FileSeal;
pub use passphrase::PassphraseSeal;
pub use write::{destroy, write_atomically};

/// A way of sealing a secret to something that an HSM, or only its operator, has.
pub trait Seal: Send + Sync {
    /// Its name on the command line and in `status`: `file`, `passphrase`.
    fn name(&self) -> &'static str;

    /// Seals a secret.
    ///
    /// # Errors
    /// Where the backend fails.
    fn seal(&self, secret: &[u8]) -> Result<Vec<u8>, Error>;

    /// Opens what [`Seal::seal`] made.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`] or [`Error::WrongKey`] where this seal is not the one that it was
    /// sealed with, [`Error::OtherSeal`] where it is of another kind, [`Error::Damaged`] where the
    /// bytes have changed.
    fn open(&self, sealed: &[u8]) -> Result<SecretBytes, Error>;

    /// Destroys for ever what this seal keeps to open what it sealed; one that keeps nothing does
    /// nothing.
    ///
    /// # Errors
    /// Where the file system fails.
    fn destroy(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The longest sealed file that is read, in bytes.
const SEALED_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Seals `secret` into the file `path`, durably: after a crash there is the old file or the new.
///
/// # Errors
/// Where the seal or the file system fails.
pub fn keep(seal: &dyn Seal, path: &Path, secret: &[u8]) -> Result<(), Error> {
    write_atomically(path, &seal.seal(secret)?)
}

/// Opens the sealed file `path`; `None` where there is none.
///
/// # Errors
/// As [`Seal::open`], and where the file can't be read.
pub fn fetch(seal: &dyn Seal, path: &Path) -> Result<Option<SecretBytes>, Error> {
    match write::read_bounded(path, SEALED_FILE_BYTES_MAX)? {
        Some(sealed) => seal.open(&sealed).map(Some),
        None => Ok(None),
    }
}
