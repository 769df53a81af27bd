//! Tickets, their proofs, and the end of a login.

use cryptoki_sys::{
    CKR_PIN_INCORRECT, CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
    CKR_USER_NOT_LOGGED_IN,
};
use strongroom_client::{Client, Config};
use strongroom_wire::message::{DestroyObject, Operation, Random, Role};

use crate::{
    fake::{Action, FakeHsm, Seen, answer, refuse},
    folder::Folder,
};

fn random() -> Operation {
    Operation::Random(Random { bytes: 1 })
}

fn willing(_: &Seen, _: &Operation) -> Action {
    answer(None)
}

fn needs_login(seen: &Seen, operation: &Operation) -> Action {
    match operation {
        Operation::Login(_) => answer(None),
        _ if !seen.logged_in => refuse(CKR_USER_NOT_LOGGED_IN),
        _ => answer(None),
    }
}

#[test]
fn a_login_covers_all_connections_also_new_ones() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), needs_login);
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    assert_eq!(client.call(0, random()).unwrap_err().ckr(), CKR_USER_NOT_LOGGED_IN);
    client.login("user", Role::CryptoUser, b"canary-1234").unwrap();
    assert_eq!(client.logged_in(), Some(Role::CryptoUser));
    client.call(0, random()).unwrap();
    hsm.cut();
    // The fake checks that the proof is for the new connection.
    client.call(0, random()).unwrap();
    assert_eq!(hsm.passwords(), [b"canary-1234"]);
}

#[test]
fn connections_that_were_there_before_the_login_are_put_under_it() {
    let folder = Folder::new();
    let _hsm = FakeHsm::local(folder.path(), needs_login);
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    std::thread::scope(|scope| {
        let (to_thread, from_main) = std::sync::mpsc::channel();
        let (to_main, from_thread) = std::sync::mpsc::channel();
        let other = &client;
        scope.spawn(move || {
            other.call(0, random()).unwrap_err();
            to_main.send(()).unwrap();
            from_main.recv().unwrap();
            other.call(0, random()).unwrap();
        });
        from_thread.recv().unwrap();
        client.login("user", Role::CryptoUser, b"1234").unwrap();
        to_thread.send(()).unwrap();
    });
}

#[test]
fn a_wrong_password_leaves_nobody_logged_in() {
    let folder = Folder::new();
    let _hsm = FakeHsm::local(folder.path(), |_, _| refuse(CKR_PIN_INCORRECT));
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    let error = client.login("user", Role::CryptoUser, b"wrong").unwrap_err();
    assert_eq!(error.ckr(), CKR_PIN_INCORRECT);
    assert_eq!(client.logged_in(), None);
}

#[test]
fn one_login_at_a_time() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), willing);
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    let error = client.login("user", Role::CryptoUser, b"1234").unwrap_err();
    assert_eq!(error.ckr(), CKR_USER_ALREADY_LOGGED_IN);
    let error = client.login("so", Role::Admin, b"1234").unwrap_err();
    assert_eq!(error.ckr(), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
    assert_eq!(hsm.passwords().len(), 1);
}

#[test]
fn after_logout_nothing_goes_out_under_the_login() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), willing);
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    client.logout().unwrap();
    assert_eq!(client.logged_in(), None);
    client.call(0, random()).unwrap();
    let requests = hsm.requests();
    let last = requests.last().unwrap();
    assert!(!last.logged_in);
    assert!(requests.iter().any(|request| request.name == "Logout" && request.logged_in));
    assert_eq!(client.logout().unwrap_err().ckr(), CKR_USER_NOT_LOGGED_IN);
    client.login("user", Role::CryptoUser, b"1234").unwrap();
}

#[test]
fn a_login_that_the_hsm_has_ended_is_over_here_too() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), needs_login);
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    hsm.end_logins();
    hsm.cut();
    assert_eq!(client.call(0, random()).unwrap_err().ckr(), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(client.logged_in(), None);
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    client.call(0, random()).unwrap();
}

#[test]
fn a_login_that_ends_on_an_open_connection_is_noticed_by_the_refusal() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |_, operation| match operation {
        Operation::Random(_) => refuse(CKR_USER_NOT_LOGGED_IN),
        _ => answer(None),
    });
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    // The login may not do this, and goes on.
    client.call(0, random()).unwrap_err();
    assert_eq!(client.logged_in(), Some(Role::CryptoUser));
    // The login has ended.
    hsm.end_logins();
    client.call(0, random()).unwrap_err();
    assert_eq!(client.logged_in(), None);
}

#[test]
fn a_lost_change_under_a_login_is_sent_again_under_it() {
    let folder = Folder::new();
    let cut = std::sync::atomic::AtomicBool::new(true);
    let hsm = FakeHsm::local(folder.path(), move |_, operation| match operation {
        Operation::DestroyObject(_) if cut.swap(false, std::sync::atomic::Ordering::Relaxed) => {
            Action::Cut
        }
        _ => answer(None),
    });
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    client.call(0, Operation::DestroyObject(DestroyObject { handle: 1 })).unwrap();
    let mut requests = hsm.requests();
    requests.retain(|request| request.name == "DestroyObject");
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.logged_in));
    assert_eq!(requests[0].sequence, requests[1].sequence);
}
