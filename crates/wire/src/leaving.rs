//! What HSMs say when one of them leaves: inside [`crate::peer::Leave`] and its answer, and what a leaver
//! signs.

use prost::Message;

use crate::frame::FrameError;
use crate::limits::{PEER_TEXT_BYTES_MAX, RECEIPT_BYTES_MAX};

/// What the device key signs: this, then an encoded [`ReceiptStatement`].
pub const RECEIPT_CONTEXT: &[u8] = b"strongroom receipt 1\0";

/// Tells an HSM to leave its cluster.
#[derive(Clone, PartialEq, Message)]
pub struct LeaveMessage {
    /// `cluster-…`.
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    /// The HSM that is meant: `hsm-…`. Another one refuses.
    #[prost(string, tag = "2")]
    pub hsm_id: String,
}

/// How the leaving went.
#[derive(Clone, PartialEq, Message)]
pub struct LeaveAnswer {
    /// Why it does not leave; empty where it has.
    #[prost(string, tag = "1")]
    pub refusal: String,
    /// An encoded [`Receipt`].
    #[prost(bytes = "vec", tag = "2")]
    pub receipt: Vec<u8>,
}

/// An HSM's word that its secrets are destroyed.
#[derive(Clone, PartialEq, Message)]
pub struct Receipt {
    /// An encoded [`ReceiptStatement`].
    #[prost(bytes = "vec", tag = "1")]
    pub statement: Vec<u8>,
    /// ECDSA P-256 with SHA-256, DER, by the device key.
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
}

/// What a leaver says: its secrets are destroyed on disk, and in memory once its process has ended.
#[derive(Clone, PartialEq, Message)]
pub struct ReceiptStatement {
    /// `cluster-…`, which it has left.
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    /// `hsm-…`.
    #[prost(string, tag = "2")]
    pub hsm_id: String,
    /// As which member.
    #[prost(uint64, tag = "3")]
    pub node: u64,
    /// When, in milliseconds since 1970, by the leaver's clock.
    #[prost(uint64, tag = "4")]
    pub time_ms: u64,
}

impl LeaveMessage {
    /// Decodes it and checks its lengths.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] or [`FrameError::TooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        within(bytes.len(), PEER_TEXT_BYTES_MAX)?;
        Ok(Self::decode(bytes)?)
    }
}

impl LeaveAnswer {
    /// Decodes it and checks its lengths.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] or [`FrameError::TooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let answer = Self::decode(bytes)?;
        within(answer.refusal.len(), PEER_TEXT_BYTES_MAX)?;
        within(answer.receipt.len(), RECEIPT_BYTES_MAX)?;
        Ok(answer)
    }
}

impl Receipt {
    /// Decodes it and checks its length.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] or [`FrameError::TooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        within(bytes.len(), RECEIPT_BYTES_MAX)?;
        Ok(Self::decode(bytes)?)
    }
}

fn within(bytes: usize, limit: usize) -> Result<(), FrameError> {
    if bytes > limit { Err(FrameError::TooLong { bytes, limit }) } else { Ok(()) }
}
