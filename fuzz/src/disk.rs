//! A store in memory: the records and blobs that a state's changes leave.

use std::collections::{BTreeMap, HashMap};

use strongroom_vault::{Change, ObjectId, State};

/// What a disk would hold.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) records: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) blobs: HashMap<ObjectId, Vec<u8>>,
}

impl Disk {
    /// Writes what one entry changed.
    pub(crate) fn write(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, value } => drop(self.records.insert(key, value)),
                Change::Delete { key } => drop(self.records.remove(&key)),
                Change::PutBlob { id, blob } => drop(self.blobs.insert(id, blob)),
                Change::DeleteBlob { id } => drop(self.blobs.remove(&id)),
                Change::Clear => *self = Self::default(),
            }
        }
    }

    /// The state that a restart finds.
    ///
    /// # Panics
    /// Where the records do not load: changes must never leave such.
    pub(crate) fn load(&self) -> State {
        let mut state = State::new();
        for (key, value) in &self.records {
            state.load(key, value).expect("a record that a change wrote loads");
        }
        state.finish_load().expect("records that changes wrote belong together");
        state
    }

    /// Checks that a restart finds what is in memory.
    pub(crate) fn check(&self, state: &State) {
        assert_eq!(self.load().digest(), state.digest(), "disk and memory are one state");
    }
}
