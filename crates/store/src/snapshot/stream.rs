//! The form of a snapshot: frames, cut anywhere into chunks.
//!
//! ```text
//! stream = "SRSNAP" | 1 u8 | frame(1, header) | frame(2, record)* | frame(3, blob)* | frame(4, digest)
//! frame  = kind u8 | length u32 | body
//! record = n u32 | vault's key[n] | vault's value
//! blob   = object id[16] | masked object
//! digest = SHA-256 of all before its frame
//! ```

use prost::Message;
use strongroom_crypto::{Hash, Hasher, SecretBytes};
use strongroom_vault::limits::{BLOB_BYTES_MAX, RECORD_BYTES_MAX};
use strongroom_vault::{LogIndex, ObjectId};
use zeroize::Zeroizing;

use super::SnapshotHeader;
use crate::Error;
use crate::head::PositionMessage;
use crate::write::split_record;

/// A chunk's bytes at most.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

const MAGIC: &[u8] = b"SRSNAP\x01";
const FRAME_HEADER_BYTES: usize = 5;
const DIGEST_BYTES: usize = 32;
const ID_BYTES: usize = 16;
/// A header is the members and a few numbers.
const HEADER_BYTES_MAX: usize = 256 * 1024;
/// A record's key is a kind, a number and at most a client's id.
const RECORD_KEY_BYTES_MAX: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Header = 1,
    Record = 2,
    Blob = 3,
    Digest = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Header, Self::Record, Self::Blob, Self::Digest]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    fn bytes_max(self) -> usize {
        match self {
            Self::Header => HEADER_BYTES_MAX,
            Self::Record => 4 + RECORD_KEY_BYTES_MAX + RECORD_BYTES_MAX,
            Self::Blob => ID_BYTES + BLOB_BYTES_MAX,
            Self::Digest => DIGEST_BYTES,
        }
    }
}

/// Makes the stream. What it has is taken away chunk by chunk.
pub(crate) struct Encoder {
    /// With room for a chunk and the longest frame, so that no growing leaves a copy behind.
    buffer: Zeroizing<Vec<u8>>,
    hasher: Hasher,
}

impl Encoder {
    pub(crate) fn new(header: &SnapshotHeader) -> Result<Self, Error> {
        let capacity = CHUNK_BYTES_MAX + FRAME_HEADER_BYTES + ID_BYTES + BLOB_BYTES_MAX;
        let buffer = Zeroizing::new(Vec::with_capacity(capacity));
        let mut encoder = Self { buffer, hasher: Hasher::new(Hash::Sha256) };
        encoder.put(MAGIC);
        let message = HeaderMessage {
            position: Some(header.position.into()),
            membership: header.membership.clone(),
            index: header.index.0,
            records: header.records,
            blobs: header.blobs,
        };
        encoder.frame(Kind::Header, &[&message.encode_to_vec()])?;
        Ok(encoder)
    }

    /// Adds a record: its plaintext as the store has it.
    pub(crate) fn record(&mut self, plaintext: &[u8]) -> Result<(), Error> {
        self.frame(Kind::Record, &[plaintext])
    }

    /// Adds a blob.
    pub(crate) fn blob(&mut self, id: &[u8], blob: &[u8]) -> Result<(), Error> {
        self.frame(Kind::Blob, &[id, blob])
    }

    /// Adds the end.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(Hash::Sha256));
        self.frame(Kind::Digest, &[&hasher.finish()])
    }

    /// Whether a chunk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= CHUNK_BYTES_MAX
    }

    /// The next chunk, full or not; `None` where nothing waits.
    pub(crate) fn take(&mut self) -> Option<SecretBytes> {
        let length = self.buffer.len().min(CHUNK_BYTES_MAX);
        if length == 0 {
            return None;
        }
        let chunk = SecretBytes::copied(&self.buffer[..length]);
        self.buffer.drain(..length);
        Some(chunk)
    }

    fn frame(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<(), Error> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > kind.bytes_max() {
            return Err(Error::Bug("a row is longer than a snapshot may hold"));
        }
        self.put(&[kind as u8]);
        self.put(&(length as u32).to_be_bytes());
        for part in parts {
            self.put(part);
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.buffer.extend_from_slice(bytes);
    }
}

/// What comes out of a stream.
pub(crate) enum Item<'a> {
    Header(SnapshotHeader),
    Record { key: &'a [u8], value: &'a [u8] },
    Blob { id: ObjectId, blob: &'a [u8] },
    End { digest: [u8; DIGEST_BYTES] },
}

