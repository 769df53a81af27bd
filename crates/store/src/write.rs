//! Writing one batch into one transaction.

use std::collections::BTreeMap;

use prost::Message;
use rusqlite::{Connection, OptionalExtension};
use strongroom_vault::{Change, LogIndex, ObjectId};
use zeroize::Zeroizing;

use crate::audit::Kind;
use crate::database::{signed, unsigned};
use crate::head::Head;
use crate::sealing::{Place, Sealer, Table};
use crate::tally::{Share, Tally};
use crate::{Applied, Error};

/// What one batch leaves of a row: its value and the index that wrote it, or nothing.
type Latest<'a> = Option<(&'a [u8], LogIndex)>;

/// What one batch leaves, where an entry may undo an earlier one's change.
#[derive(Default)]
struct Net<'a> {
    /// Whether all that was there before the batch goes.
    clear: bool,
    records: BTreeMap<&'a [u8], Latest<'a>>,
    blobs: BTreeMap<ObjectId, Latest<'a>>,
}

impl<'a> Net<'a> {
    fn of(entries: &'a [Applied]) -> Self {
        let mut net = Self::default();
        for entry in entries {
            for change in &entry.changes {
                net.fold(entry.index, change);
            }
        }
        net
    }

    fn fold(&mut self, index: LogIndex, change: &'a Change) {
        match change {
            Change::Put { key, value } => {
                self.records.insert(key, Some((value, index)));
            }
            Change::Delete { key } => {
                self.records.insert(key, None);
            }
            Change::PutBlob { id, blob } => {
                self.blobs.insert(*id, Some((blob, index)));
            }
            Change::DeleteBlob { id } => {
                self.blobs.insert(*id, None);
            }
            Change::Clear => *self = Self { clear: true, ..Self::default() },
        }
    }
}

/// Writes into one transaction, and into the head that ends it.
pub(crate) struct Writer<'a> {
    connection: &'a Connection,
    sealer: &'a mut Sealer,
    head: &'a mut Head,
}

impl<'a> Writer<'a> {
    /// `connection` must be in a transaction.
    pub(crate) fn new(
        connection: &'a Connection,
        sealer: &'a mut Sealer,
        head: &'a mut Head,
    ) -> Self {
        Self { connection, sealer, head }
    }

    /// Log rows, records, blobs and audit records of applied entries.
    pub(crate) fn entries(&mut self, entries: &[Applied]) -> Result<(), Error> {
        for entry in entries {
            if entry.index.0 != self.head.applied.0 + 1 {
                return Err(Error::Bug("an entry is not the next one"));
            }
            self.log(entry)?;
            self.audit(Kind::Change, &entry.audit.encode_to_vec())?;
            self.head.applied = entry.index;
        }
        let net = Net::of(entries);
        if net.clear {
            self.connection.execute_batch("DELETE FROM records; DELETE FROM blobs;")?;
            self.head.records = Tally::default();
            self.head.blobs = Tally::default();
        }
        for (key, latest) in net.records {
            let row = self.head.record_key(key);
            let plaintext = latest.map(|(value, _)| join_record(key, value));
            let index = latest.map(|(_, index)| index);
            self.put(Table::Records, &row, plaintext.as_ref().map(|plain| &plain[..]), index)?;
        }
        for (id, latest) in net.blobs {
            let blob = latest.map(|(blob, _)| blob);
            self.put(Table::Blobs, &id.0, blob, latest.map(|(_, index)| index))?;
        }
        Ok(())
    }

    /// Appends an audit record.
    pub(crate) fn audit(&mut self, kind: Kind, body: &[u8]) -> Result<(), Error> {
        let plaintext = self.head.audit.append(kind, body);
        let sequence = self.head.audit.sequence;
        let place = Place { table: Table::Audit, key: &sequence.to_be_bytes(), version: 0 };
        let sealed = self.sealer.seal(&place, &plaintext)?;
        self.connection
            .prepare_cached("INSERT INTO audit(seq, sealed) VALUES (?1, ?2)")?
            .execute((signed(sequence)?, sealed))?;
        Ok(())
    }

    /// Forgets log entries before `first`.
    pub(crate) fn compact(&mut self, first: LogIndex) -> Result<(), Error> {
        let first = LogIndex(first.0.min(self.head.applied.0 + 1));
        if first <= self.head.log_first {
            return Ok(());
        }
        self.connection
            .prepare_cached("DELETE FROM log WHERE idx < ?1")?
            .execute([signed(first.0)?])?;
        self.head.log_first = first;
        Ok(())
    }

