//! What a store must hold, in the simplest form, and chance that makes batches for it.

use std::collections::BTreeMap;

use strongroom_store::audit::ChangeRecord;
use strongroom_store::{Applied, Batch, BlobReader, Error, LogRow, LogState, Position, Store};
use strongroom_vault::{Change, Command, Entry, Handle, LogIndex, ObjectId, Outcome, State};

use super::{Owner, entry, new_object, set_up};

/// Chance from a seed (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Once in `times`.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        let byte = self.next() as u8;
        (0..length).map(|n| byte.wrapping_add(n as u8)).collect()
    }
}

/// Everything that a store holds.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) purged: Option<Position>,
    pub(crate) log: Vec<LogRow>,
    pub(crate) vote: Option<Vec<u8>>,
    pub(crate) committed: Option<Position>,
    pub(crate) applied: Option<Position>,
    pub(crate) membership: Option<Vec<u8>>,
    pub(crate) index: LogIndex,
    pub(crate) records: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) blobs: BTreeMap<ObjectId, Vec<u8>>,
    /// Audit records but those of starts and installations.
    pub(crate) audited: u64,
}

impl Model {
    /// What a store holds, read in every way that it can be.
    pub(crate) fn read(store: &Store, state: &State, blobs: &BlobReader) -> Result<Self, Error> {
        use strongroom_store::audit::Kind;
        let (applied, membership, index) = store.applied();
        let log = store.log(0..u64::MAX)?;
        assert_eq!(store.log_reader().read(&(0..u64::MAX), usize::MAX)?, log);
        let LogState { purged, last } = store.log_state();
        assert_eq!(last, log.last().map(LogRow::position).or(purged));
        store.verify_audit()?;
        let audit = store.audit(1, 1_000_000)?;
        let audited = audit.iter().filter(|row| matches!(row.kind, Kind::Change | Kind::Uses));
        let mut model = Self {
            purged,
            log,
            vote: store.vote().map(<[u8]>::to_vec),
            committed: store.committed(),
            applied,
            membership: membership.map(<[u8]>::to_vec),
            index,
            records: state.records().collect(),
            blobs: BTreeMap::new(),
            audited: audited.count() as u64,
        };
        for object in objects(state) {
            if let Some(blob) = blobs.read(object.1)? {
                model.blobs.insert(object.1, blob);
            }
        }
        Ok(model)
    }

    pub(crate) fn last(&self) -> Option<Position> {
        self.log.last().map(LogRow::position).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// Rows of the log that are not applied.
    fn unapplied(&self) -> impl Iterator<Item = &LogRow> {
        let applied = self.applied.map_or(0, |applied| applied.index + 1);
        self.log.iter().filter(move |row| row.index >= applied)
    }

    fn change(&mut self, change: &Change) {
        match change.clone() {
            Change::Put { key, value } => drop(self.records.insert(key, value)),
            Change::Delete { key } => drop(self.records.remove(&key)),
            Change::PutBlob { id, blob } => drop(self.blobs.insert(id, blob)),
            Change::DeleteBlob { id } => drop(self.blobs.remove(&id)),
            Change::Clear => {
                self.records.clear();
                self.blobs.clear();
            }
        }
    }

    /// What a batch makes of it.
    pub(crate) fn commit(&mut self, batch: &Batch) {
        if let Some(from) = batch.truncate_from {
            self.log.retain(|row| row.index < from);
        }
        self.log.extend(batch.append.iter().cloned());
        self.vote = batch.vote.clone().or(self.vote.take());
        self.committed = batch.committed.or(self.committed);
        for applied in &batch.applied {
            applied.changes.iter().for_each(|change| self.change(change));
            self.index = applied.index;
        }
        self.audited += (batch.applied.len() + batch.uses.len()) as u64;
        if let Some((position, membership)) = &batch.applied_to {
            self.applied = Some(*position);
            self.membership = membership.clone().or(self.membership.take());
        }
        if let Some(to) = batch.purge_to
            && self.purged.is_none_or(|purged| purged.index < to.index)
        {
            self.log.retain(|row| row.index > to.index);
            self.purged = Some(to);
        }
    }

    /// What a snapshot of `source` makes of it.
    pub(crate) fn install(&mut self, source: &Model) {
        let position = source.applied.unwrap();
        let has_it =
            self.purged == Some(position) || self.log.iter().any(|row| row.position() == position);
        self.log.retain(|row| has_it && row.index > position.index);
        self.purged = Some(position);
        self.applied = Some(position);
        if self.committed.is_none_or(|committed| committed.index < position.index) {
            self.committed = Some(position);
        }
        self.membership = Some(source.membership.clone().unwrap_or_default());
        self.index = source.index;
        self.records = source.records.clone();
        self.blobs = source.blobs.clone();
    }
}

/// All objects, with their ids.
fn objects(state: &State) -> Vec<(Handle, ObjectId)> {
    let first = Handle::FIRST.0;
    let mut found = Vec::new();
    let mut number = first;
    while found.len() < state.object_count() {
        let handle = Handle(number);
        found.extend(state.object(handle).map(|object| (handle, object.id)));
        number += 1;
    }
    found
}

impl std::fmt::Debug for Model {
    /// Without what makes a failure unreadable.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let log: Vec<_> = self.log.iter().map(|row| (row.position(), row.payload.len())).collect();
        f.debug_struct("Model")
            .field("purged", &self.purged)
            .field("log", &log)
            .field("vote", &self.vote)
            .field("committed", &self.committed)
            .field("applied", &self.applied)
            .field("membership", &self.membership.as_ref().map(Vec::len))
            .field("index", &self.index)
            .field("records", &self.records.keys())
            .field("blobs", &self.blobs.keys())
            .field("audited", &self.audited)
            .finish()
    }
}

