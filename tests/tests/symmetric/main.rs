//! Symmetric mechanisms through the C ABI: on a token of personality `token`, whole and in parts, against
//! known answers, and with parameters that must be refused.

use std::sync::OnceLock;

use cryptoki_sys::*;
use strongroom_tests::{
    LocalToken, Module, USER_PIN, attribute, bytes, code, plain, release, with_parameter,
};

mod ciphers;
mod derivation;
mod macs;
mod messages;
mod wrapping;

/// A logged-in session of the one token that these tests share.
fn session() -> (&'static Module, CK_SESSION_HANDLE) {
    static TOKEN: OnceLock<(LocalToken, Module, CK_SESSION_HANDLE)> = OnceLock::new();
    let (_, module, _) = TOKEN.get_or_init(|| {
        let token = LocalToken::initialised("symmetric");
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

/// A key of its value that may do everything.
fn secret(key_type: CK_KEY_TYPE, value: &[u8]) -> CK_OBJECT_HANDLE {
    let (module, session) = session();
    let template = [
        attribute(CKA_CLASS, &CKO_SECRET_KEY),
        attribute(CKA_KEY_TYPE, &key_type),
        attribute(CKA_EXTRACTABLE, &CK_TRUE),
        attribute(CKA_DERIVE, &CK_TRUE),
        bytes(CKA_VALUE, value),
    ];
    module.create(session, &template).expect("a key")
}

/// The key whose bytes count up from 0.
fn counting(key_type: CK_KEY_TYPE, length: u8) -> CK_OBJECT_HANDLE {
    secret(key_type, &(0..length).collect::<Vec<u8>>())
}

/// A mechanism whose parameter is bytes, which must outlive the call.
fn with_iv(kind: CK_MECHANISM_TYPE, iv: &[u8]) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: kind,
        pParameter: iv.as_ptr().cast_mut().cast(),
        ulParameterLen: iv.len() as CK_ULONG,
    }
}

/// The bytes that `text` says in hex.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}
