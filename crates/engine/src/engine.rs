//! The HSM: what its connections share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use strongroom_vault::{
    Actor, ClientId, Command, Entry, Handle, LogIndex, Object, Outcome, Refusal, ReplicationError,
    Replicator,
};

use crate::apart::Apart;
use crate::audit::{UseBuffers, UseLog};
use crate::barrier::Barriers;
use crate::cache::Contents;
use crate::clients::Clients;
use crate::connection::{Channel, Connection};
use crate::content::Content;
use crate::desk::ClusterDesk;
use crate::error::Error;
use crate::kept::Keeping;
use crate::mask::Masking;
use crate::options::{Clock, Options};
use crate::password::Passwords;
use crate::remask::{LOOKS_MAX, Remasking};
use crate::secrets::EpochSecrets;
use crate::ticket::Tickets;

/// How often absent clients and logins are looked for, in milliseconds.
const ABSENCE_CHECK_MS: u64 = 60_000;

/// What this HSM says of itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `hsm-…`.
    pub hsm_id: String,
    /// Whether FIPS mode's rules hold (the software is not validated).
    pub fips_mode: bool,
}

/// One HSM without a network. Shared by its connections.
pub struct Engine {
    pub(crate) replicator: Arc<dyn Replicator>,
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    pub(crate) masking: Masking,
    pub(crate) tickets: Tickets,
    pub(crate) keeping: Keeping,
    pub(crate) passwords: Passwords,
    pub(crate) contents: Contents,
    pub(crate) clients: Clients,
    pub(crate) uses: UseBuffers,
    pub(crate) desk: Arc<dyn ClusterDesk>,
    pub(crate) barriers: Barriers,
    pub(crate) apart: Apart,
    pub(crate) remasking: Remasking,
    /// The HSM stops in order: clients go elsewhere.
    draining: AtomicBool,
    /// The newest index that a client who is logged in has seen, where it was newer than this HSM.
    seen: AtomicU64,
    /// The newest index that a client has seen and the majority has not got.
    lost: AtomicU64,
    connections: AtomicU64,
    /// The index at the last sweep of the cache.
    swept: AtomicU64,
    absence_checked_ms: AtomicU64,
}

impl Engine {
    /// An HSM over a state that others may change too. `use_log` takes the records of key use.
    #[must_use]
    pub fn new(
        replicator: Arc<dyn Replicator>,
        secrets: Arc<dyn EpochSecrets>,
        identity: Identity,
        use_log: Arc<dyn UseLog>,
        options: Options,
    ) -> Arc<Self> {
        let Options { clock, password_cost, desk, local_counters } = options;
        let first_handle = first_session_handle(clock());
        Arc::new(Self {
            replicator,
            identity,
            clock,
            masking: Masking::new(Arc::clone(&secrets)),
            tickets: Tickets::new(Arc::clone(&secrets)),
            keeping: Keeping::new(secrets),
            passwords: Passwords::new(password_cost),
            contents: Contents::default(),
            clients: Clients::new(first_handle),
            uses: UseBuffers::new(use_log),
            desk,
            barriers: Barriers::default(),
            apart: Apart::new(local_counters),
            remasking: Remasking::default(),
            draining: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            absence_checked_ms: AtomicU64::new(0),
        })
    }

    /// A new connection over a channel.
    #[must_use]
    pub fn connect(self: &Arc<Self>, channel: Channel) -> Connection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connection::new(Arc::clone(self), channel)
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// From now on every request is sent to another HSM; those that run come to their end. To be called
    /// when the process is about to stop, while its connections still are served.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The newest log index that a client who is logged in has seen and this HSM had not. An HSM that
    /// does not come to it was put back to an older state, or its cluster was.
    #[must_use]
    pub fn newest_seen_by_clients(&self) -> LogIndex {
        LogIndex(self.seen.load(Ordering::Relaxed))
    }

    pub(crate) fn seen_by_client(&self, index: LogIndex) {
        self.seen.fetch_max(index.0, Ordering::Relaxed);
    }

    pub(crate) fn seen_and_lost(&self, index: LogIndex) {
        if self.lost.fetch_max(index.0, Ordering::Relaxed) < index.0 {
            tracing::error!(%index, "a client has seen an entry that the majority has not got");
        }
    }

    /// Whether a client has seen entries that the majority has not got.
    pub(crate) fn lost_entries(&self) -> bool {
        self.lost.load(Ordering::Relaxed) > self.replicator.state().durable().0
    }

