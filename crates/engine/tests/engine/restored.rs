//! Session objects that outlive their HSM: their client puts them onto another one.

use cryptoki_sys::*;
use proptest::prelude::*;
use strongroom_wire::message::{
    CloseSession, Operation, Outcome, RestoreObjects, Role, SessionObject, SetAttributes,
};

use crate::support::*;

#[test]
fn session_keys_outlive_their_hsm() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = session_pair(&mut alice);
    assert_eq!(alice.kept.len(), 2);
    let signature = alice.bytes(ecdsa(private));
    let other = hsm.beside();
    drop(hsm);
    let mut lost = alice.another(&other);
    assert_eq!(lost.refused(ecdsa(private)), CKR_KEY_HANDLE_INVALID);
    let mut alice = alice.moved(&other);
    alice.done(verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
    let signature = alice.bytes(ecdsa(private));
    alice.done(verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature));
    let mut both = [public, private];
    both.sort_unstable();
    assert_eq!(alice.find(template(&[(CKA_TOKEN, FALSE)]), 10), both);
    alice.done(Operation::CloseSession(CloseSession {}));
    assert_eq!(alice.refused(ecdsa(private)), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn a_change_is_handed_out_and_an_older_version_does_not_undo_it() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = session_pair(&mut alice).1;
    let before = alice.kept.clone();
    alice.set(key, template(&[(CKA_SIGN, FALSE), (CKA_LABEL, b"quiet")])).unwrap();
    let other = hsm.beside();
    let mut moved = alice.moved(&other);
    assert_eq!(moved.refused(ecdsa(key)), CKR_KEY_FUNCTION_NOT_PERMITTED);
    for client in [&mut alice, &mut moved] {
        client.kept.clone_from(&before);
        client.restore().unwrap();
        assert_eq!(client.attribute(key, CKA_LABEL).unwrap(), b"quiet");
        assert_eq!(client.refused(ecdsa(key)), CKR_KEY_FUNCTION_NOT_PERMITTED);
    }
}

#[test]
fn another_client_or_login_gets_nothing() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = session_pair(&mut alice).1;
    let other = hsm.beside();
    let mut bob = other.bob();
    bob.kept.clone_from(&alice.kept);
    let mut stranger = other.alice();
    stranger.kept.clone_from(&alice.kept);
    let mut anonymous = other.client();
    anonymous.kept.clone_from(&alice.kept);
    // The same process under another user's login, and under a later one of the same user.
    let mut process = alice.another(&other);
    process.kept.retain(|_, _| false);
    process.kept.insert(key, alice.kept[&key].clone());
    process.log_in("bob", Role::CryptoUser, PASSWORD).unwrap();
    let mut later = alice.another(&other);
    later.kept.insert(key, alice.kept[&key].clone());
    later.log_in("alice", Role::CryptoUser, PASSWORD).unwrap();
    for client in [&mut bob, &mut stranger, &mut anonymous, &mut process, &mut later] {
        assert_eq!(client.restore().unwrap_err().status, CKR_OBJECT_HANDLE_INVALID);
        assert!(client.find(template(&[(CKA_TOKEN, FALSE)]), 10).is_empty());
    }
}

