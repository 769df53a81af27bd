//! Members and policies: commands that name them, and their records.

use super::cluster_messages as messages;
use super::{Error, open_format, seal_format};
use crate::limits::{
    RECORD_BYTES_MAX, RECOVERY_KEY_BYTES_MAX, RECOVERY_KEYS_MAX, SEALED_SECRETS_BYTES_MAX,
};
use crate::{
    Command, Endorsement, Fingerprint, Handle, JoinPolicy, JoinRequest, LogIndex, Member, NodeId,
    ObjectId, UserId,
};

/// What holds for the members together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopologyRecord {
    /// The entry that last changed a member.
    pub(crate) version: LogIndex,
    pub(crate) join_policy: JoinPolicy,
    pub(crate) cut_off_seconds: u64,
    pub(crate) recovery_keys: Vec<Vec<u8>>,
    pub(crate) recovery_threshold: u32,
    pub(crate) secrets_epoch: u64,
    /// A member that knew the secrets has gone.
    pub(crate) rotation_due: bool,
    /// Of the cluster key that is to be in use.
    pub(crate) generation: u64,
    /// Of the key that the certificate is of; 0 without one.
    pub(crate) certified_generation: u64,
    pub(crate) fence: u64,
}

pub(super) fn add_member_to(
    member: &Member,
    endorsement: &Endorsement,
    replaces: Option<NodeId>,
) -> messages::AddMember {
    let (endorsement, certificate) = match endorsement {
        Endorsement::Provisioner => (1, Vec::new()),
        Endorsement::Owner { certificate } => (2, certificate.clone()),
        Endorsement::Admins => (3, Vec::new()),
    };
    let member = Some(member_to(member));
    let replaces = replaces.map(|node| node.0);
    messages::AddMember { member, endorsement, certificate, replaces }
}

pub(super) fn add_member_from(message: messages::AddMember) -> Result<Command, Error> {
    let endorsement = match message.endorsement {
        1 => Endorsement::Provisioner,
        2 => Endorsement::Owner { certificate: message.certificate },
        3 => Endorsement::Admins,
        _ => return Err(Error::Invalid("endorsement")),
    };
    let replaces = message.replaces.map(NodeId);
    let member = member_from(message.member.ok_or(Error::Malformed)?)?;
    Ok(Command::AddMember { member, endorsement, replaces })
}

pub(super) fn approve_to(fingerprint: &Fingerprint) -> messages::Bytes {
    messages::Bytes { bytes: fingerprint.to_vec() }
}

pub(super) fn approve_from(message: &messages::Bytes) -> Result<Command, Error> {
    Ok(Command::ApproveJoin { fingerprint: fingerprint_from(&message.bytes)? })
}

pub(super) fn remove_to(node: NodeId, receipt: bool) -> messages::RemoveMember {
    messages::RemoveMember { node: node.0, receipt }
}

pub(super) fn remove_from(message: &messages::RemoveMember) -> Command {
    Command::RemoveMember { node: NodeId(message.node), receipt: message.receipt }
}

pub(super) fn update_to(
    node: NodeId,
    address: &str,
    port_offset: u16,
    zone: &str,
) -> messages::UpdateMember {
    messages::UpdateMember {
        node: node.0,
        address: address.to_owned(),
        port_offset: port_offset.into(),
        zone: zone.to_owned(),
    }
}

pub(super) fn update_from(message: messages::UpdateMember) -> Result<Command, Error> {
    let messages::UpdateMember { node, address, port_offset, zone } = message;
    let port_offset = port_offset_from(port_offset)?;
    Ok(Command::UpdateMember { node: NodeId(node), address, port_offset, zone })
}

pub(super) fn recovery_keys_to(keys: &[Vec<u8>], threshold: u32) -> messages::RecoveryKeys {
    messages::RecoveryKeys { keys: keys.to_vec(), threshold }
}

pub(super) fn recovery_keys_from(message: messages::RecoveryKeys) -> Command {
    Command::SetRecoveryKeys { keys: message.keys, threshold: message.threshold }
}

