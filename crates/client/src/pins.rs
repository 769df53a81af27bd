//! Which of the cluster's keys a client takes: those that its configuration pins, read again when the
//! file has changed.
//!
//! In: the pins that the client was opened with, the file that they came from, and the key that an HSM
//! shows. Out: whether an HSM with that key is talked to. A cluster gets a new key while programs run:
//! its owner writes the new pin into the file, and programs go on without a restart. The file decides
//! whom to trust then as when the client was opened, and is checked in the same way.
//!
//! It must never take anything but pins from the file, never go from pins to none, and never ask the
//! file more than once for each new connection.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::config::{Cluster, Config, Target, hex};

/// A file that could not be used is not read again for so long.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The pins of one client.
pub(crate) struct Pins {
    /// `None` where they are not from a file, and stay as they are.
    file: Option<PathBuf>,
    cluster_id: Option<String>,
    state: Mutex<State>,
}

struct State {
    /// The newest last; empty where any key is taken.
    keys: Vec<[u8; 32]>,
    /// The newest of them that an HSM has shown: a cluster does not go back to an older one, but who
    /// has stolen an HSM would.
    newest_shown: Option<[u8; 32]>,
    /// Of the file that `keys` are from. At first it is not known, since the configuration may have
    /// been read long before.
    stamp: Option<Stamp>,
    unusable_since: Option<Instant>,
}

/// Changes with a file's content, or when another file takes its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    changed: (i64, i64),
}

impl Pins {
    /// As a configuration names them.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let state = State {
            keys: cluster.cluster_keys.clone(),
            newest_shown: None,
            stamp: None,
            unusable_since: None,
        };
        Self { file: None, cluster_id: cluster.cluster_id.clone(), state: Mutex::new(state) }
    }

    /// From now on they are what this file says.
    pub(crate) fn follow(&mut self, file: PathBuf) {
        self.file = Some(file);
    }

    /// Reads the file again where it has changed.
    pub(crate) fn read_again(&self) {
        let Some(file) = &self.file else { return };
        let Ok(metadata) = fs::metadata(file) else { return };
        let stamp = Some(Stamp::of(&metadata));
        let mut state = self.state();
        let unusable = state.unusable_since.is_some_and(|at| at.elapsed() < READ_AGAIN_AFTER);
        if state.stamp == stamp || unusable {
            return;
        }
        let config = match Config::read(file) {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!(%error, "the pins stay as they are");
                state.unusable_since = Some(Instant::now());
                return;
            }
        };
        state.stamp = stamp;
        state.unusable_since = None;
        let Target::Cluster(cluster) = config.target else { return };
        if self.is_mine(&cluster) && !cluster.cluster_keys.is_empty() {
            state.keys = cluster.cluster_keys;
        }
    }

    /// Whether the file is still about this client's cluster.
    fn is_mine(&self, named: &Cluster) -> bool {
        match (&self.cluster_id, &named.cluster_id) {
            (Some(mine), Some(named)) => mine == named,
            _ => true,
        }
    }

    /// Whether an HSM that shows this key of the cluster is talked to.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, shown: &[u8; 32]) -> Result<(), String> {
        let state = self.state();
        match state.generation(shown) {
            None if !state.keys.is_empty() => {
                let pins: Vec<String> = state.keys.iter().map(|pin| hex(pin)).collect();
                Err(format!(
                    "the cluster's key is {}, the configuration pins {}: if the cluster has a new \
                     key and you trust it, run `configure-pkcs11 -a` again",
                    hex(shown),
                    pins.join(", ")
                ))
            }
            Some(_) if state.generation(shown) < state.newest_generation() => Err(format!(
                "the HSM shows the cluster's key {}, and other HSMs have shown a newer one",
                hex(shown)
            )),
            _ => Ok(()),
        }
    }

    /// An HSM has proved that its cluster's key is this one: older ones are refused from now on.
    pub(crate) fn shown(&self, key: &[u8; 32]) {
        let mut state = self.state();
        if state.generation(key) > state.newest_generation() {
            state.newest_shown = Some(*key);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The place of a key among the pins, the oldest first.
    fn generation(&self, key: &[u8; 32]) -> Option<usize> {
        self.keys.iter().position(|pin| pin == key)
    }

    fn newest_generation(&self) -> Option<usize> {
        self.newest_shown.and_then(|key| self.generation(&key))
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            // Unlike the time of the content, no program can set this one.
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
