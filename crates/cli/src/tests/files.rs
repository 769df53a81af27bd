//! The files of `key generate-file`, judged by OpenSSL's command line.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use cryptoki_sys::*;
use strongroom_crypto::Curve;

use super::fake::{Fake, run_typing};
use crate::attributes::ulong;
use crate::der;

/// A folder with one key pair that OpenSSL made, and an HSM that pretends to hold it.
struct Pair {
    folder: PathBuf,
    fake: Fake,
}

const PUBLIC: u64 = 0x10;
const PRIVATE: u64 = 0x11;

impl Pair {
    fn openssl(&self, arguments: &str) -> Result<String, String> {
        run(&self.folder, arguments)
    }

    /// Makes a key by `openssl genpkey <how>`, and gives its public half to the HSM.
    fn new(how: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("key-file-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        run(&folder, &format!("genpkey {how} -out key.pem")).unwrap();
        run(&folder, "pkey -in key.pem -pubout -out want.pem").unwrap();
        Self { folder, fake: Fake::new() }
    }

    fn rsa() -> Self {
        let pair = Self::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
        let text = pair.openssl("rsa -in key.pem -noout -modulus").unwrap();
        let hex = text.trim().strip_prefix("Modulus=").unwrap();
        let modulus = crate::attributes::from_hex(&format!("0x{hex}")).unwrap();
        pair.insert(&[
            (CKA_KEY_TYPE, ulong(CKK_RSA)),
            (CKA_MODULUS, modulus),
            (CKA_PUBLIC_EXPONENT, vec![1, 0, 1]),
        ]);
        pair
    }

    fn ec(curve: Curve, openssl_name: &str) -> Self {
        let pair = Self::new(&format!(
            "-algorithm EC -pkeyopt ec_paramgen_curve:{openssl_name} -pkeyopt \
             ec_param_enc:named_curve"
        ));
        run(&pair.folder, "pkey -in key.pem -pubout -outform DER -out want.der").unwrap();
        let spki = std::fs::read(pair.folder.join("want.der")).unwrap();
        let point = &spki[spki.len() - (1 + 2 * curve.field_bytes())..];
        pair.insert(&[
            (CKA_KEY_TYPE, ulong(CKK_EC)),
            (CKA_EC_PARAMS, curve.params().to_vec()),
            (CKA_EC_POINT, der::octet_string(point)),
        ]);
        // As PKCS#11 has it, a private EC key does not carry its point.
        pair.fake.0.borrow_mut().objects.get_mut(&PRIVATE).unwrap().remove(&CKA_EC_POINT);
        pair
    }

    fn insert(&self, shared: &[(u64, Vec<u8>)]) {
        for (handle, class) in [(PUBLIC, CKO_PUBLIC_KEY), (PRIVATE, CKO_PRIVATE_KEY)] {
            let mut attributes = shared.to_vec();
            attributes.push((CKA_CLASS, ulong(class)));
            attributes.push((CKA_CHECK_VALUE, vec![1, 2, 3]));
            self.fake.insert(handle, &attributes);
        }
    }

    fn generate(&self, encoding: &str, handle: u64) -> Result<(), String> {
        let path = self.folder.join("made.pem");
        let line = format!(
            "key generate-file --encoding {encoding} --path '{}' --filter key-reference={handle:#x}",
            path.display()
        );
        let made = run_typing(&mut self.fake.user(), &line, &[]).map_err(|e| e.to_string())?;
        assert_eq!(made["message"], "Successfully generated key file");
        Ok(())
    }

    fn check(&self) {
        let want = std::fs::read_to_string(self.folder.join("want.pem")).unwrap();
        for handle in [PUBLIC, PRIVATE] {
            self.generate("pem", handle).unwrap();
            assert_eq!(self.openssl("pkey -pubin -in made.pem").unwrap(), want);
        }
        std::fs::remove_file(self.folder.join("made.pem")).unwrap();
        self.generate("reference-pem", PRIVATE).unwrap();
        let mode = std::fs::metadata(self.folder.join("made.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "programs refuse a key file that others may read");
        assert_eq!(self.openssl("pkey -in made.pem -pubout").unwrap(), want);
        assert!(self.generate("reference-pem", PUBLIC).is_err());
        let der = pem_rfc7468::decode_vec(
            std::fs::read_to_string(self.folder.join("made.pem")).unwrap().as_bytes(),
        )
        .unwrap()
        .1;
        let at = der.windows(16).position(|w| w == crate::key_file::REFERENCE_MAGIC).unwrap();
        assert_eq!(der[at + 16..at + 24], PRIVATE.to_be_bytes());
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn run(folder: &std::path::Path, arguments: &str) -> Result<String, String> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("these tests need OpenSSL's command line");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn openssl_reads_the_files_of_an_rsa_key_and_cannot_sign_with_the_reference() {
    let pair = Pair::rsa();
    pair.check();
    std::fs::write(pair.folder.join("data"), "data").unwrap();
    assert!(pair.openssl("dgst -sha256 -sign made.pem -out sig data").is_err());
}

#[test]
fn openssl_reads_the_files_of_ec_keys() {
    for (curve, name) in [
        (Curve::P256, "P-256"),
        (Curve::P384, "P-384"),
        (Curve::P521, "P-521"),
        (Curve::Secp256k1, "secp256k1"),
    ] {
        Pair::ec(curve, name).check();
    }
}

#[test]
fn two_different_public_keys_with_one_check_value_are_not_mistaken_for_each_other() {
    let pair = Pair::ec(Curve::P256, "P-256");
    let mut other = vec![7; 65];
    other[0] = 4;
    pair.fake.insert(
        0x20,
        &[
            (CKA_CLASS, ulong(CKO_PUBLIC_KEY)),
            (CKA_KEY_TYPE, ulong(CKK_EC)),
            (CKA_EC_PARAMS, Curve::P256.params().to_vec()),
            (CKA_EC_POINT, der::octet_string(&other)),
            (CKA_CHECK_VALUE, vec![1, 2, 3]),
        ],
    );
    assert!(pair.generate("pem", PRIVATE).is_err());
    assert!(pair.generate("pem", PUBLIC).is_ok());
}

#[test]
fn a_secret_key_has_no_file() {
    let pair = Pair::rsa();
    pair.fake.insert(0x30, &[(CKA_CLASS, ulong(CKO_SECRET_KEY)), (CKA_KEY_TYPE, ulong(CKK_AES))]);
    assert!(pair.generate("pem", 0x30).is_err());
    assert!(pair.generate("reference-pem", 0x30).is_err());
}
