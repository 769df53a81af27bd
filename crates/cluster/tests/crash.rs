//! Processes that die: by SIGKILL at any moment, and by themselves when the disk is full. What they
//! had answered must be there afterwards, and nothing half.
//!
//! The dying process is this test's own binary, run again for one test with a folder in its
//! environment. It says on its standard output what has been answered.

mod alone;
#[path = "../../store/tests/common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Mutex;

use alone::Alone;
use common::{Owner, blob_of, created, entry, new_key, set_up};
use strongroom_cluster::Options;
use strongroom_store::Folder;
use strongroom_vault::{Command, Handle, LoginId, Outcome, Replicator, UserId};

const FOLDER: &str = "STRONGROOM_TEST_FOLDER";
const OWNER: &str = "STRONGROOM_TEST_OWNER";
const WRITER: &str = "the_process_that_writes_until_it_dies";
const THREADS: usize = 4;
const SIGABRT: i32 = 6;

fn start(path: &Path) -> Alone {
    let folder = Folder::open(path).unwrap();
    let secrets = common::secrets(&folder);
    Alone::open(folder, secrets, Options::default()).unwrap()
}

/// Not a test by itself: what the tests below run as a process.
#[test]
fn the_process_that_writes_until_it_dies() {
    let (Ok(folder), Ok(owner)) = (std::env::var(FOLDER), std::env::var(OWNER)) else { return };
    let (user, login) = owner.split_once(' ').unwrap();
    let owner =
        Owner { user: UserId(user.parse().unwrap()), login: LoginId(login.parse().unwrap()) };
    let voter = start(Path::new(&folder));
    let apply = |command| voter.propose(entry(owner.actor(), command)).unwrap().result.unwrap();
    // One write a line, so that a kill cuts no line in two.
    let output = Mutex::new(std::io::stdout());
    let say = |line: String| output.lock().unwrap().write_all(line.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (apply, say) = (&apply, &say);
            scope.spawn(move || {
                for number in 0_u32.. {
                    let label = format!("{thread}-{number}");
                    let handle = created(&apply(new_key(owner, &label)));
                    say(format!("created {handle} {label}\n"));
                    if number % 3 == 0 {
                        say(format!("destroying {handle}\n"));
                        assert_eq!(apply(Command::DestroyObject { handle }), Outcome::Done);
                        say(format!("destroyed {handle}\n"));
                    }
                }
            });
        }
    });
}

/// Starts the writer, under `shell` where given, which must end with `exec "$0" "$@"`.
fn writer(path: &Path, owner: Owner, shell: Option<&str>) -> Child {
    let binary = std::env::current_exe().unwrap();
    let mut process = match shell {
        Some(script) => {
            let mut process = Process::new("sh");
            process.arg("-c").arg(script).arg(binary);
            process
        }
        None => Process::new(binary),
    };
    process
        .args(["--exact", WRITER, "--nocapture"])
        .env(FOLDER, path)
        .env(OWNER, format!("{} {}", owner.user, owner.login))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the writer has said.
#[derive(Default)]
struct Said {
    created: BTreeMap<Handle, String>,
    destroying: BTreeSet<Handle>,
    destroyed: BTreeSet<Handle>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let handle = |digits: &str| Handle(digits.parse().unwrap());
        match line.trim_end().split(' ').collect::<Vec<_>>().as_slice() {
            ["created", digits, label] => {
                self.created.insert(handle(digits), (*label).to_owned());
            }
            ["destroying", digits] => {
                self.destroying.insert(handle(digits));
            }
            ["destroyed", digits] => {
                self.destroyed.insert(handle(digits));
            }
            // The test harness speaks too.
            _ => {}
        }
    }

    fn hear_all(&mut self, output: &mut impl Read) {
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        rest.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .for_each(|line| self.hear(line));
    }

    /// Every answered change is there, and every object that is there is whole.
    fn check(&self, path: &Path) {
        let voter = start(path);
        let state = voter.state().read();
        for (handle, label) in &self.created {
            match state.object(*handle) {
                Some(object) => {
                    assert!(!self.destroyed.contains(handle), "{label} came back");
                    assert_eq!(object.meta.label, label.as_bytes());
                }
                None => assert!(self.destroying.contains(handle), "{label} is lost"),
            }
        }
        for number in 0..state.object_count() as u64 * 2 + 100 {
            if let Some(object) = state.object(Handle(Handle::FIRST.0 + number)) {
                let label = String::from_utf8(object.meta.label.clone()).unwrap();
                assert_eq!(voter.blob(object.id).unwrap().unwrap(), blob_of(&label));
            }
        }
    }
}

/// A folder with a user, whose HSM has stopped.
fn prepared(path: &Path) -> Owner {
    let voter = start(path);
    let owner = set_up(|entry| voter.propose(entry).unwrap().result.unwrap());
    voter.stop();
    owner
}

#[test]
fn what_was_answered_survives_a_kill_at_any_moment() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("hsm");
    let owner = prepared(&path);
    for round in 0..20 {
        let mut said = Said::default();
        let mut child = writer(&path, owner, None);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        // A different moment each round, counted in answers and not in time.
        for _ in 0..10 + round * 13 {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            said.hear(&line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        said.hear_all(&mut output);
        assert!(!said.created.is_empty());
        said.check(&path);
    }
}

#[test]
fn a_full_disk_ends_the_process_and_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("hsm");
    let owner = prepared(&path);
    // No file may grow over 600 blocks of 512 bytes; the signal of that is ignored, so that the
    // write fails, as it does on a full disk.
    let limited = r#"trap "" XFSZ; ulimit -f 600; exec "$0" "$@""#;
    let mut child = writer(&path, owner, Some(limited));
    let mut said = Said::default();
    said.hear_all(&mut child.stdout.take().unwrap());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(SIGABRT), "{status}");
    assert!(said.created.len() > THREADS);
    said.check(&path);
}
