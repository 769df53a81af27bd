//! The local HSM that the module starts on demand: whose it is, who shares it, when it ends, and when
//! it must not be started at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use strongroom_tests::{
    LocalToken, Program, SO_PIN, Scratch, USER_PIN, hsm_process, kill_hard, program, release, stop,
};

/// `nobody` of every Linux.
const NOBODY: &str = "65534";
/// For a process to start or end; no test takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_folder_alone_gives_an_uninitialised_token_for_this_user_only() {
    let token = LocalToken::fresh("local-fresh");
    let listed = tool(&token.dir()).arg("-L").text();
    assert!(listed.contains("uninitialized"), "{listed}");
    let refused = tool(&token.dir()).args(["--login", "--pin", USER_PIN, "-O"]).fails();
    assert!(refused.contains("CKR_"), "{refused}");
    for (path, mode) in [
        (token.dir(), 0o700),
        (token.dir().join("hsm.sock"), 0o600),
        (token.dir().join("secrets.sealed"), 0o600),
        (token.dir().join("seal.key"), 0o600),
        (token.dir().join("store.db"), 0o600),
        (token.dir().join("hsm.log"), 0o600),
    ] {
        let found = fs::metadata(&path).expect("made at the first start").permissions().mode();
        assert_eq!(found & 0o777, mode, "{}", path.display());
    }
}

#[test]
fn processes_that_come_at_once_share_one_hsm_and_its_keys() {
    const PROCESSES: usize = 6;
    let token = LocalToken::initialised("local-shared");
    // None runs: all find it missing at the same moment.
    token.stop();
    let served = |log: &str| log.matches("serving after").count();
    let before = served(&read(&token.dir().join("hsm.log")));
    std::thread::scope(|scope| {
        for number in 0..PROCESSES {
            let make = token.logged_in().args(["--keygen", "--key-type", "AES:32"]).args([
                "--label",
                &format!("of-{number}"),
                "--id",
                &format!("0{number}"),
            ]);
            scope.spawn(move || make.ok());
        }
    });
    let listed = token.logged_in().arg("-O").text();
    for number in 0..PROCESSES {
        assert!(listed.contains(&format!("of-{number}")), "{listed}");
    }
    let log = read(&token.dir().join("hsm.log"));
    assert_eq!(served(&log), before + 1, "one HSM served all: {log}");
}

#[test]
fn a_killed_hsm_is_started_again_with_all_keys() {
    let token = LocalToken::initialised("local-killed");
    make_pair(&token);
    let public = public_key(&token);
    kill_hard(hsm_process(&token.dir()).expect("a running HSM"));
    assert_eq!(public_key(&token), public);
    signs(&token, &public);
}

