//! Folders of a region that only its user may enter.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use crate::error::Error;

/// Makes a folder of mode 0700, or checks that the one that is there is closed to others.
///
/// # Errors
/// Where it is another user's, or open.
pub(crate) fn make(path: &Path) -> Result<(), Error> {
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
