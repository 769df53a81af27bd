//! HSMs that are lost: replaced by new ones, or, where the majority is lost, gone on without.

use std::fs;

use serde_json::Value;
use strongroom_tests::{Region, command_line, kill_hard, program, spawn, stop};

#[test]
fn a_lost_hsm_is_replaced_by_a_new_one_in_its_place() {
    let region = Region::cluster("replace", 3);
    let keys = objects(&region);
    let lost = region.id_of(1);
    let pin = client_config(&region)["cluster_key"].clone();
    kill_hard(region.process_of(1));
    fs::remove_dir_all(region.folder_of(1)).expect("its data is gone");
    region.strongroom("replace").arg(&lost).ok();
    assert!(region.start().contains("Verified OK"));
    region.wait_until_equal();
    assert_ne!(region.id_of(1), lost);
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
    let old = region.id_of(0);
    let pin = client_config(&region)["cluster_key"].clone();
    region.strongroom("replace").arg(&old).ok();
    assert!(region.start().contains("Verified OK"));
    assert_ne!(region.id_of(0), old);
    assert_eq!(region.status()["generation"], 1);
    assert_eq!(client_config(&region)["cluster_key"], pin);
}

#[test]
fn without_a_majority_nothing_is_replaced_but_recovered_on_the_owners_word() {
    let region = Region::cluster("recover", 3);
    let keys = objects(&region);
    region.wait_until_equal();
    let lost = [region.id_of(1), region.id_of(2)];
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

#[test]
fn two_survivors_of_five_go_on_on_the_owners_word_and_the_lost_majority_stays_out() {
    let region = Region::cluster("survivors", 5);
    region.wait_until_equal();
    let lost = [0, 1, 2];
    let commands = lost.map(|hsm| command_line(region.process_of(hsm)));
    for hsm in lost {
        kill_hard(region.process_of(hsm));
    }
    let survivors =
        |hsms: &[Value], key: &str, value: &Value| hsms[3..].iter().all(|hsm| hsm[key] == *value);
    region.wait_until("both are cut off", |hsms| survivors(hsms, "cut-off", &true.into()));

    let said = region.strongroom("recover").text();
    for id in lost.map(|hsm| region.id_of(hsm)) {
        assert!(said.contains(&id), "{id} is given up: {said}");
    }
    for words in ["changes from ", "may be missing", "no client has told", "openssl dgst"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let statement = region.dir().join("recovery.statement");
    let sign = |key: &std::path::Path| {
        let (public, signature) = (region.scratch.file("key.pub"), region.scratch.file("key.sig"));
        program("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(key)
            .arg("-out")
            .arg(&signature)
            .arg(&statement)
            .ok();
        program("openssl").args(["pkey", "-pubout", "-in"]).arg(key).arg("-out").arg(&public).ok();
        let pair = format!("{}:{}", public.display(), signature.display());
        region.strongroom("recover").args(["--signature", &pair])
    };
    sign(&region.dir().join("provisioner.key")).fails();
    assert!(survivors(&region.hsms(), "cut-off", &true.into()), "nobody else's word counts");
    sign(&region.dir().join("customerCA.key")).ok();
    region.wait_until("both serve", |hsms| survivors(hsms, "condition", &"serving".into()));
    make_pair(&region, "after");
    let keys = objects(&region);

    // The old majority is there again, and could agree on something by itself.
    let mut old = commands.map(|command| spawn(&command));
    region.wait_until("the old majority serves nobody", |hsms| {
        hsms[..3].iter().all(|hsm| hsm["condition"] == "retired")
    });
    assert!(survivors(&region.hsms(), "condition", &"serving".into()));
    make_pair(&region, "with the old ones there");
    assert!(objects(&region) > keys);
    for hsm in &mut old {
        stop(hsm.id());
        hsm.wait().expect("its end");
    }
}

#[test]
fn an_hsm_that_was_away_while_all_others_were_replaced_is_told_who_they_are() {
    let region = Region::cluster("strangers", 4);
    region.wait_until_equal();
    let keys = objects(&region);
    let away = region.hsms().iter().position(|hsm| hsm["role"] == "learner").expect("a learner");
    kill_hard(region.process_of(away));
    // Or the next command would start it.
    let file = region.dir().join("region.json");
    let read = || serde_json::from_slice::<Value>(&fs::read(&file).expect("region.json"));
    let mut description = read().expect("JSON");
    let of = |description: &mut Value| description["hsms"].as_array_mut().expect("HSMs").clone();
    let mut hsms = of(&mut description);
    let absent = hsms.remove(away);
    description["hsms"] = hsms.into();
    fs::write(&file, description.to_string()).expect("written");
    for hsm in 0..3 {
        region.strongroom("replace").arg(region.id_of(hsm)).ok();
    }
    let mut description = read().expect("JSON");
    let mut hsms = of(&mut description);
    hsms.insert(away, absent);
    description["hsms"] = hsms.into();
    fs::write(&file, description.to_string()).expect("written");

    let said = region.start();
    assert!(said.contains("told who the members are now"), "{said}");
    region.wait_until_equal();
    assert_eq!(objects(&region), keys);
}

fn make_pair(region: &Region, label: &str) {
    region
        .pkcs11_tool()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "90", "--label", label])
        .ok();
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
