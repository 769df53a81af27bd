//! Reading masked objects, from any thread, beside the writer.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension};
use strongroom_vault::ObjectId;

use crate::sealing::{Opener, Place, Table};
use crate::{Error, database};

/// Connections open at a time. Reads are short: more would only take memory.
const CONNECTIONS_MAX: usize = 8;

/// Reads the blobs that are committed. A thread borrows a connection for one read.
pub struct BlobReader {
    path: PathBuf,
    opener: Arc<Opener>,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
    closed: bool,
}

impl BlobReader {
    pub(crate) fn new(path: PathBuf, opener: Arc<Opener>) -> Self {
        Self { path, opener, pool: Mutex::default(), returned: Condvar::new() }
    }

    /// The masked object, `None` where no committed entry left one.
    ///
    /// # Errors
    /// [`Error::Tampered`] where the row does not open, [`Error::Closed`] after
    /// [`BlobReader::close`], or the database's.
    pub fn read(&self, id: ObjectId) -> Result<Option<Vec<u8>>, Error> {
        let borrowed = self.borrow()?;
        let row: Option<(i64, Vec<u8>)> = borrowed
            .connection()?
            .prepare_cached("SELECT version, sealed FROM blobs WHERE id = ?1")?
            .query_row([&id.0[..]], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        drop(borrowed);
        let Some((version, sealed)) = row else { return Ok(None) };
        let place = Place { table: Table::Blobs, key: &id.0, version: database::unsigned(version) };
        // Masked, so no secret any more.
        Ok(Some(self.opener.open(&place, &sealed)?.into_plain()))
    }

    /// Closes the connections: the folder may then be another process's.
    pub fn close(&self) {
        let mut pool = self.lock();
        pool.closed = true;
        pool.open -= pool.idle.len();
        pool.idle.clear();
        self.returned.notify_all();
    }

    fn borrow(&self) -> Result<Borrowed<'_>, Error> {
        let mut pool = self.lock();
        loop {
            if pool.closed {
                return Err(Error::Closed);
            }
            if let Some(connection) = pool.idle.pop() {
                return Ok(Borrowed { reader: self, connection: Some(connection) });
            }
            if pool.open < CONNECTIONS_MAX {
                pool.open += 1;
                drop(pool);
                // Made first, so that a failure to open gives the place in the pool back.
                let mut borrowed = Borrowed { reader: self, connection: None };
                borrowed.connection = Some(database::open_reader(&self.path)?);
                return Ok(borrowed);
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection out of the pool, given back when dropped.
struct Borrowed<'a> {
    reader: &'a BlobReader,
    connection: Option<Connection>,
}

impl Borrowed<'_> {
    fn connection(&self) -> Result<&Connection, Error> {
        self.connection.as_ref().ok_or(Error::Bug("a reader without a connection"))
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut pool = self.reader.lock();
        match self.connection.take() {
            Some(connection) if !pool.closed => pool.idle.push(connection),
            _ => pool.open -= 1,
        }
        self.reader.returned.notify_one();
    }
}
