//! OpenSC's pkcs11-tool on both personalities, every result checked by openssl outside.

use strongroom_tests::{LocalToken, Program, Region, Scratch, program};

/// Something that pkcs11-tool can log in to.
trait Token {
    /// Logged in as the user.
    fn tool(&self) -> Program;
    /// Files of the test.
    fn scratch(&self) -> &Scratch;
}

impl Token for Region {
    fn tool(&self) -> Program {
        self.pkcs11_tool()
    }

    fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}

impl Token for LocalToken {
    fn tool(&self) -> Program {
        self.logged_in()
    }

    fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}

/// One test for each personality.
macro_rules! on_both {
    ($($name:ident => $body:ident;)+) => {
        mod cluster {
            $(#[test] fn $name() { super::$body(&super::Region::up(stringify!($name))); })+
        }
        mod token {
            $(#[test] fn $name() { super::$body(&super::LocalToken::initialised(stringify!($name))); })+
        }
    };
}

on_both! {
    the_tools_own_tests_pass => own_tests;
    an_rsa_key_signs_for_openssl => rsa;
    an_ec_key_signs_for_openssl => ec;
    an_aes_key_encrypts_what_openssl_decrypts_with_an_imported_twin => aes;
    objects_are_listed_and_deleted => list_and_delete;
    data_and_certificates_are_kept => data_and_certificates;
}

fn own_tests(token: &dyn Token) {
    token
        .tool()
        .args(["--keypairgen", "--key-type", "rsa:2048", "--id", "01", "--label", "t-rsa"])
        .ok();
    token
        .tool()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "02", "--label", "t-ec"])
        .ok();
    token.tool().arg("--test").ok();
    token.tool().arg("--test-fork").ok();
    for _ in 0..3 {
        token.tool().args(["--test-threads", "ILGISLT0GM0"]).ok();
    }
    token.tool().arg("--test-hotplug").ok();
}

fn rsa(token: &dyn Token) {
    let scratch = token.scratch();
    let data = scratch.write("data", b"signed by an RSA key in the HSM");
    let digest_info = scratch.file("digest-info");
    token
        .tool()
        .args(["--keypairgen", "--key-type", "rsa:2048", "--id", "11", "--label", "rsa"])
        .ok();
    let public = public_key(token, "11");
    let signature = scratch.file("signature");

    for (mechanism, hash) in [
        ("SHA256-RSA-PKCS", "sha256"),
        ("SHA384-RSA-PKCS", "sha384"),
        ("SHA512-RSA-PKCS", "sha512"),
    ] {
        sign(token, mechanism, "11", &data, &signature).ok();
        verify(hash, &public, &data, &signature, &[]);
    }
    sign(token, "SHA256-RSA-PKCS-PSS", "11", &data, &signature).ok();
    verify("sha256", &public, &data, &signature, &["-sigopt", "rsa_padding_mode:pss"]);

    // CKM_RSA_PKCS signs what it is given: here a DigestInfo, as OpenSSL's engine gives it.
    let prefix = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let digest = program("openssl").args(["dgst", "-sha256", "-binary"]).arg(&data).ok();
    std::fs::write(&digest_info, [&prefix[..], &digest].concat()).expect("a file");
    sign(token, "RSA-PKCS", "11", &digest_info, &signature).ok();
    verify("sha256", &public, &data, &signature, &[]);

    let altered = scratch.write("altered", b"signed by nobody");
    program("openssl")
        .args(["dgst", "-sha256", "-verify"])
        .args([&public, std::path::Path::new("-signature"), &signature, &altered])
        .fails();
}

fn ec(token: &dyn Token) {
    let scratch = token.scratch();
    let data = scratch.write("data", b"signed by an EC key in the HSM");
    for (id, curve, hash) in [
        ("21", "prime256v1", "sha256"),
        ("22", "secp384r1", "sha384"),
        ("23", "secp521r1", "sha512"),
        ("24", "secp256k1", "sha256"),
    ] {
        token
            .tool()
            .args([
                "--keypairgen",
                "--key-type",
                &format!("EC:{curve}"),
                "--id",
                id,
                "--label",
                curve,
            ])
            .ok();
        let public = ec_public_key(token, curve);
        let signature = scratch.file("signature");
        let mechanism = format!("ECDSA-{}", hash.to_uppercase());
        sign(token, &mechanism, id, &data, &signature).args(["--signature-format", "openssl"]).ok();
        verify(hash, &public, &data, &signature, &[]);

        let digest = scratch.file("digest");
        let bytes =
            program("openssl").args(["dgst", &format!("-{hash}"), "-binary"]).arg(&data).ok();
        std::fs::write(&digest, bytes).expect("a file");
        sign(token, "ECDSA", id, &digest, &signature).args(["--signature-format", "openssl"]).ok();
        verify(hash, &public, &data, &signature, &[]);
    }
}

