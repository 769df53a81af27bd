//! Opening a store: every row is checked, and the vault's state is built from them.
//!
//! Of the audit chain, which grows for years, only the last rows are checked here;
//! [`Store::verify_audit`] checks all.

use std::sync::Arc;

use rusqlite::{Connection, Row, TransactionBehavior};
use strongroom_vault::{LogIndex, State};

use crate::audit::{self, Chain, Record, StartRecord};
use crate::database::{self, Existing, signed, unsigned};
use crate::head::Head;
use crate::sealing::{Boot, BootRow, Opener, Place, Sealer, Table};
use crate::tally::{Share, Tally};
use crate::write::Writer;
use crate::{BlobReader, Error, Folder, Secrets, Store};

/// Audit rows that are checked at each start.
const AUDIT_ROWS_CHECKED: u64 = 10_000;

impl Store {
    /// Opens the store of a folder, makes it where there is none, and checks all of it.
    ///
    /// # Errors
    /// [`Error::Tampered`] with the table and row that does not check: the HSM must then refuse
    /// service. [`Error::Format`] for a newer store, or the database's errors.
    pub fn open(folder: Folder, secrets: Arc<Secrets>) -> Result<(Self, State, BlobReader), Error> {
        let path = folder.private_file(database::FILE)?;
        let mut connection = database::open_writer(&path)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let existing = database::prepare(&transaction)?;
        let mut opener = Opener::new(secrets.clone(), boots(&transaction)?);
        let (mut head, state) = match existing {
            Existing::No => (Head::new()?, State::new()),
            Existing::Yes => check(&transaction, &opener)?,
        };

        let row = BootRow::next(opener.last_boot(), &secrets)?;
        opener.insert(row);
        let mut sealer = Sealer::new(&secrets, &row)?;
        insert_boot(&transaction, &row)?;
        let start = StartRecord {
            boot: row.boot.number,
            after_clean_stop: head.clean,
            applied: head.applied.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        head.clean = false;
        let mut writer = Writer::new(&transaction, &mut sealer, &mut head);
        writer.audit(audit::Kind::Start, &prost::Message::encode_to_vec(&start))?;
        writer.finish()?;
        transaction.commit()?;

        let opener = Arc::new(opener);
        let reader = BlobReader::new(path, opener.clone());
        let store = Self::new(connection, folder, opener, sealer, head, row.boot);
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
    let head = head(connection, opener)?;
    let state = records(connection, opener, &head)?;
    blobs(connection, opener, &head)?;
    log(connection, opener, &head)?;
    let checked_from = head.audit.sequence.saturating_sub(AUDIT_ROWS_CHECKED) + 1;
    audit_chain(connection, opener, &head, checked_from)?;
    if state.applied() != head.applied {
        return Err(Error::tampered("meta", Head::name(), "the records are of another index"));
    }
    Ok((head, state))
}

fn head(connection: &Connection, opener: &Opener) -> Result<Head, Error> {
    let mut statement = connection.prepare("SELECT sealed FROM meta WHERE name = ?1")?;
    let mut rows = statement.query([Head::name()])?;
    let missing = || Error::tampered("meta", Head::name(), "it is missing");
    let sealed: Vec<u8> = rows.next()?.ok_or_else(missing)?.get(0)?;
    Head::from_bytes(opener.open(&Head::place(), &sealed)?.as_bytes())
}

fn records(connection: &Connection, opener: &Opener, head: &Head) -> Result<State, Error> {
    let mut state = State::new();
    let mut tally = Tally::default();
    each(connection, "SELECT key, version, sealed FROM records", |row| {
        let (key, version, sealed): (Vec<u8>, i64, Vec<u8>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = Place { table: Table::Records, key: &key, version: unsigned(version) };
        let plaintext = opener.open(&place, &sealed)?;
        tally.add(&Share::of(head.tally_key(), &place, &sealed));
        let malformed = |reason| Error::tampered("records", format!("version {version}"), reason);
        let (key, value) = crate::write::split_record(plaintext.as_bytes())
            .ok_or_else(|| malformed("it is malformed"))?;
        state.load(key, value).map_err(|_| malformed("the vault does not know its form"))
    })?;
    if tally != head.records {
        return Err(Error::tampered("records", "all", "a row is missing, foreign or old"));
    }
    state
        .finish_load()
        .map_err(|_| Error::tampered("records", "all", "the records contradict one another"))?;
    Ok(state)
}

fn blobs(connection: &Connection, opener: &Opener, head: &Head) -> Result<(), Error> {
    let mut tally = Tally::default();
    each(connection, "SELECT id, version, sealed FROM blobs", |row| {
        let (id, version, sealed): (Vec<u8>, i64, Vec<u8>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = Place { table: Table::Blobs, key: &id, version: unsigned(version) };
        opener.open(&place, &sealed)?;
        tally.add(&Share::of(head.tally_key(), &place, &sealed));
        Ok(())
    })?;
    if tally != head.blobs {
        return Err(Error::tampered("blobs", "all", "a row is missing, foreign or old"));
    }
    Ok(())
}

fn log(connection: &Connection, opener: &Opener, head: &Head) -> Result<(), Error> {
    let mut expected = head.log_first.0;
    each(connection, "SELECT idx, sealed FROM log ORDER BY idx", |row| {
        let (index, sealed): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        if unsigned(index) != expected {
            return Err(Error::tampered("log", expected, "it is missing"));
        }
        open_log(opener, LogIndex(expected), &sealed)?;
        expected += 1;
        Ok(())
    })?;
    if expected != head.applied.0 + 1 {
        return Err(Error::tampered("log", expected, "the log does not end where the state does"));
    }
    Ok(())
}

/// Opens a log row: the entry as its proposer sealed it.
pub(crate) fn open_log(opener: &Opener, index: LogIndex, sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let place = Place { table: Table::Log, key: &index.0.to_be_bytes(), version: 0 };
    Ok(opener.open(&place, sealed)?.into_plain())
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
fn each(
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
