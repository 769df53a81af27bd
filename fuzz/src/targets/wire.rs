//! Frames and messages of the ports.

use prost::Message as _;
use strongroom_wire::admin::{AdminOperation, AdminReply, AdminRequest, Initialize};
use strongroom_wire::frame;
use strongroom_wire::greeting::{Greeting, Lane};
use strongroom_wire::joining::{WelcomeAnswer, WelcomeMessage};
use strongroom_wire::limits::FRAME_BYTES_BEFORE_ATTACH_MAX;
use strongroom_wire::message::*;
use strongroom_wire::peer::PeerMember;

/// A byte stream of frames, as a peer that has not attached sends it.
pub(super) fn frame(data: &[u8]) -> bool {
    let mut stream = data;
    let mut buffer = Vec::new();
    let mut taken = false;
    while frame::read_payload(&mut stream, &mut buffer, FRAME_BYTES_BEFORE_ATTACH_MAX).is_ok() {
        assert!(buffer.len() <= FRAME_BYTES_BEFORE_ATTACH_MAX);
        taken = true;
    }
    taken
}

/// One request.
pub(super) fn request(data: &[u8]) -> bool {
    stable::<Request>(data)
}

/// One reply.
pub(super) fn reply(data: &[u8]) -> bool {
    stable::<Reply>(data)
}

/// Both directions of port 2224.
pub(super) fn admin(data: &[u8]) -> bool {
    stable::<AdminRequest>(data) | stable::<AdminReply>(data)
}

/// What a connection of HSMs begins with, and what a new HSM is told: a kind, then the bytes. Nothing comes out over its limits, and what
/// comes out encodes to something that comes out the same.
pub(super) fn joining(data: &[u8]) -> bool {
    fn kept<M: prost::Message + PartialEq, E>(
        data: &[u8],
        parse: impl Fn(&[u8]) -> Result<M, E>,
    ) -> bool {
        let Ok(message) = parse(data) else { return false };
        assert!(parse(&message.encode_to_vec()).is_ok_and(|again| again == message));
        true
    }
    let Some((kind, bytes)) = data.split_first() else { return false };
    match kind % 3 {
        0 => kept(bytes, Greeting::parse),
        1 => kept(bytes, WelcomeMessage::parse),
        _ => kept(bytes, WelcomeAnswer::parse),
    }
}

/// Whether bytes decode; then what they decode to encodes to something that decodes to the same.
pub(super) fn stable<M: prost::Message + Default + PartialEq>(data: &[u8]) -> bool {
    let Ok(message) = M::decode(data) else { return false };
    let again = M::decode(message.encode_to_vec().as_slice());
    assert!(again.is_ok_and(|again| again == message));
    true
}

pub(super) fn frame_seeds() -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    for seed in request_seeds() {
        stream.extend(u32::try_from(seed.len()).unwrap_or(0).to_be_bytes());
        stream.extend(seed);
    }
    vec![stream, vec![0; 4], vec![0xff; 8]]
}

/// One request of each shape, in the order in which a connection would send them.
pub(super) fn request_seeds() -> Vec<Vec<u8>> {
    operations()
        .into_iter()
        .zip(1..)
        .map(|(operation, sequence)| {
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
        })
        .collect()
}

pub(super) fn reply_seeds() -> Vec<Vec<u8>> {
    let mut data = Data::default();
    data.data = vec![1; 32];
    let outcomes = [
        Outcome::Hello(HelloReply { hsm_id: "hsm-2345672345a".into(), ..HelloReply::default() }),
        Outcome::Login(LoginReply { ticket: vec![9; 96], user_id: 3, role: 3 }),
        Outcome::Signature(data),
        Outcome::Found(FoundReply { handles: vec![1, 2, u64::MAX], more: true }),
        Outcome::Attributes(AttributesReply { attributes: vec![AttributeReply::default()] }),
    ];
    outcomes
        .into_iter()
        .map(|outcome| {
            let reply = Reply { sequence: 1, outcome: Some(outcome), ..Reply::default() };
            reply.encode_to_vec()
        })
        .collect()
}

pub(super) fn admin_seeds() -> Vec<Vec<u8>> {
    let operation = AdminOperation::Initialize(Initialize {
        signed_certificate: "-----BEGIN CERTIFICATE-----".into(),
        trust_anchor: "-----BEGIN CERTIFICATE-----".into(),
    });
    let request = AdminRequest { api_level: 1, operation: Some(operation) };
    let reply = AdminReply { error: "no".into(), ..AdminReply::default() };
    vec![request.encode_to_vec(), reply.encode_to_vec()]
}

pub(super) fn joining_seeds() -> Vec<Vec<u8>> {
    let member = PeerMember { node: 1, device_key: vec![1; 32], ..PeerMember::default() };
    let welcome = WelcomeMessage {
        cluster_id: "cluster-abcdefghijk".into(),
        node: 4,
        sealed_secrets: vec![6; 80],
        members: vec![member],
        ..WelcomeMessage::default()
    };
    let answer = WelcomeAnswer { refusal: "no".into() };
    [
        (0, Greeting::new("1.0", Lane::Snapshot).encode_to_vec()),
        (1, welcome.encode_to_vec()),
        (2, answer.encode_to_vec()),
    ]
    .map(|(kind, bytes)| [vec![kind], bytes].concat())
    .to_vec()
}

