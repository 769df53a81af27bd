//! kill -9 of a region's HSM while applications sign over TLS, and `strongroom up`: no call fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cryptoki_sys::{CK_OBJECT_HANDLE, CKM_ECDSA};
use strongroom_tests::{Module, Region, StopAtEnd, kill_hard, logged_in};

const THREADS: usize = 8;
const KILLS: usize = 3;

/// Keys of the token, which outlive the HSM's process.
#[derive(Clone, Copy)]
struct Keys {
    public: CK_OBJECT_HANDLE,
    private: CK_OBJECT_HANDLE,
    aes: CK_OBJECT_HANDLE,
}

#[test]
fn no_call_fails_while_the_hsm_is_killed_and_started_again() {
    let region = Region::up("restart");
    let module = logged_in(&region.patient_config(), region.variable("CLOUDHSM_PIN"));
    let session = module.session().expect("a session");
    let (public, private) = module.p256_pair(session, Some("restart")).expect("a key pair");
    let aes = module.aes_key(session, true).expect("an AES key");
    let keys = Keys { public, private, aes };

    let stop = AtomicBool::new(false);
    let rounds: [AtomicU64; THREADS] = std::array::from_fn(|_| AtomicU64::new(0));
    std::thread::scope(|scope| {
        for done in &rounds {
            let (module, stop) = (&module, &stop);
            scope.spawn(move || work(module, keys, done, stop));
        }
        let stop = StopAtEnd(&stop);
        all_go_on(&rounds);
        for _ in 0..KILLS {
            kill_hard(region.process());
            region.start();
            all_go_on(&rounds);
        }
        drop(stop);
    });
    module.finalize().expect("C_Finalize");
}

/// Signs, verifies and encrypts until told to stop; each call must succeed.
fn work(module: &Module, keys: Keys, done: &AtomicU64, stop: &AtomicBool) {
    let session = module.session().expect("a session");
    let (mut signature, mut sealed) = ([0; 64], [0; 100 + 16]);
    while !stop.load(Ordering::Relaxed) {
        let digest = [done.load(Ordering::Relaxed) as u8; 32];
        let length = module
            .sign(session, CKM_ECDSA, keys.private, &digest, &mut signature)
            .expect("a signature");
        module
            .verify(session, CKM_ECDSA, keys.public, &digest, &signature[..length])
            .expect("a signature that is right");
        let length =
            module.encrypt_gcm(session, keys.aes, &[7; 100], &mut sealed).expect("an encryption");
        assert_eq!(length, sealed.len());
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until each thread has done something more: its connection to the killed HSM is behind it.
fn all_go_on(rounds: &[AtomicU64]) {
    let now = || rounds.iter().map(|done| done.load(Ordering::Relaxed));
    let before: Vec<u64> = now().collect();
    let patience = Instant::now() + Duration::from_secs(60);
    while now().zip(&before).any(|(now, &before)| now < before + 2) {
        assert!(Instant::now() < patience, "threads stand still: {before:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
