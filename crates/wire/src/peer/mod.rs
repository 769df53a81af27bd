//! Requests and replies of port 2225: between the HSMs of one cluster, and no one else.
//!
//! The connection is mutual TLS with device certificates, so each side knows who the other is; these
//! messages say nothing secret by themselves, since the log's entries and the snapshot's chunks are
//! sealed before they get here. A witness handles all of them without the cluster's keys.
//!
//! [`PeerRequest::parse`] and [`PeerReply::parse`] are the only ways in: what they give is within
//! [`crate::limits`].

mod membership;
mod snapshot;

use prost::{Message, Oneof};

use crate::frame::FrameError;
use crate::limits::{
    LOG_PAYLOAD_BYTES_MAX, MEMBERS_MAX, PEER_ENTRIES_MAX, PEER_FRAME_BYTES_MAX,
    PEER_TEXT_BYTES_MAX, SEALED_SECRETS_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX,
};

pub use membership::*;
pub use snapshot::*;

/// What one HSM asks another.
#[derive(Clone, PartialEq, Message)]
pub struct PeerRequest {
    /// The sender's fence: how often the cluster was recovered. A lower one than the receiver's is
    /// answered with [`Fenced`].
    #[prost(uint64, tag = "1")]
    pub fence: u64,
    /// The sender's node number; 0 where it has none yet.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// For which node it is meant. Another one does not answer: an address may have a new tenant.
    #[prost(uint64, tag = "3")]
    pub to: u64,
    /// What is asked.
    #[prost(
        oneof = "PeerOperation",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23"
    )]
    pub operation: Option<PeerOperation>,
}

/// What one HSM can ask another.
#[derive(Clone, PartialEq, Oneof)]
pub enum PeerOperation {
    /// Entries of the log, or a heartbeat: from the leader.
    #[prost(message, tag = "10")]
    Append(Append),
    /// Vote for me.
    #[prost(message, tag = "11")]
    Vote(RequestVote),
    /// Would you vote for me?
    #[prost(message, tag = "12")]
    PreVote(PreVote),
    /// What have you seen of me?
    #[prost(message, tag = "13")]
    Seen(Seen),
    /// Propose these for me: to the leader.
    #[prost(message, tag = "14")]
    Forward(Forward),
    /// How far is the log committed, surely? To the leader.
    #[prost(message, tag = "15")]
    ReadIndex(ReadIndex),
    /// A snapshot follows: from the leader.
    #[prost(message, tag = "16")]
    SnapshotBegin(SnapshotBegin),
    /// A piece of it.
    #[prost(message, tag = "17")]
    SnapshotChunk(SnapshotChunk),
    /// That was all: install it.
    #[prost(message, tag = "18")]
    SnapshotEnd(SnapshotEnd),
    /// Stand for election now: from a leader that gives up its place.
    #[prost(message, tag = "19")]
    Stand(Stand),
    /// Let me join, or what became of my asking.
    #[prost(message, tag = "20")]
    Welcome(Welcome),
    /// Leave the cluster: from a member whose provisioner says so.
    #[prost(message, tag = "21")]
    Leave(Leave),
    /// How far have you come? Before a recovery, from another survivor.
    #[prost(message, tag = "22")]
    Survey(Survey),
    /// I have lost what I had: let me begin again under another number.
    #[prost(message, tag = "23")]
    Rejoin(Rejoin),
}

/// Answer to a [`PeerRequest`].
#[derive(Clone, PartialEq, Message)]
pub struct PeerReply {
    /// The receiver's fence.
    #[prost(uint64, tag = "1")]
    pub fence: u64,
    /// The receiver's clock, in milliseconds since 1970; 0 where it does not say.
    #[prost(uint64, tag = "2")]
    pub clock_ms: u64,
    /// What came of it.
    #[prost(
        oneof = "PeerResult",
        tags = "9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24"
    )]
    pub result: Option<PeerResult>,
}

