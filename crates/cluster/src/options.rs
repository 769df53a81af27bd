//! What a node is started with, and what it tells of itself.

use std::sync::Arc;
use std::time::Duration;

use strongroom_store::Batch;
use strongroom_vault::{Contact, NodeId, State};
use strongroom_wire::limits::LOG_ENTRIES_KEPT;

use crate::{DeviceKeyHash, Error, Peer};

/// Milliseconds since 1970: for stamps alone, never for a decision.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How long a transaction takes: see [`StorageExecutor::Task`].
pub type Latency = Arc<dyn Fn(&Batch) -> Duration + Send + Sync>;

/// Where transactions of the disk run.
#[derive(Clone)]
pub enum StorageExecutor {
    /// On a thread of their own, as long as the disk takes.
    Thread,
    /// In a task of the runtime: each sleeps for its latency, then happens at once. For a simulation,
    /// where the disk is in memory and time is virtual.
    Task(Latency),
}

/// How long things take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// The shortest time without a leader before a voter stands.
    pub election_min: Duration,
    /// The longest.
    pub election_max: Duration,
    /// A peer's answer to a message of Raft.
    pub answer: Duration,
    /// A voter that was unreachable for so long is replaced by a learner that is caught up.
    pub voter_lost: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(40),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
            answer: Duration::from_millis(100),
            voter_lost: Duration::from_secs(10),
        }
    }
}

/// Why a node may not go on as the member that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its disk is older than what the others saw of it: it must drop its log and rejoin under a new
    /// node number.
    RolledBack,
    /// The cluster was recovered without it: the same.
    Fenced,
    /// It was removed.
    Removed,
}

/// Told what happens, while it happens. Where nothing else is said, from the thread that applies entries,
/// in the log's order, before later entries are opened: it must be short, and must not propose.
pub trait Observer: Send + Sync {
    /// The cluster's secrets were rotated, and `sealed` has this node's copy of the new ones: to be put
    /// into the [`strongroom_store::Secrets`] that the node was opened with.
    ///
    /// # Errors
    /// Where the copy does not open or can't be kept: the node can't go on.
    fn secrets_rotated(&self, epoch: u64, sealed: &[u8]) -> Result<(), Error>;

    /// Members came, went or changed.
    fn members_changed(&self, state: &State);

    /// This node may not go on as the member that it was. It takes no part any more.
    fn ended(&self, why: Ended);

    /// A record of the disk fails its check. Called by whoever reads it, and again by who reads it
    /// again: it must be short.
    fn damaged(&self, what: &str);
}

/// What a node is started with.
pub struct Options {
    /// Its number.
    pub node: NodeId,
    /// For stamps.
    pub clock: Clock,
    /// How long things take.
    pub timing: Timing,
    /// Where all chance comes from; `None`: from the system.
    pub seed: Option<u64>,
    /// Called when the store failed or an applied entry can't be opened. It must end the process: what
    /// the disk holds is not known any more.
    pub fatal: Box<dyn Fn(&Error) + Send + Sync>,
    /// Told what happens; needed where secrets may be rotated.
    pub observer: Option<Arc<dyn Observer>>,
    /// Where transactions run.
    pub storage: StorageExecutor,
    /// Raft entries that the log keeps after they are applied.
    pub log_entries_kept: u64,
    /// Whether this node, when it leads, decides who votes. Off in tests that decide themselves.
    pub manage_membership: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: NodeId(1),
            clock: Arc::new(now_ms),
            timing: Timing::default(),
            seed: None,
            fatal: Box::new(abort),
            observer: None,
            storage: StorageExecutor::Thread,
            log_entries_kept: LOG_ENTRIES_KEPT,
            manage_membership: true,
        }
    }
}

fn now_ms() -> u64 {
    let since_1970 =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// Ends the process without unwinding: no destructor may write to the store any more.
fn abort(error: &Error) {
    tracing::error!(%error, "fatal: this HSM ends, to start again from what its disk has");
    std::process::abort();
}

/// What a member does in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// Votes and leads.
    Leader,
    /// Votes.
    Voter,
    /// Has the log and no vote.
    Learner,
}

/// A member as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub node: NodeId,
    /// How it is reached.
    pub peer: Peer,
    /// What it does.
    pub role: MemberRole,
    /// Raft entries that it is behind the leader: known to the leader alone.
    pub lag: Option<u64>,
    /// Since it last answered: known to the leader alone.
    pub last_contact: Option<Duration>,
}

/// A node's view of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its own number.
    pub node: NodeId,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Raft's term.
    pub term: u64,
    /// The first Raft entry that the log still has, or would have.
    pub first_log: u64,
    /// The last Raft entry in the log.
    pub last_log: u64,
    /// The term of the leader that made it.
    pub last_term: u64,
    /// The last one known to be committed.
    pub committed: u64,
    /// The last one applied in memory.
    pub applied: u64,
    /// How often the cluster was recovered.
    pub fence: u64,
    /// Who votes is changing, or will as soon as those who answer have caught up. The leader knows; the
    /// others know of a change that is under way.
    pub changing: bool,
    /// All members by number.
    pub members: Vec<MemberStatus>,
    /// Whether it is in touch with the majority.
    pub contact: Contact,
}

impl NodeStatus {
    /// A member's number by its device key.
    #[must_use]
    pub fn node_of(&self, device_key: &DeviceKeyHash) -> Option<NodeId> {
        self.members.iter().find(|member| member.peer.device_key == *device_key).map(|m| m.node)
    }
}
