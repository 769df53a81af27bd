//! Many connections at once: what was told holds for all of them, at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use cryptoki_sys::*;
use strongroom_engine::{Connection, Engine};
use strongroom_wire::message::Role;

use crate::support::*;

#[test]
fn connections_can_be_given_to_threads_and_engines_shared() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<Connection>();
    is_sync::<Engine>();
}

#[test]
fn no_signature_is_made_after_its_permission_was_taken() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.pair(p256()).1;
    let taken = AtomicBool::new(false);
    let signatures = AtomicUsize::new(0);
    let clients: Vec<Client> = (0..3).map(|_| alice.another(&hsm)).collect();
    let ready = Barrier::new(clients.len() + 1);
    thread::scope(|scope| {
        for mut client in clients {
            let (taken, signatures, ready) = (&taken, &signatures, &ready);
            scope.spawn(move || {
                ready.wait();
                loop {
                    let was_taken = taken.load(Ordering::SeqCst);
                    match client.call(ecdsa(key)) {
                        Ok(_) => assert!(!was_taken, "signed without permission"),
                        Err(refused) => {
                            assert_eq!(refused.status, CKR_KEY_FUNCTION_NOT_PERMITTED);
                            return;
                        }
                    }
                    signatures.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        ready.wait();
        while signatures.load(Ordering::SeqCst) < 100 {
            thread::yield_now();
        }
        alice.set(key, template(&[(CKA_SIGN, FALSE)])).unwrap();
        taken.store(true, Ordering::SeqCst);
    });
}

#[test]
fn keys_come_and_go_under_load_and_each_works_while_it_is_there() {
    let hsm = Hsm::active();
    let alice = hsm.alice();
    let clients: Vec<Client> = (0..4).map(|_| alice.another(&hsm)).collect();
    thread::scope(|scope| {
        for (at, mut client) in clients.into_iter().enumerate() {
            client.sequence += 10_000 * at as u64;
            scope.spawn(move || {
                for round in 0..20 {
                    let (public, private) = client.pair(p256());
                    let signature = client.bytes(ecdsa(private));
                    let check = verify(public, mechanism(CKM_ECDSA_SHA256), b"data", &signature);
                    client.done(check);
                    client.done(destroy(private));
                    assert_eq!(client.refused(ecdsa(private)), CKR_KEY_HANDLE_INVALID, "{round}");
                    client.done(destroy(public));
                }
            });
        }
    });
    assert!(alice.another(&hsm).find(template(&[]), 10).is_empty());
}

#[test]
fn guesses_at_the_same_time_buy_no_more_of_them() {
    let hsm = Hsm::active();
    let guesses = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            let (hsm, guesses) = (&hsm, &guesses);
            scope.spawn(move || {
                let mut client = hsm.client();
                for _ in 0..2 {
                    let refused =
                        client.log_in("alice", Role::CryptoUser, b"wrong password").unwrap_err();
                    match refused.status {
                        CKR_PIN_INCORRECT => drop(guesses.fetch_add(1, Ordering::SeqCst)),
                        status => assert_eq!(status, CKR_PIN_LOCKED),
                    }
                }
            });
        }
    });
    assert_eq!(guesses.into_inner(), 5);
}

#[test]
fn nothing_is_told_that_a_crash_could_take_back() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let mut other = alice.another(&hsm);
    let key = alice.object(aes(&[(CKA_LABEL, b"before")]));
    hsm.lag(true);
    // Applied, and not on disk.
    assert_eq!(alice.set(key, template(&[(CKA_LABEL, b"after")])), Err(CKR_DEVICE_ERROR));
    assert_eq!(other.attribute(key, CKA_LABEL), Err(CKR_DEVICE_ERROR));
    hsm.lag(false);
    assert_eq!(other.attribute(key, CKA_LABEL).unwrap(), b"after");
}
