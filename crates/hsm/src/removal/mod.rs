//! How a member leaves its cluster, and what it leaves behind.
//!
//! ```text
//! provisioner ── RemoveHsm ──▶ a member ── Leave (2225) ──▶ the leaver: destroys its secrets on disk
//!                                        ◀── receipt ─────  (it votes on, with those in memory)
//!                 RemoveMember { receipt } in the log; the leaver ends
//! provisioner ── Leave ──────▶ the leaver: the same, and puts its removal into the log itself
//! ```
//! Without a receipt, a member is only removed where that is forced, and then the cluster makes a new
//! key for the owner to sign.

mod receipt;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use prost::Message as _;
use strongroom_cluster::Transport as _;
use strongroom_vault::{Command, Contact, Member as MemberRecord, NodeId, Replicator as _};
use strongroom_wire::admin::{RemovalReply, RemoveHsm};
use strongroom_wire::leaving::{LeaveAnswer, LeaveMessage, ReceiptStatement};
use strongroom_wire::peer::{Leave, PeerOperation, PeerRequest, PeerResult};

use self::receipt::{check_receipt, sign_receipt};
use crate::administration::propose;
use crate::certificates::P256Key;
use crate::device::peer_of;
use crate::hsm::{Hsm, Member};
use crate::process::hand_over;
use crate::{Error, clock};

/// For a leaver to hand over leadership, destroy its secrets and say so.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
/// A leaver ends after so long, whether or not it has heard of its removal.
const LEAVER_LIFE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Removes a member.
///
/// # Errors
/// Why it is a member still, and what to do.
pub(crate) fn remove(
    hsm: &Arc<Hsm>,
    member: &Member,
    asked: &RemoveHsm,
) -> Result<RemovalReply, String> {
    let (leaver, cluster_id) = {
        let state = member.node.state().read();
        let leaver = state.members().find(|other| other.hsm_id == asked.hsm_id).cloned();
        (leaver, state.cluster_id().to_owned())
    };
    let leaver = leaver.ok_or_else(|| format!("no member is {}", asked.hsm_id))?;
    let own = leaver.node == member.membership.node();
    let given = if !asked.receipt.is_empty() {
        Ok(asked.receipt.clone())
    } else if own {
        return leave_by_itself(hsm, member);
    } else {
        ask_to_leave(hsm, member, &leaver, &cluster_id)
    };
    let receipt = given.and_then(|receipt| {
        check_receipt(&receipt, &leaver, &cluster_id).map_err(|e| e.to_string())?;
        Ok(receipt)
    });
    let receipt = match receipt {
        Ok(receipt) => receipt,
        Err(problem) if asked.force && !own => {
            tracing::warn!(hsm = leaver.hsm_id, "removed without a receipt: {problem}");
            Vec::new()
        }
        Err(problem) => {
            return Err(format!(
                "{} gives no receipt that its secrets are destroyed ({problem}). Where it is lost, \
                 remove it by force: the owner then has to sign a new cluster key",
                leaver.hsm_id
            ));
        }
    };
    expel(member, leaver.node, !receipt.is_empty()).map_err(|e| e.to_string())?;
    let generation = member.node.state().read().generation();
    Ok(RemovalReply { receipt, generation })
}

/// Takes a member out of the vault; one that is out already is no failure.
fn expel(member: &Member, node: NodeId, receipt: bool) -> Result<(), Error> {
    if member.node.state().read().member(node).is_none() {
        return Ok(());
    }
    propose(&*member.node, Command::RemoveMember { node, receipt }).map(drop)
}

fn ask_to_leave(
    hsm: &Hsm,
    member: &Member,
    leaver: &MemberRecord,
    cluster_id: &str,
) -> Result<Vec<u8>, String> {
    let transport = hsm.transport.as_ref().ok_or("a local HSM has no peers")?;
    let peer = peer_of(leaver).ok_or("its address is none")?;
    let message = LeaveMessage { cluster_id: cluster_id.to_owned(), hsm_id: leaver.hsm_id.clone() };
    let request = PeerRequest {
        fence: member.node.status().fence,
        from: member.membership.node().0,
        to: leaver.node.0,
        operation: Some(PeerOperation::Leave(Leave { request: message.encode_to_vec() })),
    };
    let call = transport.call(leaver.node, &peer, request, LEAVE_PATIENCE);
    match hsm.runtime.block_on(call).map_err(|e| e.to_string())?.result {
        Some(PeerResult::Leave(reply)) => {
            let answer = LeaveAnswer::parse(&reply.reply).map_err(|e| e.to_string())?;
            if answer.refusal.is_empty() { Ok(answer.receipt) } else { Err(answer.refusal) }
        }
        Some(PeerResult::Refused(refused)) => Err(refused.reason),
        _ => Err("its answer makes no sense".to_owned()),
    }
}

