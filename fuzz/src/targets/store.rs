//! What lies in a data folder: the secrets once their seal is open, rows, the head, audit records, and
//! log entries as they are sealed.
//!
//! The keys are fixed, so that a seed opens in every process that plays it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prost::Message as _;
use strongroom_cluster::sealing::{self as entries, EntrySealer};
use strongroom_crypto::memory::LockedBytes;
use strongroom_crypto::sealing::SealingKeyPair;
use strongroom_store::audit::{ActorKind, Chain, ChangeRecord, InstallRecord, Kind, StartRecord};
use strongroom_store::fuzzing::{self, Rows, Snapshot};
use strongroom_store::sealing::{Place, Table};
use strongroom_store::{Boot, ClusterSecrets, KeyRing, LogRow, Position, Secrets, SnapshotHeader};
use strongroom_vault::{Entry, LogIndex, State};

use super::history;
use super::wire::stable;
use crate::disk::Disk;
use crate::fixed;
use crate::input::{Fields, framed, short};

fn secrets() -> Secrets {
    let ring = |byte| {
        let (old, new) = ([byte; 32], [byte + 1; 32]);
        let ring = KeyRing::from_keys([(1, &old[..]), (4, &new)]);
        ring.expect("memory").expect("keys of two epochs")
    };
    let cluster = ClusterSecrets::generate().expect("a cluster's secrets");
    let mut cluster = cluster.with_cluster_key(1, fixed::CLUSTER_KEY).expect("memory");
    cluster.masking_domain = [7; 16];
    (cluster.masking, cluster.log, cluster.ticket) = (ring(0x10), ring(0x20), ring(0x30));
    let mut secrets =
        Secrets::generate_alone("hsm-2345abcdefg".to_owned()).expect("an HSM's secrets");
    secrets.device_key = LockedBytes::copied(fixed::CA_KEY).expect("memory");
    secrets.sealing_key = SealingKeyPair::from_secret_bytes(&[9; 32]).expect("a key");
    (secrets.audit, secrets.state) = (ring(0x40), ring(0x50));
    secrets.with_cluster(cluster)
}

/// The secrets file's content.
pub(super) fn secrets_file(data: &[u8]) -> bool {
    let Ok(secrets) = Secrets::from_bytes(data) else { return false };
    let bytes = secrets.to_bytes();
    let again = Secrets::from_bytes(bytes.as_bytes()).expect("secrets as this build writes them");
    assert!(again.to_bytes().ct_eq(bytes.as_bytes()));
    true
}

pub(super) fn secrets_file_seeds() -> Vec<Vec<u8>> {
    vec![secrets().to_bytes().as_bytes().to_vec()]
}

const TABLES: [Table; 5] = [Table::Meta, Table::Log, Table::Records, Table::Blobs, Table::Audit];

/// A row where it lies: table, version, key, then what is sealed. Only what was sealed opens, and
/// only there.
pub(super) fn row(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let table = TABLES[usize::from(fields.byte()) % TABLES.len()];
    let (version, key) = (fields.number(), fields.short());
    let sealed = fields.rest();
    let opened = rows().0.open(&Place { table, key, version }, sealed);
    if opened.is_ok() {
        let written = rows().1.iter().any(|(known, place, row)| {
            *known == table && *place == (version, key) && row == sealed
        });
        assert!(written, "a row opens that was never sealed");
    }
    opened.is_ok()
}

