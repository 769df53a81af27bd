//! A store of the first format becomes one of this format, at open. Nothing is lost but open logins.
//!
//! The first format was written by HSMs that were alone: its log ended where its state did. So the log
//! says nothing that the records do not, and is dropped; the audit chain stays. What was applied
//! counts as the log entry [`POSITION`]: the log goes on after it, and whoever joins gets a snapshot.

use rusqlite::Connection;
use strongroom_vault::{Change, FirstVersion, LogIndex, State};

use crate::database::{self, unsigned};
use crate::head::Head;
use crate::open::{check_records, check_rest, contradiction, each, head_row};
use crate::sealing::{Opener, Place, Table};
use crate::{Error, LogState, Position};

/// Where the state of a store of the first format stands, unless it is empty.
const POSITION: Position = Position { index: 1, term: 1, leader: 1 };

/// Checks all rows as the first format has them, and leaves this format's, in the caller's transaction.
/// The changes that it gives must be written in the same: what the vault's records were not then.
pub(crate) fn from_first_format(
    connection: &Connection,
    opener: &Opener,
) -> Result<(Head, State, Vec<Change>), Error> {
    let (mut head, log_first) = Head::from_first_format(head_row(connection, opener)?.as_bytes())?;
    let count =
        |query| Ok::<_, Error>(unsigned(connection.query_row(query, [], |row| row.get(0))?));
    head.records.rows = count("SELECT count(*) FROM records")?;
    head.blobs.rows = count("SELECT count(*) FROM blobs")?;
    let mut records = FirstVersion::default();
    check_records(connection, opener, &head, |key, value| records.load(key, value))?;
    let (state, changes) = records.finish().map_err(|_| contradiction())?;
    check_rest(connection, opener, &head, &state)?;
    check_log(connection, opener, log_first, head.index)?;
    connection.execute_batch("DELETE FROM log")?;
    if head.index != LogIndex(0) {
        head.applied = Some(POSITION);
        head.committed = Some(POSITION);
        head.log = LogState { purged: Some(POSITION), last: Some(POSITION) };
    }
    database::set_format(connection)?;
    Ok((head, state, changes))
}

/// The log that is dropped was whole: where it was not, somebody was there.
fn check_log(
    connection: &Connection,
    opener: &Opener,
    first: u64,
    applied: LogIndex,
) -> Result<(), Error> {
    let mut expected = first;
    each(connection, "SELECT idx, sealed FROM log ORDER BY idx", |row| {
        let (index, sealed) = (unsigned(row.get(0)?), row.get_ref(1)?.as_blob()?);
        if index != expected {
            return Err(Error::tampered("log", expected, "it is missing"));
        }
        let key = index.to_be_bytes();
        opener.open(&Place { table: Table::Log, key: &key, version: 0 }, sealed)?;
        expected += 1;
        Ok(())
    })?;
    if expected != applied.0.saturating_add(1) {
        return Err(Error::tampered("log", expected, "the log does not end where the state does"));
    }
    Ok(())
}
