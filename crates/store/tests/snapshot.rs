//! A snapshot carries a store's state to another store, whole or not at all.

mod common;

use std::path::Path;

use common::{CANARY, Hsm, Owner, blob_of, new_object, row};
use strongroom_crypto::SecretBytes;
use strongroom_store::audit::{InstallRecord, Kind};
use strongroom_store::{
    Batch, CHUNK_BYTES_MAX, Error, Folder, KeptSnapshot, LogState, Position, Received,
    SEALED_CHUNK_BYTES_MAX, Store,
};
use strongroom_vault::limits::BLOB_BYTES_MAX;
use strongroom_vault::{Command, LogIndex, State};
use tempfile::TempDir;

/// An HSM with a cluster, members and keys, and its folder.
fn source() -> (TempDir, Hsm, Owner) {
    let root = tempfile::tempdir().unwrap();
    let mut hsm = Hsm::open(&root.path().join("hsm"));
    let owner = hsm.set_up();
    for label in ["one", "two", "three"] {
        hsm.create(owner, label);
    }
    let at = hsm.store.applied().0.unwrap();
    let applied_to = Some((at, Some(b"members".to_vec())));
    hsm.store.commit(&Batch { applied_to, ..Batch::default() }).unwrap();
    (root, hsm, owner)
}

/// An empty HSM.
fn target() -> (TempDir, Hsm) {
    let root = tempfile::tempdir().unwrap();
    let hsm = Hsm::open(&root.path().join("hsm"));
    (root, hsm)
}

fn chunks(store: &Store) -> (Position, Vec<Vec<u8>>) {
    let reader = store.snapshot().unwrap().unwrap();
    let position = reader.header().position;
    (position, reader.map(|chunk| chunk.unwrap().as_bytes().to_vec()).collect())
}

fn install(store: &mut Store, position: Position, chunks: &[Vec<u8>]) -> Result<State, Error> {
    store.install(position, chunks.iter().map(|chunk| Ok(SecretBytes::copied(chunk))))
}

fn check_equal(target: &Hsm, source: &Hsm) {
    assert_eq!(target.state.digest(), source.state.digest());
    assert_eq!(target.store.applied(), source.store.applied());
    for number in 0..source.state.object_count() as u64 {
        let handle = strongroom_vault::Handle(strongroom_vault::Handle::FIRST.0 + number);
        let id = source.state.object(handle).unwrap().id;
        assert_eq!(target.blobs.read(id).unwrap(), source.blobs.read(id).unwrap());
    }
}

#[test]
fn an_installed_snapshot_is_the_state_that_it_was_read_from() {
    let (_source_root, source, owner) = source();
    let (root, mut target) = target();
    let (position, chunks) = chunks(&source.store);
    target.state = install(&mut target.store, position, &chunks).unwrap();
    check_equal(&target, &source);
    assert_eq!(target.store.applied().1, Some(&b"members"[..]));
    assert_eq!(target.store.committed(), Some(position));
    let log = LogState { purged: Some(position), last: Some(position) };
    assert_eq!(target.store.log_state(), log);
    // It goes on from there, and is there after a restart.
    target.create(owner, "four");
    let digest = target.state.digest();
    target.kill();
    let target = Hsm::open(&root.path().join("hsm"));
    assert_eq!(target.state.digest(), digest);
    assert_eq!(target.store.log_state().next_index(), position.index + 2);
    target.store.verify_audit().unwrap();
}

#[test]
fn a_snapshot_replaces_what_was_there() {
    let (_source_root, mut source, owner) = source();
    let (_root, mut target) = target();
    let (position, first) = chunks(&source.store);
    target.state = install(&mut target.store, position, &first).unwrap();
    let handle = source.create(owner, "four");
    source.apply(common::entry(owner.actor(), Command::DestroyObject { handle }));
    source.create(owner, "five");
    let before = target.state.applied().0;
    let (position, second) = chunks(&source.store);
    target.state = install(&mut target.store, position, &second).unwrap();
    assert_eq!(target.state.digest(), source.state.digest());
    let record = target.store.audit(1, 1000).unwrap().pop().unwrap();
    assert_eq!(record.kind, Kind::Install);
    let record: InstallRecord = prost::Message::decode(record.body.as_slice()).unwrap();
    assert_eq!((record.before, record.index), (before, source.state.applied().0));
    assert_eq!(record.digest, second.last().unwrap()[second.last().unwrap().len() - 32..]);
}

