//! What clients ask an engine for, as seeds: keys at work, keys that come and go, passwords.

use cryptoki_sys::*;
use prost::Message as _;
use strongroom_vault::attributes::Attribute as Given;
use strongroom_vault::{Handle, Personality};
use strongroom_wire::message::*;

use super::wire::operations;
use crate::hsm::{FIRST, PASSWORD, scenes, wire};
use crate::input::framed;

/// A day's work in each scene, and one request of each kind alone.
pub(super) fn requests_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (scene, _) in (0..).zip(scenes()) {
        seeds.push(stream(scene, operations().into_iter().filter(stays_logged_in)));
        seeds.push(stream(scene, work()));
        seeds.push(stream(scene, keys()));
    }
    seeds.extend(work().into_iter().chain(keys()).map(|operation| stream(0, vec![operation])));
    seeds
}

/// An Attach without a ticket leaves the login: after it there would be refusals only.
fn stays_logged_in(operation: &Operation) -> bool {
    !matches!(operation, Operation::Attach(_))
}

fn stream(scene: u8, operations: impl IntoIterator<Item = Operation>) -> Vec<u8> {
    let requests = (1..).zip(operations).map(|(sequence, operation)| {
        let request = Request {
            api_level: strongroom_wire::API_LEVEL_MAX,
            sequence,
            lowest_unanswered: sequence,
            seen_index: 0,
            needs_index: None,
            session: 1,
            operation: Some(operation),
        };
        request.encode_to_vec()
    });
    [&[scene][..], &framed(requests)].concat()
}

const AES: u64 = FIRST;
const GENERIC: u64 = FIRST + 2;
const EC_PUBLIC: u64 = FIRST + 3;
const EC_PRIVATE: u64 = FIRST + 4;
const RSA_PUBLIC: u64 = FIRST + 5;
const RSA_PRIVATE: u64 = FIRST + 6;

fn mechanism(kind: u64, parameter: Option<Parameter>) -> Option<Mechanism> {
    Some(Mechanism { kind, parameter })
}

