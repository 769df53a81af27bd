//! Opening a store: every row is checked, and the vault's state is built from them. A store of the first
//! format becomes one of this format in the same transaction ([`crate::migrate`]).
//!
//! Of the audit chain, which grows for years, only the last rows are checked here;
//! [`Store::verify_audit`] checks all.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use strongroom_crypto::SecretBytes;
use strongroom_vault::{State, codec};

use crate::audit::{self, Chain, Record, StartRecord};
use crate::database::{self, Existing, signed, unsigned};
use crate::head::Head;
use crate::sealing::{Boot, BootRow, Opener, Place, Sealer, Table};
use crate::tally::{Share, Tally};
use crate::write::Writer;
use crate::{BlobReader, Error, Folder, Inbox, LogRow, Readers, Secrets, Store};
use crate::{incoming, kept, log, membership, migrate, quarantine};

/// Audit rows that are checked at each start.
const AUDIT_ROWS_CHECKED: u64 = 10_000;

impl Store {
    /// Opens the store of a folder, makes it where there is none, and checks all of it.
    ///
    /// # Errors
    /// [`Error::Tampered`] with the table and row that does not check: the HSM must then refuse
    /// service. [`Error::Format`] for a newer store, or the database's errors.
    pub fn open(folder: Folder, secrets: Arc<Secrets>) -> Result<(Self, State, BlobReader), Error> {
        quarantine::finish(&folder)?;
        let path = folder.private_file(database::FILE)?;
        let mut connection = database::open_writer(&path)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let existing = database::prepare(&transaction)?;
        let mut opener = Opener::new(secrets.clone(), boots(&transaction)?);
        let (mut head, state, changes) = match existing {
            Existing::No => (Head::new()?, State::new(), Vec::new()),
            Existing::FirstFormat => migrate::from_first_format(&transaction, &opener)?,
            Existing::Yes => {
                let (head, state) = check(&transaction, &opener)?;
                (head, state, Vec::new())
            }
        };
        let membership = membership::read(&transaction, &opener, &head)?;
        let kept = kept::read(&transaction, &opener, &head, folder.path())?;

        let row = BootRow::next(opener.last_boot(), &secrets)?;
        opener.insert(row);
        let mut sealer = Sealer::new(&secrets, &row)?;
        insert_boot(&transaction, &row)?;
        let start = StartRecord {
            boot: row.boot.number,
            after_clean_stop: head.clean,
            applied: head.index.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        head.clean = false;
        let mut writer = Writer::new(&transaction, &opener, &mut sealer, &mut head);
        writer.changes(&changes)?;
        writer.audit(audit::Kind::Start, &prost::Message::encode_to_vec(&start))?;
        writer.finish()?;
        transaction.commit()?;
        let kept_file = kept.as_ref().map(|_| kept::file_name(head.kept));
        incoming::clean(folder.path(), kept_file.as_deref())?;

        let opener = Arc::new(opener);
        let reader = BlobReader::new(Readers::new(path.clone(), opener.clone()));
        let store = Self {
            connection,
            inbox: Inbox::new(folder.path()),
            folder,
            path,
            opener,
            sealer,
            head,
            membership,
            kept,
            boot: row.boot,
            failed: false,
        };
        Ok((store, state, reader))
    }
}

fn boots(connection: &Connection) -> Result<Vec<BootRow>, Error> {
    let mut statement =
        connection.prepare("SELECT boot, salt, state_epoch, audit_epoch FROM boots")?;
    let mut rows = statement.query([])?;
    let mut boots = Vec::new();
    while let Some(row) = rows.next()? {
        let number = unsigned(row.get(0)?);
        let salt = row.get::<_, Vec<u8>>(1)?;
        let salt = salt
            .try_into()
            .map_err(|_| Error::tampered("boots", number, "its salt is not 16 bytes long"))?;
        boots.push(BootRow {
            boot: Boot { number, salt },
            state_epoch: unsigned(row.get(2)?),
            audit_epoch: unsigned(row.get(3)?),
        });
    }
    Ok(boots)
}

fn insert_boot(connection: &Connection, row: &BootRow) -> Result<(), Error> {
    connection.execute(
        "INSERT INTO boots(boot, salt, state_epoch, audit_epoch) VALUES (?1, ?2, ?3, ?4)",
        (
            signed(row.boot.number)?,
            &row.boot.salt[..],
            signed(row.state_epoch)?,
            signed(row.audit_epoch)?,
        ),
    )?;
    Ok(())
}

/// Checks all rows, and gives the head and the state.
fn check(connection: &Connection, opener: &Opener) -> Result<(Head, State), Error> {
    let head = Head::from_bytes(head_row(connection, opener)?.as_bytes())?;
    check_log(connection, opener, &head)?;
    let mut state = State::new();
    check_records(connection, opener, &head, |key, value| state.load(key, value))?;
    state.finish_load().map_err(|_| contradiction())?;
    check_rest(connection, opener, &head, &state)?;
    Ok((head, state))
}

/// The head's plaintext.
pub(crate) fn head_row(connection: &Connection, opener: &Opener) -> Result<SecretBytes, Error> {
    let sealed: Vec<u8> = connection
        .query_row("SELECT sealed FROM meta WHERE name = ?1", [Head::name()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Error::tampered("meta", Head::name(), "it is missing"))?;
    opener.open(&Head::place(), &sealed)
}

/// Checks blobs, the end of the audit chain, and that the state is the head's.
pub(crate) fn check_rest(
    connection: &Connection,
    opener: &Opener,
    head: &Head,
    state: &State,
) -> Result<(), Error> {
    blobs(connection, opener, head)?;
    let checked_from = head.audit.sequence.saturating_sub(AUDIT_ROWS_CHECKED) + 1;
    audit_chain(connection, opener, head, checked_from)?;
    if state.applied() != head.index {
        return Err(Error::tampered("meta", Head::name(), "the records are of another index"));
    }
    Ok(())
}

/// What to say where the vault does not accept its records as a whole.
pub(crate) fn contradiction() -> Error {
    Error::tampered("records", "all", "the records contradict one another")
}

/// Checks the vault's records, and hands each to `load`.
pub(crate) fn check_records(
    connection: &Connection,
    opener: &Opener,
    head: &Head,
    mut load: impl FnMut(&[u8], &[u8]) -> Result<(), codec::Error>,
) -> Result<(), Error> {
    let mut tally = Tally::default();
    each(connection, "SELECT key, version, sealed FROM records", |row| {
        let (key, version) = (row.get_ref(0)?.as_blob()?, unsigned(row.get(1)?));
        let sealed = row.get_ref(2)?.as_blob()?;
        let place = Place { table: Table::Records, key, version };
        let plaintext = opener.open(&place, sealed)?;
        tally.add(&Share::of(head.tally_key(), &place, sealed));
        let malformed = |reason| Error::tampered("records", format!("version {version}"), reason);
        let (key, value) = crate::write::split_record(plaintext.as_bytes())
            .ok_or_else(|| malformed("it is malformed"))?;
        load(key, value).map_err(|_| malformed("the vault does not know its form"))
    })?;
    same(tally, head.records, "records")
}

fn blobs(connection: &Connection, opener: &Opener, head: &Head) -> Result<(), Error> {
    let mut tally = Tally::default();
    each(connection, "SELECT id, version, sealed FROM blobs", |row| {
        let (key, version) = (row.get_ref(0)?.as_blob()?, unsigned(row.get(1)?));
        let sealed = row.get_ref(2)?.as_blob()?;
        let place = Place { table: Table::Blobs, key, version };
        opener.open(&place, sealed)?;
        tally.add(&Share::of(head.tally_key(), &place, sealed));
        Ok(())
    })?;
    same(tally, head.blobs, "blobs")
}

/// The log is without gaps between the head's two ends, and the applied position is within it.
fn check_log(connection: &Connection, opener: &Opener, head: &Head) -> Result<(), Error> {
    let mut tally = Tally::default();
    let mut expected = head.log.first_index();
    let mut last = head.log.purged;
    each(connection, "SELECT idx, sealed FROM log ORDER BY idx", |row| {
        let (index, sealed) = (unsigned(row.get(0)?), row.get_ref(1)?.as_blob()?);
        if index != expected {
            return Err(Error::tampered("log", expected, "it is missing"));
        }
        let position = LogRow::open(opener, index, sealed)?.position();
        tally.add(&Share::of(head.tally_key(), &log::place(&index.to_be_bytes()), sealed));
        last = Some(position);
        expected += 1;
        Ok(())
    })?;
    if last != head.log.last {
        return Err(Error::tampered("log", expected, "the log has another end"));
    }
    same(tally, head.log_rows, "log")?;
    let applied = head.applied.map(|position| position.index);
    let within = applied.is_none_or(|applied| applied < head.log.next_index())
        && head.log.purged.is_none_or(|purged| applied >= Some(purged.index));
    if !within {
        return Err(Error::tampered("meta", Head::name(), "what is applied is not in the log"));
    }
    Ok(())
}

fn same(found: Tally, head: Tally, table: &'static str) -> Result<(), Error> {
    if found == head {
        return Ok(());
    }
    Err(Error::tampered(table, "all", "a row is missing, foreign or old"))
}

/// Checks the audit chain from record `from` to the head.
pub(crate) fn audit_chain(
    connection: &Connection,
    opener: &Opener,
    head: &Head,
    from: u64,
) -> Result<(), Error> {
    // The record before `from` is believed; its seal is checked all the same.
    let mut chain = Chain::default();
    if from > 1 {
        let before = audit_records(connection, opener, from - 1, 1)?;
        let before = before.first().ok_or_else(|| missing_audit(from - 1))?;
        chain = before.chain();
    }
    let query =
        format!("SELECT seq, sealed FROM audit WHERE seq >= {} ORDER BY seq", signed(from)?);
    each(connection, &query, |row| {
        let record = audit_record(opener, row)?;
        if record.sequence != chain.sequence + 1 {
            return Err(missing_audit(chain.sequence + 1));
        }
        if !record.follows(&chain) {
            return Err(Error::tampered("audit", record.sequence, "the chain is broken"));
        }
        chain = record.chain();
        Ok(())
    })?;
    if chain != head.audit {
        return Err(Error::tampered("audit", head.audit.sequence, "the chain has another end"));
    }
    Ok(())
}

/// Up to `count` audit records from `from` on.
pub(crate) fn audit_records(
    connection: &Connection,
    opener: &Opener,
    from: u64,
    count: usize,
) -> Result<Vec<Record>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT seq, sealed FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = statement.query((signed(from)?, signed(count as u64)?))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(audit_record(opener, row)?);
    }
    Ok(records)
}

fn audit_record(opener: &Opener, row: &Row<'_>) -> Result<Record, Error> {
    let (sequence, sealed): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
    let sequence = unsigned(sequence);
    let place = Place { table: Table::Audit, key: &sequence.to_be_bytes(), version: 0 };
    let plaintext = opener.open(&place, &sealed)?;
    Record::parse(sequence, &plaintext)
        .ok_or_else(|| Error::tampered("audit", sequence, "it is malformed"))
}

fn missing_audit(sequence: u64) -> Error {
    Error::tampered("audit", sequence, "it is missing")
}

/// Calls `with` for each row.
pub(crate) fn each(
    connection: &Connection,
    query: &str,
    mut with: impl FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        with(row)?;
    }
    Ok(())
}
