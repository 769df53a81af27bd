//! Proving who one is: passwords, tickets, lock-out, logout.

use cryptoki_sys::*;
use strongroom_engine::Channel;
use strongroom_wire::message::{Operation, Outcome, Random, Request, Role};

use crate::follower::follower;
use crate::support::*;

#[test]
fn a_ticket_works_only_with_its_proof_on_its_own_connection() {
    let hsm = Hsm::active();
    let alice = hsm.alice();
    let mut thief = hsm.client();
    thief.ticket.clone_from(&alice.ticket);
    assert_eq!(thief.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
    assert_eq!(thief.refused(aes(&[])), CKR_USER_NOT_LOGGED_IN);

    // The right key, over another connection's binding.
    let mut replayed = alice.another(&hsm);
    replayed.binding = alice.binding;
    assert_eq!(replayed.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);

    let mut honest = alice.another(&hsm);
    honest.object(aes(&[]));
}

#[test]
fn on_a_local_socket_the_proof_signs_the_servers_nonce() {
    let hsm = Hsm::active();
    let mut client = hsm.client();
    let channel = Channel { binding: [0; 32], local: true, peer: "local".to_owned() };
    client.connection = hsm.engine.connect(channel);
    let Ok(Some(Outcome::Hello(reply))) = client.call(hello()) else { panic!("no hello") };
    assert_eq!(reply.server_nonce.len(), 32);
    client.binding = reply.server_nonce.try_into().unwrap();
    client.log_in("alice", Role::CryptoUser, PASSWORD).unwrap();
    client.object(aes(&[]));
    client.binding = [0; 32];
    assert_eq!(client.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
}

#[test]
fn unknown_users_wrong_roles_and_wrong_passwords_look_the_same() {
    let hsm = Hsm::active();
    let mut client = hsm.client();
    let long = "x".repeat(1000);
    let mut messages = Vec::new();
    for (user, role, password) in [
        ("alice", Role::CryptoUser, &b"wrong password"[..]),
        ("nobody", Role::CryptoUser, PASSWORD),
        ("alice", Role::Admin, PASSWORD),
        ("app_user", Role::ApplianceUser, PASSWORD),
        ("", Role::CryptoUser, PASSWORD),
        (&long, Role::CryptoUser, PASSWORD),
        ("alice", Role::CryptoUser, b""),
    ] {
        let refused = client.log_in(user, role, password).unwrap_err();
        assert_eq!(refused.status, CKR_PIN_INCORRECT, "{user}");
        messages.push(refused.message);
    }
    messages.dedup();
    assert_eq!(messages.len(), 1);
}

#[test]
fn names_are_the_same_in_any_case_and_passwords_are_not() {
    let hsm = Hsm::active();
    let mut client = hsm.client();
    client.log_in("ALICE", Role::CryptoUser, PASSWORD).unwrap();
    let refused = client.log_in("alice", Role::CryptoUser, b"Correct Horse").unwrap_err();
    assert_eq!(refused.status, CKR_PIN_INCORRECT);
}

#[test]
fn five_failures_lock_a_user_until_an_admin_sets_the_password() {
    let hsm = Hsm::active();
    let mut alice = hsm.client();
    for _ in 0..5 {
        let refused = alice.log_in("alice", Role::CryptoUser, b"wrong password").unwrap_err();
        assert_eq!(refused.status, CKR_PIN_INCORRECT);
    }
    let refused = alice.log_in("alice", Role::CryptoUser, PASSWORD).unwrap_err();
    assert_eq!(refused.status, CKR_PIN_LOCKED);
    // Restarting does not help.
    let hsm = hsm.restart();
    let refused = hsm.client().log_in("alice", Role::CryptoUser, PASSWORD).unwrap_err();
    assert_eq!(refused.status, CKR_PIN_LOCKED);
    hsm.admin().done(change_password("alice", Role::CryptoUser, None, b"another one"));
    hsm.client().log_in("alice", Role::CryptoUser, b"another one").unwrap();
}

#[test]
fn a_good_login_forgives_earlier_failures() {
    let hsm = Hsm::active();
    let mut alice = hsm.client();
    for _ in 0..3 {
        for _ in 0..4 {
            alice.log_in("alice", Role::CryptoUser, b"wrong password").unwrap_err();
        }
        alice.log_in("alice", Role::CryptoUser, PASSWORD).unwrap();
    }
}

#[test]
fn logout_ends_the_login_on_all_connections_of_the_client_and_on_no_others() {
    let hsm = Hsm::active();
    let mut one = hsm.alice();
    let key = one.pair(p256()).1;
    let mut two = one.another(&hsm);
    let mut elsewhere = hsm.alice();
    let sign = || sign(key, mechanism(CKM_ECDSA_SHA256), b"data");
    // Each has the key in its cache.
    for client in [&mut one, &mut two, &mut elsewhere] {
        client.bytes(sign());
        client.bytes(sign());
    }
    one.done(logout());
    for client in [&mut one, &mut two] {
        assert_eq!(client.refused(sign()), CKR_USER_NOT_LOGGED_IN);
        assert_eq!(client.refused(logout()), CKR_USER_NOT_LOGGED_IN);
        assert_eq!(client.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
    }
    elsewhere.bytes(sign());
}

#[test]
fn a_new_password_ends_the_users_logins() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.pair(p256()).1;
    let sign = || sign(key, mechanism(CKM_ECDSA_SHA256), b"data");
    alice.bytes(sign());
    hsm.admin().done(change_password("alice", Role::CryptoUser, None, b"another one"));
    assert_eq!(alice.refused(sign()), CKR_USER_NOT_LOGGED_IN);
    // The client may log out of what has ended.
    alice.done(logout());
    alice.log_in("alice", Role::CryptoUser, b"another one").unwrap();
    alice.bytes(sign());
}

#[test]
fn a_ticket_outlives_a_restart() {
    let hsm = Hsm::active();
    let alice = hsm.alice();
    let hsm = hsm.restart();
    let mut alice = alice.another(&hsm);
    alice.object(aes(&[]));
}

fn pass_hours(hours: u64, hsms: &[&Hsm]) {
    for _ in 0..hours {
        pass_ms(60 * 60 * 1000);
        for hsm in hsms {
            hsm.engine.housekeeping();
        }
    }
}

#[test]
fn a_login_whose_client_is_gone_for_a_day_is_closed() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (bob, other) = (hsm.bob(), hsm.beside());
    // Her connection ends; each time that she comes back, by way of another HSM, counts.
    alice.connection = hsm.client().connection;
    for _ in 0..3 {
        pass_hours(23, &[&hsm, &other]);
        drop(alice.another(&other));
    }
    let (id, ticket, pkcs8) = (alice.id, alice.ticket.clone(), alice.key.to_pkcs8().unwrap());
    pass_hours(32, &[&other, &hsm]);
    let mut alice = hsm.client();
    alice.ticket = ticket;
    alice.id = id;
    alice.key = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    assert_eq!(alice.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
    bob.another(&hsm).object(aes(&[]));
}

#[test]
fn a_login_that_is_used_on_another_hsm_is_not_closed() {
    let hsm = Hsm::active();
    let (other, link) = follower(&hsm, None);
    let mut bob = other.bob();
    for _ in 0..50 {
        pass_hours(1, &[&other, &hsm]);
        link.catch_up();
    }
    bob.object(aes(&[]));
    // The one that does not lead closes nothing.
    drop(bob);
    let open = hsm.memory.shared_logins();
    pass_hours(50, &[&other]);
    assert_eq!(hsm.memory.shared_logins(), open);
    pass_hours(1, &[&hsm]);
    assert!(hsm.memory.shared_logins() < open);
}

#[test]
fn a_ticket_outlives_new_secrets_of_the_cluster() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_TOKEN, FALSE), (CKA_LABEL, b"mine")]));
    hsm.memory.epochs.rotate();
    let mut moved = alice.moved(&hsm.beside());
    assert_eq!(moved.attribute(key, CKA_LABEL).unwrap(), b"mine");
    moved.object(aes(&[]));
    // Even where the key of its epoch is forgotten: the state knows the login's own key.
    hsm.memory.epochs.forget_before(2);
    let pkcs8 = alice.key.to_pkcs8().unwrap();
    let mut late = hsm.client();
    late.id = alice.id;
    late.ticket.clone_from(&alice.ticket);
    late.key = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    late.attach().unwrap();
    late.object(aes(&[]));
    let mut forger = hsm.client();
    forger.ticket.clone_from(&alice.ticket);
    assert_eq!(forger.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
    let mut ended = hsm.client();
    ended.ticket.clone_from(&alice.ticket);
    ended.key = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    late.call(Operation::Logout(Default::default())).unwrap();
    assert_eq!(ended.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
}

#[test]
fn nothing_but_health_and_identity_is_answered_before_hello_and_attach() {
    let hsm = Hsm::active();
    let channel = Channel { binding: [1; 32], local: false, peer: "test".to_owned() };
    let mut connection = hsm.engine.connect(channel);
    let mut status = |operation| {
        let request = Request { api_level: 1, operation: Some(operation), ..Request::default() };
        connection.handle(request).status
    };
    let random = || Operation::Random(Random { bytes: 4 });
    assert_eq!(status(Operation::Ping(Default::default())), CKR_OK);
    assert_eq!(status(random()), CKR_ARGUMENTS_BAD);
    assert_eq!(status(hello()), CKR_OK);
    assert_eq!(status(random()), CKR_ARGUMENTS_BAD);
    assert_eq!(status(Operation::HsmInfo(Default::default())), CKR_OK);
    assert!(!connection.attached());
}

#[test]
fn a_level_that_was_not_agreed_on_is_refused() {
    let hsm = Hsm::active();
    let mut client = hsm.client();
    let reply = client.connection.handle(Request {
        api_level: 2,
        operation: Some(Operation::HsmInfo(Default::default())),
        ..Request::default()
    });
    assert_eq!(reply.status, CKR_ARGUMENTS_BAD);
    let too_new = strongroom_wire::message::Hello {
        api_level_min: 7,
        api_level_max: 9,
        client_name: String::new(),
    };
    assert_eq!(client.refused(Operation::Hello(too_new)), CKR_ARGUMENTS_BAD);
}

#[test]
fn connections_are_counted_and_only_proven_ones_get_large_frames() {
    let hsm = Hsm::active();
    assert_eq!(hsm.engine.connections(), 0);
    let anonymous = hsm.client();
    let alice = hsm.alice();
    assert_eq!(hsm.engine.connections(), 2);
    assert!(!anonymous.connection.attached() && !anonymous.connection.may_rest());
    assert!(alice.connection.attached() && alice.connection.may_rest());
    drop((anonymous, alice));
    assert_eq!(hsm.engine.connections(), 0);
}

#[test]
fn no_password_is_on_the_disk() {
    let hsm = Hsm::active();
    let _alice = hsm.alice();
    assert!(!hsm.disk_holds(PASSWORD));
}

/// As the engine encodes them.
#[derive(Clone, PartialEq, prost::Message)]
struct Claims {
    #[prost(uint64, tag = "1")]
    login: u64,
    #[prost(uint32, tag = "2")]
    user: u32,
    #[prost(uint32, tag = "3")]
    role: u32,
    #[prost(bytes = "vec", tag = "4")]
    client_public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    domain: Vec<u8>,
}

#[test]
fn whoever_has_the_ticket_key_of_a_removed_hsm_opens_no_login_with_it() {
    use aws_lc_rs::signature::KeyPair;
    use prost::Message;
    let hsm = Hsm::active();
    let alice = hsm.alice();
    let mut thief = hsm.client();
    let genuine = alice.ticket.clone();
    let forge = |public_key: &[u8]| {
        let (head, rest) = genuine.split_at(9);
        let mut claims = Claims::decode(&rest[..rest.len() - 32]).unwrap();
        claims.client_public_key = public_key.to_vec();
        let signed = [head, &claims.encode_to_vec()].concat();
        let key = strongroom_crypto::symmetric::derive(&[0x22; 32], b"strongroom ticket 1");
        let mac = strongroom_crypto::symmetric::hmac_sha256(key.as_bytes(), &signed);
        [&signed[..], &mac].concat()
    };
    assert_eq!(forge(alice.key.public_key().as_ref()), genuine, "the key is the right one");
    thief.ticket = forge(thief.key.public_key().as_ref());
    assert_eq!(thief.attach().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
}
