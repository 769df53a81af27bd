//! One simulated HSM: a machine with a disk and a clock, and the shipped node and engine on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_cluster::{
    Custodian, DeviceKeyHash, Ended, Latency, Node, NodeStatus, Observer, Options, Peer,
    StorageExecutor, Transport, take_rotation,
};
use strongroom_crypto::SecretBytes;
use strongroom_engine::{
    Engine, EpochSecrets, Identity, LocalCounters, LocalFailures, PasswordCost, UseLog,
};
use strongroom_store::{ClusterSecrets, EpochKey, KeyRing, Secrets};
use strongroom_vault::{
    Actor, Command, Committed, Contact, Entry, LogIndex, Member, NodeId, ObjectId, Outcome,
    Refusal, ReplicationError, Replicator, SharedState, State, UserId,
};
use strongroom_wire::peer::{PeerReply, PeerRequest};
use tokio::time::sleep;

use crate::bridge;
use crate::disk::Platter;
use crate::mutant::Mutant;
use crate::network::{self, Host, Machine, Port};
use crate::world::World;

/// What all clocks show when a run begins, in milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_700_000_000_000;
/// Raft entries that a log keeps: few, so that short runs send snapshots.
const LOG_ENTRIES_KEPT: u64 = 40;

/// A machine's clock: virtual time, and how far it is from that.
pub struct MachineClock {
    offset_ms: AtomicI64,
    /// Milliseconds that it gains in a thousand seconds.
    drift: AtomicI64,
}

impl MachineClock {
    /// What the clock shows when so much of the run has passed.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> u64 {
        let now = i64::try_from(EPOCH_MS + now_ms).unwrap_or(i64::MAX);
        let ran = i64::try_from(now_ms).unwrap_or(0);
        let gained = ran * self.drift.load(Ordering::Relaxed) / 1_000_000;
        u64::try_from(now + gained + self.offset_ms.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Sets the clock wrong.
    pub fn set(&self, offset_ms: i64, drift: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
        self.drift.store(drift, Ordering::Relaxed);
    }
}

/// A process of an HSM.
#[derive(Clone)]
pub struct Running {
    /// The node.
    pub node: Arc<Node>,
    /// The engine over it; a witness has none.
    pub engine: Option<Arc<Engine>>,
    /// The number of this process on its machine.
    pub life: u64,
}

/// A machine that is an HSM.
pub struct Hsm {
    /// Its number.
    pub machine: Machine,
    /// Whether it votes and no more.
    pub witness: bool,
    /// Its disk.
    pub platter: Platter,
    /// Its clock.
    pub clock: MachineClock,
    /// Its own and the cluster's, which an HSM keeps apart from its store: they survive its processes.
    pub secrets: Arc<Secrets>,
    inner: Mutex<Inner>,
    starts: AtomicU64,
}

#[derive(Default)]
struct Inner {
    node: NodeId,
    running: Option<Running>,
    ended: Option<Ended>,
    failures: Vec<LocalFailures>,
}

impl Hsm {
    /// A machine with an empty disk.
    #[must_use]
    pub fn new(machine: Machine, witness: bool, platter: Platter, secrets: Secrets) -> Arc<Self> {
        Arc::new(Self {
            machine,
            witness,
            platter,
            clock: MachineClock { offset_ms: AtomicI64::new(0), drift: AtomicI64::new(0) },
            secrets: Arc::new(secrets),
            inner: Mutex::default(),
            starts: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands for its device key's SubjectPublicKeyInfo.
    fn device_key(&self) -> Vec<u8> {
        format!("device key {}", self.machine).into_bytes()
    }

    fn device_key_hash(&self) -> DeviceKeyHash {
        self.member().fingerprint()
    }

    /// As the vault keeps it.
    #[must_use]
    pub fn member(&self) -> Member {
        Member {
            node: NodeId(0),
            hsm_id: self.hsm_id(),
            witness: self.witness,
            address: format!("10.0.0.{}", self.machine),
            port_offset: 0,
            zone: String::new(),
            device_key: self.device_key(),
            sealing_key: self.secrets.sealing_key.public_key().to_vec(),
        }
    }

    /// As Raft's membership has it.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer {
            hsm_id: self.hsm_id(),
            address: network::address(self.machine),
            device_key: self.device_key_hash(),
            witness: self.witness,
            zone: String::new(),
        }
    }

    /// `hsm-…`.
    #[must_use]
    pub fn hsm_id(&self) -> String {
        format!("hsm-{}", self.machine)
    }

    /// Its number in the cluster.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.lock().node
    }

