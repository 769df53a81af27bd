//! Three HSMs of one cluster: what becomes of requests when some die, freeze, are slow, are added or
//! removed.

use std::{
    sync::{
        Arc, Barrier, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_USER_NOT_LOGGED_IN};
use strongroom_client::{Client, Config, Error, config::Server};
use strongroom_wire::message::{
    Data, FindObjects, FoundReply, GenerateKey, ObjectReply, Operation, Outcome, Random, Reply,
    Retry, Role, TopologyHsm, TopologyReply,
};

use crate::{
    fake::{Action, Common, FakeHsm, Seen, answer},
    pki::Pki,
    tls::server_config,
};

pub(crate) const HSM_IDS: [&str; 3] = ["hsm-aaaaaaaaaaa", "hsm-bbbbbbbbbbb", "hsm-ccccccccccc"];
const ZONES: [&str; 3] = ["a", "b", "c"];

/// HSMs of one cluster, in zones a, b and c.
pub(crate) struct Cluster {
    pub(crate) hsms: Vec<FakeHsm>,
    pub(crate) common: Arc<Common>,
}

/// Certificates are made once for all tests.
fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let pki = Pki::new();
        for id in HSM_IDS {
            pki.hsm_of_id(id, "cluster", id);
        }
        pki
    })
}

impl Cluster {
    /// `script` learns which HSM is asked, from 0.
    pub(crate) fn new(
        script: impl Fn(usize, &Seen, &Operation) -> Action + Send + Sync + 'static,
    ) -> Self {
        let (common, script) = (Arc::<Common>::default(), Arc::new(script));
        let hsms = (0..3).map(|number| {
            let config = server_config(pki(), &[HSM_IDS[number], "cluster"]);
            let script = Arc::clone(&script);
            FakeHsm::member(
                Arc::clone(&common),
                HSM_IDS[number],
                ZONES[number],
                config,
                move |seen: &Seen, operation: &Operation| script(number, seen, operation),
            )
        });
        let cluster = Self { hsms: hsms.collect(), common };
        cluster.say(1, &[0, 1, 2]);
        cluster
    }

    /// From now on the cluster says that it has these HSMs.
    pub(crate) fn say(&self, version: u64, members: &[usize]) {
        let hsms = members.iter().map(|&number| {
            let address = self.hsms[number].address();
            TopologyHsm {
                hsm_id: HSM_IDS[number].into(),
                address: address.ip().to_string(),
                port: address.port().into(),
                zone: ZONES[number].into(),
            }
        });
        self.common.set_topology(TopologyReply { version, hsms: hsms.collect() });
    }

    /// A configuration that names these HSMs.
    pub(crate) fn config(&self, named: &[usize]) -> Config {
        let servers = named.iter().map(|&number| {
            let address = self.hsms[number].address();
            Server::new(address.ip().to_string(), address.port())
        });
        let mut config = Config::cluster(pki().file("ca"), servers.collect());
        // Long, so that nothing but what a test waits for ends it.
        config.patience = Duration::from_secs(120);
        config
    }

    pub(crate) fn open(&self) -> Client {
        let client = Client::open(self.config(&[0]), "test").unwrap();
        client.login("user", Role::CryptoUser, b"1234").unwrap();
        client
    }

    /// The requests of a name, with the HSM that they came to.
    pub(crate) fn requests(&self, name: &str) -> Vec<(usize, Seen)> {
        let of = |number: usize| self.hsms[number].requests().into_iter().map(move |r| (number, r));
        (0..3).flat_map(of).filter(|(_, seen)| seen.name == name).collect()
    }

    /// Where requests of a name came to, and how many.
    fn counts(&self, name: &str) -> [usize; 3] {
        let requests = self.requests(name);
        [0, 1, 2].map(|number| requests.iter().filter(|(hsm, _)| *hsm == number).count())
    }

    /// The HSM that this thread is on.
    fn home(&self, client: &Client) -> usize {
        let before = self.counts("Random");
        client.call(0, random()).unwrap();
        let after = self.counts("Random");
        (0..3).find(|&number| after[number] > before[number]).unwrap()
    }
}

