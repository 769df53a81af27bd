//! Entrances for the fuzz targets: decoders that a store calls on rows of its database, only on rows
//! that opened, or on what peers send.

use std::sync::Arc;

use prost::Message;
use strongroom_crypto::SecretBytes;

use strongroom_vault::State;

use crate::audit::{Chain, Kind, Record};
use crate::head::Head;
use crate::sealing::{Boot, BootRow, Opener, Place, Sealer};
use crate::snapshot::stream::{Decoder, Encoder, Item};
use crate::{CHUNK_BYTES_MAX, Error, LogRow, Secrets, SnapshotHeader, incoming, kept};

/// One start's rows.
pub struct Rows {
    sealer: Sealer,
    opener: Opener,
}

impl Rows {
    /// Of the first start, with a salt that is always the same: rows open in every process.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn new(secrets: Secrets) -> Result<Self, Error> {
        let secrets = Arc::new(secrets);
        let row = BootRow {
            boot: Boot { number: 1, salt: [6; 16] },
            state_epoch: secrets.state.current().epoch(),
            audit_epoch: secrets.audit.current().epoch(),
        };
        Ok(Self { sealer: Sealer::new(&secrets, &row)?, opener: Opener::new(secrets, [row]) })
    }

    /// Seals a row.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn seal(&mut self, place: &Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        self.sealer.seal(place, plaintext)
    }

    /// Opens a row.
    ///
    /// # Errors
    /// [`Error::Tampered`].
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<SecretBytes, Error> {
        self.opener.open(place, sealed)
    }
}

/// The head of an empty store.
///
/// # Errors
/// Where the backend fails.
pub fn head() -> Result<Vec<u8>, Error> {
    Ok(Head::new()?.to_message().encode_to_vec())
}

/// Reads a head and gives it as this build would write it.
///
/// # Errors
/// Where the bytes are no head.
pub fn read_head(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(Head::from_bytes(bytes)?.to_message().encode_to_vec())
}

/// The first row of an audit chain, unsealed.
#[must_use]
pub fn audit_row(kind: Kind, body: &[u8]) -> Vec<u8> {
    Chain::default().append(kind, body)
}

/// Reads an audit row; whether it follows `before`, where it is one.
#[must_use]
pub fn read_audit_row(sequence: u64, row: &[u8], before: &Chain) -> Option<(Record, bool)> {
    let record = Record::parse(sequence, &SecretBytes::new(row.to_vec()))?;
    let follows = record.follows(before);
    Some((record, follows))
}

/// The plaintext of a log row.
#[must_use]
pub fn log_row(row: &LogRow) -> Vec<u8> {
    row.plaintext()
}

/// Reads a log row.
#[must_use]
pub fn read_log_row(index: u64, plaintext: &[u8]) -> Option<LogRow> {
    LogRow::parse(index, plaintext)
}

/// The row of a witness's snapshot as this build would write it.
#[must_use]
pub fn read_kept_row(plaintext: &[u8]) -> Option<Vec<u8>> {
    kept::rewritten(plaintext)
}

/// The chunks of a snapshot's file, and whether it ended where a chunk did.
#[must_use]
pub fn read_chunks(mut file: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut chunks = Vec::new();
    loop {
        match incoming::read_chunk(&mut file) {
            Ok(Some(chunk)) => chunks.push(chunk),
            Ok(None) => return (chunks, true),
            Err(_) => return (chunks, false),
        }
    }
}

/// A snapshot that has been taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is of.
    pub header: SnapshotHeader,
    /// The vault's keys and values.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
    /// Object ids and blobs.
    pub blobs: Vec<([u8; 16], Vec<u8>)>,
}

impl Snapshot {
    /// As a stream.
    ///
    /// # Errors
    /// Where a row is longer than a snapshot may hold.
    pub fn write(&self) -> Result<Vec<u8>, Error> {
        let mut encoder = Encoder::new(&self.header)?;
        let mut stream = Vec::new();
        for (key, value) in &self.records {
            encoder.record(&crate::write::join_record(key, value))?;
            take_all(&mut encoder, &mut stream);
        }
        for (id, blob) in &self.blobs {
            encoder.blob(id, blob)?;
            take_all(&mut encoder, &mut stream);
        }
        encoder.finish()?;
        take_all(&mut encoder, &mut stream);
        Ok(stream)
    }

    /// Of a stream, in chunks of this length.
    ///
    /// # Errors
    /// [`Error::Snapshot`] where it is none.
    pub fn read(stream: &[u8], chunk_bytes: usize) -> Result<Self, Error> {
        let mut decoder = Decoder::new();
        let (mut header, mut records, mut blobs) = (None, Vec::new(), Vec::new());
        for chunk in stream.chunks(chunk_bytes.clamp(1, CHUNK_BYTES_MAX)) {
            decoder.push(chunk)?;
            while let Some(item) = decoder.next()? {
                match item {
                    Item::Header(found) => header = Some(found),
                    Item::Record { key, value } => records.push((key.to_vec(), value.to_vec())),
                    Item::Blob { id, blob } => blobs.push((id.0, blob.to_vec())),
                    Item::End { .. } => {}
                }
            }
        }
        match header {
            Some(header) if decoder.has_ended() => Ok(Self { header, records, blobs }),
            _ => Err(Error::Snapshot("it is not whole")),
        }
    }

    /// Whether the vault takes its records for a state.
    #[must_use]
    pub fn is_a_state(&self) -> bool {
        let mut state = State::new();
        self.records.iter().all(|(key, value)| state.load(key, value).is_ok())
            && state.finish_load().is_ok()
            && state.applied() == self.header.index
    }
}

fn take_all(encoder: &mut Encoder, stream: &mut Vec<u8>) {
    while let Some(chunk) = encoder.take() {
        stream.extend_from_slice(chunk.as_bytes());
    }
}
