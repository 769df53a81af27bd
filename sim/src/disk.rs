//! The virtual disk: what was not synced when its machine lost power is gone.
//!
//! It keeps what SQLite promises: a transaction happened whole or not at all, and happened before
//! [`Disk::commit`] returns. Chance decides, when a machine crashes in the middle of one, which of both
//! it was. A disk may be slow, full or broken, may be put back to an older copy of itself; and may be
//! told to lie: then it says that a transaction is safe before it is (a mutant, which must be caught).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_cluster::disk::{
    AppliedTo, Batch, Chunks, Disk, DiskReader, SnapshotSource, Spool, Spooled,
};
use strongroom_crypto::SecretBytes;
use strongroom_store::{Boot, Error, LogRow, LogState, Position};
use strongroom_vault::{Change, LogIndex, ObjectId, State};

use crate::dice::Dice;

/// Bytes of a snapshot's chunk: small, so that small states have several.
const CHUNK_BYTES: usize = 2048;
/// A disk that lies syncs one transaction of so many.
const LIAR_SYNCS: u64 = 8;

/// All that a disk holds.
#[derive(Clone, Default)]
pub struct Image {
    boots: u64,
    log: BTreeMap<u64, LogRow>,
    purged: Option<Position>,
    vote: Option<Vec<u8>>,
    committed: Option<Position>,
    applied: AppliedTo,
    rows: BTreeMap<Vec<u8>, Arc<[u8]>>,
    blobs: BTreeMap<ObjectId, Arc<[u8]>>,
    /// A witness's snapshot.
    kept: Option<Kept>,
    /// Blocks of key-use records.
    pub uses: u64,
}

/// A snapshot as another HSM sealed it.
#[derive(Clone)]
struct Kept {
    position: Position,
    members: Vec<u8>,
    secrets: Vec<u8>,
    chunks: Vec<Vec<u8>>,
}

impl Image {
    /// The log after a snapshot up to `position`: what follows that entry stays, where the log has it.
    fn follow(&mut self, position: Position) {
        let agrees = self.log.get(&position.index).is_some_and(|row| row.position() == position);
        let after = self.log.split_off(&(position.index + 1));
        self.log = if agrees { after } else { BTreeMap::new() };
        self.purged = Some(position);
        self.committed = self.committed.filter(|at| at.index > position.index);
    }

    fn log_state(&self) -> LogState {
        let last = self.log.values().next_back().map(LogRow::position).or(self.purged);
        LogState { purged: self.purged, last }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        if let Some(from) = batch.truncate_from {
            if self.applied.position.is_some_and(|position| position.index >= from) {
                return Err(Error::Bug("an applied entry is taken back"));
            }
            self.log.split_off(&from);
        }
        for row in &batch.append {
            if row.index != self.log_state().next_index() {
                return Err(Error::Bug("a gap in the log"));
            }
            self.log.insert(row.index, row.clone());
        }
        if let Some(vote) = &batch.vote {
            self.vote = Some(vote.clone());
        }
        self.committed = batch.committed.or(self.committed);
        for applied in &batch.applied {
            if applied.index.0 != self.applied.index.0 + 1 {
                return Err(Error::Bug("an entry is applied out of order"));
            }
            self.applied.index = applied.index;
            applied.changes.iter().for_each(|change| self.change(change));
        }
        if let Some((position, members)) = &batch.applied_to {
            self.applied.position = Some(*position);
            if let Some(members) = members {
                self.applied.members = Some(members.clone());
            }
        }
        self.uses += batch.uses.len() as u64;
        if let Some(purged) = batch.purge_to {
            self.log = self.log.split_off(&(purged.index + 1));
            self.purged = Some(purged);
        }
        Ok(())
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Put { key, value } => drop(self.rows.insert(key.clone(), value[..].into())),
            Change::Delete { key } => drop(self.rows.remove(key)),
            Change::PutBlob { id, blob } => drop(self.blobs.insert(*id, blob[..].into())),
            Change::DeleteBlob { id } => drop(self.blobs.remove(id)),
            Change::Clear => {
                self.rows.clear();
                self.blobs.clear();
            }
        }
    }

    /// The state that its records make.
    ///
    /// # Errors
    /// Where they make none.
    pub fn state(&self) -> Result<State, Error> {
        let mut state = State::new();
        for (key, value) in &self.rows {
            state.load(key, value).map_err(|_| Error::Bug("a record does not decode"))?;
        }
        state.finish_load().map_err(|_| Error::Bug("the records contradict each other"))?;
        Ok(state)
    }
}

