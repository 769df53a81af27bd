//! The store's head: the one row that says what all the others must be.

use prost::Message;
use strongroom_crypto::random;
use strongroom_crypto::symmetric::hmac_sha256;
use strongroom_vault::LogIndex;
use zeroize::Zeroize;

use crate::audit::Chain;
use crate::sealing::{Place, Table};
use crate::tally::Tally;
use crate::{Error, LogState, Position};

const FORMAT: u32 = 2;
const FIRST_FORMAT: u32 = 1;
const NAME: &str = "head";

/// Bytes of a record's key in the database.
pub(crate) const RECORD_KEY_BYTES: usize = 16;

/// Written with every transaction.
#[derive(Clone)]
pub(crate) struct Head {
    /// The vault's last entry that the rows reflect.
    pub(crate) index: LogIndex,
    /// The log entry up to which all is applied: what follows in the log is applied later, or again.
    pub(crate) applied: Option<Position>,
    pub(crate) log: LogState,
    pub(crate) committed: Option<Position>,
    pub(crate) vote: Option<Vec<u8>>,
    /// How often the members were written; their row has this version. 0 where there is none.
    pub(crate) memberships: u64,
    /// How often a witness kept a snapshot; its row and file have this version. 0 where there is none.
    pub(crate) kept: u64,
    pub(crate) records: Tally,
    pub(crate) blobs: Tally,
    pub(crate) log_rows: Tally,
    pub(crate) audit: Chain,
    /// Whether the store was closed after this was written.
    pub(crate) clean: bool,
    keys: HeadKeys,
}

/// Keys that live as long as the store, so that neither a start nor an epoch changes them.
#[derive(Clone, Zeroize, zeroize::ZeroizeOnDrop)]
struct HeadKeys {
    /// Hashes record keys, which hold names.
    names: [u8; 32],
    /// Hashes rows into tallies.
    tally: [u8; 32],
}

impl Head {
    /// Of an empty store.
    pub(crate) fn new() -> Result<Self, Error> {
        let mut keys = HeadKeys { names: [0; 32], tally: [0; 32] };
        random(&mut keys.names)?;
        random(&mut keys.tally)?;
        Ok(Self {
            index: LogIndex(0),
            applied: None,
            log: LogState::default(),
            committed: None,
            vote: None,
            memberships: 0,
            kept: 0,
            records: Tally::default(),
            blobs: Tally::default(),
            log_rows: Tally::default(),
            audit: Chain::default(),
            clean: true,
            keys,
        })
    }

    /// What a record is called in the database.
    pub(crate) fn record_key(&self, key: &[u8]) -> [u8; RECORD_KEY_BYTES] {
        let hash = hmac_sha256(&self.keys.names, key);
        let mut short = [0; RECORD_KEY_BYTES];
        short.copy_from_slice(&hash[..RECORD_KEY_BYTES]);
        short
    }

    /// The key of [`crate::tally::Share`]s.
    pub(crate) fn tally_key(&self) -> &[u8; 32] {
        &self.keys.tally
    }

    /// The tally of a table's rows.
    pub(crate) fn tally(&mut self, table: Table) -> Result<&mut Tally, Error> {
        match table {
            Table::Log => Ok(&mut self.log_rows),
            Table::Records => Ok(&mut self.records),
            Table::Blobs => Ok(&mut self.blobs),
            Table::Meta | Table::Audit => Err(Error::Bug("a table without a tally")),
        }
    }

