//! The one thread that changes the state and writes the store.
//!
//! Group commit: everything that waits is applied and committed as one transaction, so that one
//! fsync serves many; what arrives meanwhile is the next batch. There is no timer: a lone proposal
//! waits for nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_store::{Applied, Batch, LogRow, Position, Store};
use strongroom_vault::{Committed, LogIndex, ReplicationError, codec};
use strongroom_wire::limits::LOG_ENTRIES_CUT_MIN;
use zeroize::Zeroizing;

use crate::one_voter::Shared;
use crate::queue::{Proposal, Work};
use crate::sealing::EntrySealer;
use crate::{Error, Options, describe};

/// The only voter leads its only term.
const TERM: u64 = 1;
const LEADER: u64 = 1;

/// What the thread owns.
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) sealer: EntrySealer,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
}

impl Writer {
    /// Runs until the queue is closed and empty, or something failed for good.
    pub(crate) fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.work())).unwrap_or(Err(Error::Panicked));
        match ended {
            Ok(()) => {
                if let Err(error) = self.store.close() {
                    // All that was answered is on disk; the next start reads the write-ahead log.
                    tracing::error!(%error, "the store was not closed in order");
                }
            }
            Err(error) => {
                // The state in memory may be ahead of the disk, and what the disk has is not known.
                // Nobody may be told anything any more: the handler ends the process.
                (self.options.fatal)(&error);
                self.shared.queue.fail(&ReplicationError::Storage(error.to_string()));
            }
        }
    }

    fn work(&mut self) -> Result<(), Error> {
        while let Some(work) = self.shared.queue.take() {
            self.commit(work)?;
        }
        Ok(())
    }

    /// Seals, applies and commits one batch, then answers it.
    fn commit(&mut self, work: Work) -> Result<(), Error> {
        let mut batch = Batch { uses: work.uses, ..Batch::default() };
        let mut stamped = Vec::with_capacity(work.proposals.len());
        for Proposal { mut entry, answer } in work.proposals {
            // Only the leader stamps time; the state takes an older stamp as the newest seen.
            entry.time_ms = (self.options.clock)();
            let plaintext = Zeroizing::new(codec::encode_entry(&entry));
            if plaintext.len() > strongroom_vault::limits::ENTRY_BYTES_MAX {
                let reason = "the entry is longer than a log may hold".to_owned();
                let _ = answer.send(Err(ReplicationError::Storage(reason)));
                continue;
            }
            stamped.push((entry, self.sealer.seal(&plaintext)?, answer));
        }

        let mut answers = Vec::with_capacity(stamped.len());
        let mut state = self.shared.state.write();
        let mut index = state.applied();
        let mut position = self.store.log_state().next_index();
        for (entry, payload, answer) in stamped {
            index = LogIndex(index.0 + 1);
            let mut audit = describe::before(&state, index, &entry);
            let (result, changes) = state.apply(index, entry);
            describe::after(&mut audit, &result);
            batch.append.push(LogRow { index: position, term: TERM, leader: LEADER, payload });
            batch.applied.push(Applied { index, changes, audit });
            position += 1;
            answers.push((answer, Committed { index, result }));
        }
        drop(state);

        batch.applied_to = batch.append.last().map(|row| (row.position(), None));
        batch.purge_to = self.purge_to(position);
        self.store.commit(&batch)?;
        self.shared.state.publish(index);
        self.shared.entries.fetch_add(answers.len() as u64, Ordering::Relaxed);
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        for (answer, committed) in answers {
            // A proposer that is gone needs no answer: a retry finds it in the state.
            let _ = answer.send(Ok(committed));
        }
        Ok(())
    }

    /// Up to which entry the log is cut with this batch, where it is long enough; `next` is the index
    /// after its last.
    fn purge_to(&self, next: u64) -> Option<Position> {
        let kept = self.options.log_entries_kept;
        let length = next - self.store.log_state().first_index();
        if length < kept.saturating_add(LOG_ENTRIES_CUT_MIN) {
            return None;
        }
        let index = next.checked_sub(kept)?.checked_sub(1)?;
        Some(Position { index, term: TERM, leader: LEADER })
    }
}