    /// Writes the head: the last thing before the commit.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let plaintext = Zeroizing::new(self.head.to_message().encode_to_vec());
        let sealed = self.sealer.seal(&Head::place(), &plaintext)?;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO meta(name, sealed) VALUES (?1, ?2)")?
            .execute((Head::name(), sealed))?;
        Ok(())
    }

    fn log(&mut self, entry: &Applied) -> Result<(), Error> {
        let key = entry.index.0.to_be_bytes();
        let place = Place { table: Table::Log, key: &key, version: 0 };
        let sealed = self.sealer.seal(&place, &entry.sealed)?;
        self.connection
            .prepare_cached("INSERT INTO log(idx, sealed) VALUES (?1, ?2)")?
            .execute((signed(entry.index.0)?, sealed))?;
        Ok(())
    }

    /// Writes, replaces or deletes a row that is tallied.
    fn put(
        &mut self,
        table: Table,
        key: &[u8],
        plaintext: Option<&[u8]>,
        index: Option<LogIndex>,
    ) -> Result<(), Error> {
        let statements = Statements::of(table)?;
        let old: Option<(i64, Vec<u8>)> = self
            .connection
            .prepare_cached(statements.select)?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((version, sealed)) = &old {
            let place = Place { table, key, version: unsigned(*version) };
            let share = Share::of(self.head.tally_key(), &place, sealed);
            self.tally(table).remove(&share);
        }
        match (plaintext, index) {
            (Some(plaintext), Some(index)) => {
                let place = Place { table, key, version: index.0 };
                let sealed = self.sealer.seal(&place, plaintext)?;
                let share = Share::of(self.head.tally_key(), &place, &sealed);
                self.tally(table).add(&share);
                self.connection.prepare_cached(statements.put)?.execute((
                    key,
                    signed(index.0)?,
                    sealed,
                ))?;
            }
            _ if old.is_some() => {
                self.connection.prepare_cached(statements.delete)?.execute([key])?;
            }
            _ => {}
        }
        Ok(())
    }

    fn tally(&mut self, table: Table) -> &mut Tally {
        if table == Table::Blobs { &mut self.head.blobs } else { &mut self.head.records }
    }
}

/// The statements of a table that is tallied.
struct Statements {
    select: &'static str,
    put: &'static str,
    delete: &'static str,
}

impl Statements {
    fn of(table: Table) -> Result<Self, Error> {
        match table {
            Table::Records => Ok(Self {
                select: "SELECT version, sealed FROM records WHERE key = ?1",
                put: "INSERT OR REPLACE INTO records(key, version, sealed) VALUES (?1, ?2, ?3)",
                delete: "DELETE FROM records WHERE key = ?1",
            }),
            Table::Blobs => Ok(Self {
                select: "SELECT version, sealed FROM blobs WHERE id = ?1",
                put: "INSERT OR REPLACE INTO blobs(id, version, sealed) VALUES (?1, ?2, ?3)",
                delete: "DELETE FROM blobs WHERE id = ?1",
            }),
            Table::Meta | Table::Log | Table::Audit => Err(Error::Bug("a table without a tally")),
        }
    }
}

/// A record's plaintext: the length of its key in 4 bytes, the key, the value. The key in the
/// database is only a hash.
fn join_record(key: &[u8], value: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([&(key.len() as u32).to_be_bytes(), key, value].concat())
}

/// Takes a record's plaintext apart into key and value.
pub(crate) fn split_record(plaintext: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = plaintext.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(index: u64, changes: Vec<Change>) -> Applied {
        Applied { index: LogIndex(index), changes, ..Applied::default() }
    }

    fn put(key: &[u8], value: &[u8]) -> Change {
        Change::Put { key: key.to_vec(), value: value.to_vec() }
    }

    #[test]
    fn the_last_change_of_a_batch_stands() {
        let entries = [
            applied(1, vec![put(b"a", b"1"), put(b"b", b"1")]),
            applied(2, vec![put(b"a", b"2"), Change::Delete { key: b"b".to_vec() }]),
        ];
        let net = Net::of(&entries);
        assert!(!net.clear);
        assert_eq!(net.records[&b"a"[..]], Some((&b"2"[..], LogIndex(2))));
        assert_eq!(net.records[&b"b"[..]], None);
    }

    #[test]
    fn what_follows_a_clear_stays() {
        let id = ObjectId([1; 16]);
        let entries = [
            applied(1, vec![put(b"a", b"1"), Change::PutBlob { id, blob: b"x".to_vec() }]),
            applied(2, vec![Change::Clear, put(b"b", b"2")]),
        ];
        let net = Net::of(&entries);
        assert!(net.clear);
        assert_eq!(net.records.keys().collect::<Vec<_>>(), [b"b"]);
        assert!(net.blobs.is_empty());
    }

    #[test]
    fn a_record_is_split_where_it_was_joined() {
        let record = join_record(b"key", b"value");
        assert_eq!(split_record(&record), Some((&b"key"[..], &b"value"[..])));
        assert_eq!(split_record(&record[..6]), None);
        assert_eq!(split_record(&[0, 0]), None);
    }
}
