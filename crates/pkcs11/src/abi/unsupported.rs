//! Functions that are there, as the standard's tables want them, and do nothing: each answers
//! CKR_FUNCTION_NOT_SUPPORTED (PKCS#11 2.40, section 5.1: "a Cryptoki library need not support
//! every function").

use cryptoki_sys::*;

use super::with_module;
use crate::error::Ckr;

macro_rules! unsupported {
    ($($name:ident($($argument:ty),+ $(,)?);)+) => {$(
        /// Answers CKR_FUNCTION_NOT_SUPPORTED.
        ///
        /// # Safety
        /// None is needed; the type is the standard's.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name($(_: $argument),+) -> CK_RV {
            with_module(stringify!($name), |_| Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED)))
        }
    )+};
}

// PKCS#11 2.40, those that CloudHSM's module does not have either. An operation's state is for another
// session or machine to go on with: ours is half in a hash function that gives its state to nobody, and a
// saved state would carry plaintext.
unsupported! {
    C_GetOperationState(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR);
    C_SetOperationState(
        CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE
    );
    C_SignRecoverInit(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE);
    C_SignRecover(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
    C_VerifyRecoverInit(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE);
    C_VerifyRecover(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
}

// PKCS#11 3.2: nothing here runs in the background, and authenticated wrapping is what C_WrapKey does
// with CKM_AES_GCM and additional data.
unsupported! {
    C_AsyncComplete(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, *mut CK_ASYNC_DATA);
    C_AsyncGetID(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG_PTR);
    C_AsyncJoin(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG);
    C_WrapKeyAuthenticated(
        CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE, CK_BYTE_PTR,
        CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR
    );
    C_UnwrapKeyAuthenticated(
        CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_BYTE_PTR, CK_ULONG,
        CK_ATTRIBUTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR
    );
}
