//! Encryption, digest and signature functions (PKCS#11 2.40, sections 5.8 to 5.12).
//!
//! They come in four shapes, each written once below: an Init, a whole operation, an Update, a
//! Final.

use cryptoki_sys::*;

use super::mechanism::Mechanism;
use super::raw::{Input, Output};
use super::with_session;
use crate::cipher::Direction::{Decrypt, Encrypt};
use crate::{digest, dual, encrypt, sign, verify};

/// A function that begins an operation with a key. A null mechanism ends the active operation.
macro_rules! init {
    ($($name:ident: |$module:ident, $session:ident, $mechanism:ident, $key:ident| $body:expr;)+) => {$(
        /// PKCS#11 2.40, sections 5.8 to 5.12.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            mechanism: CK_MECHANISM_PTR,
            $key: CK_OBJECT_HANDLE,
        ) -> CK_RV {
            with_session(stringify!($name), session, |$module, $session| {
                // SAFETY: PKCS#11's contract.
                let $mechanism = unsafe { Mechanism::new(mechanism)? };
                $body
            })
        }
    )+};
}

/// What was given, or else the operation's end: "a call … which results in an error other than
/// CKR_BUFFER_TOO_SMALL terminates the current operation", bad pointers too.
macro_rules! ending {
    ($session:ident, [$($place:ident)+], $given:expr) => {
        match $given {
            Ok(given) => given,
            Err(error) => {
                let mut operations = $session.operations();
                $(operations.$place = None;)+
                return Err(error);
            }
        }
    };
}

/// A function from data to output.
macro_rules! transform {
    ($($name:ident[$($place:ident)+]:
        |$module:pat_param, $session:ident, $data:ident, $output:ident| $body:expr;)+) => {$(
        /// PKCS#11 2.40, sections 5.8 to 5.12.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            data: CK_BYTE_PTR,
            data_length: CK_ULONG,
            output: CK_BYTE_PTR,
            output_length: CK_ULONG_PTR,
        ) -> CK_RV {
            with_session(stringify!($name), session, |$module, $session| {
                // SAFETY: PKCS#11's contract.
                let $data = ending!($session, [$($place)+], unsafe { Input::new(data, data_length) });
                // SAFETY: PKCS#11's contract.
                let given = unsafe { Output::new(output, output_length) };
                let $output = &mut ending!($session, [$($place)+], given);
                $body
            })
        }
    )+};
}

/// A function that takes data.
macro_rules! take {
    ($($name:ident[$place:ident]:
        |$module:pat_param, $session:ident, $data:ident| $body:expr;)+) => {$(
        /// PKCS#11 2.40, sections 5.8 to 5.12.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            data: CK_BYTE_PTR,
            data_length: CK_ULONG,
        ) -> CK_RV {
            with_session(stringify!($name), session, |$module, $session| {
                // SAFETY: PKCS#11's contract.
                let $data = ending!($session, [$place], unsafe { Input::new(data, data_length) });
                $body
            })
        }
    )+};
}

/// A function that gives output.
macro_rules! give {
    ($($name:ident[$place:ident]:
        |$module:pat_param, $session:ident, $output:ident| $body:expr;)+) => {$(
        /// PKCS#11 2.40, sections 5.8 to 5.12.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            output: CK_BYTE_PTR,
            output_length: CK_ULONG_PTR,
        ) -> CK_RV {
            with_session(stringify!($name), session, |$module, $session| {
                // SAFETY: PKCS#11's contract.
                let given = unsafe { Output::new(output, output_length) };
                let $output = &mut ending!($session, [$place], given);
                $body
            })
        }
    )+};
}

init! {
    C_EncryptInit: |module, session, mechanism, key| {
        encrypt::init(module, session, Encrypt, mechanism, key)
    };
    C_DecryptInit: |module, session, mechanism, key| {
        encrypt::init(module, session, Decrypt, mechanism, key)
    };
    C_SignInit: |module, session, mechanism, key| sign::init(module, session, mechanism, key);
    C_VerifyInit: |module, session, mechanism, key| verify::init(module, session, mechanism, key);
}

