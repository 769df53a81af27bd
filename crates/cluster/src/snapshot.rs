//! Snapshots on their way: read from the disk, sealed chunk by chunk under the cluster's log key, kept as
//! they come until all are there, then opened and installed. Specified in `docs/spec/log.md`, section
//! "Snapshots".

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use strongroom_crypto::SecretBytes;
use strongroom_store::{Position, Secrets};
use strongroom_wire::peer::{
    Installed, PeerOperation, PeerResult, Received, SecretsCopies, SecretsCopy, SnapshotBegin,
    SnapshotChunk, SnapshotEnd,
};
use zeroize::Zeroizing;

use crate::convert::{from_ballot, from_place, to_ballot, to_place};
use crate::disk::{Chunks, SnapshotSource, Spool};
use crate::raft::{LogId, SnapshotMeta, StoredMembership, TypeConfig, Vote};
use crate::shared::Shared;
use crate::storage::{Incoming, PlainChunks};
use crate::{Error, Peer, payload, sealing};

/// One message's answer. A chunk goes over a network that may be slow.
const CHUNK_ANSWER: Duration = Duration::from_secs(30);
/// The receiver installs all of it before it answers the last message.
const INSTALL_ANSWER: Duration = Duration::from_secs(20 * 60);

/// A snapshot as openraft holds it.
pub(crate) enum SnapshotData {
    /// Nothing: the disk has it.
    Marker,
    /// To be sent; a witness's with what each HSM opens it with.
    Source(Chunks, Vec<u8>),
    /// Received, and still sealed.
    Received(Inbox),
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Marker => "marker",
            Self::Source(..) => "source",
            Self::Received(_) => "received",
        })
    }
}

/// A snapshot's name: where it stands.
pub(crate) fn name(last: Option<&LogId>) -> String {
    last.map_or_else(|| "empty".to_owned(), |id| format!("{}-{}", id.leader_id, id.index))
}

/// What the disk has, for openraft.
pub(crate) fn of_source(source: SnapshotSource) -> Result<openraft::Snapshot<TypeConfig>, Error> {
    let last = payload::log_id(&source.position);
    let last_membership = payload::decode_stored(&source.members)?;
    let meta =
        SnapshotMeta { last_log_id: Some(last), last_membership, snapshot_id: name(Some(&last)) };
    Ok(openraft::Snapshot {
        meta,
        snapshot: Box::new(SnapshotData::Source(source.chunks, source.secrets)),
    })
}

/// Sends a snapshot; the receiver's vote when it has installed it.
pub(crate) async fn send(
    shared: &Shared,
    to: u64,
    peer: &Peer,
    vote: Vote,
    snapshot: openraft::Snapshot<TypeConfig>,
) -> Result<Vote, Error> {
    let id = snapshot.meta.snapshot_id;
    let SnapshotData::Source(chunks, secrets) = *snapshot.snapshot else {
        return Err(Error::Options("a snapshot that is not one"));
    };
    let stored = &snapshot.meta.last_membership;
    let copies = copies(shared, &secrets)?;
    let own = copies.copies.iter().find(|copy| copy.node == to).cloned().unwrap_or_default();
    let begin = SnapshotBegin {
        secrets_epoch: own.secrets_epoch,
        secrets: own.secrets,
        copies: peer.witness.then_some(copies),
        vote: Some(to_ballot(&vote)),
        last: snapshot.meta.last_log_id.as_ref().map(to_place),
        membership_place: stored.log_id().as_ref().map(to_place),
        membership: payload::encode_membership(stored.membership()),
        id: id.clone(),
    };
    ask(shared, to, peer, PeerOperation::SnapshotBegin(begin), CHUNK_ANSWER).await?;
    let chunks = sealed(shared, &id, chunks)?;
    let mut number = 0;
    for sealed in chunks {
        let sealed = sealed.inspect_err(|error| {
            if let Error::Store(error @ strongroom_store::Error::Tampered { .. }) = error {
                shared.damaged(&error.to_string());
            }
        });
        let chunk = SnapshotChunk { id: id.clone(), number, sealed: sealed? };
        ask(shared, to, peer, PeerOperation::SnapshotChunk(chunk), CHUNK_ANSWER).await?;
        number += 1;
    }
    let end = PeerOperation::SnapshotEnd(SnapshotEnd { id: id.clone(), chunks: number });
    match ask(shared, to, peer, end, INSTALL_ANSWER).await? {
        PeerResult::Installed(Installed { vote: Some(vote) }) => Ok(from_ballot(&vote)),
        _ => Err(Error::Peer("another answer than to a snapshot")),
    }
}

/// The newest secrets as they were sealed to each HSM: out of the state, or where this is a witness, out
/// of what it was given with the snapshot.
fn copies(shared: &Shared, kept: &[u8]) -> Result<SecretsCopies, Error> {
    if shared.keys.is_none() {
        return SecretsCopies::decode(kept).map_err(|_| Error::Entry("copies of secrets"));
    }
    let state = shared.state.read();
    let copies = state.members().filter_map(|member| {
        let (secrets_epoch, secrets) = state.rotations(member.node, 0).last()?;
        Some(SecretsCopy { node: member.node.0, secrets_epoch, secrets: secrets.to_vec() })
    });
    Ok(SecretsCopies { copies: copies.collect() })
}

