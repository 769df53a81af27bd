//! Calls in the wrong state: before C_Initialize, without a session, without a login, without an
//! operation.

use super::*;

/// "A legacy function which should simply return" this, whatever is given to it.
const LEGACY: &[&str] = &["C_GetFunctionStatus", "C_CancelFunction"];

#[test]
fn before_c_initialize_and_after_c_finalize_every_function_says_so() {
    let subject = subject();
    let session = subject.logged_in();
    subject.module.finalize().expect("C_Finalize");
    let mut findings = Findings::default();
    for function in subject.functions() {
        let code = function.call(session, subject.module.slot()).make();
        findings.expect(function.name, code, &[CKR_CRYPTOKI_NOT_INITIALIZED]);
    }
    findings.expect("C_Finalize", ended(&subject), &[CKR_CRYPTOKI_NOT_INITIALIZED]);
    findings.check();
}

fn ended(subject: &Subject) -> CK_RV {
    strongroom_tests::code(&subject.module.finalize())
}

#[test]
fn c_initialize_twice_and_with_nonsense_is_refused() {
    let subject = subject();
    let list = subject.module.functions_3_2().expect("the list of 3.2");
    let (initialize, finalize) = (list.C_Initialize.expect("it"), list.C_Finalize.expect("it"));
    let mut byte = 0u8;
    let mut reserved = CK_C_INITIALIZE_ARGS {
        pReserved: (&raw mut byte).cast(),
        ..CK_C_INITIALIZE_ARGS::default()
    };
    // SAFETY: live places or null.
    unsafe {
        assert_eq!(initialize(ptr::null_mut()), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        assert_eq!(finalize((&raw mut byte).cast()), CKR_ARGUMENTS_BAD);
        assert_eq!(finalize(ptr::null_mut()), CKR_OK);
        assert_eq!(initialize((&raw mut reserved).cast()), CKR_ARGUMENTS_BAD);
        assert_eq!(initialize(ptr::null_mut()), CKR_OK);
    }
}

#[test]
fn a_session_that_is_not_open_is_named_before_anything_else() {
    let subject = subject();
    let open = subject.logged_in();
    let missing = subject.missing(open);
    let closed = subject.module.session().expect("a session");
    subject.module.close(closed).expect("C_CloseSession");
    let mut findings = Findings::default();
    for function in subject.functions() {
        if function.arguments.first() != Some(&Argument::Session)
            || missing.contains(&function.name)
        {
            continue;
        }
        let right = if LEGACY.contains(&function.name) {
            CKR_FUNCTION_NOT_PARALLEL
        } else {
            CKR_SESSION_HANDLE_INVALID
        };
        for session in [0, closed, CK_ULONG::MAX] {
            let code = function.call(session, subject.module.slot()).make();
            findings.expect(function.name, code, &[right]);
            // Not even null pointers matter then, where the function reads any.
            let mut call = function.call(session, subject.module.slot());
            call.words[1..].fill(0);
            findings.expect(function.name, call.make(), &[right]);
        }
    }
    findings.check();
}

#[test]
fn a_slot_that_is_not_there_is_named() {
    let subject = subject();
    let mut findings = Findings::default();
    for function in subject.functions() {
        if function.arguments.first() == Some(&Argument::Slot) {
            for slot in [subject.module.slot() + 1, CK_ULONG::MAX] {
                let mut call = function.call(0, slot);
                if function.name == "C_OpenSession" {
                    call.argument(1)[0] = (CKF_SERIAL_SESSION | CKF_RW_SESSION) as usize;
                }
                findings.expect(function.name, call.make(), &[CKR_SLOT_ID_INVALID]);
            }
        }
    }
    findings.check();
}

#[test]
fn what_goes_on_with_an_operation_wants_one() {
    let subject = subject();
    let session = subject.logged_in();
    let missing = subject.missing(session);
    let mut findings = Findings::default();
    for function in subject.functions() {
        if function.needs == Needs::Operation && !missing.contains(&function.name) {
            let code = function.call(session, subject.module.slot()).make();
            findings.expect(function.name, code, &[CKR_OPERATION_NOT_INITIALIZED]);
        }
    }
    findings.check();
}

#[test]
fn who_is_not_logged_in_makes_and_finds_nothing_private() {
    let subject = subject();
    let module = &subject.module;
    let session = subject.logged_in();
    let (public, private) = module.p256_pair(session, Some("bad-input")).expect("a pair");
    let key = module.aes_key(session, true).expect("a key");
    let mut findings = Findings::default();
    let mut expect = |what: &str, called: CK_RV, right| findings.expect(what, called, &[right]);
    let code = |called: strongroom_tests::Called| strongroom_tests::code(&called);
    expect("C_Login", code(module.login(session, USER_PIN)), CKR_USER_ALREADY_LOGGED_IN);
    module.logout(session).expect("C_Logout");
    expect("C_Logout", code(module.logout(session)), CKR_USER_NOT_LOGGED_IN);
    expect("C_Login", code(module.login(session, "wrong")), CKR_PIN_INCORRECT);
    let mut signature = [0; 64];
    let signed = module.sign(session, CKM_ECDSA, private, &[1; 32], &mut signature);
    expect("C_SignInit", code(signed.map(drop)), CKR_KEY_HANDLE_INVALID);
    let read = module.value(session, key, CKA_LABEL);
    expect("C_GetAttributeValue", code(read.map(drop)), CKR_OBJECT_HANDLE_INVALID);
    expect("C_DestroyObject", code(module.destroy(session, key)), CKR_OBJECT_HANDLE_INVALID);
    let made = module.aes_key(session, false);
    expect("C_GenerateKey", code(made.map(drop)), CKR_USER_NOT_LOGGED_IN);
    let made = module.p256_pair(session, None);
    expect("C_GenerateKeyPair", code(made.map(drop)), CKR_USER_NOT_LOGGED_IN);
    let read = module.value(session, public, CKA_LABEL);
    expect("a public object", code(read.map(drop)), CKR_OK);
    for function in subject.functions().iter().filter(|function| function.name == "C_InitPIN") {
        expect("C_InitPIN", function.call(session, module.slot()).make(), CKR_USER_NOT_LOGGED_IN);
    }
    module.login(session, USER_PIN).expect("C_Login");
    for object in [public, private, key] {
        module.destroy(session, object).expect("C_DestroyObject");
    }
    findings.check();
}
