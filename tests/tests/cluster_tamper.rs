//! An HSM that is tampered with: its secrets go, or its damaged data is fetched anew; the cluster goes on.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use strongroom_tests::{Region, command_line, kill_hard};

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
    Command::new(&command[0])
        .args(&command[1..])
        .arg("--tamper-input")
        .arg(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("an HSM")
}
