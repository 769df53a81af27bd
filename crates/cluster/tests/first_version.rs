//! A folder that the first released version left, under a node: it leads itself and goes on.

mod alone;

use std::path::Path;
use std::sync::Arc;

use alone::Alone;
use rusqlite::Connection;
use strongroom_cluster::Options;
use strongroom_store::{Folder, KeyRing, Secrets};
use strongroom_vault::{Actor, ClientId, Command, Entry, LogIndex, Replicator};

/// The keys that the rows of the fixture were sealed under; others play no part.
fn secrets() -> Arc<Secrets> {
    let ring = |byte| KeyRing::from_keys([(1, &[byte; 32][..])]).unwrap().unwrap();
    let mut secrets = Secrets::generate_for("hsm-2345abcdefg".to_owned()).unwrap();
    secrets.state = ring(0x51);
    secrets.audit = ring(0x41);
    Arc::new(secrets)
}

fn start(path: &Path, secrets: &Arc<Secrets>) -> Alone {
    let fatal = Box::new(|error: &strongroom_cluster::Error| panic!("fatal: {error}"));
    let options = Options { fatal, ..Options::default() };
    Alone::open(Folder::open(path).unwrap(), secrets.clone(), options).unwrap()
}

#[test]
fn a_folder_of_the_first_version_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("hsm");
    drop(Folder::open(&path).unwrap());
    let fixture = include_str!("../../store/tests/fixtures/format-1.sql");
    Connection::open(path.join("store.db")).unwrap().execute_batch(fixture).unwrap();
    let secrets = secrets();
    for start_number in 1..=3 {
        let voter = start(&path, &secrets);
        assert_eq!(voter.state().read().object_count(), 2);
        let entry = Entry {
            time_ms: 0,
            client: ClientId([7; 16]),
            sequence: 0,
            lowest_unanswered: 0,
            actor: Actor::System,
            command: Command::CloseLogins { logins: Vec::new() },
        };
        let committed = voter.propose(entry).unwrap();
        // Its ten entries were the last of a one-HSM log.
        assert_eq!(committed.index, LogIndex(10 + start_number));
        voter.stop();
    }
}
