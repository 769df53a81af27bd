//! NSS's tools (Firefox's and Thunderbird's library) with keys in the token.

use std::path::PathBuf;

use strongroom_tests::{LocalToken, Program, USER_PIN, release};

/// A token, and a database of NSS's that knows of it.
struct Nss {
    token: LocalToken,
    database: String,
    pin: PathBuf,
}

impl Nss {
    fn new(name: &str) -> Self {
        let token = LocalToken::initialised(name);
        let folder = token.scratch.file("nss");
        std::fs::create_dir(&folder).expect("a folder");
        let pin = token.scratch.write("pin", USER_PIN);
        let nss = Self { token, database: format!("sql:{}", folder.display()), pin };
        nss.tool("modutil").args(["-dbdir", &nss.database, "-create", "-force"]).ok();
        nss.tool("modutil")
            .args(["-dbdir", &nss.database, "-add", "strongroom", "-force", "-libfile"])
            .arg(release().join("libstrongroom_pkcs11.so"))
            .ok();
        nss
    }

    fn tool(&self, name: &str) -> Program {
        self.token.program(name)
    }

    /// A tool that takes the database and the PIN in the usual way.
    fn with_pin(&self, name: &str) -> Program {
        self.tool(name).args(["-d", &self.database, "-f"]).arg(&self.pin)
    }
}

#[test]
fn certutil_makes_keys_in_the_token_and_cmsutil_signs_with_them() {
    let nss = Nss::new("nss");
    let listed = nss.tool("modutil").args(["-dbdir", &nss.database, "-list", "strongroom"]).text();
    assert!(listed.contains("Token Name: nss"), "{listed}");
    let noise = nss.token.scratch.write("noise", [7u8; 64]);
    for (name, key) in
        [("rsa", ["-k", "rsa", "-g", "2048"]), ("ec", ["-k", "ec", "-q", "nistp256"])]
    {
        nss.with_pin("certutil")
            .args(["-S", "-h", "nss", "-x", "-t", "CTu,CTu,CTu", "-v", "12", "-n", name, "-s"])
            .arg(format!("CN={name},E=a@example.com"))
            .arg("-z")
            .arg(&noise)
            .args(key)
            .ok();
    }
    let keys = nss.with_pin("certutil").args(["-K", "-h", "nss"]).text();
    assert!(keys.contains("nss:rsa") && keys.contains("nss:ec"), "{keys}");
    let certificates = nss.with_pin("certutil").args(["-L", "-h", "nss"]).text();
    assert_eq!(certificates.matches("nss:").count(), 2, "{certificates}");

    let message = nss.token.scratch.write("message", "a message");
    for name in ["nss:rsa", "nss:ec"] {
        let signed = nss.token.scratch.file("message.p7");
        nss.with_pin("cmsutil")
            .args(["-S", "-T", "-N", name, "-H", "SHA256", "-i"])
            .arg(&message)
            .arg("-o")
            .arg(&signed)
            .ok();
        let said = nss
            .with_pin("cmsutil")
            .args(["-D", "-n", "-u", "4", "-c"])
            .arg(&message)
            .arg("-h")
            .arg("1")
            .arg("-i")
            .arg(&signed)
            .output();
        let shown = String::from_utf8_lossy(&said.stdout).into_owned()
            + &String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{name}: {shown}");
        assert!(shown.contains("GoodSignature"), "{name}: {shown}");
    }

    // A private key does not leave the token.
    let out = nss.token.scratch.file("keys.p12");
    nss.tool("pk12util")
        .args(["-d", &nss.database, "-n", "nss:rsa", "-W", "", "-k"])
        .arg(&nss.pin)
        .arg("-o")
        .arg(&out)
        .fails();
}
