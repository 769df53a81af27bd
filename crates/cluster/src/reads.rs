//! Reads that must not be stale: the leader makes sure that it still leads, says how far the log is
//! committed, and this node applies up to there (Raft's ReadIndex). Who asks together shares one round.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_vault::{LogIndex, ReplicationError};
use strongroom_wire::peer::{PeerOperation, PeerResult, ReadIndex};
use tokio::sync::Notify;

use crate::proposals::Answer;
use crate::raft::Raft;
use crate::shared::Shared;

/// A round that failed is tried again after so long.
const RETRY: Duration = Duration::from_millis(20);
/// A round.
const ROUND: Duration = Duration::from_millis(400);

pub(crate) type Confirmed = Result<LogIndex, ReplicationError>;

/// Who waits for a round.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: Mutex<Vec<Arc<Answer<Confirmed>>>>,
    arrived: Notify,
}

impl Reads {
    pub(crate) fn add(&self) -> Arc<Answer<Confirmed>> {
        let answer = Answer::new();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(answer.clone());
        self.arrived.notify_one();
        answer
    }

    fn take(&self) -> Vec<Arc<Answer<Confirmed>>> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers all that wait.
    pub(crate) fn close(&self, reason: &ReplicationError) {
        for answer in self.take() {
            answer.give(Err(reason.clone()));
        }
    }

    /// Runs until the node ends.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<Shared>, raft: Raft) {
        loop {
            self.arrived.notified().await;
            let mut waiting = self.take();
            while !waiting.is_empty() {
                let confirmed = tokio::time::timeout(ROUND, confirm(&shared, &raft)).await;
                if let Ok(Some(index)) = confirmed {
                    for answer in waiting.drain(..) {
                        answer.give(Ok(index));
                    }
                } else {
                    tokio::time::sleep(RETRY).await;
                    // Who is gone needs no answer; who came meanwhile shares the next round.
                    waiting.retain(|answer| Arc::strong_count(answer) > 1);
                    waiting.extend(self.take());
                }
            }
        }
    }
}

/// One round: everything acknowledged before it is applied here.
async fn confirm(shared: &Shared, raft: &Raft) -> Option<LogIndex> {
    let (leader, peer) = {
        let metrics = raft.server_metrics().borrow().clone();
        let leader = metrics.current_leader?;
        (leader, metrics.membership_config.membership().get_node(&leader).cloned()?)
    };
    let next = if leader == shared.node {
        let (read, _) = raft.get_read_log_id().await.ok()?;
        read.map_or(0, |id| id.index + 1)
    } else {
        let ask = PeerOperation::ReadIndex(ReadIndex {});
        let PeerResult::ReadIndex(reply) = shared.call(leader, &peer, ask, ROUND).await.ok()?
        else {
            return None;
        };
        reply.place.map_or(0, |place| place.index + 1)
    };
    shared.applied.subscribe().wait_for(|applied| *applied >= next).await.ok()?;
    // The majority was in touch just now.
    shared.cut_off_ms.store(0, std::sync::atomic::Ordering::Release);
    Some(shared.state.durable())
}
