//! A program that runs while an HSM is lost, whose cluster gets a new key for that: it goes on without
//! a failed call and without a restart, and refuses the lost HSM when that comes back.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cryptoki_sys::CKM_ECDSA;
use serde_json::Value;
use strongroom_tests::{Load, Region, command_line, kill_hard, logged_in, stop};

#[test]
fn programs_go_on_over_a_new_key_of_the_cluster_and_refuse_the_lost_hsm() {
    let region = Region::cluster("renewal", 3);
    let config = region.variable("STRONGROOM_CONFIG");
    be_patient(Path::new(config));
    let module = logged_in(Path::new(config), region.variable("CLOUDHSM_PIN"));
    let session = module.session().expect("a session");
    let (_, key) = module.p256_pair(session, Some("kept")).expect("a key");
    let sign = || module.sign(session, CKM_ECDSA, key, &[7; 32], &mut [0; 64]);
    region.wait_until_equal();

    let (lost, stolen) = (1, region.scratch.file("stolen"));
    let folder = region.folder_of(lost);
    let command = command_line(region.process_of(lost));
    let report = Load::on(&module).run(|load| {
        let id = id_of(&region, lost);
        kill_hard(region.process_of(lost));
        std::fs::rename(&folder, &stolen).expect("its folder is carried away");
        region.strongroom("replace").arg(&id).ok();
        assert!(region.start().contains("Verified OK"));
        region.wait_until_equal();
        assert_eq!(region.status()["generation"], 2);
        // No connection is left that was made before.
        for hsm in 0..3 {
            kill_hard(region.process_of(hsm));
            region.start();
            region.wait_until_equal();
            load.everybody_goes_on();
        }
    });
    report.assert_nobody_noticed();

    // Alone, so that nobody tells it that it was removed; it has all that a client asks for but for the
    // cluster's new key.
    region.strongroom("down").ok();
    let mut thief = start(&command, &folder, &stolen);
    listens(&region.address_of(lost));
    let said = region.program("cloudhsm-cli").args(["cluster", "hsm-info"]).fails();
    assert!(said.contains("pinned key"), "{said}");
    sign().expect_err("no HSM that is to be trusted runs");
    stop(thief.id());
    thief.wait().expect("its end");
    region.start();
    sign().expect("the HSMs are back");
}

/// A busy machine may take many seconds for what a start writes.
fn be_patient(config: &Path) {
    let text = std::fs::read(config).expect("client.json");
    let mut value: Value = serde_json::from_slice(&text).expect("JSON");
    value["patience_ms"] = 60_000.into();
    std::fs::write(config, value.to_string()).expect("client.json");
}

/// Starts an HSM as it was started before, with its folder in another place.
fn start(command: &[String], folder: &Path, moved: &Path) -> Child {
    let moved = |word: &String| {
        if Path::new(word) == folder { moved.to_owned() } else { PathBuf::from(word) }
    };
    Command::new(&command[0])
        .args(command[1..].iter().map(moved))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("an HSM")
}

/// Waits until an HSM takes clients.
fn listens(address: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect((address, 2223)).is_err() {
        assert!(Instant::now() < patience, "the HSM does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn id_of(region: &Region, hsm: usize) -> String {
    region.hsms()[hsm]["hsm-id"].as_str().expect("an id").to_owned()
}
