//! A store keeps what it was given, and tells when it was given something else.

mod common;

use std::path::{Path, PathBuf};

use common::{CANARY, Hsm, Owner, blob_of, entry, new_key, row};
use rusqlite::Connection;
use strongroom_store::audit::{ChangeRecord, Kind};
use strongroom_store::{Applied, Batch, Error, LogState, Position};
use strongroom_vault::{Actor, Change, Command, Handle, LogIndex, State};
use tempfile::TempDir;

/// A folder with a cluster, and three keys in it.
fn filled() -> (TempDir, PathBuf, Owner) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("hsm");
    let mut hsm = Hsm::open(&path);
    let owner = hsm.set_up();
    for label in ["one", "two", "three"] {
        hsm.create(owner, label);
    }
    hsm.store.close().unwrap();
    (root, path, owner)
}

fn database(path: &Path) -> Connection {
    Connection::open(path.join("store.db")).unwrap()
}

/// The table that the store says was tampered with, once `change` was made.
fn tampered_after(path: &Path, change: &str) -> &'static str {
    database(path).execute_batch(change).unwrap();
    match Hsm::try_open(path) {
        Err(Error::Tampered { table, .. }) => table,
        Err(other) => panic!("{change}: {other}"),
        Ok(_) => panic!("{change}: not noticed"),
    }
}

#[test]
fn a_reopened_store_gives_the_same_state() {
    let (_root, path, owner) = filled();
    let mut hsm = Hsm::open(&path);
    let handle = hsm.create(owner, "four");
    hsm.apply(entry(owner.actor(), Command::DestroyObject { handle }));
    let digest = hsm.state.digest();
    hsm.kill();
    let hsm = Hsm::open(&path);
    assert_eq!(hsm.state.digest(), digest);
    assert_eq!(hsm.store.applied().2, hsm.state.applied());
    assert_eq!(hsm.state.object_count(), 3);
}

#[test]
fn blobs_are_read_as_they_were_given() {
    let (_root, path, owner) = filled();
    let mut hsm = Hsm::open(&path);
    let handle = hsm.create(owner, "four");
    let ids: Vec<_> = hsm
        .state
        .object(handle)
        .into_iter()
        .chain((0..4).filter_map(|n| hsm.state.object(Handle(Handle::FIRST.0 + n))))
        .map(|object| (object.id, String::from_utf8(object.meta.label.clone()).unwrap()))
        .collect();
    for (id, label) in &ids {
        assert_eq!(hsm.blobs.read(*id).unwrap().unwrap(), blob_of(label));
    }
    hsm.apply(entry(owner.actor(), Command::DestroyObject { handle }));
    assert_eq!(hsm.blobs.read(ids[0].0).unwrap(), None);
    hsm.blobs.close();
    assert!(matches!(hsm.blobs.read(ids[1].0), Err(Error::Closed)));
}

#[test]
fn a_clear_leaves_nothing_but_what_follows_it() {
    let (_root, path, owner) = filled();
    let mut hsm = Hsm::open(&path);
    let create = entry(owner.actor(), new_key(owner, "four"));
    let index = LogIndex(hsm.state.applied().0 + 1);
    let (_, changes) = hsm.state.apply(index, create);
    // What C_InitToken does, with the progress record of the entry.
    let progress = changes.last().unwrap().clone();
    let changes = [vec![Change::Clear], cluster_records(&hsm.state), vec![progress]].concat();
    let audit = ChangeRecord::default();
    let applied = vec![Applied { index, changes, audit }];
    let applied_to = hsm.store.applied().0.map(|position| (position, None));
    hsm.store.commit(&Batch { applied, applied_to, ..Batch::default() }).unwrap();
    hsm.kill();
    let hsm = Hsm::open(&path);
    assert_eq!((hsm.state.object_count(), hsm.state.users().count()), (0, 0));
    assert_eq!(hsm.state.applied(), index);
    let rows: i64 =
        database(&path).query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}

/// The records of the cluster itself, without users and objects.
fn cluster_records(state: &State) -> Vec<Change> {
    let of_cluster = |key: &[u8]| key == [1] || key == [7];
    let records = state.records().filter(|(key, _)| of_cluster(key));
    records.map(|(key, value)| Change::Put { key, value }).collect()
}

#[test]
fn a_folder_is_one_processs_at_a_time() {
    let (_root, path, _) = filled();
    let hsm = Hsm::open(&path);
    assert!(matches!(Hsm::try_open(&path), Err(Error::InUse(_))));
    hsm.kill();
    Hsm::open(&path);
}

