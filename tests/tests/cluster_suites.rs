//! Suites and servers that others wrote, on three HSMs that are killed one after another: they stay
//! green. `cargo xtask test --full` runs it.
//!
//! What a suite can't pass in personality `cloudhsm` stands in `tests/suites`, with the reason; anything
//! else that fails or is left out fails here.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strongroom_tests::{
    GoSuite, Program, PythonSuite, Region, StopAtEnd, full, kill_hard, program,
};

/// Between two kills at least.
const PAUSE: Duration = Duration::from_secs(2);

#[test]
fn programs_of_others_do_not_notice_that_hsms_are_killed() {
    // Minutes, and packages from PyPI and the Go module proxy: the long form only.
    if !full() {
        return;
    }
    let region = Region::cluster("suites", 3);
    let python = PythonSuite::installed();
    let go = crypto11(&region);
    let kills = while_hsms_are_killed(&region, || {
        python.run(|name| with_token(&region, name), "python-pkcs11.skip");
        assert!(go.run(|name| region.program(name), "crypto11.skip") > 30);
        sign_ssh_certificates(&region);
        serve_tls(&region);
    });
    assert!(kills > 3, "only {kills} HSMs were killed meanwhile");
    region.wait_until_equal();
}

/// Does `work` while one HSM after another is killed and started again; how many were.
fn while_hsms_are_killed(region: &Region, work: impl FnOnce()) -> usize {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut kills = 0;
            while !done.load(Ordering::Relaxed) {
                let next = Instant::now() + PAUSE;
                kill_hard(region.process_of(kills % 3));
                kills += 1;
                region.start();
                region.wait_until_equal();
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            kills
        });
        let stop = StopAtEnd(&done);
        work();
        drop(stop);
        killer.join().expect("the killer's count")
    })
}

/// A program that sees the region's token as the suites want it named.
fn with_token(region: &Region, name: &str) -> Program {
    region
        .program(name)
        .env("PKCS11_MODULE", region.variable("STRONGROOM_PKCS11"))
        .env("PKCS11_TOKEN_LABEL", "hsm1")
        .env("PKCS11_TOKEN_PIN", region.variable("CLOUDHSM_PIN"))
}

/// crypto11's tests, told of the region's token.
fn crypto11(region: &Region) -> GoSuite {
    let suite = GoSuite::built("crypto11", "github.com/ThalesGroup/crypto11", "1.2.5");
    let configuration = serde_json::json!({
        "Path": region.variable("STRONGROOM_PKCS11"),
        "TokenLabel": "hsm1",
        "Pin": region.variable("CLOUDHSM_PIN"),
        // By default it opens as many as the token allows, which are then too many by those of a
        // context that one of the tests never closes.
        "MaxSessions": 512,
    });
    std::fs::write(suite.sources.join("config"), configuration.to_string())
        .expect("a configuration");
    suite
}

/// OpenSSH's certificate authority with its key in the HSM, twenty certificates.
fn sign_ssh_certificates(region: &Region) {
    use std::os::unix::fs::PermissionsExt as _;
    region
        .pkcs11_tool()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "71", "--label", "ssh-ca"])
        .ok();
    let askpass = region.scratch.write("askpass", "#!/bin/sh\nprintf '%s\\n' \"$CLOUDHSM_PIN\"\n");
    std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let module = region.variable("STRONGROOM_PKCS11");
    let keys = region.program("ssh-keygen").args(["-D", module]).text();
    let authority = keys.lines().find(|line| line.ends_with(" ssh-ca")).expect("the CA's key");
    let authority = region.scratch.write("ssh-ca.pub", format!("{authority}\n"));
    let user = region.scratch.file("user");
    program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&user).ok();
    for number in 0..20 {
        region
            .program("ssh-keygen")
            .env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .args(["-q", "-D", module, "-I", &format!("user-{number}"), "-n", "root", "-s"])
            .arg(&authority)
            .arg(user.with_extension("pub"))
            .ok();
        let certificate = region.scratch.file("user-cert.pub");
        let said = program("ssh-keygen").args(["-L", "-f"]).arg(&certificate).text();
        assert!(said.contains(&format!("user-{number}")), "{said}");
    }
    println!("ssh-keygen: 20 certificates");
}