#[test]
fn a_reader_sees_the_store_as_it_was_while_the_writer_goes_on() {
    let (_source_root, mut source, owner) = source();
    let digest = source.state.digest();
    let reader = source.store.snapshot().unwrap().unwrap();
    let position = reader.header().position;
    source.create(owner, "four");
    let reading = std::thread::spawn(move || {
        reader.map(|chunk| chunk.unwrap().as_bytes().to_vec()).collect::<Vec<_>>()
    });
    source.create(owner, "five");
    let (_root, mut target) = target();
    let state = install(&mut target.store, position, &reading.join().unwrap()).unwrap();
    assert_eq!(state.digest(), digest);
}

#[test]
fn chunks_are_bounded_and_may_be_cut_anywhere() {
    let (_source_root, mut source, owner) = source();
    for (label, length) in [("long", BLOB_BYTES_MAX), ("half", BLOB_BYTES_MAX / 2), ("short", 1)] {
        let mut object = new_object(owner, label);
        object.blob = vec![7; length];
        let command = Command::CreateObjects { objects: vec![object] };
        source.apply(common::entry(owner.actor(), command));
    }
    let (position, chunks) = chunks(&source.store);
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
    assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk.len() == CHUNK_BYTES_MAX));
    let stream = chunks.concat();
    for length in [977, 65_537, CHUNK_BYTES_MAX - 1] {
        let (_root, mut target) = target();
        let cut: Vec<_> = stream.chunks(length).map(<[u8]>::to_vec).collect();
        target.state = install(&mut target.store, position, &cut).unwrap();
        check_equal(&target, &source);
    }
}

#[test]
fn what_is_no_snapshot_leaves_the_store_as_it_was() {
    let (_source_root, source, owner) = source();
    let (root, mut target) = target();
    target.set_up();
    let digest = target.state.digest();
    let (position, chunks) = chunks(&source.store);
    let stream = chunks.concat();
    let mut refuse = |position, stream: &[u8]| {
        let refused = install(&mut target.store, position, &[stream.to_vec()]);
        assert!(matches!(refused, Err(Error::Snapshot(_))), "{:?}", refused.err());
    };
    for at in (0..stream.len()).step_by(stream.len() / 200) {
        refuse(position, &stream[..at]);
        let mut changed = stream.clone();
        changed[at] ^= 1;
        refuse(position, &changed);
    }
    refuse(position, &[&stream[..], b"x"].concat());
    refuse(position, &[&stream[..], &stream[..]].concat());
    refuse(Position { index: position.index + 1, ..position }, &stream);
    // Of a file that can't be read.
    let unreadable = || Error::Io { path: "file".into(), source: std::io::Error::other("broken") };
    let broken = [Ok(SecretBytes::copied(&stream[..100])), Err(unreadable())];
    assert!(matches!(target.store.install(position, broken), Err(Error::Io { .. })));
    // It takes more, and a restart finds nothing else.
    target.apply(common::entry(
        strongroom_vault::Actor::System,
        Command::CloseLogins { logins: vec![owner.login] },
    ));
    assert_ne!(target.state.digest(), digest);
    let digest = target.state.digest();
    target.kill();
    assert_eq!(Hsm::open(&root.path().join("hsm")).state.digest(), digest);
}

#[test]
fn an_older_snapshot_is_refused() {
    let (_source_root, mut source, owner) = source();
    let (position, chunks) = chunks(&source.store);
    source.create(owner, "four");
    let digest = source.state.digest();
    assert!(matches!(install(&mut source.store, position, &chunks), Err(Error::Snapshot(_))));
    source.create(owner, "five");
    assert_ne!(source.state.digest(), digest);
}

#[test]
fn the_log_keeps_what_follows_the_snapshots_entry_where_it_has_that_entry() {
    let (_source_root, source, _) = source();
    let (position, chunks) = chunks(&source.store);
    for (term, kept) in [(position.term, 3), (position.term + 1, 0)] {
        let (root, mut target) = target();
        // The log is ahead of what is applied: the HSM has not heard yet that it is committed.
        let append = (0..=position.index + 3).map(|index| {
            let mut row = row(index);
            row.term = if index < position.index { position.term } else { term };
            row
        });
        let append: Vec<_> = append.collect();
        target.store.commit(&Batch { append: append.clone(), ..Batch::default() }).unwrap();
        install(&mut target.store, position, &chunks).unwrap();
        target.kill();
        let target = Hsm::open(&root.path().join("hsm"));
        let rows = target.store.log(0..u64::MAX).unwrap();
        assert_eq!(rows, append[append.len() - kept..]);
        let last = rows.last().map_or(position, |row| row.position());
        assert_eq!(target.store.log_state(), LogState { purged: Some(position), last: Some(last) });
    }
}

