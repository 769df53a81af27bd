//! Applications on a cluster while something happens to it: threads that sign, make and delete keys,
//! search, keep session keys, and a program that logs in again and again.
//!
//! Every call must succeed: the client's own retries are all the help that there is. What applications
//! were told (made, deleted) is kept, and compared with the cluster at the end. How long each call took
//! is kept too, for whoever reports stalls; nothing here is decided by it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKM_ECDSA, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY,
};

use crate::Module;

/// Threads that only use keys.
const SIGNERS: usize = 4;
/// Threads that make and delete keys.
const MAKERS: usize = 2;

/// What the applications were told.
#[derive(Default)]
struct Told {
    made: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// Calls that ended in an error: done or not, but not half done.
    unknown: BTreeSet<String>,
}

/// A load that has ended.
#[derive(Default)]
pub struct Report {
    /// The call that failed, and its code.
    pub failed_uses: Vec<String>,
    /// The same, of calls that change something.
    pub failed_changes: Vec<String>,
    /// Of each kind of call: how long every one took.
    pub times: BTreeMap<&'static str, Vec<Duration>>,
    /// Keys made, deleted, and not known to be either.
    pub counts: (usize, usize, usize),
}

impl Report {
    /// The longest call of a kind.
    #[must_use]
    pub fn longest(&self, kind: &str) -> Duration {
        self.times.get(kind).and_then(|times| times.iter().max()).copied().unwrap_or_default()
    }

    /// Whether no call failed.
    ///
    /// # Panics
    /// Where one did, with all that did.
    pub fn assert_nobody_noticed(&self) {
        assert!(self.failed_uses.is_empty(), "uses of keys failed: {:?}", self.failed_uses);
        assert!(self.failed_changes.is_empty(), "changes failed: {:?}", self.failed_changes);
        assert!(self.counts.0 > 0 && self.counts.1 > 0, "nothing was made: {:?}", self.counts);
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let (made, deleted, unknown) = self.counts;
        let calls = self.times.iter().map(|(kind, times)| {
            format!("{kind}: {} calls, longest {:?}", times.len(), self.longest(kind))
        });
        let calls: Vec<String> = calls.collect();
        format!("{made} keys made, {deleted} deleted, {unknown} unknown; {}", calls.join("; "))
    }
}

/// A load on one module, which this process has initialised and logged in.
pub struct Load<'a> {
    module: &'a Module,
    /// How long each thread rests between its rounds.
    rest: Duration,
    stop: AtomicBool,
    /// What each thread has done so far.
    rounds: [AtomicU64; SIGNERS + MAKERS + 1],
    told: Mutex<Told>,
    report: Mutex<Report>,
}

impl<'a> Load<'a> {
    /// On a module that is logged in.
    #[must_use]
    pub fn on(module: &'a Module) -> Self {
        Self {
            module,
            rest: Duration::ZERO,
            stop: AtomicBool::new(false),
            rounds: std::array::from_fn(|_| AtomicU64::new(0)),
            told: Mutex::default(),
            report: Mutex::default(),
        }
    }

