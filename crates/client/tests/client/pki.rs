//! Certificates, made by the `openssl` program as a customer makes them.

use std::{fs, path::PathBuf, process::Command};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::folder::Folder;

pub(crate) const CLUSTER_ID: &str = "cluster-7kzqyl3m2ab";
pub(crate) const HSM_ID: &str = "hsm-lgavqitns2a";

pub(crate) const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub(crate) const P384: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub(crate) const P521: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
pub(crate) const SECP256K1: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"];
pub(crate) const RSA_1024: &[&str] = &["rsa:1024"];
pub(crate) const RSA_2048: &[&str] = &["rsa:2048"];

/// Named keys and certificates: `NAME.key`, `NAME.csr`, `NAME.crt`.
pub(crate) struct Pki {
    pub(crate) folder: Folder,
}

impl Pki {
    /// A customerCA, a cluster and an HSM as they should be: `ca`, `cluster` (X.509 v1), `hsm`.
    pub(crate) fn new() -> Self {
        let pki = Self { folder: Folder::new() };
        pki.ca("ca", "/CN=customerCA", P256, &[]);
        pki.cluster("cluster", "ca");
        pki.hsm("hsm", "cluster");
        pki
    }

    pub(crate) fn ca(&self, name: &str, subject: &str, key: &[&str], more: &[&str]) {
        let (key_file, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let mut arguments = vec!["req", "-x509", "-nodes", "-days", "3652", "-subj", subject];
        arguments.extend(["-keyout", &key_file, "-out", &certificate, "-newkey"]);
        arguments.extend(key);
        arguments.extend(more);
        self.openssl(&arguments);
    }

    pub(crate) fn request(&self, name: &str, subject: &str, key: &[&str]) {
        let (key_file, request) = (format!("{name}.key"), format!("{name}.csr"));
        let mut arguments = vec!["req", "-new", "-nodes", "-subj", subject];
        arguments.extend(["-keyout", &key_file, "-out", &request, "-newkey"]);
        arguments.extend(key);
        self.openssl(&arguments);
    }

    /// Without extensions the certificate is X.509 v1.
    pub(crate) fn sign(&self, name: &str, issuer: &str, extensions: Option<&str>, more: &[&str]) {
        let file = |name: &str, kind: &str| format!("{name}.{kind}");
        let (request, certificate) = (file(name, "csr"), file(name, "crt"));
        let (ca, ca_key) = (file(issuer, "crt"), file(issuer, "key"));
        let mut arguments = vec!["x509", "-req", "-in", &request, "-out", &certificate];
        arguments.extend(["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"]);
        let extension_file = file(name, "ext");
        if let Some(text) = extensions {
            fs::write(self.folder.join(&extension_file), text).unwrap();
            arguments.extend(["-extfile", &extension_file]);
        }
        if !more.contains(&"-days") {
            arguments.extend(["-days", "365"]);
        }
        arguments.extend(more);
        self.openssl(&arguments);
    }

    pub(crate) fn cluster(&self, name: &str, issuer: &str) {
        self.request(name, &format!("/O=Strongroom/CN={CLUSTER_ID}"), P256);
        self.sign(name, issuer, None, &[]);
    }

    pub(crate) fn hsm(&self, name: &str, issuer: &str) {
        self.hsm_of_id(name, issuer, HSM_ID);
    }

    pub(crate) fn hsm_of_id(&self, name: &str, issuer: &str, hsm_id: &str) {
        self.request(name, &format!("/O=Strongroom/CN={hsm_id}"), P256);
        self.sign(name, issuer, Some(&extensions(CLUSTER_ID, hsm_id)), &[]);
    }

    /// SHA-256 of a key's SubjectPublicKeyInfo.
    pub(crate) fn pin(&self, name: &str) -> [u8; 32] {
        let (key, spki) = (format!("{name}.key"), format!("{name}.spki"));
        self.openssl(&["pkey", "-in", &key, "-pubout", "-outform", "DER", "-out", &spki]);
        let spki = fs::read(self.folder.join(&spki)).unwrap();
        digest(&SHA256, &spki).as_ref().try_into().unwrap()
    }

    pub(crate) fn file(&self, certificate: &str) -> PathBuf {
        self.folder.join(&format!("{certificate}.crt"))
    }

    pub(crate) fn der(&self, certificate: &str) -> CertificateDer<'static> {
        let pem = self.folder.read(&format!("{certificate}.crt"));
        pem_rfc7468::decode_vec(pem.as_bytes()).unwrap().1.into()
    }

    pub(crate) fn key(&self, name: &str) -> PrivateKeyDer<'static> {
        let pem = self.folder.read(&format!("{name}.key"));
        PrivatePkcs8KeyDer::from(pem_rfc7468::decode_vec(pem.as_bytes()).unwrap().1).into()
    }

    pub(crate) fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("the tests need the openssl program");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "openssl {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

pub(crate) fn hsm_extensions(cluster_id: &str) -> String {
    extensions(cluster_id, HSM_ID)
}

fn extensions(cluster_id: &str, hsm_id: &str) -> String {
    format!(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
         extendedKeyUsage=serverAuth\nsubjectAltName=URI:strongroom://{cluster_id}/{hsm_id}\n"
    )
}
