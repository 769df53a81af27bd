//! Operations under way: begun twice, gone on with by another's functions, ended by an error, kept over
//! a buffer that is too small.

use super::*;

/// One kind of operation: how it begins, and what goes on with it.
struct Operation {
    begin: &'static str,
    /// The calls that go on with it.
    calls: &'static [&'static str],
    mechanism: CK_MECHANISM_TYPE,
}

const OPERATIONS: &[Operation] = &[
    Operation {
        begin: "C_EncryptInit",
        calls: &["C_Encrypt", "C_EncryptUpdate", "C_EncryptFinal"],
        mechanism: CKM_AES_ECB,
    },
    Operation {
        begin: "C_DecryptInit",
        calls: &["C_Decrypt", "C_DecryptUpdate", "C_DecryptFinal"],
        mechanism: CKM_AES_ECB,
    },
    Operation {
        begin: "C_DigestInit",
        calls: &["C_Digest", "C_DigestUpdate", "C_DigestFinal"],
        mechanism: CKM_SHA256,
    },
    Operation {
        begin: "C_SignInit",
        calls: &["C_Sign", "C_SignUpdate", "C_SignFinal"],
        mechanism: CKM_AES_CMAC,
    },
    Operation {
        begin: "C_VerifyInit",
        calls: &["C_Verify", "C_VerifyUpdate", "C_VerifyFinal"],
        mechanism: CKM_AES_CMAC,
    },
    Operation { begin: "C_FindObjectsInit", calls: &["C_FindObjects"], mechanism: 0 },
];

/// The calls of one session, by name.
struct Caller<'a> {
    functions: Vec<Function>,
    subject: &'a Subject,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
}

impl<'a> Caller<'a> {
    fn new(subject: &'a Subject) -> Self {
        let session = subject.logged_in();
        let key = subject.module.aes_key(session, false).expect("a key");
        Self { functions: subject.functions(), subject, session, key }
    }

