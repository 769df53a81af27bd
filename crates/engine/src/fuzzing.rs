//! Entrances for the fuzz targets: decoders that in service see only bytes that were authenticated.
//! An HSM that restores a backup, or whose disk lies, must not fall over them all the same.

use std::sync::Arc;

use prost::Message;
use strongroom_crypto::{Key, SecretBytes};
use strongroom_vault::attributes::Attribute;
use strongroom_vault::{
    ClientId, Handle, LoginId, Meta, Object, ObjectId, PasswordVerifier, Role, UserId,
};
use strongroom_wire::message;

use crate::content::Content;
use crate::kept::{self, Holder, Keeping};
use crate::mask::{self, Body, Masking};
use crate::password::Stored;
use crate::secrets::{EngineSecrets, EpochSecrets};
use crate::session::{Kept, SessionObject};
use crate::ticket::{Claim, Tickets};

const DOMAIN: [u8; 16] = [1; 16];
const SESSION_HANDLE: u64 = Handle::SESSION_BIT | 5;

/// A ticket as a login gives it, under the key that [`check_ticket`] has.
#[must_use]
pub fn ticket(client_public_key: &[u8; 32]) -> Vec<u8> {
    let claim = Claim {
        login: LoginId(9),
        user: UserId(3),
        role: Role::CryptoUser,
        client_key: *client_public_key,
    };
    tickets().issue(claim, &DOMAIN).unwrap_or_default()
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

/// A private session object's body of login 7, as it is before it is sealed for its client.
#[must_use]
pub fn session_object(meta: Meta, key: Option<Key>, attributes: Vec<Attribute>) -> Vec<u8> {
    let content = Content::new(&meta, key, attributes);
    let (handle, owner) = (Handle(SESSION_HANDLE), UserId(3));
    let object = Object { handle, id: ObjectId::default(), owner, version: 1, meta };
    let kept = SessionObject { object, session: 2, login: Some(LoginId(7)), content };
    kept::encode(&Kept::Object(Arc::new(kept))).to_vec()
}

/// Reads a session object's body and gives it as this build would write it; `None` where it is none.
#[must_use]
pub fn read_session_object(bytes: &[u8]) -> Option<Vec<u8>> {
    let given = |session| given(session, Vec::new());
    let kept = kept::decode(Some(LoginId(7)), &given(2), bytes)
        .or_else(|| kept::decode(None, &given(2), bytes))
        .or_else(|| kept::decode(None, &given(0), bytes))?;
    Some(kept::encode(&kept).to_vec())
}

/// Whether a session object's blob opens, for a client that none was sealed for.
#[must_use]
pub fn opens_session_object(blob: &[u8]) -> bool {
    let login = Some(LoginId(7));
    let holder = Holder { client: ClientId([2; 16]), login, domain: DOMAIN };
    Keeping::new(secrets()).open(holder, &given(2, blob.to_vec())).is_ok()
}

fn given(session: u64, blob: Vec<u8>) -> message::SessionObject {
    message::SessionObject { handle: SESSION_HANDLE, session, version: 1, blob }
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