/// What comes of a [`PeerOperation`].
#[derive(Clone, PartialEq, Oneof)]
pub enum PeerResult {
    /// Not done.
    #[prost(message, tag = "9")]
    Refused(PeerRefusal),
    /// Of [`Append`].
    #[prost(message, tag = "10")]
    Append(AppendReply),
    /// Of [`RequestVote`].
    #[prost(message, tag = "11")]
    Vote(VoteReply),
    /// Of [`PreVote`].
    #[prost(message, tag = "12")]
    PreVote(PreVoteReply),
    /// Of [`Seen`].
    #[prost(message, tag = "13")]
    Seen(SeenReply),
    /// Of [`Forward`].
    #[prost(message, tag = "14")]
    Forward(ForwardReply),
    /// Of [`ReadIndex`].
    #[prost(message, tag = "15")]
    ReadIndex(ReadIndexReply),
    /// Of [`SnapshotBegin`] and [`SnapshotChunk`]: go on.
    #[prost(message, tag = "16")]
    Received(Received),
    /// Of [`SnapshotEnd`].
    #[prost(message, tag = "17")]
    Installed(Installed),
    /// Of [`Stand`].
    #[prost(message, tag = "18")]
    Standing(Standing),
    /// The sender's fence is too low: it is of a majority that was given up.
    #[prost(message, tag = "19")]
    Fenced(Fenced),
    /// Of [`Welcome`].
    #[prost(message, tag = "20")]
    Welcome(WelcomeReply),
    /// Of [`Leave`].
    #[prost(message, tag = "21")]
    Leave(LeaveReply),
    /// Of [`Survey`].
    #[prost(message, tag = "22")]
    Survey(SurveyReply),
    /// Of [`Rejoin`].
    #[prost(message, tag = "23")]
    Rejoin(RejoinReply),
    /// Of anything, to an HSM that was a member: it was removed.
    #[prost(message, tag = "24")]
    Removed(Removed),
}

/// Why a request was not done.
#[derive(Clone, PartialEq, Message)]
pub struct PeerRefusal {
    /// In words, for a log.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Ask this node instead: the leader. 0: not known.
    #[prost(uint64, tag = "2")]
    pub leader: u64,
}

/// A Raft log id.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Place {
    /// The term of the leader that made the entry.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// That leader.
    #[prost(uint64, tag = "2")]
    pub leader: u64,
    /// The entry's Raft index.
    #[prost(uint64, tag = "3")]
    pub index: u64,
}

/// A Raft vote.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Ballot {
    /// Term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Who is voted for.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// Whether a majority granted it: it is a leader's.
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

/// One Raft entry.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct LogEntry {
    /// Its place.
    #[prost(message, optional, tag = "1")]
    pub place: Option<Place>,
    /// As in the log: `docs/spec/log.md`, section "The replicated log".
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogEntry")
            .field("place", &self.place)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

/// Entries of the log; without any, a heartbeat.
#[derive(Clone, PartialEq, Message)]
pub struct Append {
    /// The leader's.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Ballot>,
    /// The entry before the first of these.
    #[prost(message, optional, tag = "2")]
    pub previous: Option<Place>,
    /// In order, without a gap.
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<LogEntry>,
    /// The last entry that the leader knows to be committed.
    #[prost(message, optional, tag = "4")]
    pub committed: Option<Place>,
    /// The last entry that the leader's own disk has. It counts in the majority as an acknowledgement
    /// does, so the others remember it as one.
    #[prost(message, optional, tag = "5")]
    pub kept: Option<Place>,
    /// How long ago the leader was last in touch with a majority, in milliseconds. Whoever hears no
    /// other leader has been cut off for as long as this one has.
    #[prost(uint64, tag = "6")]
    pub silence_ms: u64,
}

/// Answer to [`Append`].
#[derive(Clone, PartialEq, Message)]
pub struct AppendReply {
    /// Set: the receiver knows a newer vote, and has taken nothing.
    #[prost(message, optional, tag = "1")]
    pub higher: Option<Ballot>,
    /// The receiver has another entry, or none, where `previous` is.
    #[prost(bool, tag = "2")]
    pub conflict: bool,
}

/// A candidate's request.
#[derive(Clone, PartialEq, Message)]
pub struct RequestVote {
    /// For whom, in which term.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Ballot>,
    /// The candidate's last entry.
    #[prost(message, optional, tag = "2")]
    pub last: Option<Place>,
}

/// Answer to [`RequestVote`].
#[derive(Clone, PartialEq, Message)]
pub struct VoteReply {
    /// The receiver's vote after this.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Ballot>,
    /// Whether it is for the candidate.
    #[prost(bool, tag = "2")]
    pub granted: bool,
    /// The receiver's last entry.
    #[prost(message, optional, tag = "3")]
    pub last: Option<Place>,
}

/// Asked before a term is used up by an election that nobody needs.
#[derive(Clone, PartialEq, Message)]
pub struct PreVote {
    /// The term that the candidate would stand in.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The candidate's last entry.
    #[prost(message, optional, tag = "2")]
    pub last: Option<Place>,
}

/// Answer to [`PreVote`].
#[derive(Clone, PartialEq, Message)]
pub struct PreVoteReply {
    /// Whether the receiver would vote for it.
    #[prost(bool, tag = "1")]
    pub granted: bool,
    /// The receiver's term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The receiver's last entry.
    #[prost(message, optional, tag = "3")]
    pub last: Option<Place>,
}

/// Asked by a node that has started, before it votes; and by one that hears no leader.
#[derive(Clone, PartialEq, Message)]
pub struct Seen {
    /// The number of the sender's start.
    #[prost(uint64, tag = "1")]
    pub boot: u64,
    /// The sender's last entry.
    #[prost(message, optional, tag = "2")]
    pub last: Option<Place>,
    /// The sender's vote.
    #[prost(message, optional, tag = "3")]
    pub vote: Option<Ballot>,
}