type Row = (Table, (u64, &'static [u8]), Vec<u8>);

fn rows() -> &'static (Rows, Vec<Row>) {
    static ROWS: OnceLock<(Rows, Vec<Row>)> = OnceLock::new();
    ROWS.get_or_init(|| {
        let mut rows = Rows::new(secrets()).expect("rows");
        let sealed = TABLES.map(|table| {
            let place = (9, &b"a row's key"[..]);
            let (version, key) = place;
            let row = rows.seal(&Place { table, key, version }, b"a value").expect("a sealed row");
            (table, place, row)
        });
        (rows, sealed.to_vec())
    })
}

pub(super) fn row_seeds() -> Vec<Vec<u8>> {
    let seeds = rows().1.iter().zip(0_u8..).map(|((_, (version, key), sealed), table)| {
        [&[table][..], &version.to_be_bytes(), &short(key), sealed].concat()
    });
    seeds.collect()
}

/// The store's head.
pub(super) fn head(data: &[u8]) -> bool {
    let Ok(written) = fuzzing::read_head(data) else { return false };
    assert_eq!(fuzzing::read_head(&written).ok(), Some(written));
    true
}

pub(super) fn head_seeds() -> Vec<Vec<u8>> {
    vec![fuzzing::head().expect("a head")]
}

/// A row of the audit log.
pub(super) fn audit(data: &[u8]) -> bool {
    let before = Chain::default();
    let Some((record, follows)) = fuzzing::read_audit_row(1, data, &before) else { return false };
    if follows {
        assert_eq!(fuzzing::audit_row(record.kind, &record.body), data);
    }
    match record.kind {
        Kind::Start => stable::<StartRecord>(&record.body),
        Kind::Change => stable::<ChangeRecord>(&record.body),
        Kind::Install => stable::<InstallRecord>(&record.body),
        Kind::Uses => follows,
    }
}

pub(super) fn audit_seeds() -> Vec<Vec<u8>> {
    let change = ChangeRecord {
        index: 7,
        time_ms: 1_700_000_000_000,
        actor: ActorKind::Login.into(),
        login: 5,
        user: 3,
        command: "create-objects".to_owned(),
        handles: vec![0x68_0001, 0x68_0002],
        target_user: "alice".to_owned(),
        result: 0,
        target_hsms: vec!["hsm-abcdefg2345".to_owned()],
    };
    let start =
        StartRecord { boot: 2, after_clean_stop: true, applied: 7, version: "0.1.0".to_owned() };
    let install = InstallRecord { before: 3, index: 7, digest: vec![1; 32] };
    vec![
        fuzzing::audit_row(Kind::Install, &install.encode_to_vec()),
        fuzzing::audit_row(Kind::Change, &change.encode_to_vec()),
        fuzzing::audit_row(Kind::Start, &start.encode_to_vec()),
        fuzzing::audit_row(Kind::Uses, &[1; 53]),
    ]
}

/// A row of Raft's log.
pub(super) fn log_row(data: &[u8]) -> bool {
    let Some(row) = fuzzing::read_log_row(7, data) else { return false };
    assert_eq!(fuzzing::log_row(&row), data);
    true
}

pub(super) fn log_row_seeds() -> Vec<Vec<u8>> {
    let row = |payload: &[u8]| LogRow { index: 7, term: 3, leader: 2, payload: payload.to_vec() };
    [&b"payload"[..], b""].map(|payload| fuzzing::log_row(&row(payload))).to_vec()
}

/// What a witness's store says of the snapshot that it keeps.
pub(super) fn kept(data: &[u8]) -> bool {
    let Some(written) = fuzzing::read_kept_row(data) else { return false };
    assert_eq!(fuzzing::read_kept_row(&written), Some(written));
    true
}

pub(super) fn kept_seeds() -> Vec<Vec<u8>> {
    // length 9, a digest, a position, the members.
    let fields = [&[8, 9, 18, 32][..], &[1; 32], &[26, 6, 8, 7, 16, 3, 24, 2, 34, 2, 5, 6]];
    vec![fields.concat()]
}

/// The file in which a snapshot's chunks wait.
pub(super) fn chunks(data: &[u8]) -> bool {
    let (chunks, ended) = fuzzing::read_chunks(data);
    if ended {
        assert_eq!(framed(&chunks), data);
    }
    ended && !chunks.is_empty()
}

pub(super) fn chunks_seeds() -> Vec<Vec<u8>> {
    vec![framed([&b"a chunk"[..], b"", &[7; 300]])]
}

/// A snapshot, wherever it is cut.
pub(super) fn snapshot(data: &[u8]) -> bool {
    let whole = Snapshot::read(data, usize::MAX).ok();
    for length in [1, 7, 100] {
        assert_eq!(Snapshot::read(data, length).ok(), whole, "cut into {length}");
    }
    let Some(snapshot) = whole else { return false };
    let again = snapshot.write().expect("what was read can be written");
    assert_eq!(Snapshot::read(&again, usize::MAX).ok().as_ref(), Some(&snapshot));
    snapshot.is_a_state()
}

pub(super) fn snapshot_seeds() -> Vec<Vec<u8>> {
    history::all().iter().map(|history| snapshot_of(&history.entries)).collect()
}

/// The snapshot of what these entries leave.
fn snapshot_of(entries: &[Entry]) -> Vec<u8> {
    let (mut state, mut disk) = (State::new(), Disk::default());
    for (index, entry) in (1..).zip(entries) {
        let (_, changes) = state.apply(LogIndex(index), entry.clone());
        disk.write(changes);
    }
    let records: Vec<_> = disk.records.into_iter().collect();
    let mut blobs: Vec<_> = disk.blobs.into_iter().map(|(id, blob)| (id.0, blob)).collect();
    blobs.sort();
    let header = SnapshotHeader {
        position: Position { index: 9, term: 2, leader: 1 },
        membership: b"members".to_vec(),
        index: state.applied(),
        records: records.len() as u64,
        blobs: blobs.len() as u64,
    };
    Snapshot { header, records, blobs }.write().expect("a snapshot")
}

/// A log entry as it is sealed. Only what was sealed opens.
pub(super) fn sealed_entry(data: &[u8]) -> bool {
    static KEYS: OnceLock<Mutex<KeyRing>> = OnceLock::new();
    let keys =
        KEYS.get_or_init(|| Mutex::new(secrets().cluster().expect("a cluster's").log.clone()));
    let keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = entries::open(&keys, data).is_ok();
    assert!(!opened || sealed_entry_seeds().iter().any(|seed| seed == data), "a forged entry");
    opened
}

pub(super) fn sealed_entry_seeds() -> Vec<Vec<u8>> {
    let mut sealer = EntrySealer::new(Arc::new(secrets()), Boot { number: 3, salt: [9; 16] })
        .expect("a sealer of entries");
    [&b"entry"[..], b"", &[7; 200]]
        .map(|entry| sealer.seal(entry).expect("a sealed entry"))
        .to_vec()
}
