//! The one owner of the disk: what waits goes into one transaction, so that one fsync serves many.
//!
//! Urgent are the log and the vote, for which somebody waits. The rows of what was applied, and the
//! records of key use, go with whatever comes next, or after a while by themselves: the log has the
//! one, and half a second of the other may be lost (`docs/spec/log.md`, "Transactions").

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::storage::LogFlushed;
use strongroom_crypto::SecretBytes;
use strongroom_store::{Applied, LogRow, LogState, Position};
use strongroom_vault::{Gate, ReplicationError, State};
use strongroom_wire::limits::{AUDIT_DELAY_MS_MAX, AUDIT_QUEUE_BYTES_MAX};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::Error;
use crate::disk::{Batch, Disk, SnapshotSource, Spooled};
use crate::options::{Latency, StorageExecutor};
use crate::overlay::Overlay;
use crate::payload;
use crate::raft::{LogId, TypeConfig};

/// Applied rows wait at most so long for company.
const APPLIED_DELAY: Duration = Duration::from_millis(50);
/// So many bytes of applied rows wait for nobody.
const APPLIED_BYTES_ENOUGH: usize = 4 * 1024 * 1024;
/// Nor do so many bytes of key-use records.
const USES_BYTES_ENOUGH: usize = AUDIT_QUEUE_BYTES_MAX / 16;
/// Who is held up by a slow disk looks again after so long.
const HELD_UP: Duration = Duration::from_secs(3600);

/// A snapshot's chunks in the clear, as they are installed.
pub(crate) type PlainChunks =
    Box<dyn Iterator<Item = Result<SecretBytes, strongroom_store::Error>> + Send>;

/// What installing a snapshot gave: the state, where there is one, and where the log stands.
pub(crate) type Installed = Result<(Option<State>, LogState), strongroom_store::Error>;

/// A snapshot that is put in the state's place.
pub(crate) enum Incoming {
    /// By an HSM.
    Install(PlainChunks),
    /// By a witness, with the members in it and what each HSM opens it with.
    Keep { members: Vec<u8>, secrets: Vec<u8>, chunks: Spooled },
}

/// What is to be done, in order.
enum Work {
    Truncate(u64, oneshot::Sender<()>),
    Append(Vec<LogRow>, LogFlushed<TypeConfig>),
    Vote(Vec<u8>, oneshot::Sender<()>),
    Committed(Position),
    Applied(Vec<Applied>, Position, Option<Vec<u8>>),
    Uses(Vec<u8>),
    Purge(Position),
    /// Everything before is to be on disk.
    Flush(oneshot::Sender<()>),
    Snapshot(oneshot::Sender<Option<SnapshotSource>>),
    Install(Position, Incoming, oneshot::Sender<Installed>),
}

/// The handle of the disk's owner.
pub(crate) struct Storage {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    arrived_in_task: Notify,
    /// The uses were taken, or the queue closed.
    emptied: Gate,
    ended: AtomicBool,
    transactions: AtomicU64,
    /// The last entry that was appended since the start, once it is on disk.
    kept: Mutex<Option<LogId>>,
    overlay: Arc<Overlay>,
    fatal: Arc<dyn Fn(&Error) + Send + Sync>,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    urgent: bool,
    /// How long what came since the owner last looked may wait. Who adds work may be on a thread where
    /// the runtime's clock is not known.
    delay: Option<Duration>,
    /// When what is not urgent must be written all the same.
    due: Option<Instant>,
    applied_bytes: usize,
    uses_bytes: usize,
    purge_to: Option<Position>,
    closed: Option<ReplicationError>,
}

