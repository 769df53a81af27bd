//! A cluster of one HSM: agreed is what its disk has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use strongroom_store::{BlobReader, Folder, Secrets, Store};
use strongroom_vault::{
    Committed, Entry, LogIndex, ObjectId, ReplicationError, Replicator, SharedState, State,
};

use crate::queue::{Proposal, Queue};
use crate::sealing::EntrySealer;
use crate::writer::Writer;
use crate::{Error, Options};

/// How much was committed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Entries.
    pub entries: u64,
    /// Transactions, each with one fsync of the write-ahead log.
    pub batches: u64,
}

/// What the front and the writer's thread share.
pub(crate) struct Shared {
    pub(crate) state: SharedState,
    pub(crate) queue: Queue,
    pub(crate) entries: AtomicU64,
    pub(crate) batches: AtomicU64,
}

/// The replicator of a cluster of one HSM.
pub struct OneVoter {
    shared: Arc<Shared>,
    blobs: BlobReader,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl OneVoter {
    /// Opens the folder's store, checks all of it, and starts.
    ///
    /// # Errors
    /// [`strongroom_store::Error::Tampered`] within [`Error::Store`] where a record does not check,
    /// and as [`Store::open`].
    pub fn open(folder: Folder, secrets: Arc<Secrets>) -> Result<Self, Error> {
        Self::open_with(folder, secrets, Options::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`OneVoter::open`].
    pub fn open_with(
        folder: Folder,
        secrets: Arc<Secrets>,
        options: Options,
    ) -> Result<Self, Error> {
        let (store, state, blobs) = Store::open(folder, secrets.clone())?;
        Self::start(store, state, blobs, secrets, options)
    }

    /// Starts on an open store, whose state is `state`.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn start(
        store: Store,
        state: State,
        blobs: BlobReader,
        secrets: Arc<Secrets>,
        options: Options,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            state: SharedState::new(state),
            queue: Queue::default(),
            entries: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        });
        let sealer = EntrySealer::new(secrets, store.boot())?;
        let writer = Writer { store, sealer, shared: shared.clone(), options };
        let thread = std::thread::Builder::new()
            .name("replicator".to_owned())
            .spawn(move || writer.run())
            .map_err(Error::Thread)?;
        Ok(Self { shared, blobs, thread: Mutex::new(Some(thread)) })
    }

    /// Hands over a block of key-use records, which becomes one audit record, durable within a second
    /// on a disk that keeps up. Waits only where more is waiting than memory is set aside for.
    ///
    /// # Errors
    /// Where the HSM is stopping or its store has failed: the caller must then stop using keys, or it
    /// would use them unrecorded.
    pub fn append_use_records(&self, block: Vec<u8>) -> Result<(), ReplicationError> {
        self.shared.queue.append_uses(block)
    }

    /// What was committed since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            entries: self.shared.entries.load(Ordering::Relaxed),
            batches: self.shared.batches.load(Ordering::Relaxed),
        }
    }

    /// Finishes what waits, closes the store and unlocks the folder. What is proposed afterwards
    /// gets [`ReplicationError::Stopping`]. A second call does nothing.
    pub fn stop(&self) {
        self.shared.queue.close(ReplicationError::Stopping);
        self.blobs.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread catches its panics, and has told of them.
            let _ = thread.join();
        }
    }
}

impl Drop for OneVoter {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Replicator for OneVoter {
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
        let (answer, answered) = sync_channel(1);
        self.shared.queue.propose(Proposal { entry, answer })?;
        // The writer drops a proposal without an answer only when it fails.
        answered.recv().unwrap_or_else(|_| {
            Err(ReplicationError::Storage("the writer ended before it answered".to_owned()))
        })
    }

    fn read_barrier(&self) -> Result<LogIndex, ReplicationError> {
        // The only voter: nothing is committed that is not applied and published here.
        Ok(self.shared.state.durable())
    }

    fn state(&self) -> &SharedState {
        &self.shared.state
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError> {
        self.blobs.read(id).map_err(|error| match error {
            strongroom_store::Error::Closed => ReplicationError::Stopping,
            error => {
                tracing::error!(%error, "a sealed object can't be read");
                ReplicationError::Storage(error.to_string())
            }
        })
    }
}