/// How a disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    #[default]
    Good,
    /// Each transaction takes so many milliseconds more.
    Slow(u64),
    /// It takes nothing more.
    Full,
    /// It says that transactions are safe which are not (a mutant).
    Lies,
    /// It does not keep votes (a mutant).
    ForgetsVotes,
    /// When its process starts again, the answers that clients got are gone (a mutant).
    ForgetsReplies,
}

/// A machine's disk, which outlives its processes. Clones are the same one.
#[derive(Clone)]
pub struct Platter(Arc<Mutex<Inner>>);

struct Inner {
    dice: Dice,
    health: Health,
    /// What its processes see.
    seen: Image,
    /// What a crash leaves, where the disk lies.
    synced: Option<Image>,
    transactions: u64,
    /// An older copy was put back.
    old: bool,
    /// A transaction under way.
    under_way: Option<Batch>,
    /// Rises with each start of a process: one that is gone writes nothing.
    life: u64,
}

impl Platter {
    /// A new, empty disk.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            dice,
            health: Health::Good,
            seen: Image::default(),
            synced: None,
            transactions: 0,
            old: false,
            under_way: None,
            life: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All is well with it again; a mutant stays one.
    pub fn mend(&self) {
        let mut inner = self.lock();
        if matches!(inner.health, Health::Slow(_) | Health::Full) {
            inner.health = Health::Good;
        }
    }

    /// Changes how the disk is; a mutant stays one.
    pub fn set_health(&self, health: Health) {
        let mut inner = self.lock();
        if !matches!(inner.health, Health::Good | Health::Slow(_) | Health::Full) {
            return;
        }
        let lies = health == Health::Lies;
        inner.synced = lies.then(|| inner.seen.clone());
        inner.health = health;
    }

    /// How the disk is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.lock().health
    }

    /// The machine's process ends at once.
    pub fn crash(&self) {
        let mut inner = self.lock();
        inner.life += 1;
        if let Some(batch) = inner.under_way.take()
            && inner.dice.chance(500)
        {
            // A batch that is refused would not have been written either.
            let _ = inner.seen.write(&batch);
        }
        if let Some(synced) = inner.synced.clone() {
            inner.seen = synced;
        }
    }

    /// A copy of all that is on it.
    #[must_use]
    pub fn copy(&self) -> Image {
        self.lock().seen.clone()
    }

    /// Puts a copy back, while no process runs.
    pub fn put_back(&self, image: Image) {
        let mut inner = self.lock();
        inner.life += 1;
        inner.seen = image;
        inner.old = true;
    }

    /// Whether an older copy was put back.
    #[must_use]
    pub fn is_old(&self) -> bool {
        self.lock().old
    }

    /// Everything is gone.
    pub fn wipe(&self) {
        self.put_back(Image::default());
        self.lock().old = false;
    }

    /// A process opens the disk: its side, and the state that is there.
    ///
    /// # Errors
    /// Where the records make no state.
    pub fn open(&self) -> Result<(VirtualDisk, State), Error> {
        let mut inner = self.lock();
        inner.life += 1;
        inner.under_way = None;
        inner.seen.boots += 1;
        if inner.health == Health::ForgetsReplies {
            // Records of clients and of replies, by the first byte of their keys.
            inner.seen.rows.retain(|key, _| !matches!(key.first(), Some(5 | 6)));
        }
        let boots = inner.seen.boots;
        if let Some(synced) = &mut inner.synced {
            synced.boots = boots;
        }
        let state = inner.seen.state()?;
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&inner.dice.draw().to_be_bytes());
        let boot = Boot { number: inner.seen.boots, salt };
        let life = inner.life;
        drop(inner);
        Ok((VirtualDisk { platter: self.clone(), life, boot }, state))
    }

    /// How long a transaction takes, which begins now.
    #[must_use]
    pub fn begin(&self, batch: &Batch) -> Duration {
        let mut inner = self.lock();
        inner.under_way = Some(batch.clone());
        let base = inner.dice.between(0, 2);
        let more = match inner.health {
            Health::Slow(most) => inner.dice.between(most / 2, most),
            _ => 0,
        };
        Duration::from_millis(base + more)
    }
}

/// A process's side of a disk.
pub struct VirtualDisk {
    platter: Platter,
    life: u64,
    boot: Boot,
}

impl VirtualDisk {
    fn inner(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        let inner = self.platter.lock();
        if inner.life == self.life { Ok(inner) } else { Err(Error::Closed) }
    }

    /// Writes in one go.
    fn transact(&self, write: impl FnOnce(&mut Image) -> Result<(), Error>) -> Result<(), Error> {
        let mut inner = self.inner()?;
        if inner.health == Health::Full {
            return Err(Error::Failed);
        }
        inner.under_way = None;
        write(&mut inner.seen)?;
        inner.transactions += 1;
        if inner.synced.is_some() && inner.dice.below(LIAR_SYNCS) == 0 {
            inner.synced = Some(inner.seen.clone());
        }
        Ok(())
    }
}

