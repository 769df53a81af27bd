//! OpenSSL with the key in the HSM, by libp11's engine: requests and certificates.

use std::path::{Path, PathBuf};

use strongroom_tests::{Region, program};

#[test]
fn openssl_makes_a_request_and_a_certificate_with_a_key_in_the_hsm() {
    let region = Region::up("engine");
    let configuration = configuration(&region);
    for (id, label, kind) in [("61", "req-rsa", "rsa:2048"), ("62", "req-ec", "EC:prime256v1")] {
        region
            .pkcs11_tool()
            .args(["--keypairgen", "--key-type", kind, "--id", id, "--label", label])
            .ok();
        let key = format!("pkcs11:object={label};type=private");
        let request = region.scratch.file("request.pem");
        let certificate = region.scratch.file("certificate.pem");

        openssl(&region, &configuration)
            .args(["req", "-new", "-engine", "pkcs11", "-keyform", "engine", "-key", &key])
            .args(["-subj", "/CN=strongroom.example", "-out"])
            .arg(&request)
            .ok();
        let said =
            program("openssl").args(["req", "-verify", "-noout", "-in"]).arg(&request).output();
        assert!(said.status.success(), "{said:?}");

        openssl(&region, &configuration)
            .args(["req", "-x509", "-new", "-engine", "pkcs11", "-keyform", "engine", "-key", &key])
            .args(["-subj", "/CN=strongroom.example", "-days", "30", "-out"])
            .arg(&certificate)
            .ok();
        let said = program("openssl")
            .args(["verify", "-CAfile"])
            .arg(&certificate)
            .arg(&certificate)
            .text();
        assert!(said.contains("OK"), "{said}");
    }
}

fn openssl(region: &Region, configuration: &Path) -> strongroom_tests::Program {
    region.program("openssl").env("OPENSSL_CONF", configuration)
}

/// An openssl.cnf as the engine's documentation has it.
fn configuration(region: &Region) -> PathBuf {
    let engine = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .iter()
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}/engines-3/pkcs11.so")))
        .find(|path| path.exists())
        .expect("libengine-pkcs11-openssl is installed");
    region.scratch.write(
        "openssl.cnf",
        format!(
            "openssl_conf = top\n\
             [top]\nengines = engines\n\
             [engines]\npkcs11 = pkcs11\n\
             [pkcs11]\nengine_id = pkcs11\ndynamic_path = {}\nMODULE_PATH = {}\nPIN = {}\ninit = 0\n\
             [req]\ndistinguished_name = name\n[name]\n",
            engine.display(),
            region.variable("STRONGROOM_PKCS11"),
            region.variable("CLOUDHSM_PIN"),
        ),
    )
}