#[test]
fn a_store_that_has_applied_nothing_has_no_snapshot() {
    let (_root, target) = target();
    assert!(target.store.snapshot().unwrap().is_none());
}

#[test]
fn a_row_that_is_missing_is_not_left_out_of_a_snapshot() {
    for table in ["records", "blobs"] {
        let (root, source, _) = source();
        let database = rusqlite::Connection::open(root.path().join("hsm/store.db")).unwrap();
        database.execute_batch(&format!("DELETE FROM {table}")).unwrap();
        let mut reader = source.store.snapshot().unwrap().unwrap();
        let failed = reader.by_ref().find_map(Result::err).unwrap();
        assert!(matches!(failed, Error::Tampered { table: found, .. } if found == table));
        assert!(reader.next().is_none());
    }
}

/// A snapshot that has come in, of these chunks.
fn received(store: &Store, chunks: &[Vec<u8>]) -> Received {
    let mut incoming = store.inbox().begin().unwrap();
    for chunk in chunks {
        incoming.push(chunk).unwrap();
    }
    assert_eq!(incoming.chunks(), chunks.len() as u64);
    incoming.finish().unwrap()
}

/// The files of snapshots in a folder.
fn files(path: &Path) -> Vec<String> {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("snapshot-")).collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_on_its_way_in_leaves_no_file_behind() {
    let (root, target) = target();
    let path = root.path().join("hsm");
    let chunks = [vec![1; 10], Vec::new(), vec![2; SEALED_CHUNK_BYTES_MAX]];
    let received = received(&target.store, &chunks);
    for _ in 0..2 {
        let read: Vec<_> = received.chunks().unwrap().map(Result::unwrap).collect();
        assert_eq!(read, chunks);
    }
    let mut unfinished = target.store.inbox().begin().unwrap();
    let long = vec![0; SEALED_CHUNK_BYTES_MAX + 1];
    assert!(matches!(unfinished.push(&long), Err(Error::Snapshot(_))));
    assert_eq!(files(&path).len(), 2);
    drop((received, unfinished));
    assert_eq!(files(&path), [""; 0]);
    // Neither does one that a killed process left.
    std::mem::forget(target.store.inbox().begin().unwrap());
    target.kill();
    assert_eq!(files(&path).len(), 1);
    Hsm::open(&path);
    assert_eq!(files(&path), [""; 0]);
}

fn at(index: u64) -> Position {
    Position { index, term: 1, leader: 1 }
}