#[test]
fn what_a_login_made_ends_with_it_on_every_hsm() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = session_pair(&mut alice).1;
    let other = hsm.beside();
    let mut moved = alice.moved(&other);
    moved.bytes(ecdsa(key));
    alice.done(logout());
    assert_eq!(moved.refused(ecdsa(key)), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(moved.restore().unwrap_err().status, CKR_USER_NOT_LOGGED_IN);
    moved.log_in("alice", Role::CryptoUser, PASSWORD).unwrap();
    assert_eq!(moved.refused(ecdsa(key)), CKR_KEY_HANDLE_INVALID);
    assert!(moved.find(template(&[(CKA_TOKEN, FALSE)]), 10).is_empty());
    assert_eq!(moved.restore().unwrap_err().status, CKR_OBJECT_HANDLE_INVALID);
    other.engine.housekeeping();
    assert_eq!(moved.refused(ecdsa(key)), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn of_objects_of_which_one_does_not_open_none_is_restored() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (public, private) = session_pair(&mut alice);
    let other = hsm.beside();
    let mut moved = alice.another(&other);
    let mut broken = alice.kept[&private].clone();
    broken.version += 1;
    let objects = vec![alice.kept[&public].clone(), broken];
    let restore = Operation::RestoreObjects(RestoreObjects { objects });
    assert_eq!(moved.refused(restore), CKR_OBJECT_HANDLE_INVALID);
    assert!(moved.find(template(&[(CKA_TOKEN, FALSE)]), 10).is_empty());
}

#[test]
fn a_key_that_became_a_token_key_keeps_its_old_handle_on_every_hsm() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = session_pair(&mut alice).1;
    let before = alice.kept.clone();
    let set = || SetAttributes { handle: key, template: Some(template(&[(CKA_TOKEN, TRUE)])) };
    let reply = alice.send(70, Operation::SetAttributes(set()));
    let Some(Outcome::Object(made)) = reply.outcome else { panic!("no new handle") };
    let token = made.handle;
    // The answer was lost: the client asks again, here and elsewhere, where the object is as it was.
    let again = alice.send(70, Operation::SetAttributes(set()));
    assert!(matches!(again.outcome, Some(Outcome::Object(made)) if made.handle == token));
    assert_eq!(again.session_objects.len(), 1);
    let other = hsm.beside();
    let mut moved = alice.another(&other);
    moved.kept = before;
    moved.restore().unwrap();
    let again = moved.send(70, Operation::SetAttributes(set()));
    assert!(matches!(again.outcome, Some(Outcome::Object(made)) if made.handle == token));
    // On a third, with what the replies gave.
    alice.done(Operation::CloseSession(CloseSession {}));
    for mut client in [alice.moved(&hsm.beside()), moved.moved(&hsm.beside()), moved] {
        client.bytes(ecdsa(key));
        assert!(client.boolean(key, CKA_TOKEN));
    }
}

#[test]
fn a_retry_gets_the_session_objects_again() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let session = || aes(&[(CKA_TOKEN, FALSE)]);
    let first = alice.send(60, session());
    let again = alice.send(60, session());
    assert_eq!(first.session_objects.len(), 1);
    assert_eq!(again.session_objects.len(), 1);
    assert_eq!(first.session_objects[0].handle, again.session_objects[0].handle);
    let handle = first.session_objects[0].handle;
    assert_eq!(alice.send(61, destroy(handle)).status, 0);
    assert_eq!(alice.send(61, destroy(handle)).status, 0);
    assert_eq!(alice.send(62, destroy(handle)).status, CKR_OBJECT_HANDLE_INVALID);
}

#[test]
fn what_needs_no_login_outlives_its_hsm_without_one() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let class = number(CKO_DATA);
    let note =
        user.object(create(&[(CKA_CLASS, &class), (CKA_PRIVATE, FALSE), (CKA_VALUE, b"note")]));
    user.done(logout());
    user.ticket.clear();
    let mut moved = user.moved(&hsm.beside());
    assert_eq!(moved.attribute(note, CKA_VALUE).unwrap(), b"note");
}

#[test]
fn nothing_is_restored_from_bytes_that_no_hsm_gave() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    for length in [0, 1, 21, 22, 23, 100, 2000] {
        for first in [0, 1, 2] {
            let mut blob = vec![first; length];
            if let Some(bound) = blob.get_mut(1) {
                *bound = 1;
            }
            let object = SessionObject { handle: (1 << 63) | 4, session: 1, version: 0, blob };
            let restore = RestoreObjects { objects: vec![object] };
            let refused = alice.refused(Operation::RestoreObjects(restore));
            assert_eq!(refused, CKR_OBJECT_HANDLE_INVALID);
        }
    }
    alice.done(Operation::RestoreObjects(RestoreObjects::default()));
}

