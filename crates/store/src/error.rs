//! What goes wrong with a data folder, by whose fault it is.

use std::path::{Path, PathBuf};

/// Why the store can't be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's fault: another process runs on this folder.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The operator's fault: the folder or a file of it belongs to another user.
    #[error("{} belongs to another user", .0.display())]
    Foreign(PathBuf),
    /// The operator's fault: written by a newer version.
    #[error("the store is of format {found}; this version knows {known}")]
    Format {
        /// What the store says.
        found: i64,
        /// The newest that this build knows.
        known: i64,
    },
    /// An attacker's fault, or the disk's: a record does not check. The HSM refuses service.
    #[error("tampered: {table}/{id}: {reason}")]
    Tampered {
        /// The table, or the file.
        table: &'static str,
        /// The row, as far as it may be told.
        id: String,
        /// Which check failed.
        reason: &'static str,
    },
    /// The caller's fault: this HSM has not joined a cluster, or has left it.
    #[error("this HSM has no secrets of a cluster")]
    NoCluster,
    /// The giver's fault: secrets of another cluster than this HSM's.
    #[error("the secrets are another cluster's")]
    OtherCluster,
    /// A peer's fault, or the way's: what it sent is no snapshot. The store is as it was.
    #[error("snapshot: {0}")]
    Snapshot(&'static str),
    /// The file system's fault.
    #[error("{}: {source}", path.display())]
    Io {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database's fault, or the disk's under it.
    #[error("database: {0}")]
    Database(#[source] rusqlite::Error),
    /// The store failed before; what is on disk is not known any more.
    #[error("the store failed earlier and takes nothing more")]
    Failed,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// The seal's, or that of who holds it.
    #[error("secrets: {0}")]
    Seal(#[from] strongroom_seal::Error),
    /// The crypto backend's fault.
    #[error("crypto: {0}")]
    Crypto(#[from] strongroom_crypto::Error),
    /// The operating system's fault, or that of the limits set for this process.
    #[error("no memory that can be locked: {0}")]
    Memory(#[source] std::io::Error),
    /// A bug of ours.
    #[error("bug: {0}")]
    Bug(&'static str),
}

impl Error {
    /// For `map_err` on an operation on `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// A row that does not check.
    pub(crate) fn tampered(
        table: &'static str,
        id: impl std::fmt::Display,
        reason: &'static str,
    ) -> Self {
        Self::Tampered { table, id: id.to_string(), reason }
    }
}

impl From<rusqlite::types::FromSqlError> for Error {
    /// A column of another type than the store writes.
    fn from(_: rusqlite::types::FromSqlError) -> Self {
        Self::tampered("database", crate::database::FILE, "a column has another type")
    }
}

impl From<rusqlite::Error> for Error {
    /// A file that SQLite finds corrupt is as suspect as a row that does not open.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let corrupt = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => {
                matches!(failure.code, DatabaseCorrupt | NotADatabase)
            }
            rusqlite::Error::InvalidColumnType(..) => true,
            _ => false,
        };
        if corrupt {
            Self::tampered("database", crate::database::FILE, "the file is corrupt")
        } else {
            Self::Database(error)
        }
    }
}
