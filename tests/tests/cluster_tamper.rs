//! An HSM that is tampered with: its secrets go, or its damaged data is fetched anew; the cluster goes on.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Child;

use rusqlite::Connection;
use strongroom_tests::{Program, Region, command_line, kill_hard, spawn};

/// `strongroom`'s exit status after it has destroyed its secrets.
const ZEROISED: i32 = 3;

#[test]
fn a_tamper_input_destroys_one_hsms_secrets_and_the_others_go_on() {
    let region = Region::cluster("tamper", 3);
    region.wait_until_equal();
    let victim = (region.leader() + 1) % 3;
    let folder = region.folder_of(victim);
    let command = command_line(region.process_of(victim));
    kill_hard(region.process_of(victim));
    let switch = region.scratch.write("switch", "0\n");
    let mut hsm = start(&command, &switch);
    region.wait_until_equal();
    assert!(hsm.try_wait().expect("a child").is_none(), "an input that reads 0 is no reason");

    std::fs::write(&switch, "1\n").expect("the case is opened");
    assert_eq!(hsm.wait().expect("its end").code(), Some(ZEROISED));
    for gone in ["secrets.sealed", "seal.key"] {
        assert!(!folder.join(gone).exists(), "{gone}");
    }
    let record = std::fs::read_to_string(folder.join("zeroised")).expect("a record");
    assert!(record.contains("reads 1") && record.contains("signature: "), "{record}");
    // What is left of it is no HSM any more, whatever the input says.
    std::fs::write(&switch, "0\n").expect("the case is closed");
    assert_eq!(start(&command, &switch).wait().expect("its end").code(), Some(ZEROISED));

    region.wait_until("the others go on", |hsms| {
        let others = hsms.iter().enumerate().filter(|(number, _)| *number != victim);
        let mut others = others.map(|(_, hsm)| hsm);
        others.clone().any(|hsm| hsm["role"] == "leader")
            && others.all(|hsm| hsm["condition"] == "serving")
    });
    region
        .pkcs11_tool()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "78", "--label", "after"])
        .ok();
}

#[test]
fn an_hsm_whose_store_is_damaged_serves_nothing_of_it_and_fetches_everything_anew() {
    let region = Region::cluster("damaged", 3);
    region
        .pkcs11_tool()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "79", "--label", "before"])
        .ok();
    region.wait_until_equal();
    let victim = (region.leader() + 1) % 3;
    let folder = region.folder_of(victim);
    kill_hard(region.process_of(victim));
    for file in ["store.db", "store.db-wal"] {
        damage(&folder.join(file));
    }
    region.start();
    region.wait_until_equal();
    let aside = std::fs::read_dir(&folder).expect("a folder").flatten();
    let aside = aside.filter(|file| file.file_name().to_string_lossy().contains("quarantine"));
    assert!(aside.count() > 0, "what was damaged is kept for whoever looks into it");
}

/// Turns a bit in each 512 bytes after the first page, which keeps the file a database.
fn damage(path: &Path) {
    let Ok(mut bytes) = std::fs::read(path) else { return };
    for at in (4096..bytes.len()).step_by(512) {
        bytes[at] ^= 1;
    }
    std::fs::write(path, bytes).expect("a damaged store");
}

/// Starts an HSM as it was started before, with a tamper input.
fn start(command: &[String], input: &Path) -> Child {
    let input = ["--tamper-input".to_owned(), input.display().to_string()];
    spawn(&[command, &input].concat())
}

/// Turns a bit in the newest two objects, as the files of a running HSM have them.
fn flip_newest_objects(region: &Region, folder: &Path) {
    const FILES: [&str; 2] = ["store.db", "store.db-wal"];
    let copy = region.scratch.file("copy");
    std::fs::create_dir(&copy).expect("a folder");
    for file in FILES {
        std::fs::copy(folder.join(file), copy.join(file)).expect("a copy");
    }
    let database = Connection::open(copy.join(FILES[0])).expect("a database");
    let mut query = database
        .prepare("SELECT sealed FROM blobs ORDER BY version DESC, rowid DESC LIMIT 2")
        .expect("the store's tables");
    let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
    let rows: Vec<Vec<u8>> = rows.map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 2);
    let mut flipped = 0;
    for file in FILES.map(|file| folder.join(file)) {
        let bytes = std::fs::read(&file).expect("a file");
        let file = File::options().write(true).open(&file).expect("a file");
        for start in rows.iter().map(|row| &row[..32]) {
            let places = bytes.windows(start.len()).enumerate().filter(|(_, part)| *part == start);
            for (at, part) in places {
                file.write_all_at(&[part[20] ^ 1], at as u64 + 20).expect("a bit turned");
                flipped += 1;
            }
        }
    }
    assert!(flipped >= 2, "the objects are not in the files");
}

/// Signs with the pair of this id.
fn sign(region: &Region, id: &str) -> Program {
    let data = region.scratch.write("data", "what is signed");
    let signature = region.scratch.file("signature");
    region.pkcs11_tool().args(["--sign", "--mechanism", "ECDSA-SHA256", "--id", id]).args([
        "--input-file".into(),
        data,
        "--output-file".into(),
        signature,
    ])
}

fn make_pair(region: &Region, id: &str) {
    region
        .pkcs11_tool()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", id, "--label", id])
        .ok();
}

#[test]
fn an_hsm_that_finds_a_damaged_record_leaves_service_and_fetches_everything_anew() {
    let region = Region::cluster("flipped", 3);
    make_pair(&region, "80");
    region.wait_until_equal();
    let victim = (region.leader() + 1) % 3;
    let folder = region.folder_of(victim);
    // What it has in memory is not read again.
    kill_hard(region.process_of(victim));
    region.start();
    region.wait_until_equal();
    let node = region.hsms()[victim]["node"].clone();
    flip_newest_objects(&region, &folder);

    // That a login is written has SQLite read its pages anew. (A change of the same page would write it
    // whole again, from memory.)
    let there = region.config_beginning_at(victim);
    let random = region.scratch.file("random");
    let random = ["--generate-random".into(), "8".into(), "--output-file".into(), random];
    region.pkcs11_tool().env("STRONGROOM_CONFIG", &there).args(random).ok();
    region.wait_until_equal();
    // Whoever is at this HSM is served by another one.
    sign(&region, "80").env("STRONGROOM_CONFIG", &there).ok();
    region.wait_until("it has begun again", |hsms| hsms[victim]["node"] != node);
    region.wait_until_equal();
    let aside = std::fs::read_dir(&folder).expect("a folder").flatten();
    let aside = aside.filter(|file| file.file_name().to_string_lossy().contains("quarantine"));
    assert!(aside.count() > 0, "what was damaged is kept for whoever looks into it");
    sign(&region, "80").env("STRONGROOM_CONFIG", &there).ok();
}

#[test]
fn the_only_hsm_refuses_a_damaged_object_and_serves_the_others() {
    let region = Region::up("flipped-alone");
    for id in ["82", "83"] {
        make_pair(&region, id);
    }
    region.strongroom("down").ok();
    region.start();
    flip_newest_objects(&region, &region.folder_of(0));
    let refused = sign(&region, "83").fails();
    assert!(refused.contains("CKR_DEVICE_ERROR"), "{refused}");
    sign(&region, "82").ok();
    assert_eq!(region.hsms()[0]["condition"], "serving");
}