/// Uses of the keys that are there.
fn work() -> Vec<Operation> {
    let iv = || Some(Parameter::Iv(vec![9; 16]));
    let gcm =
        || Some(Parameter::Gcm(GcmParameter { iv: vec![0; 12], aad: vec![7; 5], tag_bits: 128 }));
    let (hash, mgf) = (CKM_SHA256, CKG_MGF1_SHA256);
    let pss = || Some(Parameter::Pss(PssParameter { hash, mgf, salt_length: 32 }));
    let oaep = || Some(Parameter::Oaep(OaepParameter { hash, mgf, label: vec![1] }));
    let data = || vec![5; 32];
    let sign = |handle, mechanism, prehashed| {
        Operation::Sign(Sign { handle, mechanism, data: data(), prehashed })
    };
    let verify = |handle, mechanism, bytes| {
        let signature = vec![1; bytes];
        Operation::Verify(Verify { handle, mechanism, data: data(), prehashed: false, signature })
    };
    let encrypt =
        |handle, mechanism| Operation::Encrypt(Encrypt { handle, mechanism, data: data() });
    let decrypt = |handle, mechanism, bytes| {
        Operation::Decrypt(Decrypt { handle, mechanism, data: vec![1; bytes] })
    };
    let wrap = |wrapping_handle, mechanism, handle| {
        Operation::WrapKey(WrapKey { wrapping_handle, mechanism, handle })
    };
    vec![
        sign(EC_PRIVATE, mechanism(CKM_ECDSA_SHA256, None), false),
        sign(RSA_PRIVATE, mechanism(CKM_SHA256_RSA_PKCS_PSS, pss()), true),
        sign(RSA_PRIVATE, mechanism(CKM_SHA512_RSA_PKCS, None), false),
        sign(GENERIC, mechanism(CKM_SHA256_HMAC, None), false),
        verify(EC_PUBLIC, mechanism(CKM_ECDSA, None), 64),
        verify(RSA_PUBLIC, mechanism(CKM_RSA_PKCS, None), 256),
        verify(GENERIC, mechanism(CKM_SHA384_HMAC, None), 48),
        encrypt(AES, mechanism(CKM_AES_GCM, gcm())),
        encrypt(AES, mechanism(CKM_AES_CBC_PAD, iv())),
        encrypt(AES, mechanism(CKM_AES_CTR, iv())),
        encrypt(RSA_PUBLIC, mechanism(CKM_RSA_PKCS_OAEP, oaep())),
        decrypt(AES, mechanism(CKM_AES_CBC, iv()), 32),
        decrypt(AES, mechanism(CKM_AES_ECB, None), 32),
        decrypt(RSA_PRIVATE, mechanism(CKM_RSA_PKCS, None), 256),
        decrypt(RSA_PRIVATE, mechanism(CKM_RSA_PKCS_OAEP, oaep()), 256),
        wrap(AES, mechanism(CKM_AES_KEY_WRAP_KWP, None), RSA_PRIVATE),
        wrap(AES, mechanism(CKM_AES_KEY_WRAP, None), AES),
        wrap(RSA_PUBLIC, mechanism(CKM_RSA_PKCS_OAEP, oaep()), AES),
        Operation::ListMechanisms(ListMechanisms {}),
        Operation::HsmInfo(HsmInfo {}),
        Operation::ListUsers(ListUsers {}),
        Operation::TokenInfo(TokenInfo {}),
        Operation::DeleteUser(DeleteUser { user: "alice".into(), role: Role::CryptoUser.into() }),
        Operation::CloseSession(CloseSession {}),
        Operation::Logout(Logout {}),
        Operation::Ping(Ping {}),
        Operation::Topology(Topology {}),
        Operation::ClusterInfo(ClusterInfo {}),
        Operation::RestoreObjects(RestoreObjects {
            objects: vec![SessionObject {
                handle: Handle::SESSION_BIT | 5,
                session: 1,
                version: 1,
                blob: [vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 1], vec![7; 60]].concat(),
            }],
        }),
        Operation::SetJoinPolicy(SetJoinPolicy { policy: JoinPolicy::Quorum.into(), approvals: 2 }),
        Operation::ApproveJoin(ApproveJoin { fingerprint: vec![1; 32] }),
        Operation::SetCutOffPolicy(SetCutOffPolicy { seconds: 60 }),
        Operation::SetRecoveryKeys(SetRecoveryKeys { keys: vec![], threshold: 0 }),
        Operation::ClusterCsr(ClusterCsr {}),
        Operation::InstallClusterCertificate(InstallClusterCertificate {
            signed_certificate: "-----BEGIN CERTIFICATE-----".into(),
        }),
    ]
}