impl Storage {
    /// Starts the owner of `disk`. In a task, it must be called in the runtime.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub(crate) fn start(
        disk: Box<dyn Disk>,
        executor: StorageExecutor,
        overlay: Arc<Overlay>,
        fatal: Arc<dyn Fn(&Error) + Send + Sync>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            kept: Mutex::default(),
            arrived: Condvar::new(),
            arrived_in_task: Notify::new(),
            emptied: Gate::new(),
            ended: AtomicBool::new(false),
            transactions: AtomicU64::new(0),
            overlay,
            fatal,
        });
        let owner = shared.clone();
        let thread = match executor {
            StorageExecutor::Thread => {
                let thread = std::thread::Builder::new()
                    .name("storage".to_owned())
                    .spawn(move || owner.run_thread(disk))
                    .map_err(Error::Thread)?;
                Some(thread)
            }
            StorageExecutor::Task(latency) => {
                tokio::spawn(async move { owner.run_task(disk, latency).await });
                None
            }
        };
        Ok(Self { shared, thread: Mutex::new(thread) })
    }

    /// Takes the log's end back. On disk when it resolves.
    pub(crate) fn truncate(&self, from: u64) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.shared.add(Work::Truncate(from, done), Urgency::Now);
        flushed
    }

    /// Appends to the log; openraft is told when it is on disk.
    pub(crate) fn append(&self, rows: Vec<LogRow>, flushed: LogFlushed<TypeConfig>) {
        self.shared.add(Work::Append(rows, flushed), Urgency::Now);
    }

    /// Keeps the vote. On disk when it resolves.
    pub(crate) fn vote(&self, vote: Vec<u8>) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.shared.add(Work::Vote(vote, done), Urgency::Now);
        flushed
    }

    /// Notes what is committed, with whatever transaction comes next.
    pub(crate) fn committed(&self, position: Position) {
        self.shared.add(Work::Committed(position), Urgency::Later(0));
    }

    /// Writes the rows of what was applied, with whatever transaction comes next.
    pub(crate) fn applied(
        &self,
        entries: Vec<Applied>,
        to: Position,
        members: Option<Vec<u8>>,
        bytes: usize,
    ) {
        self.shared.add(Work::Applied(entries, to, members), Urgency::Later(bytes));
    }

    /// Forgets the log's beginning, with whatever transaction comes next.
    pub(crate) fn purge(&self, to: Position) {
        self.shared.add(Work::Purge(to), Urgency::Later(0));
    }

    /// Resolves when everything before is on disk.
    pub(crate) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.shared.add(Work::Flush(done), Urgency::Now);
        flushed
    }

    /// The state as it is on disk.
    pub(crate) fn snapshot(&self) -> oneshot::Receiver<Option<SnapshotSource>> {
        let (done, taken) = oneshot::channel();
        self.shared.add(Work::Snapshot(done), Urgency::Now);
        taken
    }

    /// Puts a snapshot in the state's place.
    pub(crate) fn install(
        &self,
        position: Position,
        incoming: Incoming,
    ) -> oneshot::Receiver<Installed> {
        let (done, installed) = oneshot::channel();
        self.shared.add(Work::Install(position, incoming, done), Urgency::Now);
        installed
    }

    /// Adds a block of key-use records. Where a slow disk has left no room, waits until it has caught
    /// up: keys are then used as fast as their use can be recorded.
    pub(crate) fn append_uses(&self, block: Vec<u8>) -> Result<(), ReplicationError> {
        let bytes = block.len();
        loop {
            {
                let mut waiting = self.shared.lock();
                if let Some(reason) = &waiting.closed {
                    return Err(reason.clone());
                }
                if waiting.has_room_for(bytes) {
                    waiting.uses_bytes += bytes;
                    let delay = Duration::from_millis(AUDIT_DELAY_MS_MAX);
                    waiting.may_wait(delay);
                    waiting.urgent |= waiting.uses_bytes >= USES_BYTES_ENOUGH;
                    waiting.work.push_back(Work::Uses(block));
                    self.shared.wake();
                    return Ok(());
                }
            }
            self.shared.emptied.wait(HELD_UP, || {
                let waiting = self.shared.lock();
                waiting.closed.is_some() || waiting.has_room_for(bytes)
            });
        }
    }

    /// Whether the disk takes more.
    pub(crate) fn is_open(&self) -> Result<(), ReplicationError> {
        self.shared.lock().closed.clone().map_or(Ok(()), Err)
    }

    /// The last entry that was appended and is on disk; `None` where nothing was since the start, or
    /// was taken back.
    pub(crate) fn kept(&self) -> Option<LogId> {
        *self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Transactions since the start.
    pub(crate) fn transactions(&self) -> u64 {
        self.shared.transactions.load(Ordering::Relaxed)
    }

    /// Takes nothing more; what waits is written, and then the disk closed.
    pub(crate) fn close(&self) {
        let mut waiting = self.shared.lock();
        waiting.closed.get_or_insert(ReplicationError::Stopping);
        self.shared.wake();
        drop(waiting);
        self.shared.emptied.notify();
    }

    /// Waits until the disk is closed, where it has a thread.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread catches its panics, and has told of them.
            let _ = thread.join();
        }
    }

    /// Whether the disk is closed.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }
}