fn kept_chunks(kept: &KeptSnapshot) -> Vec<Vec<u8>> {
    kept.chunks().unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_witness_keeps_the_newest_snapshot_as_it_came() {
    let (root, mut witness) = target();
    let path = root.path().join("hsm");
    assert_eq!(witness.store.kept(), None);
    let append = (0..10).map(row).collect();
    let applied_to = Some((at(3), None));
    witness.store.commit(&Batch { append, applied_to, ..Batch::default() }).unwrap();
    let (old, new) = (vec![b"sealed".to_vec()], vec![b"sealed".to_vec(), b"anew".to_vec()]);
    let incoming = received(&witness.store, &old);
    witness.store.keep(at(5), b"members", b"", incoming).unwrap();
    let reading = witness.store.kept().unwrap().chunks().unwrap();
    let incoming = received(&witness.store, &new);
    witness.store.keep(at(7), b"others", b"copies", incoming).unwrap();
    // Who has begun to read the old one can read it to its end.
    assert_eq!(reading.map(Result::unwrap).collect::<Vec<_>>(), old);
    let stale = received(&witness.store, &old);
    assert!(matches!(witness.store.keep(at(6), b"old", b"", stale), Err(Error::Snapshot(_))));
    witness.kill();

    let witness = Hsm::open(&path);
    let kept = witness.store.kept().unwrap();
    assert_eq!((kept.position(), kept.membership()), (at(7), &b"others"[..]));
    assert_eq!(kept.secrets(), b"copies");
    assert_eq!(kept_chunks(kept), new);
    assert_eq!(witness.store.applied(), (Some(at(7)), Some(&b"others"[..]), LogIndex(0)));
    assert_eq!(witness.store.log_state(), LogState { purged: Some(at(7)), last: Some(at(9)) });
    assert_eq!(files(&path).len(), 1);
}

#[test]
fn a_witnesss_snapshot_that_was_altered_is_noticed() {
    for change in [
        |file: &Path| std::fs::remove_file(file).unwrap(),
        |file: &Path| std::fs::write(file, b"\0\0\0\x06sealee").unwrap(),
        |file: &Path| std::fs::write(file, b"").unwrap(),
    ] {
        let (root, mut witness) = target();
        let path = root.path().join("hsm");
        let append = (0..3).map(row).collect();
        witness.store.commit(&Batch { append, ..Batch::default() }).unwrap();
        let incoming = received(&witness.store, &[b"sealed".to_vec()]);
        witness.store.keep(at(2), b"members", b"", incoming).unwrap();
        witness.kill();
        change(&path.join(&files(&path)[0]));
        assert!(matches!(Hsm::try_open(&path), Err(Error::Tampered { table: "file", .. })));
    }
}

/// Ends an HSM and leaves its database and write-ahead log as a killed process does: closing the last
/// connection would move all into the database.
fn kill_before_checkpoint(hsm: Hsm, path: &Path) {
    let files = ["store.db", "store.db-wal"].map(|name| path.join(name));
    let contents = files.each_ref().map(|file| std::fs::read(file).unwrap());
    hsm.kill();
    for (file, content) in files.iter().zip(contents) {
        assert!(!content.is_empty());
        std::fs::write(file, content).unwrap();
    }
}

#[test]
fn a_store_that_is_set_aside_makes_room_for_an_empty_one() {
    let (root, source, _) = source();
    let (position, chunks) = chunks(&source.store);
    let path = root.path().join("hsm");
    let digest = source.state.digest();
    kill_before_checkpoint(source, &path);
    let mut asides = Vec::new();
    for _ in 0..4 {
        let folder = Folder::open(&path).unwrap();
        asides.push(Store::set_aside(&folder).unwrap().unwrap());
        assert_eq!(Store::set_aside(&folder).unwrap(), None);
        drop(folder);
        let mut hsm = Hsm::open(&path);
        assert_eq!(hsm.store.applied(), (None, None, LogIndex(0)));
        assert_eq!(install(&mut hsm.store, position, &chunks).unwrap().digest(), digest);
        kill_before_checkpoint(hsm, &path);
    }
    let names: Vec<_> = asides.iter().map(|aside| aside.file_name().unwrap()).collect();
    assert_eq!(names[3], "store.db.quarantine-4");
    let there: Vec<_> = asides.iter().map(|aside| aside.exists()).collect();
    assert_eq!(there, [false, false, true, true]);
    // What was not in the main file yet is kept beside it: the store can be looked into.
    let look = rusqlite::Connection::open(&asides[3]).unwrap();
    let blobs: i64 = look.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap();
    assert_eq!(blobs, 3);
    assert!(!asides[0].with_file_name("store.db.quarantine-1-wal").exists());
}

#[test]
fn a_power_loss_amid_setting_aside_mixes_no_two_stores() {
    let (root, source, _) = source();
    let path = root.path().join("hsm");
    kill_before_checkpoint(source, &path);
    // The database has moved; its write-ahead log has not.
    std::fs::rename(path.join("store.db"), path.join("store.db.quarantine-1")).unwrap();
    let hsm = Hsm::open(&path);
    assert_eq!(hsm.store.applied(), (None, None, LogIndex(0)));
    assert_eq!(hsm.state.digest(), State::new().digest());
    assert!(path.join("store.db.quarantine-1-wal").exists());
}

#[test]
fn nothing_of_a_snapshot_is_plaintext_in_the_folder() {
    let (_source_root, source, _) = source();
    let (root, mut target) = target();
    let (position, chunks) = chunks(&source.store);
    assert!(chunks.concat().windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    install(&mut target.store, position, &chunks).unwrap();
    assert_eq!(blob_of("one"), source.blobs.read(source_id(&source)).unwrap().unwrap());
    for file in std::fs::read_dir(root.path().join("hsm")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    }
}

fn source_id(source: &Hsm) -> strongroom_vault::ObjectId {
    source.state.object(strongroom_vault::Handle::FIRST).unwrap().id
}
