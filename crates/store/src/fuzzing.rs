//! Entrances for the fuzz targets: decoders that a store calls on rows of its database, or only on
//! rows that opened.

use std::sync::Arc;

use prost::Message;
use strongroom_crypto::SecretBytes;

use crate::audit::{Chain, Kind, Record};
use crate::head::Head;
use crate::sealing::{Boot, BootRow, Opener, Place, Sealer};
use crate::{Error, Secrets};

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
