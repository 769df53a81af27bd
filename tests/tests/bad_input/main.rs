//! Bad input over the whole API: every function with every pointer null, with lengths that no memory
//! has, and in every wrong state; every attribute twice, of a wrong size, unknown; every mechanism with
//! a wrong parameter, function or key. Each row says the code that the standard names.

use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cryptoki_sys::*;
use strongroom_tests::{LocalToken, Module, USER_PIN, release};

mod functions;
mod mechanisms;
mod operations;
mod states;
mod templates;

use functions::{Argument, Function, Needs, functions};

/// The one token of these tests, with one session, logged in as the user. The module has one state for
/// the process, so one test uses it at a time.
struct Subject {
    module: Module,
    _token: LocalToken,
}

static SUBJECT: OnceLock<Mutex<Subject>> = OnceLock::new();

fn subject() -> MutexGuard<'static, Subject> {
    let subject = SUBJECT.get_or_init(|| {
        let token = LocalToken::initialised("bad-input");
        // SAFETY: nothing else reads or writes the environment yet: every test waits for this one.
        unsafe {
            std::env::set_var("STRONGROOM_DIR", token.dir());
            std::env::set_var("STRONGROOM_PERSONALITY", "token");
            std::env::remove_var("STRONGROOM_CONFIG");
        }
        let module = Module::open(&release().join("libstrongroom_pkcs11.so")).expect("a module");
        Mutex::new(Subject { module, _token: token })
    });
    let subject = subject.lock().unwrap_or_else(PoisonError::into_inner);
    // Whatever the test before has left.
    let _ = subject.module.finalize();
    subject.module.initialize().expect("C_Initialize");
    subject
}

impl Subject {
    fn functions(&self) -> Vec<Function> {
        functions(self.module.functions_3_2().expect("the list of 3.2"))
    }

    /// A session, logged in.
    fn logged_in(&self) -> CK_SESSION_HANDLE {
        let session = self.module.session().expect("a session");
        self.module.login(session, USER_PIN).expect("a login");
        session
    }

    /// Those that the module does not have, whatever is given to them: their names.
    fn missing(&self, session: CK_SESSION_HANDLE) -> Vec<&'static str> {
        let functions = self.functions();
        let candidates =
            functions.iter().filter(|function| MAY_BE_MISSING.contains(&function.name));
        candidates
            .filter(|function| {
                function.call(session, self.module.slot()).make() == CKR_FUNCTION_NOT_SUPPORTED
            })
            .map(|function| function.name)
            .collect()
    }
}

/// What may answer CKR_FUNCTION_NOT_SUPPORTED: docs/manual/functions.md says why.
const MAY_BE_MISSING: &[&str] = &[
    "C_GetOperationState",
    "C_SetOperationState",
    "C_SignRecoverInit",
    "C_SignRecover",
    "C_VerifyRecoverInit",
    "C_VerifyRecover",
    "C_AsyncComplete",
    "C_AsyncGetID",
    "C_AsyncJoin",
    "C_WrapKeyAuthenticated",
    "C_UnwrapKeyAuthenticated",
];

/// The codes of what is wrong, gathered so that one run shows all of it.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, what: impl std::fmt::Display, code: CK_RV, right: &[CK_RV]) {
        if !right.contains(&code) {
            self.0.push(format!("{what}: {code:#x} instead of {right:#x?}"));
        }
    }

    fn check(self) {
        assert!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}

#[test]
fn every_pointer_that_must_not_be_null_is_refused_where_it_is() {
    let subject = subject();
    let session = subject.logged_in();
    let missing = subject.missing(session);
    let mut findings = Findings::default();
    for function in subject.functions() {
        if missing.contains(&function.name) {
            continue;
        }
        for (index, argument) in function.arguments.iter().enumerate() {
            let mut call = function.call(session, subject.module.slot());
            let words = call.argument(index);
            match argument {
                Argument::Reserved => words[0] = 1,
                Argument::Output => words[1] = 0,
                Argument::Session | Argument::Slot | Argument::Number | Argument::Ignored => {
                    continue;
                }
                _ => words[0] = 0,
            }
            let right = right_for(&function, CKR_ARGUMENTS_BAD);
            findings.expect(format!("{} argument {index}", function.name), call.make(), &right);
        }
    }
    findings.check();
}

#[test]
fn a_length_that_no_memory_has_is_refused_unread() {
    let subject = subject();
    let session = subject.logged_in();
    let missing = subject.missing(session);
    let mut findings = Findings::default();
    for function in subject.functions() {
        if missing.contains(&function.name) {
            continue;
        }
        for (index, argument) in function.arguments.iter().enumerate() {
            for length in [usize::MAX, usize::MAX - 4096, usize::MAX / 2 + 2] {
                let mut call = function.call(session, subject.module.slot());
                match argument {
                    Argument::Data | Argument::Pin | Argument::Array | Argument::Template => {
                        call.argument(index)[1] = length;
                    }
                    Argument::Output => call.set_length(index, length as CK_ULONG),
                    _ => continue,
                }
                let right = right_for(&function, CKR_ARGUMENTS_BAD);
                let what = format!("{} argument {index} of {length:#x}", function.name);
                findings.expect(what, call.make(), &right);
            }
        }
    }
    findings.check();
}

/// The code itself, and where an operation is missing too, that. A message's parameter may be told as
/// a mechanism's.
fn right_for(function: &Function, code: CK_RV) -> Vec<CK_RV> {
    let mut right = vec![code];
    if function.needs == Needs::Operation {
        right.push(CKR_OPERATION_NOT_INITIALIZED);
    }
    if function.name.contains("Message") {
        right.push(CKR_MECHANISM_PARAM_INVALID);
    }
    right
}

#[test]
fn what_hands_out_the_lists_takes_null_for_no_wish_and_refuses_it_elsewhere() {
    let subject = subject();
    let list = subject.module.functions_3_2().expect("the list of 3.2");
    let interfaces = list.C_GetInterfaceList.expect("C_GetInterfaceList");
    let interface = list.C_GetInterface.expect("C_GetInterface");
    let functions = list.C_GetFunctionList.expect("C_GetFunctionList");
    let mut count: CK_ULONG = 0;
    let mut room = [CK_INTERFACE {
        pInterfaceName: ptr::null_mut(),
        pFunctionList: ptr::null_mut(),
        flags: 0,
    }; 8];
    let mut found = ptr::null_mut();
    let mut other = *b"PKCS 12\0";
    // SAFETY: each pointer is null, or leads to a live place.
    unsafe {
        assert_eq!(functions(ptr::null_mut()), CKR_ARGUMENTS_BAD);
        assert_eq!(interfaces(ptr::null_mut(), ptr::null_mut()), CKR_ARGUMENTS_BAD);
        assert_eq!(interfaces(ptr::null_mut(), &mut count), CKR_OK);
        assert!(count >= 3, "{count} interfaces");
        count -= 1;
        assert_eq!(interfaces(room.as_mut_ptr(), &mut count), CKR_BUFFER_TOO_SMALL);
        assert_eq!(interfaces(room.as_mut_ptr(), &mut count), CKR_OK);
        assert_eq!(
            interface(ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0),
            CKR_ARGUMENTS_BAD
        );
        assert_eq!(interface(ptr::null_mut(), ptr::null_mut(), &mut found, 0), CKR_OK);
        assert_eq!(
            interface(other.as_mut_ptr(), ptr::null_mut(), &mut found, 0),
            CKR_FUNCTION_FAILED
        );
    }
}
