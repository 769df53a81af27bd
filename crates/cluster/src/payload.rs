//! What a Raft entry says, as it lies in the log and goes to other members. Specified in
//! `docs/spec/log.md`, section "The replicated log".
//!
//! In: bytes from a disk or a peer. Out: an entry, or an error. The vault's entries in it stay
//! sealed: this is all that a witness understands.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use prost::Message;
use strongroom_store::{LogRow, Position};
use strongroom_wire::limits::MEMBERS_MAX;
use strongroom_wire::peer::{Ballot, PeerMember, Place};

use crate::raft::{Entry, LogId, Membership, Payload, StoredMembership, TypeConfig, Vote};
use crate::{Error, Peer, convert};

/// What a Raft entry says: nothing (a new leader's first), a batch, or the members.
#[derive(Clone, PartialEq, Message)]
struct LogPayload {
    #[prost(message, optional, tag = "1")]
    batch: Option<LogBatch>,
    #[prost(message, optional, tag = "2")]
    members: Option<LogMembers>,
}

/// The vault's entries that were agreed on together.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LogBatch {
    #[prost(message, repeated, tag = "1")]
    pub(crate) entries: Vec<BatchEntry>,
}

/// One of them.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct BatchEntry {
    /// Who proposed it: the node, its start, and its count. Where it waits for the answer.
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) boot: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) counter: u64,
    /// The entry, sealed by the leader that stamped it.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) sealed: Vec<u8>,
}

impl std::fmt::Debug for BatchEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}: {} bytes", self.node, self.boot, self.counter, self.sealed.len())
    }
}

/// The members: one set of voters, or two while it changes (Raft's joint consensus).
#[derive(Clone, PartialEq, Message)]
struct LogMembers {
    #[prost(message, repeated, tag = "1")]
    voters: Vec<VoterSet>,
    #[prost(message, repeated, tag = "2")]
    members: Vec<PeerMember>,
}

#[derive(Clone, PartialEq, Message)]
struct VoterSet {
    #[prost(uint64, repeated, tag = "1")]
    nodes: Vec<u64>,
}

/// The members and the entry that made them so: as the store keeps them beside the records.
#[derive(Clone, PartialEq, Message)]
struct StoredMembers {
    #[prost(message, optional, tag = "1")]
    place: Option<Place>,
    #[prost(message, optional, tag = "2")]
    members: Option<LogMembers>,
}

/// Raft's vote, with the cluster's fence.
#[derive(Clone, PartialEq, Message)]
struct StoredVote {
    #[prost(message, optional, tag = "1")]
    vote: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    fence: u64,
}

/// Encodes a batch.
pub(crate) fn batch(entries: Vec<BatchEntry>) -> Payload {
    let payload = LogPayload { batch: Some(LogBatch { entries }), members: None };
    Payload(payload.encode_to_vec().into())
}

/// The entries of a batch.
///
/// # Errors
/// [`Error::Entry`] where it is malformed.
pub(crate) fn open_batch(payload: &Payload) -> Result<LogBatch, Error> {
    LogPayload::decode(&payload.0[..])
        .map_err(|_| Error::Entry("a batch is malformed"))?
        .batch
        .ok_or(Error::Entry("a batch is missing"))
}

/// An entry's payload as bytes.
pub(crate) fn encode(payload: &EntryPayload<TypeConfig>) -> Vec<u8> {
    match payload {
        EntryPayload::Blank => Vec::new(),
        EntryPayload::Normal(payload) => payload.0.to_vec(),
        EntryPayload::Membership(membership) => encode_membership(membership),
    }
}

/// A membership as an entry's payload.
pub(crate) fn encode_membership(membership: &Membership) -> Vec<u8> {
    LogPayload { batch: None, members: Some(members(membership)) }.encode_to_vec()
}

/// The reverse of [`encode`].
///
/// # Errors
/// [`Error::Entry`] where it is malformed.
pub(crate) fn decode(bytes: &[u8]) -> Result<EntryPayload<TypeConfig>, Error> {
    if bytes.is_empty() {
        return Ok(EntryPayload::Blank);
    }
    let payload =
        LogPayload::decode(bytes).map_err(|_| Error::Entry("its payload is malformed"))?;
    match (payload.batch, payload.members) {
        // As it came, so that whoever gets it from here gets the same bytes.
        (Some(_), None) => Ok(EntryPayload::Normal(Payload(bytes.into()))),
        (None, Some(members)) => Ok(EntryPayload::Membership(membership(members)?)),
        _ => Err(Error::Entry("its payload is neither a batch nor members")),
    }
}

/// A row of the store's log.
pub(crate) fn to_row(entry: &Entry) -> LogRow {
    let place = position(&entry.log_id);
    LogRow {
        index: place.index,
        term: place.term,
        leader: place.leader,
        payload: encode(&entry.payload),
    }
}

/// The reverse of [`to_row`].
///
/// # Errors
/// [`Error::Entry`] where it is malformed.
pub(crate) fn from_row(row: &LogRow) -> Result<Entry, Error> {
    Ok(Entry { log_id: log_id(&row.position()), payload: decode(&row.payload)? })
}

/// Where an entry stands, in the store's words.
pub(crate) fn position(id: &LogId) -> Position {
    Position { index: id.index, term: id.leader_id.term, leader: id.leader_id.node_id }
}

