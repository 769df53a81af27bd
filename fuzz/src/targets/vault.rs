//! What the vault decodes: log entries, results, metadata, records of the state, templates.
//!
//! What decodes must be written again as something that decodes to the same.

use cryptoki_sys::*;
use prost::Message as _;
use strongroom_vault::attributes::{self, Attribute, Origin, Reading, table};
use strongroom_vault::codec::{
    decode_entry, decode_meta, decode_result, encode_entry, encode_meta, encode_result,
};
use strongroom_vault::{
    Flags, Handle, LoginId, Meta, NodeId, Outcome, Personality, Refusal, State, UserId,
};
use strongroom_wire::message::Template;

use super::history;
use crate::input::{Fields, short};

/// One entry of the log.
pub(super) fn entry(data: &[u8]) -> bool {
    let Ok(entry) = decode_entry(data) else { return false };
    assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry));
    true
}

pub(super) fn entry_seeds() -> Vec<Vec<u8>> {
    history::all().iter().flat_map(|history| &history.entries).map(encode_entry).collect()
}

/// A remembered result.
pub(super) fn result(data: &[u8]) -> bool {
    let Ok(result) = decode_result(data) else { return false };
    assert_eq!(decode_result(&encode_result(&result)), Ok(result));
    true
}

pub(super) fn result_seeds() -> Vec<Vec<u8>> {
    let users = history::all()
        .into_iter()
        .flat_map(|history| history.state.users().cloned().collect::<Vec<_>>());
    let charged = users.map(|user| Ok(Outcome::LoginCharged { user: Some(user) }));
    let others = [
        Ok(Outcome::Done),
        Ok(Outcome::Created(vec![Handle::FIRST, Handle(u64::MAX)])),
        Ok(Outcome::LoginCharged { user: None }),
        Ok(Outcome::LoginOpened(LoginId(7))),
        Ok(Outcome::UserCreated(UserId(3))),
        Ok(Outcome::MemberAdded(NodeId(2))),
        Err(Refusal { ckr: CKR_USER_NOT_LOGGED_IN, message: "log in first".into() }),
    ];
    charged.chain(others).map(|result| encode_result(&result)).collect()
}

/// An object's metadata, and reading every attribute of it.
pub(super) fn meta(data: &[u8]) -> bool {
    let Ok(meta) = decode_meta(data) else { return false };
    assert_eq!(decode_meta(&encode_meta(&meta)).as_ref(), Ok(&meta));
    read_all(&meta);
    true
}

/// What is read matches itself, and what may not be read matches nothing.
fn read_all(meta: &Meta) {
    for row in table::TABLE {
        let kind = row.kind;
        match attributes::read(meta, kind) {
            Reading::Value(value) => {
                let same = Attribute::new(kind, value);
                assert_eq!(attributes::matches(meta, &same), Some(true), "{}", row.name);
            }
            Reading::Body => assert_eq!(matches(meta, kind), None, "{}", row.name),
            Reading::Sensitive | Reading::Invalid => {
                assert_eq!(matches(meta, kind), Some(false), "{}", row.name);
            }
        }
    }
}

fn matches(meta: &Meta, kind: u64) -> Option<bool> {
    attributes::matches(meta, &Attribute::new(kind, [1]))
}

pub(super) fn meta_seeds() -> Vec<Vec<u8>> {
    let mut rich = Meta {
        class: CKO_PRIVATE_KEY,
        key_type: Some(CKK_RSA),
        flags: Flags::ALL,
        label: b"label".to_vec(),
        cka_id: vec![1, 2, 3],
        size_bits: 2048,
        check_value: Some([1, 2, 3]),
        generated_by: Some(CKM_RSA_PKCS_KEY_PAIR_GEN),
        ..Meta::default()
    };
    rich.more.insert(CKA_SUBJECT, b"CN=x".to_vec());
    rich.more.insert(CKA_ALLOWED_MECHANISMS, CKM_RSA_PKCS.to_le_bytes().to_vec());
    rich.more.insert(CKA_START_DATE, b"20261124".to_vec());
    let metas = [Meta::default(), history::aes(Personality::CloudHsm), rich];
    metas.iter().map(encode_meta).collect()
}

/// A record of the state: its key behind a byte of length, then its value. A record that loads is
/// written again under its key, and the new one loads to an equal state.
pub(super) fn record(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let (key, value) = (fields.short(), fields.rest());
    let mut state = State::new();
    if state.load(key, value).is_err() {
        return false;
    }
    let written = state.records().find(|(other, _)| other == key);
    let (_, written) = written.expect("the state has the record that it loaded");
    let mut again = State::new();
    again.load(key, &written).expect("the state's own record loads");
    assert_eq!(again.digest(), state.digest());
    true
}

pub(super) fn record_seeds() -> Vec<Vec<u8>> {
    let records = history::all().into_iter().flat_map(|history| history.disk.records);
    records.map(|(key, value)| [short(&key), value].concat()).collect()
}

const ORIGINS: [Origin; 6] = [
    Origin::Generate,
    Origin::GeneratePublic,
    Origin::GeneratePrivate,
    Origin::Create,
    Origin::Unwrap,
    Origin::Derive,
];

/// What a mechanism implies: class, key type, and its own number.
type Implied = (Option<u64>, Option<u64>, Option<u64>);

