//! The test vectors of `docs/spec/vectors/log.json`: records, tallies, rows of the log, snapshots and
//! the audit chain.

use std::sync::Arc;

use serde_json::Value;
use strongroom_vault::LogIndex;

use crate::audit::{Chain, Kind};
use crate::fuzzing::Snapshot;
use crate::sealing::{Boot, BootRow, Opener, Place, Sealer, Table};
use crate::tally::{Share, Tally};
use crate::{KeyRing, LogRow, Position, Secrets, SnapshotHeader};

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
    assert_eq!(chain.sequence, 4);
}

#[test]
fn rows_of_the_log_are_those_of_the_specification() {
    for vector in vectors()["log_rows"].as_array().unwrap() {
        let (term, leader) = (number(&vector["term"]), number(&vector["leader"]));
        let (index, payload) = (number(&vector["index"]), bytes(&vector["payload"]));
        let (row, plaintext) =
            (LogRow { index, term, leader, payload }, bytes(&vector["plaintext"]));
        assert_eq!(row.plaintext(), plaintext);
        assert_eq!(LogRow::parse(index, &plaintext), Some(row));
    }
}

#[test]
fn snapshots_are_those_of_the_specification() {
    let pairs = |value: &Value| -> Vec<_> {
        value.as_array().unwrap().iter().map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect()
    };
    for vector in vectors()["snapshots"].as_array().unwrap() {
        let records = pairs(&vector["records"]);
        let blobs = pairs(&vector["blobs"]).into_iter();
        let blobs: Vec<_> = blobs.map(|(id, blob)| (id.try_into().unwrap(), blob)).collect();
        let header = SnapshotHeader {
            position: Position {
                index: number(&vector["index"]),
                term: number(&vector["term"]),
                leader: number(&vector["leader"]),
            },
            membership: bytes(&vector["membership"]),
            index: LogIndex(number(&vector["vault_index"])),
            records: records.len() as u64,
            blobs: blobs.len() as u64,
        };
        let snapshot = Snapshot { header, records, blobs };
        let stream = bytes(&vector["stream"]);
        assert_eq!(snapshot.write().unwrap(), stream);
        assert_eq!(Snapshot::read(&stream, 50).unwrap(), snapshot);
    }
}
