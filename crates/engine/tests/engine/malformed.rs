//! Whatever a request holds, there is an answer, and the HSM goes on.

use proptest::prelude::*;
use prost::Message;
use strongroom_wire::message::{DeleteUser, Operation, Request, Role};

use crate::support::*;

/// Numbers near those that mean something.
fn interesting() -> impl Strategy<Value = u64> {
    use cryptoki_sys::*;
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(1 << 63),
        (0x68_0001_u64..0x68_0010),
        (0_u64..0x200),
        prop::sample::select(vec![
            CKM_AES_GCM,
            CKM_AES_CBC_PAD,
            CKM_ECDSA_SHA256,
            CKM_SHA256_RSA_PKCS_PSS,
            CKM_RSA_PKCS_OAEP,
            CKM_AES_KEY_GEN,
            CKM_EC_KEY_PAIR_GEN,
            CKM_GENERIC_SECRET_KEY_GEN,
            CKM_SHA256_HMAC,
            CKA_WRAP_TEMPLATE,
            CKA_ALLOWED_MECHANISMS,
        ]),
        any::<u64>(),
    ]
}

/// A protobuf field: numbers, bytes, nested messages, in the tags that the protocol uses.
fn field(depth: u32) -> BoxedStrategy<Vec<u8>> {
    let varint = (1_u32..6, interesting()).prop_map(|(tag, value)| {
        let mut out = Vec::new();
        prost::encoding::uint64::encode(tag, &value, &mut out);
        out
    });
    let bytes = (
        1_u32..6,
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            interesting().prop_map(|n| n.to_le_bytes().to_vec()),
            Just(P256.to_vec()),
            Just(vec![1]),
            Just(vec![0; 12]),
        ],
    )
        .prop_map(|(tag, value)| {
            let mut out = Vec::new();
            prost::encoding::bytes::encode(tag, &value, &mut out);
            out
        });
    if depth == 0 {
        return prop_oneof![varint, bytes].boxed();
    }
    let nested =
        (1_u32..6, prop::collection::vec(field(depth - 1), 0..5)).prop_map(|(tag, fields)| {
            let mut out = Vec::new();
            prost::encoding::bytes::encode(tag, &fields.concat(), &mut out);
            out
        });
    prop_oneof![varint, bytes, nested].boxed()
}

/// An encoded operation of a random kind with random content.
fn operation() -> impl Strategy<Value = Vec<u8>> {
    (16_u32..47, prop::collection::vec(field(2), 0..6)).prop_map(|(tag, fields)| {
        let mut out = Vec::new();
        prost::encoding::bytes::encode(tag, &fields.concat(), &mut out);
        out
    })
}

fn decoded() -> impl Strategy<Value = Request> {
    (operation(), 0_u64..8, 0_u64..8, 0_u64..3).prop_filter_map(
        "no request",
        |(operation, sequence, lowest, session)| {
            let mut request = Request::decode(operation.as_slice()).ok()?;
            // Each costs a hash: another test has them.
            let slow = matches!(
                request.operation,
                Some(
                    Operation::Login(_)
                        | Operation::ActivateCluster(_)
                        | Operation::CreateUser(_)
                        | Operation::ChangePassword(_)
                        | Operation::InitToken(_)
                        | Operation::InitPin(_)
                )
            );
            if slow {
                return None;
            }
            request.api_level = 1;
            request.sequence = sequence;
            request.lowest_unanswered = lowest;
            request.session = session;
            Some(request)
        },
    )
}

/// Sends a series of requests on fresh connections to one HSM; it must answer each, and afterwards
/// still work.
fn survives(hsm: &Hsm, client: &mut Client, requests: Vec<Request>) {
    for request in requests {
        let sequence = request.sequence;
        let reply = client.connection.handle(request);
        assert_eq!(reply.sequence, sequence);
        assert!(reply.status == 0 || reply.outcome.is_none());
        assert!(reply.log_index <= hsm.memory.durable());
    }
    assert_eq!(client.call(hello()).map(|_| ()).map_err(|e| e.status), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_requests_get_an_answer(
        as_user in prop::collection::vec(decoded(), 1..100),
        anonymous in prop::collection::vec(decoded(), 1..30),
    ) {
        thread_local! {
            static HSM: Hsm = {
                let hsm = Hsm::active();
                let mut alice = hsm.alice();
                alice.object(aes(&[(cryptoki_sys::CKA_ENCRYPT, TRUE), (cryptoki_sys::CKA_WRAP, TRUE)]));
                alice.pair(p256());
                hsm
            };
        }
        HSM.with(|hsm| {
            survives(hsm, &mut hsm.alice(), as_user);
            survives(hsm, &mut hsm.client(), anonymous);
        });
    }
}

#[test]
fn requests_with_passwords_in_odd_forms_get_an_answer() {
    let hsm = Hsm::active();
    let mut admin = hsm.admin();
    for role in [-1, 0, 1, 2, 3, 4, 5, i32::MAX] {
        for name in ["", "admin", "no such user", "\0"] {
            let delete = DeleteUser { user: name.to_owned(), role };
            admin.refused(Operation::DeleteUser(delete));
        }
        let mut login = strongroom_wire::message::Login::default();
        login.role = role;
        login.user = "alice".to_owned();
        login.client_public_key = vec![0; 31];
        admin.refused(Operation::Login(login));
    }
    admin.refused(change_password("nobody", Role::CryptoUser, None, b"12345678"));
}

#[test]
fn a_request_without_an_operation_is_answered() {
    let hsm = Hsm::active();
    let reply = hsm.client().connection.handle(Request { sequence: 9, ..Request::default() });
    assert_eq!(reply.sequence, 9);
    assert_eq!(reply.status, cryptoki_sys::CKR_ARGUMENTS_BAD);
}
