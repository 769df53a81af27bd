//! The first message each way on a connection of port 2225: who speaks, and about what.
//!
//! One connection carries one [`Lane`], so that a snapshot under way delays no heartbeat. The caller
//! greets, the other answers with a greeting of its own, and then requests and replies follow, as
//! [`crate::peer`] has them, in order.

use prost::{Enumeration, Message};

use crate::frame::FrameError;
use crate::limits::{PEER_FRAME_BYTES_MAX, PEER_SMALL_FRAME_BYTES_MAX, PEER_TEXT_BYTES_MAX};
use crate::peer::{PeerOperation, PeerRequest, Purpose};

/// Who speaks, and about what.
#[derive(Clone, PartialEq, Message)]
pub struct Greeting {
    /// The oldest message set that the speaker knows; see [`crate::negotiate`].
    #[prost(uint32, tag = "1")]
    pub api_level_min: u32,
    /// The newest.
    #[prost(uint32, tag = "2")]
    pub api_level_max: u32,
    /// The running binary's version.
    #[prost(string, tag = "3")]
    pub version: String,
    /// What this connection carries; the caller says.
    #[prost(enumeration = "Lane", tag = "4")]
    pub lane: i32,
}

/// What one connection between two HSMs carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Lane {
    /// Heartbeats and votes.
    Raft = 0,
    /// Entries of the log.
    Append = 1,
    /// Proposals and reads of other members' clients.
    Forward = 2,
    /// Snapshots.
    Snapshot = 3,
    /// Joining, leaving, standing for election.
    Membership = 4,
}

impl Lane {
    /// Over which connection a request goes.
    #[must_use]
    pub fn of(request: &PeerRequest) -> Self {
        match (request.purpose(), &request.operation) {
            (Purpose::Raft, Some(PeerOperation::Append(append))) if !append.entries.is_empty() => {
                Self::Append
            }
            (Purpose::Raft, _) => Self::Raft,
            (Purpose::Forward, _) => Self::Forward,
            (Purpose::Snapshot, _) => Self::Snapshot,
            (Purpose::Membership, _) => Self::Membership,
        }
    }

    /// A request's or reply's longest frame.
    #[must_use]
    pub fn frame_bytes_max(self) -> usize {
        match self {
            Self::Raft | Self::Membership => PEER_SMALL_FRAME_BYTES_MAX,
            Self::Append | Self::Forward | Self::Snapshot => PEER_FRAME_BYTES_MAX,
        }
    }

    /// Requests that one side may have sent before it has a reply to the first.
    #[must_use]
    pub fn requests_max(self) -> usize {
        match self {
            // These can be large.
            Self::Append | Self::Snapshot => 4,
            Self::Forward => 16,
            Self::Raft | Self::Membership => 64,
        }
    }
}

impl Greeting {
    /// This build's.
    #[must_use]
    pub fn new(version: &str, lane: Lane) -> Self {
        Self {
            api_level_min: crate::API_LEVEL_MIN,
            api_level_max: crate::API_LEVEL_MAX,
            version: version.to_owned(),
            lane: lane.into(),
        }
    }

    /// Decodes a greeting and checks its lengths.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] or [`FrameError::TooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let greeting = Self::decode(bytes)?;
        if greeting.version.len() > PEER_TEXT_BYTES_MAX {
            let bytes = greeting.version.len();
            return Err(FrameError::TooLong { bytes, limit: PEER_TEXT_BYTES_MAX });
        }
        Ok(greeting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Append, LogEntry};

    #[test]
    fn a_heartbeat_does_not_wait_behind_entries() {
        let with = |entries| PeerRequest {
            operation: Some(PeerOperation::Append(Append { entries, ..Append::default() })),
            ..PeerRequest::default()
        };
        assert_eq!(Lane::of(&with(vec![])), Lane::Raft);
        assert_eq!(Lane::of(&with(vec![LogEntry::default()])), Lane::Append);
    }

    #[test]
    fn a_greeting_is_read_as_it_was_written() {
        let sent = Greeting::new("1.2.3", Lane::Snapshot);
        let read = Greeting::parse(&sent.encode_to_vec()).unwrap();
        assert_eq!(read, sent);
        assert_eq!(read.lane(), Lane::Snapshot);
        let long = Greeting { version: "x".repeat(PEER_TEXT_BYTES_MAX + 1), ..sent };
        assert!(Greeting::parse(&long.encode_to_vec()).is_err());
    }
}
