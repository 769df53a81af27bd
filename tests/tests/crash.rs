//! kill -9 of the HSM at any moment: every acknowledged key is there and works, every acknowledged
//! deletion stays, and nothing is half there.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cryptoki_sys::{CKM_ECDSA, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
use strongroom_tests::{LocalToken, Module, USER_PIN, hsm_process, kill_hard, release};

const KILLS: usize = 100;
const WORKERS: usize = 3;

/// What the applications were told.
#[derive(Default)]
struct Told {
    created: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// Requests that ended in an error: done or not done, but not half done.
    unknown: BTreeSet<String>,
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    let token = LocalToken::initialised("crash");
    // SAFETY: the test's only thread so far; the module reads these at C_Initialize.
    unsafe {
        std::env::set_var("STRONGROOM_DIR", token.dir());
        std::env::set_var("STRONGROOM_PERSONALITY", "token");
        std::env::remove_var("STRONGROOM_CONFIG");
    }
    let module = Module::open(&release().join("libstrongroom_pkcs11.so")).expect("C_Initialize");
    let session = module.session().expect("a session");
    module.login(session, USER_PIN).expect("a login");

    let told = Mutex::new(Told::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (module, told, stop) = (&module, &told, &stop);
            scope.spawn(move || work(worker, module, told, stop));
        }
        for kill in 0..KILLS {
            // One in four comes at any moment, also while the HSM starts; the others come when it
            // works, or a slow machine would only ever see starts.
            if kill % 4 != 0 {
                wait_for_a_key(&told);
            }
            let process = wait_for_hsm(&token);
            // Not a wait for something: the moment of the kill is to differ each time.
            std::thread::sleep(Duration::from_micros(500 + 7919 * kill as u64 % 40_000));
            kill_hard(process);
        }
        stop.store(true, Ordering::Relaxed);
    });
    check(&module, &told.into_inner().expect("no worker panicked"));
    module.finalize().expect("C_Finalize");
}

/// Creates and deletes key pairs until told to stop.
fn work(worker: usize, module: &Module, told: &Mutex<Told>, stop: &AtomicBool) {
    let session = module.session().expect("a session");
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let label = format!("w{worker}-{number}");
        let Ok((public, private)) = module.p256_pair(session, Some(&label)) else {
            told.lock().expect("told").unknown.insert(label);
            continue;
        };
        told.lock().expect("told").created.insert(label.clone());
        if number % 3 == 0 {
            let deleted = module.destroy(session, private).and(module.destroy(session, public));
            let mut told = told.lock().expect("told");
            if deleted.is_ok() { &mut told.deleted } else { &mut told.unknown }.insert(label);
        }
    }
}

fn check(module: &Module, told: &Told) {
    assert!(told.created.len() > KILLS / 2, "only {} keys were made", told.created.len());
    let session = module.session().expect("a session");
    let mut found = BTreeSet::new();
    for private in module.find(session, CKO_PRIVATE_KEY, "").expect("a search") {
        let label = module.label(session, private).expect("a label");
        if told.unknown.contains(&label) {
            found.insert(label);
            continue;
        }
        let publics = module.find(session, CKO_PUBLIC_KEY, &label).expect("a search");
        assert_eq!(publics.len(), 1, "{label} is half there");
        let mut signature = [0; 64];
        let length = module
            .sign(session, CKM_ECDSA, private, &[7; 32], &mut signature)
            .unwrap_or_else(|e| panic!("{label} is there and does not sign: {e}"));
        module
            .verify(session, CKM_ECDSA, publics[0], &[7; 32], &signature[..length])
            .unwrap_or_else(|e| panic!("{label}'s halves do not belong together: {e}"));
        assert!(found.insert(label.clone()), "{label} is there twice");
    }
    let expected: BTreeSet<String> = told
        .created
        .difference(&told.deleted)
        .filter(|l| !told.unknown.contains(*l))
        .cloned()
        .collect();
    let lost: Vec<_> = expected.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let back: Vec<_> = told.deleted.intersection(&found).collect();
    assert!(back.is_empty(), "deleted and back: {back:?}");
    let never: Vec<_> =
        found.iter().filter(|l| !expected.contains(*l) && !told.unknown.contains(*l)).collect();
    assert!(never.is_empty(), "nobody was told of {never:?}");
}

/// Waits until one more key is acknowledged.
fn wait_for_a_key(told: &Mutex<Told>) {
    let made = || told.lock().expect("told").created.len();
    let (before, patience) = (made(), Instant::now() + Duration::from_secs(30));
    while made() == before {
        assert!(Instant::now() < patience, "no key is made any more");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn wait_for_hsm(token: &LocalToken) -> u32 {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(process) = hsm_process(&token.dir()) {
            return process;
        }
        assert!(Instant::now() < patience, "no HSM comes back");
        std::thread::sleep(Duration::from_millis(2));
    }
}