pub(crate) fn random() -> Operation {
    Operation::Random(Random { bytes: 1 })
}

fn generate() -> Operation {
    Operation::GenerateKey(GenerateKey::default())
}

pub(crate) fn willing(operation: &Operation) -> Action {
    match operation {
        Operation::GenerateKey(_) => answer(Some(Outcome::Object(ObjectReply { handle: 5 }))),
        Operation::Random(_) => answer(Some(Outcome::Data(Data { data: vec![7] }))),
        _ => answer(None),
    }
}

fn retry(retry: Retry, message: &str) -> Action {
    Action::Answer(Reply {
        status: CKR_DEVICE_ERROR,
        message: message.into(),
        retry: retry.into(),
        ..Reply::default()
    })
}

#[test]
fn one_configured_hsm_is_enough_to_find_the_others_when_it_dies() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    let client = cluster.open();
    cluster.hsms[0].die();
    client.call(0, random()).unwrap();
    let next = cluster.home(&client);
    assert_ne!(next, 0);
    cluster.hsms[next].die();
    client.call(0, random()).unwrap();
    assert_eq!(cluster.home(&client), 3 - next);
}

#[test]
fn a_change_that_dies_with_its_hsm_is_sent_to_another_one_under_the_same_number() {
    let died = AtomicBool::new(false);
    let cluster = Cluster::new(move |_, _, operation| match operation {
        Operation::GenerateKey(_) if !died.swap(true, Ordering::Relaxed) => Action::Cut,
        _ => willing(operation),
    });
    let client = cluster.open();
    let outcome = client.call(9, generate()).unwrap();
    assert!(matches!(outcome, Some(Outcome::Object(ObjectReply { handle: 5 }))));
    let requests = cluster.requests("GenerateKey");
    let [(first_hsm, first), (second_hsm, second)] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_ne!(first_hsm, second_hsm);
    assert_eq!(first.sequence, second.sequence);
    assert_eq!(first.client_id, second.client_id);
    assert!(first.logged_in && second.logged_in);
}

#[test]
fn a_request_that_was_not_sent_when_its_hsm_died_is_seen_once() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    let client = cluster.open();
    cluster.hsms[cluster.home(&client)].die();
    client.call(0, generate()).unwrap();
    assert_eq!(cluster.requests("GenerateKey").len(), 1);
}

#[test]
fn a_frozen_hsm_is_left_and_the_request_is_answered_by_another_one() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    let client = cluster.open();
    let home = cluster.home(&client);
    cluster.hsms[home].freeze();
    client.call(0, generate()).unwrap();
    // It is frozen still: the answer was another one's.
    let requests = cluster.requests("GenerateKey");
    assert_eq!(requests.len(), 1);
    assert_ne!(requests[0].0, home);
    // What it got while it was frozen it does now, and the cluster knows the number.
    cluster.hsms[home].thaw();
    cluster.hsms[home].wait_for("GenerateKey", 1);
    let requests = cluster.requests("GenerateKey");
    assert_eq!(requests[0].1.sequence, requests[1].1.sequence);
}

#[test]
fn an_hsm_that_is_frozen_when_a_program_starts_does_not_keep_it() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    cluster.hsms[0].freeze();
    cluster.hsms[1].freeze();
    let client = Client::open(cluster.config(&[0, 1, 2]), "test").unwrap();
    client.call(0, random()).unwrap();
    assert_eq!(cluster.counts("Random"), [0, 0, 1]);
}

#[test]
fn a_slow_operation_is_not_taken_for_death() {
    let (release, released) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let (released, begin) = (Mutex::new(released), Mutex::new(begin));
    let cluster = Cluster::new(move |number, _, operation| {
        if matches!(operation, Operation::GenerateKey(_)) {
            begin.lock().unwrap().send(number).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
        willing(operation)
    });
    let mut config = cluster.config(&[0]);
    // For a machine that is slow itself.
    config.ping_timeout = Duration::from_secs(30);
    let client = Client::open(config, "test").unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| client.call(0, generate()));
        let home = begun.recv().unwrap();
        // It was asked again and again whether it is there, and said so.
        cluster.hsms[home].wait_for("Ping", 3);
        release.send(()).unwrap();
        caller.join().unwrap().unwrap();
    });
    let requests = cluster.requests("GenerateKey");
    assert_eq!(requests.len(), 1, "{requests:?}");
}

