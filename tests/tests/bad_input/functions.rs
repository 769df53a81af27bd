//! Every function of the newest function list, with what its arguments are: the one table that the
//! tests of pointers, lengths and states go through.

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::*;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// A session's handle.
    Session,
    /// A slot's number.
    Slot,
    /// A number, or an object's handle.
    Number,
    /// A pointer to something that must be there: a structure or a handle to be filled in.
    Place,
    /// A pointer to data and its length.
    Data,
    /// As `Data`, of which null is refused even without a length: a PIN.
    Pin,
    /// A pointer to room for output, which may be null, and to its length, which may not.
    Output,
    /// A pointer to room for so many items.
    Array,
    /// A mechanism.
    Mechanism,
    /// A mechanism that begins an operation; null ends it.
    Begins,
    /// A template and its count.
    Template,
    /// A pointer that is reserved and must be null.
    Reserved,
    /// A pointer that is not looked at.
    Ignored,
}

use Argument::{
    Array, Begins, Data, Ignored, Mechanism, Number, Output, Pin, Place, Reserved, Session, Slot,
    Template,
};

/// What must be under way for a function to do anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// One or two operations.
    Operation,
}

use Needs::{Nothing, Operation};

/// One function.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    pub(crate) arguments: &'static [Argument],
    address: *const c_void,
}

/// The bytes behind each pointer of a call: larger than any structure that a function fills in.
pub(crate) const ROOM: usize = 1024;

/// The arguments of one call as words, with the memory that they point to.
pub(crate) struct Call<'a> {
    function: &'a Function,
    /// Each argument's words, in order.
    pub(crate) words: Vec<usize>,
    /// For each argument, where its words begin.
    starts: Vec<usize>,
    _memory: Vec<Vec<u64>>,
}

impl Function {
    /// A call with nothing wrong in its pointers and lengths. Its data, template and mechanism are
    /// there, which is all that can be said of them.
    pub(crate) fn call(&self, session: CK_SESSION_HANDLE, slot: CK_SLOT_ID) -> Call<'_> {
        let mut call =
            Call { function: self, words: Vec::new(), starts: Vec::new(), _memory: Vec::new() };
        for argument in self.arguments {
            call.starts.push(call.words.len());
            match argument {
                Session => call.words.push(session as usize),
                Slot => call.words.push(slot as usize),
                Number | Ignored | Reserved => call.words.push(0),
                Place => {
                    let place = call.room();
                    call.words.push(place);
                }
                Data | Pin | Array => {
                    let data = call.room();
                    call.words.extend([data, 16]);
                }
                Output => {
                    let (room, length) = (call.room(), call.room());
                    // SAFETY: fresh memory of this call.
                    unsafe { ptr::with_exposed_provenance_mut::<CK_ULONG>(length).write(64) };
                    call.words.extend([room, length]);
                }
                Mechanism | Begins => {
                    let mechanism = call.room();
                    let sha256 = CK_MECHANISM {
                        mechanism: CKM_SHA256,
                        pParameter: ptr::null_mut(),
                        ulParameterLen: 0,
                    };
                    // SAFETY: fresh memory of this call.
                    unsafe {
                        ptr::with_exposed_provenance_mut::<CK_MECHANISM>(mechanism).write(sha256)
                    };
                    call.words.push(mechanism);
                }
                Template => {
                    let template = call.room();
                    let label =
                        CK_ATTRIBUTE { type_: CKA_LABEL, pValue: ptr::null_mut(), ulValueLen: 0 };
                    // SAFETY: fresh memory of this call.
                    unsafe {
                        ptr::with_exposed_provenance_mut::<CK_ATTRIBUTE>(template).write(label)
                    };
                    call.words.extend([template, 1]);
                }
            }
        }
        call
    }
}

