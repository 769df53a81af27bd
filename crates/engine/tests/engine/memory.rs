//! A replicator of one voter whose disk is memory, and a clock that tests turn.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use strongroom_crypto::SecretBytes;
use strongroom_engine::{EpochSecrets, UseLog};
use strongroom_vault::{
    Actor, Change, ClientId, Command, Committed, Entry, LogIndex, ObjectId, ReplicationError,
    Replicator, SharedState, State, codec,
};

thread_local! {
    /// Each test has its own time.
    static CLOCK: Cell<u64> = const { Cell::new(1_700_000_000_000) };
}

pub(crate) fn now_ms() -> u64 {
    CLOCK.get()
}

/// Lets time pass on this thread.
pub(crate) fn pass_ms(ms: u64) {
    CLOCK.set(CLOCK.get() + ms);
}

/// The cluster's secrets, which can be replaced: each epoch has keys of its own.
pub(crate) struct Epochs {
    oldest: AtomicU64,
    newest: AtomicU64,
}

impl Epochs {
    /// New secrets; the older ones stay.
    pub(crate) fn rotate(&self) {
        self.newest.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets what is older than this.
    pub(crate) fn forget_before(&self, epoch: u64) {
        self.oldest.store(epoch, Ordering::Relaxed);
    }

    fn key(&self, first: u8, epoch: u64) -> Option<SecretBytes> {
        let there = (self.oldest.load(Ordering::Relaxed)..=self.epoch()).contains(&epoch);
        there.then(|| SecretBytes::new(vec![first + epoch as u8 - 1; 32]))
    }
}

impl EpochSecrets for Epochs {
    fn epoch(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    fn masking(&self, epoch: u64) -> Option<SecretBytes> {
        self.key(0x11, epoch)
    }

    fn ticket(&self, epoch: u64) -> Option<SecretBytes> {
        self.key(0x22, epoch)
    }
}

/// A replicator of one voter whose disk is memory: records and blobs as a store would have them.
pub(crate) struct Memory {
    pub(crate) epochs: Arc<Epochs>,
    order: Mutex<()>,
    pub(crate) shared: SharedState,
    pub(crate) records: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(crate) blobs: Mutex<HashMap<ObjectId, Vec<u8>>>,
    /// Every entry, encoded as the log has it.
    pub(crate) log: Mutex<Vec<Vec<u8>>>,
    pub(crate) fails: AtomicBool,
    /// Entries are applied and not on disk yet.
    pub(crate) lags: AtomicBool,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let epochs = Epochs { oldest: AtomicU64::new(1), newest: AtomicU64::new(1) };
        Self {
            epochs: Arc::new(epochs),
            order: Mutex::default(),
            shared: SharedState::new(State::new()),
            records: Mutex::default(),
            blobs: Mutex::default(),
            log: Mutex::default(),
            fails: AtomicBool::new(false),
            lags: AtomicBool::new(false),
        }
    }

    /// What a restart finds: the same disk, and a state built from it.
    pub(crate) fn restarted(&self) -> Self {
        let records = self.records.lock().unwrap().clone();
        let mut state = State::new();
        for (key, value) in &records {
            state.load(key, value).unwrap();
        }
        state.finish_load().unwrap();
        Self {
            epochs: Arc::clone(&self.epochs),
            order: Mutex::default(),
            shared: SharedState::new(state),
            records: Mutex::new(records),
            blobs: Mutex::new(self.blobs.lock().unwrap().clone()),
            log: Mutex::new(self.log.lock().unwrap().clone()),
            fails: AtomicBool::new(false),
            lags: AtomicBool::new(false),
        }
    }

    /// The last entry on the disk.
    pub(crate) fn durable(&self) -> u64 {
        self.shared.durable().0
    }

    /// How many logins are open.
    pub(crate) fn shared_logins(&self) -> usize {
        self.shared.read().logins().count()
    }

    /// A user as the cluster knows it.
    pub(crate) fn user(&self, name: &str) -> strongroom_vault::User {
        self.shared.read().user_by_name(name).cloned().unwrap()
    }

    /// How many keys may sign a recovery.
    pub(crate) fn state_recovery_keys(&self) -> usize {
        self.shared.read().recovery_keys().0.len()
    }

    /// The certificate of the cluster's key.
    pub(crate) fn cluster_certificate(&self) -> Vec<u8> {
        self.shared.read().cluster_certificate().unwrap().to_vec()
    }

    pub(crate) fn system(&self, command: Command) {
        let entry = Entry {
            time_ms: now_ms(),
            client: ClientId::default(),
            sequence: 0,
            lowest_unanswered: 0,
            actor: Actor::System,
            command,
        };
        self.propose(entry).unwrap().result.unwrap();
    }
}

impl Replicator for Memory {
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(ReplicationError::NoQuorum);
        }
        let _order = self.order.lock().unwrap();
        let encoded = codec::encode_entry(&entry);
        assert_eq!(codec::decode_entry(&encoded).unwrap(), entry, "an entry survives the log");
        self.log.lock().unwrap().push(encoded);
        let (index, result) = {
            let mut state = self.shared.write();
            let index = LogIndex(state.applied().0 + 1);
            let (result, changes) = state.apply(index, entry);
            let mut records = self.records.lock().unwrap();
            let mut blobs = self.blobs.lock().unwrap();
            for change in changes {
                match change {
                    Change::Put { key, value } => drop(records.insert(key, value)),
                    Change::Delete { key } => drop(records.remove(&key)),
                    Change::PutBlob { id, blob } => drop(blobs.insert(id, blob)),
                    Change::DeleteBlob { id } => drop(blobs.remove(&id)),
                    Change::Clear => {
                        records.clear();
                        blobs.clear();
                    }
                }
            }
            (index, result)
        };
        if !self.lags.load(Ordering::Relaxed) {
            self.shared.publish(index);
        }
        Ok(Committed { index, result })
    }

    fn read_barrier(&self) -> Result<LogIndex, ReplicationError> {
        Ok(self.shared.durable())
    }

    fn state(&self) -> &SharedState {
        &self.shared
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError> {
        Ok(self.blobs.lock().unwrap().get(&id).cloned())
    }
}

/// Keeps blocks of use records.
#[derive(Default)]
pub(crate) struct Uses(pub(crate) Mutex<Vec<Vec<u8>>>);

impl UseLog for Uses {
    fn append(&self, block: Vec<u8>) {
        self.0.lock().unwrap().push(block);
    }
}
