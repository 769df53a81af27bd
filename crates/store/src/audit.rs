//! The audit chain: append-only, gapless, each record hashed over the one before. Specified in
//! `docs/spec/log.md`, section "Audit".
//!
//! ```text
//! hash(n) = SHA-256("strongroom audit 1\0" | hash(n-1) | sequence u64 | kind u8 | body)
//! row(n)  = kind u8 | hash(n) | body, sealed under the audit key
//! ```
//! The sequence counts from 1, and hash(0) is 32 zero bytes. The head of the chain is in the
//! store's sealed head, written in the same transaction: a record that is taken away, also the
//! last, is missed.

use prost::Message;
use strongroom_crypto::{Hash, SecretBytes};

const CONTEXT: &[u8] = b"strongroom audit 1\0";

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The HSM started: [`StartRecord`].
    Start = 1,
    /// An entry was applied: [`ChangeRecord`].
    Change = 2,
    /// Keys were used: a block of the engine's own form.
    Uses = 3,
    /// The state was replaced by a snapshot: [`InstallRecord`].
    Install = 4,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Start, Self::Change, Self::Uses, Self::Install]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// An audit record that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number, without gaps from 1.
    pub sequence: u64,
    /// What it is about.
    pub kind: Kind,
    /// The chain's hash up to and with it.
    pub hash: [u8; 32],
    /// By `kind`.
    pub body: Vec<u8>,
}

/// Who did what to what, when, and with which result. One for each applied entry, refused ones
/// included, in the same transaction.
#[derive(Clone, PartialEq, Message)]
pub struct ChangeRecord {
    /// The entry's number in the log.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Milliseconds since 1970, as stamped by the leader.
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
    /// On whose authority.
    #[prost(enumeration = "ActorKind", tag = "3")]
    pub actor: i32,
    /// The login, where the actor has one.
    #[prost(uint64, tag = "4")]
    pub login: u64,
    /// The login's user, where it was open.
    #[prost(uint32, tag = "5")]
    pub user: u32,
    /// The command: `create-objects`.
    #[prost(string, tag = "6")]
    pub command: String,
    /// Handles of the objects that it made or touched.
    #[prost(uint64, repeated, tag = "7")]
    pub handles: Vec<u64>,
    /// The user that it was about.
    #[prost(string, tag = "8")]
    pub target_user: String,
    /// CKR_…; 0 is CKR_OK.
    #[prost(uint64, tag = "9")]
    pub result: u64,
    /// The HSMs that it was about: who joined, who left, who has new secrets, who is left after a
    /// recovery.
    #[prost(string, repeated, tag = "10")]
    pub target_hsms: Vec<String>,
}

/// On whose authority a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ActorKind {
    /// Not said.
    Unspecified = 0,
    /// The HSM or its provisioner.
    System = 1,
    /// A connection without a login.
    Anonymous = 2,
    /// A login.
    Login = 3,
}

/// The HSM started.
#[derive(Clone, PartialEq, Message)]
pub struct StartRecord {
    /// The start's number.
    #[prost(uint64, tag = "1")]
    pub boot: u64,
    /// Whether it had been stopped in order: if not, the uses of keys of the last second before may
    /// be missing.
    #[prost(bool, tag = "2")]
    pub after_clean_stop: bool,
    /// Entries applied at the start.
    #[prost(uint64, tag = "3")]
    pub applied: u64,
    /// The version of Strongroom.
    #[prost(string, tag = "4")]
    pub version: String,
}

/// The state was replaced by a snapshot. What was changed in between is in other HSMs' chains.
#[derive(Clone, PartialEq, Message)]
pub struct InstallRecord {
    /// The last entry that was applied before.
    #[prost(uint64, tag = "1")]
    pub before: u64,
    /// The snapshot's last entry.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// The snapshot's digest.
    #[prost(bytes = "vec", tag = "3")]
    pub digest: Vec<u8>,
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The last record's number; 0 where there is none.
    pub sequence: u64,
    /// The last record's hash.
    pub hash: [u8; 32],
}

impl Chain {
    /// Adds a record and gives the row's plaintext.
    pub(crate) fn append(&mut self, kind: Kind, body: &[u8]) -> Vec<u8> {
        *self = self.after(kind, body);
        [&[kind as u8][..], &self.hash, body].concat()
    }

    /// The chain with one more record.
    #[must_use]
    pub fn after(&self, kind: Kind, body: &[u8]) -> Self {
        let sequence = self.sequence + 1;
        let message = [CONTEXT, &self.hash, &sequence.to_be_bytes(), &[kind as u8], body].concat();
        let digest = Hash::Sha256.digest(&message);
        let mut hash = [0; 32];
        hash.copy_from_slice(&digest);
        Self { sequence, hash }
    }
}

impl Record {
    /// Takes a row's plaintext apart; `None` where it is malformed.
    pub(crate) fn parse(sequence: u64, plaintext: &SecretBytes) -> Option<Self> {
        let (&kind, rest) = plaintext.as_bytes().split_first()?;
        let (&hash, body) = rest.split_first_chunk::<32>()?;
        Some(Self { sequence, kind: Kind::from_byte(kind)?, hash, body: body.to_vec() })
    }

    /// Whether it follows `before`; the chain then ends with it.
    pub(crate) fn follows(&self, before: &Chain) -> bool {
        let after = before.after(self.kind, &self.body);
        after.sequence == self.sequence && after.hash == self.hash
    }

    pub(crate) fn chain(&self) -> Chain {
        Chain { sequence: self.sequence, hash: self.hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_tells_order_kind_and_contents() {
        let start = Chain::default();
        let base = start.after(Kind::Change, b"a").after(Kind::Change, b"b");
        assert_ne!(base, start.after(Kind::Change, b"b").after(Kind::Change, b"a"));
        assert_ne!(base, start.after(Kind::Uses, b"a").after(Kind::Change, b"b"));
        assert_ne!(base.hash, start.after(Kind::Change, b"b").hash);
        assert_eq!(base.sequence, 2);
    }

    #[test]
    fn a_row_is_read_as_it_was_appended() {
        let mut chain = Chain::default();
        let row = SecretBytes::new(chain.append(Kind::Uses, b"block"));
        let record = Record::parse(1, &row).unwrap();
        assert_eq!((record.kind, record.body.as_slice()), (Kind::Uses, &b"block"[..]));
        assert!(record.follows(&Chain::default()));
        assert_eq!(record.chain(), chain);
        assert!(!record.follows(&chain));
    }

    #[test]
    fn a_malformed_row_is_no_record() {
        for row in [&[][..], &[1; 32], &[0; 33], &[5; 40]] {
            assert!(Record::parse(1, &SecretBytes::new(row.to_vec())).is_none());
        }
    }
}
