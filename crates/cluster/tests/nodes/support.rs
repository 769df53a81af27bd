//! Several nodes in one process, on real stores, over a network that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use strongroom_cluster::disk::StoreDisk;
use strongroom_cluster::{
    Call, Ended, Error, Node, Observer, Options, Peer, Transport, TransportError,
};
use strongroom_seal::FileSeal;
use strongroom_store::{ClusterSecrets, Folder, Rotation, Secrets, Store};
use strongroom_vault::{
    Actor, Command, Committed, Endorsement, Entry, Handle, LogIndex, Member, NodeId, Outcome,
    ReplicationError, Replicator, State,
};
use strongroom_wire::peer::PeerRequest;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::common::{self, Owner, created, entry, new_key};

/// Longer than anything here takes; nothing waits for it where all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// A network between nodes.
#[derive(Default)]
pub(crate) struct Net {
    nodes: Mutex<BTreeMap<u64, Weak<Node>>>,
    cut: Mutex<BTreeSet<(u64, u64)>>,
}

impl Net {
    /// No message of `from` reaches `to` any more.
    pub(crate) fn cut(&self, from: u64, to: u64) {
        self.cut.lock().unwrap().insert((from, to));
    }

    /// `node` is alone.
    pub(crate) fn isolate(&self, node: u64) {
        for other in 1..10 {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    pub(crate) fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }

    fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cut.lock().unwrap().contains(&(from, to))
    }

    fn node(&self, node: u64) -> Option<Arc<Node>> {
        self.nodes.lock().unwrap().get(&node)?.upgrade()
    }
}

struct Link {
    net: Arc<Net>,
    from: u64,
}

impl Transport for Link {
    fn call(&self, to: NodeId, _: &Peer, request: PeerRequest, _: Duration) -> Call {
        let (net, from, to) = (self.net.clone(), self.from, to.0);
        Box::pin(async move {
            let silence = std::future::pending();
            if net.is_cut(from, to) {
                return silence.await;
            }
            let node = net.node(to).ok_or(TransportError::Unreachable("it is down".into()))?;
            let reply = tokio::spawn(async move { node.handle(&key(from), request).await }).await;
            if net.is_cut(to, from) {
                return silence.await;
            }
            reply.map_err(|_| TransportError::Broken("it went down".into()))
        })
    }
}

/// The hash of a node's device key, by the number that its HSM has in these tests.
fn key(number: u64) -> [u8; 32] {
    member(number).fingerprint()
}

pub(crate) fn member(number: u64) -> Member {
    Member {
        hsm_id: format!("hsm-{number}"),
        address: format!("127.0.0.{number}"),
        device_key: vec![number as u8; 40],
        sealing_key: vec![number as u8; 40],
        ..Member::default()
    }
}

pub(crate) fn peer(number: u64) -> Peer {
    Peer {
        hsm_id: format!("hsm-{number}"),
        address: format!("127.0.0.{number}:2225"),
        device_key: key(number),
        ..Peer::default()
    }
}

/// Notes why a node ended, and takes new secrets, which are not sealed in these tests.
pub(crate) struct Watch {
    pub(crate) ended: Mutex<Option<Ended>>,
    secrets: Arc<Secrets>,
}

impl Observer for Watch {
    fn secrets_rotated(&self, _: u64, copy: &[u8]) -> Result<(), Error> {
        self.secrets.add_epoch(ClusterSecrets::from_bytes(copy)?)?;
        Ok(())
    }

    fn members_changed(&self, _: &State) {}

    fn damaged(&self, _: &str) {}

    fn ended(&self, why: Ended) {
        *self.ended.lock().unwrap() = Some(why);
    }
}

pub(crate) struct Hsm {
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) path: PathBuf,
    secrets: Arc<Secrets>,
    witness: bool,
    pub(crate) watch: Arc<Watch>,
    /// Its clock against the others', in milliseconds.
    pub(crate) clock_apart_ms: Arc<AtomicI64>,
}

/// Nodes 1, 2, … and what they stand on.
pub(crate) struct Cluster {
    pub(crate) hsms: BTreeMap<u64, Hsm>,
    pub(crate) net: Arc<Net>,
    root: TempDir,
    secrets: ClusterSecrets,
    options: fn() -> Options,
    sequence: AtomicU64,
    // Last: the nodes' tasks run on it.
    pub(crate) runtime: Runtime,
}

