//! Sealed blobs, as they lie on a disk before any key was checked.

use std::sync::OnceLock;

use strongroom_crypto::SecretBytes;
use strongroom_seal::{FileSeal, PassphraseSeal, Seal, fuzzing, write_atomically};

const SECRET: &[u8] = b"the secrets of an HSM";
const PASSPHRASE: &[u8] = b"correct horse";
/// KiB of memory times passes that a case may cost. A blob may ask for a GiB, which is what an
/// operator may choose; more is refused, whatever it costs to find that out here.
const COST_MAX: u64 = 256;

/// A blob of a key file. What opens is what was sealed.
pub(super) fn file(data: &[u8]) -> bool {
    let Ok(secret) = file_seal().open(data) else { return false };
    assert!(secret.ct_eq(SECRET));
    true
}

pub(super) fn file_seeds() -> Vec<Vec<u8>> {
    vec![file_seal().seal(SECRET).expect("a sealed blob")]
}

fn file_seal() -> &'static FileSeal {
    static SEAL: OnceLock<FileSeal> = OnceLock::new();
    SEAL.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("seal.key");
        // Always the same key: a seed opens in every process.
        write_atomically(&path, &[0x5e; 32]).expect("a key file");
        FileSeal::open_or_create(&path).expect("the seal of a key file")
    })
}

/// A blob of a passphrase: its parameters cost no more than their bounds allow.
pub(super) fn passphrase(data: &[u8]) -> bool {
    let cost = fuzzing::opening_cost(data);
    if cost.as_ref().is_ok_and(|cost| *cost > COST_MAX) {
        return false;
    }
    let seal = PassphraseSeal::new(SecretBytes::new(PASSPHRASE.to_vec())).expect("a passphrase");
    let Ok(secret) = seal.open(data) else { return false };
    assert!(cost.is_ok() && secret.ct_eq(SECRET));
    true
}

pub(super) fn passphrase_seeds() -> Vec<Vec<u8>> {
    vec![fuzzing::cheap_blob(PASSPHRASE, SECRET).expect("a sealed blob")]
}