/// nginx with its TLS key in the HSM, by libp11's engine, under handshakes.
fn serve_tls(region: &Region) {
    region
        .pkcs11_tool()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "72", "--label", "tls"])
        .ok();
    let openssl = openssl_configuration(region);
    let certificate = region.scratch.file("tls.pem");
    region
        .program("openssl")
        .env("OPENSSL_CONF", &openssl)
        .args(["req", "-x509", "-new", "-engine", "pkcs11", "-keyform", "engine", "-key"])
        .args(["pkcs11:object=tls;type=private", "-subj", "/CN=localhost", "-days", "30", "-out"])
        .arg(&certificate)
        .ok();
    let server = Nginx::start(region, &openssl, &certificate);
    // Each is a full handshake, so a signature of the HSM's; s_time ends at the first that fails.
    let said = program("openssl")
        .args(["s_time", "-connect", &format!("127.0.0.1:{}", server.port), "-new", "-time", "8"])
        .text();
    let count = |line: &str| line.split_once(" connections in ")?.0.parse::<u64>().ok();
    let count = said.lines().find_map(count).unwrap_or_else(|| panic!("{said}"));
    assert!(count > 50, "{said}");
    println!("nginx: {count} handshakes");
    let log = std::fs::read_to_string(region.scratch.file("nginx-error.log")).unwrap_or_default();
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("SSL_do_handshake")).collect();
    assert!(failed.is_empty(), "handshakes failed: {failed:#?}");
}

/// libp11's engine wants `init = 1` under nginx.
fn openssl_configuration(region: &Region) -> PathBuf {
    let engine = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .iter()
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}/engines-3/pkcs11.so")))
        .find(|path| path.exists())
        .expect("libengine-pkcs11-openssl is installed");
    region.scratch.write(
        "nginx-openssl.cnf",
        format!(
            "openssl_conf = top\n[top]\nengines = engines\n[engines]\npkcs11 = pkcs11\n\
             [pkcs11]\nengine_id = pkcs11\ndynamic_path = {}\nMODULE_PATH = {}\nPIN = {}\ninit = 1\n\
             [req]\ndistinguished_name = name\n[name]\n",
            engine.display(),
            region.variable("STRONGROOM_PKCS11"),
            region.variable("CLOUDHSM_PIN"),
        ),
    )
}

/// nginx with two workers; ended when dropped.
struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    fn start(region: &Region, openssl: &Path, certificate: &Path) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let scratch = &region.scratch;
        let configuration = scratch.write(
            "nginx.conf",
            format!(
                "daemon off;\nuser root;\nworker_processes 2;\npid {pid};\nerror_log {log} info;\n\
                 env STRONGROOM_CONFIG;\nenv OPENSSL_CONF;\n\
                 events {{ worker_connections 64; }}\n\
                 http {{ access_log off;\n\
                 server {{ listen 127.0.0.1:{port} ssl; ssl_session_cache off; ssl_session_tickets off;\n\
                 ssl_certificate {certificate};\n\
                 ssl_certificate_key \"engine:pkcs11:pkcs11:object=tls;type=private\";\n\
                 return 200 'ok'; }} }}\n",
                pid = scratch.file("nginx.pid").display(),
                log = scratch.file("nginx-error.log").display(),
                certificate = certificate.display(),
            ),
        );
        let child = region
            .program("nginx")
            .env("OPENSSL_CONF", openssl)
            .args(["-p"])
            .arg(scratch.path())
            .arg("-c")
            .arg(&configuration)
            .into_command()
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(scratch.file("nginx.err")).expect("a log"))
            .spawn()
            .expect("nginx");
        let server = Self { child, port };
        let patience = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(scratch.file("nginx.err")).unwrap_or_default();
            assert!(Instant::now() < patience, "nginx does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers when it is told to; a kill would leave them.
        let _ = std::process::Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
