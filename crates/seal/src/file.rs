//! The seal for development: a random key in a file of mode 0600.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use strongroom_crypto::symmetric;
use strongroom_crypto::{SecretBytes, random};

use crate::blob::{self, Kind, SALT_BYTES};
use crate::write::{destroy, read_bounded, write_atomically};
use crate::{Error, Seal};

const KEY_BYTES: usize = 32;

/// Seals under a key that lies in a file. **It protects nothing from whoever reads the folder**: it
/// is for development and tests, and says so whenever it is opened.
pub struct FileSeal {
    path: PathBuf,
    key: SecretBytes,
}

impl FileSeal {
    /// Opens the key file, or makes it.
    ///
    /// # Errors
    /// Where the file can't be read or made, is not 32 bytes long, or others than its owner may
    /// read it.
    pub fn open_or_create(path: &Path) -> Result<Self, Error> {
        tracing::warn!(
            key_file = %path.display(),
            "SEAL `file` IS FOR DEVELOPMENT: whoever reads this folder reads all keys of this HSM. \
             Use `--seal passphrase` for keys that matter."
        );
        let key = match std::fs::metadata(path) {
            Ok(metadata) => Self::read(path, &metadata)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path)?,
            Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), key })
    }

    fn read(path: &Path, metadata: &std::fs::Metadata) -> Result<SecretBytes, Error> {
        let foreign = metadata.uid() != rustix::process::geteuid().as_raw();
        if foreign || metadata.permissions().mode() & 0o077 != 0 {
            return Err(Error::Io {
                path: path.to_owned(),
                source: std::io::Error::new(
                    ErrorKind::PermissionDenied,
                    "others may read this key file: it must be yours, with mode 0600",
                ),
            });
        }
        let key = read_bounded(path, KEY_BYTES as u64)?.map(SecretBytes::new);
        key.filter(|key| key.as_bytes().len() == KEY_BYTES)
            .ok_or(Error::Damaged("the key file is not 32 bytes long"))
    }

    fn create(path: &Path) -> Result<SecretBytes, Error> {
        let mut key = SecretBytes::zeroed(KEY_BYTES);
        random(key.as_mut_bytes())?;
        write_atomically(path, key.as_bytes())?;
        Ok(key)
    }

    /// The key of one blob.
    pub(crate) fn key_of(&self, salt: &[u8]) -> SecretBytes {
        symmetric::derive(self.key.as_bytes(), &[b"strongroom seal 1 file\0", salt].concat())
    }
}

impl Seal for FileSeal {
    fn name(&self) -> &'static str {
        Kind::File.name()
    }

    fn seal(&self, secret: &[u8]) -> Result<Vec<u8>, Error> {
        let salt: [u8; SALT_BYTES] = blob::salt()?;
        blob::seal(Kind::File, &[], &salt, &self.key_of(&salt), secret)
    }

    fn open(&self, sealed: &[u8]) -> Result<SecretBytes, Error> {
        let parsed = blob::parse(Kind::File, 0, sealed)?;
        blob::open(&parsed, &self.key_of(parsed.salt), Error::WrongKey)
    }

    fn destroy(&self) -> Result<(), Error> {
        destroy(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal_in(folder: &tempfile::TempDir) -> FileSeal {
        FileSeal::open_or_create(&folder.path().join("seal.key")).unwrap()
    }

    #[test]
    fn a_second_opening_opens_what_the_first_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = seal_in(&folder).seal(b"secrets").unwrap();
        assert_eq!(seal_in(&folder).open(&sealed).unwrap().as_bytes(), b"secrets");
        let mode = std::fs::metadata(folder.path().join("seal.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_key_file_is_named_as_the_reason() {
        let sealed = seal_in(&tempfile::tempdir().unwrap()).seal(b"secrets").unwrap();
        let other = seal_in(&tempfile::tempdir().unwrap());
        assert!(matches!(other.open(&sealed), Err(Error::WrongKey)));
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        drop(FileSeal::open_or_create(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(FileSeal::open_or_create(&path), Err(Error::Io { .. })));
    }

    #[test]
    fn a_key_file_of_the_wrong_length_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        for contents in [&[1; 31][..], &[1; 33], &[]] {
            write_atomically(&path, contents).unwrap();
            assert!(matches!(FileSeal::open_or_create(&path), Err(Error::Damaged(_))));
        }
    }

    #[test]
    fn no_byte_of_a_blob_can_be_changed_or_lost() {
        let folder = tempfile::tempdir().unwrap();
        let seal = seal_in(&folder);
        let sealed = seal.seal(b"secrets").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(&changed).is_err(), "byte {at} flipped");
            assert!(seal.open(&sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn sealing_twice_gives_different_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let seal = seal_in(&folder);
        assert_ne!(seal.seal(b"secrets").unwrap(), seal.seal(b"secrets").unwrap());
    }
}
