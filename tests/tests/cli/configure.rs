//! `configure-cli`: from an address to a configuration that works, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use strongroom_tests::{Program, Region, program};

use crate::cli::{User, data, refusal};

#[test]
fn an_address_and_the_ca_make_a_configuration_that_works_and_pins_the_cluster() {
    let region = Region::up("cli-configure");
    let home = region.scratch.file("home");
    let configure = program("configure-cli").env("XDG_CONFIG_HOME", &home).args([
        "-a",
        &region.address,
        "--hsm-ca-cert",
        region.variable("HSM_CA_FILE"),
    ]);
    let report = configure.text();
    let key = cluster_key(&region);
    assert!(report.contains(&key), "openssl says {key}: {report}");
    assert!(report.contains(region.variable("CLUSTER_ID")), "{report}");

    let file = home.join("strongroom/client.json");
    let written = fs::read_to_string(&file).expect("written where clients look");
    assert!(written.contains(&key), "{written}");
    let mode = fs::metadata(&file).expect("there").permissions().mode();
    assert_eq!(mode & 0o022, 0, "others can't write to it");
    let list = |program: Program| User::crypto_user(&region).lend(program).args(["key", "list"]);
    let keys = data(&list(program("cloudhsm-cli").env("XDG_CONFIG_HOME", &home)).output());
    assert!(keys["total_key_count"].as_u64() > Some(0));
    let tool = program("pkcs11-tool")
        .env("XDG_CONFIG_HOME", &home)
        .args(["--module", region.variable("STRONGROOM_PKCS11"), "-L"])
        .text();
    assert!(tool.contains("hsm1"), "{tool}");

    // The pin of this cluster, met by another one whose CA is trusted, is refused.
    let other = Region::up("cli-configure-other");
    let moved = written
        .replace(&region.address, &other.address)
        .replace(region.variable("HSM_CA_FILE"), other.variable("HSM_CA_FILE"));
    let moved = region.scratch.write("moved.json", moved);
    let said = refusal(&list(program("cloudhsm-cli").env("STRONGROOM_CONFIG", &moved)).output());
    assert!(said.contains("pinned key"), "{said}");
}

#[test]
fn nothing_is_written_for_an_hsm_that_is_not_the_owners() {
    let region = Region::up("cli-refuse");
    let other = Region::up("cli-refuse-other");
    let file = region.scratch.file("client.json");
    let configure = |address: &str, more: &[&str]| {
        program("configure-cli")
            .args(["--config".as_ref(), file.as_os_str()])
            .args(["-a", address])
            .args(more)
    };
    let ca = region.variable("HSM_CA_FILE");
    let foreign = other.variable("HSM_CA_FILE");
    let said = configure(&region.address, &["--hsm-ca-cert", foreign]).fails();
    assert!(said.contains("certificate"), "{said}");
    let pin = "ab".repeat(32);
    let said = configure(&region.address, &["--hsm-ca-cert", ca, "--cluster-key", &pin]).fails();
    assert!(said.contains("pinned key"), "{said}");
    configure(&format!("{}:1", region.address), &["--hsm-ca-cert", ca]).fails();
    configure(&region.address, &[]).fails();
    assert!(!file.exists(), "nothing was written");

    // The key that the owner knows is met.
    let key = cluster_key(&region);
    configure(&region.address, &["--hsm-ca-cert", ca, "--cluster-key", &key]).ok();
    assert!(file.exists());
}

/// The cluster key as the manual has it: SHA-256 of the cluster certificate's public key, here by
/// `openssl` out of what the HSM shows.
fn cluster_key(region: &Region) -> String {
    let shown = program("openssl")
        .args(["s_client", "-connect", &format!("{}:2223", region.address), "-showcerts"])
        .arg("-CAfile")
        .arg(region.variable("HSM_CA_FILE"))
        .output();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let cluster = shown.split("-----BEGIN CERTIFICATE-----").nth(2).expect("leaf, then cluster");
    let end = cluster.find("-----END").expect("PEM");
    let pem = format!("-----BEGIN CERTIFICATE-----{}-----END CERTIFICATE-----\n", &cluster[..end]);
    let key = program("openssl").args(["x509", "-pubkey", "-noout"]).input(pem).ok();
    let der = program("openssl").args(["pkey", "-pubin", "-outform", "DER"]).input(key).ok();
    let said = program("openssl").args(["dgst", "-sha256", "-r"]).input(der).text();
    said.split_whitespace().next().expect("a digest").to_owned()
}
