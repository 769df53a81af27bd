//! openraft, as Strongroom instantiates it.

use std::fmt;
use std::sync::Arc;

use crate::snapshot::SnapshotData;
use crate::{Error, Peer, Timing};

/// A Raft entry's data: sealed vault entries, encoded as [`crate::payload`] does.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Arc<[u8]>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

openraft::declare_raft_types!(
    /// Strongroom's openraft.
    pub(crate) TypeConfig:
        D = Payload,
        R = (),
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotData,
        Responder = openraft::impls::OneshotResponder<TypeConfig>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type Metrics = openraft::RaftMetrics<u64, Peer>;

/// Raft entries sent at a time; their bytes are limited by the reader.
const ENTRIES_SENT_MAX: u64 = 512;
/// A snapshot of a million objects, sent and installed.
const SNAPSHOT_MS_MAX: u64 = 30 * 60 * 1000;

/// openraft's settings.
///
/// Heartbeats and elections are ours ([`crate::elections`]), so openraft's own numbers mean other
/// things here: `heartbeat_interval` is its time-out of an append, and `election_timeout_max` its
/// lease, for which a voter grants nobody a vote after it heard a leader. The lease must have passed
/// when our shortest time-out has; stickiness is the pre-vote's.
///
/// # Errors
/// Where the timing contradicts itself.
pub(crate) fn config(
    timing: &Timing,
    log_entries_kept: u64,
    log_entries_cut_min: u64,
    witness: bool,
) -> Result<Arc<openraft::Config>, Error> {
    let answer_ms = u64::try_from(timing.answer.as_millis()).unwrap_or(u64::MAX);
    if timing.heartbeat + timing.answer >= timing.election_min
        || timing.election_min >= timing.election_max
    {
        return Err(Error::Options("a shorter time-out than an answer takes"));
    }
    let config = openraft::Config {
        cluster_name: "strongroom".to_owned(),
        heartbeat_interval: answer_ms,
        election_timeout_min: answer_ms + 1,
        election_timeout_max: answer_ms + 2,
        install_snapshot_timeout: SNAPSHOT_MS_MAX,
        max_payload_entries: ENTRIES_SENT_MAX,
        // A witness has no state that could stand for the log.
        snapshot_policy: if witness {
            openraft::SnapshotPolicy::Never
        } else {
            openraft::SnapshotPolicy::LogsSinceLast(log_entries_cut_min)
        },
        // Its disk forgets at once what the snapshot that it keeps stands for.
        max_in_snapshot_log_to_keep: if witness { 0 } else { log_entries_kept },
        purge_batch_size: 1,
        enable_heartbeat: false,
        enable_elect: false,
        ..openraft::Config::default()
    };
    config.validate().map(Arc::new).map_err(|_| Error::Options("openraft's settings"))
}
