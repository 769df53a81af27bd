//! Files that a crash leaves whole: the old contents or the new, never a mixture.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use strongroom_crypto::SecretBytes;

use crate::Error;

/// Writes `contents` to `path` with mode 0600, durably: a temporary file beside it, fsync, rename,
/// fsync of the folder.
///
/// # Errors
/// Where the file system fails; `path` is then as it was.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let temporary = beside(path);
    let written = write_new(&temporary, contents)
        .and_then(|()| std::fs::rename(&temporary, path).map_err(Error::io(path)));
    if let Err(error) = written {
        // Best effort: the temporary file may not exist, and its name is used again anyway.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(path)
}

/// Overwrites a file and removes it, both durably. Flash and copy-on-write file systems may keep the
/// old blocks all the same: a sealed file's true end is that of its seal's key.
///
/// # Errors
/// Where the file system fails; a file that is missing is no failure.
pub fn destroy(path: &Path) -> Result<(), Error> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    let length = file.metadata().map_err(Error::io(path))?.len();
    std::io::copy(&mut std::io::repeat(0).take(length), &mut file).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))?;
    std::fs::remove_file(path).map_err(Error::io(path))?;
    sync_folder(path)
}

/// A file's contents, `None` where there is no file.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    let mut contents = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut contents).map_err(Error::io(path))?;
    if contents.len() as u64 > bytes_max {
        // Taken over so that a key file of the wrong length is wiped too.
        drop(SecretBytes::new(contents));
        return Err(Error::Damaged("the file is too long"));
    }
    Ok(Some(contents))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write_new(path: &Path, contents: &[u8]) -> Result<(), Error> {
    // What a crash left behind is removed first, so that the mode below holds for the new file.
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io(path))?;
    file.write_all(contents).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))
}

/// Makes a rename in the folder of `path` durable.
fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_written_file_is_whole_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap().unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_behind_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(beside(&path), b"half").unwrap();
        write_atomically(&path, b"whole").unwrap();
        assert_eq!(read_bounded(&path, 100).unwrap().unwrap(), b"whole");
        assert!(!beside(&path).exists());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_atomically(&path, b"old").unwrap();
        std::fs::create_dir(beside(&path)).unwrap();
        assert!(matches!(write_atomically(&path, b"new"), Err(Error::Io { .. })));
        assert_eq!(read_bounded(&path, 100).unwrap().unwrap(), b"old");
    }

    #[test]
    fn a_destroyed_file_is_overwritten_and_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("secret"), folder.path().join("link"));
        std::fs::write(&path, b"secret").unwrap();
        std::fs::hard_link(&path, &link).unwrap();
        destroy(&path).unwrap();
        destroy(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(std::fs::read(&link).unwrap(), [0; 6]);
    }

    #[test]
    fn a_file_over_the_bound_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        std::fs::write(&path, [0; 9]).unwrap();
        assert!(matches!(read_bounded(&path, 8), Err(Error::Damaged(_))));
        assert!(read_bounded(&folder.path().join("none"), 8).unwrap().is_none());
    }
}