    /// Where the head is kept.
    pub(crate) fn place() -> Place<'static> {
        Place { table: Table::Meta, key: NAME.as_bytes(), version: 0 }
    }

    /// Its row's name.
    pub(crate) fn name() -> &'static str {
        NAME
    }

    pub(crate) fn to_message(&self) -> HeadMessage {
        let position = |position: Option<Position>| position.map(PositionMessage::from);
        HeadMessage {
            format: FORMAT,
            index: self.index.0,
            log_first: 0,
            records: self.records.as_bytes().to_vec(),
            blobs: self.blobs.as_bytes().to_vec(),
            audit_sequence: self.audit.sequence,
            audit_hash: self.audit.hash.to_vec(),
            clean: self.clean,
            names_key: self.keys.names.to_vec(),
            tally_key: self.keys.tally.to_vec(),
            applied: position(self.applied),
            purged: position(self.log.purged),
            last: position(self.log.last),
            committed: position(self.committed),
            vote: self.vote.clone(),
            memberships: self.memberships,
            kept: self.kept,
            log: self.log_rows.as_bytes().to_vec(),
            record_rows: self.records.rows,
            blob_rows: self.blobs.rows,
            log_rows: self.log_rows.rows,
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let message = HeadMessage::read(bytes, FORMAT)?;
        let log_rows = Tally::from_parts(&message.log, message.log_rows).ok_or_else(wrong)?;
        Ok(Self {
            applied: message.applied.map(Position::from),
            log: LogState {
                purged: message.purged.map(Position::from),
                last: message.last.map(Position::from),
            },
            committed: message.committed.map(Position::from),
            vote: message.vote.clone(),
            memberships: message.memberships,
            kept: message.kept,
            log_rows,
            ..message.common()?
        })
    }

    /// A head of format 1 as one of this format, and the first index of its log, which ended where the
    /// state did. It did not say how many rows there are.
    pub(crate) fn from_first_format(bytes: &[u8]) -> Result<(Self, u64), Error> {
        let message = HeadMessage::read(bytes, FIRST_FORMAT)?;
        Ok((message.common()?, message.log_first))
    }
}

fn wrong() -> Error {
    Error::tampered("meta", NAME, "it does not decode")
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct HeadMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint64, tag = "2")]
    index: u64,
    /// Format 1 only.
    #[prost(uint64, tag = "3")]
    log_first: u64,
    #[prost(bytes = "vec", tag = "4")]
    records: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    blobs: Vec<u8>,
    #[prost(uint64, tag = "6")]
    audit_sequence: u64,
    #[prost(bytes = "vec", tag = "7")]
    audit_hash: Vec<u8>,
    #[prost(bool, tag = "8")]
    clean: bool,
    #[prost(bytes = "vec", tag = "9")]
    names_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    tally_key: Vec<u8>,
    #[prost(message, optional, tag = "11")]
    applied: Option<PositionMessage>,
    #[prost(message, optional, tag = "12")]
    purged: Option<PositionMessage>,
    #[prost(message, optional, tag = "13")]
    last: Option<PositionMessage>,
    #[prost(message, optional, tag = "14")]
    committed: Option<PositionMessage>,
    #[prost(bytes = "vec", optional, tag = "15")]
    vote: Option<Vec<u8>>,
    #[prost(uint64, tag = "16")]
    memberships: u64,
    #[prost(bytes = "vec", tag = "17")]
    log: Vec<u8>,
    #[prost(uint64, tag = "18")]
    record_rows: u64,
    #[prost(uint64, tag = "19")]
    blob_rows: u64,
    #[prost(uint64, tag = "20")]
    log_rows: u64,
    #[prost(uint64, tag = "21")]
    kept: u64,
}

impl HeadMessage {
    fn read(bytes: &[u8], format: u32) -> Result<Self, Error> {
        let message = Self::decode(bytes).map_err(|_| wrong())?;
        if message.format != format {
            return Err(Error::tampered(
                "meta",
                NAME,
                "the database says that it is of another format",
            ));
        }
        Ok(message)
    }

    /// What both formats have.
    fn common(&self) -> Result<Head, Error> {
        let tally = |sum: &[u8], rows| Tally::from_parts(sum, rows).ok_or_else(wrong);
        let hash = |bytes: &[u8]| bytes.try_into().map_err(|_| wrong());
        Ok(Head {
            index: LogIndex(self.index),
            applied: None,
            log: LogState::default(),
            committed: None,
            vote: None,
            memberships: 0,
            kept: 0,
            records: tally(&self.records, self.record_rows)?,
            blobs: tally(&self.blobs, self.blob_rows)?,
            log_rows: Tally::default(),
            audit: Chain { sequence: self.audit_sequence, hash: hash(&self.audit_hash)? },
            clean: self.clean,
            keys: HeadKeys { names: hash(&self.names_key)?, tally: hash(&self.tally_key)? },
        })
    }
}

impl Drop for HeadMessage {
    fn drop(&mut self) {
        self.names_key.zeroize();
        self.tally_key.zeroize();
    }
}

/// A [`Position`], in heads and in snapshots.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct PositionMessage {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    leader: u64,
}

impl From<Position> for PositionMessage {
    fn from(position: Position) -> Self {
        Self { index: position.index, term: position.term, leader: position.leader }
    }
}

impl From<PositionMessage> for Position {
    fn from(message: PositionMessage) -> Self {
        Self { index: message.index, term: message.term, leader: message.leader }
    }
}
