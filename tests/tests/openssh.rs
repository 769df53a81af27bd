//! OpenSSH with keys in the HSM: log in to a local sshd, and be a certificate authority.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use strongroom_tests::{Region, program};

/// Answers every prompt with the PIN.
fn askpass(region: &Region) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let script = "#!/bin/sh\nprintf '%s\\n' \"$CLOUDHSM_PIN\"\n";
    let path = region.scratch.write("askpass", script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    path
}

fn with_pin(region: &Region, name: &str) -> strongroom_tests::Program {
    region.program(name).env("SSH_ASKPASS", askpass(region)).env("SSH_ASKPASS_REQUIRE", "force")
}

/// A sshd of the test's own, ended when dropped.
struct Sshd {
    child: Child,
    port: u16,
}

impl Sshd {
    fn start(region: &Region, authorised: &Path, trusted: &Path) -> Self {
        let scratch = &region.scratch;
        let host_key = scratch.file("host_key");
        program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key).ok();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let configuration = scratch.write(
            "sshd_config",
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nUsePAM no\n\
                 StrictModes no\nPasswordAuthentication no\nAuthorizedKeysFile {}\n\
                 TrustedUserCAKeys {}\nPermitRootLogin yes\n",
                host_key.display(),
                authorised.display(),
                trusted.display()
            ),
        );
        std::fs::create_dir_all("/run/sshd").expect("sshd's folder");
        let child = program("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(&configuration)
            .into_command()
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(scratch.file("sshd.log")).expect("a log"))
            .spawn()
            .expect("sshd");
        let sshd = Self { child, port };
        let patience = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < patience, "sshd does not listen");
            std::thread::yield_now();
        }
        sshd
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ssh_logs_in_with_a_key_in_the_hsm_and_with_a_certificate_that_the_hsm_signed() {
    let region = Region::up("ssh");
    let scratch = &region.scratch;
    let module = region.variable("STRONGROOM_PKCS11").to_owned();
    for (id, label, kind) in [("71", "login", "EC:prime256v1"), ("72", "user-ca", "rsa:2048")] {
        region
            .pkcs11_tool()
            .args(["--keypairgen", "--key-type", kind, "--id", id, "--label", label])
            .ok();
    }

    // All public keys, as OpenSSH prints them: "TYPE BASE64 LABEL".
    let keys = with_pin(&region, "ssh-keygen").args(["-D", &module]).text();
    let key = |label: &str| {
        keys.lines()
            .find(|line| line.trim_end().ends_with(label))
            .unwrap_or_else(|| panic!("no {label} among {keys}"))
            .to_owned()
    };
    let authorised = scratch.write("authorized_keys", key("login") + "\n");
    let ca = scratch.write("ca.pub", key("user-ca") + "\n");
    let sshd = Sshd::start(&region, &authorised, &ca);
    let user = program("id").arg("-un").text().trim().to_owned();
    let ssh = |program: strongroom_tests::Program| {
        program
            .args([
                "-F",
                "none",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args(["-o", "IdentityAgent=none", "-p", &sshd.port.to_string()])
    };

    let said = ssh(with_pin(&region, "ssh"))
        .args(["-o", "IdentityFile=none", "-I", &module])
        .args([&format!("{user}@127.0.0.1"), "echo", "logged in"])
        .text();
    assert_eq!(said.trim(), "logged in");

    // A certificate for an ordinary key, signed by the CA key in the HSM.
    let ordinary = scratch.file("ordinary");
    program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&ordinary).ok();
    with_pin(&region, "ssh-keygen")
        .args(["-D", &module, "-s"])
        .arg(&ca)
        .args(["-I", "test", "-n", &user, "-V", "+10m"])
        .arg(scratch.file("ordinary.pub"))
        .ok();
    let said = ssh(program("ssh"))
        .args(["-o", "IdentitiesOnly=yes", "-i"])
        .arg(&ordinary)
        .args([&format!("{user}@127.0.0.1"), "echo", "certified"])
        .text();
    assert_eq!(said.trim(), "certified");
}
