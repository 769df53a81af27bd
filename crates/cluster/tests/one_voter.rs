//! A cluster of one: what is answered is durable, readable and recorded.

mod alone;
#[path = "../../store/tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use alone::Alone;
use common::{CANARY, Owner, blob_of, created, entry, new_key, new_object, set_up};
use strongroom_cluster::{Error, Options};
use strongroom_store::audit::{ActorKind, ChangeRecord, Kind, Record};
use strongroom_store::{Folder, Secrets, Store};
use strongroom_vault::limits::{BLOB_BYTES_MAX, ENTRY_BYTES_MAX};
use strongroom_vault::{
    Actor, ClientId, Command, Committed, Entry, Handle, Outcome, ReplicationError, Replicator,
    Role, State,
};
use tempfile::TempDir;

fn start(path: &Path) -> Alone {
    start_with(path, Options::default())
}

fn start_with(path: &Path, options: Options) -> Alone {
    let folder = Folder::open(path).unwrap();
    let secrets = common::secrets(&folder);
    Alone::open(folder, secrets, options).unwrap()
}

fn apply(voter: &Alone, entry: Entry) -> Outcome {
    voter.propose(entry).unwrap().result.unwrap()
}

fn create(voter: &Alone, owner: Owner, label: &str) -> Handle {
    created(&apply(voter, entry(owner.actor(), new_key(owner, label))))
}

/// A running HSM with a user.
fn running(options: Options) -> (TempDir, PathBuf, Alone, Owner) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("hsm");
    let voter = start_with(&path, options);
    let owner = set_up(|entry| apply(&voter, entry));
    (root, path, voter, owner)
}

/// The store of an HSM that does not run.
fn stopped(path: &Path) -> (Store, State, Arc<Secrets>) {
    let folder = Folder::open(path).unwrap();
    let secrets = common::secrets(&folder);
    let (store, state, _) = Store::open(folder, secrets.clone()).unwrap();
    (store, state, secrets)
}

/// Creates keys from many threads at once, and checks that each blob can be read when its creation
/// is answered.
fn create_from_threads(voter: &Alone, owner: Owner, threads: usize, each: usize) {
    let together = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                for number in 0..each {
                    let label = format!("{thread}-{number}");
                    let object = new_object(owner, &label);
                    let id = object.id;
                    let objects = vec![object];
                    apply(voter, entry(owner.actor(), Command::CreateObjects { objects }));
                    assert_eq!(voter.blob(id).unwrap().unwrap(), blob_of(&label));
                }
            });
        }
    });
}

#[test]
fn many_threads_share_transactions_and_see_what_they_wrote() {
    let (_root, path, voter, owner) = running(Options::default());
    let before = voter.counters();
    create_from_threads(&voter, owner, 16, 63);
    let after = voter.counters();
    let (entries, batches) = (after.entries - before.entries, after.batches - before.batches);
    assert_eq!(entries, 16 * 63);
    assert!(batches < entries, "{batches} batches for {entries} entries");
    println!("{entries} entries in {batches} transactions");
    let digest = voter.state().read().digest();
    voter.stop();
    assert_eq!(start(&path).state().read().digest(), digest);
}

#[test]
fn a_cut_log_keeps_the_state() {
    let options = Options { log_entries_kept: 100, ..Options::default() };
    let (_root, path, voter, owner) = running(options);
    create_from_threads(&voter, owner, 8, 200);
    let digest = voter.state().read().digest();
    let applied = voter.state().durable();
    voter.stop();
    let (store, state, _) = stopped(&path);
    assert_eq!(state.digest(), digest);
    assert_eq!(store.applied().2, applied);
    let length = store.log_state().next_index() - store.log_state().first_index();
    assert!((100..1100).contains(&length), "{length} entries in the log");
    assert_eq!(store.log(0..u64::MAX).unwrap().len() as u64, length);
}

