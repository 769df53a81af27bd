//! One HSM's part in the cluster: the [`Replicator`] of its engine, and a peer of the others.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_store::{Batch, LogRow, Secrets};
use strongroom_vault::{
    Committed, Contact, Entry, LogIndex, NodeId, ObjectId, ReplicationError, Replicator,
    SharedState, State,
};
use strongroom_wire::limits::{LOG_ENTRIES_CUT_MIN, PROPOSAL_MS_MAX, READ_BARRIER_MS_MAX};
use strongroom_wire::peer::{PeerMember, PeerReply, PeerRequest};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::chance::Chance;
use crate::contacts::Contacts;
use crate::disk::Disk;
use crate::elections::Elections;
use crate::handler::Handler;
use crate::log::Log;
use crate::machine::Machine;
use crate::network::Network;
use crate::options::{MemberRole, MemberStatus, NodeStatus, Options};
use crate::overlay::{Found, Overlay};
use crate::proposals::Proposals;
use crate::raft::{self, Membership, Metrics, Raft, StoredMembership};
use crate::reads::Reads;
use crate::shared::{Fence, Keys, Shared, voters};
use crate::storage::Storage;
use crate::{DeviceKeyHash, Error, Peer, Transport, manager, payload, proposer};

/// A stop waits so long for what was proposed.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
const STOP_POLL: Duration = Duration::from_millis(5);

/// How much was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The vault's entries that were applied.
    pub entries: u64,
    /// Raft entries that they came in.
    pub batches: u64,
    /// Transactions of the store, each with one fsync of its write-ahead log.
    pub fsyncs: u64,
}

/// A member of a cluster, running.
pub struct Node {
    shared: Arc<Shared>,
    raft: Raft,
    log: Log,
    handler: Handler,
    reads: Arc<Reads>,
    runtime: Handle,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Node {
    /// Starts a node on an open disk, whose state is `state`, in the runtime that polls this.
    ///
    /// Without secrets it is a witness. On an empty disk that was not given its first members by
    /// [`Node::bootstrap`], it waits for a leader to take it in.
    ///
    /// # Errors
    /// Where the disk's log contradicts itself, or there is no thread to be had.
    pub async fn open(
        disk: Box<dyn Disk>,
        state: State,
        secrets: Option<Arc<Secrets>>,
        transport: Arc<dyn Transport>,
        options: Options,
    ) -> Result<Arc<Self>, Error> {
        let node = options.node.0;
        let kept = options.log_entries_kept;
        let config = raft::config(&options.timing, kept, LOG_ENTRIES_CUT_MIN, secrets.is_none())?;
        let fence = Arc::new(Fence::default());
        let log = Log::open(&*disk, fence.clone())?;
        let applied = disk.applied();
        let members = match &applied.members {
            Some(bytes) => payload::decode_stored(bytes)?,
            None => StoredMembership::default(),
        };
        let applied = applied.position.as_ref().map(payload::log_id);
        let newcomer = disk.log_state().last.is_none();
        let (boot, reader) = (disk.boot(), disk.reader());
        let proposals = Arc::new(Proposals::new());
        let fatal: Arc<dyn Fn(&Error) + Send + Sync> = {
            let (told, proposals) = (options.fatal, proposals.clone());
            Arc::new(move |error: &Error| {
                told(error);
                proposals.close(&ReplicationError::Storage(error.to_string()));
            })
        };
        let overlay = Arc::new(Overlay::default());
        let storage =
            Arc::new(Storage::start(disk, options.storage, overlay.clone(), fatal.clone())?);
        let log = log(storage.clone());
        let shared = Arc::new(Shared {
            node,
            boot,
            state: SharedState::new(state),
            overlay,
            storage,
            reader,
            keys: secrets.map(|secrets| Keys::new(secrets, boot)).transpose()?,
            proposals,
            contacts: Contacts::default(),
            fence,
            chance: Chance::new(options.seed, node)?,
            transport,
            clock: options.clock,
            timing: options.timing,
            observer: options.observer,
            fatal,
            applied: tokio::sync::watch::Sender::new(applied.map_or(0, |id| id.index + 1)),
            cleared: newcomer.into(),
            ended: false.into(),
            strangers: false.into(),
            yielding: false.into(),
            cut_off_ms: 1.into(),
            silence_ms: 0.into(),
            entries: 0.into(),
            batches: 0.into(),
        });
        let machine = Machine { shared: shared.clone(), log: log.clone(), applied, members };
        let network = Network { shared: shared.clone() };
        let raft = Raft::new(node, config, network, log.clone(), machine);
        let raft = raft.await.map_err(Error::fatal)?;
        let reads = Arc::new(Reads::default());
        let mut tasks = vec![
            tokio::spawn(proposer::run(shared.clone(), raft.clone())),
            tokio::spawn(reads.clone().run(shared.clone(), raft.clone())),
            tokio::spawn(Elections::new(shared.clone(), raft.clone(), log.clone()).run()),
        ];
        if options.manage_membership {
            tasks.push(tokio::spawn(manager::run(shared.clone(), raft.clone(), kept)));
        }
        let handler = Handler {
            shared: shared.clone(),
            raft: raft.clone(),
            log: log.clone(),
            inboxes: tokio::sync::Mutex::default(),
        };
        let runtime = Handle::current();
        let tasks = Mutex::new(tasks);
        Ok(Arc::new(Self { shared, raft, log, handler, reads, runtime, tasks }))
    }

    /// As [`Node::open`], from a thread outside of the runtime.
    ///
    /// # Errors
    /// As [`Node::open`].
    pub fn open_blocking(
        runtime: &Handle,
        disk: Box<dyn Disk>,
        state: State,
        secrets: Option<Arc<Secrets>>,
        transport: Arc<dyn Transport>,
        options: Options,
    ) -> Result<Arc<Self>, Error> {
        runtime.block_on(Self::open(disk, state, secrets, transport, options))
    }

    /// Makes the cluster's first member, on a disk whose node does not run: `me` is its only voter.
    /// Where the disk has members already, nothing is done.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn bootstrap(disk: &mut dyn Disk, node: NodeId, me: &Peer) -> Result<(), Error> {
        let (last, applied) = (disk.log_state().last, disk.applied());
        // A store of the first format has a state, and knew no members.
        if applied.members.is_some() || (last.is_some() && last != applied.position) {
            return Ok(());
        }
        let (index, term, leader) = last.map_or((0, 0, 0), |l| (l.index + 1, l.term, l.leader));
        let membership = alone(node, me);
        let row = LogRow { index, term, leader, payload: payload::encode_membership(&membership) };
        Ok(disk.commit(&Batch { append: vec![row], ..Batch::default() })?)
    }

