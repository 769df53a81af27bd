//! Getting proposals into the log: by ourselves on the leader, through the leader elsewhere.
//!
//! On the leader everything that waits goes into one Raft entry, so that one round of disks and network
//! serves many. There is no timer: a lone proposal waits for nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::error::ClientWriteError;
use strongroom_vault::{Entry, ReplicationError, codec};
use strongroom_wire::limits::{BATCH_BYTES_ENOUGH, BATCH_ENTRIES_MAX, CLOCK_APART_MS_MAX};
use strongroom_wire::peer::{Forward, ForwardedProposal, PeerOperation, PeerResult};
use zeroize::Zeroizing;

use crate::payload::{self, BatchEntry};
use crate::proposals::{Handed, Leadership};
use crate::raft::Raft;
use crate::shared::{Keys, Shared, voters};
use crate::{Error, Peer, sealing};

/// What did not arrive is sent again after so long; a leader that does not answer is asked again.
const RETRY: Duration = Duration::from_millis(50);
/// The leader takes a proposal over at once: this is the network's time.
const FORWARD_ANSWER: Duration = Duration::from_millis(500);
/// Runs until the node ends.
pub(crate) async fn run(shared: Arc<Shared>, raft: Raft) {
    let mut leaders = raft.server_metrics();
    loop {
        tokio::select! {
            biased;
            () = shared.proposals.arrived.notified() => {}
            changed = leaders.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY) => {}
        }
        let (leader, term) = {
            let metrics = leaders.borrow_and_update();
            (metrics.current_leader, metrics.vote.leader_id.term)
        };
        match leader {
            Some(leader) if leader == shared.node => lead(&shared, &raft, (leader, term)).await,
            Some(leader) => {
                shared.proposals.drop_handed();
                let peer =
                    leaders.borrow().membership_config.membership().get_node(&leader).cloned();
                if let Some(peer) = peer {
                    forward(&shared, (leader, term), peer);
                }
            }
            None => shared.proposals.drop_handed(),
        }
    }
}

/// As leader: batch after batch, until nothing waits or another leads.
async fn lead(shared: &Arc<Shared>, raft: &Raft, leadership: Leadership) {
    let Some(keys) = &shared.keys else { return };
    loop {
        if shared.yielding.load(Ordering::Acquire) || !clock_is_right(shared, raft) {
            return;
        }
        let batch = match Batch::collect(shared, keys, leadership) {
            Ok(batch) => batch,
            Err(error) => return shared.fail(&error),
        };
        if batch.entries.is_empty() {
            return;
        }
        let own = batch.own;
        let Ok(mut written) = raft.client_write_ff(payload::batch(batch.entries)).await else {
            return;
        };
        let mut leaders = raft.server_metrics();
        loop {
            tokio::select! {
                biased;
                written = &mut written => {
                    if let Ok(Err(ClientWriteError::ForwardToLeader(_))) = written {
                        shared.proposals.take_back(&own);
                        return;
                    }
                    break;
                }
                // Cut off from the others, a leader would wait for ever.
                changed = leaders.changed() => {
                    let metrics = leaders.borrow_and_update();
                    let leads = (metrics.current_leader.unwrap_or(0), metrics.vote.leader_id.term);
                    if changed.is_err() || leads != leadership {
                        return;
                    }
                }
            }
        }
    }
}

/// A leader whose clock is far from its voters' stamps nothing.
fn clock_is_right(shared: &Shared, raft: &Raft) -> bool {
    let voters: Vec<u64> = voters(&raft.metrics().borrow()).into_iter().collect();
    let apart = shared.contacts.clock_apart_ms(&voters, shared.node, (shared.clock)());
    apart.is_none_or(|ms| ms.unsigned_abs() <= CLOCK_APART_MS_MAX)
}

/// What goes into one Raft entry.
#[derive(Default)]
struct Batch {
    entries: Vec<BatchEntry>,
    own: Vec<u64>,
    bytes: usize,
}

