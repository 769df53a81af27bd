//! For the fuzz targets, and for nobody else: what a peer sends, as far as it is taken apart before
//! anybody acts on it.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use strongroom_wire::peer::{Append, Ballot, LogEntry, Place};

use crate::payload::{self, BatchEntry};
use crate::raft::Membership;
use crate::{Peer, convert};

/// Whether an append is one that openraft may see.
#[must_use]
pub fn append(append: Append) -> bool {
    convert::from_append(append).is_ok()
}

/// Whether bytes are the payload of a Raft entry; then it is written as it was read.
#[must_use]
pub fn payload(bytes: &[u8]) -> bool {
    let Ok(read) = payload::decode(bytes) else { return false };
    let again = payload::decode(&payload::encode(&read));
    assert!(again.is_ok_and(|again| again == read));
    true
}

/// Payloads of each kind.
#[must_use]
pub fn payloads() -> Vec<Vec<u8>> {
    let peer = Peer { hsm_id: "hsm-1".to_owned(), device_key: [7; 32], ..Peer::default() };
    let nodes = BTreeMap::from([(1, peer.clone()), (2, peer)]);
    let voters = vec![BTreeSet::from([1]), BTreeSet::from([1, 2])];
    let entry = BatchEntry { node: 1, boot: 2, counter: 3, sealed: vec![4; 5] };
    [
        EntryPayload::Blank,
        EntryPayload::Normal(payload::batch(vec![entry])),
        EntryPayload::Membership(Membership::new(voters, nodes)),
    ]
    .iter()
    .map(payload::encode)
    .collect()
}

/// An append of all kinds.
#[must_use]
pub fn appends() -> Append {
    let place = |index| Some(Place { term: 2, leader: 1, index });
    let entry = |(index, payload)| LogEntry { place: place(index), payload };
    Append {
        vote: Some(Ballot { term: 2, node: 1, committed: true }),
        previous: place(4),
        entries: (5..).zip(payloads()).map(entry).collect(),
        committed: place(4),
        ..Append::default()
    }
}