    /// From its next start on it is this node.
    pub fn becomes(&self, node: NodeId) {
        self.lock().node = node;
    }

    /// Its process, where one runs.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        self.lock().running.clone()
    }

    /// Its node's view, where a process runs.
    #[must_use]
    pub fn status(&self) -> Option<NodeStatus> {
        self.running().map(|running| running.node.status())
    }

    /// Why it may not go on as the member that it was.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.lock().ended
    }

    /// Starts its process, in the runtime.
    ///
    /// # Panics
    /// Where what the disk holds makes no node: that would be a bug.
    pub async fn start(self: &Arc<Self>, world: &Arc<World>) {
        let starts = self.starts.fetch_add(1, Ordering::Relaxed);
        let life = world.network.prepare(self.machine);
        let (disk, state) = match self.platter.open() {
            Ok(opened) => opened,
            Err(error) => panic!("the disk of {} does not open: {error}", self.machine),
        };
        self.lock().ended = None;
        let key = self.device_key_hash();
        let port = Port::new(world.network.clone(), self.machine, life, key);
        let clock = {
            let (hsm, trace) = (Arc::clone(self), world.trace.clone());
            Arc::new(move || hsm.clock.at(trace.now_ms()))
        };
        let platter = self.platter.clone();
        let latency: Latency = Arc::new(move |batch| platter.begin(batch));
        let options = Options {
            node: self.node_id(),
            clock: clock.clone(),
            seed: Some(world.dice(u64::from(self.machine) << 32 | starts).draw()),
            fatal: self.fatal(world, life),
            observer: Some(Arc::new(Watcher { hsm: Arc::clone(self), world: Arc::clone(world) })),
            log_entries_kept: LOG_ENTRIES_KEPT,
            storage: StorageExecutor::Task(latency),
            ..Options::default()
        };
        let transport: Arc<dyn Transport> = Arc::new(port);
        let secrets = (!self.witness).then(|| Arc::clone(&self.secrets));
        let node = match Node::open(Box::new(disk), state, secrets, transport, options).await {
            Ok(node) => node,
            Err(error) => panic!("the node of {} does not open: {error}", self.machine),
        };
        let engine = (!self.witness).then(|| self.engine(world, &node, clock));
        let running = Running { node: Arc::clone(&node), engine: engine.clone(), life };
        self.lock().running = Some(running);
        world.network.listen(self.machine, Arc::new(NodeHost(Arc::clone(&node))));
        world.trace.note(format_args!("{} starts", self.machine));
        let Some(engine) = engine else { return };
        let (hsm, world) = (Arc::clone(self), Arc::clone(world));
        tokio::spawn(async move {
            while world.network.lives(hsm.machine, life) {
                let house = House {
                    hsm: Arc::clone(&hsm),
                    engine: Arc::clone(&engine),
                    node: Arc::clone(&node),
                    mutant: world.mutant(),
                };
                bridge::run("housekeeping", move || house.keep()).await;
                sleep(Duration::from_secs(1)).await;
            }
        });
    }

    fn engine(
        self: &Arc<Self>,
        world: &Arc<World>,
        node: &Arc<Node>,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Arc<Engine> {
        let replicator: Arc<dyn Replicator> =
            Arc::new(Breakable { node: Arc::clone(node), world: Arc::clone(world) });
        Engine::new(
            replicator,
            Arc::new(EngineKeys(Arc::clone(&self.secrets))),
            Identity { hsm_id: self.hsm_id(), fips_mode: false },
            Arc::new(Uses(Arc::clone(node))),
            strongroom_engine::Options {
                clock,
                password_cost: PasswordCost::CHEAPEST,
                local_counters: Some(Arc::new(Counters(Arc::clone(self)))),
                ..strongroom_engine::Options::default()
            },
        )
    }

    /// What a node calls when its disk failed: the process ends at once.
    fn fatal(
        self: &Arc<Self>,
        world: &Arc<World>,
        life: u64,
    ) -> Box<dyn Fn(&strongroom_cluster::Error) + Send + Sync> {
        let (hsm, world) = (Arc::clone(self), Arc::clone(world));
        Box::new(move |error| {
            if world.network.lives(hsm.machine, life) {
                world.trace.note(format_args!("{} fails: {error}", hsm.machine));
                hsm.crash(&world);
            }
        })
    }

    /// Its process ends at once, whatever it was doing.
    pub fn crash(&self, world: &World) {
        let running = self.lock().running.take();
        world.network.end(self.machine);
        self.platter.crash();
        if let Some(running) = running {
            world.trace.note(format_args!("{} crashes", self.machine));
            // The network and the disk know that it is gone: what it does while its tasks end reaches
            // nobody.
            tokio::spawn(async move { running.node.shutdown().await });
        }
    }
}

