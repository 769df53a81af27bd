//! Read connections beside the writer, for any thread.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::sealing::Opener;
use crate::{Error, database};

/// Connections open at a time. Reads are short: more would only take memory.
const CONNECTIONS_MAX: usize = 8;

/// A pool of connections that read what is committed. A thread borrows one for one read.
pub(crate) struct Readers {
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

impl Readers {
    pub(crate) fn new(path: PathBuf, opener: Arc<Opener>) -> Self {
        Self { path, opener, pool: Mutex::default(), returned: Condvar::new() }
    }

    /// Reads with a connection of the pool; [`Error::Closed`] after [`Readers::close`].
    pub(crate) fn with<T>(
        &self,
        read: impl FnOnce(&Connection, &Opener) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let borrowed = self.borrow()?;
        read(borrowed.connection()?, &self.opener)
    }

    /// Closes the connections.
    pub(crate) fn close(&self) {
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
                return Ok(Borrowed { readers: self, connection: Some(connection) });
            }
            if pool.open < CONNECTIONS_MAX {
                pool.open += 1;
                drop(pool);
                // Made first, so that a failure to open gives the place in the pool back.
                let mut borrowed = Borrowed { readers: self, connection: None };
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
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Borrowed<'_> {
    fn connection(&self) -> Result<&Connection, Error> {
        self.connection.as_ref().ok_or(Error::Bug("a reader without a connection"))
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.lock();
        match self.connection.take() {
            Some(connection) if !pool.closed => pool.idle.push(connection),
            _ => pool.open -= 1,
        }
        self.readers.returned.notify_one();
    }
}