impl Cluster {
    /// One node, which leads itself.
    pub(crate) fn one(options: fn() -> Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        let mut cluster = Self {
            hsms: BTreeMap::new(),
            net: Arc::default(),
            root: tempfile::tempdir().unwrap(),
            secrets: ClusterSecrets::generate().unwrap(),
            options,
            sequence: AtomicU64::new(0),
            runtime,
        };
        cluster.prepare(1);
        {
            let (mut disk, _) = cluster.disk(1);
            Node::bootstrap(&mut disk, NodeId(1), &peer(1)).unwrap();
        }
        cluster.start(1);
        assert!(cluster.node(1).ready(PATIENCE));
        cluster
    }

    /// `count` nodes, all voters; who votes is the test's to say.
    pub(crate) fn of(count: u64) -> Self {
        let mut cluster = Self::one(|| Options { manage_membership: false, ..Options::default() });
        for number in 2..=count {
            cluster.prepare(number);
            cluster.start(number);
            let leader = cluster.node(1);
            let added = leader.add_learner(NodeId(number), peer(number));
            cluster.runtime.block_on(added).unwrap();
            cluster.eventually("it catches up", |cluster| {
                cluster.node(number).state().durable() == cluster.node(1).state().durable()
                    && cluster.node(number).status().leader == Some(NodeId(1))
            });
            let voters: Vec<NodeId> = (1..=number).map(NodeId).collect();
            cluster.runtime.block_on(leader.set_voters(&voters)).unwrap();
        }
        cluster
    }

    /// A folder for a node that has none.
    pub(crate) fn prepare(&mut self, number: u64) {
        self.prepare_as(number, false);
    }

    /// The same; a witness has no secrets of the cluster's.
    pub(crate) fn prepare_as(&mut self, number: u64, witness: bool) {
        let path = self.root.path().join(format!("hsm-{number}-{}", self.hsms.len()));
        let folder = Folder::open(&path).unwrap();
        let secrets = Secrets::generate_alone(format!("hsm-{number}")).unwrap();
        let secrets = if witness { secrets } else { secrets.with_cluster(self.secrets.clone()) };
        let seal = FileSeal::open_or_create(&path.with_extension("seal")).unwrap();
        secrets.save(&folder, Arc::new(seal)).unwrap();
        let secrets = Arc::new(secrets);
        let watch = Watch { ended: Mutex::default(), secrets: secrets.clone() };
        let hsm = Hsm {
            node: None,
            path,
            secrets,
            witness,
            watch: Arc::new(watch),
            clock_apart_ms: Arc::default(),
        };
        self.hsms.insert(number, hsm);
    }

    /// The disk of a node that is down.
    pub(crate) fn disk(&self, number: u64) -> (StoreDisk, State) {
        let hsm = &self.hsms[&number];
        let folder = Folder::open(&hsm.path).unwrap();
        let (store, state, blobs) = Store::open(folder, hsm.secrets.clone()).unwrap();
        (StoreDisk::new(store, blobs), state)
    }

    pub(crate) fn start(&mut self, number: u64) {
        let (disk, state) = self.disk(number);
        let hsm = self.hsms.get_mut(&number).unwrap();
        let apart = hsm.clock_apart_ms.clone();
        let options = Options {
            node: NodeId(number),
            clock: Arc::new(move || {
                1_700_000_000_000_u64.saturating_add_signed(apart.load(Ordering::Relaxed))
            }),
            observer: Some(hsm.watch.clone()),
            ..(self.options)()
        };
        let link = Arc::new(Link { net: self.net.clone(), from: number });
        let secrets = (!hsm.witness).then(|| hsm.secrets.clone());
        let disk = Box::new(disk);
        let node = Node::open_blocking(self.runtime.handle(), disk, state, secrets, link, options);
        let node = node.unwrap();
        self.net.nodes.lock().unwrap().insert(number, Arc::downgrade(&node));
        hsm.node = Some(node);
    }

