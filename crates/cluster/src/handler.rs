//! What a node answers its peers.
//!
//! Who asks has proved a device key; what it asks has been decoded within its limits. Everything else is
//! checked here, and nothing that a peer sends makes this node panic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_wire::peer::{
    Append, Fenced, Forward, ForwardReply, Installed, PeerOperation, PeerRefusal, PeerReply,
    PeerRequest, PeerResult, PreVote, PreVoteReply, ReadIndexReply, Received, RequestVote, Seen,
    SeenReply, SnapshotBegin, SnapshotChunk, SnapshotEnd, Stand, Standing, VoteReply,
};
use tokio::sync::Mutex;

use crate::convert::{
    from_append, from_ballot, from_place, from_request_vote, to_append_reply, to_ballot, to_place,
    to_vote_reply,
};
use crate::log::Log;
use crate::options::Ended;
use crate::raft::{Metrics, Raft, TypeConfig};
use crate::shared::Shared;
use crate::snapshot::{Inbox, SnapshotData};
use crate::{DeviceKeyHash, Error, elections, payload, proposer};

/// Answers peers.
pub(crate) struct Handler {
    pub(crate) shared: Arc<Shared>,
    pub(crate) raft: Raft,
    pub(crate) log: Log,
    /// Snapshots on their way in, by sender.
    pub(crate) inboxes: Mutex<BTreeMap<u64, Inbox>>,
}

fn refused(reason: &str) -> PeerResult {
    PeerResult::Refused(PeerRefusal { reason: reason.to_owned(), leader: 0 })
}

fn refuse(reason: &str) -> Box<PeerResult> {
    Box::new(refused(reason))
}

impl Handler {
    /// Answers one request.
    pub(crate) async fn handle(&self, device: &DeviceKeyHash, request: PeerRequest) -> PeerReply {
        let result = match self.admit(device, &request) {
            Ok(()) => {
                let from = request.from;
                let result = match request.operation {
                    Some(operation) => self.answer(from, operation).await,
                    None => Ok(refused("nothing is asked")),
                };
                result.unwrap_or_else(|error| {
                    tracing::warn!(from, %error, "a peer's request was refused");
                    refused(&error.to_string())
                })
            }
            Err(result) => *result,
        };
        let clock_ms = (self.shared.clock)();
        PeerReply { fence: self.shared.fence.get(), clock_ms, result: Some(result) }
    }

    fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow().clone()
    }

    /// Whether the sender is a member of the same life of the cluster, and means this node.
    fn admit(&self, device: &DeviceKeyHash, request: &PeerRequest) -> Result<(), Box<PeerResult>> {
        // Also to those who are no members any more: the old majority has to hear of it.
        let fence = self.shared.fence.get();
        if request.fence < fence {
            return Err(Box::new(PeerResult::Fenced(Fenced { fence })));
        }
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let newcomer = membership.nodes().next().is_none();
        let member =
            membership.get_node(&request.from).is_some_and(|peer| peer.device_key == *device);
        // A newcomer knows nobody yet; whom it lets in, its listener decides.
        if !newcomer && !member && !self.shared.contacts.is_introduced(request.from, device) {
            return Err(refuse("not a member"));
        }
        if request.fence > fence {
            if newcomer {
                self.shared.fence.raise(request.fence);
            } else {
                self.shared.end(Ended::Fenced);
            }
        }
        if request.to != self.shared.node {
            return Err(refuse("meant for another node"));
        }
        if self.shared.ended.load(Ordering::Acquire) {
            return Err(refuse("this node takes no part any more"));
        }
        Ok(())
    }

    async fn answer(&self, from: u64, operation: PeerOperation) -> Result<PeerResult, Error> {
        match operation {
            PeerOperation::Append(append) => self.append(from, append).await,
            PeerOperation::Vote(vote) => self.vote(from, &vote).await,
            PeerOperation::PreVote(question) => Ok(self.pre_vote(from, &question)),
            PeerOperation::Seen(question) => Ok(self.seen(from, &question)),
            PeerOperation::Forward(forward) => self.forward(from, forward),
            PeerOperation::ReadIndex(_) => self.read_index().await,
            PeerOperation::SnapshotBegin(begin) => self.snapshot_begin(from, begin).await,
            PeerOperation::SnapshotChunk(chunk) => self.snapshot_chunk(from, &chunk).await,
            PeerOperation::SnapshotEnd(end) => self.snapshot_end(from, &end).await,
            PeerOperation::Stand(stand) => self.stand(&stand).await,
            // The `hsm` crate answers those before they come here.
            PeerOperation::Welcome(_)
            | PeerOperation::Leave(_)
            | PeerOperation::Survey(_)
            | PeerOperation::Rejoin(_) => Ok(refused("not asked here")),
        }
    }

    async fn append(&self, from: u64, append: Append) -> Result<PeerResult, Error> {
        let (kept, silence) = (append.kept, Duration::from_millis(append.silence_ms));
        let request = from_append(append)?;
        if request.vote.leader_id.node_id != from || !request.vote.committed {
            return Err(Error::Peer("entries of another leader"));
        }
        if !self.shared.cleared.load(Ordering::Acquire) {
            // An old copy of a disk must not acknowledge what follows on what it has lost.
            return Ok(refused("not compared with the others yet"));
        }
        let vote = request.vote;
        if vote >= self.raft.metrics().borrow().vote {
            self.shared.contacts.heard_leader(silence);
        }
        // What a leader's own disk has counts as much as what others acknowledge to it.
        if let Some(kept) = kept {
            self.shared.contacts.acknowledged(from, vote.leader_id.term, kept);
        }
        let response = self.raft.append_entries(request).await.map_err(Error::raft)?;
        Ok(PeerResult::Append(to_append_reply(&response)))
    }

    async fn vote(&self, from: u64, vote: &RequestVote) -> Result<PeerResult, Error> {
        let request = from_request_vote(vote)?;
        if request.vote.leader_id.node_id != from {
            return Err(Error::Peer("a vote for another candidate"));
        }
        self.shared.contacts.voted(from, to_ballot(&request.vote));
        if !self.shared.cleared.load(Ordering::Acquire) {
            let own = self.raft.metrics().borrow().vote;
            let last = self.log.last().as_ref().map(to_place);
            let reply = VoteReply { vote: Some(to_ballot(&own)), granted: false, last };
            return Ok(PeerResult::Vote(reply));
        }
        let response = self.raft.vote(request).await.map_err(Error::raft)?;
        Ok(PeerResult::Vote(to_vote_reply(&response)))
    }

    fn pre_vote(&self, from: u64, question: &PreVote) -> PeerResult {
        let metrics = self.metrics();
        let last = self.log.last();
        let granted = elections::would_grant(&self.shared, &metrics, last, from, question);
        let last = last.as_ref().map(to_place);
        PeerResult::PreVote(PreVoteReply { granted, term: metrics.current_term, last })
    }

    fn seen(&self, from: u64, question: &Seen) -> PeerResult {
        let seen = self.shared.contacts.seen(from);
        self.shared.contacts.started(from, question.boot);
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        PeerResult::Seen(SeenReply {
            boot: seen.boot,
            vote: seen.vote,
            acknowledged: seen.acknowledged.map(|(_, place)| place),
            acknowledged_term: seen.acknowledged.map_or(0, |(term, _)| term),
            leader: self.heard_leader(&metrics),
            membership: metrics.membership_config.log_id().as_ref().map(to_place),
            members: membership
                .nodes()
                .map(|(node, peer)| payload::to_member(*node, peer))
                .collect(),
        })
    }

    /// The leader, where there is one that speaks.
    fn heard_leader(&self, metrics: &Metrics) -> u64 {
        let silence = self.shared.contacts.leader_silence();
        let heard = silence.is_some_and(|silence| silence < self.shared.timing.election_max);
        match metrics.current_leader {
            Some(leader) if heard || leader == self.shared.node => leader,
            _ => 0,
        }
    }

    fn forward(&self, from: u64, forward: Forward) -> Result<PeerResult, Error> {
        let leads = self.raft.metrics().borrow().current_leader == Some(self.shared.node);
        if !leads || self.shared.yielding.load(Ordering::Acquire) {
            return Ok(refused("not the leader"));
        }
        if proposer::take_over(&self.shared, from, forward)? {
            Ok(PeerResult::Forward(ForwardReply {}))
        } else {
            Ok(refused("no room for more proposals"))
        }
    }

    async fn read_index(&self) -> Result<PeerResult, Error> {
        let Ok((read, _)) = self.raft.get_read_log_id().await else {
            return Ok(refused("not the leader, or no majority"));
        };
        Ok(PeerResult::ReadIndex(ReadIndexReply { place: read.as_ref().map(to_place) }))
    }

    async fn snapshot_begin(&self, from: u64, begin: SnapshotBegin) -> Result<PeerResult, Error> {
        if begin.secrets_epoch > 0 {
            // The chunks are sealed under them. Those that are here already change nothing.
            let (Some(_), Some(observer)) = (&self.shared.keys, &self.shared.observer) else {
                return Err(Error::Peer("secrets, and nobody here opens them"));
            };
            observer.secrets_rotated(begin.secrets_epoch, &begin.secrets)?;
        }
        let spool = self.shared.reader.spool()?;
        let inbox = Inbox::open(begin, spool)?;
        self.inboxes.lock().await.insert(from, inbox);
        Ok(PeerResult::Received(Received {}))
    }

    async fn snapshot_chunk(&self, from: u64, chunk: &SnapshotChunk) -> Result<PeerResult, Error> {
        let mut inboxes = self.inboxes.lock().await;
        inboxes.get_mut(&from).ok_or(Error::Peer("a chunk of no snapshot"))?.push(chunk)?;
        Ok(PeerResult::Received(Received {}))
    }

    async fn snapshot_end(&self, from: u64, end: &SnapshotEnd) -> Result<PeerResult, Error> {
        let inbox = self.inboxes.lock().await.remove(&from);
        let inbox = inbox.ok_or(Error::Peer("the end of no snapshot"))?;
        let (vote, snapshot) = inbox.finish(end)?;
        if vote.leader_id.node_id != from || !vote.committed {
            return Err(Error::Peer("a snapshot of another leader"));
        }
        if self.shared.keys.is_none() && snapshot.meta.last_log_id <= self.log.committed() {
            return self.keep(snapshot).await;
        }
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        let vote = installed.map_err(Error::fatal)?.vote;
        Ok(PeerResult::Installed(Installed { vote: Some(to_ballot(&vote)) }))
    }

    /// A witness gets a snapshot of what it has, so that its log need not hold all of it.
    async fn keep(&self, snapshot: openraft::Snapshot<TypeConfig>) -> Result<PeerResult, Error> {
        let SnapshotData::Received(inbox) = *snapshot.snapshot else {
            return Err(Error::Peer("a snapshot that is not one"));
        };
        let (position, keep) = (inbox.position(), inbox.kept()?);
        // What is applied must be on disk first, or the snapshot would be ahead of it.
        self.shared.storage.flush().await.map_err(|_| Error::Stopped)?;
        let kept = self.shared.storage.install(position, keep).await;
        kept.map_err(|_| Error::Stopped)??;
        self.raft.trigger().snapshot().await.map_err(Error::fatal)?;
        let vote = self.raft.metrics().borrow().vote;
        Ok(PeerResult::Installed(Installed { vote: Some(to_ballot(&vote)) }))
    }

    /// The leader gives up its place: this node stands at once, without asking who would vote for it.
    async fn stand(&self, stand: &Stand) -> Result<PeerResult, Error> {
        let theirs = stand.vote.as_ref().map(from_ballot);
        let (own, last) = (self.raft.metrics().borrow().vote, self.log.last());
        if theirs != Some(own) || last < stand.last.as_ref().map(from_place) {
            return Ok(refused("behind"));
        }
        self.raft.trigger().elect().await.map_err(Error::fatal)?;
        Ok(PeerResult::Standing(Standing {}))
    }
}
