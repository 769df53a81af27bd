//! Objects after the cluster's secrets were replaced.

use crate::follower::follower;
use crate::support::*;

/// Epochs that blobs on the disk name.
fn epochs(hsm: &Hsm) -> Vec<u64> {
    let blobs = hsm.memory.blobs.lock().unwrap();
    let mut epochs: Vec<u64> =
        blobs.values().map(|blob| u64::from_be_bytes(blob[1..9].try_into().unwrap())).collect();
    epochs.sort_unstable();
    epochs
}

fn keep_house(hsm: &Hsm, seconds: u64) {
    for _ in 0..seconds {
        pass_ms(1000);
        hsm.engine.housekeeping();
    }
}

#[test]
fn the_leader_masks_all_objects_under_the_new_key_and_the_old_one_can_go() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let keys: Vec<u64> = (0..3).map(|_| alice.pair(p256()).1).collect();
    keep_house(&hsm, 1);
    assert_eq!((epochs(&hsm), hsm.engine.masked_from()), (vec![1; 6], 1));
    hsm.memory.epochs.rotate();
    let durable = hsm.memory.durable();
    keep_house(&hsm, 1);
    assert_eq!(epochs(&hsm), [2; 6]);
    assert_eq!(hsm.memory.durable(), durable + 1, "in one entry");
    assert_eq!(hsm.engine.masked_from(), 1, "an HSM that is behind may still use the old key");
    keep_house(&hsm, 70);
    assert_eq!(hsm.engine.masked_from(), 2);
    assert_eq!(hsm.memory.durable(), durable + 1, "and is done with it");
    hsm.memory.epochs.forget_before(2);
    // From the disk, not from the cache.
    let mut alice = hsm.restart().alice();
    for key in keys {
        alice.bytes(ecdsa(key));
    }
}

#[test]
fn an_object_that_comes_late_under_the_old_key_is_found() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    alice.object(aes(&[]));
    let old = hsm.memory.blobs.lock().unwrap().clone();
    hsm.memory.epochs.rotate();
    keep_house(&hsm, 5);
    assert_eq!(epochs(&hsm), [2]);
    hsm.memory.blobs.lock().unwrap().extend(old);
    keep_house(&hsm, 70);
    assert_eq!(epochs(&hsm), [2]);
    assert_eq!(hsm.engine.masked_from(), 2);
}

#[test]
fn an_hsm_that_does_not_lead_changes_nothing_and_learns_when_it_is_done() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    alice.object(aes(&[]));
    let (other, link) = follower(&hsm, None);
    hsm.memory.epochs.rotate();
    keep_house(&other, 100);
    assert_eq!((epochs(&hsm), other.engine.masked_from()), (vec![1], 1));
    keep_house(&hsm, 2);
    link.catch_up();
    assert_eq!(epochs(&hsm), [2]);
    keep_house(&other, 11 * 60);
    assert_eq!(other.engine.masked_from(), 2);
    // New secrets begin it all again.
    hsm.memory.epochs.rotate();
    assert_eq!(other.engine.masked_from(), 1);
}

#[test]
fn a_blob_that_does_not_open_keeps_its_key() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    alice.object(aes(&[]));
    hsm.damage_blobs();
    let hsm = hsm.restart();
    hsm.memory.epochs.rotate();
    keep_house(&hsm, 200);
    assert_eq!((epochs(&hsm), hsm.engine.masked_from()), (vec![1], 1));
}
