//! What a newcomer does: `up`, `env`, any program, `status`, `down`, and `up` again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use strongroom_tests::{Region, program};

#[test]
fn a_region_comes_up_signs_and_comes_up_again_with_all_keys() {
    let region = Region::up("newcomer");
    let before = labels(&region);
    assert!(before.len() >= 5, "an AES key and two pairs: {before:?}");

    let again = region.start();
    assert!(again.contains("Verified OK"), "{again}");
    assert_eq!(labels(&region), before, "up on a running region makes nothing anew");

    region.strongroom("down").ok();
    region.strongroom("status").arg("--json").output();
    let restarted = region.start();
    assert!(restarted.contains("Verified OK"), "{restarted}");
    assert_eq!(labels(&region), before, "a restarted region has all its keys");
}

#[test]
fn a_new_region_has_three_hsms_unless_asked_otherwise() {
    let region = Region::up("three");
    // The second number of a region's address is never 6.
    let (_, rest) = region.address["127.".len()..].split_once('.').expect("four numbers");
    let dir = region.scratch.file("other");
    let strongroom = |command: &str| program("strongroom").arg(command).arg("--dir").arg(&dir);
    strongroom("up").args(["--address", &format!("127.6.{rest}")]).ok();
    let status = strongroom("status").arg("--json").text();
    strongroom("down").ok();
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["hsms"].as_array().map(Vec::len), Some(3), "{status:#}");
}

#[test]
fn a_region_moves_to_another_address_while_it_is_down() {
    let region = Region::up("moved");
    let keys = labels(&region);
    // The second number of a region's address is never 5.
    let (_, rest) = region.address["127.".len()..].split_once('.').expect("four numbers");
    let other = format!("127.5.{rest}");
    let up = || region.strongroom("up").args(["--address", &other]);
    let refused = up().fails();
    assert!(refused.contains("runs on"), "{refused}");
    region.strongroom("down").ok();
    let moved = up().text();
    assert!(moved.contains(&other) && moved.contains("Verified OK"), "{moved}");
    assert_eq!(labels(&region), keys);
    assert!(region.strongroom("status").text().contains(&other));

    // A place that is taken is said to be, and another `up` gets out of it.
    let taken = Region::up("taken");
    region.strongroom("down").ok();
    let refused = region.strongroom("up").args(["--address", &taken.address]).fails();
    assert!(refused.contains("choose another address"), "{refused}");
    assert!(up().text().contains("Verified OK"));
}

#[test]
fn credentials_are_for_their_owner_only() {
    let region = Region::up("modes");
    for (path, mode) in [
        (region.dir(), 0o700),
        (region.dir().join("dev-credentials"), 0o600),
        (region.dir().join("customerCA.key"), 0o600),
    ] {
        let found = fs::metadata(&path).expect("made by up").permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
}

#[test]
fn env_is_what_a_shell_takes() {
    let region = Region::up("env");
    let shell = format!(
        "eval \"$({} env --dir {})\" && pkcs11-tool --module $STRONGROOM_PKCS11 --login --pin $CLOUDHSM_PIN -O",
        strongroom_tests::release().join("strongroom").display(),
        region.dir().display()
    );
    let listed = program("sh").args(["-c", &shell]).text();
    assert!(listed.contains("Private Key Object"), "{listed}");
}

#[test]
fn status_says_what_the_seal_protects_against() {
    let region = Region::up("status");
    let status = region.strongroom("status").text();
    assert!(status.contains("file"), "{status}");
    region.strongroom("down").ok();
    let status = region.strongroom("status").output();
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("does not run"), "{text}");
}

fn labels(region: &Region) -> Vec<String> {
    let listed = region.pkcs11_tool().arg("-O").text();
    let mut labels: Vec<String> =
        listed.lines().filter_map(|l| l.trim().strip_prefix("label:")).map(str::to_owned).collect();
    labels.sort();
    labels
}