transform! {
    C_Encrypt[encrypt]: |module, session, data, output| {
        encrypt::whole(module, session, Encrypt, data, output)
    };
    C_EncryptUpdate[encrypt]: |module, session, data, output| {
        encrypt::update(module, session, Encrypt, data, output)
    };
    C_Decrypt[decrypt]: |module, session, data, output| {
        encrypt::whole(module, session, Decrypt, data, output)
    };
    C_DecryptUpdate[decrypt]: |module, session, data, output| {
        encrypt::update(module, session, Decrypt, data, output)
    };
    C_DigestEncryptUpdate[digest encrypt]: |module, session, data, output| {
        dual::digest_encrypt(module, session, data, output)
    };
    C_DecryptDigestUpdate[decrypt digest]: |module, session, data, output| {
        dual::decrypt_digest(module, session, data, output)
    };
    C_SignEncryptUpdate[sign encrypt]: |module, session, data, output| {
        dual::sign_encrypt(module, session, data, output)
    };
    C_DecryptVerifyUpdate[decrypt verify]: |module, session, data, output| {
        dual::decrypt_verify(module, session, data, output)
    };
    C_Digest[digest]: |_, session, data, output| digest::digest(session, data, output);
    C_Sign[sign]: |module, session, data, output| sign::sign(module, session, data, output);
}

take! {
    C_DigestUpdate[digest]: |_, session, data| digest::update(session, data);
    C_SignUpdate[sign]: |module, session, data| sign::update(module, session, data);
    C_VerifyUpdate[verify]: |module, session, data| verify::update(module, session, data);
    C_VerifySignature[verify_signature]: |module, session, data| verify::signature(module, session, data);
    C_VerifySignatureUpdate[verify_signature]: |module, session, data| {
        verify::update_signature(module, session, data)
    };
    C_VerifyFinal[verify]: |module, session, signature| verify::finish(module, session, signature);
}

give! {
    C_EncryptFinal[encrypt]: |module, session, output| encrypt::finish(module, session, Encrypt, output);
    C_DecryptFinal[decrypt]: |module, session, output| encrypt::finish(module, session, Decrypt, output);
    C_DigestFinal[digest]: |_, session, output| digest::finish(session, output);
    C_SignFinal[sign]: |module, session, output| sign::finish(module, session, output);
}

/// PKCS#11 2.40, section 5.10.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_DigestInit(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
) -> CK_RV {
    with_session("C_DigestInit", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        digest::init(module, session, unsafe { Mechanism::new(mechanism)? })
    })
}

/// PKCS#11 2.40, section 5.10.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_DigestKey(
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    with_session("C_DigestKey", session, |module, session| digest::key(module, session, key))
}

/// PKCS#11 2.40, section 5.12.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_Verify(
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG,
) -> CK_RV {
    with_session("C_Verify", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let data = ending!(session, [verify], unsafe { Input::new(data, data_length) });
        // SAFETY: PKCS#11's contract.
        let given = unsafe { Input::new(signature, signature_length) };
        let signature = ending!(session, [verify], given);
        verify::verify(module, session, data, signature)
    })
}

/// PKCS#11 3.2, section 5.17.1.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_VerifySignatureInit(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG,
) -> CK_RV {
    with_session("C_VerifySignatureInit", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mechanism = unsafe { Mechanism::new(mechanism)? };
        // SAFETY: PKCS#11's contract.
        let signature = unsafe { Input::new(signature, signature_length)? };
        verify::init_signature(module, session, mechanism, key, signature)
    })
}

/// PKCS#11 3.2, section 5.17.4.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_VerifySignatureFinal(session: CK_SESSION_HANDLE) -> CK_RV {
    with_session("C_VerifySignatureFinal", session, |module, session| {
        verify::finish_signature(module, session)
    })
}