impl Disk for VirtualDisk {
    fn boot(&self) -> Boot {
        self.boot
    }

    fn log_state(&self) -> LogState {
        self.platter.lock().seen.log_state()
    }

    fn vote(&self) -> Option<Vec<u8>> {
        self.platter.lock().seen.vote.clone()
    }

    fn committed(&self) -> Option<Position> {
        self.platter.lock().seen.committed
    }

    fn applied(&self) -> AppliedTo {
        self.platter.lock().seen.applied.clone()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        let forgets = self.inner()?.health == Health::ForgetsVotes;
        self.transact(|image| {
            let vote = image.vote.clone();
            image.write(batch)?;
            if forgets {
                image.vote = vote;
            }
            Ok(())
        })
    }

    fn snapshot(&mut self) -> Result<Option<SnapshotSource>, Error> {
        let image = self.inner()?.seen.clone();
        if let Some(Kept { position, members, secrets, chunks }) = image.kept {
            let chunks = Chunks::Sealed(Box::new(chunks.into_iter().map(Ok)));
            return Ok(Some(SnapshotSource { position, members, secrets, chunks }));
        }
        let Some(position) = image.applied.position else { return Ok(None) };
        let members = image.applied.members.clone().unwrap_or_default();
        let chunks = chunks(&image).into_iter().map(|chunk| Ok(SecretBytes::new(chunk)));
        let chunks = Chunks::Plain(Box::new(chunks));
        Ok(Some(SnapshotSource { position, members, secrets: Vec::new(), chunks }))
    }

    fn install(
        &mut self,
        position: Position,
        chunks: &mut dyn Iterator<Item = Result<SecretBytes, Error>>,
    ) -> Result<State, Error> {
        let mut head = None;
        let mut rows = BTreeMap::new();
        let mut blobs = BTreeMap::new();
        for chunk in chunks {
            let chunk = chunk?;
            let mut left = chunk.as_bytes();
            while !left.is_empty() {
                let ((kind, key, value), rest) =
                    take_row(left).ok_or(Error::Snapshot("a chunk is malformed"))?;
                left = rest;
                match kind {
                    HEAD => head = Some((take_numbers(key)?, value.to_vec())),
                    RECORD => drop(rows.insert(key.to_vec(), value.into())),
                    _ => {
                        let id = ObjectId::from_slice(key).ok_or(Error::Snapshot("a blob's id"))?;
                        blobs.insert(id, value.into());
                    }
                }
            }
        }
        let ([index, records, many_blobs], members) =
            head.ok_or(Error::Snapshot("it has no head"))?;
        if rows.len() as u64 != records || blobs.len() as u64 != many_blobs {
            return Err(Error::Snapshot("it is not whole"));
        }
        self.transact(|image| {
            (image.rows, image.blobs) = (rows, blobs);
            image.follow(position);
            let (position, members) = (Some(position), Some(members));
            image.applied = AppliedTo { position, members, index: LogIndex(index) };
            Ok(())
        })?;
        self.inner()?.seen.state()
    }

    fn keep(
        &mut self,
        position: Position,
        members: &[u8],
        secrets: &[u8],
        chunks: Spooled,
    ) -> Result<(), Error> {
        let Spooled::Memory(chunks) = chunks else {
            return Err(Error::Snapshot("its chunks are not in memory"));
        };
        self.transact(|image| {
            let (members, secrets) = (members.to_vec(), secrets.to_vec());
            image.kept = Some(Kept { position, members: members.clone(), secrets, chunks });
            image.applied.position = Some(position);
            image.applied.members = Some(members);
            image.follow(position);
            Ok(())
        })
    }

    fn reader(&self) -> Arc<dyn DiskReader> {
        Arc::new(Reader { platter: self.platter.clone(), life: self.life })
    }

    fn close(self: Box<Self>) -> Result<(), Error> {
        self.inner().map(drop)
    }
}

struct Reader {
    platter: Platter,
    life: u64,
}

impl Reader {
    fn inner(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        let inner = self.platter.lock();
        if inner.life == self.life { Ok(inner) } else { Err(Error::Closed) }
    }
}

impl DiskReader for Reader {
    fn log(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogRow>, Error> {
        let inner = self.inner()?;
        let mut rows = Vec::new();
        let mut bytes = 0_usize;
        for row in inner.seen.log.range(range).map(|(_, row)| row) {
            bytes = bytes.saturating_add(row.payload.len());
            if !rows.is_empty() && bytes > bytes_max {
                break;
            }
            rows.push(row.clone());
        }
        Ok(rows)
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.inner()?.seen.blobs.get(&id).map(|blob| blob.to_vec()))
    }