fn aes(token: &dyn Token) {
    let scratch = token.scratch();
    let key = scratch.write("key", [0x42; 32]);
    token
        .tool()
        .args(["--write-object"])
        .arg(&key)
        .args(["--type", "secrkey", "--key-type", "AES:32", "--id", "31", "--label", "twin"])
        .args(["--usage-decrypt", "--extractable"])
        .ok();
    let plain = scratch.write("plain", b"sixteen byte blocks and a few more bytes");
    let cipher = scratch.file("cipher");
    let iv = "000102030405060708090a0b0c0d0e0f";
    token
        .tool()
        .args(["--encrypt", "--id", "31", "-m", "AES-CBC-PAD", "--iv", iv, "--input-file"])
        .arg(&plain)
        .arg("--output-file")
        .arg(&cipher)
        .ok();
    let hex = "42".repeat(32);
    let opened = program("openssl")
        .args(["enc", "-d", "-aes-256-cbc", "-K", &hex, "-iv", iv, "-in"])
        .arg(&cipher)
        .ok();
    assert_eq!(opened, std::fs::read(&plain).expect("a file"));

    let back = scratch.file("back");
    token
        .tool()
        .args(["--decrypt", "--id", "31", "-m", "AES-CBC-PAD", "--iv", iv, "--input-file"])
        .arg(&cipher)
        .arg("--output-file")
        .arg(&back)
        .ok();
    assert_eq!(std::fs::read(&back).expect("a file"), std::fs::read(&plain).expect("a file"));
}

fn list_and_delete(token: &dyn Token) {
    token
        .tool()
        .args(["--keygen", "--key-type", "AES:32", "--id", "41", "--label", "short-lived"])
        .ok();
    assert!(token.tool().arg("-O").text().contains("short-lived"));
    token.tool().args(["--delete-object", "--type", "secrkey", "--id", "41"]).ok();
    assert!(!token.tool().arg("-O").text().contains("short-lived"));
    token.tool().args(["--delete-object", "--type", "secrkey", "--id", "41"]).fails();
    let mechanisms = token.tool().arg("-M").text();
    assert!(mechanisms.contains("ECDSA-SHA256"), "{mechanisms}");
}

fn data_and_certificates(token: &dyn Token) {
    let scratch = token.scratch();
    let key = scratch.file("ca.key");
    let certificate = scratch.file("ca.der");
    program("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=kept in the HSM", "-days", "10", "-outform", "DER", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .ok();
    token
        .tool()
        .arg("--write-object")
        .arg(&certificate)
        .args(["--type", "cert", "--id", "51", "--label", "ca"])
        .ok();
    let back = scratch.file("back.der");
    token
        .tool()
        .args(["--read-object", "--type", "cert", "--id", "51", "--output-file"])
        .arg(&back)
        .ok();
    assert_eq!(std::fs::read(&back).expect("a file"), std::fs::read(&certificate).expect("a file"));
}

fn sign(
    token: &dyn Token,
    mechanism: &str,
    id: &str,
    data: &std::path::Path,
    signature: &std::path::Path,
) -> Program {
    token
        .tool()
        .args(["--sign", "-m", mechanism, "--id", id, "--input-file"])
        .arg(data)
        .arg("--output-file")
        .arg(signature)
}

fn verify(
    hash: &str,
    public: &std::path::Path,
    data: &std::path::Path,
    signature: &std::path::Path,
    options: &[&str],
) {
    let said = program("openssl")
        .args(["dgst", &format!("-{hash}"), "-verify"])
        .arg(public)
        .args(options)
        .arg("-signature")
        .arg(signature)
        .arg(data)
        .text();
    assert!(said.contains("Verified OK"), "{said}");
}

/// Reads a public key out of the token, as PEM.
fn public_key(token: &dyn Token, id: &str) -> std::path::PathBuf {
    let der = token.scratch().file(&format!("{id}.der"));
    let pem = token.scratch().file(&format!("{id}.pem"));
    token
        .tool()
        .args(["--read-object", "--type", "pubkey", "--id", id, "--output-file"])
        .arg(&der)
        .ok();
    program("openssl")
        .args(["pkey", "-pubin", "-inform", "DER", "-in"])
        .arg(&der)
        .arg("-out")
        .arg(&pem)
        .ok();
    pem
}

/// A public EC key as PEM, out of what `--list-objects` shows: `--read-object` of pkcs11-tool 0.23 fails
/// on P-384 with any module ("cannot create EVP_PKEY", SoftHSM2 2.6.1 too).
fn ec_public_key(token: &dyn Token, label: &str) -> std::path::PathBuf {
    let listed = token.tool().args(["-O", "--type", "pubkey"]).text();
    let object = listed
        .split("Public Key Object")
        .find(|object| object.lines().any(|l| l.trim() == format!("label:      {label}")))
        .unwrap_or_else(|| panic!("no {label} in {listed}"));
    let value = |name: &str| -> Vec<u8> {
        let hex = object.lines().find_map(|l| l.trim().strip_prefix(name)).expect(name).trim();
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex"))
            .collect()
    };
    // CKA_EC_POINT is an OCTET STRING around the point.
    let point = value("EC_POINT:");
    let point = if point[1] == 0x81 { &point[3..] } else { &point[2..] };
    let algorithm =
        der(0x30, &[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &value("EC_PARAMS:")[..]]);
    let key = der(0x30, &[&algorithm[..], &der(0x03, &[&[0], point])[..]]);
    let path = token.scratch().write(&format!("{label}.der"), key);
    let pem = token.scratch().file(&format!("{label}.pem"));
    program("openssl")
        .args(["pkey", "-pubin", "-inform", "DER", "-in"])
        .arg(path)
        .arg("-out")
        .arg(&pem)
        .ok();
    pem
}

/// A DER value of less than 256 bytes.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u8::try_from(content.len()).expect("a short value");
    let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [head, content].concat()
}