/// When work is to be done.
enum Urgency {
    Now,
    /// With others; it holds so many bytes of memory.
    Later(usize),
}

impl Waiting {
    /// A block that is larger than all the room is taken alone.
    fn has_room_for(&self, bytes: usize) -> bool {
        self.uses_bytes == 0 || self.uses_bytes.saturating_add(bytes) <= AUDIT_QUEUE_BYTES_MAX
    }

    fn may_wait(&mut self, delay: Duration) {
        self.delay = Some(self.delay.map_or(delay, |shorter| shorter.min(delay)));
    }

    /// Whether something is to be done now: asked by the owner.
    fn ready(&mut self) -> bool {
        let now = Instant::now();
        if let Some(delay) = self.delay.take() {
            let due = now + delay;
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
        self.urgent
            || self.due.is_some_and(|due| due <= now)
            || (self.closed.is_some() && !self.work.is_empty())
    }
}

impl Shared {
    fn add(&self, work: Work, urgency: Urgency) {
        let mut waiting = self.lock();
        if self.ended.load(Ordering::Acquire) {
            // Whoever waits sees its sender dropped.
            return;
        }
        waiting.work.push_back(work);
        match urgency {
            Urgency::Now => waiting.urgent = true,
            Urgency::Later(bytes) => {
                waiting.applied_bytes += bytes;
                waiting.may_wait(APPLIED_DELAY);
                waiting.urgent |= waiting.applied_bytes >= APPLIED_BYTES_ENOUGH;
            }
        }
        self.wake();
    }

    fn keeps(&self, last: Option<LogId>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    fn wake(&self) {
        self.arrived.notify_one();
        self.arrived_in_task.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_thread(&self, mut disk: Box<dyn Disk>) {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            while let Some(transaction) = self.wait() {
                transaction.run(&mut *disk, self)?;
            }
            Ok(())
        }));
        self.end(disk, ended.unwrap_or(Err(Error::Panicked)));
    }

    async fn run_task(&self, mut disk: Box<dyn Disk>, latency: Latency) {
        let ended = loop {
            let due = {
                let mut waiting = self.lock();
                if waiting.ready() {
                    None
                } else if waiting.closed.is_some() {
                    break Ok(());
                } else {
                    Some(waiting.due)
                }
            };
            match due {
                Some(Some(due)) => {
                    // Whichever comes first.
                    let _ = tokio::time::timeout_at(due, self.arrived_in_task.notified()).await;
                }
                Some(None) => self.arrived_in_task.notified().await,
                None => {
                    let transaction = Transaction::take(&mut self.lock(), self);
                    tokio::time::sleep(latency(&transaction.batch)).await;
                    if let Err(error) = transaction.run(&mut *disk, self) {
                        break Err(error);
                    }
                }
            }
        };
        self.end(disk, ended);
    }

