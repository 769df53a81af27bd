//! Passwords that are typed on a terminal, and what other processes could see of them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use strongroom_tests::{Region, release};

use crate::cli::{User, anonymous, data};

const NEW_PASSWORD: &str = "typed-and-never-shown";

#[test]
fn a_typed_password_is_not_echoed_and_is_in_no_command_line_or_environment() {
    let region = Region::up("cli-typed");
    let admin = User::admin(&region);
    let mut terminal = Terminal::start(&region, "interactive");
    terminal.until("aws-cloudhsm > ");
    terminal.types("login --username admin --role admin\r");
    terminal.until("Enter password: ");
    terminal.types(&format!("{}\r", admin.password));
    terminal.until("\"error_code\": 0");
    terminal.until("aws-cloudhsm > ");
    terminal.types("user create --username typed --role crypto-user\r");
    terminal.until("Enter password: ");
    terminal.types(&format!("{NEW_PASSWORD}\r"));
    terminal.until("Confirm password: ");
    terminal.types(&format!("{NEW_PASSWORD}\r"));
    terminal.until("\"username\": \"typed\"");
    terminal.until("aws-cloudhsm > ");

    // The session is open, and both passwords have gone through it.
    let processes = processes_that_show("cloudhsm-cli");
    assert!(!processes.is_empty(), "the session itself is found");
    for password in [&admin.password, NEW_PASSWORD] {
        assert!(processes_that_show(password).is_empty(), "a password in a command line");
        assert!(!terminal.seen.contains(password), "echoed: {}", terminal.seen);
    }
    terminal.types("quit\r");
    assert!(terminal.ends());

    let typed = User::new("typed", "crypto-user", NEW_PASSWORD);
    let list = typed.lend(region.program("cloudhsm-cli")).args(["key", "list"]);
    data(&list.output());
}

#[test]
fn a_single_command_asks_on_the_terminal_too() {
    let region = Region::up("cli-asks");
    let mut terminal = Terminal::start(&region, "login --username admin --role admin");
    terminal.until("Enter password: ");
    terminal.types(&format!("{}\r", User::admin(&region).password));
    terminal.until("\"role\": \"admin\"");
    assert!(terminal.ends());

    // The same through a pipe: the password is the next line.
    let login = anonymous(&region, "login --username admin --role admin")
        .input(format!("{}\n", User::admin(&region).password));
    assert_eq!(data(&login.output())["username"], "admin");
}

/// `cloudhsm-cli` on a terminal of its own, which util-linux's `script` makes.
struct Terminal {
    process: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    /// All that was on the screen.
    seen: String,
    /// Up to where [`Terminal::until`] has read.
    at: usize,
}

impl Terminal {
    fn start(region: &Region, command: &str) -> Self {
        let cli = release().join("cloudhsm-cli");
        let mut script: Command = region
            .program("script")
            .without("CLOUDHSM_PIN")
            .without("CLOUDHSM_ROLE")
            .args(["-q", "-e", "-c", &format!("{} {command}", cli.display()), "/dev/null"])
            .into_command();
        let mut process = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux's script");
        let keyboard = process.stdin.take().expect("a pipe");
        let screen = process.stdout.take().expect("a pipe");
        Self { process, keyboard, screen, seen: String::new(), at: 0 }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
        self.keyboard.flush().expect("a terminal");
    }

    /// Waits until this is on the screen, after what was waited for before.
    fn until(&mut self, text: &str) {
        loop {
            if let Some(found) = self.seen[self.at..].find(text) {
                self.at += found + text.len();
                return;
            }
            let mut block = [0; 4096];
            let length = self.screen.read(&mut block).expect("a screen");
            assert!(length > 0, "no {text:?} after all of: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&block[..length]));
        }
    }

    /// Whether the program ends well.
    fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest).expect("a screen");
        self.process.wait().expect("its end").success()
    }
}

/// Processes with this text in their command line or, where it may be read, their environment.
fn processes_that_show(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let own = std::process::id().to_string();
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name != own))
        .filter(|entry| {
            ["cmdline", "environ"].iter().any(|file| {
                fs::read(entry.path().join(file))
                    .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
            })
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