#[test]
fn threads_that_wait_for_a_frozen_hsm_all_leave() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    let mut config = cluster.config(&[0, 1, 2]);
    config.zone = "a".into();
    let client = Client::open(config, "test").unwrap();
    let together = Barrier::new(9);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                client.call(0, random()).unwrap();
                together.wait();
                together.wait();
                client.call(0, generate()).unwrap();
            });
        }
        together.wait();
        assert!(cluster.counts("Random")[0] > 0);
        cluster.hsms[0].freeze();
        together.wait();
    });
    assert_eq!(cluster.counts("GenerateKey")[0], 0);
    assert_eq!(cluster.requests("GenerateKey").len(), 8);
}

#[test]
fn an_orderly_stop_is_invisible() {
    let stopping = Arc::new(AtomicUsize::new(usize::MAX));
    let script = Arc::clone(&stopping);
    let cluster = Cluster::new(move |number, _, operation| {
        if script.load(Ordering::Relaxed) == number {
            return retry(Retry::Elsewhere, "the HSM stops");
        }
        willing(operation)
    });
    let client = cluster.open();
    let home = cluster.home(&client);
    stopping.store(home, Ordering::Relaxed);
    for _ in 0..5 {
        client.call(0, generate()).unwrap();
    }
    assert_eq!(cluster.counts("GenerateKey")[home], 1);
}

#[test]
fn without_a_majority_all_are_asked_and_the_hsms_words_are_the_error() {
    let cluster = Cluster::new(|number, _, operation| match operation {
        Operation::GenerateKey(_) if number == 1 => retry(Retry::Again, "no majority"),
        Operation::GenerateKey(_) => retry(Retry::Elsewhere, "no majority"),
        _ => willing(operation),
    });
    let mut config = cluster.config(&[0, 1, 2]);
    config.patience = Duration::from_millis(200);
    let client = Client::open(config, "test").unwrap();
    let error = client.call(0, generate()).unwrap_err();
    assert_eq!(error, Error::Hsm { status: CKR_DEVICE_ERROR, message: "no majority".into() });
    assert!(cluster.counts("GenerateKey").iter().all(|count| *count > 0));
    // Keys go on working.
    client.call(0, random()).unwrap();
}

#[test]
fn an_election_is_waited_for() {
    let count = AtomicUsize::new(0);
    let cluster = Cluster::new(move |_, _, operation| match operation {
        Operation::GenerateKey(_) if count.fetch_add(1, Ordering::Relaxed) < 7 => {
            retry(Retry::Again, "no leader yet")
        }
        _ => willing(operation),
    });
    let client = cluster.open();
    client.call(0, generate()).unwrap();
    let requests = cluster.requests("GenerateKey");
    assert_eq!(requests.len(), 8);
    assert!(requests.iter().all(|(_, seen)| seen.sequence == requests[0].1.sequence));
}

#[test]
fn an_hsm_that_was_removed_gets_nothing_more_and_one_that_was_added_does() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    cluster.say(1, &[0, 1]);
    let client = cluster.open();
    cluster.say(2, &[1, 2]);
    // The reply to this says that there is news.
    client.call(0, random()).unwrap();
    let before = cluster.counts("Random");
    for _ in 0..5 {
        client.call(0, random()).unwrap();
    }
    let after = cluster.counts("Random");
    assert_eq!(after[0], before[0]);
    cluster.hsms[1].die();
    client.call(0, random()).unwrap();
    assert!(cluster.counts("Random")[2] > before[2]);
}

#[test]
fn all_dead_and_one_back_is_a_wait_and_no_failure() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    let client = cluster.open();
    cluster.hsms.iter().for_each(FakeHsm::die);
    thread::scope(|scope| {
        let caller = scope.spawn(|| client.call(0, random()));
        cluster.hsms[2].revive();
        caller.join().unwrap().unwrap();
    });
    assert!(cluster.counts("Random")[2] > 0);
}

