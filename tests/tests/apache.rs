//! Apache with its TLS key in the token, by libp11's engine: two worker processes that fork after the
//! key was loaded. `cargo xtask test --full` runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use strongroom_tests::{
    Program, SO_PIN, Scratch, USER_PIN, full, hsm_process, program, release, signal, stop,
};

/// Debian's user without rights: Apache serves as anybody but root.
const NOBODY: &str = "65534";

/// A folder of nobody's with the module, the HSM's program and a token.
struct Host {
    scratch: Scratch,
    as_root: bool,
}

impl Host {
    fn new() -> Self {
        let scratch = Scratch::new("apache");
        let host = Self { scratch, as_root: program("id").arg("-u").text().trim() == "0" };
        for file in ["strongroom", "libstrongroom_pkcs11.so"] {
            fs::copy(release().join(file), host.file(file)).expect("a built file");
        }
        if host.as_root {
            let nobody = NOBODY.parse().ok();
            std::os::unix::fs::chown(host.scratch.path(), nobody, nobody).expect("root");
        }
        fs::set_permissions(host.scratch.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        host.tool().args(["--init-token", "--label", "apache", "--so-pin", SO_PIN]).ok();
        host.tool()
            .args(["--login", "--login-type", "so", "--so-pin", SO_PIN])
            .args(["--init-pin", "--new-pin", USER_PIN])
            .ok();
        host
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.file(name)
    }

    /// A program as nobody, who sees the token.
    fn program(&self, name: &str) -> Program {
        let start = if self.as_root {
            let drop = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
            program("setpriv").args(drop).arg(name)
        } else {
            program(name)
        };
        start
            .env("HOME", self.scratch.path())
            .env("STRONGROOM_DIR", self.file("token"))
            .env("STRONGROOM_PERSONALITY", "token")
            .env("OPENSSL_CONF", self.file("openssl.cnf"))
    }

    fn tool(&self) -> Program {
        self.program("pkcs11-tool").arg("--module").arg(self.file("libstrongroom_pkcs11.so"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(process) = hsm_process(&self.file("token")) {
            stop(process);
        }
    }
}

#[test]
fn apache_serves_tls_with_a_key_in_the_token_from_two_forked_workers() {
    if !full() {
        return;
    }
    let host = Host::new();
    let libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let engine = libraries
        .iter()
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}/engines-3/pkcs11.so")))
        .find(|path| path.exists())
        .expect("libengine-pkcs11-openssl is installed");
    host.scratch.write(
        "openssl.cnf",
        format!(
            "openssl_conf = top\n[top]\nengines = engines\n[engines]\npkcs11 = pkcs11\n\
             [pkcs11]\nengine_id = pkcs11\ndynamic_path = {}\nMODULE_PATH = {}\nPIN = {USER_PIN}\n\
             init = 1\n[req]\ndistinguished_name = name\n[name]\n",
            engine.display(),
            host.file("libstrongroom_pkcs11.so").display(),
        ),
    );
    host.tool()
        .args(["--login", "--pin", USER_PIN, "--keypairgen", "--key-type", "EC:prime256v1"])
        .args(["--id", "72", "--label", "tls"])
        .ok();
    let certificate = host.file("tls.pem");
    host.program("openssl")
        .args(["req", "-x509", "-new", "-engine", "pkcs11", "-keyform", "engine", "-key"])
        .args(["pkcs11:object=tls;type=private", "-subj", "/CN=localhost", "-days", "30", "-out"])
        .arg(&certificate)
        .ok();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let configuration = host.scratch.write(
        "apache.conf",
        format!(
            "ServerRoot {folder}\nServerName localhost\nListen 127.0.0.1:{port}\n\
             PidFile {folder}/pid\nErrorLog {folder}/error.log\nMutex file:{folder}\n\
             LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so\n\
             LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
             LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n\
             StartServers 2\nMinSpareServers 2\nMaxSpareServers 2\nMaxRequestWorkers 2\n\
             DocumentRoot {folder}\nSSLCryptoDevice pkcs11\nSSLEngine on\nSSLSessionCache none\n\
             SSLSessionTickets off\nSSLCertificateFile {folder}/tls.pem\n\
             SSLCertificateKeyFile \"pkcs11:object=tls;type=private\"\n",
            folder = host.scratch.path().display(),
        ),
    );
    let mut server = host
        .program("/usr/sbin/apache2")
        .args(["-DFOREGROUND", "-f"])
        .arg(&configuration)
        .into_command()
        .spawn()
        .expect("apache2");
    let log = || fs::read_to_string(host.file("error.log")).unwrap_or_default();
    let patience = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Each is a full handshake, so a signature of the HSM's; s_time ends at the first that fails.
    let said = program("openssl")
        .args(["s_time", "-connect", &format!("127.0.0.1:{port}"), "-new", "-time", "4"])
        .output();
    signal(server.id(), "-TERM");
    let _ = server.wait();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let count = |line: &str| line.split_once(" connections in ")?.0.parse::<u64>().ok();
    let count = said.lines().find_map(count).unwrap_or_else(|| panic!("{said}\n{}", log()));
    assert!(count > 50, "{said}\n{}", log());
    println!("Apache: {count} handshakes");
}
