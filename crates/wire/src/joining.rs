//! What a member and an HSM that joins say to one another, inside [`crate::peer::Welcome`].

use prost::Message;

use crate::frame::FrameError;
use crate::limits::{
    CERTIFICATE_BYTES_MAX, MEMBERS_MAX, PEER_SMALL_FRAME_BYTES_MAX, PEER_TEXT_BYTES_MAX,
};
use crate::peer::PeerMember;

/// What secrets are sealed for, so that nothing sealed for another purpose opens as this.
pub const WELCOME_INFO: &[u8] = b"strongroom welcome 1\0";

/// From a member to the HSM that joins: you are one of us, and this is what you need.
#[derive(Clone, PartialEq, Message)]
pub struct WelcomeMessage {
    /// `cluster-…`.
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    /// Raft's number of the new member.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// The cluster's secrets, sealed to the new member's sealing key with [`WELCOME_INFO`] and
    /// [`WelcomeMessage::bound`]. Empty for a witness.
    #[prost(bytes = "vec", tag = "3")]
    pub sealed_secrets: Vec<u8>,
    /// The cluster's certificate, DER; empty before it has an owner.
    #[prost(bytes = "vec", tag = "4")]
    pub cluster_certificate: Vec<u8>,
    /// The members, to be asked first.
    #[prost(message, repeated, tag = "5")]
    pub members: Vec<PeerMember>,
}

/// Answer to [`WelcomeMessage`].
#[derive(Clone, PartialEq, Message)]
pub struct WelcomeAnswer {
    /// Empty: the new member has kept what it was given, and takes part from now on. Otherwise why
    /// not.
    #[prost(string, tag = "1")]
    pub refusal: String,
}

impl WelcomeMessage {
    /// What the sealed secrets are bound to: cluster, number and device key of whom they are for.
    #[must_use]
    pub fn bound(&self, device_key: &[u8; 32]) -> Vec<u8> {
        let length = u64::try_from(self.cluster_id.len()).unwrap_or(u64::MAX).to_be_bytes();
        [&length[..], self.cluster_id.as_bytes(), &self.node.to_be_bytes(), device_key].concat()
    }

    /// Decodes and checks its lengths.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] or [`FrameError::TooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        within(bytes.len(), PEER_SMALL_FRAME_BYTES_MAX)?;
        let message = Self::decode(bytes)?;
        within(message.cluster_id.len(), PEER_TEXT_BYTES_MAX)?;
        within(message.cluster_certificate.len(), CERTIFICATE_BYTES_MAX)?;
        within(message.members.len(), MEMBERS_MAX)?;
        for member in &message.members {
            within(member.hsm_id.len(), PEER_TEXT_BYTES_MAX)?;
            within(member.address.len(), PEER_TEXT_BYTES_MAX)?;
            within(member.device_key.len(), 32)?;
        }
        Ok(message)
    }
}

impl WelcomeAnswer {
    /// Decodes and checks its length.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] or [`FrameError::TooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        within(bytes.len(), PEER_SMALL_FRAME_BYTES_MAX)?;
        let answer = Self::decode(bytes)?;
        within(answer.refusal.len(), PEER_TEXT_BYTES_MAX)?;
        Ok(answer)
    }
}

fn within(bytes: usize, limit: usize) -> Result<(), FrameError> {
    if bytes > limit { Err(FrameError::TooLong { bytes, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> WelcomeMessage {
        WelcomeMessage { cluster_id: "cluster-a".into(), node: 4, ..WelcomeMessage::default() }
    }

    #[test]
    fn a_welcome_is_bound_to_cluster_number_and_device() {
        let bound = message().bound(&[1; 32]);
        assert_ne!(bound, message().bound(&[2; 32]));
        assert_ne!(bound, WelcomeMessage { node: 5, ..message() }.bound(&[1; 32]));
        let other = WelcomeMessage { cluster_id: "cluster-b".into(), ..message() };
        assert_ne!(bound, other.bound(&[1; 32]));
    }

    #[test]
    fn what_is_over_a_limit_is_refused() {
        let sent = message();
        assert_eq!(WelcomeMessage::parse(&sent.encode_to_vec()).unwrap(), sent);
        let members = vec![PeerMember::default(); MEMBERS_MAX + 1];
        assert!(
            WelcomeMessage::parse(&WelcomeMessage { members, ..sent }.encode_to_vec()).is_err()
        );
        let refusal = "x".repeat(PEER_TEXT_BYTES_MAX + 1);
        assert!(WelcomeAnswer::parse(&WelcomeAnswer { refusal }.encode_to_vec()).is_err());
    }
}
