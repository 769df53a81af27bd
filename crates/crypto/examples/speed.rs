//! Operations a second of the library alone, without sessions, policy or network: the raw side of
//! the ratios that `cargo xtask bench` prints.
//!
//! `speed [SECONDS] [THREADS]` runs each operation for that long (default 1) on that many threads
//! (default 1) that share one key, and prints a line each: name, operations a second of all threads,
//! nanoseconds an operation.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cryptoki_sys as ck;
use strongroom_crypto::{
    Curve, Key, Mechanism, Params, decrypt, encrypt, generate_ec, generate_rsa, generate_secret,
    mechanism, sign, verify,
};

fn named(kind: u64) -> &'static Mechanism {
    mechanism::find(kind).expect("in the table")
}

/// Runs `operation` on `threads` threads until `duration` is over.
fn measure(name: &str, duration: Duration, threads: usize, operation: impl Fn() + Sync) {
    operation(); // what is made at first use doesn't count
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let count: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        operation();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        std::thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    let seconds = start.elapsed().as_secs_f64();
    let per_second = count as f64 / seconds;
    println!("{name:24} {per_second:12.0}/s {:10.0} ns", 1e9 * threads as f64 / per_second);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(1.0, |text| text.parse().expect("SECONDS"));
    let threads = arguments.next().map_or(1, |text| text.parse().expect("THREADS"));
    let duration = Duration::from_secs_f64(seconds);

    let signing = |name: &str, key: &Key, kind: u64| {
        let (mechanism, hash) = (named(kind), [0x5a; 32]);
        measure(&format!("{name} sign"), duration, threads, || {
            black_box(sign(key, mechanism, &Params::None, &hash, true).expect("signed"));
        });
        let public = key.public_key().expect("a pair");
        let signature = sign(key, mechanism, &Params::None, &hash, true).expect("signed");
        measure(&format!("{name} verify"), duration, threads, || {
            verify(&public, mechanism, &Params::None, &hash, true, &signature).expect("verified");
        });
    };
    for bits in [2048, 4096] {
        let key = generate_rsa(bits, &[1, 0, 1]).expect("a key");
        signing(&format!("rsa-{bits}"), &key, ck::CKM_SHA256_RSA_PKCS);
    }
    for curve in Curve::ALL {
        let key = generate_ec(curve).expect("a key");
        signing(curve.name(), &key, ck::CKM_ECDSA_SHA256);
    }

    let key = generate_secret(ck::CKK_AES, 32).expect("a key");
    let iv = [7; 16];
    for (name, kind, params) in [
        ("aes-256-gcm", ck::CKM_AES_GCM, Params::Gcm { iv: &iv[..12], aad: b"", tag_bits: 128 }),
        ("aes-256-cbc-pad", ck::CKM_AES_CBC_PAD, Params::Iv(&iv)),
    ] {
        for (size, bytes) in [("1k", 1024), ("16k", 16384)] {
            let (mechanism, data) = (named(kind), vec![0; bytes]);
            measure(&format!("{name} {size} encrypt"), duration, threads, || {
                black_box(encrypt(&key, mechanism, &params, &data).expect("encrypted"));
            });
            let encrypted = encrypt(&key, mechanism, &params, &data).expect("encrypted");
            measure(&format!("{name} {size} decrypt"), duration, threads, || {
                let plain = decrypt(&key, mechanism, &params, &encrypted).expect("decrypted");
                black_box(plain.into_plain());
            });
        }
    }
    let key = generate_secret(ck::CKK_GENERIC_SECRET, 32).expect("a key");
    let (mechanism, data) = (named(ck::CKM_SHA256_HMAC), vec![0; 1024]);
    measure("hmac-sha256 1k", duration, threads, || {
        black_box(sign(&key, mechanism, &Params::None, &data, false).expect("signed"));
    });
    measure("aes key generation", duration, threads, || {
        black_box(generate_secret(ck::CKK_AES, 32).expect("a key"));
    });
    measure("rsa-2048 generation", duration, threads, || {
        black_box(generate_rsa(2048, &[1, 0, 1]).expect("a key"));
    });
}
