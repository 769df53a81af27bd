//! Message-based encryption (PKCS#11 3.0, sections 5.9 and 5.11), and the structures of its parameters.

use std::os::raw::c_void;

use cryptoki_sys::*;
use strongroom_crypto::mechanism::Kind;

use super::mechanism::{Mechanism, pointed};
use super::raw::{Input, IvPlace, Output};
use super::with_session;
use crate::cipher::Direction::{self, Decrypt, Encrypt};
use crate::error::{Ckr, Result};
use crate::message;

/// CK_GCM_MESSAGE_PARAMS and its like, with their pointers checked.
pub(crate) struct MessageParams<'a> {
    /// The nonce, as the caller has it.
    pub(crate) nonce: Input<'a>,
    /// Where one that is made here goes.
    pub(crate) nonce_place: Option<IvPlace>,
    /// How many of its first bits a generator leaves alone.
    pub(crate) fixed_bits: CK_ULONG,
    /// CKG_…
    pub(crate) generator: CK_GENERATOR_FUNCTION,
    /// The tag, as the caller has it.
    pub(crate) tag: Input<'a>,
    /// Where the tag of an encryption goes.
    pub(crate) tag_place: Option<IvPlace>,
    /// How long the plaintext is, where the parameter says it.
    pub(crate) data_bytes: Option<CK_ULONG>,
}

impl<'a> MessageParams<'a> {
    /// Reads the parameter of one message of a mechanism.
    ///
    /// # Safety
    /// `pointer` is null, or `length` bytes can be read at it, and what the structure there points to can
    /// be read and written during the call.
    pub(crate) unsafe fn new(
        operation: Kind,
        pointer: *mut c_void,
        length: CK_ULONG,
    ) -> Result<Self> {
        // SAFETY: this function's contract.
        let given = unsafe { pointed(pointer.cast_const().cast(), length)? };
        // SAFETY: C structures of integers and pointers.
        let (nonce, nonce_bytes, fixed_bits, generator, tag, tag_bytes, data_bytes) = unsafe {
            match operation {
                Kind::AesGcm => {
                    let raw: CK_GCM_MESSAGE_PARAMS = given.as_structure()?;
                    let tag_bytes = whole_bytes(raw.ulTagBits)?;
                    let (fixed, generator) = (raw.ulIvFixedBits, raw.ivGenerator);
                    (raw.pIv, raw.ulIvLen, fixed, generator, raw.pTag, tag_bytes, None)
                }
                Kind::AesCcm => {
                    let raw: CK_CCM_MESSAGE_PARAMS = given.as_structure()?;
                    let (fixed, generator) = (raw.ulNonceFixedBits, raw.nonceGenerator);
                    let data = Some(raw.ulDataLen);
                    (raw.pNonce, raw.ulNonceLen, fixed, generator, raw.pMAC, raw.ulMACLen, data)
                }
                _ => {
                    let raw: CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS = given.as_structure()?;
                    (raw.pNonce, raw.ulNonceLen, 0, CKG_NO_GENERATE, raw.pTag, 16, None)
                }
            }
        };
        // SAFETY: this function's contract.
        let (nonce_input, tag_input) = unsafe {
            (pointed(nonce.cast_const(), nonce_bytes)?, pointed(tag.cast_const(), tag_bytes)?)
        };
        let place = |pointer: *mut u8, input: &Input<'_>| {
            (input.len() > 0).then(|| {
                // SAFETY: writable during the call by this function's contract.
                unsafe { IvPlace::new(pointer, input.len()) }
            })
        };
        Ok(Self {
            nonce_place: place(nonce, &nonce_input),
            tag_place: place(tag, &tag_input),
            nonce: nonce_input,
            fixed_bits,
            generator,
            tag: tag_input,
            data_bytes,
        })
    }
}

fn whole_bytes(bits: CK_ULONG) -> Result<CK_ULONG> {
    if bits.is_multiple_of(8) { Ok(bits / 8) } else { Err(Ckr(CKR_MECHANISM_PARAM_INVALID)) }
}

/// C_MessageEncryptInit and C_MessageDecryptInit; a null mechanism ends the process.
macro_rules! init {
    ($($name:ident: $direction:expr;)+) => {$(
        /// PKCS#11 3.0, sections 5.9 and 5.11.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            mechanism: CK_MECHANISM_PTR,
            key: CK_OBJECT_HANDLE,
        ) -> CK_RV {
            with_session(stringify!($name), session, |module, session| {
                // SAFETY: PKCS#11's contract.
                let given = unsafe { Mechanism::new(mechanism)? };
                message::init(module, session, $direction, given, key)
            })
        }
    )+};
}

