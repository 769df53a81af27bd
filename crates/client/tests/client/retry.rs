//! What is sent again after a lost connection, and what must not be done twice.

use std::{
    collections::HashMap,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_KEY_HANDLE_INVALID};
use strongroom_client::{Client, Config, Error, config::RetryMode};
use strongroom_wire::message::{
    Data, DestroyObject, GenerateKey, ObjectReply, Operation, Outcome, Personality, Random, Reply,
};

use crate::{
    fake::{Action, End, FakeHsm, Seen, answer, refuse},
    folder::Folder,
};

fn generate() -> Operation {
    Operation::GenerateKey(GenerateKey::default())
}

fn random() -> Operation {
    Operation::Random(Random { bytes: 1 })
}

fn key(handle: u64) -> Action {
    answer(Some(Outcome::Object(ObjectReply { handle })))
}

fn bytes() -> Action {
    answer(Some(Outcome::Data(Data { data: vec![7] })))
}

/// Cuts the connection at the first request of a name, after it has arrived.
fn cut_first(name: &'static str) -> impl Fn(&Seen, &Operation) -> Action + Send + Sync {
    let count = AtomicUsize::new(0);
    move |seen, operation| {
        if seen.name == name && count.fetch_add(1, Ordering::Relaxed) == 0 {
            return Action::Cut;
        }
        match operation {
            Operation::GenerateKey(_) => key(5),
            Operation::Random(_) => bytes(),
            _ => answer(None),
        }
    }
}

#[test]
fn a_change_whose_answer_was_lost_is_sent_again_under_the_same_number() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), cut_first("GenerateKey"));
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    let outcome = client.call(9, generate()).unwrap();
    assert!(matches!(outcome, Some(Outcome::Object(ObjectReply { handle: 5 }))));

    let requests = hsm.requests();
    let [first, second] = requests.as_slice() else { panic!("{requests:?}") };
    assert_ne!(first.connection, second.connection);
    assert_eq!(first.sequence, second.sequence);
    assert_eq!(first.client_id, second.client_id);
    assert_eq!(first.client_id.len(), 16);
    assert_eq!((first.session, second.session), (9, 9));
    assert!(second.lowest_unanswered <= second.sequence);
}

#[test]
fn the_next_change_has_another_number_and_says_that_the_last_one_was_answered() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), cut_first("DestroyObject"));
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    client.call(0, generate()).unwrap();
    client.call(0, Operation::DestroyObject(DestroyObject { handle: 5 })).unwrap();
    let requests = hsm.requests();
    let [generate, first, second] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(generate.sequence < first.sequence);
    assert_eq!(first.sequence, second.sequence);
    assert!(first.lowest_unanswered > generate.sequence);
}

#[test]
fn a_use_of_a_key_is_sent_again() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), cut_first("Random"));
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    client.call(0, random()).unwrap();
    assert_eq!(hsm.requests().len(), 2);
}

#[test]
fn connections_that_died_while_idle_are_noticed() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |_, _| bytes());
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    for _ in 0..3 {
        client.call(0, random()).unwrap();
        hsm.cut();
    }
    client.call(0, random()).unwrap();
    assert_eq!(hsm.requests().len(), 4);
}

#[test]
fn with_retry_mode_off_a_lost_request_fails_and_is_not_sent_again() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), cut_first("GenerateKey"));
    let mut config = Config::local(folder.path());
    config.options.retry = RetryMode::Off;
    let client = Client::open(config, "test").unwrap();
    let error = client.call(0, generate()).unwrap_err();
    assert!(matches!(error, Error::Connection(_)), "{error:?}");
    assert_eq!(hsm.requests().len(), 1);
    client.call(0, generate()).unwrap();
}

#[test]
fn without_an_answer_patience_ends_with_a_device_error_that_says_why() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |_, _| Action::Cut);
    let mut config = Config::local(folder.path());
    config.patience = Duration::from_millis(40);
    let client = Client::open(config, "test").unwrap();
    let error = client.call(0, generate()).unwrap_err();
    assert_eq!(error.ckr(), CKR_DEVICE_ERROR);
    assert!(error.to_string().contains("closed"), "{error}");
    let requests = hsm.requests();
    assert!(requests.len() > 1);
    assert!(requests.iter().all(|request| request.sequence == requests[0].sequence));
}

