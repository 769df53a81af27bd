//! How an HSM does, for its provisioner: its own state, the cluster as it knows it, and what an
//! operator must do.

use std::time::Duration;

use strongroom_cluster::NodeStatus;
use strongroom_vault::{Contact, JoinPolicy, Phase, Replicator, State};
use strongroom_wire::admin::{HsmState, MemberStatus, StatusReply};
use strongroom_wire::message::{
    ClusterPhase, JoinPolicy as WireJoinPolicy, JoinRequestInfo, MemberRole as WireRole,
    SetJoinPolicy,
};

use crate::cluster_desk::role;
use crate::hsm::{Hsm, Member, Part};
use crate::ownership;

/// A member that was not heard of for so long needs somebody's attention.
const LOST: Duration = Duration::from_secs(600);
/// A new HSM that is so far behind does not answer clients yet.
const CATCHING_UP: u64 = 1000;

/// How an HSM does now; with a digest of its state where that is asked for.
pub(crate) fn status(hsm: &Hsm, digest: bool) -> StatusReply {
    let mut reply = StatusReply {
        hsm_id: hsm.secrets.hsm_id.clone(),
        seal: hsm.seal.to_owned(),
        process_id: u64::from(std::process::id()),
        uptime_seconds: hsm.started.elapsed().as_secs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        memory_bytes: memory_bytes().unwrap_or(0),
        ..StatusReply::default()
    };
    if let Some(device) = &hsm.device {
        reply.zone.clone_from(&device.place.zone);
        reply.witness = device.witness;
    }
    match hsm.part() {
        Part::Waiting(invitation) => {
            reply.set_state(HsmState::Waiting);
            let what = match invitation {
                None => "waits to be told whose welcome to take",
                Some(_) => "waits for a member's welcome",
            };
            reply.warnings.push(format!("{} {what}", reply.hsm_id));
        }
        Part::Retired(why) => {
            reply.set_state(HsmState::Retired);
            reply.warnings.push(format!("{} serves nobody any more: {why}", reply.hsm_id));
        }
        Part::Member(member) => describe(hsm, &member, digest, &mut reply),
    }
    reply
}

fn describe(hsm: &Hsm, member: &Member, digest: bool, reply: &mut StatusReply) {
    let node = member.node.status();
    reply.node = node.node.0;
    reply.term = node.term;
    reply.last = node.last_log;
    reply.committed = node.committed;
    reply.applied = node.applied;
    reply.transactions = member.node.counters().fsyncs;
    reply.changing = node.changing;
    reply.cut_off_ms = match node.contact {
        Contact::Connected => 0,
        Contact::CutOff { for_ } => u64::try_from(for_.as_millis()).unwrap_or(u64::MAX).max(1),
    };
    let leads = |other: &&strongroom_cluster::MemberStatus| Some(other.node) == node.leader;
    if let Some(leader) = node.members.iter().find(leads) {
        reply.leader.clone_from(&leader.peer.hsm_id);
    }
    if let Some(this) = node.members.iter().find(|other| other.node == node.node) {
        reply.set_role(role(this.role));
    }
    reply.connections = member.service.as_ref().map_or(0, |service| service.engine.connections());
    let behind = node.committed.saturating_sub(node.applied);
    let shared = member.node.state();
    reply.log_index = shared.durable().0;
    let state = shared.read();
    if digest {
        reply.log_index = state.applied().0;
        reply.state_digest = state.digest().to_vec();
    }
    reply.set_state(match node.contact {
        _ if !member.membership.witness && state.cluster_id().is_empty() => HsmState::CatchingUp,
        Contact::CutOff { .. } => HsmState::CutOff,
        Contact::Connected if behind > CATCHING_UP => HsmState::CatchingUp,
        Contact::Connected => HsmState::Serving,
    });
    describe_state(&state, reply);
    if reply.cluster_id.is_empty() {
        reply.cluster_id.clone_from(&member.membership.cluster_id);
    }
    reply.members = members(hsm, &node, &state);
    reply.warnings = warnings(&node, &state);
}