    /// After a disaster: the cluster is `members` from now on, under a higher fence, by the decision of
    /// those who may decide that. On a disk whose node does not run; all other members, also of those
    /// named here, join again as new ones.
    ///
    /// # Errors
    /// Where the fence is not higher, the node is not among the members, or the disk fails.
    pub fn force_membership(
        disk: &mut dyn Disk,
        node: NodeId,
        fence: u64,
        members: &BTreeMap<NodeId, Peer>,
    ) -> Result<(), Error> {
        let (vote, old_fence) = match disk.vote() {
            Some(bytes) => payload::decode_vote(&bytes)?,
            None => (crate::raft::Vote::default(), 0),
        };
        if fence <= old_fence || !members.contains_key(&node) {
            return Err(Error::Options("a fence that is not higher, or members without this node"));
        }
        let last = disk.log_state().last;
        let term = vote.leader_id.term.max(last.map_or(0, |last| last.term)) + 1;
        let nodes: BTreeMap<u64, Peer> =
            members.iter().map(|(node, peer)| (node.0, peer.clone())).collect();
        let membership = Membership::new(vec![nodes.keys().copied().collect()], nodes);
        let row = LogRow {
            index: last.map_or(0, |last| last.index + 1),
            term,
            leader: node.0,
            payload: payload::encode_membership(&membership),
        };
        let vote = crate::raft::Vote::new(term, node.0);
        let vote = Some(payload::encode_vote(&vote, fence));
        Ok(disk.commit(&Batch { append: vec![row], vote, ..Batch::default() })?)
    }

    /// Answers another member, which has proved the device key `from`.
    pub async fn handle(&self, from: &DeviceKeyHash, request: PeerRequest) -> PeerReply {
        self.handler.handle(from, request).await
    }