#[test]
fn a_refusal_is_an_answer_and_is_not_sent_again() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |_, _| refuse(CKR_KEY_HANDLE_INVALID));
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    let error = client.call(0, random()).unwrap_err();
    assert_eq!(error, Error::Hsm { status: CKR_KEY_HANDLE_INVALID, message: "refused".into() });
    assert_eq!(hsm.requests().len(), 1);
}

#[test]
fn an_answer_to_another_request_is_not_taken() {
    let folder = Folder::new();
    let _hsm = FakeHsm::local(folder.path(), |seen, _| {
        Action::Answer(Reply { sequence: seen.sequence + 1, ..Reply::default() })
    });
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    let error = client.call(0, random()).unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[test]
fn a_program_sees_its_own_changes_on_whatever_connection() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |seen, _| {
        let log_index = if seen.name == "GenerateKey" { 42 } else { 17 };
        Action::Answer(Reply { log_index, ..Reply::default() })
    });
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    client.call(0, generate()).unwrap();
    client.call(0, random()).unwrap();
    hsm.cut();
    client.call(0, random()).unwrap();
    let seen: Vec<u64> = hsm.requests().iter().map(|request| request.seen_index).collect();
    assert_eq!(seen[..2], [0, 42]);
    assert_eq!(seen.last(), Some(&42));
}

#[test]
fn another_cluster_in_the_same_place_is_not_trusted_by_a_running_program() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |_, _| bytes());
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    hsm.set_cluster_id("cluster-other");
    hsm.cut();
    let error = client.call(0, random()).unwrap_err();
    assert!(matches!(&error, Error::Trust(why) if why.contains("cluster-other")), "{error:?}");
}

#[test]
fn a_personality_that_was_not_asked_for_is_a_fault_of_the_configuration() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |_, _| bytes());
    hsm.set_personality(Personality::Token);
    let mut config = Config::local(folder.path());
    config.personality = Some(Personality::CloudHsm);
    let Err(error) = Client::open(config, "test") else { panic!("opened") };
    assert!(matches!(error, Error::Config(_)), "{error:?}");
}

#[test]
fn each_thread_keeps_its_connection() {
    const THREADS: usize = 8;
    let together = Barrier::new(THREADS);
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), {
        let all_here = Barrier::new(THREADS);
        move |seen, _| {
            // In the first round no answer comes before all have asked.
            if seen.session == 1 {
                all_here.wait();
            }
            bytes()
        }
    });
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                client.call(1, random()).unwrap();
                together.wait();
                for _ in 0..50 {
                    client.call(2, random()).unwrap();
                }
            });
        }
    });
    let requests = hsm.requests();
    assert_eq!(requests.len(), THREADS * 51);
    let mut uses = HashMap::new();
    for request in &requests {
        *uses.entry(request.connection).or_insert(0) += 1;
    }
    assert_eq!(uses.len(), THREADS, "{uses:?}");
    assert!(uses.values().all(|uses| *uses == 51), "{uses:?}");
}

#[test]
fn more_threads_than_connections_take_turns() {
    const CONNECTIONS: usize = 256;
    let all_in_use = Barrier::new(CONNECTIONS);
    let count = AtomicUsize::new(0);
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), move |_, _| {
        if count.fetch_add(1, Ordering::Relaxed) < CONNECTIONS {
            all_in_use.wait();
        }
        bytes()
    });
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS + 50 {
            scope.spawn(|| client.call(0, random()).unwrap());
        }
    });
    let requests = hsm.requests();
    assert_eq!(requests.len(), CONNECTIONS + 50);
    assert!(requests.iter().all(|request| request.connection < CONNECTIONS));
}

#[test]
fn threads_that_come_and_go_share_one_connection() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |_, _| bytes());
    let mut config = Config::local(folder.path());
    config.patience = Duration::from_secs(5);
    let client = Client::open(config, "test").unwrap();
    for _ in 0..200 {
        thread::scope(|scope| {
            scope.spawn(|| client.call(0, random()).unwrap());
        });
    }
    let connections = hsm.requests().iter().map(|request| request.connection).max().unwrap() + 1;
    assert!(connections <= 65, "{connections} connections");
}

#[test]
fn a_client_that_is_forgotten_says_nothing_more() {
    let folder = Folder::new();
    let hsm = FakeHsm::local(folder.path(), |_, _| bytes());
    let client = Client::open(Config::local(folder.path()), "test").unwrap();
    let other = client.clone();
    let before = hsm.seen();
    client.forget();
    assert_eq!(hsm.next_end(), End::Closed);
    assert_eq!(hsm.seen(), before);
    drop(other);
}