    fn spool(&self) -> Result<Spool, Error> {
        self.inner().map(|_| Spool::Memory(Vec::new()))
    }

    fn close(&self) {}
}

/// Kinds of rows of a snapshot.
const HEAD: u8 = 0;
const RECORD: u8 = 1;
const BLOB: u8 = 2;

/// `kind u8 | key length u32 | key | value length u32 | value`, over and over.
fn chunks(image: &Image) -> Vec<Vec<u8>> {
    let numbers = [image.applied.index.0, image.rows.len() as u64, image.blobs.len() as u64];
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    let members = image.applied.members.clone().unwrap_or_default();
    let head = std::iter::once((HEAD, &numbers[..], &members[..]));
    let rows = image.rows.iter().map(|(key, value)| (RECORD, &key[..], &value[..]));
    let blobs = image.blobs.iter().map(|(id, blob)| (BLOB, &id.0[..], &blob[..]));
    let mut chunks = vec![Vec::new()];
    for (kind, key, value) in head.chain(rows).chain(blobs) {
        if chunks.last().is_none_or(|chunk: &Vec<u8>| chunk.len() >= CHUNK_BYTES) {
            chunks.push(Vec::new());
        }
        let Some(chunk) = chunks.last_mut() else { continue };
        chunk.push(kind);
        for part in [key, value] {
            chunk.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            chunk.extend(part);
        }
    }
    chunks
}

fn take_numbers(bytes: &[u8]) -> Result<[u64; 3], Error> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    match (numbers, rest) {
        ([index, records, blobs], []) => {
            Ok([index, records, blobs].map(|n| u64::from_be_bytes(*n)))
        }
        _ => Err(Error::Snapshot("its head is malformed")),
    }
}

type Row<'a> = (u8, &'a [u8], &'a [u8]);

fn take_row(bytes: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (key, rest) = take_part(rest)?;
    let (value, rest) = take_part(rest)?;
    Some(((*kind, key, value), rest))
}

fn take_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: u64) -> LogRow {
        LogRow { index, term: 1, leader: 1, payload: vec![1] }
    }

    fn appended(index: u64) -> Batch {
        Batch { append: vec![row(index)], ..Batch::default() }
    }

    fn length(platter: &Platter) -> u64 {
        platter.open().unwrap().0.log_state().next_index()
    }

    #[test]
    fn what_was_committed_is_there_after_a_crash_and_what_was_under_way_whole_or_not_at_all() {
        let mut kept = 0;
        for seed in 0..100 {
            let platter = Platter::new(Dice::new(seed));
            let (mut disk, _) = platter.open().unwrap();
            disk.commit(&appended(0)).unwrap();
            let _ = platter.begin(&appended(1));
            platter.crash();
            assert!(disk.commit(&appended(1)).is_err(), "by a process that is gone");
            kept += length(&platter) - 1;
        }
        assert!((20..80).contains(&kept), "{kept}");
    }

    #[test]
    fn a_disk_that_lies_loses_what_it_said_was_safe() {
        let lost = (0..100).filter(|seed| {
            let platter = Platter::new(Dice::new(*seed));
            platter.set_health(Health::Lies);
            let (mut disk, _) = platter.open().unwrap();
            (0..4).for_each(|index| disk.commit(&appended(index)).unwrap());
            platter.crash();
            length(&platter) < 4
        });
        assert!(lost.count() > 50);
    }

    #[test]
    fn a_full_disk_takes_nothing_and_loses_nothing() {
        let platter = Platter::new(Dice::new(1));
        let (mut disk, _) = platter.open().unwrap();
        disk.commit(&appended(0)).unwrap();
        platter.set_health(Health::Full);
        assert!(disk.commit(&appended(1)).is_err());
        assert_eq!(length(&platter), 1);
    }

    #[test]
    fn a_snapshot_carries_records_and_blobs() {
        let mut image = Image::default();
        for number in 0..200_u8 {
            image.rows.insert(vec![number], vec![number; 50][..].into());
            image.blobs.insert(ObjectId([number; 16]), vec![number; 20][..].into());
        }
        let chunks = chunks(&image);
        assert!(chunks.len() > 3);
        let mut rows = 0;
        for chunk in &chunks {
            let mut left = &chunk[..];
            while !left.is_empty() {
                (_, left) = take_row(left).unwrap();
                rows += 1;
            }
        }
        assert_eq!(rows, 401);
    }
}
