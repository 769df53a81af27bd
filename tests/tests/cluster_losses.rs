//! HSMs that are lost: replaced by new ones, or, where the majority is lost, gone on without.

use std::fs;

use serde_json::Value;
use strongroom_tests::{Region, kill_hard};

#[test]
fn a_lost_hsm_is_replaced_by_a_new_one_in_its_place() {
    let region = Region::cluster("replace", 3);
    let keys = objects(&region);
    let lost = id_of(&region, 1);
    let pin = client_config(&region)["cluster_key"].clone();
    kill_hard(region.process_of(1));
    fs::remove_dir_all(region.folder_of(1)).expect("its data is gone");
    region.strongroom("replace").arg(&lost).ok();
    assert!(region.start().contains("Verified OK"));
    region.wait_until_equal();
    assert_ne!(id_of(&region, 1), lost);
    assert_eq!(objects(&region), keys);
    // It left no receipt: the cluster has a new key, which the owner has signed.
    let status = region.status();
    assert_eq!(status["generation"], 2);
    assert_eq!(status["secrets-epoch"], 2);
    let config = client_config(&region);
    assert_ne!(config["cluster_key"], pin, "clients refuse the old key");
}

#[test]
fn a_working_hsm_is_replaced_without_a_new_key_of_the_cluster() {
    let region = Region::cluster("swap", 3);
    let old = id_of(&region, 0);
    let pin = client_config(&region)["cluster_key"].clone();
    region.strongroom("replace").arg(&old).ok();
    assert!(region.start().contains("Verified OK"));
    assert_ne!(id_of(&region, 0), old);
    assert_eq!(region.status()["generation"], 1);
    assert_eq!(client_config(&region)["cluster_key"], pin);
}

#[test]
fn without_a_majority_nothing_is_replaced_but_recovered_on_the_owners_word() {
    let region = Region::cluster("recover", 3);
    let keys = objects(&region);
    region.wait_until_equal();
    let lost = [id_of(&region, 1), id_of(&region, 2)];
    for hsm in [1, 2] {
        kill_hard(region.process_of(hsm));
        fs::remove_dir_all(region.folder_of(hsm)).expect("its data is gone");
    }
    region.wait_until("the last HSM is cut off", |hsms| hsms[0]["cut-off"] == true);

    let only_one = region.strongroom("recover").text();
    assert!(only_one.contains(&lost[0]) && only_one.contains("openssl"), "{only_one}");
    let stranger = region.dir().join("provisioner.key");
    region.strongroom("recover").arg("--sign-with").arg(stranger).fails();
    let owner = region.dir().join("customerCA.key");
    region.strongroom("recover").arg("--sign-with").arg(owner).ok();
    region.wait_until("the last HSM leads", |hsms| hsms[0]["role"] == "leader");
    for id in &lost {
        region.strongroom("replace").arg(id).ok();
    }
    assert!(region.start().contains("Verified OK"));
    region.wait_until_equal();
    assert_eq!(objects(&region), keys);
}

fn id_of(region: &Region, hsm: usize) -> String {
    region.hsms()[hsm]["hsm-id"].as_str().expect("an id").to_owned()
}

fn client_config(region: &Region) -> Value {
    let text = fs::read(region.variable("STRONGROOM_CONFIG")).expect("client.json");
    serde_json::from_slice(&text).expect("JSON")
}

/// How many objects the crypto user has.
fn objects(region: &Region) -> usize {
    let listed = region.pkcs11_tool().arg("-O").text();
    listed.lines().filter(|line| line.contains("Object")).count()
}
