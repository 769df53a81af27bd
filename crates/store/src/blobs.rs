//! Reading masked objects, from any thread, beside the writer.

use rusqlite::OptionalExtension;
use strongroom_vault::ObjectId;

use crate::sealing::{Place, Table};
use crate::{Error, Readers, database};

/// Reads the blobs that are committed to disk.
pub struct BlobReader {
    readers: Readers,
}

impl BlobReader {
    pub(crate) fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// The masked object, `None` where no committed entry left one.
    ///
    /// # Errors
    /// [`Error::Tampered`] where the row does not open, [`Error::Closed`] after
    /// [`BlobReader::close`], or the database's.
    pub fn read(&self, id: ObjectId) -> Result<Option<Vec<u8>>, Error> {
        self.readers.with(|connection, opener| {
            let row: Option<(i64, Vec<u8>)> = connection
                .prepare_cached("SELECT version, sealed FROM blobs WHERE id = ?1")?
                .query_row([&id.0[..]], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((version, sealed)) = row else { return Ok(None) };
            let version = database::unsigned(version);
            let place = Place { table: Table::Blobs, key: &id.0, version };
            // Masked, so no secret any more.
            Ok(Some(opener.open(&place, &sealed)?.into_plain()))
        })
    }

    /// Closes the connections: the folder may then be another process's.
    pub fn close(&self) {
        self.readers.close();
    }
}
