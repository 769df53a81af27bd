//! Writing one batch into one transaction.

use std::collections::BTreeMap;
use std::ops::Range;

use prost::Message;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use strongroom_vault::{Change, LogIndex, ObjectId};
use zeroize::Zeroizing;

use crate::audit::Kind;
use crate::database::{signed, unsigned};
use crate::head::Head;
use crate::sealing::{Opener, Place, Sealer, Table};
use crate::tally::{Share, Tally};
use crate::{Applied, Batch, Error, LogRow, LogState, Position, kept, log, membership};

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
    opener: &'a Opener,
    sealer: &'a mut Sealer,
    pub(crate) head: &'a mut Head,
}

impl<'a> Writer<'a> {
    /// `connection` must be in a transaction.
    pub(crate) fn new(
        connection: &'a Connection,
        opener: &'a Opener,
        sealer: &'a mut Sealer,
        head: &'a mut Head,
    ) -> Self {
        Self { connection, opener, sealer, head }
    }

    /// All of a batch.
    pub(crate) fn batch(&mut self, batch: &Batch) -> Result<(), Error> {
        if let Some(from) = batch.truncate_from {
            self.truncate(from)?;
        }
        for row in &batch.append {
            self.append(row)?;
        }
        if let Some(vote) = &batch.vote {
            self.head.vote = Some(vote.clone());
        }
        if let Some(committed) = batch.committed {
            self.head.committed = Some(committed);
        }
        if !batch.applied.is_empty() && batch.applied_to.is_none() {
            return Err(Error::Bug("entries are applied and it is not said up to where"));
        }
        self.applied(&batch.applied)?;
        if let Some((position, membership)) = &batch.applied_to {
            self.applied_to(*position, membership.as_deref())?;
        }
        for block in &batch.uses {
            self.audit(Kind::Uses, block)?;
        }
        match batch.purge_to {
            Some(position) => self.purge(position),
            None => Ok(()),
        }
    }

    /// The log loses its end, from `from` on.
    fn truncate(&mut self, from: u64) -> Result<(), Error> {
        if from < self.head.log.first_index() || self.is_applied(from) {
            return Err(Error::Bug("an entry that was applied is taken back"));
        }
        if from >= self.head.log.next_index() {
            return Ok(());
        }
        self.forget(from..self.head.log.next_index())?;
        self.head.log.last = match from.checked_sub(1) {
            Some(index) if index >= self.head.log.first_index() => Some(self.position(index)?),
            _ => self.head.log.purged,
        };
        Ok(())
    }

    fn is_applied(&self, index: u64) -> bool {
        self.head.applied.is_some_and(|applied| index <= applied.index)
    }

    /// Where a row of the log stands.
    fn position(&self, index: u64) -> Result<Position, Error> {
        let sealed: Vec<u8> = self
            .connection
            .prepare_cached("SELECT sealed FROM log WHERE idx = ?1")?
            .query_row([signed(index)?], |row| row.get(0))
            .optional()?
            .ok_or_else(|| Error::tampered("log", index, "it is missing"))?;
        Ok(LogRow::open(self.opener, index, &sealed)?.position())
    }

    fn append(&mut self, row: &LogRow) -> Result<(), Error> {
        if row.index != self.head.log.next_index() {
            return Err(Error::Bug("a log entry is not the next one"));
        }
        let key = row.index.to_be_bytes();
        let place = log::place(&key);
        let sealed = self.sealer.seal(&place, &row.plaintext())?;
        self.head.log_rows.add(&Share::of(self.head.tally_key(), &place, &sealed));
        self.connection
            .prepare_cached("INSERT INTO log(idx, sealed) VALUES (?1, ?2)")?
            .execute((signed(row.index)?, sealed))?;
        self.head.log.last = Some(row.position());
        Ok(())
    }

    /// Records, blobs and audit records of applied entries.
    fn applied(&mut self, entries: &[Applied]) -> Result<(), Error> {
        for entry in entries {
            if entry.index.0 != self.head.index.0 + 1 {
                return Err(Error::Bug("an entry is not the next one"));
            }
            self.audit(Kind::Change, &entry.audit.encode_to_vec())?;
            self.head.index = entry.index;
        }
        self.net(Net::of(entries))
    }

    /// Changes that come of no entry.
    pub(crate) fn changes(&mut self, changes: &[Change]) -> Result<(), Error> {
        let mut net = Net::default();
        changes.iter().for_each(|change| net.fold(self.head.index, change));
        self.net(net)
    }

