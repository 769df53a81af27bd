//! Records of the state: their keys, and their values.

use super::cluster::{
    TopologyRecord, join_request_from, member_record_from, revoked_from, sealed_from, topology_from,
};
use super::entry::{personality_from, personality_to, sixteen, user_from, user_to};
use super::{Error, decode_result, messages, meta, open_format, seal_format};
use crate::limits::{
    CERTIFICATE_BYTES_MAX, CLUSTER_ID_CHARS_MAX, FORGOTTEN_RANGES_MAX, RECORD_BYTES_MAX,
    TOKEN_LABEL_BYTES,
};
use crate::{
    ClientId, Fingerprint, Handle, JoinRequest, LogIndex, Login, LoginId, Member, NodeId, Object,
    ObjectId, Outcome, Personality, Phase, Refusal, User, UserId,
};

/// A record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Progress,
    Cluster,
    User(UserId),
    Login(LoginId),
    Object(Handle),
    Client(ClientId),
    Reply(ClientId, u64),
    Topology,
    Member(NodeId),
    Revoked(Fingerprint),
    Waiting(Fingerprint),
    Sealed(u64, NodeId),
}

impl Key {
    /// Whether a record of this key is a login.
    pub(crate) fn is_login(key: &[u8]) -> bool {
        matches!(parse_key(key), Ok(Self::Login(_)))
    }

    /// As the store keeps it.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Progress => vec![0],
            Self::Cluster => vec![1],
            Self::User(id) => with_id(2, &id.0.to_be_bytes()),
            Self::Login(id) => with_id(3, &id.0.to_be_bytes()),
            Self::Object(handle) => with_id(4, &handle.0.to_be_bytes()),
            Self::Client(client) => with_id(5, &client.0),
            Self::Reply(client, sequence) => {
                let mut key = with_id(6, &client.0);
                key.extend_from_slice(&sequence.to_be_bytes());
                key
            }
            Self::Topology => vec![7],
            Self::Member(node) => with_id(8, &node.0.to_be_bytes()),
            Self::Revoked(fingerprint) => with_id(9, &fingerprint),
            Self::Waiting(fingerprint) => with_id(10, &fingerprint),
            Self::Sealed(epoch, node) => {
                let mut key = with_id(11, &epoch.to_be_bytes());
                key.extend_from_slice(&node.0.to_be_bytes());
                key
            }
        }
    }
}

fn with_id(table: u8, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + id.len());
    key.push(table);
    key.extend_from_slice(id);
    key
}

/// A key from the store.
fn parse_key(key: &[u8]) -> Result<Key, Error> {
    let invalid = Error::Invalid("record key");
    let (&table, id) = key.split_first().ok_or(invalid)?;
    let eight = |id: &[u8]| id.try_into().map(u64::from_be_bytes).map_err(|_| invalid);
    Ok(match table {
        0 if id.is_empty() => Key::Progress,
        1 if id.is_empty() => Key::Cluster,
        2 => Key::User(UserId(id.try_into().map(u32::from_be_bytes).map_err(|_| invalid)?)),
        3 => Key::Login(LoginId(eight(id)?)),
        4 => Key::Object(Handle(eight(id)?)),
        5 => Key::Client(ClientId::from_slice(id).ok_or(invalid)?),
        6 => {
            let (client, sequence) = id.split_at_checked(16).ok_or(invalid)?;
            Key::Reply(ClientId::from_slice(client).ok_or(invalid)?, eight(sequence)?)
        }
        7 if id.is_empty() => Key::Topology,
        8 => Key::Member(NodeId(eight(id)?)),
        9 => Key::Revoked(id.try_into().map_err(|_| invalid)?),
        10 => Key::Waiting(id.try_into().map_err(|_| invalid)?),
        11 => {
            let (epoch, node) = id.split_at_checked(8).ok_or(invalid)?;
            Key::Sealed(eight(epoch)?, NodeId(eight(node)?))
        }
        _ => return Err(invalid),
    })
}