    pub(crate) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// What must be done from time to time: called each second by the process. Hands on records of
    /// key use, forgets destroyed objects, and clients and logins that are gone for long; gives the
    /// cluster what happened here while this HSM was cut off; masks objects under a new key. May wait
    /// for the majority.
    pub fn housekeeping(&self) {
        self.uses.drain();
        let connected = !self.is_cut_off();
        if connected && let Err(error) = self.settle() {
            tracing::warn!("what happened while this HSM was cut off is not settled yet: {error}");
        }
        self.sweep();
        if connected && let Err(error) = self.remask_step(LOOKS_MAX) {
            tracing::warn!("objects are not masked anew yet: {error}");
        }
        let now_ms = (self.clock)();
        let checked_ms = self.absence_checked_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(checked_ms) >= ABSENCE_CHECK_MS {
            self.absence_checked_ms.store(now_ms, Ordering::Relaxed);
            self.clients.forget_absent(now_ms);
            if connected {
                self.see_and_close_logins(now_ms);
            }
        }
    }

    /// Drops what the cache holds of objects that are gone: destroyed by way of another HSM, or with
    /// their owner.
    fn sweep(&self) {
        let shared = self.replicator.state();
        let index = shared.durable().0;
        if self.swept.swap(index, Ordering::Relaxed) != index {
            let state = shared.read();
            self.contents
                .retain(|handle, id| state.object(handle).is_some_and(|object| object.id == id));
            // A login that ended by way of another HSM has ended its private session objects.
            self.clients.destroy_objects_where(|object| {
                object.needs().is_some_and(|login| {
                    state.login(login).is_none() && self.apart.login(login).is_none()
                })
            });
        }
    }

    /// Proposes an entry; what came of it, and its index.
    pub(crate) fn propose(&self, entry: Entry) -> Result<(LogIndex, Outcome), Error> {
        let committed = match self.replicator.propose(entry) {
            Err(ReplicationError::CutOff) => return Err(self.no_change()),
            committed => committed?,
        };
        Ok((committed.index, committed.result?))
    }

    /// Proposes an entry of the HSM's own, which is not retried under an idempotency key.
    pub(crate) fn propose_own(&self, command: Command) -> Result<(LogIndex, Outcome), Error> {
        self.propose(Entry {
            time_ms: (self.clock)(),
            client: ClientId::default(),
            sequence: 0,
            lowest_unanswered: 0,
            actor: Actor::System,
            command,
        })
    }

    /// Runs the backend's known-answer tests before the process first uses any algorithm; afterwards
    /// costs one load.
    pub(crate) fn self_tested(&self) -> Result<(), Error> {
        // The backend is one for the process, so its test is, too.
        static PASSED: OnceLock<bool> = OnceLock::new();
        let passed = *PASSED.get_or_init(|| match strongroom_crypto::self_test() {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the self-test failed: no key is used");
                false
            }
        });
        if passed { Ok(()) } else { Err(Error::SelfTest) }
    }

    /// A token object's content, from the cache or unmasked. The caller has waited for the index at
    /// which it saw the object.
    pub(crate) fn content(
        &self,
        domain: &[u8; 16],
        object: &Object,
    ) -> Result<Arc<Content>, Error> {
        if let Some(content) = self.contents.get(object.id) {
            if !content.origin.allows(&object.meta) {
                return Err(Error::Damaged("an object's record is not what was sealed"));
            }
            return Ok(content);
        }
        self.self_tested()?;
        let blob = match self.replicator.blob(object.id)? {
            Some(blob) => blob,
            None => self.blob_after_all(object)?,
        };
        let content = self.masking.unmask(domain, object.id, &object.meta, &blob)?;
        self.contents.put(object.handle, object.id, Arc::clone(&content));
        // It may have been destroyed since the caller saw it: then nobody else would drop it.
        if !self.is_there(object) {
            self.contents.drop_object(object.id);
            return Err(Refusal::no_such_object().into());
        }
        Ok(content)
    }

    fn is_there(&self, object: &Object) -> bool {
        let state = self.replicator.state().read();
        state.object(object.handle).is_some_and(|present| present.id == object.id)
    }

    /// A masked object that was not found. It is gone by now; or the disk has a snapshot already that the
    /// state is about to follow; or the store has lost it.
    fn blob_after_all(&self, object: &Object) -> Result<Vec<u8>, Error> {
        match self.replicator.read_barrier() {
            // Who is cut off gets no snapshot.
            Ok(_) | Err(ReplicationError::CutOff) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(blob) = self.replicator.blob(object.id)? {
            return Ok(blob);
        }
        if !self.is_there(object) {
            return Err(Refusal::no_such_object().into());
        }
        const MISSING: &str = "an object's masked blob is missing";
        self.replicator.damaged(MISSING);
        Err(Error::Damaged(MISSING))
    }
}

/// Handles of session objects count on from a random place, so that one from before a restart does
/// not name another object after it.
fn first_session_handle(now_ms: u64) -> Handle {
    let mut place = [0; 8];
    let place = match strongroom_crypto::random(&mut place) {
        Ok(()) => u64::from_le_bytes(place),
        // The time of the start serves as well: 2^20 handles for each millisecond.
        Err(_) => now_ms << 20,
    };
    // With room above, so that handles rise.
    Handle(Handle::SESSION_BIT | (place >> 2))
}
