//! Fork under load: parent, children and grandchildren sign at once, on a local HSM and over TLS.
//!
//! The program is `clients/fork.c`. It checks for itself that no call of the parent fails, that a
//! child finds the module uninitialised and can begin anew, and that no child hangs. Checked here:
//! that no connection broke on the way, and that none stays behind at the HSM.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use strongroom_tests::{LocalToken, Program, Region, USER_PIN, compile};

/// Connections of a parent with five threads, and a few to spare. More would be its children's.
const CONNECTIONS_MAX: usize = 10;

#[test]
fn parent_and_children_sign_at_once_on_a_local_hsm() {
    let token = LocalToken::initialised("fork-token");
    let program = compile("fork", &token.scratch);
    let socket = token.dir().join("hsm.sock");
    let command = || local(&token, &program);
    churn(command(), &|| unix_connections(&socket));
}

#[test]
fn parent_and_children_sign_at_once_over_tls() {
    let region = Region::up("fork-region");
    let program = compile("fork", &region.scratch);
    let address = region.address.parse().expect("an IPv4 address");
    churn(remote(&region, &program), &|| tcp_connections(address, 2223));
}

#[test]
fn a_child_leaves_its_parents_connections_alone_on_a_local_hsm() {
    let token = LocalToken::initialised("fork-quiet-token");
    let program = compile("fork", &token.scratch);
    unbroken(&local(&token, &program).arg("quiet").output());
}

#[test]
fn a_child_leaves_its_parents_connections_alone_over_tls() {
    let region = Region::up("fork-quiet-region");
    let program = compile("fork", &region.scratch);
    unbroken(&remote(&region, &program).arg("quiet").output());
}

fn local(token: &LocalToken, program: &Path) -> Program {
    let program = program.to_str().expect("a path in UTF-8");
    token.program(program).env("CLOUDHSM_PIN", USER_PIN).env("STRONGROOM_LOG", "warn")
}

fn remote(region: &Region, program: &Path) -> Program {
    region.program(program.to_str().expect("a path in UTF-8")).env("STRONGROOM_LOG", "warn")
}

/// Runs `fork churn` and counts the HSM's connections when all children have ended, and when the
/// parent has.
fn churn(program: Program, connections: &dyn Fn() -> usize) {
    let seed = "20240607";
    let mut child = program
        .args(["churn", seed])
        .into_command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("fork churn starts");
    let mut settled = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut settled).expect("what fork churn says");
    if settled.starts_with("settled") {
        let own = sockets(&child);
        assert!((1..=CONNECTIONS_MAX).contains(&own), "the parent has {own} connections");
        wait_until(connections, own);
    }
    // Its sign to end.
    drop(child.stdin.take());
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("what fork churn says");
    let status = child.wait().expect("fork churn ends");
    assert!(status.success() && said.is_empty(), "seed {seed}: {status}\n{settled}{said}");
    wait_until(connections, 0);
}

/// Success, and not a word: the module warns when a connection fails and it tries again.
fn unbroken(output: &std::process::Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}\n{said}", output.status);
}

/// The HSM learns of a closed connection a moment later.
fn wait_until(connections: &dyn Fn() -> usize, wanted: usize) {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let there = connections();
        if there == wanted {
            return;
        }
        assert!(Instant::now() < patience, "the HSM has {there} connections, not {wanted}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sockets that a process holds.
fn sockets(process: &Child) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.id())).expect("its files");
    files
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// The HSM's ends of connections to its TCP port, also those that its peer has closed.
fn tcp_connections(address: Ipv4Addr, port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    let own = format!("{:08X}:{port:04X}", u32::from_ne_bytes(address.octets()));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    table
        .lines()
        .filter(|line| {
            let mut columns = line.split_whitespace().skip(1);
            columns.next() == Some(own.as_str())
                && matches!(columns.nth(1), Some(ESTABLISHED | CLOSE_WAIT))
        })
        .count()
}

/// The HSM's ends of connections to its UNIX socket; the clients' ends have no name.
fn unix_connections(path: &Path) -> usize {
    const CONNECTED: &str = "03";
    let path = path.to_str().expect("a path in UTF-8");
    let table = std::fs::read_to_string("/proc/net/unix").expect("/proc/net/unix");
    table
        .lines()
        .filter(|line| {
            // Num RefCount Protocol Flags Type St Inode Path
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns.get(5) == Some(&CONNECTED) && columns.get(7) == Some(&path)
        })
        .count()
}