    /// Whether a device key is a member's, or a member has said so.
    #[must_use]
    pub fn knows(&self, device: &DeviceKeyHash) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let mut peers = metrics.membership_config.membership().nodes().map(|(_, peer)| peer);
        peers.any(|peer| peer.device_key == *device) || self.shared.contacts.has_introduced(device)
    }

    /// Somebody whom this node's HSM was told to believe says that those are members now: the ones that
    /// it knows from its log may all be gone. What is no member is left out.
    pub fn introduce(&self, members: Vec<PeerMember>) {
        let members = members.into_iter().filter_map(|member| payload::from_member(member).ok());
        self.shared.contacts.introduce(members.collect());
        self.shared.strangers.store(true, Ordering::Release);
    }

    /// Waits until a leader is known and everything acknowledged before is applied here, at most for
    /// `patience`; whether it came to that.
    #[must_use]
    pub fn ready(&self, patience: Duration) -> bool {
        let answer = self.reads.add();
        matches!(answer.wait(patience), Some(Ok(_)))
    }

    /// This node's view of the cluster.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let metrics = self.metrics();
        let last_log = metrics.last_log_index.unwrap_or(0);
        let leads = metrics.current_leader == Some(self.shared.node);
        let voters = voters(&metrics);
        let member = |(node, peer): (&u64, &Peer)| {
            let matched = metrics.replication.as_ref().and_then(|matched| matched.get(node));
            let matched = matched.map(|matched| matched.map_or(0, |id| id.index));
            let me = *node == self.shared.node;
            let lag =
                if me && leads { Some(0) } else { matched.map(|m| last_log.saturating_sub(m)) };
            MemberStatus {
                node: NodeId(*node),
                peer: peer.clone(),
                role: if metrics.current_leader == Some(*node) {
                    MemberRole::Leader
                } else if voters.contains(node) {
                    MemberRole::Voter
                } else {
                    MemberRole::Learner
                },
                lag: lag.filter(|_| leads),
                last_contact: self.shared.contacts.silence(*node).filter(|_| leads),
            }
        };
        NodeStatus {
            node: NodeId(self.shared.node),
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            first_log: metrics.purged.map_or(0, |id| id.index + 1),
            last_log,
            last_term: self.log.last().map_or(0, |id| id.leader_id.term),
            committed: self.log.committed().map_or(0, |id| id.index),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            fence: self.shared.fence.get(),
            changing: manager::is_changing(&self.shared, &metrics),
            members: metrics.membership_config.membership().nodes().map(member).collect(),
            contact: self.contact(),
        }
    }

    /// Takes a new member in, which gets the log and does not vote. On the leader.
    ///
    /// # Errors
    /// [`Error::NotNow`] where this node does not lead, or another change of members is under way.
    pub async fn add_learner(&self, node: NodeId, peer: Peer) -> Result<(), Error> {
        manager::add_learner(&self.raft, node.0, peer).await
    }

    /// Takes a member out. On the leader, and another than itself.
    ///
    /// # Errors
    /// As [`Node::add_learner`].
    pub async fn remove(&self, node: NodeId) -> Result<(), Error> {
        manager::remove(&self.shared, &self.raft, node.0).await
    }

    /// Gives these nodes, which are members, the votes. On the leader.
    ///
    /// # Errors
    /// As [`Node::add_learner`].
    pub async fn set_voters(&self, nodes: &[NodeId]) -> Result<(), Error> {
        manager::set_voters(&self.raft, nodes.iter().map(|node| node.0).collect()).await
    }

    /// As leader, lets another voter take over. Where this node does not lead, nothing is done.
    ///
    /// # Errors
    /// [`Error::NotNow`] where nobody took over; this node then goes on.
    pub async fn transfer_leadership(&self) -> Result<(), Error> {
        manager::transfer(&self.shared, &self.raft).await
    }

    /// Hands over a block of key-use records, which becomes one audit record, durable within a second
    /// on a disk that keeps up. Waits only where more is waiting than memory is set aside for.
    ///
    /// # Errors
    /// Where the HSM is stopping or its store has failed: the caller must then stop using keys, or it
    /// would use them unrecorded.
    pub fn append_use_records(&self, block: Vec<u8>) -> Result<(), ReplicationError> {
        self.shared.storage.append_uses(block)
    }

    /// What was done since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            entries: self.shared.entries.load(Ordering::Relaxed),
            batches: self.shared.batches.load(Ordering::Relaxed),
            fsyncs: self.shared.storage.transactions(),
        }
    }

    /// Finishes what waits, closes the store and unlocks the folder. What is proposed afterwards gets
    /// [`ReplicationError::Stopping`]. A second call does nothing. From a thread outside of the
    /// runtime; inside of it, [`Node::shutdown`].
    pub fn stop(&self) {
        if !self.shared.storage.has_ended() {
            self.runtime.block_on(self.shutdown());
        }
        self.shared.storage.join();
    }

    /// The same as [`Node::stop`], inside of the runtime; the store's thread may go on for a moment.
    pub async fn shutdown(&self) {
        self.shared.proposals.refuse_new(ReplicationError::Stopping);
        let started = tokio::time::Instant::now();
        while !self.shared.proposals.is_empty() && started.elapsed() < STOP_PATIENCE {
            tokio::time::sleep(STOP_POLL).await;
        }
        self.shared.proposals.close(&ReplicationError::Stopping);
        self.reads.close(&ReplicationError::Stopping);
        // Only a panic of openraft's is told here, and it has been logged.
        let _ = self.raft.shutdown().await;
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.shared.reader.close();
        self.shared.storage.close();
    }

    fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow().clone()
    }

    /// Whether there are no other members, and this one leads: all that anybody was told is known here.
    fn is_alone(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let term = metrics.last_applied.map(|id| id.leader_id.term);
        metrics.current_leader == Some(self.shared.node)
            && term == Some(metrics.current_term)
            && metrics.membership_config.membership().nodes().count() == 1
    }
}

