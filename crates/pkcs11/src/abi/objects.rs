//! Object management functions (PKCS#11 2.40, section 5.7).

use cryptoki_sys::*;

use super::raw::{Array, Place};
use super::template::{Template, Wanted};
use super::with_session;
use crate::object;

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_CreateObject(
    session: CK_SESSION_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    handle: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    with_session("C_CreateObject", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        // SAFETY: PKCS#11's contract.
        let mut handle = unsafe { Place::new(handle)? };
        handle.set(object::create(module, session, template)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_CopyObject(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    handle: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    with_session("C_CopyObject", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        // SAFETY: PKCS#11's contract.
        let mut handle = unsafe { Place::new(handle)? };
        handle.set(object::copy(module, session, object, template)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_DestroyObject(
    session: CK_SESSION_HANDLE,
    handle: CK_OBJECT_HANDLE,
) -> CK_RV {
    with_session("C_DestroyObject", session, |module, session| {
        object::destroy(module, session, handle)
    })
}

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetObjectSize(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    size: CK_ULONG_PTR,
) -> CK_RV {
    with_session("C_GetObjectSize", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mut size = unsafe { Place::new(size)? };
        size.set(object::size(module, session, object)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    handle: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> CK_RV {
    with_session("C_GetAttributeValue", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mut wanted = unsafe { Wanted::new(template, count)? };
        object::get_attributes(module, session, handle, &mut wanted)
    })
}

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_SetAttributeValue(
    session: CK_SESSION_HANDLE,
    handle: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> CK_RV {
    with_session("C_SetAttributeValue", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        object::set_attributes(module, session, handle, template)
    })
}

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_FindObjectsInit(
    session: CK_SESSION_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> CK_RV {
    with_session("C_FindObjectsInit", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let template = unsafe { Template::new(template, count)? };
        object::find_init(module, session, template)
    })
}

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    handles: CK_OBJECT_HANDLE_PTR,
    max: CK_ULONG,
    count: CK_ULONG_PTR,
) -> CK_RV {
    with_session("C_FindObjects", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mut handles = unsafe { Array::new(handles, max)? };
        // SAFETY: PKCS#11's contract.
        let mut count = unsafe { Place::new(count)? };
        count.set(object::find(module, session, &mut handles)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.7.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_FindObjectsFinal(session: CK_SESSION_HANDLE) -> CK_RV {
    with_session("C_FindObjectsFinal", session, |_, session| object::find_final(session))
}