pub(super) fn rotate_to(epoch: u64, sealed: &[(NodeId, Vec<u8>)]) -> messages::RotateSecrets {
    let sealed = sealed.iter();
    let sealed =
        sealed.map(|(node, sealed)| messages::Sealed { node: node.0, sealed: sealed.clone() });
    messages::RotateSecrets { epoch, sealed: sealed.collect() }
}

pub(super) fn rotate_from(message: messages::RotateSecrets) -> Command {
    let sealed = message.sealed.into_iter();
    let sealed = sealed.map(|sealed| (NodeId(sealed.node), sealed.sealed)).collect();
    Command::RotateSecrets { epoch: message.epoch, sealed }
}

pub(super) fn remask_to(objects: &[(Handle, ObjectId, Vec<u8>)]) -> messages::Remask {
    let objects = objects.iter().map(|(handle, id, blob)| messages::Remasked {
        handle: handle.0,
        id: id.0.to_vec(),
        blob: blob.clone(),
    });
    messages::Remask { objects: objects.collect() }
}

pub(super) fn remask_from(message: messages::Remask) -> Result<Command, Error> {
    let objects = message.objects.into_iter().map(|object| {
        let id = ObjectId::from_slice(&object.id).ok_or(Error::Invalid("object id"))?;
        Ok((Handle(object.handle), id, object.blob))
    });
    Ok(Command::Remask { objects: objects.collect::<Result<_, _>>()? })
}

pub(super) fn install_to(generation: u64, der: &[u8]) -> messages::InstallClusterCertificate {
    messages::InstallClusterCertificate { generation, cluster_certificate: der.to_vec() }
}

pub(super) fn install_from(message: messages::InstallClusterCertificate) -> Command {
    let messages::InstallClusterCertificate { generation, cluster_certificate } = message;
    Command::InstallClusterCertificate { generation, cluster_certificate }
}

pub(super) fn merge_to(failures: &[(UserId, u64, u32)]) -> messages::MergeFailures {
    let failures = failures.iter();
    let failures =
        failures.map(|&(user, epoch, count)| messages::Failures { user: user.0, epoch, count });
    messages::MergeFailures { failures: failures.collect() }
}

pub(super) fn merge_from(message: messages::MergeFailures) -> Command {
    let failures = message.failures.into_iter();
    let failures = failures.map(|row| (UserId(row.user), row.epoch, row.count)).collect();
    Command::MergeFailures { failures }
}

pub(super) fn recovered_to(fence: u64, members: &[NodeId]) -> messages::Recovered {
    messages::Recovered { fence, members: members.iter().map(|node| node.0).collect() }
}

pub(super) fn recovered_from(message: messages::Recovered) -> Command {
    let members = message.members.into_iter().map(NodeId).collect();
    Command::Recovered { fence: message.fence, members }
}

pub(super) fn member_to(member: &Member) -> messages::Member {
    messages::Member {
        node: member.node.0,
        hsm_id: member.hsm_id.clone(),
        witness: member.witness,
        address: member.address.clone(),
        port_offset: member.port_offset.into(),
        zone: member.zone.clone(),
        device_key: member.device_key.clone(),
        sealing_key: member.sealing_key.clone(),
    }
}

pub(super) fn member_from(message: messages::Member) -> Result<Member, Error> {
    Ok(Member {
        node: NodeId(message.node),
        hsm_id: message.hsm_id,
        witness: message.witness,
        address: message.address,
        port_offset: port_offset_from(message.port_offset)?,
        zone: message.zone,
        device_key: message.device_key,
        sealing_key: message.sealing_key,
    })
}

fn port_offset_from(offset: u32) -> Result<u16, Error> {
    offset.try_into().map_err(|_| Error::Invalid("port offset"))
}

fn fingerprint_from(bytes: &[u8]) -> Result<Fingerprint, Error> {
    bytes.try_into().map_err(|_| Error::Invalid("fingerprint"))
}

pub(super) fn policy_to(policy: JoinPolicy) -> messages::JoinPolicy {
    let (policy, approvals) = match policy {
        JoinPolicy::Automatic => (1, 0),
        JoinPolicy::Owner => (2, 0),
        JoinPolicy::Quorum { approvals } => (3, approvals),
    };
    messages::JoinPolicy { policy, approvals }
}