#[test]
fn all_frozen_and_one_back_is_a_wait_and_no_failure() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    let client = cluster.open();
    let home = cluster.home(&client);
    cluster.hsms.iter().for_each(FakeHsm::freeze);
    thread::scope(|scope| {
        let caller = scope.spawn(|| client.call(0, generate()));
        let other = (home + 1) % 3;
        cluster.hsms[other].thaw();
        caller.join().unwrap().unwrap();
        assert!(cluster.counts("GenerateKey")[other] > 0);
    });
}

#[test]
fn threads_spread_over_the_hsms() {
    const THREADS: usize = 9;
    let all_here = Barrier::new(THREADS);
    let cluster = Cluster::new(move |_, _, operation| {
        // No answer comes before all have asked.
        all_here.wait();
        willing(operation)
    });
    let client = Client::open(cluster.config(&[0]), "test").unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| client.call(0, random()).unwrap());
        }
    });
    // A thread may have found the connection that the client was opened with.
    let counts = cluster.counts("Random");
    assert!(counts.iter().all(|count| *count >= 2), "{counts:?}");
}

#[test]
fn the_own_zone_is_used_while_it_lives() {
    let cluster = Cluster::new(|_, _, operation| willing(operation));
    let mut config = cluster.config(&[0, 1, 2]);
    config.zone = "b".into();
    let client = Client::open(config, "test").unwrap();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| client.call(0, generate()).unwrap());
        }
    });
    // The first connection was made before anything was known of zones.
    assert!(cluster.counts("GenerateKey")[1] >= 5);
    cluster.hsms[1].die();
    client.call(0, random()).unwrap();
    assert_eq!(cluster.counts("Random")[1], 0);
}

#[test]
fn a_login_that_one_hsm_has_ended_is_over_once_for_all() {
    let cluster = Cluster::new(|_, seen, operation| match operation {
        Operation::Random(_) if !seen.logged_in => Action::Answer(Reply {
            status: CKR_USER_NOT_LOGGED_IN,
            message: "log in".into(),
            ..Reply::default()
        }),
        _ => willing(operation),
    });
    let client = cluster.open();
    client.call(0, random()).unwrap();
    cluster.hsms[0].end_logins();
    cluster.hsms[cluster.home(&client)].die();
    assert_eq!(client.call(0, random()).unwrap_err().ckr(), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(client.logged_in(), None);
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    client.call(0, random()).unwrap();
}

#[test]
fn what_was_seen_on_one_hsm_is_asked_of_the_next() {
    let cluster = Cluster::new(|_, _, operation| match operation {
        Operation::GenerateKey(_) => Action::Answer(Reply { log_index: 42, ..Reply::default() }),
        _ => willing(operation),
    });
    let client = cluster.open();
    client.call(0, generate()).unwrap();
    let home = cluster.requests("GenerateKey")[0].0;
    cluster.hsms[home].die();
    client.call(0, random()).unwrap();
    let requests = cluster.requests("Random");
    assert_ne!(requests[0].0, home);
    assert_eq!(requests[0].1.seen_index, 42);
    assert_eq!(requests[0].1.needs_index, Some(0), "random bytes need none of that");
}

#[test]
fn a_client_goes_on_from_what_a_recovered_cluster_has() {
    let cluster = Cluster::new(|_, _, operation| match operation {
        Operation::GenerateKey(_) => Action::Answer(Reply { log_index: 42, ..Reply::default() }),
        Operation::FindObjects(_) => Action::Answer(Reply {
            log_index: 17,
            outcome: Some(Outcome::Found(FoundReply::default())),
            ..Reply::default()
        }),
        _ => willing(operation),
    });
    let client = cluster.open();
    client.call(0, generate()).unwrap();
    let find = || Operation::FindObjects(FindObjects::default());
    client.call(0, find()).unwrap();
    client.call(0, find()).unwrap();
    let seen: Vec<u64> =
        cluster.requests("FindObjects").iter().map(|(_, request)| request.seen_index).collect();
    assert_eq!(seen, [42, 17]);
}
