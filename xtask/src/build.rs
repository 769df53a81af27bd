//! Building what users take, into `target/release`.
//!
//! The PKCS#11 module is built in a target folder of its own: its crypto backend is told not to
//! gather entropy from processor jitter, which would cost an application 20 ms at its first call and
//! 10 ms in every forked child. The setting holds for a whole build, and the HSM keeps the jitter.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::run::{Result, cargo, release, root, run};

/// Names under which the one binary answers, beside `strongroom`.
const LINKS: [&str; 4] = ["cloudhsm-cli", "configure-cli", "configure-pkcs11", "configure-jce"];

/// The module's file.
pub(crate) const MODULE: &str = "libstrongroom_pkcs11.so";

/// Builds the binary, the module and the links.
pub(crate) fn all() -> Result {
    run(&mut cargo(&["build", "--release"]))?;
    run(&mut client(&["build", "--release", "-p", "strongroom-pkcs11"]))?;
    place_module()?;
    for link in LINKS {
        let path = release().join(link);
        if fs::read_link(&path).is_ok_and(|to| to.as_os_str() == "strongroom") {
            continue;
        }
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {e}", path.display()));
            }
            _ => {}
        }
        symlink("strongroom", &path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// A cargo command under the client libraries' settings and target folder.
pub(crate) fn client(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.env("AWS_LC_SYS_NO_JITTER_ENTROPY", "1").args(["--target-dir", "target/client"]);
    command
}

/// Puts the module beside the binary, by rename so that a running program keeps its own copy.
fn place_module() -> Result {
    let built = root().join("target/client/release").join(MODULE);
    let place = release().join(MODULE);
    let fresh = release().join(format!("{MODULE}.new"));
    fs::copy(&built, &fresh)
        .and_then(|_| fs::rename(&fresh, &place))
        .map_err(|e| format!("{} to {}: {e}", built.display(), place.display()))
}