/// What an HSM does once a second.
struct House {
    hsm: Arc<Hsm>,
    engine: Arc<Engine>,
    node: Arc<Node>,
    mutant: Option<Mutant>,
}

impl House {
    fn keep(&self) {
        self.engine.housekeeping();
        let secrets = &self.hsm.secrets;
        if self.mutant != Some(Mutant::NoRotation) {
            let custodian = Custodian::new(Arc::clone(&self.node) as _, Arc::clone(secrets));
            // What was not agreed on is tried again at the next look.
            let _ = custodian.rotate_if_due();
        }
        let needed = match self.mutant {
            Some(Mutant::ForgottenMasking) => secrets.cluster().map_or(0, |c| c.epoch()),
            _ => self.engine.masked_from(),
        };
        if let Err(error) = secrets.forget_masking_before(needed) {
            panic!("secrets in memory are kept: {error}");
        }
    }
}

/// The keys that the engine asks for: the present ones, of whatever epoch that is.
struct EngineKeys(Arc<Secrets>);

impl EngineKeys {
    fn key(&self, epoch: u64, of: impl FnOnce(&ClusterSecrets) -> &KeyRing) -> Option<SecretBytes> {
        let cluster = self.0.cluster().ok()?;
        of(&cluster).at(epoch).map(EpochKey::bytes).map(SecretBytes::copied)
    }
}

impl EpochSecrets for EngineKeys {
    fn epoch(&self) -> u64 {
        self.0.cluster().map_or(0, |cluster| cluster.epoch())
    }

    fn masking(&self, epoch: u64) -> Option<SecretBytes> {
        self.key(epoch, |cluster| &cluster.masking)
    }

    fn ticket(&self, epoch: u64) -> Option<SecretBytes> {
        self.key(epoch, |cluster| &cluster.ticket)
    }
}

/// Key-use records go into the node's disk.
struct Uses(Arc<Node>);

impl UseLog for Uses {
    fn append(&self, block: Vec<u8>) {
        // A node that is stopping takes none: its process is ending.
        let _ = self.0.append_use_records(block);
    }
}

/// The node, as the engine has it; mutants break what it promises.
struct Breakable {
    node: Arc<Node>,
    world: Arc<World>,
}

impl Breakable {
    /// Makes a change, on the strength of another login where its own has ended.
    fn propose_anyway(&self, entry: Entry, owner: UserId) -> Result<Committed, ReplicationError> {
        let committed = self.node.propose(entry.clone())?;
        let ended = |refusal: &Refusal| refusal.ckr == cryptoki_sys::CKR_USER_NOT_LOGGED_IN;
        if !committed.result.as_ref().is_err_and(ended) {
            return Ok(committed);
        }
        let epoch = self.node.state().read().user(owner).map_or(0, |user| user.epoch);
        let open = Entry {
            sequence: 0,
            actor: Actor::Anonymous,
            command: Command::OpenLogin { user: owner, epoch, client_key: [0; 32] },
            ..entry.clone()
        };
        match self.node.propose(open)?.result {
            Ok(Outcome::LoginOpened(login)) => {
                self.node.propose(Entry { actor: Actor::Login(login), ..entry })
            }
            _ => Ok(committed),
        }
    }
}

