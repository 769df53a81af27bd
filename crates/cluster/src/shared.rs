//! What the parts of a node share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use strongroom_store::{Boot, Secrets};
use strongroom_vault::{ReplicationError, SharedState};
use strongroom_wire::peer::{PeerOperation, PeerReply, PeerRequest, PeerResult};
use tokio::sync::watch;

use crate::chance::Chance;
use crate::contacts::Contacts;
use crate::disk::DiskReader;
use crate::options::{Clock, Ended, Observer, Timing};
use crate::overlay::Overlay;
use crate::proposals::Proposals;
use crate::raft::{LogId, Metrics};
use crate::sealing::EntrySealer;
use crate::storage::Storage;
use crate::{Error, Peer, Transport, TransportError};

/// How often the cluster was recovered.
#[derive(Default)]
pub(crate) struct Fence(AtomicU64);

impl Fence {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn raise(&self, to: u64) {
        self.0.fetch_max(to, Ordering::AcqRel);
    }
}

/// The cluster's keys, and what seals with the newest. Absent at a witness.
pub(crate) struct Keys {
    pub(crate) secrets: Arc<Secrets>,
    sealer: Mutex<EntrySealer>,
}

impl Keys {
    pub(crate) fn new(secrets: Arc<Secrets>, boot: Boot) -> Result<Self, Error> {
        let sealer = Mutex::new(EntrySealer::new(secrets.clone(), boot)?);
        Ok(Self { secrets, sealer })
    }

    pub(crate) fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        self.sealer.lock().unwrap_or_else(PoisonError::into_inner).seal(plaintext)
    }
}

/// Shared by all parts of a node.
pub(crate) struct Shared {
    pub(crate) node: u64,
    pub(crate) boot: Boot,
    pub(crate) state: SharedState,
    pub(crate) overlay: Arc<Overlay>,
    pub(crate) storage: Arc<Storage>,
    pub(crate) reader: Arc<dyn DiskReader>,
    pub(crate) keys: Option<Keys>,
    pub(crate) proposals: Arc<Proposals>,
    pub(crate) contacts: Contacts,
    pub(crate) fence: Arc<Fence>,
    pub(crate) chance: Chance,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Clock,
    pub(crate) timing: Timing,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) fatal: Arc<dyn Fn(&Error) + Send + Sync>,
    /// The last Raft entry that is applied in memory, its index plus 1.
    pub(crate) applied: watch::Sender<u64>,
    /// It was compared with its peers, and may vote.
    pub(crate) cleared: AtomicBool,
    /// It may not go on as the member that it was.
    pub(crate) ended: AtomicBool,
    /// The members now were told to it from outside, and may be none that its log knows.
    pub(crate) strangers: AtomicBool,
    /// A leader that hands over proposes nothing.
    pub(crate) yielding: AtomicBool,
    /// Milliseconds since the last contact with the majority, 0 while there is some: kept by
    /// [`crate::elections`].
    pub(crate) cut_off_ms: AtomicU64,
    /// The same, also while it counts as contact: what a leader tells with each append.
    pub(crate) silence_ms: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) batches: AtomicU64,
}

impl Shared {
    /// Asks another member.
    pub(crate) async fn call(
        &self,
        to: u64,
        peer: &Peer,
        operation: PeerOperation,
        timeout: std::time::Duration,
    ) -> Result<PeerResult, TransportError> {
        if self.ended.load(Ordering::Acquire) {
            return Err(TransportError::Unreachable("this node takes no part any more".to_owned()));
        }
        let request = PeerRequest {
            fence: self.fence.get(),
            from: self.node,
            to,
            operation: Some(operation),
        };
        let call = self.transport.call(strongroom_vault::NodeId(to), peer, request, timeout);
        let reply =
            tokio::time::timeout(timeout, call).await.unwrap_or(Err(TransportError::TimedOut))?;
        self.take(to, reply)
    }

    fn take(&self, from: u64, reply: PeerReply) -> Result<PeerResult, TransportError> {
        match reply.result {
            Some(PeerResult::Fenced(fenced)) => {
                if fenced.fence > self.fence.get() {
                    self.end(Ended::Fenced);
                }
                Err(TransportError::Unreachable("it is of another life of the cluster".to_owned()))
            }
            Some(PeerResult::Removed(_)) => {
                self.end(Ended::Removed);
                Err(TransportError::Unreachable("this node was removed".to_owned()))
            }
            Some(PeerResult::Refused(refused)) => Err(TransportError::Unreachable(refused.reason)),
            Some(result) => {
                self.contacts.answered(from, reply.clock_ms);
                Ok(result)
            }
            None => Err(TransportError::Broken("an empty reply".to_owned())),
        }
    }

    /// This node takes no part any more.
    pub(crate) fn end(&self, why: Ended) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            tracing::error!(?why, "this node can't go on as the member that it was");
            self.proposals.close(&ReplicationError::CutOff);
            if let Some(observer) = &self.observer {
                observer.ended(why);
            }
        }
    }

    /// A record of the disk fails its check, where it is read.
    pub(crate) fn damaged(&self, what: &str) {
        tracing::error!("a record of the store fails its check: {what}");
        if let Some(observer) = &self.observer {
            observer.damaged(what);
        }
    }

    /// The store failed, or an entry can't be opened.
    pub(crate) fn fail(&self, error: &Error) {
        (self.fatal)(error);
    }

    pub(crate) fn applied_to(&self, id: &LogId) {
        self.applied.send_replace(id.index + 1);
    }
}

/// Whether `nodes` are a majority of each of the sets of voters.
pub(crate) fn is_quorum(metrics: &Metrics, nodes: &BTreeSet<u64>) -> bool {
    let sets = metrics.membership_config.membership().get_joint_config();
    !sets.is_empty() && sets.iter().all(|set| set.intersection(nodes).count() * 2 > set.len())
}

/// The voters.
pub(crate) fn voters(metrics: &Metrics) -> BTreeSet<u64> {
    metrics.membership_config.membership().voter_ids().collect()
}
