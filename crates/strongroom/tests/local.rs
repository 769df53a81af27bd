//! The local HSM that is started on demand, on real processes.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use strongroom_wire::message::{ClusterPhase, HelloReply, Personality};

use support::PROGRAM;

fn command(dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["hsm", "--local", "--dir"]).arg(dir).args(more).stdin(Stdio::null());
    command
}

/// Says hello over the socket; the HSM's answer and its process.
fn hello(socket: &Path) -> (HelloReply, Pid) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let answer = support::hello(&mut stream).unwrap();
    (answer, rustix::net::sockopt::socket_peercred(&stream).unwrap().pid)
}

/// Ends an HSM in order, and waits until it is gone.
fn stop(pid: Pid) {
    end(pid, Signal::TERM);
}

fn end(pid: Pid, signal: Signal) {
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    kill_process(pid, signal).unwrap();
    let mut polled = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut polled, None).unwrap();
}

#[test]
fn many_starts_at_once_give_one_hsm_and_all_succeed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    let starts: Vec<_> = (0..12).map(|_| command(&dir, &[]).spawn().unwrap()).collect();
    for mut start in starts {
        assert!(start.wait().unwrap().success());
    }
    let socket = dir.join("hsm.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let (answer, pid) = hello(&socket);
    assert_eq!(answer.personality(), Personality::Token);
    assert_eq!(answer.server_nonce.len(), 32);
    let log = std::fs::read_to_string(dir.join("hsm.log")).unwrap();
    assert_eq!(log.matches("serving after").count(), 1, "{log}");
    stop(pid);
    assert!(!socket.exists());
}

#[test]
fn a_killed_hsms_socket_is_no_obstacle_and_its_cluster_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    let socket = dir.join("hsm.sock");
    assert!(command(&dir, &[]).status().unwrap().success());
    let (before, pid) = hello(&socket);
    end(pid, Signal::KILL);
    assert!(command(&dir, &[]).status().unwrap().success());
    let (after, pid) = hello(&socket);
    assert_eq!(after.cluster_id, before.cluster_id);
    stop(pid);
}

#[test]
fn an_idle_hsm_ends_by_itself_and_takes_its_socket_away() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    let status = command(&dir, &["--foreground", "--idle-seconds", "0"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(!dir.join("hsm.sock").exists());
}

#[test]
fn a_connection_keeps_an_hsm_from_being_idle() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    assert!(command(&dir, &["--idle-seconds", "1"]).status().unwrap().success());
    let mut stream = UnixStream::connect(dir.join("hsm.sock")).unwrap();
    let pid = rustix::net::sockopt::socket_peercred(&stream).unwrap().pid;
    // Over two idle times nothing comes: the read ends by its own time-out, not by the HSM's end.
    stream.set_read_timeout(Some(std::time::Duration::from_millis(2200))).unwrap();
    let kind = loop {
        match stream.read(&mut [0]).unwrap_err().kind() {
            // A machine that was halted for a moment cuts reads short, too.
            std::io::ErrorKind::Interrupted => {}
            kind => break kind,
        }
    };
    assert_eq!(kind, std::io::ErrorKind::WouldBlock);
    stop(pid);
}

#[test]
fn a_path_too_long_for_a_socket_gets_a_short_one_and_a_pointer_to_it() {
    let root = tempfile::tempdir().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let dir = root.path().join("a".repeat(120));
    let start =
        || command(&dir, &[]).env("XDG_RUNTIME_DIR", runtime.path()).status().unwrap().success();
    assert!(start());
    let pointer = std::fs::read_to_string(dir.join("socket")).unwrap();
    let socket = PathBuf::from(pointer);
    assert!(socket.starts_with(runtime.path()));
    let (_, pid) = hello(&socket);
    // A second start finds it by the pointer.
    assert!(start());
    assert_eq!(hello(&socket).1, pid);
    stop(pid);
    assert!(!socket.exists());
}

#[test]
fn a_folder_that_others_may_write_to_is_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("planted"), "").unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = command(&dir, &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("others can write"), "{said}");
}

#[test]
fn the_hsm_holds_nothing_that_its_starter_had_open() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    // A test harness waits for the end of this pipe, whose other end the starter inherits.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let status = Command::new("sh")
        .args(["-c", "exec 7>&1 >/dev/null && exec \"$0\" hsm --local --dir \"$1\""])
        .arg(PROGRAM)
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(writer)
        .status()
        .unwrap();
    assert!(status.success());
    let (_, pid) = hello(&dir.join("hsm.sock"));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "the HSM holds descriptor 7");
    stop(pid);
}

#[test]
fn a_relative_folder_counts_from_where_the_command_ran() {
    let root = tempfile::tempdir().unwrap();
    let status = command(Path::new("hsm"), &[]).current_dir(&root).status().unwrap();
    assert!(status.success());
    let (_, pid) = hello(&root.path().join("hsm/hsm.sock"));
    // It stands in nobody's way afterwards, and writes to no stream of its starter.
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    for (what, target) in [("cwd", "/"), ("fd/0", "/dev/null"), ("fd/1", "/dev/null")] {
        assert_eq!(std::fs::read_link(process.join(what)).unwrap(), Path::new(target), "{what}");
    }
    stop(pid);
}

#[test]
fn a_passphrase_may_come_from_standard_input() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    let start = |passphrase: &[u8]| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(passphrase).unwrap();
        drop(writer);
        command(&dir, &["--seal", "passphrase", "--passphrase-fd", "0"])
            .stdin(reader)
            .output()
            .unwrap()
    };
    assert!(start(b"correct horse\n").status.success());
    stop(hello(&dir.join("hsm.sock")).1);
    let refused = start(b"another\n");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("wrong passphrase"), "{said}");
    assert!(start(b"correct horse\n").status.success());
    stop(hello(&dir.join("hsm.sock")).1);
}

#[test]
fn a_local_cloudhsm_is_ready_to_be_activated() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hsm");
    assert!(command(&dir, &["--personality", "cloudhsm"]).status().unwrap().success());
    let (answer, pid) = hello(&dir.join("hsm.sock"));
    assert_eq!(answer.personality(), Personality::CloudHsm);
    assert_eq!(answer.phase(), ClusterPhase::Initialized);
    stop(pid);
}