impl Batch {
    fn collect(shared: &Shared, keys: &Keys, leadership: Leadership) -> Result<Self, Error> {
        let mut batch = Self::default();
        let mut after = 0;
        while batch.has_room() {
            let Some((counter, entry)) = shared.proposals.give(leadership, after) else { break };
            after = counter;
            let name = (shared.node, shared.boot.number, counter);
            if batch.push(shared, keys, name, &entry)? {
                batch.own.push(counter);
            } else {
                let reason = "the entry is longer than a log may hold".to_owned();
                shared.proposals.refuse(counter, ReplicationError::Storage(reason));
            }
        }
        while batch.has_room() {
            let Some(handed) = shared.proposals.handed() else { break };
            let name = (handed.node, handed.boot, handed.counter);
            batch.push(shared, keys, name, &handed.entry)?;
        }
        Ok(batch)
    }

    fn has_room(&self) -> bool {
        self.entries.len() < BATCH_ENTRIES_MAX && self.bytes < BATCH_BYTES_ENOUGH
    }

    /// Stamps and seals; whether the entry is short enough.
    fn push(
        &mut self,
        shared: &Shared,
        keys: &Keys,
        (node, boot, counter): (u64, u64, u64),
        entry: &Entry,
    ) -> Result<bool, Error> {
        // Only the leader stamps time; the state takes an older stamp as the newest seen.
        let entry = Entry { time_ms: (shared.clock)(), ..entry.clone() };
        let plaintext = Zeroizing::new(codec::encode_entry(&entry));
        if plaintext.len() > strongroom_vault::limits::ENTRY_BYTES_MAX {
            return Ok(false);
        }
        let sealed = keys.seal(&plaintext)?;
        self.bytes += sealed.len();
        self.entries.push(BatchEntry { node, boot, counter, sealed });
        Ok(true)
    }
}

/// Hands this HSM's proposals to the leader.
fn forward(shared: &Arc<Shared>, leadership: Leadership, peer: Peer) {
    let Some(keys) = &shared.keys else { return };
    let mut proposals = Vec::new();
    let (mut bytes, mut after) = (0, 0);
    while proposals.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_ENOUGH {
        let Some((counter, entry)) = shared.proposals.give(leadership, after) else { break };
        after = counter;
        let plaintext = Zeroizing::new(codec::encode_entry(&entry));
        match keys.seal(&plaintext) {
            Ok(sealed) => {
                bytes += sealed.len();
                let boot = shared.boot.number;
                proposals.push(ForwardedProposal { counter, boot, sealed });
            }
            Err(error) => return shared.fail(&error),
        }
    }
    if proposals.is_empty() {
        return;
    }
    let shared = shared.clone();
    tokio::spawn(async move {
        let counters: Vec<u64> = proposals.iter().map(|proposal| proposal.counter).collect();
        let forward = PeerOperation::Forward(Forward { proposals });
        let result = shared.call(leadership.0, &peer, forward, FORWARD_ANSWER).await;
        if !matches!(result, Ok(PeerResult::Forward(_))) {
            tokio::time::sleep(RETRY).await;
            shared.proposals.take_back(&counters);
            shared.proposals.arrived.notify_one();
        }
    });
}

/// Takes over what another member forwards; whether this node leads and has room.
///
/// # Errors
/// [`Error::Entry`] where one does not open.
pub(crate) fn take_over(shared: &Shared, from: u64, forward: Forward) -> Result<bool, Error> {
    let Some(keys) = &shared.keys else { return Ok(false) };
    let log_keys = &keys.secrets.cluster()?.log;
    let mut handed = Vec::with_capacity(forward.proposals.len());
    for ForwardedProposal { counter, boot, sealed } in forward.proposals {
        let plaintext = sealing::open(log_keys, &sealed)?;
        let entry = codec::decode_entry(plaintext.as_bytes())
            .map_err(|_| Error::Entry("the vault does not know its form"))?;
        handed.push(Handed { node: from, boot, counter, entry });
    }
    Ok(shared.proposals.hand(handed))
}
