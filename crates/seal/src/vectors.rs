//! The test vectors of `docs/spec/vectors/log.json`: sealed blobs.

use serde_json::Value;
use strongroom_crypto::SecretBytes;

use crate::blob::{self, Kind};
use crate::passphrase::Cost;
use crate::{FileSeal, PassphraseSeal, Seal, write_atomically};

fn vector(seal: &str) -> Value {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../docs/spec/vectors/log.json")).unwrap();
    vectors["seals"][seal].clone()
}

fn bytes(value: &Value) -> Vec<u8> {
    let pairs = value.as_str().unwrap().as_bytes().as_chunks::<2>().0;
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(|pair| byte(&pair[..])).collect()
}

#[test]
fn a_blob_of_a_key_file_is_that_of_the_specification() {
    let vector = vector("file");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seal.key");
    write_atomically(&path, &bytes(&vector["key"])).unwrap();
    let seal = FileSeal::open_or_create(&path).unwrap();
    let (secret, sealed) = (bytes(&vector["secret"]), bytes(&vector["sealed"]));
    assert_eq!(seal.open(&sealed).unwrap().as_bytes(), secret);
    let salt: [u8; 32] = bytes(&vector["salt"]).try_into().unwrap();
    let again = blob::seal(Kind::File, &[], &salt, &seal.key_of(&salt), &secret);
    assert_eq!(again.unwrap(), sealed);
}

#[test]
fn a_blob_of_a_passphrase_is_that_of_the_specification() {
    let vector = vector("passphrase");
    let passphrase = vector["passphrase"].as_str().unwrap().as_bytes().to_vec();
    let seal = PassphraseSeal::new(SecretBytes::new(passphrase)).unwrap();
    let (secret, sealed) = (bytes(&vector["secret"]), bytes(&vector["sealed"]));
    assert_eq!(seal.open(&sealed).unwrap().as_bytes(), secret);
    let number = |name: &str| vector[name].as_u64().unwrap() as u32;
    let cost =
        Cost { memory_kib: number("memory_kib"), passes: number("passes"), lanes: number("lanes") };
    let salt: [u8; 32] = bytes(&vector["salt"]).try_into().unwrap();
    let key = seal.stretch(cost, &salt).unwrap();
    let again = blob::seal(Kind::Passphrase, &cost.to_bytes(), &salt, &key, &secret);
    assert_eq!(again.unwrap(), sealed);
}
