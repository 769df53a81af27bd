//! How fast one voter is, printed: the number is the bench's to judge.

mod alone;
#[path = "../../store/tests/common/mod.rs"]
mod common;

use alone::Alone;
use common::{entry, new_key, set_up};
use strongroom_cluster::Options;
use strongroom_store::Folder;
use strongroom_vault::Replicator;

#[test]
fn sixteen_threads_share_fsyncs() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::open(&root.path().join("hsm")).unwrap();
    let secrets = common::secrets(&folder);
    let node = Alone::open(folder, secrets, Options::default()).unwrap();
    let owner = set_up(|entry| node.propose(entry).unwrap().result.unwrap());
    let before = node.counters();
    let started = std::time::Instant::now();
    let (threads, each) = (16, 500);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let node = &node;
            scope.spawn(move || {
                for n in 0..each {
                    let key = new_key(owner, &format!("{thread}-{n}"));
                    node.propose(entry(owner.actor(), key)).unwrap().result.unwrap();
                }
            });
        }
    });
    let after = node.counters();
    let took = started.elapsed();
    println!(
        "{:.0} keys/s, {} entries, {} batches, {} fsyncs",
        f64::from(threads * each) / took.as_secs_f64(),
        after.entries - before.entries,
        after.batches - before.batches,
        after.fsyncs - before.fsyncs,
    );
    assert!(after.batches - before.batches < after.entries - before.entries);
}
