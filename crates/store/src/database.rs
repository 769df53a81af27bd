//! The SQLite file: how it is opened, and its tables.
//!
//! WAL with synchronous=FULL: a commit returns after the fsync of the write-ahead log, and readers
//! go on meanwhile. Deleted rows are overwritten (secure_delete), though they were only ciphertext.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::Error;

/// The file's name in the data folder.
pub(crate) const FILE: &str = "store.db";

/// `PRAGMA user_version`: what the tables below are. 0 is an empty file.
const FORMAT: i64 = 2;
/// Has the same tables; what the log's rows and the head say is another thing.
const FIRST_FORMAT: i64 = 1;
/// `PRAGMA application_id`: "SRHS", so that `file` can tell what it is.
const APPLICATION: i64 = 0x5352_4853;

const SCHEMA: &str = "
CREATE TABLE boots(boot INTEGER PRIMARY KEY, salt BLOB NOT NULL,
                   state_epoch INTEGER NOT NULL, audit_epoch INTEGER NOT NULL) STRICT;
CREATE TABLE meta(name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE log(idx INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
CREATE TABLE records(key BLOB PRIMARY KEY, version INTEGER NOT NULL,
                     sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE blobs(id BLOB PRIMARY KEY, version INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;
CREATE TABLE audit(seq INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
";

/// Opens the one connection that writes.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // The folder is locked: whoever else holds the database is an error, not to be waited for.
    connection.busy_timeout(Duration::ZERO)?;
    // journal_mode answers with a row, and says what it became.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::Bug("the store's file system does not allow a write-ahead log"));
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA secure_delete = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;",
    )?;
    usual_cache(&connection)?;
    // Keeps the write-ahead log from staying as long as it was in its worst hour.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    Ok(connection)
}

/// The writer's cache in KiB: what a batch changes, and the upper pages of the tables.
const CACHE_KIB: i64 = 16 * 1024;
/// While a snapshot is installed, whose records come in no order that the table has.
const WIDE_CACHE_KIB: i64 = 64 * 1024;

/// Gives the writer the cache that it usually has.
pub(crate) fn usual_cache(connection: &Connection) -> Result<(), Error> {
    Ok(connection.pragma_update(None, "cache_size", -CACHE_KIB)?)
}

/// Gives the writer more of a cache.
pub(crate) fn widen_cache(connection: &Connection) -> Result<(), Error> {
    Ok(connection.pragma_update(None, "cache_size", -WIDE_CACHE_KIB)?)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA cache_size = -256;",
    )?;
    Ok(connection)
}

/// Whether the file is a store already; makes the tables, in the caller's transaction, where it is
/// empty.
pub(crate) fn prepare(connection: &Connection) -> Result<Existing, Error> {
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let count = |what: &str| -> Result<i64, Error> {
        let query = format!("SELECT count(*) FROM sqlite_schema WHERE {what}");
        Ok(connection.query_row(&query, [], |row| row.get(0))?)
    };
    match format {
        0 if count("true")? == 0 => {
            connection.execute_batch(SCHEMA)?;
            set_format(connection)?;
            connection.pragma_update(None, "application_id", APPLICATION)?;
            Ok(Existing::No)
        }
        FORMAT | FIRST_FORMAT if count("type IN ('trigger', 'view')")? == 0 => {
            Ok(if format == FORMAT { Existing::Yes } else { Existing::FirstFormat })
        }
        0 | FORMAT | FIRST_FORMAT => {
            Err(Error::tampered("database", FILE, "its tables are not the store's"))
        }
        found => Err(Error::Format { found, known: FORMAT }),
    }
}

/// Says that the tables are of this format.
pub(crate) fn set_format(connection: &Connection) -> Result<(), Error> {
    Ok(connection.pragma_update(None, "user_version", FORMAT)?)
}

/// Whether there was a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Yes,
    /// One that the first released version wrote.
    FirstFormat,
    No,
}

/// A number as SQLite keeps it.
pub(crate) fn signed(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::Bug("a number is too large for the database"))
}

/// A number that SQLite kept; a negative one was never written, and matches nothing.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
