//! The cluster's members: which HSMs there are, and who says that one may join.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_lc_rs::digest;

use crate::limits::{
    ADDRESS_CHARS_MAX, DEVICE_KEY_BYTES_MAX, HSM_ID_CHARS_MAX, PORT_OFFSET_MAX,
    SEALING_KEY_BYTES_MAX, ZONE_CHARS_MAX,
};
use crate::{NodeId, UserId};

/// A device key's name: SHA-256 of its SubjectPublicKeyInfo. Port 2225 pins it, admins compare it.
pub type Fingerprint = [u8; 32];

/// An HSM of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Raft's number of it, given by the vault and never used again: an HSM that rejoins has a new
    /// one. [`NodeId`] 0 where it has none yet.
    pub node: NodeId,
    /// `hsm-…`.
    pub hsm_id: String,
    /// It votes and holds no secrets: it can neither read the log nor serve clients.
    pub witness: bool,
    /// IP address, as `IpAddr` prints it.
    pub address: String,
    /// What is added to ports 2223, 2224 and 2225.
    pub port_offset: u16,
    /// Availability zone; may be empty.
    pub zone: String,
    /// The device key's SubjectPublicKeyInfo, DER.
    pub device_key: Vec<u8>,
    /// The public key that secrets are sealed to; a witness needs none.
    pub sealing_key: Vec<u8>,
}

impl Member {
    /// The device key's name.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &self.device_key).as_ref());
        fingerprint
    }

    /// Whether it is the same device with the same keys, wherever it stands.
    #[must_use]
    pub fn is_device(&self, other: &Self) -> bool {
        self.hsm_id == other.hsm_id
            && self.witness == other.witness
            && self.device_key == other.device_key
            && self.sealing_key == other.sealing_key
    }

    /// The first part that is outside its range, named; `None` where all are within.
    pub(crate) fn invalid(&self) -> Option<&'static str> {
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let within = |length: usize, max| (1..=max).contains(&length);
        if !within(self.hsm_id.len(), HSM_ID_CHARS_MAX) || !printable(&self.hsm_id) {
            Some("HSM id")
        } else if !is_address(&self.address) {
            Some("address")
        } else if self.port_offset > PORT_OFFSET_MAX {
            Some("port offset")
        } else if self.zone.len() > ZONE_CHARS_MAX || !printable(&self.zone) {
            Some("zone")
        } else if !within(self.device_key.len(), DEVICE_KEY_BYTES_MAX) {
            Some("device key")
        } else if (self.sealing_key.is_empty() && !self.witness)
            || self.sealing_key.len() > SEALING_KEY_BYTES_MAX
        {
            Some("sealing key")
        } else {
            None
        }
    }
}

/// One text for one address, so that two members' can be compared.
fn is_address(text: &str) -> bool {
    text.len() <= ADDRESS_CHARS_MAX
        && text.parse::<IpAddr>().is_ok_and(|address| address.to_string() == text)
}

/// Who says that an HSM may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinPolicy {
    /// The provisioner alone: whoever runs the control plane can add an HSM and so read keys.
    Automatic,
    /// The owner: the HSM's host bears a certificate under the owner's join key.
    Owner,
    /// So many admins, by the HSM's fingerprint.
    Quorum {
        /// How many, 1 at least.
        approvals: u32,
    },
}

/// On whose word a member is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endorsement {
    /// The provisioner's: policy `Automatic`, and the cluster's first member.
    Provisioner,
    /// The owner's. The member that lets the new one in has verified it; it is kept in the log.
    Owner {
        /// What the owner signed for the HSM's host, DER.
        certificate: Vec<u8>,
    },
    /// The admins', as [`crate::Command::ApproveJoin`] left it in the state.
    Admins,
}

/// An HSM that has asked to join and waits for the admins' word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// As it would be a member.
    pub member: Member,
    /// When it asked first, in applied time.
    pub requested_ms: u64,
    /// Admins that have approved.
    pub approvals: BTreeSet<UserId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::members::member;

    #[test]
    fn an_address_has_one_text() {
        for right in ["127.0.1.10", "::1", "2001:db8::1"] {
            assert!(is_address(right), "{right}");
        }
        for wrong in ["", "127.0.1.10 ", "0:0:0:0:0:0:0:1", "::ffff:7f00:1", "localhost", "1.2.3"] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }

    #[test]
    fn each_part_of_a_member_has_its_range() {
        let right = member(1);
        assert_eq!(right.invalid(), None);
        let wrong = [
            Member { hsm_id: String::new(), ..right.clone() },
            Member { hsm_id: "x".repeat(HSM_ID_CHARS_MAX + 1), ..right.clone() },
            Member { hsm_id: "hsm\n".to_owned(), ..right.clone() },
            Member { address: "nowhere".to_owned(), ..right.clone() },
            Member { port_offset: PORT_OFFSET_MAX + 1, ..right.clone() },
            Member { zone: "a zone".to_owned(), ..right.clone() },
            Member { device_key: Vec::new(), ..right.clone() },
            Member { device_key: vec![1; DEVICE_KEY_BYTES_MAX + 1], ..right.clone() },
            Member { sealing_key: Vec::new(), ..right.clone() },
            Member { sealing_key: vec![1; SEALING_KEY_BYTES_MAX + 1], ..right.clone() },
        ];
        for member in wrong {
            assert!(member.invalid().is_some(), "{member:?}");
        }
        let witness = Member { witness: true, sealing_key: Vec::new(), ..right };
        assert_eq!(witness.invalid(), None);
    }
}
