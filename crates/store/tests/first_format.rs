//! A folder that the first released version left is opened, and loses nothing.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::blob_of;
use rusqlite::Connection;
use strongroom_store::audit::Kind;
use strongroom_store::{
    Batch, BlobReader, Error, Folder, KeyRing, LogRow, LogState, Position, Secrets, Store,
};
use strongroom_vault::{Handle, LogIndex, State};
use tempfile::TempDir;

/// Where the state of the first format stands.
const POSITION: Position = Position { index: 1, term: 1, leader: 1 };

/// The keys that the rows of the fixture were sealed under; others play no part.
fn secrets() -> Arc<Secrets> {
    let ring = |byte| KeyRing::from_keys([(1, &[byte; 32][..])]).unwrap().unwrap();
    let mut secrets = Secrets::generate_for("hsm-2345abcdefg".to_owned()).unwrap();
    secrets.state = ring(0x51);
    secrets.audit = ring(0x41);
    Arc::new(secrets)
}

/// The folder of the fixture, with `change` made to it.
fn folder(change: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    drop(Folder::open(root.path()).unwrap());
    let database = Connection::open(root.path().join("store.db")).unwrap();
    database.execute_batch(include_str!("fixtures/format-1.sql")).unwrap();
    database.execute_batch(change).unwrap();
    root
}

fn open(path: &Path) -> Result<(Store, State, BlobReader), Error> {
    Store::open(Folder::open(path)?, secrets())
}

#[test]
fn a_store_of_the_first_format_opens_and_loses_nothing() {
    let root = folder("");
    for start in 3..6 {
        let (store, state, blobs) = open(root.path()).unwrap();
        let labels: Vec<_> = (0..10)
            .filter_map(|number| state.object(Handle(Handle::FIRST.0 + number)))
            .map(|object| (object.id, String::from_utf8(object.meta.label.clone()).unwrap()))
            .collect();
        assert_eq!(labels.iter().map(|(_, label)| label).collect::<Vec<_>>(), ["one", "two"]);
        for (id, label) in labels {
            assert_eq!(blobs.read(id).unwrap().unwrap(), blob_of(&label));
        }
        assert_eq!((state.generation(), state.certified_generation()), (1, 1));
        assert_eq!((state.users().count(), state.logins().count()), (3, 0));
        assert_eq!(store.applied(), (Some(POSITION), None, LogIndex(10)));
        let log = LogState { purged: Some(POSITION), last: Some(POSITION) };
        assert_eq!(store.log_state(), log);
        assert_eq!(store.log(0..u64::MAX).unwrap(), []);
        // Two starts, ten changes and a block of uses were there; each start since then adds one.
        store.verify_audit().unwrap();
        let records = store.audit(1, 1000).unwrap();
        assert_eq!(records.len() as u64, 13 + start - 2);
        assert_eq!(records.iter().filter(|record| record.kind == Kind::Change).count(), 10);
        assert_eq!(store.boot().number, start);
    }
}

#[test]
fn its_log_goes_on_after_the_position_that_it_got() {
    let root = folder("");
    let (mut store, _, _) = open(root.path()).unwrap();
    let row = LogRow { index: 2, term: 2, leader: 1, payload: b"payload".to_vec() };
    store.commit(&Batch { append: vec![row.clone()], ..Batch::default() }).unwrap();
    drop(store);
    let (store, _, _) = open(root.path()).unwrap();
    assert_eq!(store.log(0..u64::MAX).unwrap(), std::slice::from_ref(&row));
    assert_eq!(store.log_state(), LogState { purged: Some(POSITION), last: Some(row.position()) });
}

#[test]
fn an_altered_store_of_the_first_format_is_noticed() {
    for (change, expected) in [
        ("DELETE FROM log WHERE idx = 6", "log"),
        ("DELETE FROM log WHERE idx = 10", "log"),
        ("UPDATE log SET sealed = zeroblob(60) WHERE idx = 6", "log"),
        ("DELETE FROM records WHERE version = 9", "records"),
        ("DELETE FROM blobs", "blobs"),
        ("DELETE FROM audit WHERE seq = 5", "audit"),
        ("DELETE FROM meta", "meta"),
    ] {
        let root = folder(change);
        match open(root.path()) {
            Err(Error::Tampered { table, .. }) => assert_eq!(table, expected, "{change}"),
            Err(other) => panic!("{change}: {other}"),
            Ok(_) => panic!("{change}: not noticed"),
        }
    }
}

#[test]
fn a_store_that_says_it_is_of_the_other_format_is_not_believed() {
    let root = folder("PRAGMA user_version = 2");
    assert!(matches!(open(root.path()), Err(Error::Tampered { table: "meta", .. })));
    let root = folder("");
    drop(open(root.path()).unwrap());
    let database = Connection::open(root.path().join("store.db")).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    drop(database);
    assert!(matches!(open(root.path()), Err(Error::Tampered { table: "meta", .. })));
}
