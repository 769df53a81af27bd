//! The Debian packages that the tests' foreign clients come from.

use std::process::{Command, Stdio};

use crate::run::{Result, answers, run};

/// Package, and what the tests do with it.
const PACKAGES: &[(&str, &str)] = &[
    ("opensc", "pkcs11-tool"),
    ("openssl", "everything that is checked outside the HSM"),
    ("libengine-pkcs11-openssl", "openssl req with a key in the HSM"),
    ("openssh-client", "ssh and ssh-keygen with a key in the HSM"),
    ("openssh-server", "a local sshd to log in to"),
    ("softhsm2", "the peer of the benchmarks"),
    ("p11-kit", "the peer with a process border, and our module behind one"),
    ("gnutls-bin", "p11tool and certtool with keys in the token"),
    ("libnss3-tools", "modutil, certutil and cmsutil with keys in the token"),
    ("openjdk-17-jdk-headless", "keytool and jarsigner with keys in the token"),
    ("libp11-kit-dev", "a pkcs11.h to compile C programs with"),
    ("iproute2", "network namespaces of the tests"),
    ("nftables", "partitions between HSMs"),
    ("gdb", "a dump of a client's memory, searched for secrets"),
    ("binutils", "strings and nm"),
];

/// What the long forms need beside.
const LONG_FORMS: &[(&str, &str)] = &[
    ("nginx-light", "a TLS server with its key in the HSM"),
    ("apache2-bin", "another one"),
    ("python3-venv", "suites that others wrote in Python"),
    ("golang-go", "suites that others wrote in Go"),
    ("nodejs", "a program on graphene-pk11"),
    ("npm", "graphene-pk11 and pkcs11js"),
];

/// What stands in for a package where it works: a toolchain from elsewhere.
const INSTEAD: &[(&str, &[&str])] = &[
    ("golang-go", &["go", "version"]),
    ("nodejs", &["node", "--version"]),
    ("npm", &["npm", "--version"]),
    ("python3-venv", &["python3", "-c", "import ensurepip, venv"]),
];

/// Installs what is missing where it may, and otherwise names it and fails.
pub(crate) fn ensure(full: bool) -> Result {
    let packages = [PACKAGES, if full { LONG_FORMS } else { &[] }].concat();
    let missing: Vec<&str> =
        packages.iter().map(|(name, _)| *name).filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let hint = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        let uses: Vec<String> = packages
            .iter()
            .filter(|(name, _)| missing.contains(name))
            .map(|(name, usage)| format!("  {name}: {usage}"))
            .collect();
        return Err(format!(
            "the tests need Debian packages that are not installed:\n{}\nas root: {hint}",
            uses.join("\n")
        ));
    }
    run(Command::new("apt-get").args(["-q", "update"]))?;
    run(Command::new("apt-get")
        .args(["-q", "-y", "--no-install-recommends", "install"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive"))
    .map_err(|e| format!("{e}\ntry by hand: {hint}"))
}

fn installed(package: &str) -> bool {
    let instead = INSTEAD.iter().find(|(name, _)| *name == package);
    if instead.is_some_and(|(_, command)| answers(command[0], &command[1..])) {
        return true;
    }
    Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|o| o.status.success() && o.stdout == b"installed")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0")
}
