//! This HSM as a device: the certificate that ports 2224 and 2225 show, and what it says of itself.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use rustls::sign::CertifiedKey;
use strongroom_store::Secrets;
use strongroom_vault::{Member, NodeId};
use strongroom_wire::PORT_PEERS;
use strongroom_wire::admin::{DeviceStatement, SignedDevice};

use crate::Error;
use crate::certificates::{
    P256Key, Which, certified, device_certificate, pem_certificate, public_key_of,
};
use crate::folder::DEVICE_CERTIFICATE_FILE;
use crate::joining::sign_statement;
use crate::peers::DeviceIdentity;

/// Where an HSM stands, as it was told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    pub(crate) port_offset: u16,
    /// Availability zone; may be empty.
    pub(crate) zone: String,
}

/// This HSM as a device.
pub(crate) struct Device {
    pub(crate) hsm_id: String,
    pub(crate) place: Place,
    /// Whether it only votes.
    pub(crate) witness: bool,
    key: P256Key,
    certificate: Vec<u8>,
    certified: CertifiedKey,
    pub(crate) identity: DeviceIdentity,
    sealing_key: Vec<u8>,
}

impl Device {
    /// With the certificate that lies in the folder for the provisioner to pin; it is made where none
    /// is over this device's key.
    ///
    /// # Errors
    /// Where it cannot be made or written.
    pub(crate) fn load(
        folder: &Path,
        secrets: &Secrets,
        place: Place,
        witness: bool,
    ) -> Result<Self, Error> {
        let pkcs8 = secrets.device_key.as_bytes();
        let key = P256Key::from_pkcs8("use of the device key", pkcs8)?;
        let path = folder.join(DEVICE_CERTIFICATE_FILE);
        let certificate = match kept_certificate(&path, &key) {
            Some(certificate) => certificate,
            None => {
                let pem = device_certificate(&key, &secrets.hsm_id)?;
                strongroom_seal::write_atomically(&path, pem.as_bytes())?;
                pem_certificate(Which::Device, &pem)?
            }
        };
        let certified = certified(vec![certificate.clone().into()], pkcs8)?;
        let identity = DeviceIdentity::new(certified.clone())?;
        let sealing_key =
            if witness { Vec::new() } else { secrets.sealing_key.public_key().to_vec() };
        let hsm_id = secrets.hsm_id.clone();
        Ok(Self { hsm_id, place, witness, key, certificate, certified, identity, sealing_key })
    }

    /// For TLS of port 2224.
    pub(crate) fn certified(&self) -> CertifiedKey {
        self.certified.clone()
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// Where the backend fails.
    pub(crate) fn statement(&self) -> Result<SignedDevice, Error> {
        let statement = DeviceStatement {
            hsm_id: self.hsm_id.clone(),
            address: self.place.address.to_string(),
            port_offset: self.place.port_offset.into(),
            zone: self.place.zone.clone(),
            witness: self.witness,
            device_certificate: self.certificate.clone(),
            sealing_key: self.sealing_key.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok(sign_statement(&statement, &self.key)?)
    }

    /// Itself as a member that has no number yet.
    pub(crate) fn as_member(&self) -> Member {
        Member {
            node: NodeId(0),
            hsm_id: self.hsm_id.clone(),
            witness: self.witness,
            address: self.place.address.to_string(),
            port_offset: self.place.port_offset,
            zone: self.place.zone.clone(),
            device_key: self.key.public_key(),
            sealing_key: self.sealing_key.clone(),
        }
    }
}

/// Where other HSMs connect to a member; `None` where its address is none.
pub(crate) fn peer_address(member: &Member) -> Option<SocketAddr> {
    let port = PORT_PEERS.checked_add(member.port_offset)?;
    Some(SocketAddr::new(member.address.parse().ok()?, port))
}

/// A member as Raft knows it; `None` where its address is none.
pub(crate) fn peer_of(member: &Member) -> Option<strongroom_cluster::Peer> {
    Some(strongroom_cluster::Peer {
        hsm_id: member.hsm_id.clone(),
        address: peer_address(member)?.to_string(),
        device_key: member.fingerprint(),
        witness: member.witness,
        zone: member.zone.clone(),
    })
}

/// The certificate of an earlier start, where it is over this device's key.
fn kept_certificate(path: &Path, key: &P256Key) -> Option<Vec<u8>> {
    let pem = std::fs::read_to_string(path).ok()?;
    let certificate = pem_certificate(Which::Device, &pem).ok()?;
    public_key_of(&certificate)
        .is_ok_and(|public_key| public_key == key.public_key())
        .then_some(certificate)
}