pub(super) fn policy_from(message: &messages::JoinPolicy) -> Result<JoinPolicy, Error> {
    match message.policy {
        1 => Ok(JoinPolicy::Automatic),
        2 => Ok(JoinPolicy::Owner),
        3 => Ok(JoinPolicy::Quorum { approvals: message.approvals }),
        _ => Err(Error::Invalid("join policy")),
    }
}

pub(crate) fn encode_topology(topology: &TopologyRecord) -> Vec<u8> {
    seal_format(&messages::Topology {
        version: topology.version.0,
        join_policy: Some(policy_to(topology.join_policy)),
        cut_off_seconds: topology.cut_off_seconds,
        recovery_keys: Some(recovery_keys_to(&topology.recovery_keys, topology.recovery_threshold)),
        secrets_epoch: topology.secrets_epoch,
        rotation_due: topology.rotation_due,
        generation: topology.generation,
        certified_generation: topology.certified_generation,
        fence: topology.fence,
    })
}

pub(super) fn topology_from(value: &[u8]) -> Result<TopologyRecord, Error> {
    let message: messages::Topology = open_format(value, RECORD_BYTES_MAX)?;
    let recovery = message.recovery_keys.ok_or(Error::Malformed)?;
    if recovery.keys.len() > RECOVERY_KEYS_MAX
        || recovery.keys.iter().any(|key| key.len() > RECOVERY_KEY_BYTES_MAX)
    {
        return Err(Error::Invalid("recovery keys"));
    }
    if message.certified_generation > message.generation {
        return Err(Error::Invalid("generation"));
    }
    Ok(TopologyRecord {
        version: LogIndex(message.version),
        join_policy: policy_from(&message.join_policy.ok_or(Error::Malformed)?)?,
        cut_off_seconds: message.cut_off_seconds,
        recovery_keys: recovery.keys,
        recovery_threshold: recovery.threshold,
        secrets_epoch: message.secrets_epoch,
        rotation_due: message.rotation_due,
        generation: message.generation,
        certified_generation: message.certified_generation,
        fence: message.fence,
    })
}

pub(crate) fn encode_member(member: &Member) -> Vec<u8> {
    seal_format(&member_to(member))
}

pub(super) fn member_record_from(node: NodeId, value: &[u8]) -> Result<Member, Error> {
    let member = checked_member(open_format(value, RECORD_BYTES_MAX)?)?;
    if member.node == node { Ok(member) } else { Err(Error::Inconsistent("node")) }
}

fn checked_member(message: messages::Member) -> Result<Member, Error> {
    let member = member_from(message)?;
    member.invalid().map_or(Ok(member), |what| Err(Error::Invalid(what)))
}

pub(crate) fn encode_join_request(request: &JoinRequest) -> Vec<u8> {
    seal_format(&messages::JoinRequest {
        member: Some(member_to(&request.member)),
        requested_ms: request.requested_ms,
        approvals: request.approvals.iter().map(|user| user.0).collect(),
    })
}

pub(super) fn join_request_from(value: &[u8]) -> Result<JoinRequest, Error> {
    let message: messages::JoinRequest = open_format(value, RECORD_BYTES_MAX)?;
    Ok(JoinRequest {
        member: checked_member(message.member.ok_or(Error::Malformed)?)?,
        requested_ms: message.requested_ms,
        approvals: message.approvals.into_iter().map(UserId).collect(),
    })
}

pub(crate) fn encode_revoked() -> Vec<u8> {
    seal_format(&messages::Nothing {})
}

pub(super) fn revoked_from(value: &[u8]) -> Result<(), Error> {
    open_format(value, RECORD_BYTES_MAX).map(|messages::Nothing {}| ())
}

pub(crate) fn encode_sealed(sealed: &[u8]) -> Vec<u8> {
    seal_format(&messages::Bytes { bytes: sealed.to_vec() })
}

pub(super) fn sealed_from(value: &[u8]) -> Result<Vec<u8>, Error> {
    let message: messages::Bytes = open_format(value, RECORD_BYTES_MAX)?;
    if message.bytes.len() > SEALED_SECRETS_BYTES_MAX {
        return Err(Error::Invalid("sealed secrets"));
    }
    Ok(message.bytes)
}