impl Call<'_> {
    fn room(&mut self) -> usize {
        let mut room = vec![0u64; ROOM / 8];
        let address = room.as_mut_ptr().expose_provenance();
        self._memory.push(room);
        address
    }

    /// The words of argument `index`.
    pub(crate) fn argument(&mut self, index: usize) -> &mut [usize] {
        let end = self.starts.get(index + 1).copied().unwrap_or(self.words.len());
        &mut self.words[self.starts[index]..end]
    }

    /// The length that an output's second word points to.
    pub(crate) fn set_length(&mut self, index: usize, length: CK_ULONG) {
        let place = self.argument(index)[1];
        // SAFETY: memory of this call, which lives as long as it does.
        unsafe { ptr::with_exposed_provenance_mut::<CK_ULONG>(place).write(length) };
    }

    /// Makes the call.
    pub(crate) fn make(&self) -> CK_RV {
        macro_rules! with {
            ($($index:literal)*) => {{
                type Words = unsafe extern "C" fn($(with!(@ $index)),*) -> CK_RV;
                // SAFETY: the function takes so many arguments, each a pointer or a number of a
                // register's size (CK_BBOOL is read from the register's low byte). On the C ABIs of
                // 64-bit Linux those are passed alike.
                let function: Words = unsafe { std::mem::transmute(self.function.address) };
                // SAFETY: pointers lead to this call's memory or nowhere, as the test wants.
                unsafe { function($(self.words[$index]),*) }
            }};
            (@ $index:literal) => { usize };
        }
        match self.words.len() {
            1 => with!(0),
            2 => with!(0 1),
            3 => with!(0 1 2),
            4 => with!(0 1 2 3),
            5 => with!(0 1 2 3 4),
            6 => with!(0 1 2 3 4 5),
            7 => with!(0 1 2 3 4 5 6),
            8 => with!(0 1 2 3 4 5 6 7),
            9 => with!(0 1 2 3 4 5 6 7 8),
            10 => with!(0 1 2 3 4 5 6 7 8 9),
            words => panic!("{words} words"),
        }
    }
}

