//! What a node needs of its disk. [`strongroom_store::Store`] has it; so does a simulated one.

use std::ops::Range;
use std::sync::Arc;

use strongroom_crypto::SecretBytes;
use strongroom_store::{
    BlobReader, Boot, Error, Inbox, Incoming, LogReader, LogRow, LogState, Position, Received,
    Store,
};
use strongroom_vault::{LogIndex, ObjectId, State};

/// A transaction of [`Disk::commit`].
pub use strongroom_store::Batch;

/// Up to where the rows of the state reflect the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedTo {
    /// The last Raft entry; `None` before the first.
    pub position: Option<Position>,
    /// The members up to it, as [`Batch::applied_to`] gave them.
    pub members: Option<Vec<u8>>,
    /// The vault's number of entries.
    pub index: LogIndex,
}

/// The writer's side: one owner, one transaction at a time.
pub trait Disk: Send {
    /// This start of the HSM.
    fn boot(&self) -> Boot;

    /// Where the log begins and ends.
    fn log_state(&self) -> LogState;

    /// The vote, as it was given.
    fn vote(&self) -> Option<Vec<u8>>;

    /// The last entry that was known to be committed.
    fn committed(&self) -> Option<Position>;

    /// Up to where the state's rows go.
    fn applied(&self) -> AppliedTo;

    /// Writes a batch in one transaction. When it returns, the batch is on disk.
    ///
    /// # Errors
    /// Any error is final: what the disk holds is not known any more.
    fn commit(&mut self, batch: &Batch) -> Result<(), Error>;

    /// The state as it is on disk now, to be read while the disk goes on; a witness's, the snapshot that
    /// it keeps. `None` where there is none yet.
    ///
    /// # Errors
    /// Where the disk fails.
    fn snapshot(&mut self) -> Result<Option<SnapshotSource>, Error>;

    /// Replaces the state by a snapshot, in one transaction, and gives the new one. The log keeps what
    /// follows the snapshot's entry where it has that entry, and else nothing.
    ///
    /// # Errors
    /// Where the snapshot contradicts itself, and then nothing has changed; or the disk fails.
    fn install(
        &mut self,
        position: Position,
        chunks: &mut dyn Iterator<Item = Result<SecretBytes, Error>>,
    ) -> Result<State, Error>;

    /// What [`Disk::install`] is to an HSM, this is to a witness: keeps the snapshot as it came, and
    /// with it the `secrets` that each HSM opens it with.
    ///
    /// # Errors
    /// As [`Disk::install`].
    fn keep(
        &mut self,
        position: Position,
        members: &[u8],
        secrets: &[u8],
        chunks: Spooled,
    ) -> Result<(), Error>;

    /// The readers' side.
    fn reader(&self) -> Arc<dyn DiskReader>;

    /// The end, in order.
    ///
    /// # Errors
    /// Where the disk fails. What was committed is safe all the same.
    fn close(self: Box<Self>) -> Result<(), Error>;
}

/// The readers' side: any thread, beside the writer, seeing what is committed.
pub trait DiskReader: Send + Sync {
    /// The log's rows of `range`, without gaps, until they are `bytes_max` bytes together; the first
    /// one whatever its length.
    ///
    /// # Errors
    /// Where a row does not open, or the disk fails.
    fn log(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogRow>, Error>;

    /// A masked object.
    ///
    /// # Errors
    /// Where the row does not open, or the disk fails.
    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, Error>;

    /// A place for a snapshot on its way in.
    ///
    /// # Errors
    /// Where the disk fails.
    fn spool(&self) -> Result<Spool, Error>;

    /// Reads nothing more.
    fn close(&self);
}

/// A snapshot of which sealed chunks come in.
pub enum Spool {
    /// A store's.
    File(Incoming),
    /// A simulated disk's.
    Memory(Vec<Vec<u8>>),
}

/// All of a snapshot's chunks, as they came.
pub enum Spooled {
    /// A store's.
    File(Received),
    /// A simulated disk's.
    Memory(Vec<Vec<u8>>),
}

/// Chunks as they were sealed.
pub type SealedChunks = Box<dyn Iterator<Item = Result<Vec<u8>, Error>> + Send>;

impl Spool {
    /// Adds the next chunk.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        match self {
            Self::File(incoming) => incoming.push(chunk),
            Self::Memory(chunks) => {
                chunks.push(chunk.to_vec());
                Ok(())
            }
        }
    }

    /// All have come.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn finish(self) -> Result<Spooled, Error> {
        Ok(match self {
            Self::File(incoming) => Spooled::File(incoming.finish()?),
            Self::Memory(chunks) => Spooled::Memory(chunks),
        })
    }
}

