//! How a member lets another HSM in: the policy, the log, the welcome.

use std::time::{Duration, SystemTime};

use prost::Message as _;
use strongroom_cluster::{Transport as _, TransportError};
use strongroom_crypto::sealing::seal_to;
use strongroom_vault::{
    Command, Endorsement, JoinPolicy, Member as MemberRecord, Outcome, Replicator as _,
};
use strongroom_wire::admin::{AddHsm, AddHsmReply, Admission};
use strongroom_wire::joining::{WELCOME_INFO, WelcomeAnswer, WelcomeMessage};
use strongroom_wire::peer::{PeerMember, PeerOperation, PeerRequest, PeerResult, Welcome};

use super::{check_endorsement, verified};
use crate::administration::propose;
use crate::device::peer_of;
use crate::hsm::{Hsm, Member};

/// For the new HSM to open what it is given, keep it, and start. It is well within a provisioner's
/// patience, who can ask again.
const WELCOME_PATIENCE: Duration = Duration::from_secs(5);

/// Lets an HSM in as far as it goes now: whoever asks again gets on from there.
///
/// # Errors
/// Why it may not join.
pub(crate) fn admit(hsm: &Hsm, member: &Member, asked: &AddHsm) -> Result<AddHsmReply, String> {
    let signed = asked.device.as_ref().ok_or("the request names no HSM")?;
    let newcomer = verified(signed).map_err(|e| e.to_string())?;
    check_ports(hsm, &newcomer)?;
    let known = member.node.state().read().member_by_key(&newcomer.fingerprint()).cloned();
    let record = match known {
        Some(known) if known.is_device(&newcomer) => known,
        Some(_) => return Err("a member has this device key, with other keys beside it".to_owned()),
        None => match add(member, newcomer, &asked.endorsement)? {
            Ok(record) => record,
            Err(waiting) => return Ok(waiting),
        },
    };
    let node = record.node.0;
    let reply =
        |admission: Admission, message| AddHsmReply { admission: admission.into(), node, message };
    match welcome(hsm, member, &record) {
        Ok(WelcomeAnswer { refusal }) if refusal.is_empty() => {
            tracing::info!(hsm = record.hsm_id, node, "welcomed");
            Ok(reply(Admission::Welcomed, String::new()))
        }
        Ok(WelcomeAnswer { refusal }) => Err(format!("{} refuses: {refusal}", record.hsm_id)),
        Err(problem) => Ok(reply(Admission::Unreached, problem)),
    }
}

/// One port offset for a cluster: the processes are confined to it.
fn check_ports(hsm: &Hsm, newcomer: &MemberRecord) -> Result<(), String> {
    let ours = hsm.device.as_ref().map_or(0, |device| device.place.port_offset);
    if newcomer.port_offset == ours {
        Ok(())
    } else {
        Err(format!(
            "all HSMs of a cluster have one port offset: {ours} here, {} there",
            newcomer.port_offset
        ))
    }
}

/// The new member's record, or what it waits for.
fn add(
    member: &Member,
    newcomer: MemberRecord,
    chain: &[Vec<u8>],
) -> Result<Result<MemberRecord, AddHsmReply>, String> {
    let node = &*member.node;
    let (policy, anchor, approvals) = {
        let state = node.state().read();
        let fingerprint = newcomer.fingerprint();
        let request = state.join_requests().find(|(waiting, _)| **waiting == fingerprint);
        let approvals = request.map_or(0, |(_, request)| state.approvals(request));
        (state.join_policy(), state.trust_anchor().map(<[u8]>::to_vec), approvals)
    };
    let endorsement = match policy {
        JoinPolicy::Automatic => Endorsement::Provisioner,
        JoinPolicy::Owner => {
            let now = SystemTime::now();
            check_endorsement(chain, anchor.as_deref(), &newcomer.device_key, now)
                .map_err(|e| e.to_string())?;
            Endorsement::Owner { certificate: chain.concat() }
        }
        JoinPolicy::Quorum { approvals: needed } if approvals < needed as usize => {
            propose(node, Command::RequestJoin { member: newcomer }).map_err(|e| e.to_string())?;
            let message = format!("it has the approval of {approvals} of {needed} admins");
            let admission = Admission::Waiting.into();
            return Ok(Err(AddHsmReply { admission, node: 0, message }));
        }
        JoinPolicy::Quorum { .. } => Endorsement::Admins,
    };
    let command = Command::AddMember { member: newcomer.clone(), endorsement, replaces: None };
    match propose(node, command).map_err(|e| e.to_string())? {
        Outcome::MemberAdded(node) => Ok(Ok(MemberRecord { node, ..newcomer })),
        other => Err(format!("a bug: adding a member gave {other:?}")),
    }
}

/// Tells the new member so, with the cluster's secrets sealed to it.
fn welcome(hsm: &Hsm, member: &Member, record: &MemberRecord) -> Result<WelcomeAnswer, String> {
    let transport = hsm.transport.as_ref().ok_or("a local HSM has no port for others")?;
    let peer = peer_of(record).ok_or("its address is none")?;
    let mut message = WelcomeMessage { node: record.node.0, ..WelcomeMessage::default() };
    {
        let state = member.node.state().read();
        state.cluster_id().clone_into(&mut message.cluster_id);
        message.members = state.members().filter_map(peer_member).collect();
        message.cluster_certificate =
            state.cluster_certificate().map(<[u8]>::to_vec).unwrap_or_default();
    }
    if !record.witness {
        let secrets = hsm.secrets.cluster().map_err(|e| e.to_string())?.to_bytes();
        let bound = message.bound(&record.fingerprint());
        message.sealed_secrets =
            seal_to(&record.sealing_key, WELCOME_INFO, &bound, secrets.as_bytes())
                .map_err(|e| format!("its sealing key: {e}"))?;
    }
    let request = PeerRequest {
        fence: member.node.status().fence,
        from: member.membership.node().0,
        to: record.node.0,
        operation: Some(PeerOperation::Welcome(Welcome { request: message.encode_to_vec() })),
    };
    let call = transport.call(record.node, &peer, request, WELCOME_PATIENCE);
    let reply = hsm.runtime.block_on(call).map_err(|e: TransportError| e.to_string())?;
    match reply.result {
        Some(PeerResult::Welcome(reply)) => {
            WelcomeAnswer::parse(&reply.reply).map_err(|e| e.to_string())
        }
        Some(PeerResult::Refused(refusal)) => Err(refusal.reason),
        _ => Err("its answer makes no sense".to_owned()),
    }
}

pub(crate) fn peer_member(member: &MemberRecord) -> Option<PeerMember> {
    let peer = peer_of(member)?;
    Some(PeerMember {
        node: member.node.0,
        hsm_id: peer.hsm_id,
        address: peer.address,
        device_key: peer.device_key.to_vec(),
        witness: peer.witness,
        zone: peer.zone,
    })
}