    fn net(&mut self, net: Net<'_>) -> Result<(), Error> {
        if net.clear {
            self.clear()?;
        }
        for (key, latest) in net.records {
            match latest {
                Some((value, index)) => self.put_record(key, value, index)?,
                None => self.put(Table::Records, &self.head.record_key(key), None)?,
            }
        }
        for (id, latest) in net.blobs {
            self.put(Table::Blobs, &id.0, latest)?;
        }
        Ok(())
    }

    /// Deletes all records and blobs.
    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        self.connection.execute_batch("DELETE FROM records; DELETE FROM blobs;")?;
        self.head.records = Tally::default();
        self.head.blobs = Tally::default();
        Ok(())
    }

    fn applied_to(&mut self, position: Position, membership: Option<&[u8]>) -> Result<(), Error> {
        if self.head.applied.is_some_and(|applied| position.index < applied.index) {
            return Err(Error::Bug("the applied position goes back"));
        }
        if position.index >= self.head.log.next_index() {
            return Err(Error::Bug("an entry is applied that the log does not have"));
        }
        self.head.applied = Some(position);
        match membership {
            Some(membership) => self.membership(membership),
            None => Ok(()),
        }
    }

    pub(crate) fn membership(&mut self, membership: &[u8]) -> Result<(), Error> {
        self.head.memberships += 1;
        let sealed = self.sealer.seal(&membership::place(self.head.memberships), membership)?;
        self.meta(membership::NAME, sealed)
    }

    /// What a witness keeps.
    pub(crate) fn kept(&mut self, row: &[u8]) -> Result<(), Error> {
        self.head.kept += 1;
        let sealed = self.sealer.seal(&kept::place(self.head.kept), row)?;
        self.meta(kept::NAME, sealed)
    }

    /// A snapshot has taken the state's place.
    pub(crate) fn stands_at(&mut self, snapshot: Position) {
        self.head.applied = Some(snapshot);
        if self.head.committed.is_none_or(|committed| committed.index < snapshot.index) {
            self.head.committed = Some(snapshot);
        }
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

    /// The log forgets its beginning, up to `to`.
    fn purge(&mut self, to: Position) -> Result<(), Error> {
        if !self.is_applied(to.index) {
            return Err(Error::Bug("an entry is forgotten that was not applied"));
        }
        let first = self.head.log.first_index();
        if to.index < first {
            return Ok(());
        }
        let end = to.index + 1;
        self.forget(first..end.min(self.head.log.next_index()))?;
        if end >= self.head.log.next_index() {
            self.head.log.last = Some(to);
        }
        self.head.log.purged = Some(to);
        Ok(())
    }

    /// The log after a snapshot: what follows its entry, where the log has that entry; else nothing.
    pub(crate) fn forget_log_up_to(&mut self, snapshot: Position) -> Result<(), Error> {
        let LogState { purged, last } = self.head.log;
        let (first, next) = (self.head.log.first_index(), self.head.log.next_index());
        let has_it = purged == Some(snapshot)
            || ((first..next).contains(&snapshot.index)
                && self.position(snapshot.index)? == snapshot);
        let end = if has_it { first.max(snapshot.index + 1) } else { next };
        self.forget(first..end)?;
        let last = if end < next { last } else { Some(snapshot) };
        self.head.log = LogState { purged: Some(snapshot), last };
        Ok(())
    }

    /// Deletes rows of the log.
    fn forget(&mut self, range: Range<u64>) -> Result<(), Error> {
        let bounds = [signed(range.start)?, signed(range.end)?];
        let mut statement = self
            .connection
            .prepare_cached("SELECT idx, sealed FROM log WHERE idx >= ?1 AND idx < ?2")?;
        let mut rows = statement.query(bounds)?;
        while let Some(row) = rows.next()? {
            let key = unsigned(row.get(0)?).to_be_bytes();
            let share =
                Share::of(self.head.tally_key(), &log::place(&key), row.get_ref(1)?.as_blob()?);
            self.head.log_rows.remove(&share);
        }
        self.connection
            .prepare_cached("DELETE FROM log WHERE idx >= ?1 AND idx < ?2")?
            .execute(bounds)?;
        Ok(())
    }

    /// Writes the head: the last thing before the commit.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let plaintext = Zeroizing::new(self.head.to_message().encode_to_vec());
        let sealed = self.sealer.seal(&Head::place(), &plaintext)?;
        self.meta(Head::name(), sealed)
    }

    fn meta(&self, name: &str, sealed: Vec<u8>) -> Result<(), Error> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO meta(name, sealed) VALUES (?1, ?2)")?
            .execute((name, sealed))?;
        Ok(())
    }

    /// Writes or replaces a record.
    fn put_record(&mut self, key: &[u8], value: &[u8], index: LogIndex) -> Result<(), Error> {
        let plaintext = join_record(key, value);
        self.put(Table::Records, &self.head.record_key(key), Some((&plaintext, index)))
    }

    /// Writes a record of a snapshot, which has each once.
    pub(crate) fn insert_record(
        &mut self,
        key: &[u8],
        value: &[u8],
        index: LogIndex,
    ) -> Result<(), Error> {
        let plaintext = join_record(key, value);
        self.insert(Table::Records, &self.head.record_key(key), &plaintext, index)
    }

    /// Writes, replaces or deletes a row that is tallied.
    fn put(&mut self, table: Table, key: &[u8], latest: Latest<'_>) -> Result<(), Error> {
        let statements = Statements::of(table)?;
        let old: Option<(i64, Vec<u8>)> = self
            .connection
            .prepare_cached(statements.select)?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((version, sealed)) = &old {
            let place = Place { table, key, version: unsigned(*version) };
            let share = Share::of(self.head.tally_key(), &place, sealed);
            self.head.tally(table)?.remove(&share);
        }
        match latest {
            Some((plaintext, index)) => {
                let sealed = self.sealed(table, key, plaintext, index)?;
                let row = (key, signed(index.0)?, sealed);
                self.connection.prepare_cached(statements.put)?.execute(row)?;
            }
            None if old.is_some() => {
                self.connection.prepare_cached(statements.delete)?.execute([key])?;
            }
            None => {}
        }
        Ok(())
    }

    /// Writes a row of a snapshot, which has each once.
    pub(crate) fn insert(
        &mut self,
        table: Table,
        key: &[u8],
        plaintext: &[u8],
        index: LogIndex,
    ) -> Result<(), Error> {
        let sealed = self.sealed(table, key, plaintext, index)?;
        let row = (key, signed(index.0)?, sealed);
        let inserted = self.connection.prepare_cached(Statements::of(table)?.insert)?.execute(row);
        match inserted {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(Error::Snapshot("a row comes twice"))
            }
            inserted => inserted.map(|_| ()).map_err(Error::from),
        }
    }

    /// Seals a row and counts it in.
    fn sealed(
        &mut self,
        table: Table,
        key: &[u8],
        plaintext: &[u8],
        index: LogIndex,
    ) -> Result<Vec<u8>, Error> {
        let place = Place { table, key, version: index.0 };
        let sealed = self.sealer.seal(&place, plaintext)?;
        let share = Share::of(self.head.tally_key(), &place, &sealed);
        self.head.tally(table)?.add(&share);
        Ok(sealed)
    }
}

