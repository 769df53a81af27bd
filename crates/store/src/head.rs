//! The store's head: the one row that says what all the others must be.

use prost::Message;
use strongroom_crypto::random;
use strongroom_crypto::symmetric::hmac_sha256;
use strongroom_vault::LogIndex;
use zeroize::Zeroize;

use crate::Error;
use crate::audit::Chain;
use crate::sealing::{Place, Table};
use crate::tally::Tally;

const FORMAT: u32 = 1;
const NAME: &str = "head";

/// Bytes of a record's key in the database.
pub(crate) const RECORD_KEY_BYTES: usize = 16;

/// Written with every transaction.
#[derive(Clone)]
pub(crate) struct Head {
    /// The last applied entry.
    pub(crate) applied: LogIndex,
    /// The first entry that the log still holds; one after `applied` where it holds none.
    pub(crate) log_first: LogIndex,
    pub(crate) records: Tally,
    pub(crate) blobs: Tally,
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
            applied: LogIndex(0),
            log_first: LogIndex(1),
            records: Tally::default(),
            blobs: Tally::default(),
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

    /// Where the head is kept.
    pub(crate) fn place() -> Place<'static> {
        Place { table: Table::Meta, key: NAME.as_bytes(), version: 0 }
    }

    /// Its row's name.
    pub(crate) fn name() -> &'static str {
        NAME
    }

    pub(crate) fn to_message(&self) -> HeadMessage {
        HeadMessage {
            format: FORMAT,
            applied: self.applied.0,
            log_first: self.log_first.0,
            records: self.records.as_bytes().to_vec(),
            blobs: self.blobs.as_bytes().to_vec(),
            audit_sequence: self.audit.sequence,
            audit_hash: self.audit.hash.to_vec(),
            clean: self.clean,
            names_key: self.keys.names.to_vec(),
            tally_key: self.keys.tally.to_vec(),
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = || Error::tampered("meta", NAME, "it does not decode");
        let message = HeadMessage::decode(bytes).map_err(|_| wrong())?;
        if message.format != FORMAT {
            return Err(Error::Format { found: message.format.into(), known: FORMAT.into() });
        }
        let tally = |bytes: &[u8]| Tally::from_slice(bytes).ok_or_else(wrong);
        let hash = |bytes: &[u8]| bytes.try_into().map_err(|_| wrong());
        Ok(Self {
            applied: LogIndex(message.applied),
            log_first: LogIndex(message.log_first),
            records: tally(&message.records)?,
            blobs: tally(&message.blobs)?,
            audit: Chain { sequence: message.audit_sequence, hash: hash(&message.audit_hash)? },
            clean: message.clean,
            keys: HeadKeys { names: hash(&message.names_key)?, tally: hash(&message.tally_key)? },
        })
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct HeadMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint64, tag = "2")]
    applied: u64,
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
}

impl Drop for HeadMessage {
    fn drop(&mut self) {
        self.names_key.zeroize();
        self.tally_key.zeroize();
    }
}