#[test]
fn nothing_in_the_folder_is_plaintext() {
    let (_root, path, owner) = filled();
    let mut hsm = Hsm::open(&path);
    hsm.create(owner, CANARY);
    let search = || {
        for file in std::fs::read_dir(&path).unwrap() {
            let file = file.unwrap().path();
            let bytes = std::fs::read(&file).unwrap();
            for canary in [CANARY.as_bytes(), b"sealed body", b"argon2", b"admin"] {
                let found = bytes.windows(canary.len()).any(|window| window == canary);
                assert!(!found, "{} in {}", String::from_utf8_lossy(canary), file.display());
            }
        }
    };
    search();
    hsm.store.close().unwrap();
    search();
}

#[test]
fn no_byte_of_a_row_can_be_changed() {
    let (_root, path, _) = filled();
    for (table, expected) in [
        ("meta", "meta"),
        ("log", "log"),
        ("records", "records"),
        ("blobs", "blobs"),
        ("audit", "audit"),
    ] {
        let sealed: Vec<u8> = first_sealed(&path, table);
        let put = |bytes: &[u8]| {
            let sql = format!("UPDATE {table} SET sealed = ?1 WHERE sealed = ?2");
            let old = first_sealed(&path, table);
            assert_eq!(database(&path).execute(&sql, (bytes, old)).unwrap(), 1);
        };
        // Every byte of a record; of the others, which are sealed alike, fewer, to save time.
        let step = if table == "records" { 1 } else { 11 };
        for at in (0..sealed.len()).step_by(step) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            put(&changed);
            match Hsm::try_open(&path) {
                Err(Error::Tampered { table, .. }) => assert_eq!(table, expected),
                Err(other) => panic!("byte {at} of {table}: {other}"),
                Ok(_) => panic!("byte {at} of {table}: not noticed"),
            }
            put(&sealed);
        }
    }
    Hsm::open(&path);
}

fn first_sealed(path: &Path, table: &str) -> Vec<u8> {
    let sql = format!("SELECT sealed FROM {table} LIMIT 1");
    database(path).query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_row_that_is_missing_is_missed() {
    for table in ["meta", "log", "records", "blobs", "audit"] {
        for order in ["ASC", "DESC"] {
            let (_root, path, _) = filled();
            let key = match table {
                "meta" => "name",
                "log" => "idx",
                "records" => "key",
                "blobs" => "id",
                _ => "seq",
            };
            let rows = format!("SELECT {key} FROM {table} ORDER BY {key} {order} LIMIT 1");
            let change = format!("DELETE FROM {table} WHERE {key} IN ({rows})");
            assert_eq!(tampered_after(&path, &change), table);
        }
    }
}

#[test]
fn rows_that_change_places_are_noticed() {
    for (table, key) in [("log", "idx"), ("records", "key"), ("blobs", "id"), ("audit", "seq")] {
        let (_root, path, _) = filled();
        let pair = format!("(SELECT {key} FROM {table} ORDER BY {key} LIMIT 2)");
        let change = format!(
            "CREATE TEMP TABLE pair AS SELECT {key} AS key, sealed FROM {table} WHERE {key} IN {pair};
             UPDATE {table} SET sealed = (SELECT sealed FROM pair WHERE pair.key <> {table}.{key})
             WHERE {key} IN (SELECT key FROM pair);"
        );
        assert_eq!(tampered_after(&path, &change), table);
    }
}

#[test]
fn a_row_of_last_week_is_noticed() {
    for table in ["records", "blobs"] {
        let (_root, path, owner) = filled();
        database(&path)
            .execute_batch(&format!("CREATE TABLE old AS SELECT * FROM {table}"))
            .unwrap();
        let mut hsm = Hsm::open(&path);
        let handle = hsm.state.object(Handle(Handle::FIRST.0)).unwrap().handle;
        hsm.apply(entry(owner.actor(), Command::DestroyObject { handle }));
        hsm.store.close().unwrap();
        let change = format!("INSERT OR REPLACE INTO {table} SELECT * FROM old");
        // The records' own index would give them away; the blobs have only the tally.
        assert_eq!(tampered_after(&path, &change), table);
    }
}

#[test]
fn a_start_that_is_gone_or_changed_is_noticed() {
    for change in ["DELETE FROM boots", "UPDATE boots SET salt = zeroblob(16)"] {
        let (_root, path, _) = filled();
        assert_eq!(tampered_after(&path, change), "meta");
    }
    let (_root, path, _) = filled();
    assert_eq!(tampered_after(&path, "UPDATE boots SET state_epoch = 2"), "boots");
    assert_eq!(tampered_after(&path, "UPDATE boots SET salt = x'00'"), "boots");
}

#[test]
fn a_schema_with_something_more_is_noticed() {
    let (_root, path, _) = filled();
    let change = "CREATE TRIGGER t AFTER INSERT ON log BEGIN DELETE FROM audit; END";
    assert_eq!(tampered_after(&path, change), "database");
}

#[test]
fn a_file_that_is_no_database_is_noticed() {
    let (_root, path, _) = filled();
    std::fs::write(path.join("store.db"), [b'x'; 8192]).unwrap();
    assert!(matches!(Hsm::try_open(&path), Err(Error::Tampered { table: "database", .. })));
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let (_root, path, _) = filled();
    database(&path).pragma_update(None, "user_version", 3).unwrap();
    assert!(matches!(Hsm::try_open(&path), Err(Error::Format { found: 3, known: 2 })));
}

#[test]
fn another_hsms_store_does_not_open() {
    let (_root, path, _) = filled();
    let (_other_root, other, _) = filled();
    std::fs::copy(other.join("store.db"), path.join("store.db")).unwrap();
    assert!(matches!(Hsm::try_open(&path), Err(Error::Tampered { table: "meta", .. })));
}

#[test]
fn the_audit_chain_has_every_start_and_change() {
    let (_root, path, owner) = filled();
    let mut hsm = Hsm::open(&path);
    hsm.create(owner, "four");
    let uses = vec![b"block one".to_vec(), b"block two".to_vec()];
    hsm.store.commit(&Batch { uses, ..Batch::default() }).unwrap();
    hsm.store.verify_audit().unwrap();
    let records = hsm.store.audit(1, usize::MAX >> 1).unwrap();
    let sequences: Vec<_> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, (1..=records.len() as u64).collect::<Vec<_>>());
    let of_kind = |kind| records.iter().filter(move |record| record.kind == kind);
    assert_eq!(of_kind(Kind::Start).count(), 2);
    assert_eq!(of_kind(Kind::Change).count() as u64, hsm.state.applied().0);
    let blocks: Vec<_> = of_kind(Kind::Uses).map(|record| record.body.as_slice()).collect();
    assert_eq!(blocks, [b"block one", b"block two"]);
}

