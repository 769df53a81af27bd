//! openraft's messages over the [`crate::Transport`].

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory, Snapshot};
use strongroom_wire::peer::{Append, PeerOperation, PeerResult};
use tokio::sync::Mutex;

use crate::raft::{LogId, TypeConfig, Vote};
use crate::shared::Shared;
use crate::{Error, Peer, TransportError, convert, snapshot};

type RpcError = RPCError<u64, Peer, RaftError<u64>>;

/// A peer that is unreachable is tried again after so long. We wait, not openraft: while it waits, chance
/// decides whether it sees first that the time is over or that there is more to send, and a simulation
/// could not be repeated.
const BACKOFF: Duration = Duration::from_millis(50);
/// An append on its way is waited for at most so long, for the sake of a slow disk. Much longer would
/// keep a peer that is back from its heartbeats.
const APPEND_PATIENCE: Duration = Duration::from_millis(250);
/// And so much longer for each MiB of entries, for the sake of a slow network.
const APPEND_PATIENCE_PER_MIB: Duration = Duration::from_millis(500);

/// Makes connections.
pub(crate) struct Network {
    pub(crate) shared: Arc<Shared>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Link {
        Link {
            shared: self.shared.clone(),
            to: target,
            peer: peer.clone(),
            on_its_way: Arc::default(),
        }
    }
}

/// One peer.
pub(crate) struct Link {
    shared: Arc<Shared>,
    to: u64,
    peer: Peer,
    /// openraft gives an append up after a time and sends it again. The first one goes on, and the
    /// second waits for it: a long entry over a slow network arrives once.
    on_its_way: Arc<Mutex<()>>,
}

fn patience(append: &Append) -> Duration {
    let bytes: usize = append.entries.iter().map(|entry| entry.payload.len()).sum();
    let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
    APPEND_PATIENCE + APPEND_PATIENCE_PER_MIB.saturating_mul(mib)
}

/// Never [`RPCError::Unreachable`]: see [`BACKOFF`].
fn rpc(error: &TransportError) -> RpcError {
    RPCError::Network(NetworkError::new(error))
}

async fn append(
    shared: &Shared,
    to: u64,
    peer: &Peer,
    request: AppendEntriesRequest<TypeConfig>,
) -> Result<AppendEntriesResponse<u64>, RpcError> {
    let last: Option<LogId> =
        request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
    let vote = request.vote;
    let silence_ms = shared.silence_ms.load(Ordering::Acquire);
    let append = convert::to_append(request, shared.storage.kept(), silence_ms);
    let patience = patience(&append);
    let result = match shared.call(to, peer, PeerOperation::Append(append), patience).await {
        Err(error @ TransportError::Unreachable(_)) => {
            tokio::time::sleep(BACKOFF).await;
            return Err(rpc(&error));
        }
        result => result.map_err(|error| rpc(&error))?,
    };
    let PeerResult::Append(reply) = result else { return Err(other_answer()) };
    let response = convert::from_append_reply(&reply);
    if response.is_success() {
        if let Some(last) = &last {
            let term = vote.leader_id.term;
            shared.contacts.acknowledged(to, term, convert::to_place(last));
        }
        shared.contacts.voted(to, convert::to_ballot(&vote));
    }
    Ok(response)
}

/// A mutant for the simulation to catch: a peer is believed to have what was only sent, so that a change
/// is answered before a majority has it.
#[cfg(feature = "early-ack")]
async fn early_ack(
    shared: Arc<Shared>,
    to: u64,
    peer: Peer,
    request: AppendEntriesRequest<TypeConfig>,
    _turn: tokio::sync::OwnedMutexGuard<()>,
) {
    // It is sent again as long as the leader might.
    for _ in 0..100 {
        if append(&shared, to, &peer, request.clone()).await.is_ok() {
            return;
        }
    }
}

fn other_answer() -> RpcError {
    RPCError::Network(NetworkError::new(&Error::Peer("another answer than to the question")))
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RpcError> {
        let turn = self.on_its_way.clone().lock_owned().await;
        let (shared, to, peer) = (self.shared.clone(), self.to, self.peer.clone());
        #[cfg(feature = "early-ack")]
        if !request.entries.is_empty() {
            tokio::spawn(early_ack(shared, to, peer, request, turn));
            return Ok(AppendEntriesResponse::Success);
        }
        let call = tokio::spawn(async move {
            let _turn = turn;
            append(&shared, to, &peer, request).await
        });
        match call.await {
            Ok(response) => response,
            Err(_) => Err(other_answer()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RpcError> {
        let vote = PeerOperation::Vote(convert::to_request_vote(&request));
        let result = self.shared.call(self.to, &self.peer, vote, option.hard_ttl()).await;
        let PeerResult::Vote(reply) = result.map_err(|error| rpc(&error))? else {
            return Err(other_answer());
        };
        if let Some(vote) = reply.vote {
            self.shared.contacts.voted(self.to, vote);
        }
        convert::from_vote_reply(&reply).map_err(|_| other_answer())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let (last, term) = (snapshot.meta.last_log_id, vote.leader_id.term);
        let sending = async {
            let sent = snapshot::send(&self.shared, self.to, &self.peer, vote, snapshot).await;
            if let Err(error) = &sent {
                tracing::warn!(%error, to = self.to, "a snapshot was not sent");
                tokio::time::sleep(BACKOFF).await;
            }
            sent
        };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => {
                let vote = sent
                    .map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
                if let Some(last) = &last {
                    let place = convert::to_place(last);
                    self.shared.contacts.acknowledged(self.to, term, place);
                }
                Ok(SnapshotResponse::new(vote))
            }
        }
    }
}
