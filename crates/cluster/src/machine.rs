//! Applying what is committed: to the state in memory at once, to the disk with the next transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, RaftSnapshotBuilder, StorageIOError};
use strongroom_store::Applied;
use strongroom_vault::{Change, Command, Committed, LogIndex, NodeId, State, codec};

use crate::disk::Chunks;
use crate::log::{Log, gone};
use crate::options::Ended;
use crate::payload::BatchEntry;
use crate::raft::{
    Entry, LogId, Membership, Payload, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};
use crate::shared::Shared;
use crate::snapshot::{self, SnapshotData};
use crate::storage::Incoming;
use crate::{Error, describe, payload, sealing};

type Snapshot = openraft::Snapshot<TypeConfig>;

/// The state machine as openraft sees it.
pub(crate) struct Machine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) applied: Option<LogId>,
    pub(crate) members: StoredMembership,
}

/// What the entries of one call leave for the disk.
#[derive(Default)]
struct Left {
    applied: Vec<Applied>,
    answers: Vec<(u64, Committed)>,
    bytes: usize,
    topology: bool,
}

impl Machine {
    fn apply_all(&mut self, entries: impl Iterator<Item = Entry>) -> Result<usize, Error> {
        let mut left = Left::default();
        let mut count = 0;
        let mut members = None;
        let mut last = None;
        for entry in entries {
            count += 1;
            last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(payload) => self.apply_batch(&payload, &mut left)?,
                EntryPayload::Membership(membership) => {
                    let is_in = |of: &Membership| of.get_node(&self.shared.node).is_some();
                    if is_in(self.members.membership()) && !is_in(&membership) {
                        self.shared.end(Ended::Removed);
                    }
                    self.members = StoredMembership::new(Some(entry.log_id), membership);
                    members = Some(payload::encode_stored(&self.members));
                }
            }
        }
        let Some(last) = last else { return Ok(0) };
        self.applied = Some(last);
        let shared = &self.shared;
        let index = left.applied.last().map(|applied| applied.index);
        shared.storage.applied(left.applied, payload::position(&last), members, left.bytes);
        if let Some(index) = index {
            shared.state.publish(index);
        }
        shared.applied_to(&last);
        for (counter, committed) in left.answers {
            shared.proposals.applied(counter, committed);
        }
        if left.topology
            && let Some(observer) = &shared.observer
        {
            observer.members_changed(&shared.state.read());
        }
        Ok(count)
    }

    fn apply_batch(&self, payload: &Payload, left: &mut Left) -> Result<(), Error> {
        let Some(keys) = &self.shared.keys else {
            // A witness keeps what it does not understand.
            return Ok(());
        };
        let batch = payload::open_batch(payload)?;
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        self.shared.entries.fetch_add(batch.entries.len() as u64, Ordering::Relaxed);
        for BatchEntry { node, boot, counter, sealed } in batch.entries {
            let plaintext = sealing::open(&keys.secrets.cluster()?.log, &sealed)?;
            let entry = codec::decode_entry(plaintext.as_bytes())
                .map_err(|_| Error::Entry("the vault does not know its form"))?;
            let rotation = match &entry.command {
                Command::RotateSecrets { epoch, sealed } => Some((*epoch, sealed.clone())),
                _ => None,
            };
            let topology = is_topology(&entry.command);
            let (index, result, changes) = {
                let mut state = self.shared.state.write();
                let index = LogIndex(state.applied().0 + 1);
                let mut audit = describe::before(&state, index, &entry);
                let (result, changes) = state.apply(index, entry);
                describe::after(&mut audit, &result);
                left.bytes += changes.iter().map(bytes).sum::<usize>();
                self.shared.overlay.apply(index, &changes);
                left.applied.push(Applied { index, changes: changes.clone(), audit });
                (index, result, changes)
            };
            drop(changes);
            if result.is_ok() {
                if let Some((epoch, sealed)) = rotation {
                    self.take_rotation(epoch, &sealed)?;
                }
                left.topology |= topology;
            }
            if node == self.shared.node && boot == self.shared.boot.number {
                left.answers.push((counter, Committed { index, result }));
            }
        }
        Ok(())
    }

    /// Opens this node's copy of new secrets. One that began again under another number finds it under
    /// the number that it had then, which it does not know any more: the copy is the one that opens.
    fn take_rotation(&self, epoch: u64, sealed: &[(NodeId, Vec<u8>)]) -> Result<(), Error> {
        let mine = NodeId(self.shared.node);
        if let Some((_, own)) = sealed.iter().find(|(node, _)| *node == mine) {
            return self.rotate(epoch, own);
        }
        let Some(keys) = &self.shared.keys else { return Ok(()) };
        if keys.secrets.cluster()?.epoch() < epoch {
            // Where none opens, what is sealed with them does not either, and says so.
            let _ = sealed.iter().any(|(_, copy)| self.rotate(epoch, copy).is_ok());
        }
        Ok(())
    }

    fn rotate(&self, epoch: u64, sealed: &[u8]) -> Result<(), Error> {
        let observer = self.shared.observer.as_ref();
        let observer =
            observer.ok_or(Error::Options("secrets are rotated and nobody opens them"))?;
        observer.secrets_rotated(epoch, sealed)
    }

    async fn install(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), Error> {
        let SnapshotData::Received(inbox) = data else {
            return Err(Error::Options("a snapshot that was not received"));
        };
        let last = meta.last_log_id.ok_or(Error::Peer("a snapshot of nothing"))?;
        let position = inbox.position();
        let incoming = match &self.shared.keys {
            Some(keys) => Incoming::Install(inbox.opened(keys.secrets.clone())?),
            None => inbox.kept()?,
        };
        let installed = self.shared.storage.install(position, incoming).await;
        let (state, log) = installed.map_err(|_| Error::Stopped)??;
        self.log.replaced(&log);
        self.applied = Some(last);
        self.members = meta.last_membership.clone();
        if let Some(state) = state {
            self.shared.overlay.reset();
            let index = state.applied();
            self.catch_up_secrets(&state)?;
            *self.shared.state.write() = state;
            self.shared.state.publish(index);
            if let Some(observer) = &self.shared.observer {
                observer.members_changed(&self.shared.state.read());
            }
        }
        self.shared.applied_to(&last);
        // Whether it has them does not show.
        self.shared.proposals.take_all_back();
        Ok(())
    }

    /// Rotations that the snapshot has and this node has not seen.
    fn catch_up_secrets(&self, state: &State) -> Result<(), Error> {
        let Some(keys) = &self.shared.keys else { return Ok(()) };
        let epoch = keys.secrets.cluster()?.epoch();
        let missed: Vec<(u64, Vec<u8>)> = state
            .rotations(NodeId(self.shared.node), epoch)
            .map(|(epoch, sealed)| (epoch, sealed.to_vec()))
            .collect();
        missed.iter().try_for_each(|(epoch, sealed)| self.rotate(*epoch, sealed))
    }

    fn failed(&self, error: Error) -> StorageError {
        if !matches!(error, Error::Stopped) {
            self.shared.fail(&error);
        }
        StorageIOError::write_state_machine(AnyError::new(&error)).into()
    }
}