    /// The node ends; nobody is told.
    pub(crate) fn stop(&mut self, number: u64) {
        self.net.nodes.lock().unwrap().remove(&number);
        let node = self.hsms.get_mut(&number).unwrap().node.take().unwrap();
        node.stop();
    }

    pub(crate) fn node(&self, number: u64) -> &Node {
        self.hsms[&number].node.as_deref().expect("a node that runs")
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = (u64, &Node)> {
        self.hsms.iter().filter_map(|(number, hsm)| Some((*number, hsm.node.as_deref()?)))
    }

    /// Waits for what must come to pass.
    pub(crate) fn eventually(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let patience = std::time::Instant::now() + PATIENCE;
        while !done(self) {
            let states: Vec<_> = self.running().map(|(_, node)| node.status()).collect();
            assert!(std::time::Instant::now() < patience, "{what}: {states:#?}");
            std::thread::sleep(POLL);
        }
    }

    /// The node that leads, once there is one that a majority hears.
    pub(crate) fn leader(&self) -> u64 {
        self.eventually("somebody leads", |cluster| cluster.leading().is_some());
        self.leading().unwrap()
    }

    /// Makes `number` the leader.
    pub(crate) fn lead(&self, number: u64) {
        while self.leader() != number {
            let leader = self.node(self.leader());
            // It may be another's turn first, or somebody too far behind.
            let _ = self.runtime.block_on(leader.transfer_leadership());
        }
    }

    fn leading(&self) -> Option<u64> {
        self.running().find(|(_, node)| node.leads()).map(|(number, _)| number)
    }

    /// Proposes until it is committed, as a client would.
    pub(crate) fn propose(&self, number: u64, entry: &Entry) -> Committed {
        let patience = std::time::Instant::now() + PATIENCE;
        loop {
            match self.node(number).propose(entry.clone()) {
                Ok(committed) => return committed,
                Err(ReplicationError::NoQuorum | ReplicationError::CutOff) => {
                    assert!(std::time::Instant::now() < patience, "no majority for too long");
                    std::thread::sleep(POLL);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The same, where it is a success.
    pub(crate) fn apply(&self, number: u64, entry: &Entry) -> Outcome {
        self.propose(number, entry).result.unwrap()
    }

    /// Sets the cluster up, by way of node `number`.
    pub(crate) fn set_up(&self, number: u64) -> Owner {
        common::set_up(|entry| self.apply(number, &entry))
    }

    pub(crate) fn create(&self, number: u64, owner: Owner, label: &str) -> Handle {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let request = Entry { sequence, ..entry(owner.actor(), new_key(owner, label)) };
        created(&self.apply(number, &request))
    }

    /// Gives the cluster new secrets, by node `number`.
    pub(crate) fn rotate(&self, number: u64) {
        let next = self.hsms[&number].secrets.cluster().unwrap();
        let next = next.next(Rotation::Routine).unwrap();
        let sealed = {
            let state = self.node(number).state().read();
            let holders = state.members().filter(|member| !member.witness);
            holders.map(|member| (member.node, next.to_bytes().as_bytes().to_vec())).collect()
        };
        let rotate = Command::RotateSecrets { epoch: next.epoch(), sealed };
        self.apply(number, &entry(Actor::System, rotate));
    }

    /// Says in the state that these are members.
    pub(crate) fn add_member(&self, by: u64, number: u64) -> NodeId {
        let add = Command::AddMember {
            member: member(number),
            endorsement: Endorsement::Provisioner,
            replaces: None,
        };
        match self.apply(by, &entry(Actor::System, add)) {
            Outcome::MemberAdded(node) => node,
            outcome => panic!("{outcome:?}"),
        }
    }

    /// Waits until all that run have the same state.
    pub(crate) fn same_everywhere(&self) {
        self.eventually("all have the same state", |cluster| {
            let indexes: BTreeSet<LogIndex> =
                cluster.running().map(|(_, node)| node.state().durable()).collect();
            indexes.len() == 1
        });
        let digests: BTreeSet<_> =
            self.running().map(|(_, node)| node.state().read().digest()).collect();
        assert_eq!(digests.len(), 1, "the states differ");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let numbers: Vec<u64> = self.running().map(|(number, _)| number).collect();
        for number in numbers {
            self.stop(number);
        }
    }
}
