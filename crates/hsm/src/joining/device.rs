//! What an HSM says of itself, under its device key, so that a provisioner can carry it to a member
//! without being able to change it.

use std::net::IpAddr;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use prost::Message;
use rcgen::SigningKey as _;
use strongroom_vault::Member;
use strongroom_wire::admin::{DEVICE_CONTEXT, DeviceStatement, SignedDevice};
use strongroom_wire::limits::{CERTIFICATE_BYTES_MAX, PEER_TEXT_BYTES_MAX};

use crate::certificates::{CertificateError, P256Key, public_key_of};
use crate::folder::is_hsm_id;

/// SubjectPublicKeyInfo of a P-256 key, before the point (RFC 5480).
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// A statement has a certificate, a sealing key and some names.
const STATEMENT_BYTES_MAX: usize = CERTIFICATE_BYTES_MAX + 8 * 1024;

/// Why a statement does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the new HSM's statement {0}")]
pub(crate) struct Stranger(&'static str);

/// Signs what this HSM says of itself.
///
/// # Errors
/// Where the backend fails.
pub(crate) fn sign_statement(
    statement: &DeviceStatement,
    key: &P256Key,
) -> Result<SignedDevice, CertificateError> {
    let statement = statement.encode_to_vec();
    let signature = key.sign(&[DEVICE_CONTEXT, &statement].concat()).map_err(|e| {
        CertificateError::Making { what: "statement of this HSM", problem: e.to_string() }
    })?;
    Ok(SignedDevice { statement, signature })
}

/// The member that a statement speaks of, where the device's key has signed it.
///
/// # Errors
/// [`Stranger`].
pub(crate) fn verified(signed: &SignedDevice) -> Result<Member, Stranger> {
    if signed.statement.len() > STATEMENT_BYTES_MAX {
        return Err(Stranger("is too long"));
    }
    let statement = DeviceStatement::decode(signed.statement.as_slice())
        .map_err(|_| Stranger("does not decode"))?;
    let device_key = public_key_of(&statement.device_certificate)
        .map_err(|_| Stranger("has no device certificate"))?;
    let point = device_key.strip_prefix(&P256_INFO).ok_or(Stranger("is not of a P-256 key"))?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(&[DEVICE_CONTEXT, &signed.statement].concat(), &signed.signature)
        .map_err(|_| Stranger("is not signed by its device key"))?;
    if !is_hsm_id(&statement.hsm_id) || statement.zone.len() > PEER_TEXT_BYTES_MAX {
        return Err(Stranger("has a malformed HSM id or zone"));
    }
    let address: IpAddr =
        statement.address.parse().map_err(|_| Stranger("has a malformed address"))?;
    Ok(Member {
        hsm_id: statement.hsm_id,
        witness: statement.witness,
        address: address.to_string(),
        port_offset: u16::try_from(statement.port_offset)
            .map_err(|_| Stranger("has ports beyond 65535"))?,
        zone: statement.zone,
        device_key,
        sealing_key: statement.sealing_key,
        ..Member::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{Which, device_certificate, pem_certificate};

    fn statement(key: &P256Key) -> DeviceStatement {
        let pem = device_certificate(key, "hsm-abcdefghijk").unwrap();
        DeviceStatement {
            hsm_id: "hsm-abcdefghijk".to_owned(),
            address: "127.0.2.10".to_owned(),
            zone: "strongroom-1b".to_owned(),
            device_certificate: pem_certificate(Which::Device, &pem).unwrap(),
            sealing_key: vec![1; 32],
            ..DeviceStatement::default()
        }
    }

    #[test]
    fn a_statement_makes_the_member_that_its_key_signed() {
        let key = P256Key::generate("test").unwrap();
        let member = verified(&sign_statement(&statement(&key), &key).unwrap()).unwrap();
        assert_eq!(member.hsm_id, "hsm-abcdefghijk");
        assert_eq!(member.device_key, key.public_key());
        assert_eq!(member.address, "127.0.2.10");
    }

    #[test]
    fn a_statement_that_its_device_did_not_sign_is_refused() {
        let (key, other) = (P256Key::generate("test").unwrap(), P256Key::generate("test").unwrap());
        let by_other = sign_statement(&statement(&key), &other).unwrap();
        assert_eq!(verified(&by_other), Err(Stranger("is not signed by its device key")));
        let mut changed = sign_statement(&statement(&key), &key).unwrap();
        // Another sealing key would be given the secrets.
        let sealing_key = vec![2; 32];
        changed.statement = DeviceStatement { sealing_key, ..statement(&key) }.encode_to_vec();
        assert_eq!(verified(&changed), Err(Stranger("is not signed by its device key")));
    }

    #[test]
    fn a_statement_of_something_else_is_refused() {
        let key = P256Key::generate("test").unwrap();
        let right = statement(&key);
        let wrong = [
            DeviceStatement { hsm_id: "hsm-../x".to_owned(), ..right.clone() },
            DeviceStatement { address: "localhost".to_owned(), ..right.clone() },
            DeviceStatement { port_offset: 65_536, ..right.clone() },
            DeviceStatement { device_certificate: vec![1, 2, 3], ..right.clone() },
        ];
        for statement in wrong {
            assert!(verified(&sign_statement(&statement, &key).unwrap()).is_err());
        }
        assert!(verified(&SignedDevice::default()).is_err());
    }
}
