//! The snapshot that a witness keeps: a file as its leader sealed it, which the witness can't open.
//!
//! A witness has no state to make a snapshot of. What its log no longer holds, it can only pass on: to an
//! HSM that it, as the leader of the moment, has to bring up to date. Row `kept` of table `meta` says
//! what the file must be; the head says which version of the row is the newest.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use prost::Message;
use rusqlite::{Connection, OptionalExtension};
use strongroom_crypto::{Hash, Hasher};

use crate::head::{Head, PositionMessage};
use crate::incoming::{Chunks, PREFIX};
use crate::sealing::{Opener, Place, Table};
use crate::{Error, Position, Received, Store};

/// Its row's name.
pub(crate) const NAME: &str = "kept";
const SUFFIX: &str = ".sealed";
/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// A snapshot that is kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSnapshot {
    path: PathBuf,
    position: Position,
    membership: Vec<u8>,
    secrets: Vec<u8>,
}

impl KeptSnapshot {
    /// The log entry up to which all is in it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The members up to there, in the replication's form.
    #[must_use]
    pub fn membership(&self) -> &[u8] {
        &self.membership
    }

    /// What each HSM needs to open it, in the replication's form; a witness can't open that either.
    #[must_use]
    pub fn secrets(&self) -> &[u8] {
        &self.secrets
    }

    /// Its chunks in order, as they were sealed. Once opened, they stay whole though a newer snapshot
    /// takes this one's place.
    ///
    /// # Errors
    /// Where the file can't be opened.
    pub fn chunks(&self) -> Result<Chunks, Error> {
        Chunks::open(&self.path)
    }
}

impl Store {
    /// Keeps a snapshot as it came, in place of the one before, and forgets the log that it covers: what
    /// [`Store::install`] is to an HSM, this is to a witness.
    ///
    /// # Errors
    /// [`Error::Snapshot`] where it is older than what is applied, and [`Error::Io`] where the file
    /// system fails: the store is as it was. Any other error is final, as with [`Store::commit`].
    pub fn keep(
        &mut self,
        position: Position,
        membership: &[u8],
        secrets: &[u8],
        received: Received,
    ) -> Result<(), Error> {
        if self.head.applied.is_some_and(|applied| applied.index > position.index) {
            return Err(Error::Snapshot("it is older than what is applied"));
        }
        let version = self.head.kept + 1;
        let path = self.folder.path().join(file_name(version));
        let (length, digest) = digest(received.path())?;
        // The file first, and durably: the row that names it must never be without it.
        std::fs::rename(received.path(), &path).map_err(Error::io(&path))?;
        self.folder.sync_file(&path)?;
        let (membership, secrets) = (membership.to_vec(), secrets.to_vec());
        let kept = KeptSnapshot { path, position, membership, secrets };
        let row = Row {
            length,
            digest,
            position,
            membership: kept.membership.clone(),
            secrets: kept.secrets.clone(),
        };
        let row = row.encode();
        self.transact(false, |writer| {
            writer.membership(&kept.membership)?;
            writer.kept(&row)?;
            writer.forget_log_up_to(position)?;
            writer.stands_at(position);
            Ok(())
        })?;
        self.membership = Some(kept.membership.clone());
        self.kept = Some(kept);
        if version > 1 {
            let old = self.folder.path().join(file_name(version - 1));
            // The next start removes what stays.
            let _ = std::fs::remove_file(old);
        }
        Ok(())
    }

    /// The snapshot that is kept; `None` on an HSM, and on a witness that got none yet.
    #[must_use]
    pub fn kept(&self) -> Option<&KeptSnapshot> {
        self.kept.as_ref()
    }
}

/// Where the row is kept.
pub(crate) fn place(version: u64) -> Place<'static> {
    Place { table: Table::Meta, key: NAME.as_bytes(), version }
}

/// The file of a version.
pub(crate) fn file_name(version: u64) -> String {
    format!("{PREFIX}{version}{SUFFIX}")
}

/// What is kept, once its file has been checked.
pub(crate) fn read(
    connection: &Connection,
    opener: &Opener,
    head: &Head,
    folder: &Path,
) -> Result<Option<KeptSnapshot>, Error> {
    if head.kept == 0 {
        return Ok(None);
    }
    let wrong = |reason| Error::tampered("meta", NAME, reason);
    let sealed: Vec<u8> = connection
        .query_row("SELECT sealed FROM meta WHERE name = ?1", [NAME], |row| row.get(0))
        .optional()?
        .ok_or_else(|| wrong("it is missing"))?;
    let row = parse(opener.open(&place(head.kept), &sealed)?.as_bytes())
        .ok_or_else(|| wrong("it does not decode"))?;
    let name = file_name(head.kept);
    let path = folder.join(&name);
    let other = |reason| Error::tampered("file", &name, reason);
    if !path.exists() {
        return Err(other("it is missing"));
    }
    if digest(&path)? != (row.length, row.digest) {
        return Err(other("it is not what was kept"));
    }
    let Row { position, membership, secrets, .. } = row;
    Ok(Some(KeptSnapshot { path, position, membership, secrets }))
}

/// The row's plaintext taken apart.
fn parse(bytes: &[u8]) -> Option<Row> {
    let KeptRow { length, digest, position, membership, secrets } = KeptRow::decode(bytes).ok()?;
    Some(Row { length, digest, position: position?.into(), membership, secrets })
}

/// The row as [`parse`] takes it, and as it is written.
pub(crate) fn rewritten(bytes: &[u8]) -> Option<Vec<u8>> {
    parse(bytes).map(|row| row.encode())
}

/// What the row says.
struct Row {
    length: u64,
    digest: Vec<u8>,
    position: Position,
    membership: Vec<u8>,
    secrets: Vec<u8>,
}

impl Row {
    fn encode(self) -> Vec<u8> {
        let Self { length, digest, position, membership, secrets } = self;
        let position = Some(position.into());
        KeptRow { length, digest, position, membership, secrets }.encode_to_vec()
    }
}

/// A file's length and SHA-256.
fn digest(path: &Path) -> Result<(u64, Vec<u8>), Error> {
    let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut hasher = Hasher::new(Hash::Sha256);
    let mut buffer = vec![0; READ_BYTES];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer).map_err(Error::io(path))?;
        if read == 0 {
            return Ok((length, hasher.finish()));
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

#[derive(Clone, PartialEq, Message)]
struct KeptRow {
    #[prost(uint64, tag = "1")]
    length: u64,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    position: Option<PositionMessage>,
    #[prost(bytes = "vec", tag = "4")]
    membership: Vec<u8>,
    /// A store of before has none.
    #[prost(bytes = "vec", tag = "5")]
    secrets: Vec<u8>,
}
