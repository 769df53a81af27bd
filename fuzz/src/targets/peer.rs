//! What HSMs send one another on port 2225.

use prost::Message as _;
use strongroom_cluster::fuzzing;
use strongroom_wire::peer::{
    PeerOperation, PeerReply, PeerRequest, PeerResult, PreVote, Seen, SeenReply, SnapshotChunk,
    VoteReply,
};

use super::wire::stable;

/// A request, and what an append says.
pub(super) fn request(data: &[u8]) -> bool {
    let Ok(request) = PeerRequest::parse(data) else { return false };
    assert!(stable::<PeerRequest>(data));
    match request.operation {
        Some(PeerOperation::Append(append)) => fuzzing::append(append),
        Some(_) => true,
        None => false,
    }
}

/// A reply.
pub(super) fn reply(data: &[u8]) -> bool {
    PeerReply::parse(data).is_ok() && stable::<PeerReply>(data)
}

/// A Raft entry's payload.
pub(super) fn payload(data: &[u8]) -> bool {
    fuzzing::payload(data)
}

pub(super) fn request_seeds() -> Vec<Vec<u8>> {
    let chunk = SnapshotChunk { id: "T1-N1-5".to_owned(), number: 3, sealed: vec![1; 9] };
    [
        PeerOperation::Append(fuzzing::appends()),
        PeerOperation::PreVote(PreVote { term: 3, last: None }),
        PeerOperation::Seen(Seen { boot: 2, last: None, vote: None }),
        PeerOperation::SnapshotChunk(chunk),
    ]
    .into_iter()
    .map(|operation| PeerRequest { fence: 1, from: 2, to: 3, operation: Some(operation) })
    .map(|request| request.encode_to_vec())
    .collect()
}

pub(super) fn reply_seeds() -> Vec<Vec<u8>> {
    [PeerResult::Vote(VoteReply::default()), PeerResult::Seen(SeenReply::default())]
        .into_iter()
        .map(|result| PeerReply { fence: 1, clock_ms: 2, result: Some(result) }.encode_to_vec())
        .collect()
}

pub(super) fn payload_seeds() -> Vec<Vec<u8>> {
    fuzzing::payloads()
}
