//! A state that the first released version wrote: it knew no members and no policies, and of a login
//! only whose it was.

use super::State;
use crate::Change;
use crate::codec::{self, Key, TopologyRecord};

/// Loads the records of the first released version, as [`State::load`] and [`State::finish_load`] do
/// those of this one.
///
/// What that version did not know is as a cluster begins with it. Its logins end: nobody could prove
/// to be the client of one.
#[derive(Default)]
pub struct FirstVersion {
    state: State,
    changes: Vec<Change>,
}

impl FirstVersion {
    /// Puts one of the store's records.
    ///
    /// # Errors
    /// As [`State::load`].
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), codec::Error> {
        if Key::is_login(key) {
            self.changes.push(Change::Delete { key: key.to_vec() });
            return Ok(());
        }
        self.state.load(key, value)
    }

    /// The state, and what must be written for the records to be this version's.
    ///
    /// # Errors
    /// As [`State::finish_load`].
    pub fn finish(self) -> Result<(State, Vec<Change>), codec::Error> {
        let Self { mut state, mut changes } = self;
        let mut put = |key: Key, value| changes.push(Change::Put { key: key.to_bytes(), value });
        state.progress.next_node = State::FIRST_NODE;
        put(Key::Progress, codec::encode_progress(&state.progress));
        if let Some(cluster) = &state.cluster {
            let mut topology = TopologyRecord::default();
            if cluster.cluster_certificate.is_some() {
                topology.certified_generation = topology.generation;
            }
            put(Key::Topology, codec::encode_topology(&topology));
            state.topology = Some(topology);
        }
        state.finish_load()?;
        Ok((state, changes))
    }
}
