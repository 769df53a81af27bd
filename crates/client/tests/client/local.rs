//! The HSM that is started on demand, played by a script in the library's folder.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use strongroom_client::{Client, Config, Error, Options};
use strongroom_wire::message::{Operation, Random};

use crate::{
    fake::{FakeHsm, answer},
    folder::Folder,
};

/// The folder's script stands for the `strongroom` program.
fn options(folder: &Folder, script: &str) -> Options {
    let path = folder.join("strongroom");
    // Written under another name and moved, so that no other test's fork holds it open for writing.
    let text = format!("#!/bin/sh\n{script}\n");
    let temporary = folder.join("strongroom.new");
    let status = std::process::Command::new("sh")
        .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &text])
        .arg(&temporary)
        .status()
        .unwrap();
    assert!(status.success());
    fs::rename(temporary, &path).unwrap();
    assert!(fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0);
    Options { program: "test".into(), library_dir: Some(folder.path().to_owned()) }
}

fn data(folder: &Folder) -> PathBuf {
    let dir = folder.join("data");
    fs::create_dir(&dir).unwrap();
    dir
}

fn random() -> Operation {
    Operation::Random(Random { bytes: 1 })
}

#[test]
fn an_hsm_that_does_not_run_is_started_without_any_secret() {
    let folder = Folder::new();
    let dir = data(&folder);
    let _hsm = FakeHsm::unix(&dir.join("ready.sock"), |_, _| answer(None));
    let options = options(
        &folder,
        "echo \"$@\" > \"$4/arguments\"; env > \"$4/environment\"; ls -l /proc/self/fd > \"$4/files\"
         mv \"$4/ready.sock\" \"$4/hsm.sock\"",
    );
    let client = Client::open_with(Config::local(&dir), options).unwrap();
    client.call(0, random()).unwrap();

    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let expected = format!("hsm --local --dir {} --personality token\n", dir.display());
    assert_eq!(read("arguments"), expected);
    // Only what the HSM needs, and what the shell adds.
    let environment = read("environment");
    for name in environment.lines().filter_map(|line| Some(line.split_once('=')?.0)) {
        let needed = ["PATH", "HOME", "TMPDIR", "LANG", "RUST_LOG", "STRONGROOM_LOG"];
        let by_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
        assert!(
            needed.contains(&name) || by_shell.contains(&name) || name.starts_with("XDG_"),
            "{environment}"
        );
    }
    // No socket of this process, and no terminal.
    assert!(!read("files").contains("socket:"), "{}", read("files"));
}

#[test]
fn an_hsm_that_ended_because_it_was_idle_is_started_again() {
    let folder = Folder::new();
    let dir = data(&folder);
    let first = FakeHsm::unix(&dir.join("ready.sock"), |_, _| answer(None));
    let script = "echo x >> \"$4/starts\"; mv \"$4/ready.sock\" \"$4/hsm.sock\"";
    let client = Client::open_with(Config::local(&dir), options(&folder, script)).unwrap();
    client.call(0, random()).unwrap();
    drop(first);
    // What an HSM leaves behind when it ends: nothing, or a socket that nobody listens to.
    let _second = FakeHsm::unix(&dir.join("ready.sock"), |_, _| answer(None));
    client.call(0, random()).unwrap();
    assert_eq!(fs::read_to_string(dir.join("starts")).unwrap(), "x\nx\n");
}

#[test]
fn a_start_that_fails_says_why() {
    let folder = Folder::new();
    let dir = data(&folder);
    let options = options(&folder, "echo 'the disk is full' >&2; exit 1");
    let Err(error) = Client::open_with(Config::local(&dir), options) else { panic!("opened") };
    assert!(matches!(&error, Error::Start(why) if why.contains("the disk is full")), "{error:?}");
}

#[test]
fn a_data_folder_with_a_long_path_names_its_socket_in_a_file() {
    let folder = Folder::new();
    let dir = folder.join(&"long/".repeat(30));
    fs::create_dir_all(&dir).unwrap();
    let socket = folder.join("short.sock");
    let _hsm = FakeHsm::unix(&socket, |_, _| answer(None));
    fs::write(dir.join("socket"), socket.to_str().unwrap()).unwrap();
    let client = Client::open(Config::local(&dir), "test").unwrap();
    client.call(0, random()).unwrap();
}

#[test]
fn threads_that_need_the_hsm_at_once_start_it_once() {
    let folder = Folder::new();
    let dir = data(&folder);
    let _hsm = FakeHsm::unix(&dir.join("ready.sock"), |_, _| answer(None));
    let script = "echo x >> \"$4/starts\"; mv \"$4/ready.sock\" \"$4/hsm.sock\"";
    let client = Client::open_with(Config::local(&dir), options(&folder, script)).unwrap();
    fs::rename(dir.join("hsm.sock"), dir.join("ready.sock")).unwrap();
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                client.refresh().unwrap();
            });
        }
    });
    assert_eq!(fs::read_to_string(dir.join("starts")).unwrap(), "x\nx\n");
}
