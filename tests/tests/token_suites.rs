//! Suites that others wrote, on a local token in place of SoftHSM2. `cargo xtask test --full` runs them:
//! they come from PyPI, the Go module proxy and npm.
//!
//! What a suite can't pass stands in `tests/suites`, with the reason; anything else that fails or is left
//! out fails here.

use std::path::PathBuf;

use strongroom_tests::{GoSuite, LocalToken, PythonSuite, SO_PIN, USER_PIN, full, release};

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
