//! Suites that others wrote, on a local token in place of SoftHSM2. `cargo xtask test --full` runs them:
//! they come from PyPI, the Go module proxy and npm.
//!
//! What a suite can't pass stands in `tests/suites`, with the reason; anything else that fails or is left
//! out fails here.

use std::path::{Path, PathBuf};

use strongroom_tests::{
    GoSuite, LocalToken, PythonSuite, SO_PIN, USER_PIN, full, kept, program, python_with, release,
};

fn module() -> PathBuf {
    release().join("libstrongroom_pkcs11.so")
}

#[test]
fn python_pkcs11_passes_its_tests() {
    if !full() {
        return;
    }
    let token = LocalToken::initialised("python-pkcs11");
    // Under SoftHSM2's name, so that the suite uses the SO's PIN too.
    let as_softhsm2 = token.scratch.file("libsofthsm2.so");
    std::os::unix::fs::symlink(module(), &as_softhsm2).expect("a link");
    let start = |name: &str| {
        token
            .program(name)
            .env("PKCS11_MODULE", &as_softhsm2)
            .env("PKCS11_TOKEN_LABEL", "python-pkcs11")
            .env("PKCS11_TOKEN_PIN", USER_PIN)
            .env("PKCS11_TOKEN_SO_PIN", SO_PIN)
    };
    let passed = PythonSuite::installed().run(start, "python-pkcs11-token.skip");
    assert!(passed >= 126, "{passed}");
}

#[test]
fn crypto11_passes_its_tests() {
    if !full() {
        return;
    }
    let token = LocalToken::initialised("crypto11");
    let suite = GoSuite::built("crypto11", "github.com/ThalesGroup/crypto11", "1.2.5");
    let configuration = serde_json::json!({
        "Path": module(),
        "TokenLabel": "crypto11",
        "Pin": USER_PIN,
        "MaxSessions": 512,
    });
    std::fs::write(suite.sources.join("config"), configuration.to_string())
        .expect("a configuration");
    let passed = suite.run(|name| token.program(name), "crypto11-token.skip");
    assert!(passed >= 38, "{passed}");
}

#[test]
fn miekgs_pkcs11_passes_its_tests() {
    if !full() {
        return;
    }
    let token = LocalToken::with_pins("miekg", "1234", "1234");
    let suite = GoSuite::built("pkcs11", "github.com/miekg/pkcs11", "1.1.1");
    let start = |name: &str| token.program(name).env("SOFTHSM_LIB", module());
    let passed = suite.run(start, "miekg-pkcs11.skip");
    assert!(passed >= 14, "{passed}");
}

/// A program of `tests/clients`.
fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

#[test]
fn an_ordinary_program_on_pykcs11_works() {
    if !full() {
        return;
    }
    let python = python_with(&kept("pykcs11-1.5.20"), &["PyKCS11==1.5.20"]);
    let token = LocalToken::initialised("pykcs11");
    let said = token
        .program(python.to_str().expect("a path"))
        .arg(client("pykcs11.py"))
        .arg(module())
        .arg(USER_PIN)
        .text();
    assert!(said.ends_with("ok\n"), "{said}");
}

#[test]
fn an_ordinary_program_on_graphene_and_pkcs11js_works() {
    if !full() {
        return;
    }
    let packages = node_modules();
    let token = LocalToken::initialised("graphene");
    let said = token
        .program("node")
        .env("NODE_PATH", &packages)
        .arg(client("graphene.js"))
        .arg(module())
        .arg(USER_PIN)
        .text();
    assert!(said.ends_with("ok\n"), "{said}");
}

/// graphene-pk11 over pkcs11js, from npm, whose native part is compiled here.
fn node_modules() -> PathBuf {
    let folder = kept("graphene-pk11-2.3.6");
    let packages = folder.join("node_modules");
    let native = packages.join("pkcs11js");
    if !native.join("build/Release/pkcs11.node").exists() {
        let wanted = ["graphene-pk11@2.3.6", "pkcs11js@2.1.6"];
        program("npm")
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&folder)
            .args(wanted)
            .ok();
        let mut build = program("npx").args(["--yes", "node-gyp@11.5.0", "rebuild"]).dir(&native);
        // Debian's headers, where they are; else node-gyp fetches those of this version of node.
        if Path::new("/usr/include/node").exists() {
            build = build.arg("--nodedir=/usr");
        }
        build.ok();
    }
    packages
}