/// Answer to [`Seen`]: what the receiver remembers of the sender.
#[derive(Clone, PartialEq, Message)]
pub struct SeenReply {
    /// The newest number of a start.
    #[prost(uint64, tag = "1")]
    pub boot: u64,
    /// The newest vote that it gave or asked for.
    #[prost(message, optional, tag = "2")]
    pub vote: Option<Ballot>,
    /// The last entry that it acknowledged.
    #[prost(message, optional, tag = "3")]
    pub acknowledged: Option<Place>,
    /// The receiver's leader; 0: none.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    /// Where the receiver's membership stands in the log.
    #[prost(message, optional, tag = "5")]
    pub membership: Option<Place>,
    /// The members as the receiver knows them.
    #[prost(message, repeated, tag = "6")]
    pub members: Vec<PeerMember>,
    /// The term of the leader to whom it acknowledged that. A leader of a later term may have had it take
    /// the entry back. 0: not known.
    #[prost(uint64, tag = "7")]
    pub acknowledged_term: u64,
}

/// A node of the Raft membership.
#[derive(Clone, PartialEq, Message)]
pub struct PeerMember {
    /// Node number.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// `hsm-…`.
    #[prost(string, tag = "2")]
    pub hsm_id: String,
    /// IP address and port of its 2225.
    #[prost(string, tag = "3")]
    pub address: String,
    /// SHA-256 of its device key's SPKI.
    #[prost(bytes = "vec", tag = "4")]
    pub device_key: Vec<u8>,
    /// Whether it votes without the cluster's secrets.
    #[prost(bool, tag = "5")]
    pub witness: bool,
    /// Availability zone; may be empty.
    #[prost(string, tag = "6")]
    pub zone: String,
}

/// Proposals of a follower's engine, sealed by it.
#[derive(Clone, PartialEq, Message)]
pub struct Forward {
    /// In the order in which they should be proposed.
    #[prost(message, repeated, tag = "1")]
    pub proposals: Vec<ForwardedProposal>,
}

/// One proposal.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct ForwardedProposal {
    /// The proposer's count; with the sender's node and boot it names the proposal.
    #[prost(uint64, tag = "1")]
    pub counter: u64,
    /// The proposer's start.
    #[prost(uint64, tag = "2")]
    pub boot: u64,
    /// The entry, sealed by the proposer under the cluster's log key. The leader opens it, stamps the
    /// time and seals it anew.
    #[prost(bytes = "vec", tag = "3")]
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for ForwardedProposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardedProposal")
            .field("counter", &self.counter)
            .field("sealed_bytes", &self.sealed.len())
            .finish()
    }
}

/// Answer to [`Forward`]: the leader has queued them. What comes of them shows in the log.
#[derive(Clone, PartialEq, Message)]
pub struct ForwardReply {}

/// Asked for a read that must not be stale.
#[derive(Clone, PartialEq, Message)]
pub struct ReadIndex {}

/// Answer to [`ReadIndex`].
#[derive(Clone, PartialEq, Message)]
pub struct ReadIndexReply {
    /// Everything acknowledged before the question stands up to here; `None`: nothing was.
    #[prost(message, optional, tag = "1")]
    pub place: Option<Place>,
}

/// Which kept connection a request goes over: a snapshot must not stand in a heartbeat's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Heartbeats, entries, votes.
    Raft,
    /// Proposals and reads of other members' clients.
    Forward,
    /// Snapshots.
    Snapshot,
    /// Joining and leaving.
    Membership,
}