    /// Has each thread rest between its rounds, so that the machine is not saturated: what takes long
    /// then does so for another reason than that others are at work.
    #[must_use]
    pub fn resting(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// Runs the load while `disturb` does its worst, then compares what applications were told with
    /// what is there.
    ///
    /// # Panics
    /// Where a key that was acknowledged is lost, a deleted one is back, one is half there, or nobody
    /// was told of it.
    pub fn run(self, disturb: impl FnOnce(&Self)) -> Report {
        let keys: Vec<_> = (0..2).map(|n| self.pair(&format!("load-{n}"))).collect();
        std::thread::scope(|scope| {
            for number in 0..SIGNERS {
                let (load, key) = (&self, keys[number % keys.len()]);
                scope.spawn(move || load.sign(number, key));
            }
            for number in 0..MAKERS {
                let load = &self;
                scope.spawn(move || load.make(number));
            }
            scope.spawn(|| self.keep_session_keys());
            // Also where `disturb` panics: the scope would wait for ever.
            let stop = StopAtEnd(&self.stop);
            self.everybody_goes_on();
            disturb(&self);
            self.everybody_goes_on();
            drop(stop);
        });
        for (_, private) in keys {
            let session = self.module.session().expect("a session");
            self.module.destroy(session, private).expect("a key deleted");
        }
        self.check()
    }

    /// Waits until each thread has done something more: what happened is behind it.
    ///
    /// # Panics
    /// Where one does not within two minutes.
    pub fn everybody_goes_on(&self) {
        let now = || self.rounds.iter().map(|rounds| rounds.load(Ordering::Relaxed));
        let before: Vec<u64> = now().collect();
        let patience = Instant::now() + Duration::from_secs(120);
        while now().zip(&before).any(|(now, &before)| now < before + 2) {
            assert!(Instant::now() < patience, "threads stand still: {before:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn pair(&self, label: &str) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        let session = self.module.session().expect("a session");
        let (public, private) = self.module.p256_pair(session, Some(label)).expect("a key pair");
        (public, private)
    }

    fn sign(&self, number: usize, (public, private): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)) {
        let session = self.module.session().expect("a session");
        while self.goes_on(number) {
            let round = self.rounds[number].load(Ordering::Relaxed);
            self.sign_once(session, "sign", round, public, private);
        }
    }

    fn sign_once(
        &self,
        session: CK_SESSION_HANDLE,
        kind: &'static str,
        round: u64,
        public: CK_OBJECT_HANDLE,
        private: CK_OBJECT_HANDLE,
    ) {
        let (mut digest, mut signature) = ([0; 32], [0; 64]);
        digest[..8].copy_from_slice(&round.to_be_bytes());
        let signed = self
            .timed(kind, || self.module.sign(session, CKM_ECDSA, private, &digest, &mut signature));
        let verified = signed.and_then(|length| {
            self.timed(kind, || {
                self.module.verify(session, CKM_ECDSA, public, &digest, &signature[..length])
            })
        });
        if let Err(failed) = verified {
            self.report().failed_uses.push(format!("{kind}, round {round}: {failed}"));
        }
    }

    /// Makes key pairs, finds them, deletes every other one, and does not find that any more.
    fn make(&self, number: usize) {
        let session = self.module.session().expect("a session");
        let mut count = 0;
        while self.goes_on(SIGNERS + number) {
            count += 1;
            let label = format!("made-{number}-{count}");
            let made = self.timed("make", || self.module.p256_pair(session, Some(&label)));
            let (public, private) = match made {
                Ok(pair) => pair,
                Err(failed) => {
                    self.report().failed_changes.push(format!("make {label}: {failed}"));
                    self.told().unknown.insert(label);
                    continue;
                }
            };
            self.told().made.insert(label.clone());
            self.expect_found(session, &label, &[private]);
            if count % 2 == 0 {
                let deleted = self
                    .timed("delete", || self.module.destroy(session, private))
                    .and_then(|()| self.timed("delete", || self.module.destroy(session, public)));
                match deleted {
                    Ok(()) => {
                        self.told().deleted.insert(label.clone());
                        self.expect_found(session, &label, &[]);
                    }
                    Err(failed) => {
                        self.report().failed_changes.push(format!("delete {label}: {failed}"));
                        self.told().unknown.insert(label);
                    }
                }
            }
        }
    }

    fn expect_found(&self, session: CK_SESSION_HANDLE, label: &str, wanted: &[CK_OBJECT_HANDLE]) {
        match self.timed("find", || self.module.find(session, CKO_PRIVATE_KEY, label)) {
            Ok(found) if found == wanted => {}
            Ok(found) => {
                let what = format!("find {label}: {found:?}, and this process knows of {wanted:?}");
                self.report().failed_uses.push(what);
            }
            Err(failed) => self.report().failed_uses.push(format!("find {label}: {failed}")),
        }
    }

    /// Session keys live on one HSM, and are used when it is gone.
    fn keep_session_keys(&self) {
        let number = SIGNERS + MAKERS;
        let session = self.module.session().expect("a session");
        while self.goes_on(number) {
            let pair = self.timed("make for a session", || self.module.p256_pair(session, None));
            let (public, private) = match pair {
                Ok(pair) => pair,
                Err(failed) => {
                    self.report().failed_uses.push(format!("a session's pair: {failed}"));
                    continue;
                }
            };
            for round in 0..200 {
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                self.sign_once(session, "sign for a session", round, public, private);
                std::thread::sleep(Duration::from_millis(5));
            }
            for object in [private, public] {
                if let Err(failed) = self.module.destroy(session, object) {
                    self.report().failed_uses.push(format!("a session's key deleted: {failed}"));
                }
            }
        }
    }

    /// Whether a thread does another round.
    fn goes_on(&self, number: usize) -> bool {
        self.rounds[number].fetch_add(1, Ordering::Relaxed);
        if !self.rest.is_zero() {
            std::thread::sleep(self.rest);
        }
        !self.stop.load(Ordering::Relaxed)
    }

    fn timed<T>(&self, kind: &'static str, call: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = call();
        let took = begun.elapsed();
        self.report().times.entry(kind).or_default().push(took);
        result
    }

    fn check(self) -> Report {
        let told = self.told.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut report = self.report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.counts = (told.made.len(), told.deleted.len(), told.unknown.len());
        println!("{}", report.summary());
        compare(self.module, &told);
        report
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets a flag when dropped: lets workers end also where a check fails, so that the failure is seen.
pub struct StopAtEnd<'a>(pub &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What applications were told against what the cluster has.
fn compare(module: &Module, told: &Told) {
    let session = module.session().expect("a session");
    let mut found = BTreeSet::new();
    for private in module.find(session, CKO_PRIVATE_KEY, "").expect("a search") {
        let label = module.label(session, private).expect("a label");
        if !label.starts_with("made-") {
            continue;
        }
        if !told.unknown.contains(&label) {
            let publics = module.find(session, CKO_PUBLIC_KEY, &label).expect("a search");
            assert_eq!(publics.len(), 1, "{label} is half there");
            let mut signature = [0; 64];
            let length = module
                .sign(session, CKM_ECDSA, private, &[7; 32], &mut signature)
                .unwrap_or_else(|e| panic!("{label} is there and does not sign: {e}"));
            module
                .verify(session, CKM_ECDSA, publics[0], &[7; 32], &signature[..length])
                .unwrap_or_else(|e| panic!("{label}'s halves do not belong together: {e}"));
        }
        assert!(found.insert(label.clone()), "{label} is there twice: made twice");
    }
    let kept: BTreeSet<String> = told.made.difference(&told.deleted).cloned().collect();
    let lost: Vec<_> =
        kept.iter().filter(|l| !found.contains(*l) && !told.unknown.contains(*l)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let back: Vec<_> = told.deleted.intersection(&found).collect();
    assert!(back.is_empty(), "deleted and back: {back:?}");
    let never: Vec<_> =
        found.iter().filter(|l| !kept.contains(*l) && !told.unknown.contains(*l)).collect();
    assert!(never.is_empty(), "nobody was told of {never:?}");
}

/// The module with this configuration, logged in. One for each process: the module reads its
/// environment when it is initialised.
///
/// # Panics
/// Where it does not open or log in.
#[must_use]
pub fn logged_in(config: &Path, pin: &str) -> Module {
    // SAFETY: called before the process has another thread that reads the environment; the module
    // reads these at C_Initialize.
    unsafe {
        std::env::set_var("STRONGROOM_CONFIG", config);
        std::env::remove_var("STRONGROOM_DIR");
        std::env::remove_var("STRONGROOM_PERSONALITY");
    }
    let module = Module::open(&crate::release().join("libstrongroom_pkcs11.so"))
        .unwrap_or_else(|e| panic!("C_Initialize: {e}"));
    let session = module.session().unwrap_or_else(|e| panic!("a session: {e}"));
    module.login(session, pin).unwrap_or_else(|e| panic!("a login: {e}"));
    module
}
