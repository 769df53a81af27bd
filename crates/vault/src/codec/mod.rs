//! Bytes of log entries and of the state's records.
//!
//! In: values of this crate, or bytes from a disk or a peer. Out: bytes, or values that hold every
//! limit, or an [`Error`]. Decoding is total: no bytes make it panic, take more memory than a small
//! multiple of their length, or give a value that the state machine does not know. Encoding is
//! deterministic, since [`crate::State::digest`] hashes its output.
//!
//! Each encoding is one format byte ([`FORMAT`]) and a protobuf message. A newer HSM's command is
//! [`Error::UnknownCommand`]: it is never applied in part, and never skipped in silence.
//!
//! A record's key is its table's byte and the record's id, big-endian, so that records sort as the
//! state iterates:
//!
//! | table | id | record |
//! |---|---|---|
//! | 0 | – | how far the log is applied, and the next numbers |
//! | 1 | – | the cluster: phase, personality, certificates, labels |
//! | 2 | user, 4 bytes | a user |
//! | 3 | login, 8 bytes | an open login |
//! | 4 | handle, 8 bytes | a token object's metadata |
//! | 5 | client, 16 bytes | which of a client's changes have run |
//! | 6 | client, 16 bytes; sequence, 8 bytes | a remembered reply |
//! | 7 | – | the topology: policies, epochs, generations |
//! | 8 | node, 8 bytes | a member |
//! | 9 | fingerprint, 32 bytes | a device key that is revoked |
//! | 10 | fingerprint, 32 bytes | an HSM that waits to join |
//! | 11 | epoch, 8 bytes; node, 8 bytes | secrets of an epoch, sealed to a member |

mod cluster;
mod cluster_messages;
mod entry;
mod messages;
mod meta;
mod records;
mod reply;
#[cfg(test)]
mod tests;

pub use entry::{decode_entry, encode_entry};
pub use meta::{decode_meta, encode_meta};
pub use reply::{decode_result, encode_result};

pub(crate) use cluster::{
    TopologyRecord, encode_join_request, encode_member, encode_revoked, encode_sealed,
    encode_topology,
};
pub(crate) use records::{
    ClientRecord, ClusterRecord, Key, ProgressRecord, Record, decode_record, encode_client,
    encode_cluster, encode_login, encode_object, encode_progress, encode_user,
};

use prost::Message;

/// The format that this build writes, and the only one that it reads.
pub const FORMAT: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Longer than any valid encoding: nothing was parsed.
    #[error("{actual} bytes where at most {max} are allowed")]
    TooLong {
        /// As given.
        actual: usize,
        /// Allowed.
        max: usize,
    },
    /// Written by another format.
    #[error("format {0} is not known to this build")]
    UnknownFormat(u8),
    /// An entry whose command this build doesn't know: it must not be applied here.
    #[error("the entry's command is not known to this build")]
    UnknownCommand,
    /// Not a message, cut off, or empty.
    #[error("malformed")]
    Malformed,
    /// A message, but a field of it is outside its range.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// Records that contradict one another.
    #[error("inconsistent {0}")]
    Inconsistent(&'static str),
}

/// The format byte and the message.
fn seal_format(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(FORMAT);
    // A Vec grows: this encoding has no error.
    let _ = message.encode(&mut bytes);
    bytes
}

/// The message behind a known format byte.
fn open_format<M: Message + Default>(bytes: &[u8], bytes_max: usize) -> Result<M, Error> {
    if bytes.len() > bytes_max {
        return Err(Error::TooLong { actual: bytes.len(), max: bytes_max });
    }
    match bytes.split_first() {
        Some((&FORMAT, message)) => M::decode(message).map_err(|_| Error::Malformed),
        Some((&format, _)) => Err(Error::UnknownFormat(format)),
        None => Err(Error::Malformed),
    }
}
