//! Power losses: a store on a disk that loses what was not synced, whole, by pages or by sectors, at
//! any moment, also while the HSM starts. What `commit` acknowledged is there afterwards, what was
//! under way is there whole or not at all, and nothing looks tampered with.
//!
//! Batches and losses follow from a seed, which a failure names. The store's own keys do not, so that
//! the same seed may write its pages in another order.

#[path = "../../../crates/store/tests/common/mod.rs"]
mod common;
mod disk;
mod vfs;

use std::path::Path;
use std::sync::Arc;

use common::model::{Maker, Model, Rng};
use disk::Disk;
use strongroom_store::{BlobReader, Folder, Secrets, Store};
use strongroom_vault::State;
use vfs::Device;

/// Lives of a store in the ordinary run; each has a new disk.
const LIVES: u64 = 100;
const FULL_LIVES: u64 = 5_000;
/// Power losses in a life.
const LOSSES: u64 = 16;
/// Changes of the disk that a start of the HSM takes, and some transactions more.
const CHANGES_MAX: u64 = 140;

/// What was done and survived.
#[derive(Debug, Default)]
struct Counts {
    transactions: u64,
    losses: u64,
    /// Power losses while the HSM started.
    at_start: u64,
    /// Transactions that were under way and are there.
    under_way: u64,
    syncs: u64,
}

/// One disk's life. The error says what an HSM would have lost.
fn live(seed: u64, secrets: &Arc<Secrets>, counts: &mut Counts) -> Result<(), String> {
    let root = tempfile::tempdir().unwrap();
    let device = Device::insert(root.path(), Disk::new(seed));
    let outcome = run(seed, root.path(), &device, secrets, counts);
    Device::remove(root.path());
    counts.syncs += device.disk().syncs;
    outcome.map_err(|lost| format!("seed {seed}: {lost}"))
}

fn run(
    seed: u64,
    folder: &Path,
    device: &Device,
    secrets: &Arc<Secrets>,
    counts: &mut Counts,
) -> Result<(), String> {
    let mut maker = Maker::new(seed);
    let mut rng = Rng(!seed);
    // What the disk must hold, and what it may hold as well.
    let mut under_way: Option<Model> = None;
    for _ in 0..LOSSES {
        device.disk().power_for(1 + rng.below(CHANGES_MAX));
        let failed = match open(folder, secrets) {
            Ok((mut store, state, blobs)) => {
                // Reading changes nothing, so the power does not go meanwhile.
                let found = Model::read(&store, &state, &blobs).map_err(|e| e.to_string())?;
                settle(found, state, &mut maker, &mut under_way, counts)?;
                loop {
                    let (batch, after) = maker.batch();
                    if let Err(error) = store.commit(&batch) {
                        under_way = Some(after);
                        break error;
                    }
                    maker.model = after;
                    counts.transactions += 1;
                }
            }
            Err(error) => {
                counts.at_start += 1;
                error
            }
        };
        if !device.disk().is_dead() {
            return Err(format!("with the power on: {failed}"));
        }
        device.crash();
        counts.losses += 1;
    }
    let (store, state, blobs) = open(folder, secrets).map_err(|error| error.to_string())?;
    let found = Model::read(&store, &state, &blobs).map_err(|error| error.to_string())?;
    settle(found, state, &mut maker, &mut under_way, counts)
}

fn open(
    folder: &Path,
    secrets: &Arc<Secrets>,
) -> Result<(Store, State, BlobReader), strongroom_store::Error> {
    Store::open(Folder::open(folder)?, secrets.clone())
}

/// Compares what a store holds with what it must.
fn settle(
    found: Model,
    state: State,
    maker: &mut Maker,
    under_way: &mut Option<Model>,
    counts: &mut Counts,
) -> Result<(), String> {
    if under_way.as_ref() == Some(&found) && found != maker.model {
        counts.under_way += 1;
    } else if found != maker.model {
        return Err(format!(
            "the store holds {found:?}\nacknowledged was {:?}\nunder way was {under_way:?}",
            maker.model
        ));
    }
    *under_way = None;
    maker.go_on(state, found);
    Ok(())
}

#[test]
fn what_a_commit_acknowledged_outlives_every_power_loss() {
    let secrets = Arc::new(Secrets::generate().unwrap());
    let lives = if strongroom_tests::full() { FULL_LIVES } else { LIVES };
    let mut counts = Counts::default();
    for seed in 0..lives {
        live(seed, &secrets, &mut counts).unwrap();
    }
    println!("{counts:?}");
    // The test is one of something: losses everywhere, and thousands of transactions.
    assert!(counts.transactions > lives * LOSSES, "{counts:?}");
    assert!(counts.at_start > lives / 10, "{counts:?}");
    assert!(counts.under_way > lives / 8, "{counts:?}");
    assert!(counts.syncs > counts.transactions, "{counts:?}");
}

#[test]
fn a_store_that_does_not_sync_is_caught() {
    let secrets = Arc::new(Secrets::generate().unwrap());
    vfs::never_sync(true);
    let caught = (0..20).filter(|seed| live(*seed, &secrets, &mut Counts::default()).is_err());
    let caught = caught.count();
    vfs::never_sync(false);
    assert!(caught > 10, "{caught} of 20");
}