/// Whether members come, go or change by it.
fn is_topology(command: &Command) -> bool {
    matches!(
        command,
        Command::AddMember { .. }
            | Command::RemoveMember { .. }
            | Command::UpdateMember { .. }
            | Command::Recovered { .. }
    )
}

/// About how much memory a change holds until it is on disk.
fn bytes(change: &Change) -> usize {
    match change {
        Change::Put { key, value } => key.len() + value.len(),
        Change::Delete { key } => key.len(),
        Change::PutBlob { blob, .. } => blob.len(),
        Change::DeleteBlob { .. } | Change::Clear => 16,
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let applied = self.apply_all(entries.into_iter());
        let count = applied.map_err(|error| self.failed(error))?;
        Ok(vec![(); count])
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            shared: self.shared.clone(),
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.members.clone(),
                snapshot_id: snapshot::name(self.applied.as_ref()),
            },
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError> {
        Ok(Box::new(SnapshotData::Marker))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: Box<SnapshotData>,
    ) -> Result<(), StorageError> {
        self.install(meta, *data).await.map_err(|error| self.failed(error))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        if self.applied.is_none() {
            return Ok(None);
        }
        let source = self.shared.storage.snapshot().await;
        let source = source.map_err(|_| StorageIOError::read_snapshot(None, gone()))?;
        // A witness has no state of its own to show.
        let shown = source.filter(|source| {
            self.shared.keys.is_some() || matches!(source.chunks, Chunks::Sealed(_))
        });
        let snapshot = shown.map(snapshot::of_source).transpose();
        snapshot.map_err(|error| self.failed(error))
    }
}

/// A snapshot is whatever the disk has when it is sent. To build one is to make sure that the disk has
/// what openraft is told.
pub(crate) struct Builder {
    shared: Arc<Shared>,
    meta: SnapshotMeta,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let flushed = self.shared.storage.flush().await;
        flushed.map_err(|_| StorageIOError::read_snapshot(None, gone()))?;
        if self.shared.keys.is_none() {
            // A witness has what it keeps, and no other.
            let kept = self.shared.storage.snapshot().await.ok().flatten();
            let kept = kept.filter(|kept| matches!(kept.chunks, Chunks::Sealed(_)));
            let meta = kept.map(snapshot::of_source).transpose().ok().flatten();
            let meta = meta.map(|snapshot| snapshot.meta).unwrap_or_default();
            return Ok(Snapshot { meta, snapshot: Box::new(SnapshotData::Marker) });
        }
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(SnapshotData::Marker) })
    }
}