/// Takes a stream apart, whatever it is cut into and whoever made it.
pub(crate) struct Decoder {
    buffer: Zeroizing<Vec<u8>>,
    /// Bytes of `buffer` that have been given out.
    used: usize,
    hasher: Option<Hasher>,
    stage: Stage,
    /// Records and blobs that must still come.
    records: u64,
    blobs: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Magic,
    Header,
    Rows,
    Ended,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Zeroizing::default(),
            used: 0,
            hasher: Some(Hasher::new(Hash::Sha256)),
            stage: Stage::Magic,
            records: 0,
            blobs: 0,
        }
    }

    /// Adds the next chunk. All items must have been taken before.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        if chunk.len() > CHUNK_BYTES_MAX {
            return Err(Error::Snapshot("a chunk is too long"));
        }
        if self.stage == Stage::Ended && !chunk.is_empty() {
            return Err(Error::Snapshot("something follows its end"));
        }
        let rest = self.buffer.len() - self.used;
        let mut buffer = Zeroizing::new(Vec::with_capacity(rest + chunk.len()));
        buffer.extend_from_slice(&self.buffer[self.used..]);
        buffer.extend_from_slice(chunk);
        self.buffer = buffer;
        self.used = 0;
        Ok(())
    }

    /// The next item; `None` where another chunk is needed.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'_>>, Error> {
        if self.stage == Stage::Magic {
            let Some(magic) = self.buffer.get(..MAGIC.len()) else { return Ok(None) };
            if magic != MAGIC {
                return Err(Error::Snapshot("its format is not known"));
            }
            self.take(MAGIC.len());
            self.stage = Stage::Header;
        }
        let Some(header) = self.buffer[self.used..].first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let [kind, length @ ..] = *header;
        let kind = Kind::from_byte(kind).ok_or(Error::Snapshot("a frame is of no known kind"))?;
        let length = u32::from_be_bytes(length) as usize;
        if length > kind.bytes_max() {
            return Err(Error::Snapshot("a row is too long"));
        }
        let start = self.used + FRAME_HEADER_BYTES;
        if self.buffer.len() < start + length {
            return Ok(None);
        }
        if self.stage == Stage::Ended {
            return Err(Error::Snapshot("something follows its end"));
        }
        if (self.stage == Stage::Header) != (kind == Kind::Header) {
            return Err(Error::Snapshot("its header is not where it belongs"));
        }
        let digest = (kind == Kind::Digest).then(|| self.hasher.take()).flatten();
        self.take(FRAME_HEADER_BYTES + length);
        self.item(kind, start..start + length, digest).map(Some)
    }

    fn item(
        &mut self,
        kind: Kind,
        body: std::ops::Range<usize>,
        digest: Option<Hasher>,
    ) -> Result<Item<'_>, Error> {
        let body = &self.buffer[body];
        let too_many = || Error::Snapshot("it has more rows than it says");
        match kind {
            Kind::Header => {
                let header = header(body).ok_or(Error::Snapshot("its header does not decode"))?;
                self.stage = Stage::Rows;
                (self.records, self.blobs) = (header.records, header.blobs);
                Ok(Item::Header(header))
            }
            Kind::Record => {
                self.records = self.records.checked_sub(1).ok_or_else(too_many)?;
                let (key, value) =
                    split_record(body).ok_or(Error::Snapshot("a record is malformed"))?;
                Ok(Item::Record { key, value })
            }
            Kind::Blob => {
                self.blobs = self.blobs.checked_sub(1).ok_or_else(too_many)?;
                let (id, blob) =
                    body.split_first_chunk().ok_or(Error::Snapshot("a blob is malformed"))?;
                Ok(Item::Blob { id: ObjectId(*id), blob })
            }
            Kind::Digest => {
                if (self.records, self.blobs) != (0, 0) {
                    return Err(Error::Snapshot("it has fewer rows than it says"));
                }
                self.stage = Stage::Ended;
                let expected = digest.map(Hasher::finish).unwrap_or_default();
                let digest = body
                    .try_into()
                    .ok()
                    .filter(|digest: &[u8; DIGEST_BYTES]| digest[..] == expected)
                    .ok_or(Error::Snapshot("its digest is another"))?;
                Ok(Item::End { digest })
            }
        }
    }

    /// Counts bytes as used.
    fn take(&mut self, count: usize) {
        let end = self.used + count;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.buffer[self.used..end]);
        }
        self.used = end;
    }

    /// Whether all was there.
    pub(crate) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended && self.used == self.buffer.len()
    }
}

fn header(bytes: &[u8]) -> Option<SnapshotHeader> {
    let message = HeaderMessage::decode(bytes).ok()?;
    Some(SnapshotHeader {
        position: message.position?.into(),
        membership: message.membership,
        index: LogIndex(message.index),
        records: message.records,
        blobs: message.blobs,
    })
}

#[derive(Clone, PartialEq, Message)]
struct HeaderMessage {
    #[prost(message, optional, tag = "1")]
    position: Option<PositionMessage>,
    #[prost(bytes = "vec", tag = "2")]
    membership: Vec<u8>,
    #[prost(uint64, tag = "3")]
    index: u64,
    #[prost(uint64, tag = "4")]
    records: u64,
    #[prost(uint64, tag = "5")]
    blobs: u64,
}
