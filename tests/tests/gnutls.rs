//! GnuTLS's tools with keys in the token, and the token behind p11-kit's server in another process.

use std::path::{Path, PathBuf};

use strongroom_tests::{LocalToken, Program, SO_PIN, USER_PIN, program, release};

fn module() -> PathBuf {
    release().join("libstrongroom_pkcs11.so")
}

/// The kinds of keys that GnuTLS 3.7 can make in a token, as `p11tool` and `openssl` name them.
const KEYS: &[(&str, &[&str], &str)] = &[
    ("rsa", &["--generate-privkey", "rsa", "--bits", "2048"], "2048 bit"),
    ("p256", &["--generate-privkey", "ecc", "--curve", "secp256r1"], "prime256v1"),
    ("p384", &["--generate-privkey", "ecc", "--curve", "secp384r1"], "secp384r1"),
];

/// `p11tool` on the token, with the user's PIN.
fn p11tool(token: &LocalToken) -> Program {
    token
        .program("p11tool")
        .env("GNUTLS_PIN", USER_PIN)
        .env("GNUTLS_SO_PIN", SO_PIN)
        .arg("--batch")
        .arg("--provider")
        .arg(module())
}

#[test]
fn p11tool_initialises_a_token_and_certtool_certifies_its_keys() {
    let token = LocalToken::fresh("gnutls");
    let any = "pkcs11:manufacturer=Strongroom";
    let so_pin = ["--set-so-pin", SO_PIN];
    p11tool(&token).args(["--initialize", any, "--label", "gnutls"]).args(so_pin).ok();
    let url = "pkcs11:token=gnutls";
    p11tool(&token).args(["--initialize-pin", url, "--set-pin", USER_PIN]).args(so_pin).ok();
    let template = token
        .scratch
        .write("template", "cn = \"gnutls.example\"\nca\ncert_signing_key\nexpiration_days = 30\n");
    for (name, kind, shown) in KEYS {
        let public = token.scratch.file(&format!("{name}.pem"));
        p11tool(&token)
            .args(["--login", "--label", name, "--outfile"])
            .arg(&public)
            .args(*kind)
            .arg(url)
            .ok();
        let key = program("openssl").args(["pkey", "-pubin", "-noout", "-text", "-in"]);
        let key = key.arg(&public).text();
        assert!(key.contains(shown), "{key}");
        let object = |class: &str| format!("{url};object={name};type={class}");
        let said = p11tool(&token).args(["--login", "--test-sign", &object("private")]).output();
        assert!(said.status.success(), "{name}: {said:?}");
        let certificate = token.scratch.file(&format!("{name}.crt"));
        token
            .program("certtool")
            .env("GNUTLS_PIN", USER_PIN)
            .arg("--provider")
            .arg(module())
            .args(["--generate-self-signed", "--load-privkey", &object("private")])
            .args(["--load-pubkey", &object("public"), "--template"])
            .arg(&template)
            .arg("--outfile")
            .arg(&certificate)
            .ok();
        program("openssl").args(["verify", "-CAfile"]).arg(&certificate).arg(&certificate).ok();
        p11tool(&token)
            .args(["--login", "--write", "--label", name, "--load-certificate"])
            .arg(&certificate)
            .arg(url)
            .ok();
        let read = p11tool(&token).args(["--export", &object("cert")]).text();
        assert!(read.contains("BEGIN CERTIFICATE"), "{read}");
    }
    let listed = p11tool(&token).args(["--login", "--list-all", url]).text();
    let objects = listed.lines().filter(|line| line.starts_with("Object ")).count();
    assert_eq!(objects, 3 * KEYS.len(), "{listed}");
    p11tool(&token).args(["--login", "--delete", &format!("{url};object=rsa;type=private")]).ok();
    let gone = format!("{url};object=rsa;type=private");
    let said = p11tool(&token).args(["--login", "--test-sign", &gone]).fails();
    assert!(said.contains("data were not available"), "{said}");
}

#[test]
fn a_program_signs_through_p11_kits_server_in_another_process() {
    let token = LocalToken::initialised("p11-kit");
    token
        .logged_in()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "51", "--label", "kit"])
        .ok();
    let socket = token.scratch.file("p11-kit");
    let server = token
        .program("p11-kit")
        .args(["server", "--foreground", "--name"])
        .arg(&socket)
        .arg("--provider")
        .arg(module())
        .arg("pkcs11:token=p11-kit")
        .into_command()
        .spawn()
        .expect("p11-kit server");
    let _server = Ended(server);
    while !socket.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let client = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| Path::new("/usr/lib").join(machine).join("pkcs11/p11-kit-client.so"))
        .into_iter()
        .find(|path| path.exists())
        .expect("p11-kit is installed");
    let tool = || {
        program("pkcs11-tool")
            .env("P11_KIT_SERVER_ADDRESS", format!("unix:path={}", socket.display()))
            .arg("--module")
            .arg(&client)
    };
    // p11-kit 0.24 hands on no mechanism that hashes for ECDSA.
    let (hash, signature) = (token.scratch.write("hash", [7; 32]), token.scratch.file("signature"));
    tool()
        .args(["--login", "--pin", USER_PIN, "--sign", "-m", "ECDSA", "--id", "51"])
        .args(["--signature-format", "openssl", "-i"])
        .arg(&hash)
        .arg("-o")
        .arg(&signature)
        .ok();
    let public = token.scratch.file("public.der");
    tool().args(["--read-object", "--type", "pubkey", "--id", "51", "-o"]).arg(&public).ok();
    program("openssl")
        .args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey"])
        .arg(&public)
        .arg("-sigfile")
        .arg(&signature)
        .arg("-in")
        .arg(&hash)
        .ok();
    let wrong = tool().args(["--login", "--pin", "wrong", "-O"]).fails();
    assert!(wrong.contains("CKR_PIN_INCORRECT"), "{wrong}");
}

/// A process that is ended when dropped.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
