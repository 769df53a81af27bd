//! What an engine decodes beside requests: tickets, masked objects, stored verifiers, points.

use std::sync::OnceLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use cryptoki_sys::*;
use strongroom_crypto::{Curve, Key};
use strongroom_engine::fuzzing;
use strongroom_vault::attributes::Attribute;
use strongroom_vault::{Flags, Meta};

use crate::fixed;
use crate::input::{Fields, long};

const BINDING: [u8; 32] = [8; 32];

/// A ticket behind two bytes of length, then its proof: as they are, and with a right MAC. Whoever has
/// neither key passes with nothing but what was issued.
pub(super) fn ticket(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let (ticket, proof) = (fields.long(), fields.rest());
    let [accepted, with_mac] = fuzzing::check_ticket(ticket, proof, &BINDING);
    let issued = fuzzing::ticket(&public_key());
    // Of another epoch, whose key is not here, the state decides alone; the proof is needed all the same.
    if accepted && ticket.get(1..9) == issued.get(1..9) {
        assert_eq!(ticket, issued, "a forged ticket");
    }
    if accepted || with_mac {
        assert_eq!(proof, self::proof(), "a forged proof");
    }
    accepted
}

pub(super) fn ticket_seeds() -> Vec<Vec<u8>> {
    let ticket = fuzzing::ticket(&public_key());
    vec![[long(&ticket), proof()].concat(), [long(&ticket), vec![0; 64]].concat()]
}

fn client_key() -> &'static Ed25519KeyPair {
    static KEY: OnceLock<Ed25519KeyPair> = OnceLock::new();
    KEY.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a key"))
}

fn public_key() -> [u8; 32] {
    client_key().public_key().as_ref().try_into().expect("32 bytes")
}

fn proof() -> Vec<u8> {
    // Of the client that the engine's side of this target has.
    client_key().sign(&strongroom_wire::attach_statement(&BINDING, &[2; 16])).as_ref().to_vec()
}

/// An object's body as it is before masking, and the same bytes as a masked blob.
pub(super) fn body(data: &[u8]) -> bool {
    assert!(!fuzzing::unmasks(data, &meta(CKO_SECRET_KEY, Some(CKK_AES))), "a forged object");
    let Some(written) = fuzzing::read_body(data) else { return false };
    assert_eq!(fuzzing::read_body(&written), Some(written));
    true
}

fn meta(class: u64, key_type: Option<u64>) -> Meta {
    let flags = Flags::TOKEN | Flags::SENSITIVE | Flags::SIGN;
    Meta { class, key_type, flags, generated_by: Some(CKM_AES_KEY_GEN), ..Meta::default() }
}

pub(super) fn body_seeds() -> Vec<Vec<u8>> {
    let aes = Key::from_secret(CKK_AES, vec![1; 32]);
    let generic = Key::from_secret(CKK_GENERIC_SECRET, vec![1; 40]);
    let rsa = Key::from_pkcs8(fixed::RSA_2048);
    let ec = Key::from_ec_private(Curve::P384, &[1; 48]);
    let private = [aes, generic, rsa, ec].map(|key| key.expect("a good key"));
    let publics: Vec<Key> = private.iter().filter_map(Key::public_key).collect();
    let mut seeds: Vec<_> = private
        .into_iter()
        .chain(publics)
        .map(|key| {
            let meta = meta(key.kind().class(), Some(key.kind().key_type()));
            fuzzing::body(&meta, Some(key), vec![Attribute::new(0x8000_0001, *b"note")])
        })
        .collect();
    let value = vec![Attribute::new(CKA_VALUE, [0x30, 0]), Attribute::new(CKA_APPLICATION, *b"a")];
    seeds.push(fuzzing::body(&meta(CKO_DATA, None), None, value));
    seeds
}

/// A session object's body as it is before it is sealed for its client, and the same bytes as a blob.
pub(super) fn session_object(data: &[u8]) -> bool {
    assert!(!fuzzing::opens_session_object(data), "a forged session object");
    let Some(written) = fuzzing::read_session_object(data) else { return false };
    assert_eq!(fuzzing::read_session_object(&written), Some(written));
    true
}

pub(super) fn session_object_seeds() -> Vec<Vec<u8>> {
    let secret = |flags| {
        let key = Key::from_secret(CKK_AES, vec![1; 32]).expect("a good key");
        let meta = Meta { flags, ..meta(CKO_SECRET_KEY, Some(CKK_AES)) };
        fuzzing::session_object(meta, Some(key), vec![Attribute::new(0x8000_0001, *b"note")])
    };
    let data = Meta { flags: Flags::PRIVATE, generated_by: None, ..meta(CKO_DATA, None) };
    let value = vec![Attribute::new(CKA_VALUE, [0x30, 0])];
    let became = vec![0x28, 0x81, 0x80, 0xa0, 0x03];
    vec![
        secret(Flags::PRIVATE | Flags::SIGN),
        secret(Flags::SIGN),
        fuzzing::session_object(data, None, value),
        became,
    ]
}

/// A user's stored verifier: whatever it is, checking a password costs no more than the limits say.
pub(super) fn verifier(data: &[u8]) -> bool {
    let cost = fuzzing::verifier_cost(data);
    assert!(cost.is_none_or(|cost| cost <= 256 * 1024 * 16), "KiB times passes");
    cost.is_some()
}

pub(super) fn verifier_seeds() -> Vec<Vec<u8>> {
    let hash = "A".repeat(43);
    [
        format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ${hash}"),
        format!("$argon2id$v=19$m=65536,t=3,p=4,keyid=AAAA,data=AAAA$c2FsdHNhbHRzYWx0${hash}"),
        format!("$argon2id$v=19$m=262144,t=16,p=1$c2FsdHNhbHQ${hash}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// CKA_EC_POINT: a curve's number, then the value. A point that is found is there, bare or wrapped.
pub(super) fn point(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let curve = Curve::ALL[usize::from(fields.byte()) % Curve::ALL.len()];
    let value = fields.rest();
    let Some(point) = fuzzing::ec_point(value, curve.field_bytes()) else { return false };
    assert!(point == value || fuzzing::octet_string(point) == value);
    // A point of the right length may still be off the curve.
    Key::from_ec_public(curve, point).is_ok()
}

pub(super) fn point_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, curve) in (0..).zip(Curve::ALL) {
        let mut scalar = vec![0; curve.field_bytes()];
        scalar[1..].fill(0x5e);
        let key = Key::from_ec_private(curve, &scalar).expect("a good key");
        let point = key.ec_point().expect("a point");
        seeds.push([&[number][..], &point].concat());
        seeds.push([&[number][..], &fuzzing::octet_string(&point)].concat());
    }
    seeds
}
