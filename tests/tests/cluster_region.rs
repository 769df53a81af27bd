//! A region of several HSMs as its operator sees it: grown, shrunk, interrupted, looked at, governed.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;
use strongroom_tests::{Region, kill_hard, program};

#[test]
fn a_region_grows_and_shrinks_and_no_key_is_lost() {
    let mut region = Region::cluster("sizes", 1);
    let mut keys = labels(&region);
    for hsms in [3, 7, 3] {
        let said = region.resize(hsms);
        assert!(said.contains("Verified OK"), "{said}");
        let found = region.hsms();
        assert_eq!(found.len(), hsms);
        region.wait_until_equal();
        let roles = |role: &str| region.hsms().iter().filter(|hsm| hsm["role"] == role).count();
        assert_eq!(roles("leader"), 1);
        assert_eq!(labels(&region), keys, "{hsms} HSMs");
        let label = format!("made-with-{hsms}");
        region
            .pkcs11_tool()
            .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "77", "--label", &label])
            .ok();
        keys = labels(&region);
        assert!(keys.contains(&label));
    }
    let folders = std::fs::read_dir(region.dir().join("hsms")).expect("HSMs").count();
    assert_eq!(folders, 3, "those that have left leave nothing behind");
}

#[test]
fn an_up_that_is_killed_anywhere_is_finished_by_the_next() {
    let mut region = Region::cluster("interrupted", 1);
    let keys = labels(&region);
    for (hsms, lines) in [(3, 1..10), (1, 1..7)] {
        for lines in lines {
            up_killed_after(&region, hsms, lines);
        }
        let said = region.resize(hsms);
        assert!(said.contains("Verified OK"), "{said}");
        assert_eq!(region.hsms().len(), hsms);
        region.wait_until_equal();
        assert_eq!(labels(&region), keys);
    }
}

#[test]
fn status_tells_programs_who_leads_who_lags_and_what_there_is_to_do() {
    let region = Region::cluster("status-json", 3);
    region.wait_until_equal();
    let status = region.status();
    let leader = status["leader"].as_str().expect("a leader").to_owned();
    let zones: Vec<&str> = hsms(&status).iter().filter_map(|hsm| hsm["zone"].as_str()).collect();
    assert_eq!(zones, ["strongroom-1a", "strongroom-1b", "strongroom-1c"]);
    for hsm in hsms(&status) {
        assert_eq!(hsm["running"], true);
        assert_eq!(hsm["leader"], *leader);
        assert_eq!(hsm["role"] == "leader", hsm["hsm-id"] == *leader);
        assert_eq!(hsm["state"], "ACTIVE");
        assert_eq!(hsm["condition"], "serving");
        for number in ["lag", "applied", "uptime-seconds", "memory-bytes", "process-id", "term"] {
            assert!(hsm[number].is_u64(), "{number}: {hsm}");
        }
        assert!(hsm["memory-bytes"].as_u64() > Some(1 << 20));
    }
    assert_eq!(status["join-policy"], "automatic");
    let warnings = status["warnings"].to_string();
    for said in ["automatic", "seal"] {
        assert!(warnings.contains(said), "{said} is not in {warnings}");
    }
    let text = region.strongroom("status").text();
    for said in [leader.as_str(), "leader", "voter", "lag 0", "MiB", "strongroom-1b"] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    region.strongroom("down").ok();
    let output = region.strongroom("status").arg("--json").output();
    assert!(!output.status.success(), "no HSM runs");
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON all the same");
    assert_eq!(status["leader"], Value::Null);
    assert!(hsms(&status).iter().all(|hsm| hsm["running"] == false));
}

#[test]
fn a_whole_region_moves_to_other_addresses_and_no_key_is_lost() {
    for mut region in [Region::cluster("moving", 3), Region::with_witness("moving-witness")] {
        let keys = labels(&region);
        region.strongroom("down").ok();
        // The second number of a region's address is never 6.
        let (_, rest) = region.address["127.".len()..].split_once('.').expect("four numbers");
        region.address = format!("127.6.{rest}");
        let said = region.start();
        assert!(said.contains("Verified OK"), "{said}");
        region.wait_until_equal();
        assert_eq!(labels(&region), keys);
        assert!(region.hsms().iter().all(|hsm| {
            hsm["address"].as_str().is_some_and(|address| address.starts_with("127.6."))
        }));
        // They have agreed on it: each finds the others by itself from now on.
        for hsm in 0..3 {
            kill_hard(region.process_of(hsm));
        }
        region.start();
        region.wait_until_equal();
    }
}

#[test]
fn admins_decide_who_joins() {
    let mut region = Region::cluster("joining", 3);
    let shown = data(&region.admin("cluster hsm-info").text());
    let ids: Vec<&Value> =
        shown["hsms"].as_array().expect("a list").iter().map(|hsm| &hsm["serial-number"]).collect();
    let known = region.hsms();
    assert_eq!(ids.len(), 3);
    assert!(known.iter().all(|hsm| ids.contains(&&hsm["hsm-id"])), "{ids:?}");

    region.admin("cluster join-policy set --policy quorum --approvals 1").ok();
    let refused =
        region.strongroom("up").args(["--address", &region.address, "--hsms", "4"]).fails();
    assert!(refused.contains("waits"), "{refused}");
    let waiting = data(&region.admin("cluster join list").text());
    let fingerprint = waiting["waiting"][0]["fingerprint"].as_str().expect("one waits").to_owned();
    region.admin(&format!("cluster join approve --fingerprint {fingerprint}")).ok();
    region.resize(4);

    // Under policy `owner` it is customerCA's word, which `up` has.
    region.admin("cluster join-policy set --policy owner").ok();
    region.resize(5);
    region.wait_until_equal();
    assert_eq!(region.status()["join-policy"], "owner");
}

/// `up` on a region, killed after it has printed so many lines.
fn up_killed_after(region: &Region, hsms: usize, lines: usize) {
    let up = region.strongroom("up").args(["--hsms", &hsms.to_string()]);
    let mut child =
        up.into_command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("up");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for _ in 0..lines {
        let _ = output.next();
    }
    // It may have come to its end, or not: both happen to people.
    let _ = child.kill();
    let _ = child.wait();
}

fn hsms(status: &Value) -> &[Value] {
    status["hsms"].as_array().expect("a list of HSMs")
}

fn data(shown: &str) -> Value {
    let shown: Value = serde_json::from_str(shown).expect("JSON");
    shown["data"].clone()
}

fn labels(region: &Region) -> Vec<String> {
    let listed = region.pkcs11_tool().arg("-O").text();
    let labels = listed.lines().filter_map(|line| line.trim().strip_prefix("label:"));
    let mut labels: Vec<String> = labels.map(|label| label.trim().to_owned()).collect();
    labels.sort();
    labels
}

#[test]
fn a_foreground_region_ends_when_it_is_told_to_and_tells_of_each_end() {
    let region = Region::cluster("foreground", 3);
    region.strongroom("down").ok();
    let up = region.strongroom("up").arg("--foreground");
    let mut child =
        up.into_command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("up");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let ready = output.by_ref().map_while(Result::ok).any(|line| line.contains("Ready after"));
    assert!(ready, "it came up");
    kill_hard(region.process_of(1));
    let told = output.by_ref().map_while(Result::ok).any(|line| line.contains("has ended"));
    assert!(told, "the end of an HSM is told");
    program("kill").arg(child.id().to_string()).ok();
    assert!(output.map_while(Result::ok).filter(|line| line.contains("has ended")).count() == 2);
    assert!(!child.wait().expect("its end").success(), "one was killed");
}
