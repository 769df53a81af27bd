//! Any sequence of batches and snapshots leaves what the simplest model of a store has, wherever the
//! HSM starts anew.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::model::{Maker, Model};
use proptest::prelude::*;
use strongroom_crypto::SecretBytes;
use strongroom_store::{Batch, BlobReader, Folder, LogRow, Secrets, Store};
use strongroom_vault::State;

fn open(path: &Path, secrets: &Arc<Secrets>) -> (Store, State, BlobReader) {
    Store::open(Folder::open(path).unwrap(), secrets.clone()).unwrap()
}

/// Another HSM, with what `store` has applied and some entries more: its store, and what it holds.
fn ahead(path: &Path, store: &Store, maker: &mut Maker) -> (Store, Model) {
    let secrets = Arc::new(Secrets::generate().unwrap());
    let (mut other, _, blobs) = open(path, &secrets);
    if let Some(reader) = store.snapshot().unwrap() {
        let position = reader.header().position;
        other.install(position, reader).unwrap();
    }
    // One log entry, of this term or a later one, that the store may or may not have.
    let index = other.log_state().next_index();
    let last = maker.model.last().map_or(1, |last| last.term);
    let term = last + maker.rng.below(2);
    let row = match maker.model.log.iter().find(|row| row.index == index) {
        Some(row) if maker.rng.one_in(2) => row.clone(),
        _ => LogRow { index, term, leader: 3, payload: vec![1; 9] },
    };
    let applied_to = Some((row.position(), Some(b"others".to_vec())));
    let mut applied = Vec::new();
    maker.entries(&mut applied);
    let batch = Batch { append: vec![row], applied, applied_to, ..Batch::default() };
    other.commit(&batch).unwrap();
    let model = Model::read(&other, &maker.state, &blobs).unwrap();
    (other, model)
}

fn run(seed: u64, steps: &[u8]) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("hsm");
    let secrets = Arc::new(Secrets::generate().unwrap());
    let (mut store, _, mut blobs) = open(&path, &secrets);
    let mut maker = Maker::new(seed);
    for (number, step) in steps.iter().enumerate() {
        match step {
            0 => {
                drop(store);
                let state;
                (store, state, blobs) = open(&path, &secrets);
                let model = Model::read(&store, &state, &blobs).unwrap();
                assert_eq!(model, maker.model);
                maker.go_on(state, model);
            }
            1 => {
                let (source, theirs) =
                    ahead(&root.path().join(number.to_string()), &store, &mut maker);
                let chunks: Vec<SecretBytes> =
                    source.snapshot().unwrap().unwrap().map(Result::unwrap).collect();
                let position = theirs.applied.unwrap();
                let state = store.install(position, chunks.into_iter().map(Ok)).unwrap();
                let mut model = maker.model.clone();
                model.install(&theirs);
                maker.go_on(state, model);
            }
            _ => {
                let (batch, after) = maker.batch();
                store.commit(&batch).unwrap();
                maker.model = after;
            }
        }
        let found = Model::read(&store, &maker.state, &blobs).unwrap();
        assert_eq!(found, maker.model, "after step {number} of {steps:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_holds_what_its_batches_say(
        seed: u64, steps in proptest::collection::vec(0_u8..10, 1..30),
    ) {
        run(seed, &steps);
    }
}
