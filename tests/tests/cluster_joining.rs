//! Who may let an HSM in: the owner by its join key, or so many admins by the HSM's own fingerprint.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom_tests::{Region, program};

#[test]
fn under_policy_owner_only_an_hsm_of_a_host_that_the_owner_has_enrolled_joins() {
    let mut region = Region::up("enrolled");
    region.admin("cluster join-policy set --policy owner").ok();
    // The owner's key is where no host of an HSM sees it.
    let away = region.scratch.file("away");
    fs::create_dir(&away).expect("a folder");
    let owner = Ca { certificate: region.dir().join("customerCA.crt"), key: away.join("ca.key") };
    fs::rename(region.dir().join("customerCA.key"), &owner.key).expect("moved");

    let refused = grown(&region);
    assert!(refused.contains("enrols this host"), "{refused}");

    let stranger = Ca::new(&away, "stranger");
    enrol(&region, &away, &stranger, "Strongroom join key");
    let refused = grown(&region);
    assert!(refused.contains("certificate 1 of the endorsement"), "{refused}");

    // Not everything that the owner's CA has signed lets HSMs in.
    enrol(&region, &away, &owner, "web servers");
    let refused = grown(&region);
    assert!(refused.contains("does not have CN=Strongroom join key"), "{refused}");
    assert_eq!(region.hsms()[1]["condition"], "waiting", "it serves nobody");

    enrol(&region, &away, &owner, "Strongroom join key");
    let said = region.resize(2);
    assert!(said.contains("let into the cluster"), "{said}");
    region.wait_until_equal();
}

#[test]
fn under_policy_quorum_an_hsm_waits_for_enough_admins_who_mean_its_own_key() {
    const PASSWORD: &str = "Quorum9of2Admins";
    let mut region = Region::up("quorum");
    for name in ["alice", "bob", "carol"] {
        let line = format!("user create --username {name} --role admin --password {PASSWORD}");
        region.admin(&line).ok();
    }
    region.admin("cluster join-policy set --policy quorum --approvals 2").ok();
    assert!(grown(&region).contains("approval of 0 of 2 admins"));
    let listed: Value =
        serde_json::from_str(&region.admin("cluster join list").text()).expect("JSON");
    let fingerprint = listed["data"]["waiting"][0]["fingerprint"].as_str().expect("one waits");
    let own = fs::read_to_string(region.folder_of(1).join("hsm.log")).expect("its log");
    assert!(own.contains(fingerprint), "the new HSM itself says which key it has: {own}");
    let approve = |name: &str, fingerprint: &str| {
        let line = format!("cluster join approve --fingerprint {fingerprint}");
        region.as_admin(name, PASSWORD, &line)
    };

    let other = if fingerprint.starts_with('0') { "1" } else { "0" };
    approve("alice", &format!("{other}{}", &fingerprint[1..])).fails();
    assert!(grown(&region).contains("approval of 0 of 2 admins"));
    approve("alice", fingerprint).ok();
    // Whether it is refused or not, it is one admin's word.
    approve("alice", fingerprint).output();
    assert!(grown(&region).contains("approval of 1 of 2 admins"));
    approve("carol", fingerprint).ok();
    region.admin("user delete --username carol --role admin").ok();
    assert!(grown(&region).contains("approval of 1 of 2 admins"), "whose admin is gone is none");
    assert_eq!(region.hsms()[1]["condition"], "waiting", "it serves nobody");
    approve("bob", fingerprint).ok();
    let said = region.resize(2);
    assert!(said.contains("let into the cluster"), "{said}");
    region.wait_until_equal();
}

/// What `up` says that is to have two HSMs, and can't.
fn grown(region: &Region) -> String {
    region.strongroom("up").args(["--address", &region.address, "--hsms", "2"]).fails()
}

struct Ca {
    certificate: PathBuf,
    key: PathBuf,
}

impl Ca {
    fn new(folder: &Path, name: &str) -> Self {
        let certificate = folder.join(format!("{name}.crt"));
        let ca = Self { certificate, key: new_key(folder, name) };
        openssl("req -x509 -days 30 -subj /CN=customerCA")
            .args(["-key".into(), ca.key.clone(), "-out".into(), ca.certificate.clone()])
            .ok();
        ca
    }

    /// Signs a CA under this one, as `docs/spec/peers.md` has it.
    fn sign(&self, folder: &Path, name: &str, common_name: &str) -> Self {
        let (request, extensions) = (folder.join("request"), folder.join("extensions"));
        fs::write(
            &extensions,
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
        )
        .expect("written");
        let key = new_key(folder, name);
        openssl("req -new")
            .args(["-subj", &format!("/CN={common_name}")])
            .args(["-key".into(), key.clone(), "-out".into(), request.clone()])
            .ok();
        let signed = Self { certificate: folder.join(format!("{name}.crt")), key };
        openssl("x509 -req -days 30 -set_serial 7")
            .args(["-in".into(), request, "-extfile".into(), extensions])
            .args(["-CA".into(), self.certificate.clone(), "-CAkey".into(), self.key.clone()])
            .args(["-out".into(), signed.certificate.clone()])
            .ok();
        signed
    }
}

/// Enrols the region's host: a join key of this name, and the host's under it.
fn enrol(region: &Region, folder: &Path, owner: &Ca, join_name: &str) {
    let join = owner.sign(folder, "join", join_name);
    let host = join.sign(folder, "host", "host-1");
    let chain = [join.certificate, host.certificate].map(|path| fs::read(path).expect("a file"));
    fs::write(region.dir().join("host.crt"), chain.concat()).expect("written");
    fs::copy(&host.key, region.dir().join("host.key")).expect("copied");
}

fn new_key(folder: &Path, name: &str) -> PathBuf {
    let key = folder.join(format!("{name}.key"));
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256").arg("-out").arg(&key).ok();
    key
}

fn openssl(line: &str) -> strongroom_tests::Program {
    program("openssl").args(line.split(' '))
}
