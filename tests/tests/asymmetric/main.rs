//! Asymmetric mechanisms through the C ABI: on a token with personality `token`, against known
//! answers or another implementation, and with parameters that must be refused.

use std::sync::OnceLock;

use cryptoki_sys::*;
use strongroom_tests::{
    LocalToken, Module, USER_PIN, attribute, bytes, code, plain, release, with_parameter,
};

mod agreement;
mod edwards;
mod post_quantum;
mod rsa;

/// A logged-in session of the one token that these tests share.
fn session() -> (&'static Module, CK_SESSION_HANDLE) {
    static TOKEN: OnceLock<(LocalToken, Module, CK_SESSION_HANDLE)> = OnceLock::new();
    let (_, module, _) = TOKEN.get_or_init(|| {
        let token = LocalToken::initialised("asymmetric");
        // SAFETY: nothing else reads or writes the environment yet: every test waits for this one.
        unsafe {
            std::env::set_var("STRONGROOM_DIR", token.dir());
            std::env::set_var("STRONGROOM_PERSONALITY", "token");
            std::env::remove_var("STRONGROOM_CONFIG");
        }
        let module = Module::open(&release().join("libstrongroom_pkcs11.so")).expect("a module");
        let session = module.session().expect("a session");
        module.login(session, USER_PIN).expect("a login");
        (token, module, session)
    });
    (module, module.session().expect("a session"))
}

/// A template for a secret key that may be read, without its length.
fn open_secret() -> Vec<CK_ATTRIBUTE> {
    vec![
        attribute(CKA_CLASS, &CKO_SECRET_KEY),
        attribute(CKA_KEY_TYPE, &CKK_GENERIC_SECRET),
        attribute(CKA_SENSITIVE, &CK_FALSE),
        attribute(CKA_EXTRACTABLE, &CK_TRUE),
    ]
}

/// The bytes that `text` says in hex.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}