    /// Waits for work; `None` when the queue is closed and empty.
    fn wait(&self) -> Option<Transaction> {
        let mut waiting = self.lock();
        loop {
            if waiting.ready() {
                return Some(Transaction::take(&mut waiting, self));
            }
            if waiting.closed.is_some() {
                return None;
            }
            waiting = match waiting.due {
                Some(due) => {
                    let patience = due.saturating_duration_since(Instant::now());
                    self.arrived
                        .wait_timeout(waiting, patience)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn end(&self, disk: Box<dyn Disk>, ended: Result<(), Error>) {
        match ended {
            Ok(()) => {
                if let Err(error) = disk.close() {
                    // All that was answered is on disk; the next start reads the write-ahead log.
                    tracing::error!(%error, "the store was not closed in order");
                }
            }
            Err(error) => {
                // What the disk has is not known. Nobody may be told anything any more: the handler
                // ends the process.
                (self.fatal)(&error);
                self.lock().closed = Some(ReplicationError::Storage(error.to_string()));
            }
        }
        self.ended.store(true, Ordering::Release);
        // Senders that are dropped tell whoever waits.
        self.lock().work.clear();
        self.emptied.notify();
    }
}

/// One transaction, and who waits for it.
struct Transaction {
    batch: Batch,
    /// The log may forget up to here when that is applied on disk.
    purge_to: Option<Position>,
    written: bool,
    flushed: Vec<LogFlushed<TypeConfig>>,
    done: Vec<oneshot::Sender<()>>,
    alone: Option<Work>,
}

impl Transaction {
    /// All that waits and fits together.
    fn take(waiting: &mut Waiting, shared: &Shared) -> Self {
        let mut transaction = Self {
            batch: Batch::default(),
            purge_to: waiting.purge_to.take(),
            written: false,
            flushed: Vec::new(),
            done: Vec::new(),
            alone: None,
        };
        while let Some(work) = waiting.work.pop_front() {
            if let Some(work) = transaction.add(work) {
                waiting.work.push_front(work);
                break;
            }
            if transaction.alone.is_some() {
                break;
            }
        }
        // What is left is as urgent as it was: it is done at once.
        waiting.urgent = !waiting.work.is_empty();
        waiting.delay = None;
        waiting.due = None;
        waiting.applied_bytes = 0;
        waiting.uses_bytes = 0;
        shared.emptied.notify();
        transaction
    }

    /// Gives the work back where it has to wait for the next transaction.
    fn add(&mut self, work: Work) -> Option<Work> {
        match work {
            // A transaction takes back before it appends.
            Work::Truncate(from, done) => {
                if self.written {
                    return Some(Work::Truncate(from, done));
                }
                self.batch.truncate_from = Some(from);
                self.done.push(done);
            }
            Work::Append(rows, flushed) => {
                self.batch.append.extend(rows);
                self.flushed.push(flushed);
            }
            Work::Vote(vote, done) => {
                self.batch.vote = Some(vote);
                self.done.push(done);
            }
            Work::Committed(position) => self.batch.committed = Some(position),
            Work::Applied(entries, to, members) => {
                self.batch.applied.extend(entries);
                let before = self.batch.applied_to.take().and_then(|(_, members)| members);
                self.batch.applied_to = Some((to, members.or(before)));
            }
            Work::Uses(block) => self.batch.uses.push(block),
            Work::Purge(to) => self.purge_to = Some(to),
            Work::Flush(done) => {
                self.done.push(done);
                return None;
            }
            Work::Snapshot(_) | Work::Install(..) => {
                if self.written {
                    return Some(work);
                }
                self.alone = Some(work);
                return None;
            }
        }
        self.written = true;
        None
    }

    fn run(mut self, disk: &mut dyn Disk, shared: &Shared) -> Result<(), Error> {
        if let Some(to) = self.purge_to {
            let applied = self.batch.applied_to.as_ref().map(|(position, _)| *position);
            let applied = applied.or(disk.applied().position);
            if applied.is_some_and(|applied| applied.index >= to.index) {
                self.batch.purge_to = Some(to);
            } else {
                // A snapshot that is not installed yet: this one comes after it.
                shared.lock().purge_to.get_or_insert(to);
            }
        }
        if self.written {
            disk.commit(&self.batch)?;
            shared.transactions.fetch_add(1, Ordering::Relaxed);
            if let Some(last) = self.batch.append.last() {
                shared.keeps(Some(payload::log_id(&last.position())));
            } else if self.batch.truncate_from.is_some() {
                shared.keeps(None);
            }
            if let Some(last) = self.batch.applied.last() {
                shared.overlay.written(last.index);
            }
        }
        for flushed in self.flushed {
            flushed.log_io_completed(Ok(()));
        }
        // Who is gone needs no answer.
        for done in self.done {
            let _ = done.send(());
        }
        match self.alone {
            Some(Work::Snapshot(done)) => {
                let _ = done.send(disk.snapshot()?);
            }
            Some(Work::Install(position, incoming, done)) => {
                let installed = match incoming {
                    Incoming::Install(mut chunks) => disk.install(position, &mut chunks).map(Some),
                    Incoming::Keep { members, secrets, chunks } => {
                        disk.keep(position, &members, &secrets, chunks).map(|()| None)
                    }
                };
                let _ = done.send(installed.map(|state| (state, disk.log_state())));
            }
            _ => {}
        }
        Ok(())
    }
}
