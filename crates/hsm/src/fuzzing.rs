//! Entrances for the fuzz targets: what a provisioner, an owner and any peer can send.

use std::time::SystemTime;

use prost::Message as _;
use rcgen::SigningKey as _;
use strongroom_wire::admin::{DEVICE_CONTEXT, DeviceStatement, SignedDevice};

use crate::certificates::{
    CertificateError, Leaf, P256Key, Which, check_owner, device_certificate, pem_certificate,
    public_key_of,
};
use crate::frames::FrameBuffer;
use crate::joining::verified;

/// What Initialize checks: the cluster's certificate and its anchor, both PEM, for a cluster's key
/// (SubjectPublicKeyInfo) and id.
///
/// # Errors
/// The first check that fails.
pub fn owner(
    cluster_public_key: &[u8],
    cluster_id: &str,
    signed_certificate: &str,
    trust_anchor: &str,
    now: SystemTime,
) -> Result<(), CertificateError> {
    check_owner(cluster_public_key, cluster_id, signed_certificate, trust_anchor, now).map(drop)
}

/// The key that a provisioner's certificate pins, from PEM.
///
/// # Errors
/// Where it is no certificate.
pub fn provisioner(pem: &str) -> Result<Vec<u8>, CertificateError> {
    public_key_of(&pem_certificate(Which::Provisioner, pem)?)
}

/// What a new HSM says of itself, and its device key's signature.
///
/// # Errors
/// Why it does not count.
pub fn newcomer(statement: &[u8], signature: &[u8]) -> Result<(), String> {
    let signed = SignedDevice { statement: statement.to_vec(), signature: signature.to_vec() };
    verified(&signed).map(drop).map_err(|e| e.to_string())
}

/// Issues leaves under cluster certificates; and signs as a device.
pub struct Issuer(P256Key);

impl Issuer {
    /// With the cluster's key, PKCS#8 DER.
    ///
    /// # Errors
    /// Where it is none.
    pub fn new(cluster_key: &[u8]) -> Result<Self, CertificateError> {
        P256Key::from_pkcs8("cluster key", cluster_key).map(Self)
    }

    /// What a device of this key could say of itself.
    #[must_use]
    pub fn statement(&self) -> Vec<u8> {
        let pem = device_certificate(&self.0, "hsm-abcdefghijk").unwrap_or_default();
        let statement = DeviceStatement {
            hsm_id: "hsm-abcdefghijk".to_owned(),
            address: "127.0.1.10".to_owned(),
            device_certificate: pem_certificate(Which::Device, &pem).unwrap_or_default(),
            sealing_key: vec![1; 32],
            ..DeviceStatement::default()
        };
        statement.encode_to_vec()
    }

    /// A device's signature under a statement of itself.
    #[must_use]
    pub fn signed_statement(&self, statement: &[u8]) -> Vec<u8> {
        self.0.sign(&[DEVICE_CONTEXT, statement].concat()).unwrap_or_default()
    }

    /// The chain of a leaf under a cluster certificate, DER, leaf first.
    ///
    /// # Errors
    /// Where that is none.
    pub fn leaf(
        &self,
        cluster_certificate: &[u8],
        now: SystemTime,
    ) -> Result<Vec<Vec<u8>>, CertificateError> {
        let leaf = Leaf {
            cluster_id: "cluster-7kzqyl3m2ab".to_owned(),
            hsm_id: "hsm-lgavqitns2a".to_owned(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let certified = leaf.issue(&self.0, cluster_certificate, now)?;
        Ok(certified.cert.iter().map(|der| der.to_vec()).collect())
    }
}

/// Cuts a stream that arrives in pieces of `step` bytes (at least 1) into payloads of at most
/// `limit` bytes, up to the first frame that is too long.
#[must_use]
pub fn frames(stream: &[u8], step: usize, limit: usize) -> Vec<Vec<u8>> {
    let mut buffer = FrameBuffer::new();
    let mut payloads = Vec::new();
    for piece in stream.chunks(step.max(1)) {
        buffer.extend(piece);
        loop {
            match buffer.payload(limit) {
                Err(_) => return payloads,
                Ok(None) => break,
                Ok(Some(payload)) => payloads.push(payload.to_vec()),
            }
            buffer.consume(payloads.last().map_or(0, Vec::len));
        }
    }
    payloads
}