init! {
    C_MessageEncryptInit: Encrypt;
    C_MessageDecryptInit: Decrypt;
}

/// C_EncryptMessage and C_DecryptMessage.
macro_rules! whole {
    ($($name:ident: $direction:expr;)+) => {$(
        /// PKCS#11 3.0, sections 5.9 and 5.11.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            parameter: CK_VOID_PTR,
            parameter_length: CK_ULONG,
            aad: CK_BYTE_PTR,
            aad_length: CK_ULONG,
            data: CK_BYTE_PTR,
            data_length: CK_ULONG,
            output: CK_BYTE_PTR,
            output_length: CK_ULONG_PTR,
        ) -> CK_RV {
            with_session(stringify!($name), session, |module, session| {
                let operation = message::operation(session, $direction)?;
                let at = (parameter, parameter_length);
                // SAFETY: PKCS#11's contract.
                let params = unsafe { MessageParams::new(operation, at.0, at.1)? };
                // SAFETY: PKCS#11's contract.
                let aad = unsafe { Input::new(aad, aad_length)? };
                // SAFETY: PKCS#11's contract.
                let data = unsafe { Input::new(data, data_length)? };
                // SAFETY: PKCS#11's contract.
                let output = &mut unsafe { Output::new(output, output_length)? };
                message::whole(module, session, $direction, &params, aad, data, output)
            })
        }
    )+};
}

whole! {
    C_EncryptMessage: Encrypt;
    C_DecryptMessage: Decrypt;
}

/// C_EncryptMessageBegin and C_DecryptMessageBegin.
macro_rules! begin {
    ($($name:ident: $direction:expr;)+) => {$(
        /// PKCS#11 3.0, sections 5.9 and 5.11.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            parameter: CK_VOID_PTR,
            parameter_length: CK_ULONG,
            aad: CK_BYTE_PTR,
            aad_length: CK_ULONG,
        ) -> CK_RV {
            with_session(stringify!($name), session, |module, session| {
                let operation = message::operation(session, $direction)?;
                let at = (parameter, parameter_length);
                // SAFETY: PKCS#11's contract.
                let params = unsafe { MessageParams::new(operation, at.0, at.1)? };
                // SAFETY: PKCS#11's contract.
                let aad = unsafe { Input::new(aad, aad_length)? };
                message::begin(module, session, $direction, &params, aad)
            })
        }
    )+};
}

begin! {
    C_EncryptMessageBegin: Encrypt;
    C_DecryptMessageBegin: Decrypt;
}

/// C_EncryptMessageNext and C_DecryptMessageNext.
macro_rules! next {
    ($($name:ident: $direction:expr;)+) => {$(
        /// PKCS#11 3.0, sections 5.9 and 5.11.
        ///
        /// # Safety
        /// PKCS#11's contract; see [`super`].
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            parameter: CK_VOID_PTR,
            parameter_length: CK_ULONG,
            data: CK_BYTE_PTR,
            data_length: CK_ULONG,
            output: CK_BYTE_PTR,
            output_length: CK_ULONG_PTR,
            flags: CK_FLAGS,
        ) -> CK_RV {
            with_session(stringify!($name), session, |module, session| {
                let operation = message::operation(session, $direction)?;
                let at = (parameter, parameter_length);
                // SAFETY: PKCS#11's contract.
                let params = unsafe { MessageParams::new(operation, at.0, at.1)? };
                // SAFETY: PKCS#11's contract.
                let data = unsafe { Input::new(data, data_length)? };
                // SAFETY: PKCS#11's contract.
                let output = &mut unsafe { Output::new(output, output_length)? };
                let last = flags & CKF_END_OF_MESSAGE != 0;
                message::next(module, session, $direction, &params, data, last, output)
            })
        }
    )+};
}

next! {
    C_EncryptMessageNext: Encrypt;
    C_DecryptMessageNext: Decrypt;
}

/// C_MessageEncryptFinal and C_MessageDecryptFinal.
macro_rules! finish {
    ($($name:ident: $direction:expr;)+) => {$(
        /// PKCS#11 3.0, sections 5.9 and 5.11.
        ///
        /// # Safety
        /// None is needed; the type is the standard's.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(session: CK_SESSION_HANDLE) -> CK_RV {
            let direction: Direction = $direction;
            with_session(stringify!($name), session, |_, session| {
                message::finish(session, direction)
            })
        }
    )+};
}

finish! {
    C_MessageEncryptFinal: Encrypt;
    C_MessageDecryptFinal: Decrypt;
}