fn describe_state(state: &State, reply: &mut StatusReply) {
    state.cluster_id().clone_into(&mut reply.cluster_id);
    reply.set_phase(match state.phase() {
        Phase::Uninitialized => ClusterPhase::Uninitialized,
        Phase::Initialized => ClusterPhase::Initialized,
        Phase::Active => ClusterPhase::Active,
    });
    reply.objects = state.object_count() as u64;
    reply.users = state.users().count() as u64;
    reply.generation = state.generation();
    reply.secrets_epoch = state.secrets_epoch();
    let (policy, approvals) = match state.join_policy() {
        JoinPolicy::Automatic => (WireJoinPolicy::Automatic, 0),
        JoinPolicy::Owner => (WireJoinPolicy::Owner, 0),
        JoinPolicy::Quorum { approvals } => (WireJoinPolicy::Quorum, approvals),
    };
    reply.join_policy = Some(SetJoinPolicy { policy: policy.into(), approvals });
    let admin = |id| state.user(id).map(|user| user.name.clone());
    reply.waiting = state
        .join_requests()
        .map(|(fingerprint, request)| JoinRequestInfo {
            hsm_id: request.member.hsm_id.clone(),
            address: request.member.address.clone(),
            fingerprint: fingerprint.to_vec(),
            approved_by: request.approvals.iter().filter_map(|&id| admin(id)).collect(),
        })
        .collect();
}

/// What Raft knows, with what the state and the greetings on port 2225 add.
fn members(hsm: &Hsm, node: &NodeStatus, state: &State) -> Vec<MemberStatus> {
    let of_raft = node.members.iter().map(|member| {
        let record = state.member(member.node);
        let peer = &member.peer;
        let address = peer.address.parse::<std::net::SocketAddr>().ok();
        let own = member.node == node.node;
        let version = if own {
            Some(env!("CARGO_PKG_VERSION").to_owned())
        } else {
            hsm.versions.of(&peer.device_key)
        };
        MemberStatus {
            hsm_id: peer.hsm_id.clone(),
            node: member.node.0,
            address: address.map_or_else(|| peer.address.clone(), |at| at.ip().to_string()),
            port_offset: record.map_or(0, |record| record.port_offset.into()),
            zone: record.map_or_else(|| peer.zone.clone(), |record| record.zone.clone()),
            witness: peer.witness,
            role: role(member.role).into(),
            lag: member.lag,
            last_contact_ms: member
                .last_contact
                .map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            version: version.unwrap_or_default(),
            fingerprint: peer.device_key.to_vec(),
        }
    });
    let known = |member: &&strongroom_vault::Member| {
        !node.members.iter().any(|other| other.node == member.node)
    };
    // Members that Raft does not have yet: let in a moment ago.
    let to_come = state.members().filter(known).map(|member| MemberStatus {
        hsm_id: member.hsm_id.clone(),
        node: member.node.0,
        address: member.address.clone(),
        port_offset: member.port_offset.into(),
        zone: member.zone.clone(),
        witness: member.witness,
        role: WireRole::Learner.into(),
        fingerprint: member.fingerprint().to_vec(),
        ..MemberStatus::default()
    });
    of_raft.chain(to_come).collect()
}

fn warnings(node: &NodeStatus, state: &State) -> Vec<String> {
    let mut warnings = Vec::new();
    if node.leader.is_none() {
        warnings.push("no leader is known: keys work, changes do not".to_owned());
    }
    if node.leader == Some(node.node) {
        for member in node.members.iter().filter(|member| member.node != node.node) {
            let id = &member.peer.hsm_id;
            match member.last_contact {
                None => warnings.push(format!("{id} has not been heard of by this leader")),
                Some(since) if since > LOST => warnings.push(format!(
                    "{id} has not been heard of for {} minutes: start it, or remove it",
                    since.as_secs() / 60
                )),
                Some(_) => {}
            }
        }
    }
    warnings.extend(ownership::warning(state));
    if state.rotation_due() {
        warnings.push("the cluster's secrets are being made anew after a removal".to_owned());
    }
    if state.join_policy() == JoinPolicy::Automatic && state.members().next().is_some() {
        warnings.push(
            "join policy automatic: whoever operates this cluster can add an HSM of its own, and \
             so read keys"
                .to_owned(),
        );
    }
    let members = state.members().filter(|member| !member.witness).count();
    if members == 1 && node.members.len() == 1 {
        warnings.push("one HSM only: its keys are lost with it".to_owned());
    }
    warnings
}

/// Memory of this process that is in RAM.
fn memory_bytes() -> Option<u64> {
    let pages = resident_pages(&std::fs::read_to_string("/proc/self/statm").ok()?)?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// proc(5): the second number of statm is the resident set, in pages.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_the_second_number() {
        assert_eq!(resident_pages("5000 1234 800 1 0 900 0\n"), Some(1234));
        assert_eq!(resident_pages(""), None);
    }
}
