//! `strongroom up`, from nothing and again, on real processes. It needs the PKCS#11 module beside the
//! program, as `cargo xtask build` puts it there.

mod support;

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use support::{PROGRAM, next_address};

/// A region, stopped when dropped.
struct Region {
    folder: tempfile::TempDir,
    address: IpAddr,
}

impl Region {
    fn up() -> Self {
        let region = Self { folder: tempfile::tempdir().unwrap(), address: next_address() };
        region.ok("up");
        region
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("region").join(name)
    }

    fn run(&self, command: &str) -> Output {
        let address = self.address.to_string();
        let up = ["--hsms", "1", "--address", &address];
        let more: &[&str] = if command == "up" { &up } else { &[] };
        Command::new(PROGRAM)
            .arg(command)
            .arg("--dir")
            .arg(self.file(""))
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command prints, which must succeed.
    fn ok(&self, command: &str) -> String {
        let output = self.run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "strongroom {command}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// kill -9 of its HSM, without waiting for the end.
    fn kill(&self) {
        let hsms = fs::read_dir(self.file("hsms")).unwrap();
        let pid_file = hsms.last().unwrap().unwrap().path().join("pid");
        let id: i32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    }

    fn client_config(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.file("client.json")).unwrap()).unwrap()
    }

    /// Changes `client.json` as a user does.
    fn edit(&self, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
        let mut config = self.client_config();
        change(config.as_object_mut().unwrap());
        fs::write(self.file("client.json"), config.to_string()).unwrap();
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.run("down");
    }
}

#[test]
fn clients_pin_the_cluster_key_that_configure_would_record() {
    let region = Region::up();
    let configured = region.file("configured.json");
    let output = Command::new(PROGRAM)
        .args(["configure-pkcs11", "-a", &region.address.to_string(), "--hsm-ca-cert"])
        .arg(region.file("customerCA.crt"))
        .arg("--config")
        .arg(&configured)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let configured: serde_json::Value =
        serde_json::from_slice(&fs::read(configured).unwrap()).unwrap();
    let pin = region.client_config()["cluster_key"].clone();
    assert_eq!(pin.as_str().unwrap().len(), 64);
    assert_eq!(pin, configured["cluster_key"]);
}

#[test]
fn a_client_configuration_without_a_pin_gets_it_and_keeps_what_a_user_has_set() {
    let region = Region::up();
    let pin = region.client_config()["cluster_key"].clone();
    region.edit(|config| {
        config.remove("cluster_key");
        config.insert("patience_ms".into(), 4321.into());
    });
    region.ok("up");
    assert_eq!(region.client_config()["cluster_key"], pin);
    assert_eq!(region.client_config()["patience_ms"], 4321);
}

#[test]
fn another_pin_than_the_clusters_key_is_not_replaced_but_stops_up() {
    let region = Region::up();
    let other = "ab".repeat(32);
    region.edit(|config| drop(config.insert("cluster_key".into(), other.clone().into())));
    let output = region.run("up");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("pinned key"), "{said}");
    assert_eq!(region.client_config()["cluster_key"], other);
}

/// The kernel still completes connections to a killed process, and resets them, until it has taken
/// the process down: some 8 of 20 kills showed that.
#[test]
fn a_region_comes_up_at_once_after_its_hsm_was_killed() {
    let region = Region::up();
    for _ in 0..20 {
        region.kill();
        let said = region.ok("up");
        assert!(said.contains("listens on"), "the killed HSM counts as running: {said}");
    }
}

#[test]
fn down_after_a_kill_finds_nothing_left_to_stop() {
    let region = Region::up();
    region.kill();
    let said = region.ok("down");
    assert!(said.contains("does not run") || said.contains("stopped"), "{said}");
    assert!(region.ok("down").contains("does not run"));
}