#[test]
fn an_hsm_that_nobody_uses_ends_and_is_started_again() {
    let token = LocalToken::initialised("local-idle");
    make_pair(&token);
    let public = public_key(&token);
    token.stop();
    program("strongroom")
        .args(["hsm", "--local", "--idle-seconds", "1", "--dir"])
        .arg(token.dir())
        .ok();
    let socket = token.dir().join("hsm.sock");
    assert!(socket.exists());
    let patience = Instant::now() + PATIENCE;
    while hsm_process(&token.dir()).is_some() {
        assert!(Instant::now() < patience, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!socket.exists(), "it takes its socket away");
    assert_eq!(public_key(&token), public);
}

#[test]
fn another_user_gets_nothing_from_a_local_hsm() {
    if !is_root() {
        println!("skipped: only root can run a process of another user");
        return;
    }
    // Root's HSM, and nobody as the client: the folder's mode keeps it out.
    let token = LocalToken::initialised("local-root");
    let public = Public::of(&token.scratch);
    let refused = public.as_nobody("cloudhsm-cli").env("STRONGROOM_DIR", token.dir());
    let said = refused.args(["cluster", "hsm-info"]).fails();
    assert!(said.contains("ermission"), "{said}");

    // Nobody's HSM, and root as the client: modes do not keep root out, the HSM itself does.
    let theirs = public.0.join("hsm");
    public.as_nobody("strongroom").args(["hsm", "--local", "--dir"]).arg(&theirs).ok();
    let served = public.as_nobody("cloudhsm-cli").env("STRONGROOM_DIR", &theirs);
    served.args(["cluster", "hsm-info"]).ok();
    let cli = program("cloudhsm-cli").env("STRONGROOM_DIR", &theirs);
    let said = cli.args(["cluster", "hsm-info"]).fails();
    assert!(said.contains("belongs to another user"), "{said}");
    let process = hsm_process(&theirs).expect("still running");
    let log = read(&theirs.join("hsm.log"));
    stop(process);
    assert!(log.contains("refused a process of user 0"), "{said}\n{log}");
}

#[test]
fn a_broken_configuration_is_an_error_and_never_a_local_hsm() {
    let scratch = Scratch::new("local-broken");
    let folder = scratch.file("never");
    let data = scratch.file("data");
    let world = scratch.write("world.json", "{}");
    fs::set_permissions(&world, fs::Permissions::from_mode(0o666)).expect("ours");
    let home = scratch.file("home");
    fs::create_dir_all(home.join("strongroom")).expect("a scratch folder");
    fs::write(home.join("strongroom/client.json"), "{").expect("a scratch file");
    let configured = |path: PathBuf| ("STRONGROOM_CONFIG", path);
    for (variable, value) in [
        configured(scratch.file("missing.json")),
        configured(scratch.write("cut.json", r#"{"clusters": ["#)),
        configured(scratch.write("empty.json", "")),
        configured(scratch.write("nothing.json", "{}")),
        configured(scratch.write("unknown.json", r#"{"local": {"folder": "x"}}"#)),
        configured(world),
        configured(scratch.path().to_owned()),
        ("XDG_CONFIG_HOME", home),
    ] {
        let set = |program: Program| {
            // Where the configuration itself is named, a folder beside it changes nothing.
            let program = match variable {
                "STRONGROOM_CONFIG" => program.env("STRONGROOM_DIR", &folder),
                _ => program,
            };
            program.env("XDG_DATA_HOME", &data).env(variable, &value)
        };
        let said = set(program("pkcs11-tool")).arg("--module").arg(module()).arg("-L").fails();
        assert!(said.contains("C_Initialize"), "{}: {said}", value.display());
        let said = set(program("cloudhsm-cli")).args(["user", "list"]).fails();
        assert!(said.contains("configuration"), "{}: {said}", value.display());
        assert!(!folder.exists() && !data.exists(), "{}: an HSM was made", value.display());
    }
    // Of personality cloudhsm, a local HSM is started only where a folder says so.
    let unasked = program("cloudhsm-cli").env("STRONGROOM_PERSONALITY", "cloudhsm");
    let said = unasked.env("XDG_DATA_HOME", &data).args(["user", "list"]).fails();
    assert!(said.contains("STRONGROOM_DIR"), "{said}");
    assert!(!data.exists());
}

#[test]
fn a_passphrase_opens_all_keys_and_nothing_else_does() {
    let token = LocalToken::fresh("local-sealed");
    let start = |passphrase: &str| {
        program("strongroom")
            .args(["hsm", "--local", "--seal", "passphrase", "--passphrase-fd", "0", "--dir"])
            .arg(token.dir())
            .input(passphrase)
    };
    start("correct horse\n").ok();
    token.tool().args(["--init-token", "--label", "sealed", "--so-pin", SO_PIN]).ok();
    token
        .tool()
        .args(["--login", "--login-type", "so", "--so-pin", SO_PIN])
        .args(["--init-pin", "--new-pin", USER_PIN])
        .ok();
    make_pair(&token);
    let public = public_key(&token);
    token.stop();

    let wrong = start("battery staple\n").fails();
    assert!(wrong.contains("wrong passphrase"), "{wrong}");
    let none = start("").fails();
    assert!(none.contains("empty"), "{none}");
    // On demand it would start with a key file, which opens nothing.
    let on_demand = token.tool().arg("-L").fails();
    assert!(on_demand.contains("sealed with seal passphrase"), "{on_demand}");
    assert_eq!(hsm_process(&token.dir()), None, "it stays locked");

    start("correct horse\n").ok();
    assert_eq!(public_key(&token), public);
    signs(&token, &public);
}

/// `pkcs11-tool` on a token of which nothing but the folder is told.
fn tool(dir: &Path) -> Program {
    program("pkcs11-tool").env("STRONGROOM_DIR", dir).arg("--module").arg(module())
}

fn module() -> PathBuf {
    release().join("libstrongroom_pkcs11.so")
}

fn make_pair(token: &LocalToken) {
    token
        .logged_in()
        .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--label", "kept"])
        .ok();
}

/// The pair's public key, DER.
fn public_key(token: &LocalToken) -> Vec<u8> {
    token.logged_in().args(["--read-object", "--type", "pubkey", "--id", "01"]).ok()
}

/// The pair's private key signs what the public key verifies, by `openssl`.
fn signs(token: &LocalToken, public: &[u8]) {
    let key = token.scratch.write("public.der", public);
    let data = token.scratch.write("data", "signed");
    let signature = token.scratch.file("signature");
    token
        .logged_in()
        .args(["--sign", "-m", "ECDSA-SHA256", "--signature-format", "openssl", "--id", "01"])
        .arg("--input-file")
        .arg(&data)
        .arg("--output-file")
        .arg(&signature)
        .ok();
    program("openssl")
        .args(["dgst", "-sha256", "-keyform", "DER", "-verify"])
        .arg(key)
        .arg("-signature")
        .arg(signature)
        .arg(data)
        .ok();
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn is_root() -> bool {
    program("id").arg("-u").text().trim() == "0"
}

/// A folder that `nobody` can use, with the product's programs in it: where the repository lies,
/// `nobody` may not come.
struct Public(PathBuf);

impl Public {
    fn of(scratch: &Scratch) -> Self {
        let folder = scratch.file("public");
        fs::create_dir(&folder).expect("a scratch folder");
        fs::copy(release().join("strongroom"), folder.join("strongroom")).expect("a built binary");
        std::os::unix::fs::symlink("strongroom", folder.join("cloudhsm-cli")).expect("a link");
        let nobody = NOBODY.parse().ok();
        std::os::unix::fs::chown(&folder, nobody, nobody).expect("root");
        let passable = fs::Permissions::from_mode(0o711);
        fs::set_permissions(scratch.path(), passable).expect("ours");
        Self(folder)
    }

    fn as_nobody(&self, name: &str) -> Program {
        program("setpriv")
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .arg(self.0.join(name))
            .env("HOME", &self.0)
    }
}
