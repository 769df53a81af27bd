//! HSMs that go: on whose word, and what is left of them.

use std::fs;
use std::path::Path;

use strongroom_tests::{Region, command_line, program, spawn};

/// `strongroom`'s exit status after it has destroyed its secrets.
const ZEROISED: i32 = 3;

#[test]
fn an_hsm_destroys_its_secrets_on_its_provisioners_word_and_on_no_others() {
    let region = Region::cluster("zeroise", 3);
    region.wait_until_equal();
    let victim = (region.leader() + 1) % 3;
    let (id, folder) = (region.id_of(victim), region.folder_of(victim));
    let command = command_line(region.process_of(victim));

    as_a_stranger(&region, || {
        for word in ["zeroise", "leave"] {
            region.strongroom(word).arg(&id).fails();
        }
    });
    region.strongroom("zeroise").arg("hsm-aaaaaaaaaaa").fails();
    region.wait_until_equal();
    assert!(folder.join("secrets.sealed").exists());

    let said = region.strongroom("zeroise").arg(&id).text();
    assert!(said.contains("destroyed its secrets") && said.contains("replace"), "{said}");
    nothing_opens(&folder);
    assert_eq!(spawn(&command).wait().expect("its end").code(), Some(ZEROISED));
    region.wait_until("the others go on", |hsms| {
        let others = hsms.iter().enumerate().filter(|(number, _)| *number != victim);
        let mut others = others.map(|(_, hsm)| hsm);
        others.clone().any(|hsm| hsm["role"] == "leader")
            && others.all(|hsm| hsm["condition"] == "serving")
    });
    region.strongroom("replace").arg(&id).ok();
    region.wait_until_equal();

    let alone = Region::up("zeroise-alone");
    let refused = alone.strongroom("zeroise").arg(alone.id_of(0)).fails();
    assert!(refused.contains("--force"), "{refused}");
    let refused = alone.strongroom("leave").arg(alone.id_of(0)).fails();
    assert!(refused.contains("last HSM"), "{refused}");
    assert!(alone.start().contains("Verified OK"), "what was refused changes nothing");
    alone.strongroom("zeroise").arg(alone.id_of(0)).arg("--force").ok();
    nothing_opens(&alone.folder_of(0));
}

#[test]
fn an_old_copy_of_an_hsm_that_has_left_destroys_itself_where_the_cluster_hears_of_it() {
    let mut region = Region::cluster("stolen", 3);
    region.wait_until_equal();
    // Not the last alone leaves.
    let leaver = 1;
    let (id, folder) = (region.id_of(leaver), region.folder_of(leaver));
    let command = command_line(region.process_of(leaver));
    let stolen = region.scratch.file("stolen");
    program("cp").arg("-a").arg(&folder).arg(&stolen).ok();

    let said = region.strongroom("leave").arg(&id).text();
    assert!(said.contains("destroyed its secrets"), "{said}");
    assert!(!folder.exists());
    let said = region.resize(2);
    assert!(said.contains("Verified OK"), "{said}");
    region.wait_until_equal();
    assert_eq!(region.hsms().len(), 2);
    assert_eq!(region.status()["generation"], 1, "it left a receipt");
    region.wait_until("the secrets are new", |_| region.status()["secrets-epoch"] == 2);

    let folder = folder.display().to_string();
    let copy = stolen.display().to_string();
    let thief: Vec<String> = command.iter().map(|word| word.replace(&folder, &copy)).collect();
    assert_eq!(spawn(&thief).wait().expect("its end").code(), Some(ZEROISED));
    nothing_opens(&stolen);
    assert_eq!(spawn(&thief).wait().expect("its end").code(), Some(ZEROISED));
    assert_eq!(region.hsms().len(), 2);
    // The place is free for another.
    region.resize(3);
    region.wait_until_equal();
}

/// Does something with another provisioner's key than the HSMs were started with.
fn as_a_stranger(region: &Region, act: impl FnOnce()) {
    let [certificate, key] = ["provisioner.crt", "provisioner.key"].map(|file| {
        let path = region.dir().join(file);
        (fs::read(&path).expect("made by up"), path)
    });
    program("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30".split(' '))
        .args(["-subj", "/CN=stranger"])
        .args(["-keyout".into(), key.1.clone(), "-out".into(), certificate.1.clone()])
        .ok();
    act();
    for (bytes, path) in [certificate, key] {
        fs::write(path, bytes).expect("put back");
    }
}

/// No secret is left, and the HSM's word for it is.
fn nothing_opens(folder: &Path) {
    for gone in ["secrets.sealed", "seal.key"] {
        assert!(!folder.join(gone).exists(), "{gone}");
    }
    let record = fs::read_to_string(folder.join("zeroised")).expect("a record");
    assert!(record.contains("signature: "), "{record}");
}