/// The reverse.
pub(crate) fn log_id(position: &Position) -> LogId {
    let leader = openraft::CommittedLeaderId::new(position.term, position.leader);
    LogId::new(leader, position.index)
}

/// Encodes the vote as the store keeps it.
pub(crate) fn encode_vote(vote: &Vote, fence: u64) -> Vec<u8> {
    StoredVote { vote: Some(convert::to_ballot(vote)), fence }.encode_to_vec()
}

/// The reverse of [`encode_vote`].
///
/// # Errors
/// [`Error::Entry`] where it is malformed.
pub(crate) fn decode_vote(bytes: &[u8]) -> Result<(Vote, u64), Error> {
    let stored = StoredVote::decode(bytes).map_err(|_| Error::Entry("the vote is malformed"))?;
    let vote = stored.vote.ok_or(Error::Entry("the vote is missing"))?;
    Ok((convert::from_ballot(&vote), stored.fence))
}

/// Encodes members as the store keeps them.
pub(crate) fn encode_stored(stored: &StoredMembership) -> Vec<u8> {
    StoredMembers {
        place: stored.log_id().as_ref().map(convert::to_place),
        members: Some(members(stored.membership())),
    }
    .encode_to_vec()
}

/// The reverse of [`encode_stored`].
///
/// # Errors
/// [`Error::Entry`] where they are malformed.
pub(crate) fn decode_stored(bytes: &[u8]) -> Result<StoredMembership, Error> {
    let stored =
        StoredMembers::decode(bytes).map_err(|_| Error::Entry("the members are malformed"))?;
    let members = stored.members.ok_or(Error::Entry("the members are missing"))?;
    Ok(StoredMembership::new(stored.place.as_ref().map(convert::from_place), membership(members)?))
}

/// A peer as a message.
pub(crate) fn to_member(node: u64, peer: &Peer) -> PeerMember {
    PeerMember {
        node,
        hsm_id: peer.hsm_id.clone(),
        address: peer.address.clone(),
        device_key: peer.device_key.to_vec(),
        witness: peer.witness,
        zone: peer.zone.clone(),
    }
}

/// The reverse of [`to_member`].
///
/// # Errors
/// [`Error::Entry`] where the hash of the device key is not one.
pub(crate) fn from_member(member: PeerMember) -> Result<(u64, Peer), Error> {
    let device_key = member
        .device_key
        .try_into()
        .map_err(|_| Error::Entry("a member's device key is not 32 bytes long"))?;
    let PeerMember { node, hsm_id, address, witness, zone, .. } = member;
    Ok((node, Peer { hsm_id, address, device_key, witness, zone }))
}

fn members(membership: &Membership) -> LogMembers {
    let voters = membership.get_joint_config().iter();
    LogMembers {
        voters: voters.map(|set| VoterSet { nodes: set.iter().copied().collect() }).collect(),
        members: membership.nodes().map(|(node, peer)| to_member(*node, peer)).collect(),
    }
}

fn membership(members: LogMembers) -> Result<Membership, Error> {
    if members.members.len() > MEMBERS_MAX || members.voters.len() > 2 {
        return Err(Error::Entry("it has too many members"));
    }
    let voters: Vec<BTreeSet<u64>> =
        members.voters.into_iter().map(|set| set.nodes.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, Peer> =
        members.members.into_iter().map(from_member).collect::<Result<_, _>>()?;
    if voters.iter().flatten().any(|voter| !nodes.contains_key(voter)) {
        return Err(Error::Entry("a voter is not a member"));
    }
    Ok(Membership::new(voters, nodes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(zone: &str) -> Peer {
        Peer {
            hsm_id: format!("hsm-{zone}"),
            address: "127.0.1.10:2225".to_owned(),
            device_key: [7; 32],
            witness: zone == "w",
            zone: zone.to_owned(),
        }
    }

    #[test]
    fn a_payload_is_read_as_it_was_written() {
        let sets = vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 3])];
        let nodes =
            BTreeMap::from([(1, peer("a")), (2, peer("b")), (3, peer("w")), (4, peer("d"))]);
        let membership = Membership::new(sets, nodes);
        let entries = vec![BatchEntry { node: 2, boot: 3, counter: 4, sealed: vec![5; 6] }];
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Membership(membership.clone()),
            EntryPayload::Normal(batch(entries)),
        ] {
            assert_eq!(decode(&encode(&payload)).unwrap(), payload);
        }
        let id = log_id(&Position { index: 9, term: 2, leader: 3 });
        let stored = StoredMembership::new(Some(id), membership);
        assert_eq!(decode_stored(&encode_stored(&stored)).unwrap(), stored);
        let vote = Vote::new_committed(7, 3);
        assert_eq!(decode_vote(&encode_vote(&vote, 2)).unwrap(), (vote, 2));
    }

    #[test]
    fn a_voter_that_is_no_member_is_refused() {
        let voters = vec![VoterSet { nodes: vec![1, 9] }];
        let members = vec![to_member(1, &peer("a"))];
        let payload = LogPayload { batch: None, members: Some(LogMembers { voters, members }) }
            .encode_to_vec();
        assert!(decode(&payload).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
            let _ = decode_stored(&bytes);
            let _ = decode_vote(&bytes);
        }
    }
}