/// Who makes batches, and what they must leave.
pub(crate) struct Maker {
    pub(crate) rng: Rng,
    pub(crate) state: State,
    pub(crate) model: Model,
    owner: Option<Owner>,
}

impl Maker {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State::new();
        let model = Model { records: state.records().collect(), ..Model::default() };
        Self { rng: Rng(seed), state, model, owner: None }
    }

    /// Goes on from what a store was found to hold.
    pub(crate) fn go_on(&mut self, state: State, model: Model) {
        if state.applied() == LogIndex(0) {
            self.owner = None;
        }
        (self.state, self.model) = (state, model);
    }

    /// Any batch that a replication may write, and what the store must hold after it. The state in
    /// memory is then that of after, as it is in an HSM.
    pub(crate) fn batch(&mut self) -> (Batch, Model) {
        let mut batch = Batch::default();
        let mut model = self.model.clone();
        let mut term = model.last().map_or(1, |last| last.term);
        if self.rng.one_in(5) && model.unapplied().count() > 0 {
            let first = model.unapplied().next().unwrap().index;
            let from = first + self.rng.below(model.next_index() - first + 1);
            batch.truncate_from = Some(from);
            model.commit(&batch);
            term += 1;
        }
        let next = model.next_index();
        batch.append = (0..self.rng.below(4)).map(|n| self.row(next + n, term)).collect();
        if self.rng.one_in(4) {
            let length = self.rng.below(40);
            batch.vote = Some(self.rng.bytes(length));
        }
        model = self.model.clone();
        model.commit(&batch);
        if self.rng.one_in(3) {
            batch.committed = model.last();
        }
        let to_apply: Vec<Position> = model.unapplied().map(LogRow::position).collect();
        if self.rng.below(3) > 0 && !to_apply.is_empty() {
            let position = to_apply[self.rng.below(to_apply.len() as u64) as usize];
            let membership = self.rng.one_in(4).then(|| {
                let length = self.rng.below(600);
                self.rng.bytes(length)
            });
            batch.applied_to = Some((position, membership));
            for _ in 0..self.rng.below(4) {
                self.apply(&mut batch.applied);
            }
        }
        batch.uses = (0..self.rng.below(2)).map(|n| self.rng.bytes(n * 300)).collect();
        let applied = batch.applied_to.as_ref().map(|to| to.0).or(model.applied);
        if let Some(applied) = applied.filter(|_| self.rng.one_in(6)) {
            let back = self.rng.below(4);
            let to = applied.index.saturating_sub(back);
            let mut rows = model.log.iter();
            batch.purge_to = rows.find(|row| row.index == to).map(LogRow::position);
        }
        let mut after = self.model.clone();
        after.commit(&batch);
        (batch, after)
    }

    /// Applies one to three entries more.
    pub(crate) fn entries(&mut self, applied: &mut Vec<Applied>) {
        for _ in 0..1 + self.rng.below(3) {
            self.apply(applied);
        }
    }

    fn row(&mut self, index: u64, term: u64) -> LogRow {
        let length = match self.rng.below(8) {
            0 => self.rng.below(40_000),
            1 => 0,
            _ => self.rng.below(300),
        };
        LogRow { index, term, leader: 1 + term % 3, payload: self.rng.bytes(length) }
    }

    /// Applies an entry, or those that make a cluster.
    fn apply(&mut self, applied: &mut Vec<Applied>) {
        let Some(owner) = self.owner else {
            let state = &mut self.state;
            self.owner = Some(set_up(|entry| apply(state, entry, applied).unwrap()));
            return;
        };
        let objects = objects(&self.state);
        let command = if objects.is_empty() || self.rng.below(3) > 0 {
            let label = self.rng.below(1000).to_string();
            let mut object = new_object(owner, &label);
            if self.rng.one_in(10) {
                let length = 1 + self.rng.below(100_000);
                object.blob = self.rng.bytes(length);
            }
            Command::CreateObjects { objects: vec![object] }
        } else {
            let (handle, _) = objects[self.rng.below(objects.len() as u64) as usize];
            Command::DestroyObject { handle }
        };
        let sequence = self.rng.below(5);
        let client = strongroom_vault::ClientId([self.rng.below(3) as u8; 16]);
        let entry = Entry { sequence, client, ..entry(owner.actor(), command) };
        // Refusals, of a sequence that comes twice, are entries too.
        apply(&mut self.state, entry, applied);
    }
}

fn apply(state: &mut State, entry: Entry, applied: &mut Vec<Applied>) -> Option<Outcome> {
    let index = LogIndex(state.applied().0 + 1);
    let (result, changes) = state.apply(index, entry);
    let audit = ChangeRecord { index: index.0, ..ChangeRecord::default() };
    applied.push(Applied { index, changes, audit });
    result.ok()
}
