//! The test vectors of `docs/spec/vectors/log.json`: records, tallies and the audit chain.

use std::sync::Arc;

use serde_json::Value;

use crate::audit::{Chain, Kind};
use crate::sealing::{Boot, BootRow, Opener, Place, Sealer, Table};
use crate::tally::{Share, Tally};
use crate::{KeyRing, Secrets};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../docs/spec/vectors/log.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    let pairs = digits.as_bytes().as_chunks::<2>().0;
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(|pair| byte(&pair[..])).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn table(value: &Value) -> Table {
    [Table::Meta, Table::Log, Table::Records, Table::Blobs, Table::Audit]
        .into_iter()
        .find(|table| table.name() == value)
        .unwrap()
}

/// A sealer that goes on at the vector's counter, and an opener of its start.
fn pair(vector: &Value) -> (Sealer, Opener) {
    let mut secrets = Secrets::generate().unwrap();
    let (key, epoch) = (bytes(&vector["key"]), number(&vector["epoch"]));
    let ring = || KeyRing::from_keys([(epoch, key.as_slice())]).unwrap().unwrap();
    secrets.state = ring();
    secrets.audit = ring();
    secrets.hsm_id = vector["hsm_id"].as_str().unwrap().to_owned();
    let salt = bytes(&vector["salt"]).try_into().unwrap();
    let boot = Boot { number: number(&vector["boot"]), salt };
    let row = BootRow { boot, state_epoch: epoch, audit_epoch: epoch };
    let secrets = Arc::new(secrets);
    let sealer = Sealer::new(&secrets, &row).unwrap().at(number(&vector["counter"]));
    (sealer, Opener::new(secrets, [row]))
}

#[test]
fn records_and_their_tally_are_those_of_the_specification() {
    let vectors = vectors();
    let tally_key: [u8; 32] = bytes(&vectors["tally"]["key"]).try_into().unwrap();
    let mut tally = Tally::default();
    for vector in vectors["records"].as_array().unwrap() {
        let key = bytes(&vector["row_key"]);
        let version = number(&vector["version"]);
        let place = Place { table: table(&vector["table"]), key: &key, version };
        let (plaintext, sealed) = (bytes(&vector["plaintext"]), bytes(&vector["sealed"]));
        let (mut sealer, opener) = pair(vector);
        assert_eq!(sealer.seal(&place, &plaintext).unwrap(), sealed);
        assert_eq!(opener.open(&place, &sealed).unwrap().as_bytes(), plaintext);
        if vector.get("share").is_some() {
            let share = Share::of(&tally_key, &place, &sealed);
            assert_eq!(share.as_bytes(), bytes(&vector["share"]));
            tally.add(&share);
        }
    }
    assert_eq!(tally.as_bytes(), bytes(&vectors["tally"]["of_records"]));
}

#[test]
fn the_audit_chain_is_that_of_the_specification() {
    let mut chain = Chain::default();
    for vector in vectors()["audit"].as_array().unwrap() {
        let kind = Kind::from_byte(number(&vector["kind"]) as u8).unwrap();
        chain = chain.after(kind, &bytes(&vector["body"]));
        assert_eq!(chain.sequence, number(&vector["sequence"]));
        assert_eq!(chain.hash, *bytes(&vector["hash"]));
    }
    assert_eq!(chain.sequence, 3);
}
