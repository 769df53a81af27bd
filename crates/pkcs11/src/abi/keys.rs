//! Key management and random number functions (PKCS#11 2.40, sections 5.13 and 5.14).

use cryptoki_sys::*;

use super::mechanism::Mechanism;
use super::raw::{Array, Input, Output, Place};
use super::template::Template;
use super::{with_module, with_session};
use crate::error::Ckr;
use crate::{key, random};

/// PKCS#11 2.40, section 5.13.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GenerateKey(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    handle: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    with_session("C_GenerateKey", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mechanism = unsafe { Mechanism::required(mechanism)? };
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        // SAFETY: PKCS#11's contract.
        let mut handle = unsafe { Place::new(handle)? };
        handle.set(key::generate(module, session, &mechanism, template)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.13.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public: CK_ATTRIBUTE_PTR,
    public_count: CK_ULONG,
    private: CK_ATTRIBUTE_PTR,
    private_count: CK_ULONG,
    public_handle: CK_OBJECT_HANDLE_PTR,
    private_handle: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    with_session("C_GenerateKeyPair", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mechanism = unsafe { Mechanism::required(mechanism)? };
        // SAFETY: PKCS#11's contract.
        let public = unsafe { Template::new(public, public_count)? };
        // SAFETY: PKCS#11's contract.
        let private = unsafe { Template::new(private, private_count)? };
        // SAFETY: PKCS#11's contract.
        let mut public_handle = unsafe { Place::new(public_handle)? };
        // SAFETY: PKCS#11's contract.
        let mut private_handle = unsafe { Place::new(private_handle)? };
        let pair = key::generate_pair(module, session, &mechanism, public, private)?;
        public_handle.set(pair.0);
        private_handle.set(pair.1);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.13.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_WrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    wrapped: CK_BYTE_PTR,
    wrapped_length: CK_ULONG_PTR,
) -> CK_RV {
    with_session("C_WrapKey", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mechanism = unsafe { Mechanism::required(mechanism)? };
        // SAFETY: PKCS#11's contract.
        let mut output = unsafe { Output::new(wrapped, wrapped_length)? };
        key::wrap(module, session, &mechanism, wrapping_key, key, &mut output)
    })
}

/// PKCS#11 2.40, section 5.13.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_UnwrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: CK_BYTE_PTR,
    wrapped_length: CK_ULONG,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    handle: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    with_session("C_UnwrapKey", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mechanism = unsafe { Mechanism::required(mechanism)? };
        // SAFETY: PKCS#11's contract.
        let wrapped = unsafe { Input::new(wrapped, wrapped_length)? };
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        // SAFETY: PKCS#11's contract.
        let mut handle = unsafe { Place::new(handle)? };
        handle.set(key::unwrap(module, session, &mechanism, unwrapping_key, wrapped, template)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.13.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_DeriveKey(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    base_key: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    handle: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    with_session("C_DeriveKey", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mechanism = unsafe { Mechanism::required(mechanism)? };
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        // SAFETY: PKCS#11's contract.
        let mut handle = unsafe { Place::new(handle)? };
        handle.set(key::derive(module, session, &mechanism, base_key, template)?);
        Ok(())
    })
}

/// PKCS#11 3.2, section 5.18.8.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_EncapsulateKey(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public_key: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    ciphertext: CK_BYTE_PTR,
    ciphertext_length: CK_ULONG_PTR,
    handle: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    with_session("C_EncapsulateKey", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mechanism = unsafe { Mechanism::required(mechanism)? };
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        // SAFETY: PKCS#11's contract.
        let mut output = unsafe { Output::new(ciphertext, ciphertext_length)? };
        // Who asks for the length gets no key, and may pass no place for it.
        if ciphertext.is_null() {
            return key::encapsulate(
                module,
                session,
                &mechanism,
                public_key,
                template,
                &mut output,
            )
            .map(drop);
        }
        // SAFETY: PKCS#11's contract.
        let mut handle = unsafe { Place::new(handle)? };
        let made =
            key::encapsulate(module, session, &mechanism, public_key, template, &mut output)?;
        if let Some(made) = made {
            handle.set(made);
        }
        Ok(())
    })
}

/// PKCS#11 3.2, section 5.18.9.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_DecapsulateKey(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    private_key: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    ciphertext: CK_BYTE_PTR,
    ciphertext_length: CK_ULONG,
    handle: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    with_session("C_DecapsulateKey", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mechanism = unsafe { Mechanism::required(mechanism)? };
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        // SAFETY: PKCS#11's contract.
        let ciphertext = unsafe { Input::new(ciphertext, ciphertext_length)? };
        // SAFETY: PKCS#11's contract.
        let mut handle = unsafe { Place::new(handle)? };
        handle.set(key::decapsulate(
            module,
            session,
            &mechanism,
            private_key,
            template,
            ciphertext,
        )?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.14. The HSM's generator takes no seed.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_SeedRandom(
    session: CK_SESSION_HANDLE,
    seed: CK_BYTE_PTR,
    length: CK_ULONG,
) -> CK_RV {
    with_session("C_SeedRandom", session, |module, _| {
        // SAFETY: PKCS#11's contract.
        unsafe { Input::new(seed, length)? };
        random::seed(module)
    })
}

/// PKCS#11 2.40, section 5.14.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GenerateRandom(
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    length: CK_ULONG,
) -> CK_RV {
    with_session("C_GenerateRandom", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        random::generate(module, session, &mut unsafe { Array::new(data, length)? })
    })
}

/// PKCS#11 2.40, section 5.15: "a legacy function which should simply return the value
/// CKR_FUNCTION_NOT_PARALLEL".
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetFunctionStatus(_session: CK_SESSION_HANDLE) -> CK_RV {
    with_module("C_GetFunctionStatus", |_| Err(Ckr(CKR_FUNCTION_NOT_PARALLEL)))
}

/// PKCS#11 2.40, section 5.15; as [`C_GetFunctionStatus`].
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_CancelFunction(_session: CK_SESSION_HANDLE) -> CK_RV {
    with_module("C_CancelFunction", |_| Err(Ckr(CKR_FUNCTION_NOT_PARALLEL)))
}
