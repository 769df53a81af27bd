//! The log as openraft sees it: on the disk, with its newest entries in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, EntryPayload, LogState, RaftLogReader, StorageIOError};
use strongroom_wire::limits::BATCH_BYTES_ENOUGH;

use crate::Error;
use crate::disk::{Disk, DiskReader};
use crate::payload;
use crate::raft::{Entry, LogId, StorageError, TypeConfig, Vote};
use crate::shared::Fence;
use crate::storage::Storage;

/// Entries in memory, in bytes: they are read at once to be sent and applied.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an entry takes beside its payload.
const ENTRY_BYTES: usize = 128;

/// The log; clones are of the same.
#[derive(Clone)]
pub(crate) struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<Storage>,
    reader: Arc<dyn DiskReader>,
    fence: Arc<Fence>,
    state: Mutex<State>,
}

struct State {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    committed: Option<LogId>,
    cache: BTreeMap<u64, Entry>,
    cache_bytes: usize,
}

impl Log {
    /// Reads where the log stands from a disk that its owner has not got yet.
    ///
    /// # Errors
    /// Where the vote is malformed.
    pub(crate) fn open(
        disk: &dyn Disk,
        fence: Arc<Fence>,
    ) -> Result<impl FnOnce(Arc<Storage>) -> Self + use<>, Error> {
        let reader = disk.reader();
        let vote = match disk.vote() {
            Some(bytes) => {
                let (vote, stored) = payload::decode_vote(&bytes)?;
                fence.raise(stored);
                // A leader that restarts is none: it has to be elected, or a disk that was put back
                // could give other entries under numbers that others have already.
                Some(Vote::new(vote.leader_id.term, vote.leader_id.node_id))
            }
            None => None,
        };
        let log = disk.log_state();
        let state = State {
            vote,
            purged: log.purged.as_ref().map(payload::log_id),
            last: log.last.as_ref().map(payload::log_id),
            committed: disk.committed().as_ref().map(payload::log_id),
            cache: BTreeMap::new(),
            cache_bytes: 0,
        };
        Ok(move |storage| Self {
            inner: Arc::new(Inner { storage, reader, fence, state: Mutex::new(state) }),
        })
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.inner.lock().last
    }

    /// The last entry that is known to be committed.
    pub(crate) fn committed(&self) -> Option<LogId> {
        self.inner.lock().committed
    }

    /// A snapshot took the place of the log, or of its beginning.
    pub(crate) fn replaced(&self, log: &strongroom_store::LogState) {
        let mut state = self.inner.lock();
        state.purged = log.purged.as_ref().map(payload::log_id);
        state.last = log.last.as_ref().map(payload::log_id);
        state.committed = state.committed.max(state.purged);
        let first = state.purged.map_or(0, |purged| purged.index + 1);
        let next = state.last.map_or(0, |last| last.index + 1);
        let mut kept = state.cache.split_off(&first);
        kept.split_off(&next);
        state.cache_bytes = kept.values().map(size).sum();
        state.cache = kept;
    }

    // openraft's error, and its traits want it.
    #[expect(clippy::result_large_err)]
    fn read(&self, range: (u64, u64), bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        let (start, end) = range;
        {
            let state = self.inner.lock();
            let first = state.cache.keys().next().copied();
            if first.is_some_and(|first| first <= start) || start >= end {
                let mut bytes = 0;
                let found = state.cache.range(start..end.max(start)).map(|(_, entry)| entry);
                let fits = |entry: &&Entry| {
                    let first = bytes == 0;
                    bytes += size(entry);
                    first || bytes <= bytes_max
                };
                return Ok(found.take_while(fits).cloned().collect());
            }
        }
        let rows = self.inner.reader.log(start..end, bytes_max);
        let rows = rows.map_err(|error| StorageIOError::read_logs(AnyError::new(&error)))?;
        rows.iter()
            .map(payload::from_row)
            .collect::<Result<_, _>>()
            .map_err(|error| StorageIOError::read_logs(AnyError::new(&error)).into())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cache(&mut self, entry: Entry) {
        self.cache_bytes += size(&entry);
        self.cache.insert(entry.log_id.index, entry);
    }

    /// Drops the oldest, which are on disk.
    fn shrink(&mut self, on_disk: u64) {
        while self.cache_bytes > CACHE_BYTES_MAX
            && self.cache.first_key_value().is_some_and(|(index, _)| *index < on_disk)
        {
            if let Some((_, entry)) = self.cache.pop_first() {
                self.cache_bytes -= size(&entry);
            }
        }
    }
}

fn size(entry: &Entry) -> usize {
    ENTRY_BYTES
        + match &entry.payload {
            EntryPayload::Normal(payload) => payload.0.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => ENTRY_BYTES,
        }
}

/// The disk's owner is gone: its fatal handler has run.
pub(crate) fn gone() -> AnyError {
    AnyError::error("the store takes nothing more")
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read((start, end), usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read((start, end), BATCH_BYTES_ENOUGH)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let state = self.inner.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.inner.lock().vote = Some(*vote);
        let flushed = self.inner.storage.vote(payload::encode_vote(vote, self.inner.fence.get()));
        flushed.await.map_err(|_| StorageIOError::write_vote(gone()).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.inner.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(committed) = committed {
            self.inner.lock().committed = Some(committed);
            self.inner.storage.committed(payload::position(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.inner.lock().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut rows = Vec::new();
        {
            let mut state = self.inner.lock();
            // What came before was flushed: openraft waits for each append.
            let on_disk = state.last.map_or(0, |last| last.index + 1);
            for entry in entries {
                rows.push(payload::to_row(&entry));
                state.last = Some(entry.log_id);
                state.cache(entry);
            }
            state.shrink(on_disk);
        }
        self.inner.storage.append(rows, callback);
        Ok(())
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        {
            let mut state = self.inner.lock();
            for (_, entry) in state.cache.split_off(&from.index) {
                state.cache_bytes -= size(&entry);
            }
        }
        let flushed = self.inner.storage.truncate(from.index);
        flushed.await.map_err(|_| StorageIOError::write_logs(gone()))?;
        let before = match from.index.checked_sub(1) {
            Some(index) => self.read((index, from.index), usize::MAX)?.pop().map(|e| e.log_id),
            None => None,
        };
        let mut state = self.inner.lock();
        state.last = before.or(state.purged);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        {
            let mut state = self.inner.lock();
            if state.purged.is_some_and(|purged| purged.index >= upto.index) {
                return Ok(());
            }
            let kept = state.cache.split_off(&(upto.index + 1));
            for (_, entry) in std::mem::replace(&mut state.cache, kept) {
                state.cache_bytes -= size(&entry);
            }
            state.purged = Some(upto);
            if state.last.is_none_or(|last| last.index < upto.index) {
                state.last = Some(upto);
            }
        }
        self.inner.storage.purge(payload::position(&upto));
        Ok(())
    }
}