/// Attributes by which two objects are told apart.
const KINDS: [u64; 26] = [
    CKA_CLASS,
    CKA_KEY_TYPE,
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_LABEL,
    CKA_ID,
    CKA_VALUE,
    CKA_VALUE_LEN,
    CKA_SENSITIVE,
    CKA_ALWAYS_SENSITIVE,
    CKA_EXTRACTABLE,
    CKA_NEVER_EXTRACTABLE,
    CKA_LOCAL,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_SIGN,
    CKA_VERIFY,
    CKA_WRAP,
    CKA_UNWRAP,
    CKA_DERIVE,
    CKA_MODIFIABLE,
    CKA_DESTROYABLE,
    CKA_EC_POINT,
    CKA_MODULUS,
    CKA_CHECK_VALUE,
    CKA_SUBJECT,
];

fn shown(client: &mut Client, handle: u64) -> Vec<Result<Vec<u8>, u64>> {
    KINDS.iter().map(|kind| client.attribute(handle, *kind)).collect()
}

/// A request for session objects of any kind.
fn request() -> impl Strategy<Value = Operation> {
    let label = prop::collection::vec(any::<u8>(), 0..40);
    (0..6_u8, label, any::<[bool; 8]>()).prop_map(|(kind, label, flags)| {
        let flag = |number: usize| if flags[number] { TRUE } else { FALSE };
        let class = number(CKO_DATA);
        let secret: Vec<(u64, &[u8])> = vec![
            (CKA_TOKEN, FALSE),
            (CKA_LABEL, &label),
            (CKA_ID, &label),
            (CKA_EXTRACTABLE, flag(0)),
            (CKA_SENSITIVE, flag(1)),
            (CKA_PRIVATE, flag(2)),
            (CKA_ENCRYPT, flag(3)),
            (CKA_WRAP, flag(4)),
        ];
        let private: Vec<(u64, &[u8])> = vec![
            (CKA_LABEL, &label),
            (CKA_EXTRACTABLE, flag(0)),
            (CKA_SENSITIVE, flag(1)),
            (CKA_SIGN, flag(3)),
            (CKA_DERIVE, flag(4)),
        ];
        let public = |more: (u64, &'static [u8])| -> Vec<(u64, &[u8])> { vec![more] };
        match kind {
            0..=2 => aes(&secret),
            3 => generate_pair(CKM_EC_KEY_PAIR_GEN, &public((CKA_EC_PARAMS, P256)), &private),
            4 => generate_pair(
                CKM_EC_KEY_PAIR_GEN,
                &[(CKA_EC_PARAMS, P256), (CKA_TOKEN, flag(5)), (CKA_VERIFY, flag(6))],
                &private,
            ),
            _ => create(&[(CKA_CLASS, &class), (CKA_LABEL, &label), (CKA_VALUE, &label)]),
        }
    })
}

#[test]
fn any_session_object_survives_on_another_hsm() {
    // One cluster in two personalities for all cases: each case has HSMs that have just started.
    for (cluster, user) in [(Hsm::active(), "alice"), (Hsm::token(), "user")] {
        let password = if user == "alice" { PASSWORD } else { b"1234" };
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 40,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let result = runner.run(&request(), |request| {
            let (first, second) = (cluster.beside(), cluster.beside());
            let mut client = first.client();
            client.log_in(user, Role::CryptoUser, password).unwrap();
            if client.call(request).is_err() {
                // The vault's rules refuse this template.
                prop_assert!(client.kept.is_empty());
                return Ok(());
            }
            let mut moved = client.moved(&second);
            for (handle, object) in client.kept.clone() {
                prop_assert_eq!(shown(&mut client, handle), shown(&mut moved, handle));
                let mut changed = object;
                let at = handle as usize % changed.blob.len();
                changed.blob[at] ^= 1 << (handle % 8);
                let restore = RestoreObjects { objects: vec![changed] };
                let refused = moved.refused(Operation::RestoreObjects(restore));
                prop_assert_eq!(refused, CKR_OBJECT_HANDLE_INVALID);
            }
            Ok(())
        });
        result.unwrap();
    }
}
