//! Members as Raft knows them.

/// SHA-256 of a device certificate's SPKI: by what HSMs know one another.
pub type DeviceKeyHash = [u8; 32];

/// How the members reach one of them: part of Raft's membership, so in every log and snapshot, and
/// known to a witness too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `hsm-…`.
    pub hsm_id: String,
    /// IP address and port of its 2225.
    pub address: String,
    /// Of its device certificate.
    pub device_key: DeviceKeyHash,
    /// Whether it votes without the cluster's secrets.
    pub witness: bool,
    /// Availability zone; may be empty.
    pub zone: String,
}