const IMPLIED: [Implied; 5] = [
    (None, None, None),
    (Some(CKO_SECRET_KEY), Some(CKK_AES), Some(CKM_AES_KEY_GEN)),
    (Some(CKO_SECRET_KEY), None, None),
    (Some(CKO_PUBLIC_KEY), Some(CKK_EC), Some(CKM_EC_KEY_PAIR_GEN)),
    (Some(CKO_PRIVATE_KEY), Some(CKK_RSA), Some(CKM_RSA_PKCS_KEY_PAIR_GEN)),
];

/// A template: origin, personality and what is implied in a byte each, then the template as the wire
/// has it. What it makes can be kept and read.
pub(super) fn template(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let origin = ORIGINS[usize::from(fields.byte()) % ORIGINS.len()];
    let personality = personality(fields.byte());
    let (class, key_type, mechanism) = IMPLIED[usize::from(fields.byte()) % IMPLIED.len()];
    let Ok(template) = Template::decode(fields.rest()) else { return false };
    let template: Vec<Attribute> = template
        .attributes
        .iter()
        .map(|attribute| Attribute::new(attribute.kind, attribute.value.clone()))
        .collect();
    let draft = attributes::draft(origin, personality, class, key_type, mechanism, &template);
    let Ok(draft) = draft else { return false };
    assert_eq!(decode_meta(&encode_meta(&draft.meta)).as_ref(), Ok(&draft.meta));
    read_all(&draft.meta);
    true
}

fn personality(byte: u8) -> Personality {
    if byte & 1 == 0 { Personality::CloudHsm } else { Personality::Token }
}

pub(super) fn template_seeds() -> Vec<Vec<u8>> {
    let number = |kind, value| Attribute::number(kind, value);
    let flag = |kind, value| Attribute::boolean(kind, value);
    let nested = attributes::encode_template(&[flag(CKA_EXTRACTABLE, false)]);
    let secret = vec![
        number(CKA_CLASS, CKO_SECRET_KEY),
        number(CKA_KEY_TYPE, CKK_AES),
        number(CKA_VALUE_LEN, 32),
        flag(CKA_TOKEN, true),
        flag(CKA_SENSITIVE, true),
        flag(CKA_ENCRYPT, true),
        Attribute::new(CKA_LABEL, *b"label"),
        Attribute::new(CKA_ID, [1, 2]),
        Attribute::new(CKA_START_DATE, *b"20261124"),
        Attribute::new(CKA_ALLOWED_MECHANISMS, CKM_AES_GCM.to_le_bytes()),
        Attribute::new(CKA_WRAP_TEMPLATE, nested.clone()),
        Attribute::new(CKA_UNWRAP_TEMPLATE, nested),
    ];
    let value = vec![
        number(CKA_CLASS, CKO_SECRET_KEY),
        number(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
        Attribute::new(CKA_VALUE, [7; 40]),
    ];
    let public = vec![
        Attribute::new(CKA_EC_PARAMS, strongroom_crypto::Curve::P256.params()),
        flag(CKA_VERIFY, true),
    ];
    let private = vec![
        flag(CKA_SIGN, true),
        flag(CKA_ALWAYS_AUTHENTICATE, true),
        Attribute::new(CKA_SUBJECT, *b"CN=x"),
    ];
    let certificate = vec![
        number(CKA_CLASS, CKO_CERTIFICATE),
        number(CKA_CERTIFICATE_TYPE, CKC_X_509),
        Attribute::new(CKA_SUBJECT, *b"CN=x"),
        Attribute::new(CKA_VALUE, [0x30, 0]),
    ];
    let data = vec![
        number(CKA_CLASS, CKO_DATA),
        Attribute::new(CKA_APPLICATION, *b"app"),
        Attribute::new(CKA_VALUE, *b"data"),
    ];
    let cases = [
        ([0, 0, 1], &secret),
        ([0, 1, 1], &secret),
        ([4, 0, 0], &secret),
        ([3, 0, 0], &value),
        ([3, 1, 0], &value),
        ([1, 1, 3], &public),
        ([2, 0, 4], &private),
        ([3, 1, 0], &certificate),
        ([3, 0, 0], &data),
        ([5, 1, 2], &secret),
    ];
    let seeds =
        cases.map(|(head, template)| [&head[..], &attributes::encode_template(template)].concat());
    seeds.to_vec()
}

/// A template that is itself an attribute's value.
pub(super) fn nested(data: &[u8]) -> bool {
    let Ok(template) = attributes::decode_template(data) else { return false };
    let again = attributes::decode_template(&attributes::encode_template(&template));
    assert_eq!(again, Ok(template.clone()));
    assert_eq!(attributes::merge(&template, &template), Ok(template));
    true
}

pub(super) fn nested_seeds() -> Vec<Vec<u8>> {
    let template = [
        Attribute::boolean(CKA_EXTRACTABLE, true),
        Attribute::number(CKA_KEY_TYPE, CKK_AES),
        Attribute::new(CKA_LABEL, *b"label"),
        Attribute::new(CKA_END_DATE, *b"20270101"),
        Attribute::new(CKA_ALLOWED_MECHANISMS, CKM_AES_GCM.to_le_bytes()),
    ];
    vec![attributes::encode_template(&template), attributes::encode_template(&template[..1])]
}
