//! The passphrase of a seal, and what of it is found afterwards.

mod support;

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::PROGRAM;

const PASSPHRASE: &[u8] = b"canary-passphrase-61f0";

/// A local HSM with the passphrase on descriptor 9, in the foreground, with all that it can log.
fn start(dir: &Path, passphrase: &[u8]) -> Child {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(passphrase).unwrap();
    drop(writer);
    let log =
        std::fs::File::options().create(true).append(true).open(dir.with_extension("log")).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec 9<&0 </dev/null && exec \"$0\" \"$@\"", PROGRAM, "hsm", "--local"])
        .args(["--foreground", "--idle-seconds", "0"])
        .args(["--seal", "passphrase", "--passphrase-fd", "9", "--dir"])
        .arg(dir)
        .env("STRONGROOM_LOG", "trace")
        .stdin(Stdio::from(reader))
        .stderr(log);
    command.spawn().unwrap()
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_destroys_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    assert!(start(&dir, PASSPHRASE).wait().unwrap().success());
    let sealed = std::fs::read(dir.join("secrets.sealed")).unwrap();

    assert!(!start(&dir, b"another").wait().unwrap().success());
    assert!(!start(&dir, b"").wait().unwrap().success());
    let log = std::fs::read_to_string(dir.with_extension("log")).unwrap();
    assert!(log.contains("wrong passphrase"), "{log}");
    assert_eq!(std::fs::read(dir.join("secrets.sealed")).unwrap(), sealed);

    assert!(start(&dir, PASSPHRASE).wait().unwrap().success());
}

#[test]
fn the_passphrase_is_in_no_file_and_no_log() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    assert!(start(&dir, PASSPHRASE).wait().unwrap().success());
    assert!(!dir.join("seal.key").exists());
    let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    for file in files.chain([dir.with_extension("log")]) {
        let content = std::fs::read(&file).unwrap();
        let found = content.windows(PASSPHRASE.len()).any(|window| window == PASSPHRASE);
        assert!(!found, "in {}", file.display());
    }
}

#[test]
fn a_descriptor_number_is_taken_by_name_only() {
    // The number must be of an open descriptor; another is an error, not a prompt.
    let root = tempfile::tempdir().unwrap();
    let unused = std::fs::File::open("/dev/null").unwrap().as_raw_fd() + 500;
    let output = Command::new(PROGRAM)
        .args(["hsm", "--local", "--foreground", "--seal", "passphrase", "--passphrase-fd"])
        .arg(unused.to_string())
        .arg("--dir")
        .arg(root.path().join("hsm"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("passphrase from"), "{said}");
}
