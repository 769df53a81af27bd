//! Mechanisms: unknown, for another function, for another key, with a wrong parameter.

use super::*;
use strongroom_tests::plain;

/// What begins with a mechanism and a key, and the flag of the mechanisms that may.
const BEGINNINGS: &[(&str, CK_FLAGS)] = &[
    ("C_EncryptInit", CKF_ENCRYPT),
    ("C_DecryptInit", CKF_DECRYPT),
    ("C_SignInit", CKF_SIGN),
    ("C_VerifyInit", CKF_VERIFY),
    ("C_DigestInit", CKF_DIGEST),
];

fn begin(
    functions: &[Function],
    subject: &Subject,
    session: CK_SESSION_HANDLE,
    name: &str,
    mechanism: &CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let function = functions.iter().find(|function| function.name == name).expect("it");
    let mut call = function.call(session, subject.module.slot());
    call.argument(1)[0] = ptr::from_ref(mechanism).expose_provenance();
    if call.words.len() > 2 {
        call.argument(2)[0] = key as usize;
    }
    let code = call.make();
    if code == CKR_OK {
        let cancel = functions.iter().find(|function| function.name == "C_SessionCancel");
        let mut cancel = cancel.expect("it").call(session, subject.module.slot());
        cancel.argument(1)[0] = usize::MAX;
        assert_eq!(cancel.make(), CKR_OK);
    }
    code
}

#[test]
fn a_mechanism_that_is_not_there_or_not_for_this_is_named_and_a_handle_of_nothing_too() {
    let subject = subject();
    let session = subject.logged_in();
    let functions = subject.functions();
    let key = subject.module.aes_key(session, false).expect("a key");
    let mechanisms = subject.module.mechanisms().expect("the mechanisms");
    assert!(mechanisms.len() > 60, "{}", mechanisms.len());
    let mut findings = Findings::default();
    for (name, flag) in BEGINNINGS {
        for kind in [0x7777, CKM_DES_ECB, CKM_VENDOR_DEFINED | 0x7777, CK_ULONG::MAX] {
            let code = begin(&functions, &subject, session, name, &plain(kind), key);
            findings.expect(format!("{name} of {kind:#x}"), code, &[CKR_MECHANISM_INVALID]);
        }
        for (kind, flags) in &mechanisms {
            if flags & flag != 0 {
                continue;
            }
            let code = begin(&functions, &subject, session, name, &plain(*kind), key);
            let right = [CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID];
            findings.expect(format!("{name} of {kind:#x}"), code, &right);
        }
    }
    for (name, _) in &BEGINNINGS[..4] {
        let mechanism =
            if name.contains("crypt") { plain(CKM_AES_ECB) } else { plain(CKM_AES_CMAC) };
        for key in [0, 0x7777_7777, CK_ULONG::MAX] {
            let code = begin(&functions, &subject, session, name, &mechanism, key);
            findings.expect(format!("{name} with {key}"), code, &[CKR_KEY_HANDLE_INVALID]);
        }
    }
    findings.check();
}

#[test]
fn a_parameter_of_nonsense_is_refused_by_every_mechanism() {
    let subject = subject();
    let session = subject.logged_in();
    let functions = subject.functions();
    let key = subject.module.aes_key(session, false).expect("a key");
    let (public, private) = subject.module.p256_pair(session, None).expect("a pair");
    let zeroes = [0u8; 512];
    let mut findings = Findings::default();
    for (kind, flags) in subject.module.mechanisms().expect("the mechanisms") {
        for (name, flag) in BEGINNINGS.iter().filter(|(_, flag)| flags & flag != 0) {
            // No parameter is one, three or 511 bytes long, and none lies where nothing is.
            let shapes = [
                (zeroes.as_ptr(), 1),
                (zeroes.as_ptr(), 3),
                (zeroes.as_ptr(), 511),
                (zeroes.as_ptr(), CK_ULONG::MAX),
                (ptr::null(), 16),
            ];
            for (pointer, length) in shapes {
                let mechanism = CK_MECHANISM {
                    mechanism: kind,
                    pParameter: pointer.cast_mut().cast(),
                    ulParameterLen: length,
                };
                for key in [key, public, private] {
                    let code = begin(&functions, &subject, session, name, &mechanism, key);
                    let right = [CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD];
                    let what = format!("{name} of {kind:#x}, {length} bytes, {flag:#x}");
                    findings.expect(what, code, &right);
                }
            }
        }
    }
    findings.check();
}

#[test]
fn a_key_of_another_kind_is_refused_by_every_mechanism() {
    let subject = subject();
    let session = subject.logged_in();
    let functions = subject.functions();
    let module = &subject.module;
    let data = module
        .create(session, &[strongroom_tests::attribute(CKA_CLASS, &CKO_DATA)])
        .expect("a data object");
    let (public, private) = module.p256_pair(session, None).expect("a pair");
    let mut findings = Findings::default();
    let rows = [
        ("C_EncryptInit", CKM_AES_ECB, public, CKR_KEY_TYPE_INCONSISTENT),
        ("C_EncryptInit", CKM_AES_ECB, data, CKR_KEY_HANDLE_INVALID),
        ("C_SignInit", CKM_ECDSA, public, CKR_KEY_TYPE_INCONSISTENT),
        ("C_VerifyInit", CKM_ECDSA, private, CKR_KEY_TYPE_INCONSISTENT),
        ("C_SignInit", CKM_RSA_PKCS, private, CKR_KEY_TYPE_INCONSISTENT),
        ("C_SignInit", CKM_SHA256_HMAC, private, CKR_KEY_TYPE_INCONSISTENT),
        ("C_SignInit", CKM_ECDSA, data, CKR_KEY_HANDLE_INVALID),
    ];
    for (name, kind, key, right) in rows {
        let code = begin(&functions, &subject, session, name, &plain(kind), key);
        findings.expect(format!("{name} of {kind:#x} with {key}"), code, &[right]);
    }
    findings.check();
}