/// Chunks as they leave.
type Leaving<'a> = Box<dyn Iterator<Item = Result<Vec<u8>, Error>> + Send + 'a>;

fn sealed<'a>(shared: &'a Shared, id: &'a str, chunks: Chunks) -> Result<Leaving<'a>, Error> {
    let plain = match chunks {
        Chunks::Sealed(chunks) => return Ok(Box::new(chunks.map(|chunk| Ok(chunk?)))),
        Chunks::Plain(chunks) => chunks,
    };
    let keys = shared.keys.as_ref().ok_or(Error::Options("a witness reads no snapshot"))?;
    Ok(Box::new((0_u64..).zip(plain).map(move |(number, chunk)| {
        keys.seal(&Zeroizing::new(labelled(id, number, chunk?.as_bytes())))
    })))
}

async fn ask(
    shared: &Shared,
    to: u64,
    peer: &Peer,
    operation: PeerOperation,
    patience: Duration,
) -> Result<PeerResult, Error> {
    match shared.call(to, peer, operation, patience).await {
        Ok(result @ (PeerResult::Received(Received {}) | PeerResult::Installed(_))) => Ok(result),
        Ok(_) => Err(Error::Peer("another answer than to a snapshot")),
        Err(error) => Err(Error::Transport(error)),
    }
}

/// What is sealed: which snapshot's which part, then the part. So no chunk passes for another.
fn labelled(id: &str, number: u64, part: &[u8]) -> Vec<u8> {
    let length = u32::try_from(id.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], id.as_bytes(), &number.to_be_bytes(), part].concat()
}

fn unlabelled(
    secrets: &Secrets,
    id: &str,
    number: u64,
    sealed: &[u8],
) -> Result<SecretBytes, Error> {
    let plaintext = sealing::open(&secrets.cluster()?.log, sealed)?;
    let part = plaintext.as_bytes().strip_prefix(&labelled(id, number, &[])[..]);
    part.map(SecretBytes::copied).ok_or(Error::Entry("a snapshot's chunk stands elsewhere"))
}

/// A snapshot that comes in.
pub(crate) struct Inbox {
    id: String,
    vote: Vote,
    position: Position,
    members: StoredMembership,
    copies: SecretsCopies,
    spool: Spool,
    chunks: u64,
}

impl Inbox {
    /// # Errors
    /// Where something is missing or malformed.
    pub(crate) fn open(begin: SnapshotBegin, spool: Spool) -> Result<Self, Error> {
        let vote = begin.vote.as_ref().map(from_ballot).ok_or(Error::Peer("no vote"))?;
        let last = begin.last.as_ref().map(from_place).ok_or(Error::Peer("no place"))?;
        let openraft::EntryPayload::Membership(membership) = payload::decode(&begin.membership)?
        else {
            return Err(Error::Peer("no members"));
        };
        let place = begin.membership_place.as_ref().map(from_place);
        Ok(Self {
            id: begin.id,
            vote,
            position: payload::position(&last),
            members: StoredMembership::new(place, membership),
            copies: begin.copies.unwrap_or_default(),
            spool,
            chunks: 0,
        })
    }

    /// # Errors
    /// Where it is not the next one, or the disk fails.
    pub(crate) fn push(&mut self, chunk: &SnapshotChunk) -> Result<(), Error> {
        if chunk.id != self.id || chunk.number != self.chunks {
            return Err(Error::Peer("not the next chunk"));
        }
        self.spool.push(&chunk.sealed)?;
        self.chunks += 1;
        Ok(())
    }

    /// # Errors
    /// Where chunks are missing.
    pub(crate) fn finish(
        self,
        end: &SnapshotEnd,
    ) -> Result<(Vote, openraft::Snapshot<TypeConfig>), Error> {
        if end.id != self.id || end.chunks != self.chunks {
            return Err(Error::Peer("a snapshot with chunks missing"));
        }
        let meta = SnapshotMeta {
            last_log_id: Some(payload::log_id(&self.position)),
            last_membership: self.members.clone(),
            snapshot_id: self.id.clone(),
        };
        let vote = self.vote;
        let snapshot = Box::new(SnapshotData::Received(self));
        Ok((vote, openraft::Snapshot { meta, snapshot }))
    }
}

impl Inbox {
    /// Where it stands.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// All of it, still sealed, as a witness's disk keeps it.
    ///
    /// # Errors
    /// Where the disk fails.
    pub(crate) fn kept(self) -> Result<Incoming, Error> {
        Ok(Incoming::Keep {
            members: payload::encode_stored(&self.members),
            secrets: self.copies.encode_to_vec(),
            chunks: self.spool.finish()?,
        })
    }

    /// All chunks, to be opened one by one.
    ///
    /// # Errors
    /// Where the disk fails.
    pub(crate) fn opened(self, secrets: Arc<Secrets>) -> Result<PlainChunks, Error> {
        let id = self.id;
        let spooled = self.spool.finish()?;
        let sealed = spooled.chunks()?;
        Ok(Box::new((0_u64..).zip(sealed).map(move |(number, sealed)| {
            // The file lasts as long as what reads it.
            let _ = &spooled;
            unlabelled(&secrets, &id, number, &sealed?)
                .map_err(|_| strongroom_store::Error::Snapshot("a chunk does not open"))
        })))
    }
}
