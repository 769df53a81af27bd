//! Reading a snapshot out of a store, beside its writer.

use std::sync::Arc;

use rusqlite::Connection;
use strongroom_crypto::SecretBytes;

use super::SnapshotHeader;
use super::stream::Encoder;
use crate::database::{self, unsigned};
use crate::head::Head;
use crate::open::head_row;
use crate::sealing::{Opener, Place, Table};
use crate::tally::{Share, Tally};
use crate::{Error, Store, membership};

/// A snapshot that is being read: an iterator over its chunks, in order. It sees the store as it was
/// when it was made, and may go to another thread. While it lives, SQLite's write-ahead log grows.
pub struct SnapshotReader {
    connection: Connection,
    opener: Arc<Opener>,
    head: Head,
    header: SnapshotHeader,
    encoder: Encoder,
    tally: Tally,
    stage: Stage,
}

/// What is read next.
enum Stage {
    /// Records after this key.
    Records(Vec<u8>),
    /// Blobs after this row.
    Blobs(i64),
    /// What the encoder still has.
    Rest,
    /// Nothing any more.
    Failed,
}

impl Store {
    /// A snapshot of what is committed; `None` where nothing was applied yet.
    ///
    /// # Errors
    /// [`Error::Tampered`] where the head does not open, or the database's.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, Error> {
        SnapshotReader::new(database::open_reader(&self.path)?, self.opener.clone())
    }
}

impl SnapshotReader {
    fn new(connection: Connection, opener: Arc<Opener>) -> Result<Option<Self>, Error> {
        // Lasts until the connection is closed; the first read fixes what it sees.
        connection.execute_batch("BEGIN")?;
        let head = Head::from_bytes(head_row(&connection, &opener)?.as_bytes())?;
        let Some(position) = head.applied else { return Ok(None) };
        let membership = membership::read(&connection, &opener, &head)?.unwrap_or_default();
        let header = SnapshotHeader {
            position,
            membership,
            index: head.index,
            records: head.records.rows,
            blobs: head.blobs.rows,
        };
        let encoder = Encoder::new(&header)?;
        let (tally, stage) = (Tally::default(), Stage::Records(Vec::new()));
        Ok(Some(Self { connection, opener, head, header, encoder, tally, stage }))
    }

    /// What it is of.
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    fn next_chunk(&mut self) -> Result<Option<SecretBytes>, Error> {
        while !self.encoder.is_full() {
            // Until the next stage is known, none: an error is the end.
            self.stage = match std::mem::replace(&mut self.stage, Stage::Failed) {
                Stage::Records(after) => self.records(after)?,
                Stage::Blobs(after) => self.blobs(after)?,
                Stage::Rest => {
                    self.stage = Stage::Rest;
                    break;
                }
                Stage::Failed => return Ok(None),
            };
        }
        Ok(self.encoder.take())
    }

    /// Reads records until a chunk is full, and says how to go on.
    fn records(&mut self, mut after: Vec<u8>) -> Result<Stage, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT key, version, sealed FROM records WHERE key > ?1 ORDER BY key",
        )?;
        let mut rows = statement.query([&after])?;
        while let Some(row) = rows.next()? {
            let (key, version) = (row.get_ref(0)?.as_blob()?, unsigned(row.get(1)?));
            let sealed = row.get_ref(2)?.as_blob()?;
            let place = Place { table: Table::Records, key, version };
            self.encoder.record(self.opener.open(&place, sealed)?.as_bytes())?;
            self.tally.add(&Share::of(self.head.tally_key(), &place, sealed));
            if self.encoder.is_full() {
                after.clear();
                after.extend_from_slice(key);
                return Ok(Stage::Records(after));
            }
        }
        same(&mut self.tally, self.head.records, "records")?;
        Ok(Stage::Blobs(0))
    }

    fn blobs(&mut self, after: i64) -> Result<Stage, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT rowid, id, version, sealed FROM blobs WHERE rowid > ?1 ORDER BY rowid",
        )?;
        let mut rows = statement.query([after])?;
        while let Some(row) = rows.next()? {
            let (key, version) = (row.get_ref(1)?.as_blob()?, unsigned(row.get(2)?));
            let sealed = row.get_ref(3)?.as_blob()?;
            let place = Place { table: Table::Blobs, key, version };
            self.encoder.blob(key, self.opener.open(&place, sealed)?.as_bytes())?;
            self.tally.add(&Share::of(self.head.tally_key(), &place, sealed));
            if self.encoder.is_full() {
                return Ok(Stage::Blobs(row.get(0)?));
            }
        }
        same(&mut self.tally, self.head.blobs, "blobs")?;
        self.encoder.finish()?;
        Ok(Stage::Rest)
    }
}

/// Whether all rows of a table came; the next table's are counted from zero.
fn same(found: &mut Tally, head: Tally, table: &'static str) -> Result<(), Error> {
    if std::mem::take(found) == head {
        return Ok(());
    }
    Err(Error::tampered(table, "all", "a row is missing, foreign or old"))
}

impl Iterator for SnapshotReader {
    type Item = Result<SecretBytes, Error>;

    /// The next chunk. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        self.next_chunk().transpose()
    }
}
