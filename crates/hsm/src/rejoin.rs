//! Beginning again under another number: an HSM whose disk is damaged, older than what others saw of it,
//! or of a life of the cluster that was given up. It sets its store aside and fetches everything from
//! the members, as a learner. Its device key and secrets stay.

use std::sync::Arc;
use std::time::Duration;

use strongroom_cluster::{DeviceKeyHash, MemberRole, Transport as _};
use strongroom_store::Store;
use strongroom_vault::{Command, Endorsement, Outcome, Replicator as _};
use strongroom_wire::peer::{PeerOperation, PeerRequest, PeerResult, Rejoin, RejoinReply, Survey};

use crate::administration::propose;
use crate::hsm::{Hsm, Member};
use crate::joining::peer_member;
use crate::membership::Membership;

/// For a member to have it agreed on.
const PATIENCE: Duration = Duration::from_secs(5);
/// For a member to say whether it is in touch.
const SURVEY_PATIENCE: Duration = Duration::from_secs(1);
/// After all members were asked in vain.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes no part until a member has given this HSM a new number; then begins again. Returns when that is
/// so, or when it is refused.
pub(crate) fn begin(hsm: &Arc<Hsm>, membership: Membership, why: &'static str) {
    tracing::error!("this HSM begins again: {why}");
    let old = hsm.member();
    hsm.retire(why);
    if let Some(old) = old {
        old.node.stop();
    }
    loop {
        match ask(hsm, &membership) {
            Ok(reply) => {
                let next = Membership::welcomed(
                    membership.cluster_id.clone(),
                    reply.node,
                    membership.witness,
                    &reply.members,
                );
                let begun = hsm.take_part_again(None, next, |folder| {
                    let aside = Store::set_aside(folder)?;
                    tracing::warn!(?aside, "the old store is set aside");
                    Ok(())
                });
                if let Err(e) = begun {
                    tracing::error!("this HSM cannot begin again, so it stops: {e}");
                    hsm.stop.request();
                }
                return;
            }
            Err(Refusal::Removed) => return hsm.was_removed(),
            Err(Refusal::GivenUp) => {
                return hsm.retire("the cluster was recovered without this HSM");
            }
            Err(Refusal::Later(e)) => {
                tracing::warn!("no member lets this HSM begin again yet: {e}")
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether the others have the keys, and a majority without this HSM.
pub(crate) fn can_be_spared(hsm: &Hsm) -> bool {
    let (Some(member), Some(transport)) = (hsm.member(), &hsm.transport) else { return false };
    let status = member.node.status();
    let voters = status.members.iter().filter(|other| other.role != MemberRole::Learner);
    let (mut voting, mut in_touch, mut with_keys) = (0, 0, false);
    for voter in voters {
        voting += 1;
        if voter.node == status.node {
            continue;
        }
        let request = PeerRequest {
            fence: status.fence,
            from: status.node.0,
            to: voter.node.0,
            operation: Some(PeerOperation::Survey(Survey {})),
        };
        let call = transport.call(voter.node, &voter.peer, request, SURVEY_PATIENCE);
        let reply = hsm.runtime.block_on(call).map(|reply| reply.result);
        if matches!(reply, Ok(Some(PeerResult::Survey(survey))) if survey.cut_off_ms == 0) {
            in_touch += 1;
            with_keys |= !voter.peer.witness;
        }
    }
    with_keys && in_touch * 2 > voting
}

enum Refusal {
    Removed,
    GivenUp,
    Later(String),
}

fn ask(hsm: &Hsm, membership: &Membership) -> Result<RejoinReply, Refusal> {
    let transport =
        hsm.transport.as_ref().ok_or_else(|| Refusal::Later("it has no peers".to_owned()))?;
    let mut last = "it knows no other member".to_owned();
    for (node, peer) in membership.peers().filter(|(node, _)| *node != membership.node()) {
        let request = PeerRequest {
            // It belongs to no life of the cluster now: whoever answers says which one goes on.
            fence: 0,
            from: membership.node().0,
            to: node.0,
            operation: Some(PeerOperation::Rejoin(Rejoin {})),
        };
        let call = transport.call(node, &peer, request, PATIENCE);
        match hsm.runtime.block_on(call).map(|reply| reply.result) {
            Ok(Some(PeerResult::Rejoin(reply))) if reply.node > 0 => return Ok(reply),
            Ok(Some(PeerResult::Removed(_))) => return Err(Refusal::Removed),
            Ok(Some(PeerResult::Fenced(_))) => return Err(Refusal::GivenUp),
            Ok(Some(PeerResult::Refused(refused))) => last = refused.reason,
            Ok(_) => last = format!("{} gives no answer that makes sense", peer.hsm_id),
            Err(e) => last = format!("{}: {e}", peer.hsm_id),
        }
    }
    Err(Refusal::Later(last))
}

/// Gives the member of this device key a new number.
///
/// # Errors
/// Why not, for the one who asked.
pub(crate) fn answer(member: &Member, from: &DeviceKeyHash) -> Result<RejoinReply, String> {
    let known = member.node.state().read().member_by_key(from).cloned();
    let record = known.ok_or("this device key is no member's")?;
    let replaces = Some(record.node);
    let command =
        Command::AddMember { member: record, endorsement: Endorsement::Provisioner, replaces };
    let node = match propose(&*member.node, command).map_err(|e| e.to_string())? {
        Outcome::MemberAdded(node) => node.0,
        other => return Err(format!("a bug: adding a member gave {other:?}")),
    };
    let state = member.node.state().read();
    Ok(RejoinReply { node, members: state.members().filter_map(peer_member).collect() })
}
