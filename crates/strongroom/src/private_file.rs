//! Files of a region that only its user may read.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::Error;

/// Makes a folder of mode 0700, or checks that the one that is there is closed to others.
///
/// # Errors
/// Where it is another user's, or open.
pub(crate) fn make_folder(path: &Path) -> Result<(), Error> {
    let what = path.display().to_string();
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io(what.clone()))?;
    let metadata = path.metadata().map_err(Error::io(what))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::file(path)("it belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Error::file(path)(format!(
            "others have access to it (mode {:04o}); close it with chmod 700",
            metadata.mode() & 0o7777
        )));
    }
    Ok(())
}

/// Writes a file whole or not at all, mode 0600, on disk when it returns.
///
/// # Errors
/// The system's.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let draft = path.with_extension("new");
    let what = path.display().to_string();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(Error::io(what.clone()))?;
    file.write_all(content).map_err(Error::io(what.clone()))?;
    file.sync_all().map_err(Error::io(what.clone()))?;
    std::fs::rename(&draft, path).map_err(Error::io(what))
}
