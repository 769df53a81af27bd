//! Canaries: a password and key material that must be found nowhere but in the HSM's own memory.

use std::path::Path;
use std::process::Stdio;

use strongroom_tests::{Region, Scratch, program};

/// 32 bytes that no compiler, table or random generator produces by itself.
const KEY: &[u8; 32] = b"canary-key-4a7d1f93-do-not-leak!";
const PASSWORD: &str = "Canary9Password2Never5Seen";

#[test]
fn no_key_material_and_no_password_in_folder_logs_or_a_clients_memory() {
    let region = Region::up("canary");
    let admin = region.admin_password();
    region
        .program("cloudhsm-cli")
        .env("CLOUDHSM_ROLE", "admin")
        .env("CLOUDHSM_PIN", format!("admin:{admin}"))
        .args(["user", "create", "--username", "canary", "--role", "crypto-user"])
        .args(["--password", PASSWORD])
        .ok();

    // All that the HSM would ever log.
    region.strongroom("down").ok();
    region
        .strongroom("up")
        .env("STRONGROOM_LOG", "trace")
        .args(["--address", &region.address])
        .ok();

    let key = region.scratch.write("canary.key", KEY);
    let pin = format!("canary:{PASSWORD}");
    let tool = || {
        region.program("pkcs11-tool").env("STRONGROOM_LOG", "trace").args([
            "--module",
            region.variable("STRONGROOM_PKCS11"),
            "--login",
            "--pin",
            &pin,
        ])
    };
    tool()
        .arg("--write-object")
        .arg(&key)
        .args(["--type", "secrkey", "--key-type", "AES:32", "--id", "c1", "--label", "canary"])
        .ok();
    let plain = region.scratch.write("plain", [0; 64]);
    let said = tool()
        .args(["--encrypt", "--id", "c1", "-m", "AES-CBC-PAD", "--iv", &"00".repeat(16)])
        .arg("--input-file")
        .arg(&plain)
        .arg("--output-file")
        .arg(region.scratch.file("cipher"))
        .output();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    absent(&said.stdout, "what the client prints");
    absent(&said.stderr, "what the client logs at trace level");

    region
        .program("cloudhsm-cli")
        .env("STRONGROOM_LOG", "trace")
        .env("CLOUDHSM_ROLE", "crypto-user")
        .env("CLOUDHSM_PIN", &pin)
        .args(["key", "list", "--verbose"])
        .ok();
    absent_below(&region.dir());
    let memory = memory_of_a_client(&region, &pin);
    absent(&memory, "a logged-in client's memory");
}

/// A dump of a process that has logged in through the module and holds no secret of its own any
/// more: the module's copies are all that could be found.
fn memory_of_a_client(region: &Region, pin: &str) -> Vec<u8> {
    let scratch = Scratch::new("dump");
    let program_c = scratch.write("client.c", CLIENT);
    let client = scratch.file("client");
    program("cc").args(["-O0", "-o"]).arg(&client).arg(&program_c).arg("-ldl").ok();
    let mut command = region
        .program(client.to_str().expect("a path"))
        .arg(region.variable("STRONGROOM_PKCS11"))
        .into_command();
    // The environment that the other tests get holds a PIN; this client must not have one.
    command.env_remove("CLOUDHSM_PIN");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client");
    use std::io::{BufRead as _, Write as _};
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(pin.as_bytes()).and_then(|()| stdin.write_all(b"\n")).expect("a PIN");
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("a line");
    assert_eq!(line.trim(), "ready");
    let core = scratch.file("core");
    program("gdb")
        .args(["--batch", "-p", &child.id().to_string(), "-ex"])
        .arg(format!("gcore {}", core.display()))
        .ok();
    drop(stdin);
    child.wait().expect("the client's end");
    let memory = std::fs::read(&core).expect("gdb wrote a core");
    assert!(memory.len() > 1 << 20, "the dump holds something");
    assert!(contains(&memory, b"a-marker-that-is-in-memory"), "the search finds what is there");
    memory
}

/// Logs in, signs nothing, wipes its own copy of the PIN, and waits to be dumped. The marker shows
/// that a search of the dump finds what is there.
const CLIENT: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef unsigned long ul;
static char marker[64];
int main(int argc, char **argv) {
    char pin[128];
    ssize_t n = read(0, pin, sizeof pin);
    void *module = dlopen(argv[1], RTLD_NOW);
    if (!module || n < 2) return 2;
    ul (*initialize)(void *) = dlsym(module, "C_Initialize");
    ul (*slots)(unsigned char, ul *, ul *) = dlsym(module, "C_GetSlotList");
    ul (*open_session)(ul, ul, void *, void *, ul *) = dlsym(module, "C_OpenSession");
    ul (*login)(ul, ul, char *, ul) = dlsym(module, "C_Login");
    ul list[8], count = 8, session;
    if (initialize(0) || slots(1, list, &count) || open_session(list[0], 6, 0, 0, &session)) return 3;
    if (login(session, 1, pin, (ul)n - 1)) return 4;
    explicit_bzero(pin, sizeof pin);
    strcpy(marker, "a-marker-that-");
    strcat(marker, "is-in-memory");
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    return 0;
}
"#;

fn absent_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if entry.file_type().expect("a type").is_dir() {
            absent_below(&path);
        } else if let Ok(content) = std::fs::read(&path) {
            absent(&content, &path.display().to_string());
        }
    }
}

fn absent(content: &[u8], what: &str) {
    let hex: String = KEY.iter().map(|b| format!("{b:02x}")).collect();
    let decimal: Vec<String> = KEY[..8].iter().map(u8::to_string).collect();
    for (name, needle) in [
        ("the key", &KEY[..]),
        ("half of the key", &KEY[..16]),
        ("the other half of the key", &KEY[16..]),
        ("the key in hex", hex.as_bytes()),
        ("the key in upper-case hex", hex.to_uppercase().as_bytes()),
        ("the key as a list of numbers", decimal.join(", ").as_bytes()),
        ("the password", PASSWORD.as_bytes()),
    ] {
        assert!(!contains(content, needle), "{what} holds {name}");
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
