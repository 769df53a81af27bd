//! The store's one writer.

use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use strongroom_vault::{Change, LogIndex};

use crate::audit::{ChangeRecord, Kind, Record};
use crate::database::{signed, unsigned};
use crate::head::Head;
use crate::open::{audit_chain, audit_records, open_log};
use crate::sealing::{Boot, Opener, Sealer};
use crate::write::Writer;
use crate::{Error, Folder};

/// An entry that the vault has applied, and what it left.
#[derive(Clone, Default, PartialEq)]
pub struct Applied {
    /// Its number: one after the last.
    pub index: LogIndex,
    /// The entry, sealed by its proposer.
    pub sealed: Vec<u8>,
    /// What the vault says must be written.
    pub changes: Vec<Change>,
    /// Who did what.
    pub audit: ChangeRecord,
}

/// What one transaction writes.
#[derive(Clone, Default, PartialEq)]
pub struct Batch {
    /// Applied entries, in order.
    pub entries: Vec<Applied>,
    /// Blocks of key-use records, one audit row each.
    pub uses: Vec<Vec<u8>>,
    /// The log may forget entries before this one.
    pub log_first: LogIndex,
}

/// The one writer of a data folder, which it keeps locked.
pub struct Store {
    connection: Connection,
    _folder: Folder,
    opener: Arc<Opener>,
    sealer: Sealer,
    head: Head,
    boot: Boot,
    failed: bool,
}

impl Store {
    pub(crate) fn new(
        connection: Connection,
        folder: Folder,
        opener: Arc<Opener>,
        sealer: Sealer,
        head: Head,
        boot: Boot,
    ) -> Self {
        Self { connection, _folder: folder, opener, sealer, head, boot, failed: false }
    }

    /// This start of the HSM.
    #[must_use]
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// The last entry on disk; 0 where there is none.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.head.applied
    }

    /// The first entry that the log still holds.
    #[must_use]
    pub fn log_first(&self) -> LogIndex {
        self.head.log_first
    }

    /// Writes a batch in one transaction. When it returns, the batch is on disk.
    ///
    /// # Errors
    /// Any error is final, for it is not known what the disk holds (after a failed fsync the kernel
    /// may call dirty pages clean): the store takes nothing more, and the process must end.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        self.transact(false, |writer| {
            for block in &batch.uses {
                writer.audit(Kind::Uses, block)?;
            }
            writer.entries(&batch.entries)?;
            writer.compact(batch.log_first)
        })
    }

    /// Log entries from `from` on, at most `count`, as their proposers sealed them.
    ///
    /// # Errors
    /// [`Error::Tampered`], or the database's.
    pub fn log(&self, from: LogIndex, count: usize) -> Result<Vec<(LogIndex, Vec<u8>)>, Error> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT idx, sealed FROM log WHERE idx >= ?1 ORDER BY idx LIMIT ?2")?;
        let (from, count) = (signed(from.0)?, signed(count as u64)?);
        let mut rows = statement.query([from, count])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let index = LogIndex(unsigned(row.get(0)?));
            let sealed: Vec<u8> = row.get(1)?;
            entries.push((index, open_log(&self.opener, index, &sealed)?));
        }
        Ok(entries)
    }

    /// Audit records from `from` on, at most `count`.
    ///
    /// # Errors
    /// [`Error::Tampered`], or the database's.
    pub fn audit(&self, from: u64, count: usize) -> Result<Vec<Record>, Error> {
        audit_records(&self.connection, &self.opener, from, count)
    }

    /// Checks the whole audit chain, from its first record to its head.
    ///
    /// # Errors
    /// [`Error::Tampered`] with the first record that does not check, or the database's.
    pub fn verify_audit(&self) -> Result<(), Error> {
        audit_chain(&self.connection, &self.opener, &self.head, 1)
    }

    /// Notes that the HSM stopped in order, moves all into the main file and unlocks the folder.
    ///
    /// # Errors
    /// Where the disk fails. What was committed is safe all the same.
    pub fn close(mut self) -> Result<(), Error> {
        self.transact(true, |_| Ok(()))?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    fn transact(
        &mut self,
        clean: bool,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        // Until it is known that the disk has it.
        self.failed = true;
        let mut head = self.head.clone();
        head.clean = clean;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut writer = Writer::new(&transaction, &mut self.sealer, &mut head);
        write(&mut writer)?;
        writer.finish()?;
        transaction.commit()?;
        self.head = head;
        self.failed = false;
        Ok(())
    }
}
