//! openraft's messages as [`strongroom_wire::peer`]'s, and back. What a peer sends is checked here:
//! openraft takes for granted that entries are in order.

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use strongroom_wire::peer::{Append, AppendReply, Ballot, LogEntry, Place, RequestVote, VoteReply};

use crate::raft::{Entry, LogId, TypeConfig, Vote};
use crate::{Error, payload};

pub(crate) fn to_place(id: &LogId) -> Place {
    Place { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

pub(crate) fn from_place(place: &Place) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(place.term, place.leader), place.index)
}

pub(crate) fn to_ballot(vote: &Vote) -> Ballot {
    Ballot { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn from_ballot(ballot: &Ballot) -> Vote {
    if ballot.committed {
        Vote::new_committed(ballot.term, ballot.node)
    } else {
        Vote::new(ballot.term, ballot.node)
    }
}

pub(crate) fn to_append(
    request: AppendEntriesRequest<TypeConfig>,
    kept: Option<LogId>,
    silence_ms: u64,
) -> Append {
    Append {
        vote: Some(to_ballot(&request.vote)),
        previous: request.prev_log_id.as_ref().map(to_place),
        entries: request
            .entries
            .iter()
            .map(|entry| LogEntry {
                place: Some(to_place(&entry.log_id)),
                payload: payload::encode(&entry.payload),
            })
            .collect(),
        committed: request.leader_commit.as_ref().map(to_place),
        kept: kept.as_ref().map(to_place),
        silence_ms,
    }
}

/// # Errors
/// [`Error::Peer`] where something is missing, malformed or out of order.
pub(crate) fn from_append(append: Append) -> Result<AppendEntriesRequest<TypeConfig>, Error> {
    let vote = append.vote.as_ref().map(from_ballot).ok_or(Error::Peer("no vote"))?;
    let prev_log_id = append.previous.as_ref().map(from_place);
    let mut next = prev_log_id.as_ref().map_or(Some(0), |id| id.index.checked_add(1));
    let mut entries = Vec::with_capacity(append.entries.len());
    for entry in append.entries {
        let log_id = entry.place.as_ref().map(from_place).ok_or(Error::Peer("no place"))?;
        if Some(log_id.index) != next {
            return Err(Error::Peer("entries out of order"));
        }
        next = log_id.index.checked_add(1);
        entries.push(Entry { log_id, payload: payload::decode(&entry.payload)? });
    }
    let leader_commit = append.committed.as_ref().map(from_place);
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

pub(crate) fn to_append_reply(response: &AppendEntriesResponse<u64>) -> AppendReply {
    match response {
        AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => {
            AppendReply::default()
        }
        AppendEntriesResponse::Conflict => AppendReply { higher: None, conflict: true },
        AppendEntriesResponse::HigherVote(vote) => {
            AppendReply { higher: Some(to_ballot(vote)), conflict: false }
        }
    }
}

pub(crate) fn from_append_reply(reply: &AppendReply) -> AppendEntriesResponse<u64> {
    match (&reply.higher, reply.conflict) {
        (Some(vote), _) => AppendEntriesResponse::HigherVote(from_ballot(vote)),
        (None, true) => AppendEntriesResponse::Conflict,
        (None, false) => AppendEntriesResponse::Success,
    }
}

pub(crate) fn to_request_vote(request: &VoteRequest<u64>) -> RequestVote {
    RequestVote {
        vote: Some(to_ballot(&request.vote)),
        last: request.last_log_id.as_ref().map(to_place),
    }
}

/// # Errors
/// [`Error::Peer`] where the vote is missing.
pub(crate) fn from_request_vote(request: &RequestVote) -> Result<VoteRequest<u64>, Error> {
    let vote = request.vote.as_ref().map(from_ballot).ok_or(Error::Peer("no vote"))?;
    Ok(VoteRequest::new(vote, request.last.as_ref().map(from_place)))
}

pub(crate) fn to_vote_reply(response: &VoteResponse<u64>) -> VoteReply {
    VoteReply {
        vote: Some(to_ballot(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(to_place),
    }
}

/// # Errors
/// [`Error::Peer`] where the vote is missing.
pub(crate) fn from_vote_reply(reply: &VoteReply) -> Result<VoteResponse<u64>, Error> {
    let vote = reply.vote.as_ref().map(from_ballot).ok_or(Error::Peer("no vote"))?;
    Ok(VoteResponse::new(vote, reply.last.as_ref().map(from_place), reply.granted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> LogEntry {
        LogEntry { place: Some(Place { term: 2, leader: 1, index }), payload: Vec::new() }
    }

    fn append(entries: Vec<LogEntry>) -> Append {
        Append {
            vote: Some(Ballot { term: 2, node: 1, committed: true }),
            previous: Some(Place { term: 1, leader: 1, index: 4 }),
            entries,
            committed: None,
            kept: None,
            silence_ms: 7,
        }
    }

    #[test]
    fn entries_in_order_are_taken_and_others_refused() {
        let sent = append(vec![entry(5), entry(6)]);
        assert_eq!(to_append(from_append(sent.clone()).unwrap(), None, 7), sent);
        for entries in [vec![entry(6)], vec![entry(5), entry(7)], vec![LogEntry::default()]] {
            assert!(from_append(append(entries)).is_err());
        }
        assert!(from_append(Append { vote: None, ..append(Vec::new()) }).is_err());
    }
}
