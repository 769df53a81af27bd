//! A store that fails its check is set aside: the HSM fetches everything again from its peers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::{Error, Folder, Store, database};

/// Stores that are kept for whoever looks into what happened.
const KEPT_MAX: usize = 2;
const INFIX: &str = ".quarantine-";
/// SQLite's files beside the database.
const WAL: &str = "-wal";
const SHARED_MEMORY: &str = "-shm";

impl Store {
    /// Moves a folder's store, which is not open, to `store.db.quarantine-N`, and gives that path; `None`
    /// where there is none. The next [`Store::open`] makes an empty one. The two newest are kept.
    ///
    /// Its audit chain goes with it: records that no other HSM has.
    ///
    /// # Errors
    /// The file system's.
    pub fn set_aside(folder: &Folder) -> Result<Option<PathBuf>, Error> {
        let path = folder.path().join(database::FILE);
        if !path.exists() {
            return Ok(None);
        }
        let mut numbers = numbers(folder.path())?;
        let number = numbers.last().map_or(1, |last| last + 1);
        let aside = numbered(folder.path(), number);
        rename(&path, &aside)?;
        folder.sync()?;
        finish(folder)?;
        numbers.push(number);
        let surplus = numbers.len().saturating_sub(KEPT_MAX);
        for number in &numbers[..surplus] {
            let old = numbered(folder.path(), *number);
            remove(&old)?;
            remove(&beside(&old, WAL))?;
        }
        folder.sync()?;
        Ok(Some(aside))
    }
}

/// Finishes what a power loss may have interrupted: the database moves first, then its write-ahead log,
/// which must never be taken for that of a new database.
pub(crate) fn finish(folder: &Folder) -> Result<(), Error> {
    let path = folder.path().join(database::FILE);
    if path.exists() {
        return Ok(());
    }
    let wal = beside(&path, WAL);
    match numbers(folder.path())?.last() {
        Some(number) if wal.exists() => {
            rename(&wal, &beside(&numbered(folder.path(), *number), WAL))?;
        }
        _ => remove(&wal)?,
    }
    remove(&beside(&path, SHARED_MEMORY))?;
    folder.sync()
}

/// The numbers of the stores that were set aside, rising.
fn numbers(folder: &Path) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(database::FILE)?.strip_prefix(INFIX)?.parse().ok());
        numbers.extend::<Option<u64>>(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn numbered(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{}{INFIX}{number}", database::FILE))
}

/// The file that SQLite has beside a database.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.to_owned().into_os_string();
    path.push(suffix);
    path.into()
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(Error::io(from))
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}
