//! The owner's certificates as `openssl` makes them, good and bad, and ours as `openssl` sees them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::*;

const CLUSTER: &str = "cluster-abcdefghijk";
const HSM: &str = "hsm-abcdefghijk";

/// A folder with a cluster's key and its request, and `openssl` to play the owner.
struct Desk {
    folder: tempfile::TempDir,
    key: P256Key,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = P256Key::generate("test key").unwrap();
        std::fs::write(folder.path().join("cluster.csr"), cluster_request(&key, CLUSTER).unwrap())
            .unwrap();
        Self { folder, key }
    }

    /// A desk with a customerCA of `kind`, an argument of `openssl req -newkey`.
    fn with_ca(kind: &str) -> Self {
        let desk = Self::new();
        desk.ca("ca", kind, &[]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pem(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn openssl(&self, arguments: &str, more: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .args(more)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn ca(&self, name: &str, kind: &str, more: &[&str]) {
        self.openssl(
            &format!(
                "req -x509 -new -noenc -days 30 {kind} -subj /O=Customer/CN={name} -keyout {name}.key \
                 -out {name}.crt"
            ),
            more,
        );
    }

    /// The owner's command in AWS's instructions, with `more` options.
    fn sign(&self, ca: &str, more: &[&str]) {
        self.openssl(
            &format!(
                "x509 -req -days 30 -in cluster.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial \
                 -out cluster.crt"
            ),
            more,
        );
    }

    fn check_at(&self, now: SystemTime) -> Result<Owner, CertificateError> {
        check_owner(
            &self.key.public_key(),
            CLUSTER,
            &self.pem("cluster.crt"),
            &self.pem("ca.crt"),
            now,
        )
    }

    fn check(&self) -> Result<Owner, CertificateError> {
        self.check_at(SystemTime::now())
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

fn problem(result: Result<Owner, CertificateError>) -> String {
    result.err().expect("it must be refused").to_string()
}

const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

#[test]
fn the_v1_certificate_of_openssls_plain_command_is_accepted() {
    let desk = Desk::with_ca("-newkey rsa:2048");
    desk.sign("ca", &[]);
    let text = desk.openssl("x509 -noout -text -in cluster.crt", &[]);
    assert!(text.contains("Version: 1"), "this test is about v1: {text}");
    let owner = desk.check().unwrap();
    assert_eq!(
        owner.cluster_certificate,
        pem_certificate(Which::Cluster, &desk.pem("cluster.crt")).unwrap()
    );
}

#[test]
fn each_allowed_algorithm_is_accepted() {
    for (kind, hash) in [
        ("-newkey rsa:3072", "-sha384"),
        (EC, "-sha256"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-384", "-sha384"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-521", "-sha512"),
    ] {
        let desk = Desk::with_ca(kind);
        desk.sign("ca", &[hash]);
        assert!(desk.check().is_ok(), "{kind} {hash}");
    }
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
    let desk = Desk::with_ca("-newkey rsa:2048");
    desk.sign("ca", &pss);
    desk.check().unwrap();
}

#[test]
fn weak_algorithms_and_keys_are_refused_by_name() {
    let desk = Desk::with_ca("-newkey rsa:1024");
    desk.sign("ca", &[]);
    assert!(problem(desk.check()).contains("an RSA key of 1024 bits"));

    let desk = Desk::with_ca("-newkey rsa:2048");
    desk.sign("ca", &["-sha1"]);
    assert!(problem(desk.check()).contains("SHA-1 with RSA"));

    let desk = Desk::with_ca("-newkey ec -pkeyopt ec_paramgen_curve:secp256k1");
    desk.sign("ca", &[]);
    assert!(problem(desk.check()).contains("the curve secp256k1"));

    let desk = Desk::with_ca("-newkey ed25519");
    desk.sign("ca", &[]);
    assert!(problem(desk.check()).contains("Ed25519"));
}

#[test]
fn a_certificate_by_another_ca_of_the_same_name_is_refused() {
    let desk = Desk::with_ca(EC);
    desk.openssl(&format!("req -x509 -new -noenc -days 30 {EC} -subj /O=Customer/CN=ca -keyout other.key -out other.crt"), &[]);
    desk.sign("other", &[]);
    assert!(matches!(
        desk.check(),
        Err(CertificateError::NotSignedByAnchor { which: Which::Cluster })
    ));
    desk.ca("third", EC, &[]);
    desk.sign("third", &[]);
    assert!(matches!(desk.check(), Err(CertificateError::IssuerName { which: Which::Cluster })));
}

#[test]
fn a_trust_anchor_that_is_not_self_signed_is_refused() {
    let desk = Desk::with_ca(EC);
    desk.openssl(
        &format!("req -new -noenc {EC} -subj /CN=middle -keyout middle.key -out middle.csr"),
        &[],
    );
    std::fs::write(desk.path("ca.ext"), "basicConstraints=critical,CA:TRUE\n").unwrap();
    desk.openssl("x509 -req -in middle.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ca.ext -out middle.crt", &[]);
    desk.sign("middle", &[]);
    let result = check_owner(
        &desk.key.public_key(),
        CLUSTER,
        &desk.pem("cluster.crt"),
        &desk.pem("middle.crt"),
        SystemTime::now(),
    );
    assert!(matches!(result, Err(CertificateError::IssuerName { which: Which::TrustAnchor })));
}

#[test]
fn a_certificate_over_another_key_or_name_is_refused() {
    let desk = Desk::with_ca(EC);
    let other = P256Key::generate("test key").unwrap();
    std::fs::write(desk.path("cluster.csr"), cluster_request(&other, CLUSTER).unwrap()).unwrap();
    desk.sign("ca", &[]);
    assert!(matches!(desk.check(), Err(CertificateError::OtherKey)));

    let request = cluster_request(&desk.key, "cluster-zzzzzzzzzzz").unwrap();
    std::fs::write(desk.path("cluster.csr"), request).unwrap();
    desk.sign("ca", &[]);
    assert!(matches!(desk.check(), Err(CertificateError::OtherSubject(_))));
}

#[test]
fn certificates_count_only_within_their_time() {
    let desk = Desk::with_ca(EC);
    desk.sign("ca", &[]);
    let now = SystemTime::now();
    assert!(desk.check_at(now + days(29)).is_ok());
    assert!(problem(desk.check_at(now + days(31))).contains("has expired"));
    assert!(problem(desk.check_at(now - days(1))).contains("not valid yet"));
}

#[test]
fn extensions_that_forbid_the_use_are_refused() {
    for (extensions, part) in [
        ("basicConstraints=CA:FALSE", "CA:FALSE"),
        ("keyUsage=digitalSignature", "key usage"),
        ("1.2.3.4=critical,ASN1:NULL", "critical and not known"),
    ] {
        let desk = Desk::with_ca(EC);
        std::fs::write(desk.path("cluster.ext"), extensions).unwrap();
        desk.sign("ca", &["-extfile", "cluster.ext"]);
        let problem = problem(desk.check());
        assert!(problem.contains(part), "{problem}");
    }
    let desk = Desk::with_ca(EC);
    std::fs::write(desk.path("cluster.ext"), "basicConstraints=critical,CA:TRUE,pathlen:0")
        .unwrap();
    desk.sign("ca", &["-extfile", "cluster.ext"]);
    desk.check().unwrap();
}

#[test]
fn what_is_not_one_pem_certificate_is_refused() {
    let desk = Desk::with_ca(EC);
    desk.sign("ca", &[]);
    let certificate = desk.pem("cluster.crt");
    let truncated = certificate.replacen("MII", "MIJ", 1);
    for wrong in [
        String::new(),
        "no certificate".to_owned(),
        desk.pem("cluster.csr"),
        format!("{certificate}{certificate}"),
        " ".repeat(20_001),
        truncated,
    ] {
        assert!(
            check_owner(
                &desk.key.public_key(),
                CLUSTER,
                &wrong,
                &desk.pem("ca.crt"),
                SystemTime::now()
            )
            .is_err()
        );
    }
    let with_words = format!("Certificate:\n    Data:\n{certificate}\n\n");
    assert!(pem_certificate(Which::Cluster, &with_words).is_ok());
    let windows = certificate.replace('\n', "\r\n");
    assert!(pem_certificate(Which::Cluster, &windows).is_ok());
}

#[test]
fn openssl_verifies_the_leaf_under_the_owners_ca() {
    let desk = Desk::with_ca("-newkey rsa:2048");
    std::fs::write(desk.path("cluster.ext"), "basicConstraints=critical,CA:TRUE").unwrap();
    // The CA encodes the subject in its own way: the leaf must name its issuer just so.
    desk.sign("ca", &["-extfile", "cluster.ext"]);
    let owner = desk.check().unwrap();
    let leaf = Leaf {
        cluster_id: CLUSTER.to_owned(),
        hsm_id: HSM.to_owned(),
        address: "127.0.1.10".parse().unwrap(),
    };
    let certified = leaf.issue(&desk.key, &owner.cluster_certificate, SystemTime::now()).unwrap();
    assert_eq!(certified.cert.len(), 2);
    write_der(&desk.path("leaf.der"), &certified.cert[0]);
    desk.openssl("x509 -inform DER -in leaf.der -out leaf.crt", &[]);
    let verified = desk.openssl(
        "verify -purpose sslserver -verify_ip 127.0.1.10 -CAfile ca.crt -untrusted \
         cluster.crt leaf.crt",
        &[],
    );
    assert!(verified.contains("leaf.crt: OK"), "{verified}");
    let text = desk.openssl("x509 -noout -text -in leaf.crt", &[]);
    assert!(text.contains(&format!("URI:strongroom://{CLUSTER}/{HSM}")), "{text}");
    assert!(text.contains("TLS Web Server Authentication"), "{text}");
}

#[test]
fn a_local_hsms_own_owner_passes_the_owners_check() {
    let key = P256Key::generate("test key").unwrap();
    let owner = own_owner(&key, CLUSTER).unwrap();
    let pem =
        |der: &[u8]| pem_rfc7468::encode_string("CERTIFICATE", Default::default(), der).unwrap();
    check_owner(
        &key.public_key(),
        CLUSTER,
        &pem(&owner.cluster_certificate),
        &pem(&owner.trust_anchor),
        SystemTime::now(),
    )
    .unwrap();
}

#[test]
fn the_device_certificate_carries_the_devices_key() {
    let key = P256Key::generate("test key").unwrap();
    let pem = device_certificate(&key, HSM).unwrap();
    let der = pem_certificate(Which::Provisioner, &pem).unwrap();
    assert_eq!(public_key_of(&der).unwrap(), key.public_key());
}

fn write_der(path: &Path, der: &[u8]) {
    std::fs::write(path, der).unwrap();
}
