//! The store's one writer.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use strongroom_vault::LogIndex;

use crate::audit::Record;
use crate::head::Head;
use crate::open::{audit_chain, audit_records};
use crate::sealing::{Boot, Opener, Sealer};
use crate::write::Writer;
use crate::{
    Batch, Error, Folder, Inbox, KeptSnapshot, LogReader, LogRow, LogState, Position, Readers, log,
};

/// The one writer of a data folder, which it keeps locked.
pub struct Store {
    pub(crate) connection: Connection,
    pub(crate) folder: Folder,
    /// The database's file.
    pub(crate) path: PathBuf,
    pub(crate) opener: Arc<Opener>,
    pub(crate) sealer: Sealer,
    pub(crate) head: Head,
    pub(crate) membership: Option<Vec<u8>>,
    pub(crate) kept: Option<KeptSnapshot>,
    pub(crate) inbox: Inbox,
    pub(crate) boot: Boot,
    pub(crate) failed: bool,
}

impl Store {
    /// This start of the HSM.
    #[must_use]
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// How far the rows reflect the log: the last log entry that is applied, the members up to it as
    /// the replication encoded them, and the vault's index. Entries that follow in the log are applied
    /// again when Raft says that they are committed.
    #[must_use]
    pub fn applied(&self) -> (Option<Position>, Option<&[u8]>, LogIndex) {
        (self.head.applied, self.membership.as_deref(), self.head.index)
    }

    /// Where the log begins and ends.
    #[must_use]
    pub fn log_state(&self) -> LogState {
        self.head.log
    }

    /// Raft's vote, as it was given.
    #[must_use]
    pub fn vote(&self) -> Option<&[u8]> {
        self.head.vote.as_deref()
    }

    /// The last entry that Raft knew to be committed.
    #[must_use]
    pub fn committed(&self) -> Option<Position> {
        self.head.committed
    }

    /// Writes a batch in one transaction. When it returns, the batch is on disk.
    ///
    /// # Errors
    /// Any error is final, for it is not known what the disk holds (after a failed fsync the kernel
    /// may call dirty pages clean): the store takes nothing more, and the process must end.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        self.transact(false, |writer| writer.batch(batch))?;
        if let Some((_, Some(membership))) = &batch.applied_to {
            self.membership = Some(membership.clone());
        }
        Ok(())
    }

    /// The log entries of `range` that are there. [`LogReader`] does the same for other threads.
    ///
    /// # Errors
    /// [`Error::Tampered`], or the database's.
    pub fn log(&self, range: Range<u64>) -> Result<Vec<LogRow>, Error> {
        log::read(&self.connection, &self.opener, &range, usize::MAX)
    }

    /// A reader of the log, for other threads.
    #[must_use]
    pub fn log_reader(&self) -> LogReader {
        LogReader::new(Readers::new(self.path.clone(), self.opener.clone()))
    }

    /// Where snapshots from peers come in, for other threads.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
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

    /// Runs `write` in one transaction. Where it finds that a snapshot is none, or can't be read, nothing
    /// has happened; any other error is final.
    pub(crate) fn transact<T>(
        &mut self,
        clean: bool,
        write: impl FnOnce(&mut Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        // Until it is known that the disk has it.
        self.failed = true;
        let mut head = self.head.clone();
        head.clean = clean;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut writer = Writer::new(&transaction, &self.opener, &mut self.sealer, &mut head);
        let written = match write(&mut writer) {
            Err(error @ (Error::Snapshot(_) | Error::Io { .. })) => {
                transaction.rollback()?;
                self.failed = false;
                return Err(error);
            }
            written => written?,
        };
        writer.finish()?;
        transaction.commit()?;
        self.head = head;
        self.failed = false;
        Ok(written)
    }
}