impl Replicator for Breakable {
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
        match (self.world.mutant(), &entry.command) {
            (Some(Mutant::DoubleProposal), Command::CreateObjects { objects }) => {
                let mut objects = objects.clone();
                objects.iter_mut().for_each(|object| object.id.0[0] ^= 1);
                let command = Command::CreateObjects { objects };
                self.node.propose(Entry { sequence: 0, command, ..entry.clone() })?;
            }
            (Some(Mutant::UnchargedGuess), Command::ChargeLogin { name, .. }) => {
                let state = self.node.state().read();
                let user = state.user_by_name(name).cloned();
                let (index, result) = (state.applied(), Ok(Outcome::LoginCharged { user }));
                return Ok(Committed { index, result });
            }
            (Some(Mutant::StaleTicket), Command::CloseLogins { .. }) => {
                let index = self.node.state().durable();
                return Ok(Committed { index, result: Ok(Outcome::Done) });
            }
            (Some(Mutant::NoSecondAuthorise), Command::CreateObjects { objects }) => {
                let owner = objects.first().map(|object| object.owner).unwrap_or_default();
                return self.propose_anyway(entry, owner);
            }
            _ => {}
        }
        self.node.propose(entry)
    }

    fn read_barrier(&self) -> Result<LogIndex, ReplicationError> {
        if self.world.mutant() == Some(Mutant::NoBarrier) {
            return Ok(self.node.state().durable());
        }
        self.node.read_barrier()
    }

    fn state(&self) -> &SharedState {
        self.node.state()
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError> {
        self.node.blob(id)
    }

    fn contact(&self) -> Contact {
        self.node.contact()
    }

    fn leader(&self) -> Option<String> {
        self.node.leader()
    }

    fn leads(&self) -> bool {
        self.node.leads()
    }
}

/// Failed logins while cut off, in a file beside the store.
struct Counters(Arc<Hsm>);

impl LocalCounters for Counters {
    fn load(&self) -> Result<Vec<LocalFailures>, String> {
        Ok(self.0.lock().failures.clone())
    }

    fn save(&self, failures: &[LocalFailures]) -> Result<(), String> {
        self.0.lock().failures = failures.to_vec();
        Ok(())
    }
}

struct NodeHost(Arc<Node>);

impl Host for NodeHost {
    fn handle(
        &self,
        from: DeviceKeyHash,
        request: PeerRequest,
    ) -> Pin<Box<dyn Future<Output = PeerReply> + Send>> {
        let node = Arc::clone(&self.0);
        Box::pin(async move { node.handle(&from, request).await })
    }
}

struct Watcher {
    hsm: Arc<Hsm>,
    world: Arc<World>,
}

impl Observer for Watcher {
    fn damaged(&self, _: &str) {}

    fn secrets_rotated(&self, epoch: u64, sealed: &[u8]) -> Result<(), strongroom_cluster::Error> {
        take_rotation(&self.hsm.secrets, epoch, sealed)?;
        self.world.trace.note(format_args!("{} has secrets {epoch}", self.hsm.machine));
        Ok(())
    }

    fn members_changed(&self, state: &State) {
        let count = state.members().count();
        self.world.trace.note(format_args!("{} knows {count} members", self.hsm.machine));
    }

    fn ended(&self, why: Ended) {
        self.world.trace.note(format_args!("{} ended: {why:?}", self.hsm.machine));
        self.hsm.lock().ended = Some(why);
        if why == Ended::RolledBack && !self.hsm.platter.is_old() {
            let machine = self.hsm.machine;
            self.world.history.problem(format!("{machine}'s disk is taken for an old one"));
        }
        if why == Ended::Fenced && !self.world.was_recovered() {
            let machine = self.hsm.machine;
            self.world.history.problem(format!("{machine} is fenced by nobody"));
        }
        // The caller is a task of the node, which ends with its process.
        let (hsm, world) = (Arc::clone(&self.hsm), Arc::clone(&self.world));
        let life = world.network.life(hsm.machine);
        tokio::spawn(async move {
            if world.network.lives(hsm.machine, life) {
                hsm.crash(&world);
            }
        });
    }
}
