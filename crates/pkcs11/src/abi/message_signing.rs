//! Message-based signing and verification (PKCS#11 3.0, sections 5.14 and 5.16).

use std::os::raw::c_void;

use cryptoki_sys::*;

use super::mechanism::{Mechanism, pointed};
use super::raw::{Input, Output};
use super::with_session;
use crate::message_sign;

/// The functions of a process, for signing and for verification.
macro_rules! process {
    ($($init:ident, $begin:ident, $finish:ident: $on_init:ident, $on_begin:ident, $on_finish:ident;)+) => {$(
        /// PKCS#11 3.0, sections 5.14 and 5.16.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $init(
            session: CK_SESSION_HANDLE,
            mechanism: CK_MECHANISM_PTR,
            key: CK_OBJECT_HANDLE,
        ) -> CK_RV {
            with_session(stringify!($init), session, |module, session| {
                // SAFETY: PKCS#11's contract.
                let mechanism = unsafe { Mechanism::new(mechanism)? };
                message_sign::$on_init(module, session, mechanism, key)
            })
        }

        /// PKCS#11 3.0, sections 5.14 and 5.16.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $begin(
            session: CK_SESSION_HANDLE,
            parameter: *mut c_void,
            parameter_length: CK_ULONG,
        ) -> CK_RV {
            with_session(stringify!($begin), session, |_, session| {
                // SAFETY: PKCS#11's contract.
                let parameter = unsafe { pointed(parameter.cast_const().cast(), parameter_length)? };
                message_sign::$on_begin(session, parameter)
            })
        }

        /// PKCS#11 3.0, sections 5.14 and 5.16.
        ///
        /// # Safety
        /// None is needed; the type is the standard's.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $finish(session: CK_SESSION_HANDLE) -> CK_RV {
            with_session(stringify!($finish), session, |_, session| message_sign::$on_finish(session))
        }
    )+};
}

process! {
    C_MessageSignInit, C_SignMessageBegin, C_MessageSignFinal: init_sign, begin_sign, finish_sign;
    C_MessageVerifyInit, C_VerifyMessageBegin, C_MessageVerifyFinal:
        init_verify, begin_verify, finish_verify;
}

/// PKCS#11 3.0, section 5.14.2.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_SignMessage(
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG_PTR,
) -> CK_RV {
    with_session("C_SignMessage", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let parameter = unsafe { pointed(parameter.cast_const().cast(), parameter_length)? };
        // SAFETY: PKCS#11's contract.
        let data = unsafe { Input::new(data, data_length)? };
        // SAFETY: PKCS#11's contract.
        let mut output = unsafe { Output::new(signature, signature_length)? };
        message_sign::sign(module, session, parameter, data, &mut output)
    })
}

/// PKCS#11 3.0, section 5.14.4: "If pulSignatureLen is NULL", this is not the last part.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_SignMessageNext(
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG_PTR,
) -> CK_RV {
    with_session("C_SignMessageNext", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let parameter = unsafe { pointed(parameter.cast_const().cast(), parameter_length)? };
        // SAFETY: PKCS#11's contract.
        let data = unsafe { Input::new(data, data_length)? };
        if signature_length.is_null() {
            return message_sign::next_sign(module, session, parameter, data, None);
        }
        // SAFETY: PKCS#11's contract.
        let mut output = unsafe { Output::new(signature, signature_length)? };
        message_sign::next_sign(module, session, parameter, data, Some(&mut output))
    })
}

/// PKCS#11 3.0, section 5.16.2.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_VerifyMessage(
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG,
) -> CK_RV {
    with_session("C_VerifyMessage", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let parameter = unsafe { pointed(parameter.cast_const().cast(), parameter_length)? };
        // SAFETY: PKCS#11's contract.
        let data = unsafe { Input::new(data, data_length)? };
        // SAFETY: PKCS#11's contract.
        let signature = unsafe { Input::new(signature, signature_length)? };
        message_sign::verify(module, session, parameter, data, signature)
    })
}

/// PKCS#11 3.0, section 5.16.4: without a signature, this is not the last part.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_VerifyMessageNext(
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG,
) -> CK_RV {
    with_session("C_VerifyMessageNext", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let parameter = unsafe { pointed(parameter.cast_const().cast(), parameter_length)? };
        // SAFETY: PKCS#11's contract.
        let data = unsafe { Input::new(data, data_length)? };
        // SAFETY: PKCS#11's contract.
        let given = unsafe { Input::new(signature, signature_length)? };
        let last = (!signature.is_null()).then_some(given);
        message_sign::next_verify(module, session, parameter, data, last)
    })
}