/// A record with its value.
pub(crate) enum Record {
    Progress(ProgressRecord),
    Cluster(Box<ClusterRecord>),
    User(User),
    Login(Login),
    Object(Box<Object>),
    Client(ClientId, ClientRecord),
    Reply(ClientId, u64, Result<Outcome, Refusal>),
    Topology(TopologyRecord),
    Member(Member),
    Revoked(Fingerprint),
    Waiting(Fingerprint, JoinRequest),
    Sealed(u64, NodeId, Vec<u8>),
}

/// How far the log is applied, and the numbers that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProgressRecord {
    pub(crate) applied: LogIndex,
    pub(crate) time_ms: u64,
    pub(crate) next_handle: Handle,
    pub(crate) next_user: UserId,
    pub(crate) next_node: NodeId,
}

/// The cluster itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterRecord {
    pub(crate) cluster_id: String,
    pub(crate) masking_domain: [u8; 16],
    pub(crate) personality: Personality,
    pub(crate) phase: Phase,
    pub(crate) cluster_certificate: Option<Vec<u8>>,
    pub(crate) trust_anchor: Option<Vec<u8>>,
    pub(crate) token_label: Vec<u8>,
}

/// Which of a client's changes have run; the replies that are still known are records beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientRecord {
    /// The last entry of the client.
    pub(crate) used: LogIndex,
    /// When that was, in applied time.
    pub(crate) used_ms: u64,
    /// All sequences below have been answered, and are never run again.
    pub(crate) floor: u64,
    /// Runs of sequences from `floor` on that have run, their replies forgotten: first and last.
    pub(crate) forgotten: Vec<(u64, u64)>,
}

pub(crate) fn encode_progress(progress: &ProgressRecord) -> Vec<u8> {
    seal_format(&messages::Progress {
        applied: progress.applied.0,
        time_ms: progress.time_ms,
        next_handle: progress.next_handle.0,
        next_user: progress.next_user.0,
        next_node: progress.next_node.0,
    })
}

pub(crate) fn encode_cluster(cluster: &ClusterRecord) -> Vec<u8> {
    seal_format(&messages::Cluster {
        cluster_id: cluster.cluster_id.clone(),
        masking_domain: cluster.masking_domain.to_vec(),
        personality: personality_to(cluster.personality),
        phase: phase_to(cluster.phase),
        cluster_certificate: cluster.cluster_certificate.clone(),
        trust_anchor: cluster.trust_anchor.clone(),
        token_label: cluster.token_label.clone(),
    })
}

pub(crate) fn encode_user(user: &User) -> Vec<u8> {
    seal_format(&user_to(user))
}

pub(crate) fn encode_login(login: &Login) -> Vec<u8> {
    seal_format(&messages::Login {
        user: login.user.0,
        epoch: login.epoch,
        client_key: login.client_key.to_vec(),
        seen_ms: login.seen_ms,
        ..messages::Login::default()
    })
}

pub(crate) fn encode_object(object: &Object) -> Vec<u8> {
    seal_format(&messages::Object {
        id: object.id.0.to_vec(),
        owner: object.owner.0,
        version: object.version,
        meta: Some(meta::to_message(&object.meta)),
    })
}

pub(crate) fn encode_client(client: &ClientRecord) -> Vec<u8> {
    seal_format(&messages::Client {
        used: client.used.0,
        used_ms: client.used_ms,
        floor: client.floor,
        forgotten: client.forgotten.iter().flat_map(|&(first, last)| [first, last]).collect(),
    })
}