#[test]
fn a_retry_after_a_restart_gets_the_first_answer() {
    let (_root, path, voter, owner) = running(Options::default());
    let client = ClientId([9; 16]);
    let request = || Entry { client, sequence: 5, ..entry(owner.actor(), new_key(owner, "once")) };
    let first = voter.propose(request()).unwrap();
    voter.stop();
    let voter = start(&path);
    let again = voter.propose(request()).unwrap();
    assert_eq!(again.result, first.result);
    assert_ne!(again.index, first.index);
    assert_eq!(voter.state().read().object_count(), 1);
}

#[test]
fn the_leader_stamps_time_and_time_never_goes_back() {
    let clock = Arc::new(|| 2_000_000_000_000);
    let (_root, path, voter, _) = running(Options { clock, ..Options::default() });
    assert_eq!(voter.state().read().time_ms(), 2_000_000_000_000);
    voter.stop();
    let earlier = start_with(&path, Options { clock: Arc::new(|| 1), ..Options::default() });
    let close = Command::CloseLogins { logins: Vec::new() };
    apply(&earlier, Entry { time_ms: u64::MAX, ..entry(Actor::System, close) });
    assert_eq!(earlier.state().read().time_ms(), 2_000_000_000_000);
}

#[test]
fn after_a_stop_nothing_is_taken_and_the_folder_is_free() {
    let (_root, path, voter, owner) = running(Options::default());
    let object = new_object(owner, "one");
    let id = object.id;
    apply(&voter, entry(owner.actor(), Command::CreateObjects { objects: vec![object] }));
    assert!(matches!(Folder::open(&path), Err(strongroom_store::Error::InUse(_))));
    voter.stop();
    voter.stop();
    let late = voter.propose(entry(owner.actor(), new_key(owner, "two")));
    assert_eq!(late, Err(ReplicationError::Stopping));
    assert_eq!(voter.blob(id), Err(ReplicationError::Stopping));
    assert_eq!(voter.append_use_records(Vec::new()), Err(ReplicationError::Stopping));
    let again = start(&path);
    assert_eq!(again.blob(id).unwrap().unwrap(), blob_of("one"));
    assert_eq!(again.read_barrier().unwrap(), again.state().durable());
}

#[test]
fn a_stop_finishes_what_waits() {
    let (_root, path, voter, owner) = running(Options::default());
    voter.append_use_records(b"last uses".to_vec()).unwrap();
    let answers: Vec<Result<Committed, ReplicationError>> = std::thread::scope(|scope| {
        let proposers: Vec<_> = (0..8)
            .map(|n| {
                let voter = &voter;
                let label = n.to_string();
                scope.spawn(move || voter.propose(entry(owner.actor(), new_key(owner, &label))))
            })
            .collect();
        voter.stop();
        proposers.into_iter().map(|proposer| proposer.join().unwrap()).collect()
    });
    let (store, state, _) = stopped(&path);
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(state.object_count(), done);
    let stopping = Err(ReplicationError::Stopping);
    assert!(answers.iter().all(|answer| answer.is_ok() || *answer == stopping));
    assert!(records(&store).iter().any(|record| record.body == b"last uses"));
}

fn records(store: &Store) -> Vec<Record> {
    store.verify_audit().unwrap();
    store.audit(1, 100_000).unwrap()
}