/// Keys that are made, changed, found, and destroyed: of the session, and of the token.
fn keys() -> Vec<Operation> {
    let session = |number: u64| Handle::SESSION_BIT | number;
    let flag = Given::boolean;
    let length = Given::number(CKA_VALUE_LEN, 32);
    let aes = |more: &[Given]| {
        let template = Some(wire(&[&[length.clone(), flag(CKA_ENCRYPT, true)], more].concat()));
        Operation::GenerateKey(GenerateKey {
            mechanism: mechanism(CKM_AES_KEY_GEN, None),
            template,
        })
    };
    let generate_pair = |public: &[Given], private: &[Given]| {
        Operation::GenerateKeyPair(GenerateKeyPair {
            mechanism: mechanism(CKM_EC_KEY_PAIR_GEN, None),
            public_template: Some(wire(public)),
            private_template: Some(wire(private)),
        })
    };
    let set = |handle, template: &[Given]| {
        let template = Some(wire(template));
        Operation::SetAttributes(SetAttributes { handle, template })
    };
    let copy = |handle, template: &[Given]| {
        let template = Some(wire(template));
        Operation::CopyObject(CopyObject { handle, template })
    };
    let find = |template: &[Given]| {
        let template = Some(wire(template));
        Operation::FindObjects(FindObjects { template, after: 0, max: 4 })
    };
    let get = |handle| {
        let kinds = vec![CKA_CLASS, CKA_VALUE, CKA_MODULUS, CKA_LABEL, CKA_EC_POINT, CKA_TOKEN];
        Operation::GetAttributes(GetAttributes { handle, kinds })
    };
    let curve = Given::new(CKA_EC_PARAMS, strongroom_crypto::Curve::P384.params());
    let nested = strongroom_vault::attributes::encode_template(&[flag(CKA_SENSITIVE, true)]);
    let unwrapped = [
        Given::number(CKA_CLASS, CKO_SECRET_KEY),
        Given::number(CKA_KEY_TYPE, CKK_AES),
        flag(CKA_TOKEN, true),
    ];
    let key = strongroom_crypto::Key::from_secret(CKK_AES, vec![0x2b; 32]).expect("a key");
    let kwp = strongroom_crypto::mechanism::find(CKM_AES_KEY_WRAP_KWP).expect("a mechanism");
    let wrapped = strongroom_crypto::wrap(&key, kwp, &strongroom_crypto::Params::None, &[6; 32]);
    vec![
        aes(&[flag(CKA_TOKEN, false), flag(CKA_EXTRACTABLE, true)]),
        aes(&[flag(CKA_TOKEN, true), Given::new(CKA_UNWRAP_TEMPLATE, nested)]),
        generate_pair(&[curve, flag(CKA_VERIFY, true)], &[flag(CKA_SIGN, true)]),
        get(session(0)),
        get(session(1)),
        copy(session(0), &[flag(CKA_TOKEN, true), flag(CKA_SENSITIVE, true)]),
        copy(AES, &[flag(CKA_TOKEN, false)]),
        set(session(0), &[flag(CKA_TOKEN, true), Given::new(CKA_LABEL, *b"kept")]),
        set(AES, &[flag(CKA_SENSITIVE, true), flag(CKA_EXTRACTABLE, false)]),
        find(&[]),
        find(&[Given::number(CKA_CLASS, CKO_SECRET_KEY), Given::new(CKA_LABEL, *b"label")]),
        find(&[Given::new(CKA_ID, [1])]),
        get(RSA_PUBLIC),
        get(AES),
        Operation::UnwrapKey(UnwrapKey {
            wrapping_handle: AES,
            mechanism: mechanism(CKM_AES_KEY_WRAP_KWP, None),
            wrapped: wrapped.unwrap_or_default(),
            template: Some(wire(&unwrapped)),
        }),
        Operation::CreateObject(CreateObject {
            template: Some(wire(&[
                Given::number(CKA_CLASS, CKO_DATA),
                Given::new(CKA_VALUE, *b"data"),
            ])),
        }),
        Operation::DestroyObject(DestroyObject { handle: session(1) }),
        Operation::DestroyObject(DestroyObject { handle: RSA_PRIVATE }),
        Operation::Random(Random { bytes: 16 }),
        Operation::CloseSession(CloseSession {}),
    ]
}

/// Each request that has a password, in each scene, right and wrong.
pub(super) fn passwords_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (scene, _) in (0..).zip(scenes()) {
        for operation in with_passwords(personality_of(scene)) {
            seeds.push(stream(scene, vec![operation]));
        }
    }
    seeds
}

/// Scenes 0 to 2 are of a CloudHSM in use, 3 to 5 of a token; then one of each that is fresh.
fn personality_of(scene: u8) -> Personality {
    match scene {
        0..=2 | 6 => Personality::CloudHsm,
        _ => Personality::Token,
    }
}

fn with_passwords(personality: Personality) -> Vec<Operation> {
    let password = || PASSWORD.to_vec();
    let login = |user: &str, role: Role, password: Vec<u8>| {
        let (user, role) = (user.to_owned(), role.into());
        Operation::Login(Login { user, role, password, client_public_key: vec![5; 32] })
    };
    match personality {
        Personality::CloudHsm => vec![
            login("alice", Role::CryptoUser, password()),
            login("admin", Role::Admin, b"wrong password".to_vec()),
            Operation::CreateUser(CreateUser {
                user: "carol".into(),
                role: Role::CryptoUser.into(),
                password: password(),
            }),
            Operation::ChangePassword(ChangePassword {
                user: "alice".into(),
                role: Role::CryptoUser.into(),
                password: b"another one".to_vec(),
                old_password: None,
            }),
            Operation::ActivateCluster(ActivateCluster { password: password() }),
        ],
        Personality::Token => vec![
            login("user", Role::CryptoUser, password()),
            login("so", Role::Admin, password()),
            Operation::InitToken(InitToken { so_pin: password(), label: vec![b' '; 32] }),
            Operation::InitPin(InitPin { pin: b"1234".to_vec() }),
            Operation::ChangePassword(ChangePassword {
                user: "user".into(),
                role: Role::CryptoUser.into(),
                password: b"4321".to_vec(),
                old_password: Some(password()),
            }),
        ],
    }
}