/// A record from the store.
pub(crate) fn decode_record(key: &[u8], value: &[u8]) -> Result<Record, Error> {
    Ok(match parse_key(key)? {
        Key::Progress => {
            let message: messages::Progress = open_format(value, RECORD_BYTES_MAX)?;
            Record::Progress(ProgressRecord {
                applied: LogIndex(message.applied),
                time_ms: message.time_ms,
                next_handle: Handle(message.next_handle),
                next_user: UserId(message.next_user),
                next_node: NodeId(message.next_node),
            })
        }
        Key::Cluster => Record::Cluster(Box::new(cluster_from(value)?)),
        Key::User(id) => {
            let user = user_from(open_format(value, RECORD_BYTES_MAX)?)?;
            if user.id != id {
                return Err(Error::Inconsistent("user id"));
            }
            Record::User(user)
        }
        Key::Login(id) => {
            let message: messages::Login = open_format(value, RECORD_BYTES_MAX)?;
            Record::Login(Login {
                id,
                user: UserId(message.user),
                epoch: message.epoch,
                client_key: super::entry::client_key(&message.client_key)?,
                seen_ms: message.seen_ms,
            })
        }
        Key::Object(handle) => {
            let message: messages::Object = open_format(value, RECORD_BYTES_MAX)?;
            Record::Object(Box::new(Object {
                handle,
                id: ObjectId::from_slice(&message.id).ok_or(Error::Invalid("object id"))?,
                owner: UserId(message.owner),
                version: message.version,
                meta: meta::from_checked_message(message.meta.ok_or(Error::Malformed)?)?,
            }))
        }
        Key::Client(client) => Record::Client(client, client_from(value)?),
        Key::Reply(client, sequence) => Record::Reply(client, sequence, decode_result(value)?),
        Key::Topology => Record::Topology(topology_from(value)?),
        Key::Member(node) => Record::Member(member_record_from(node, value)?),
        Key::Revoked(fingerprint) => {
            revoked_from(value)?;
            Record::Revoked(fingerprint)
        }
        Key::Waiting(fingerprint) => Record::Waiting(fingerprint, join_request_from(value)?),
        Key::Sealed(epoch, node) => Record::Sealed(epoch, node, sealed_from(value)?),
    })
}

fn cluster_from(value: &[u8]) -> Result<ClusterRecord, Error> {
    let message: messages::Cluster = open_format(value, RECORD_BYTES_MAX)?;
    let too_long = |certificate: &Option<Vec<u8>>| {
        certificate.as_ref().is_some_and(|der| der.len() > CERTIFICATE_BYTES_MAX)
    };
    if too_long(&message.cluster_certificate) || too_long(&message.trust_anchor) {
        return Err(Error::Invalid("certificate"));
    }
    if message.cluster_id.len() > CLUSTER_ID_CHARS_MAX {
        return Err(Error::Invalid("cluster id"));
    }
    if message.token_label.len() > TOKEN_LABEL_BYTES {
        return Err(Error::Invalid("token label"));
    }
    Ok(ClusterRecord {
        cluster_id: message.cluster_id,
        masking_domain: sixteen(&message.masking_domain, "masking domain")?,
        personality: personality_from(message.personality)?,
        phase: phase_from(message.phase)?,
        cluster_certificate: message.cluster_certificate,
        trust_anchor: message.trust_anchor,
        token_label: message.token_label,
    })
}

fn client_from(value: &[u8]) -> Result<ClientRecord, Error> {
    let invalid = Error::Invalid("forgotten sequences");
    let message: messages::Client = open_format(value, RECORD_BYTES_MAX)?;
    let (pairs, []) = message.forgotten.as_chunks::<2>() else { return Err(invalid) };
    if pairs.len() > FORGOTTEN_RANGES_MAX {
        return Err(invalid);
    }
    let mut forgotten: Vec<(u64, u64)> = Vec::with_capacity(pairs.len());
    for &[first, last] in pairs {
        let above = forgotten.last().map_or(message.floor, |&(_, before)| before.saturating_add(1));
        if first < above || last < first {
            return Err(invalid);
        }
        forgotten.push((first, last));
    }
    Ok(ClientRecord {
        used: LogIndex(message.used),
        used_ms: message.used_ms,
        floor: message.floor,
        forgotten,
    })
}

fn phase_to(phase: Phase) -> u32 {
    match phase {
        Phase::Uninitialized => 1,
        Phase::Initialized => 2,
        Phase::Active => 3,
    }
}

fn phase_from(phase: u32) -> Result<Phase, Error> {
    match phase {
        1 => Ok(Phase::Uninitialized),
        2 => Ok(Phase::Initialized),
        3 => Ok(Phase::Active),
        _ => Err(Error::Invalid("phase")),
    }
}