#[test]
fn every_change_is_recorded_with_who_what_and_result() {
    let (_root, path, voter, owner) = running(Options::default());
    let handle = create(&voter, owner, "one");
    let delete = Command::DeleteUser { name: "nobody".into(), role: Role::CryptoUser };
    let refused = voter.propose(entry(owner.actor(), delete)).unwrap().result.unwrap_err();
    let logins = vec![owner.login];
    apply(&voter, entry(owner.actor(), Command::CloseLogins { logins }));
    voter.stop();

    let (store, state, _) = stopped(&path);
    let changes: Vec<ChangeRecord> = records(&store)
        .iter()
        .filter(|record| record.kind == Kind::Change)
        .map(|record| prost::Message::decode(record.body.as_slice()).unwrap())
        .collect();
    let indexes: Vec<_> = changes.iter().map(|change| change.index).collect();
    assert_eq!(indexes, (1..=state.applied().0).collect::<Vec<_>>());

    let [.., create, delete, close] = changes.as_slice() else { panic!("too few records") };
    for change in [create, delete, close] {
        assert_eq!(change.actor(), ActorKind::Login);
        assert_eq!((change.login, change.user), (owner.login.0, owner.user.0));
        assert_ne!(change.time_ms, 0);
    }
    assert_eq!((create.command.as_str(), create.result), ("create-objects", 0));
    assert_eq!(create.handles, [handle.0]);
    assert_eq!((delete.command.as_str(), delete.result), ("delete-user", refused.ckr));
    assert_eq!(delete.target_user, "nobody");
    assert_eq!(close.command, "close-logins");

    assert_eq!(
        (changes[0].command.as_str(), changes[0].actor()),
        ("create-cluster", ActorKind::System)
    );
    let user = changes.iter().find(|change| change.command == "create-user").unwrap();
    assert_eq!(user.target_user, CANARY);
}

#[test]
fn uses_of_keys_are_recorded_without_waiting() {
    let (_root, path, voter, owner) = running(Options::default());
    voter.append_use_records(b"uses 1".to_vec()).unwrap();
    voter.append_use_records(b"uses 2".to_vec()).unwrap();
    // They go with the next transaction, and without one when they are due.
    create(&voter, owner, "one");
    voter.stop();
    let (store, _, _) = stopped(&path);
    let uses: Vec<_> =
        records(&store).into_iter().filter(|record| record.kind == Kind::Uses).collect();
    assert_eq!(
        uses.iter().map(|record| record.body.as_slice()).collect::<Vec<_>>(),
        [b"uses 1", b"uses 2"]
    );
}

#[test]
fn a_failed_commit_is_fatal_and_nobody_hears_of_success() {
    static FATAL: AtomicBool = AtomicBool::new(false);
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = reasons.clone();
    let fatal = Box::new(move |error: &Error| {
        FATAL.store(true, Ordering::SeqCst);
        told.lock().unwrap().push(error.to_string());
    });
    let (_root, path, voter, owner) = running(Options { fatal, ..Options::default() });
    create(&voter, owner, "one");
    let digest = voter.state().read().digest();
    let durable = voter.state().durable();

    // The disk stops taking writes: here because somebody else holds the database.
    let other = rusqlite::Connection::open(path.join("store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = voter.propose(entry(owner.actor(), new_key(owner, "two")));
    assert!(matches!(answer, Err(ReplicationError::Storage(_))));
    assert!(FATAL.load(Ordering::SeqCst));
    assert_eq!(reasons.lock().unwrap().len(), 1);
    assert_eq!(voter.state().durable(), durable);

    // Also not when the disk would take writes again.
    other.execute_batch("ROLLBACK").unwrap();
    let answer = voter.propose(entry(owner.actor(), new_key(owner, "three")));
    assert!(matches!(answer, Err(ReplicationError::Storage(_))));
    drop(voter);
    assert_eq!(start(&path).state().read().digest(), digest);
}

#[test]
fn an_entry_that_no_log_may_hold_is_not_taken() {
    let (_root, _path, voter, owner) = running(Options::default());
    let mut objects = Vec::new();
    for n in 0..ENTRY_BYTES_MAX / BLOB_BYTES_MAX + 1 {
        let mut object = new_object(owner, &n.to_string());
        object.blob = vec![0; BLOB_BYTES_MAX];
        objects.push(object);
    }
    let answer = voter.propose(entry(owner.actor(), Command::CreateObjects { objects }));
    assert!(matches!(answer, Err(ReplicationError::Storage(_))));
    create(&voter, owner, "small");
    assert_eq!(voter.state().read().object_count(), 1);
}