impl PeerRequest {
    /// Decodes a request and checks its lengths.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] or [`FrameError::TooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        within(bytes.len(), PEER_FRAME_BYTES_MAX)?;
        let request = Self::decode(bytes)?;
        request.check()?;
        Ok(request)
    }

    /// Over which connection it goes.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        match &self.operation {
            Some(
                PeerOperation::SnapshotBegin(_)
                | PeerOperation::SnapshotChunk(_)
                | PeerOperation::SnapshotEnd(_),
            ) => Purpose::Snapshot,
            Some(PeerOperation::Forward(_) | PeerOperation::ReadIndex(_)) => Purpose::Forward,
            Some(
                PeerOperation::Welcome(_)
                | PeerOperation::Leave(_)
                | PeerOperation::Survey(_)
                | PeerOperation::Rejoin(_),
            ) => Purpose::Membership,
            Some(
                PeerOperation::Append(_)
                | PeerOperation::Vote(_)
                | PeerOperation::PreVote(_)
                | PeerOperation::Seen(_)
                | PeerOperation::Stand(_),
            )
            | None => Purpose::Raft,
        }
    }

    fn check(&self) -> Result<(), FrameError> {
        match &self.operation {
            Some(PeerOperation::Append(append)) => {
                within(append.entries.len(), PEER_ENTRIES_MAX)?;
                for entry in &append.entries {
                    within(entry.payload.len(), LOG_PAYLOAD_BYTES_MAX)?;
                }
                Ok(())
            }
            Some(PeerOperation::Forward(forward)) => {
                within(forward.proposals.len(), PEER_ENTRIES_MAX)
            }
            Some(PeerOperation::SnapshotBegin(begin)) => {
                within(begin.id.len(), PEER_TEXT_BYTES_MAX)?;
                within(begin.secrets.len(), SEALED_SECRETS_BYTES_MAX)?;
                let copies = begin.copies.as_ref().map_or(&[][..], |all| &all.copies);
                within(copies.len(), MEMBERS_MAX)?;
                for copy in copies {
                    within(copy.secrets.len(), SEALED_SECRETS_BYTES_MAX)?;
                }
                within(begin.membership.len(), LOG_PAYLOAD_BYTES_MAX)
            }
            Some(PeerOperation::SnapshotChunk(chunk)) => {
                within(chunk.id.len(), PEER_TEXT_BYTES_MAX)?;
                within(chunk.sealed.len(), SNAPSHOT_CHUNK_BYTES_MAX)
            }
            Some(PeerOperation::SnapshotEnd(end)) => within(end.id.len(), PEER_TEXT_BYTES_MAX),
            Some(
                PeerOperation::Vote(_)
                | PeerOperation::PreVote(_)
                | PeerOperation::Seen(_)
                | PeerOperation::ReadIndex(_)
                | PeerOperation::Stand(_)
                | PeerOperation::Welcome(_)
                | PeerOperation::Leave(_)
                | PeerOperation::Survey(_)
                | PeerOperation::Rejoin(_),
            )
            | None => Ok(()),
        }
    }
}

impl PeerReply {
    /// Decodes a reply and checks its lengths.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] or [`FrameError::TooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        within(bytes.len(), PEER_FRAME_BYTES_MAX)?;
        let reply = Self::decode(bytes)?;
        match &reply.result {
            Some(PeerResult::Refused(refused)) => {
                within(refused.reason.len(), PEER_TEXT_BYTES_MAX)?;
            }
            Some(
                PeerResult::Seen(SeenReply { members, .. })
                | PeerResult::Rejoin(RejoinReply { members, .. }),
            ) => {
                within(members.len(), MEMBERS_MAX)?;
                for member in members {
                    member.check()?;
                }
            }
            _ => {}
        }
        Ok(reply)
    }
}

impl PeerMember {
    fn check(&self) -> Result<(), FrameError> {
        within(self.hsm_id.len(), PEER_TEXT_BYTES_MAX)?;
        within(self.address.len(), PEER_TEXT_BYTES_MAX)?;
        within(self.zone.len(), PEER_TEXT_BYTES_MAX)?;
        within(self.device_key.len(), 32)
    }
}

fn within(bytes: usize, limit: usize) -> Result<(), FrameError> {
    if bytes > limit { Err(FrameError::TooLong { bytes, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operation: PeerOperation) -> PeerRequest {
        PeerRequest { fence: 1, from: 2, to: 3, operation: Some(operation) }
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let entry =
            LogEntry { place: Some(Place { term: 4, leader: 2, index: 9 }), payload: vec![7] };
        let append = Append { entries: vec![entry], ..Append::default() };
        let sent = request(PeerOperation::Append(append));
        assert_eq!(PeerRequest::parse(&sent.encode_to_vec()).unwrap(), sent);
        assert_eq!(sent.purpose(), Purpose::Raft);
    }

    #[test]
    fn what_is_over_a_limit_is_refused() {
        let entries = vec![LogEntry::default(); PEER_ENTRIES_MAX + 1];
        let long = request(PeerOperation::Append(Append { entries, ..Append::default() }));
        assert!(matches!(
            PeerRequest::parse(&long.encode_to_vec()),
            Err(FrameError::TooLong { limit: PEER_ENTRIES_MAX, .. })
        ));
        let members = vec![PeerMember::default(); MEMBERS_MAX + 1];
        let result = Some(PeerResult::Seen(SeenReply { members, ..SeenReply::default() }));
        let reply = PeerReply { result, ..PeerReply::default() };
        assert!(PeerReply::parse(&reply.encode_to_vec()).is_err());
        assert!(PeerRequest::parse(&[0xff; 20]).is_err());
    }

    #[test]
    fn a_log_never_shows_what_a_message_carries() {
        let payload = b"sealed all the same".to_vec();
        let shown = format!("{:?}", LogEntry { place: None, payload });
        assert_eq!(shown, "LogEntry { place: None, payload_bytes: 19 }");
    }
}
