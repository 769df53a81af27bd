//! The data folder: for one process at a time, and for one user.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::Error;

/// A data folder that this process alone has, until the value is dropped or the process ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, closes it to other users (mode 0700), and locks it.
    ///
    /// # Errors
    /// [`Error::InUse`] where another process has it, [`Error::Foreign`] where it is another user's.
    pub fn open(path: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io(path))?;
        close_to_others(path, 0o700)?;
        let lock = create_private(&path.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(Error::InUse(path.to_owned())),
            Err(errno) => Err(Error::Io { path: path.join("lock"), source: errno.into() }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, which is made with mode 0600 where it is missing, durably.
    pub(crate) fn private_file(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        drop(create_private(&path)?);
        self.sync()?;
        Ok(path)
    }

    /// Makes a file of it durable, with its name.
    pub(crate) fn sync_file(&self, path: &Path) -> Result<(), Error> {
        File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))?;
        self.sync()
    }

    /// Makes the names of its files durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(Error::io(&self.path))
    }
}

/// Opens a file that its owner alone can read, making it where it is missing.
fn create_private(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(Error::io(path))?;
    close_to_others(path, 0o600)?;
    Ok(file)
}

/// Takes other users' permissions away, where the owner is who runs this.
fn close_to_others(path: &Path, mode: u32) -> Result<(), Error> {
    let metadata = std::fs::symlink_metadata(path).map_err(Error::io(path))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::Foreign(path.to_owned()));
    }
    if metadata.is_symlink() || metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "was open to other users; closed to them");
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opening_is_refused_until_the_first_ends() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("hsm");
        let first = Folder::open(&path).unwrap();
        let error = Folder::open(&path).unwrap_err();
        assert!(matches!(error, Error::InUse(_)));
        assert!(error.to_string().ends_with("is in use by another process"));
        drop(first);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn a_folder_and_its_files_are_for_their_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let file = folder.private_file("store.db").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(root.path()), 0o700);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(&root.path().join("lock")), 0o600);
    }
}
