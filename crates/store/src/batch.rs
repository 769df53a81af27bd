//! What one transaction writes.

use strongroom_vault::{Change, LogIndex};

use crate::audit::ChangeRecord;
use crate::{LogRow, Position};

/// An entry that the vault has applied, and what it left.
#[derive(Clone, Default, PartialEq)]
pub struct Applied {
    /// The vault's number of it: one after the last.
    pub index: LogIndex,
    /// What the vault says must be written.
    pub changes: Vec<Change>,
    /// Who did what.
    pub audit: ChangeRecord,
}

/// What one transaction writes, in this order.
#[derive(Clone, Default, PartialEq)]
pub struct Batch {
    /// The log loses its entries from this index on. Never one that was applied.
    pub truncate_from: Option<u64>,
    /// The log's next entries.
    pub append: Vec<LogRow>,
    /// Raft's vote, in the replication's form.
    pub vote: Option<Vec<u8>>,
    /// The last entry that Raft knows to be committed.
    pub committed: Option<Position>,
    /// The vault's entries that were applied, in order. Not without `applied_to`.
    pub applied: Vec<Applied>,
    /// The log entry up to which all is applied, and the members, in the replication's form, where
    /// they have changed.
    pub applied_to: Option<(Position, Option<Vec<u8>>)>,
    /// Blocks of key-use records, one audit row each.
    pub uses: Vec<Vec<u8>>,
    /// The log forgets its entries up to this one, which is applied.
    pub purge_to: Option<Position>,
}
