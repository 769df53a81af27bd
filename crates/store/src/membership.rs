//! The members of the cluster, as the replication encodes them, up to the applied position.
//!
//! A row of its own: it changes rarely, and the head is written with every transaction. The head says
//! which version of it is the newest, so that an older one does not open.

use rusqlite::{Connection, OptionalExtension};

use crate::Error;
use crate::head::Head;
use crate::sealing::{Opener, Place, Table};

/// Its row's name.
pub(crate) const NAME: &str = "membership";

/// Where it is kept.
pub(crate) fn place(version: u64) -> Place<'static> {
    Place { table: Table::Meta, key: NAME.as_bytes(), version }
}

/// The newest, `None` where none was written.
pub(crate) fn read(
    connection: &Connection,
    opener: &Opener,
    head: &Head,
) -> Result<Option<Vec<u8>>, Error> {
    if head.memberships == 0 {
        return Ok(None);
    }
    let sealed: Vec<u8> = connection
        .prepare_cached("SELECT sealed FROM meta WHERE name = ?1")?
        .query_row([NAME], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Error::tampered("meta", NAME, "it is missing"))?;
    Ok(Some(opener.open(&place(head.memberships), &sealed)?.into_plain()))
}
