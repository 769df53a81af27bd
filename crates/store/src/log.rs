//! The rows of the log: Raft's, each with a payload that only the replication understands.
//!
//! ```text
//! row's plaintext = term u64 | leader u64 | payload
//! ```
//! Indexes are without gaps from one after the last that was purged, or from 0.

use std::ops::Range;

use rusqlite::Connection;

use crate::database::{signed, unsigned};
use crate::sealing::{Opener, Place, Table};
use crate::{Error, Readers};

const NUMBERS_BYTES: usize = 16;

/// Where a log entry stands and whose it is: Raft's log id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Its number, from 0.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// That leader's node number.
    pub leader: u64,
}

/// One log entry of Raft's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its number: one after the last.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// That leader's node number.
    pub leader: u64,
    /// What it says, in the replication's own form; the vault's entries in it are sealed.
    pub payload: Vec<u8>,
}

/// Where the log begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last entry that the log no longer holds.
    pub purged: Option<Position>,
    /// The last entry; `purged` where the log holds none.
    pub last: Option<Position>,
}

impl LogState {
    /// The index that the first entry has, or would have.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        next(self.purged)
    }

    /// The index that the next entry must have.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        next(self.last)
    }
}

fn next(position: Option<Position>) -> u64 {
    position.map_or(0, |position| position.index.saturating_add(1))
}

impl LogRow {
    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { index: self.index, term: self.term, leader: self.leader }
    }

    /// The row's plaintext.
    pub(crate) fn plaintext(&self) -> Vec<u8> {
        [&self.term.to_be_bytes()[..], &self.leader.to_be_bytes(), &self.payload].concat()
    }

    /// Takes a row's plaintext apart; `None` where it is malformed.
    pub(crate) fn parse(index: u64, plaintext: &[u8]) -> Option<Self> {
        let (numbers, payload) = plaintext.split_first_chunk::<NUMBERS_BYTES>()?;
        let numbers = u128::from_be_bytes(*numbers);
        let (term, leader) = ((numbers >> 64) as u64, numbers as u64);
        Some(Self { index, term, leader, payload: payload.to_vec() })
    }

    /// Opens a row of the database.
    pub(crate) fn open(opener: &Opener, index: u64, sealed: &[u8]) -> Result<Self, Error> {
        let key = index.to_be_bytes();
        let plaintext = opener.open(&place(&key), sealed)?;
        Self::parse(index, plaintext.as_bytes())
            .ok_or_else(|| Error::tampered("log", index, "it is malformed"))
    }
}

/// Where a row is kept; `key` is its index, big-endian.
pub(crate) fn place(key: &[u8; 8]) -> Place<'_> {
    Place { table: Table::Log, key, version: 0 }
}

/// The rows of `range` that are there, until their payloads are `bytes_max` bytes together; the first
/// one whatever its length.
pub(crate) fn read(
    connection: &Connection,
    opener: &Opener,
    range: &Range<u64>,
    bytes_max: usize,
) -> Result<Vec<LogRow>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT idx, sealed FROM log WHERE idx >= ?1 AND idx < ?2 ORDER BY idx")?;
    let mut found = statement.query([signed(range.start)?, clamped(range.end)])?;
    let mut rows: Vec<LogRow> = Vec::new();
    let mut bytes = 0_usize;
    while let Some(row) = found.next()? {
        let (index, sealed) = (unsigned(row.get(0)?), row.get_ref(1)?.as_blob()?);
        if let Some(before) = rows.last() {
            if index != before.index + 1 {
                return Err(Error::tampered("log", before.index + 1, "it is missing"));
            }
            bytes = bytes.saturating_add(sealed.len());
            if bytes > bytes_max {
                break;
            }
        } else {
            bytes = sealed.len();
        }
        rows.push(LogRow::open(opener, index, sealed)?);
    }
    Ok(rows)
}

/// The end of a range as the database compares it: "to the end" may be any large number.
fn clamped(end: u64) -> i64 {
    i64::try_from(end).unwrap_or(i64::MAX)
}

/// Reads the log entries that are committed to disk, from any thread, beside the writer.
pub struct LogReader {
    readers: Readers,
}

impl LogReader {
    pub(crate) fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// The entries of `range` that are there, in order and without gaps, until they are `bytes_max`
    /// bytes together; the first one whatever its length. What was purged or is not written yet is
    /// left out.
    ///
    /// # Errors
    /// [`Error::Tampered`] where a row does not open, [`Error::Closed`] after [`LogReader::close`],
    /// or the database's.
    pub fn read(&self, range: &Range<u64>, bytes_max: usize) -> Result<Vec<LogRow>, Error> {
        self.readers.with(|connection, opener| read(connection, opener, range, bytes_max))
    }

    /// Closes the connections: the folder may then be another process's.
    pub fn close(&self) {
        self.readers.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let row = LogRow { index: 7, term: 3, leader: 2, payload: b"payload".to_vec() };
        assert_eq!(LogRow::parse(7, &row.plaintext()), Some(row));
        assert_eq!(LogRow::parse(7, &[0; 15]), None);
    }

    #[test]
    fn a_log_goes_on_after_what_was_purged() {
        let at = |index| Some(Position { index, term: 1, leader: 1 });
        assert_eq!(LogState::default().first_index(), 0);
        assert_eq!(LogState::default().next_index(), 0);
        let state = LogState { purged: at(4), last: at(9) };
        assert_eq!((state.first_index(), state.next_index()), (5, 10));
    }
}