impl Spooled {
    /// The chunks, in order.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn chunks(&self) -> Result<SealedChunks, Error> {
        Ok(match self {
            Self::File(received) => Box::new(received.chunks()?),
            Self::Memory(chunks) => Box::new(chunks.clone().into_iter().map(Ok)),
        })
    }
}

/// A snapshot's chunks on their way out.
pub enum Chunks {
    /// In the clear: to be sealed before they leave.
    Plain(Box<dyn Iterator<Item = Result<SecretBytes, Error>> + Send>),
    /// As another HSM sealed them: a witness's.
    Sealed(SealedChunks),
}

/// A snapshot that is read.
pub struct SnapshotSource {
    /// The last Raft entry in it.
    pub position: Position,
    /// The members up to it, as [`Batch::applied_to`] gave them.
    pub members: Vec<u8>,
    /// As [`Disk::keep`] was given them; empty on an HSM.
    pub secrets: Vec<u8>,
    /// What is in it.
    pub chunks: Chunks,
}

/// A store as a disk.
pub struct StoreDisk {
    store: Store,
    readers: Arc<StoreReaders>,
}

impl StoreDisk {
    /// Of an open store.
    #[must_use]
    pub fn new(store: Store, blobs: BlobReader) -> Self {
        let readers = StoreReaders { log: store.log_reader(), blobs, inbox: store.inbox() };
        let readers = Arc::new(readers);
        Self { store, readers }
    }
}

impl Disk for StoreDisk {
    fn boot(&self) -> Boot {
        self.store.boot()
    }

    fn log_state(&self) -> LogState {
        self.store.log_state()
    }

    fn vote(&self) -> Option<Vec<u8>> {
        self.store.vote().map(<[u8]>::to_vec)
    }

    fn committed(&self) -> Option<Position> {
        self.store.committed()
    }

    fn applied(&self) -> AppliedTo {
        let (position, members, index) = self.store.applied();
        AppliedTo { position, members: members.map(<[u8]>::to_vec), index }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        self.store.commit(batch)
    }

    fn snapshot(&mut self) -> Result<Option<SnapshotSource>, Error> {
        if let Some(kept) = self.store.kept() {
            return Ok(Some(SnapshotSource {
                position: kept.position(),
                members: kept.membership().to_vec(),
                secrets: kept.secrets().to_vec(),
                chunks: Chunks::Sealed(Box::new(kept.chunks()?)),
            }));
        }
        // A store of the first format knows no members until the first of this one are applied.
        let reader = self.store.snapshot()?.filter(|reader| !reader.header().membership.is_empty());
        Ok(reader.map(|reader| SnapshotSource {
            position: reader.header().position,
            members: reader.header().membership.clone(),
            secrets: Vec::new(),
            chunks: Chunks::Plain(Box::new(reader)),
        }))
    }

    fn install(
        &mut self,
        position: Position,
        chunks: &mut dyn Iterator<Item = Result<SecretBytes, Error>>,
    ) -> Result<State, Error> {
        self.store.install(position, chunks)
    }

    fn keep(
        &mut self,
        position: Position,
        members: &[u8],
        secrets: &[u8],
        chunks: Spooled,
    ) -> Result<(), Error> {
        match chunks {
            Spooled::File(received) => self.store.keep(position, members, secrets, received),
            Spooled::Memory(_) => Err(Error::Snapshot("its chunks are not in a file")),
        }
    }

    fn reader(&self) -> Arc<dyn DiskReader> {
        self.readers.clone()
    }

    fn close(self: Box<Self>) -> Result<(), Error> {
        self.store.close()
    }
}

struct StoreReaders {
    log: LogReader,
    blobs: BlobReader,
    inbox: Inbox,
}

impl DiskReader for StoreReaders {
    fn log(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogRow>, Error> {
        self.log.read(&range, bytes_max)
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, Error> {
        self.blobs.read(id)
    }

    fn spool(&self) -> Result<Spool, Error> {
        Ok(Spool::File(self.inbox.begin()?))
    }

    fn close(&self) {
        self.log.close();
        self.blobs.close();
    }
}