    fn function(&self, name: &str) -> &Function {
        let found = self.functions.iter().find(|function| function.name == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    fn call(&self, name: &str) -> functions::Call<'_> {
        self.function(name).call(self.session, self.subject.module.slot())
    }

    fn begin(&self, operation: &Operation) -> CK_RV {
        let mut mechanism = strongroom_tests::plain(operation.mechanism);
        let mut call = self.call(operation.begin);
        if operation.mechanism != 0 {
            call.argument(1)[0] = (&raw mut mechanism).expose_provenance();
        }
        if call.words.len() == 3 && operation.mechanism != 0 {
            call.argument(2)[0] = self.key as usize;
        }
        call.make()
    }

    /// Ends all that is under way.
    fn cancel(&self) {
        let mut call = self.call("C_SessionCancel");
        call.argument(1)[0] = usize::MAX;
        assert_eq!(call.make(), CKR_OK);
    }
}

#[test]
fn an_operation_does_not_begin_over_another_of_its_kind_and_is_no_other() {
    let subject = subject();
    let caller = Caller::new(&subject);
    let mut findings = Findings::default();
    for operation in OPERATIONS {
        let begin = operation.begin;
        findings.expect(begin, caller.begin(operation), &[CKR_OK]);
        findings.expect(format!("{begin} twice"), caller.begin(operation), &[CKR_OPERATION_ACTIVE]);
        for other in OPERATIONS.iter().filter(|other| other.begin != begin) {
            for name in other.calls {
                let code = caller.call(name).make();
                let what = format!("{name} after {begin}");
                findings.expect(what, code, &[CKR_OPERATION_NOT_INITIALIZED]);
            }
        }
        caller.cancel();
        let code = caller.call(operation.calls[0]).make();
        let what = format!("{} after C_SessionCancel", operation.calls[0]);
        findings.expect(what, code, &[CKR_OPERATION_NOT_INITIALIZED]);
    }
    findings.check();
}

#[test]
fn a_call_with_bad_pointers_ends_the_operation_that_it_is_of() {
    let subject = subject();
    let caller = Caller::new(&subject);
    let mut findings = Findings::default();
    // Of a search, the standard does not say it.
    for operation in OPERATIONS.iter().filter(|operation| operation.mechanism != 0) {
        for name in operation.calls {
            let arguments = caller.function(name).arguments;
            for (index, argument) in arguments.iter().enumerate() {
                let word = match argument {
                    Argument::Data => 0,
                    Argument::Output => 1,
                    _ => continue,
                };
                findings.expect(operation.begin, caller.begin(operation), &[CKR_OK]);
                let mut call = caller.call(name);
                call.argument(index)[word] = 0;
                findings.expect(format!("{name} {index}"), call.make(), &[CKR_ARGUMENTS_BAD]);
                let after = caller.call(name).make();
                let what = format!("{name} after null in {index}");
                findings.expect(what, after, &[CKR_OPERATION_NOT_INITIALIZED]);
                caller.cancel();
            }
        }
    }
    findings.check();
}

#[test]
fn a_length_is_told_and_a_small_buffer_keeps_the_operation() {
    let subject = subject();
    let caller = Caller::new(&subject);
    let mut findings = Findings::default();
    for operation in OPERATIONS {
        for name in operation.calls {
            let function = caller.function(name);
            let outputs = function.arguments.iter().position(|what| *what == Argument::Output);
            let Some(index) = outputs else { continue };
            findings.expect(operation.begin, caller.begin(operation), &[CKR_OK]);
            if name.ends_with("Final") && operation.mechanism == CKM_AES_ECB {
                // Whole blocks are given by Update: nothing is left to give.
                caller.cancel();
                continue;
            }
            let mut query = caller.call(name);
            query.argument(index)[0] = 0;
            findings.expect(format!("{name} asked"), query.make(), &[CKR_OK]);
            let length = told(&mut query, index);
            assert!((1..=64).contains(&length), "{name} tells {length}");
            for room in [0, length - 1] {
                let mut small = caller.call(name);
                small.set_length(index, room);
                let code = small.make();
                findings.expect(format!("{name} with {room}"), code, &[CKR_BUFFER_TOO_SMALL]);
                assert_eq!(told(&mut small, index), length, "{name} tells it again");
            }
            let mut right = caller.call(name);
            right.set_length(index, length);
            findings.expect(format!("{name} with {length}"), right.make(), &[CKR_OK]);
            caller.cancel();
        }
    }
    findings.check();
}

fn told(call: &mut functions::Call<'_>, index: usize) -> CK_ULONG {
    let place = call.argument(index)[1];
    // SAFETY: the call's own memory.
    unsafe { ptr::with_exposed_provenance::<CK_ULONG>(place).read() }
}

#[test]
fn a_whole_call_does_not_end_what_came_in_pieces() {
    let subject = subject();
    let caller = Caller::new(&subject);
    let mut findings = Findings::default();
    for operation in OPERATIONS.iter().filter(|operation| operation.calls.len() == 3) {
        let [whole, update, _] = operation.calls else { continue };
        findings.expect(operation.begin, caller.begin(operation), &[CKR_OK]);
        findings.expect(update, caller.call(update).make(), &[CKR_OK]);
        let mut call = caller.call(whole);
        if *whole == "C_Verify" {
            call.argument(2)[1] = 16;
        }
        findings.expect(whole, call.make(), &[CKR_OPERATION_ACTIVE]);
        caller.cancel();
    }
    findings.check();
}

#[test]
fn data_of_a_wrong_length_is_named_as_what_it_is() {
    let subject = subject();
    let caller = Caller::new(&subject);
    let mut findings = Findings::default();
    let rows: &[(usize, &str, usize, CK_RV)] = &[
        (0, "C_Encrypt", 15, CKR_DATA_LEN_RANGE),
        (1, "C_Decrypt", 17, CKR_ENCRYPTED_DATA_LEN_RANGE),
        (4, "C_Verify", 15, CKR_SIGNATURE_LEN_RANGE),
        (4, "C_Verify", 16, CKR_SIGNATURE_INVALID),
        (4, "C_VerifyFinal", 0, CKR_SIGNATURE_LEN_RANGE),
        (4, "C_VerifyFinal", 17, CKR_SIGNATURE_LEN_RANGE),
    ];
    for (operation, name, length, right) in rows {
        let operation = &OPERATIONS[*operation];
        findings.expect(operation.begin, caller.begin(operation), &[CKR_OK]);
        let mut call = caller.call(name);
        let last = call.words.len() - 1;
        if name.starts_with("C_Verify") {
            call.words[last] = *length;
        } else {
            call.argument(1)[1] = *length;
        }
        findings.expect(format!("{name} of {length}"), call.make(), &[*right]);
        let after = caller.call(name).make();
        findings.expect(format!("{name} afterwards"), after, &[CKR_OPERATION_NOT_INITIALIZED]);
    }
    findings.check();
}