fn alone(node: NodeId, me: &Peer) -> Membership {
    let nodes = BTreeMap::from([(node.0, me.clone())]);
    Membership::new(vec![nodes.keys().copied().collect()], nodes)
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.shared.storage.close();
    }
}

impl Replicator for Node {
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
        if let Contact::CutOff { .. } = self.contact() {
            self.shared.storage.is_open()?;
            return Err(ReplicationError::CutOff);
        }
        let (counter, answer) = self.shared.proposals.add(entry)?;
        answer.wait(Duration::from_millis(PROPOSAL_MS_MAX)).unwrap_or_else(|| {
            self.shared.proposals.forget(counter);
            Err(ReplicationError::NoQuorum)
        })
    }

    fn read_barrier(&self) -> Result<LogIndex, ReplicationError> {
        self.shared.storage.is_open()?;
        if self.is_alone() {
            return Ok(self.shared.state.durable());
        }
        if let Contact::CutOff { .. } = self.contact() {
            return Err(ReplicationError::CutOff);
        }
        let answer = self.reads.add();
        let patience = Duration::from_millis(READ_BARRIER_MS_MAX);
        answer.wait(patience).unwrap_or(Err(ReplicationError::NoQuorum))
    }

    fn state(&self) -> &SharedState {
        &self.shared.state
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError> {
        match self.shared.overlay.find(id) {
            Found::Blob(blob) => return Ok(Some(blob)),
            Found::Gone => return Ok(None),
            Found::OnDisk => {}
        }
        self.shared.reader.blob(id).map_err(|error| match error {
            strongroom_store::Error::Closed => ReplicationError::Stopping,
            error @ strongroom_store::Error::Tampered { .. } => {
                self.shared.damaged(&error.to_string());
                ReplicationError::Damaged(error.to_string())
            }
            error => {
                tracing::error!(%error, "a sealed object can't be read");
                ReplicationError::Storage(error.to_string())
            }
        })
    }

    fn contact(&self) -> Contact {
        match self.shared.cut_off_ms.load(Ordering::Acquire) {
            0 => Contact::Connected,
            ms => Contact::CutOff { for_: Duration::from_millis(ms) },
        }
    }

    fn leader(&self) -> Option<String> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader?;
        let peer = metrics.membership_config.membership().get_node(&leader)?;
        Some(peer.hsm_id.clone())
    }

    fn leads(&self) -> bool {
        self.raft.server_metrics().borrow().current_leader == Some(self.shared.node)
            && self.contact() == Contact::Connected
    }

    fn damaged(&self, what: &str) {
        self.shared.damaged(what);
    }
}
