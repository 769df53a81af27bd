//! Java's own tools with keys in the token: keytool and jarsigner over the JDK's SunPKCS11.

use std::path::{Path, PathBuf};

use strongroom_tests::{LocalToken, Program, USER_PIN, program, release};

/// A token, and the file that tells the JDK of it.
struct Java {
    token: LocalToken,
    configuration: PathBuf,
}

impl Java {
    fn new(name: &str) -> Self {
        let token = LocalToken::initialised(name);
        let module = release().join("libstrongroom_pkcs11.so");
        let text = format!("name = Strongroom\nlibrary = {}\nslot = 0\n", module.display());
        let configuration = token.scratch.write("strongroom.cfg", text);
        Self { token, configuration }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.token.scratch.file(name)
    }

    /// `keytool COMMAND …` or `jarsigner …` on the token. The provider is named, as the JDK would
    /// make an RSA key in its own memory otherwise.
    fn tool(&self, name: &str, command: &[&str]) -> Program {
        self.token
            .program(on_path(name))
            .env("PIN", USER_PIN)
            .args(["-addprovider", "SunPKCS11", "-providerArg"])
            .arg(&self.configuration)
            .args(["-providerName", "SunPKCS11-Strongroom"])
            .args(["-keystore", "NONE", "-storetype", "PKCS11", "-storepass:env", "PIN"])
            .args(command)
    }

    fn keytool(&self, command: &[&str]) -> Program {
        self.tool("keytool", command)
    }

    /// A certification authority outside the HSM: `ca.crt`, `ca.key`, and `trust.p12` for Java.
    fn make_ca(&self) {
        program("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=authority"])
            .args(["-days", "3652", "-keyout"])
            .arg(self.file("ca.key"))
            .arg("-out")
            .arg(self.file("ca.crt"))
            .ok();
        program(on_path("keytool"))
            .args(["-importcert", "-noprompt", "-alias", "authority", "-storepass", "changeit"])
            .arg("-keystore")
            .arg(self.file("trust.p12"))
            .arg("-file")
            .arg(self.file("ca.crt"))
            .ok();
    }

    /// The CA's answer to a request: the chain, PEM.
    fn certify(&self, request: &Path) -> PathBuf {
        let extensions = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n\
                          extendedKeyUsage=codeSigning\n";
        let mut chain = program("openssl")
            .args(["x509", "-req", "-sha256", "-days", "3652", "-CAcreateserial", "-in"])
            .arg(request)
            .arg("-CA")
            .arg(self.file("ca.crt"))
            .arg("-CAkey")
            .arg(self.file("ca.key"))
            .arg("-extfile")
            .arg(self.token.scratch.write("extensions", extensions))
            .ok();
        chain.extend(std::fs::read(self.file("ca.crt")).expect("the CA's certificate"));
        self.token.scratch.write("chain.pem", chain)
    }
}

/// A tool of the JDK, which the test can't do without.
fn on_path(tool: &str) -> &str {
    let path = std::env::var_os("PATH").unwrap_or_default();
    assert!(
        std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()),
        "{tool} is not on PATH: install a JDK (Debian: openjdk-17-jdk-headless)"
    );
    tool
}

#[test]
fn keytool_makes_keys_in_the_token_and_jarsigner_signs_with_them() {
    let java = Java::new("java");
    java.make_ca();
    let keys = [("rsa", ["-keyalg", "RSA", "-keysize", "2048"]), ("ec", P256)];
    for (alias, kind) in keys {
        let subject = format!("CN={alias}");
        let made = ["-genkeypair", "-alias", alias, "-dname", &subject, "-validity", "3652"];
        java.keytool(&made).args(kind).ok();
    }
    // Made inside, and copied from session to token object without ever having been outside.
    let objects = java.token.logged_in().args(["-O", "--type", "privkey"]).text();
    let inside = "sensitive, always sensitive, never extractable, local";
    assert_eq!(objects.matches(inside).count(), 2, "{objects}");

    // Another HSM process finds them on its disk.
    java.token.stop();
    let listed = java.keytool(&["-list"]).text();
    assert!(listed.contains("2 entries"), "{listed}");
    for (alias, _) in keys {
        assert!(listed.contains(&format!("{alias}, PrivateKeyEntry")), "{listed}");
    }

    java.token.scratch.write("content.txt", "content");
    let jar = java.file("content.jar");
    program(on_path("jar"))
        .dir(jar.parent().expect("a folder"))
        .args(["cf", "content.jar", "content.txt"])
        .ok();
    for (alias, _) in keys {
        let request = java.file(&format!("{alias}.csr"));
        java.keytool(&["-certreq", "-alias", alias, "-file"]).arg(&request).ok();
        program("openssl").args(["req", "-verify", "-noout", "-in"]).arg(&request).ok();
        let chain = java.certify(&request);
        let import = ["-importcert", "-noprompt", "-trustcacerts", "-alias", alias, "-file"];
        java.keytool(&import).arg(chain).ok();

        let signed = java.file(&format!("{alias}.jar"));
        java.tool("jarsigner", &["-signedjar"]).arg(&signed).arg(&jar).arg(alias).ok();
        let verified = program(on_path("jarsigner"))
            .args(["-verify", "-strict", "-storepass", "changeit", "-keystore"])
            .arg(java.file("trust.p12"))
            .arg(&signed)
            .text();
        assert!(verified.contains("jar verified."), "{verified}");
    }
}

const P256: [&str; 4] = ["-keyalg", "EC", "-groupname", "secp256r1"];

#[test]
fn keytool_renames_and_deletes_what_it_made() {
    let java = Java::new("java-entries");
    let made = ["-genkeypair", "-alias", "first", "-dname", "CN=first"];
    java.keytool(&made).args(P256).ok();
    java.keytool(&["-genseckey", "-alias", "secret", "-keyalg", "AES", "-keysize", "256"]).ok();
    java.keytool(&["-changealias", "-alias", "first", "-destalias", "second"]).ok();
    let listed = java.keytool(&["-list"]).text();
    assert!(listed.contains("second, PrivateKeyEntry"), "{listed}");
    assert!(listed.contains("secret, SecretKeyEntry"), "{listed}");
    assert!(!listed.contains("first"), "{listed}");
    for alias in ["second", "secret"] {
        java.keytool(&["-delete", "-alias", alias]).ok();
    }
    let left = java.token.logged_in().arg("-O").text();
    assert_eq!(left.trim(), "", "nothing is left behind");
}

#[test]
fn the_wrong_pin_is_refused() {
    let java = Java::new("java-pin");
    let said = java.keytool(&["-list", "-v"]).env("PIN", "000000").fails();
    assert!(said.contains("CKR_PIN_INCORRECT"), "{said}");
}