/// The provisioner's word to the leaver: it leaves, and says so to the cluster itself.
///
/// # Errors
/// Why not.
pub(crate) fn leave_by_itself(hsm: &Arc<Hsm>, member: &Member) -> Result<RemovalReply, String> {
    let cluster_id = member.node.state().read().cluster_id().to_owned();
    let hsm_id = hsm.secrets.hsm_id.clone();
    let receipt = leave(hsm, member, &LeaveMessage { cluster_id, hsm_id })?;
    if !member.membership.witness {
        // Where it is not agreed on, the receipt still is there for whoever removes it.
        if let Err(e) = expel(member, member.membership.node(), true) {
            tracing::error!("the cluster does not know yet that this HSM has left: {e}");
        }
    }
    let generation = member.node.state().read().generation();
    Ok(RemovalReply { receipt, generation })
}

/// Leaves: destroys the secrets on disk, and gives the receipt. The process ends when the cluster has
/// removed it: its vote may be needed for that. Asked again, it gives the same receipt.
///
/// # Errors
/// Why it does not leave; it is a member as before.
pub(crate) fn leave(
    hsm: &Arc<Hsm>,
    member: &Member,
    message: &LeaveMessage,
) -> Result<Vec<u8>, String> {
    let mut left = hsm.left.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(receipt) = &*left {
        return Ok(receipt.clone());
    }
    if message.hsm_id != hsm.secrets.hsm_id || message.cluster_id != member.membership.cluster_id {
        return Err("another HSM is meant".to_owned());
    }
    if member.node.contact() != Contact::Connected {
        return Err(
            "it has no contact to the majority, so the cluster could not learn of it".into()
        );
    }
    let others = |state: &strongroom_vault::State| {
        let own = member.membership.node();
        state.members().any(|other| !other.witness && other.node != own)
    };
    if !member.membership.witness && !others(&member.node.state().read()) {
        return Err("it is the last HSM with the keys".to_owned());
    }
    hand_over(hsm);
    let key = P256Key::from_pkcs8("use of the device key", hsm.secrets.device_key.as_bytes());
    let statement = ReceiptStatement {
        cluster_id: message.cluster_id.clone(),
        hsm_id: message.hsm_id.clone(),
        node: member.membership.node().0,
        time_ms: clock::now_ms(),
    };
    let receipt = key.and_then(|key| sign_receipt(&statement, &key)).map_err(|e| e.to_string())?;
    // Signed before, given only after: a receipt for secrets that are still there would be a lie.
    hsm.zeroiser()
        .destroy_on_disk(&format!("left {}", message.cluster_id))
        .map_err(|e| e.to_string())?;
    *left = Some(receipt.clone());
    end_when_removed(hsm);
    Ok(receipt)
}

fn end_when_removed(hsm: &Arc<Hsm>) {
    let hsm = Arc::clone(hsm);
    let deadline = Instant::now() + LEAVER_LIFE;
    let wait = move || {
        let removed = || {
            hsm.member().is_none_or(|member| {
                let node = member.membership.node();
                // A witness has no state to see it in. The vote goes after the membership: of two
                // HSMs, the one that stays cannot take it away alone. Whom the leader calls no more
                // has none.
                let has_vote = || {
                    member.node.contact() == Contact::Connected
                        && member.node.status().members.iter().any(|other| other.node == node)
                };
                !member.membership.witness
                    && member.node.state().read().member(node).is_none()
                    && !has_vote()
            })
        };
        while Instant::now() < deadline && !removed() {
            std::thread::sleep(POLL);
        }
        tracing::info!("this HSM has left its cluster");
        hsm.stop.request();
    };
    if let Err(e) = std::thread::Builder::new().name("leaving".to_owned()).spawn(wait) {
        tracing::error!("no thread waits for the removal: stop this HSM by hand: {e}");
    }
}