fn attribute(kind: u64, value: &[u8]) -> Attribute {
    let mut attribute = Attribute::default();
    attribute.kind = kind;
    attribute.value = value.to_vec();
    attribute
}

fn template(attributes: Vec<Attribute>) -> Option<Template> {
    Some(Template { attributes })
}

/// CKA_, CKM_ and CKO_ numbers are written out: a seed need not be right, only near it.
pub(super) fn operations() -> Vec<Operation> {
    let mechanism = |kind| Some(Mechanism { kind, parameter: None });
    let gcm = Parameter::Gcm(GcmParameter { iv: vec![0; 12], aad: vec![7; 5], tag_bits: 128 });
    let pss = Parameter::Pss(PssParameter { hash: 0x250, mgf: 2, salt_length: 32 });
    let aes = template(vec![
        attribute(0x161, &32u64.to_le_bytes()),
        attribute(0x001, &[1]),
        attribute(0x003, b"label"),
        attribute(0x102, &[1, 2, 3]),
        attribute(0x104, &[1]),
    ]);
    let rsa = template(vec![
        attribute(0x121, &2048u64.to_le_bytes()),
        attribute(0x122, &[1, 0, 1]),
        attribute(0x10a, &[1]),
    ]);
    let mut login = Login::default();
    login.user = "alice".into();
    login.role = Role::CryptoUser as i32;
    login.password = b"password1".to_vec();
    login.client_public_key = vec![5; 32];
    let mut sign = Sign::default();
    sign.handle = 0x68_0001;
    sign.mechanism = Some(Mechanism { kind: 0x43, parameter: Some(pss) });
    sign.data = vec![7; 32];
    sign.prehashed = true;
    let mut encrypt = Encrypt::default();
    encrypt.handle = 0x68_0002;
    encrypt.mechanism = Some(Mechanism { kind: 0x1087, parameter: Some(gcm) });
    encrypt.data = vec![3; 64];
    let mut create_user = CreateUser::default();
    create_user.user = "bob".into();
    create_user.role = Role::Admin as i32;
    create_user.password = b"password2".to_vec();
    vec![
        Operation::Hello(Hello { api_level_min: 1, api_level_max: 1, client_name: "fuzz".into() }),
        Operation::Login(login),
        Operation::Attach(Attach { client_id: vec![1; 16], ticket: vec![], proof: vec![] }),
        Operation::GenerateKey(GenerateKey { mechanism: mechanism(0x1080), template: aes.clone() }),
        Operation::GenerateKeyPair(GenerateKeyPair {
            mechanism: mechanism(0x0),
            public_template: rsa,
            private_template: template(vec![attribute(0x108, &[1])]),
        }),
        Operation::CreateObject(CreateObject { template: aes }),
        Operation::GetAttributes(GetAttributes {
            handle: 0x68_0001,
            kinds: vec![0, 3, 0x102, 0x11],
        }),
        Operation::CopyObject(CopyObject {
            handle: 0x68_0001,
            template: template(vec![attribute(0x1, &[1])]),
        }),
        Operation::SetAttributes(SetAttributes {
            handle: 0x68_0001,
            template: template(vec![attribute(0x3, b"new label")]),
        }),
        Operation::FindObjects(FindObjects {
            template: template(vec![attribute(0x3, b"label")]),
            after: 0,
            max: 10,
        }),
        Operation::Sign(sign),
        Operation::Encrypt(encrypt),
        Operation::WrapKey(WrapKey { wrapping_handle: 1, mechanism: mechanism(0x2109), handle: 2 }),
        Operation::UnwrapKey(UnwrapKey {
            wrapping_handle: 1,
            mechanism: mechanism(0x2109),
            wrapped: vec![1; 40],
            template: template(vec![attribute(0x0, &4u64.to_le_bytes())]),
        }),
        Operation::DeriveKey(DeriveKey {
            handle: 1,
            mechanism: Some(Mechanism {
                kind: 0x1050,
                parameter: Some(Parameter::Ecdh(EcdhParameter {
                    kdf: 6,
                    shared_data: vec![2; 8],
                    public_data: vec![4; 65],
                })),
            }),
            template: template(vec![attribute(0x0, &4u64.to_le_bytes())]),
        }),
        Operation::EncapsulateKey(EncapsulateKey {
            handle: 1,
            mechanism: mechanism(0x17),
            template: template(vec![attribute(0x0, &4u64.to_le_bytes())]),
        }),
        Operation::DecapsulateKey(DecapsulateKey {
            handle: 1,
            mechanism: mechanism(0x17),
            ciphertext: vec![3; 768],
            template: template(vec![attribute(0x0, &4u64.to_le_bytes())]),
        }),
        Operation::Random(Random { bytes: 32 }),
        Operation::CreateUser(create_user),
        Operation::TokenInfo(TokenInfo {}),
        Operation::DestroyObject(DestroyObject { handle: 0x68_0001 }),
        Operation::Logout(Logout {}),
    ]
}
