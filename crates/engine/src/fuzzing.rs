//! Entrances for the fuzz targets: decoders that in service see only bytes that were authenticated.
//! An HSM that restores a backup, or whose disk lies, must not fall over them all the same.

use std::sync::Arc;

use prost::Message;
use strongroom_crypto::{Key, SecretBytes};
use strongroom_vault::attributes::Attribute;
use strongroom_vault::{ClientId, LoginId, Meta, ObjectId, PasswordVerifier, Role, UserId};

use crate::content::Content;
use crate::mask::{self, Body, Masking};
use crate::password::Stored;
use crate::secrets::{EngineSecrets, EpochSecrets};
use crate::ticket::{Claim, Tickets};

const DOMAIN: [u8; 16] = [1; 16];

/// A ticket as a login gives it, under the key that [`check_ticket`] has.
#[must_use]
pub fn ticket(client_public_key: &[u8; 32]) -> Vec<u8> {
    let claim = Claim { login: LoginId(9), user: UserId(3), role: Role::CryptoUser };
    tickets().issue(claim, client_public_key, &DOMAIN).unwrap_or_default()
}

/// Whether a ticket and its proof are accepted: as they are, and with the bytes but the last 32
/// authenticated anew, so that what they claim is looked at.
#[must_use]
pub fn check_ticket(ticket: &[u8], proof: &[u8], binding: &[u8; 32]) -> [bool; 2] {
    let authenticated = tickets().authenticate(&ticket[..ticket.len().saturating_sub(32)]);
    [ticket, &authenticated.unwrap_or_default()]
        .map(|ticket| tickets().check(ticket, proof, binding, ClientId([2; 16]), &DOMAIN).is_ok())
}

fn secrets() -> Arc<dyn EpochSecrets> {
    Arc::new(EngineSecrets {
        masking: SecretBytes::new(vec![4; 32]),
        ticket: SecretBytes::new(vec![3; 32]),
    })
}

fn tickets() -> Tickets {
    Tickets::new(secrets())
}

/// An object's body, as it is before it is masked.
#[must_use]
pub fn body(meta: &Meta, key: Option<Key>, attributes: Vec<Attribute>) -> Vec<u8> {
    mask::encode(&Content::new(meta, key, attributes)).encode_to_vec()
}

/// Reads a body and gives it as this build would write it; `None` where it is none.
#[must_use]
pub fn read_body(bytes: &[u8]) -> Option<Vec<u8>> {
    let content = mask::decode(Body::decode(bytes).ok()?).ok()?;
    Some(mask::encode(&content).encode_to_vec())
}

/// Whether a masked blob opens.
#[must_use]
pub fn unmasks(blob: &[u8], meta: &Meta) -> bool {
    Masking::new(secrets()).unmask(&DOMAIN, ObjectId([5; 16]), meta, blob).is_ok()
}

/// The point inside CKA_EC_POINT.
#[must_use]
pub fn ec_point(value: &[u8], field_bytes: usize) -> Option<&[u8]> {
    crate::der::ec_point(value, field_bytes)
}

/// A DER OCTET STRING.
#[must_use]
pub fn octet_string(content: &[u8]) -> Vec<u8> {
    crate::der::octet_string(content)
}

/// What a stored password verifier would cost to check, in KiB of memory times passes; `None` where
/// it is damaged.
#[must_use]
pub fn verifier_cost(verifier: &[u8]) -> Option<u64> {
    Stored::parse(&PasswordVerifier(verifier.to_vec())).ok().map(|stored| stored.cost())
}