#[test]
fn a_start_says_whether_the_stop_before_was_in_order() {
    let (_root, path, _) = filled();
    let clean = |path: &Path| {
        let hsm = Hsm::open(path);
        let last = hsm.store.audit(1, 1000).unwrap().pop().unwrap();
        assert_eq!(last.kind, Kind::Start);
        let start: strongroom_store::audit::StartRecord =
            prost::Message::decode(last.body.as_slice()).unwrap();
        hsm.kill();
        (start.boot, start.after_clean_stop)
    };
    assert_eq!(clean(&path), (2, true));
    assert_eq!(clean(&path), (3, false));
}

#[test]
fn a_cut_log_is_whole_from_its_new_beginning() {
    let (_root, path, owner) = filled();
    let mut hsm = Hsm::open(&path);
    let last = hsm.store.log_state().last.unwrap();
    let purged = Position { index: last.index - 2, ..last };
    hsm.store.commit(&Batch { purge_to: Some(purged), ..Batch::default() }).unwrap();
    hsm.create(owner, "four");
    let digest = hsm.state.digest();
    hsm.kill();
    let hsm = Hsm::open(&path);
    assert_eq!(hsm.state.digest(), digest);
    let last = Position { index: last.index + 1, ..last };
    assert_eq!(hsm.store.log_state(), LogState { purged: Some(purged), last: Some(last) });
    let expected: Vec<_> = (last.index - 2..=last.index).map(row).collect();
    assert_eq!(hsm.store.log(0..1000).unwrap(), expected);
}

#[test]
fn a_store_that_failed_takes_nothing_more() {
    let (_root, path, _) = filled();
    let mut hsm = Hsm::open(&path);
    let before = hsm.state.digest();
    // Somebody else holds the database: never so in an HSM, and as final as a full disk.
    let other = database(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(hsm.store.commit(&Batch::default()), Err(Error::Database(_))));
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(hsm.store.commit(&Batch::default()), Err(Error::Failed)));
    hsm.kill();
    assert_eq!(Hsm::open(&path).state.digest(), before);
}

#[test]
fn an_entry_out_of_order_is_a_bug() {
    let (_root, path, _) = filled();
    let mut hsm = Hsm::open(&path);
    let index = LogIndex(hsm.state.applied().0 + 2);
    let applied = vec![Applied { index, ..Applied::default() }];
    let applied_to = hsm.store.applied().0.map(|position| (position, None));
    let error = hsm.store.commit(&Batch { applied, applied_to, ..Batch::default() });
    assert!(matches!(error, Err(Error::Bug(_))));
}

#[test]
fn an_entry_that_changes_nothing_is_kept() {
    let (_root, path, _) = filled();
    let mut hsm = Hsm::open(&path);
    let applied = hsm.state.applied();
    let close = Command::CloseLogins { logins: Vec::new() };
    hsm.apply(entry(Actor::System, close));
    hsm.kill();
    assert_eq!(Hsm::open(&path).state.applied().0, applied.0 + 1);
}