/// The table, of the functions of `list`: all but those that begin and end everything, and those that
/// hand out lists, which work in every state.
pub(crate) fn functions(list: &CK_FUNCTION_LIST_3_2) -> Vec<Function> {
    macro_rules! table {
        ($($name:ident $needs:ident [$($argument:ident)*];)+) => {
            vec![$(Function {
                name: stringify!($name),
                needs: $needs,
                arguments: &[$($argument),*],
                address: list.$name.expect(stringify!($name)) as *const c_void,
            }),+]
        };
    }
    table! {
        C_GetInfo Nothing [Place];
        C_GetSlotList Nothing [Number Output];
        C_GetSlotInfo Nothing [Slot Place];
        C_GetTokenInfo Nothing [Slot Place];
        C_WaitForSlotEvent Nothing [Number Place Reserved];
        C_GetMechanismList Nothing [Slot Output];
        C_GetMechanismInfo Nothing [Slot Number Place];
        C_InitToken Nothing [Slot Pin Place];
        C_InitPIN Nothing [Session Pin];
        C_SetPIN Nothing [Session Pin Pin];
        C_OpenSession Nothing [Slot Number Ignored Ignored Place];
        C_CloseSession Nothing [Session];
        C_CloseAllSessions Nothing [Slot];
        C_GetSessionInfo Nothing [Session Place];
        C_GetOperationState Nothing [Session Output];
        C_SetOperationState Nothing [Session Data Number Number];
        C_Login Nothing [Session Number Pin];
        C_Logout Nothing [Session];
        C_CreateObject Nothing [Session Template Place];
        C_CopyObject Nothing [Session Number Template Place];
        C_DestroyObject Nothing [Session Number];
        C_GetObjectSize Nothing [Session Number Place];
        C_GetAttributeValue Nothing [Session Number Template];
        C_SetAttributeValue Nothing [Session Number Template];
        C_FindObjectsInit Nothing [Session Template];
        C_FindObjects Operation [Session Array Place];
        C_FindObjectsFinal Operation [Session];
        C_EncryptInit Nothing [Session Begins Number];
        C_Encrypt Operation [Session Data Output];
        C_EncryptUpdate Operation [Session Data Output];
        C_EncryptFinal Operation [Session Output];
        C_DecryptInit Nothing [Session Begins Number];
        C_Decrypt Operation [Session Data Output];
        C_DecryptUpdate Operation [Session Data Output];
        C_DecryptFinal Operation [Session Output];
        C_DigestInit Nothing [Session Begins];
        C_Digest Operation [Session Data Output];
        C_DigestUpdate Operation [Session Data];
        C_DigestKey Operation [Session Number];
        C_DigestFinal Operation [Session Output];
        C_SignInit Nothing [Session Begins Number];
        C_Sign Operation [Session Data Output];
        C_SignUpdate Operation [Session Data];
        C_SignFinal Operation [Session Output];
        C_SignRecoverInit Nothing [Session Begins Number];
        C_SignRecover Operation [Session Data Output];
        C_VerifyInit Nothing [Session Begins Number];
        C_Verify Operation [Session Data Data];
        C_VerifyUpdate Operation [Session Data];
        C_VerifyFinal Operation [Session Data];
        C_VerifyRecoverInit Nothing [Session Begins Number];
        C_VerifyRecover Operation [Session Data Output];
        C_DigestEncryptUpdate Operation [Session Data Output];
        C_DecryptDigestUpdate Operation [Session Data Output];
        C_SignEncryptUpdate Operation [Session Data Output];
        C_DecryptVerifyUpdate Operation [Session Data Output];
        C_GenerateKey Nothing [Session Mechanism Template Place];
        C_GenerateKeyPair Nothing [Session Mechanism Template Template Place Place];
        C_WrapKey Nothing [Session Mechanism Number Number Output];
        C_UnwrapKey Nothing [Session Mechanism Number Data Template Place];
        C_DeriveKey Nothing [Session Mechanism Number Template Place];
        C_SeedRandom Nothing [Session Data];
        C_GenerateRandom Nothing [Session Array];
        C_GetFunctionStatus Nothing [Session];
        C_CancelFunction Nothing [Session];
        C_LoginUser Nothing [Session Number Pin Data];
        C_SessionCancel Nothing [Session Number];
        C_MessageEncryptInit Nothing [Session Begins Number];
        C_EncryptMessage Operation [Session Data Data Data Output];
        C_EncryptMessageBegin Operation [Session Data Data];
        C_EncryptMessageNext Operation [Session Data Data Output Number];
        C_MessageEncryptFinal Operation [Session];
        C_MessageDecryptInit Nothing [Session Begins Number];
        C_DecryptMessage Operation [Session Data Data Data Output];
        C_DecryptMessageBegin Operation [Session Data Data];
        C_DecryptMessageNext Operation [Session Data Data Output Number];
        C_MessageDecryptFinal Operation [Session];
        C_MessageSignInit Nothing [Session Begins Number];
        C_SignMessage Operation [Session Data Data Output];
        C_SignMessageBegin Operation [Session Data];
        C_SignMessageNext Operation [Session Data Data Output];
        C_MessageSignFinal Operation [Session];
        C_MessageVerifyInit Nothing [Session Begins Number];
        C_VerifyMessage Operation [Session Data Data Data];
        C_VerifyMessageBegin Operation [Session Data];
        C_VerifyMessageNext Operation [Session Data Data Data];
        C_MessageVerifyFinal Operation [Session];
        C_EncapsulateKey Nothing [Session Mechanism Number Template Output Place];
        C_DecapsulateKey Nothing [Session Mechanism Number Template Data Place];
        C_VerifySignatureInit Nothing [Session Begins Number Data];
        C_VerifySignature Operation [Session Data];
        C_VerifySignatureUpdate Operation [Session Data];
        C_VerifySignatureFinal Operation [Session];
        C_GetSessionValidationFlags Nothing [Session Number Place];
        C_AsyncComplete Nothing [Session Ignored Place];
        C_AsyncGetID Nothing [Session Ignored Place];
        C_AsyncJoin Nothing [Session Ignored Number Data];
        C_WrapKeyAuthenticated Nothing [Session Mechanism Number Number Data Output];
        C_UnwrapKeyAuthenticated Nothing [Session Mechanism Number Data Template Data Place];
    }
}