/// The statements of a table that is tallied.
struct Statements {
    select: &'static str,
    insert: &'static str,
    put: &'static str,
    delete: &'static str,
}

impl Statements {
    fn of(table: Table) -> Result<Self, Error> {
        match table {
            Table::Records => Ok(Self {
                select: "SELECT version, sealed FROM records WHERE key = ?1",
                insert: "INSERT INTO records(key, version, sealed) VALUES (?1, ?2, ?3)",
                put: "INSERT OR REPLACE INTO records(key, version, sealed) VALUES (?1, ?2, ?3)",
                delete: "DELETE FROM records WHERE key = ?1",
            }),
            Table::Blobs => Ok(Self {
                select: "SELECT version, sealed FROM blobs WHERE id = ?1",
                insert: "INSERT INTO blobs(id, version, sealed) VALUES (?1, ?2, ?3)",
                put: "INSERT OR REPLACE INTO blobs(id, version, sealed) VALUES (?1, ?2, ?3)",
                delete: "DELETE FROM blobs WHERE id = ?1",
            }),
            Table::Meta | Table::Log | Table::Audit => Err(Error::Bug("a table without a tally")),
        }
    }
}

/// A record's plaintext: the length of its key in 4 bytes, the key, the value. The key in the
/// database is only a hash.
pub(crate) fn join_record(key: &[u8], value: &[u8]) -> Zeroizing<Vec<u8>> {
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
