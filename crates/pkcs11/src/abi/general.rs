//! General-purpose, slot, token and session functions (PKCS#11 2.40, sections 5.4 to 5.6).

use cryptoki_sys::*;

use super::raw::{Input, Output, Place};
use super::{guarded, interfaces, with_module, with_session};
use crate::error::Ckr;
use crate::{general, login, session, slot};

/// The longest PIN that is read, in bytes; the HSM has its own limit.
const PIN_BYTES_MAX: usize = 1024;

/// PKCS#11 2.40, section 5.4.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_Initialize(arguments: CK_VOID_PTR) -> CK_RV {
    guarded("C_Initialize", || {
        // SAFETY: null, or a CK_C_INITIALIZE_ARGS by PKCS#11's contract.
        let arguments = unsafe { arguments.cast::<CK_C_INITIALIZE_ARGS>().as_ref() };
        general::initialize(arguments)
    })
}

/// PKCS#11 2.40, section 5.4.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_Finalize(reserved: CK_VOID_PTR) -> CK_RV {
    with_module("C_Finalize", |_| {
        if !reserved.is_null() {
            return Err(Ckr(CKR_ARGUMENTS_BAD));
        }
        general::finalize()
    })
}

/// PKCS#11 2.40, section 5.4.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetInfo(info: CK_INFO_PTR) -> CK_RV {
    with_module("C_GetInfo", |_| {
        // SAFETY: PKCS#11's contract.
        let mut info = unsafe { Place::new(info)? };
        info.set(general::info(interfaces::VERSION_2_40));
        Ok(())
    })
}

/// C_GetInfo of the 3.0 interface; not exported under a name.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
pub(super) unsafe extern "C" fn get_info_3_0(info: CK_INFO_PTR) -> CK_RV {
    with_module("C_GetInfo", |_| {
        // SAFETY: PKCS#11's contract.
        let mut info = unsafe { Place::new(info)? };
        info.set(general::info(interfaces::VERSION_3_0));
        Ok(())
    })
}

/// C_GetInfo of the 3.2 interface; not exported under a name.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
pub(super) unsafe extern "C" fn get_info_3_2(info: CK_INFO_PTR) -> CK_RV {
    with_module("C_GetInfo", |_| {
        // SAFETY: PKCS#11's contract.
        let mut info = unsafe { Place::new(info)? };
        info.set(general::info(interfaces::VERSION_3_2));
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetSlotList(
    _token_present: CK_BBOOL,
    list: CK_SLOT_ID_PTR,
    count: CK_ULONG_PTR,
) -> CK_RV {
    with_module("C_GetSlotList", |_| {
        // SAFETY: PKCS#11's contract.
        slot::list(&mut unsafe { Output::new(list, count)? })
    })
}

/// PKCS#11 2.40, section 5.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetSlotInfo(slot: CK_SLOT_ID, info: CK_SLOT_INFO_PTR) -> CK_RV {
    with_module("C_GetSlotInfo", |_| {
        // SAFETY: PKCS#11's contract.
        let mut info = unsafe { Place::new(info)? };
        info.set(slot::info(slot)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: CK_TOKEN_INFO_PTR) -> CK_RV {
    with_module("C_GetTokenInfo", |module| {
        // SAFETY: PKCS#11's contract.
        let mut info = unsafe { Place::new(info)? };
        info.set(slot::token_info(module, slot)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.5. The token never leaves: there is never an event, and waiting for one
/// is not supported, so that a program falls back to what it does without.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_WaitForSlotEvent(
    flags: CK_FLAGS,
    slot: CK_SLOT_ID_PTR,
    reserved: CK_VOID_PTR,
) -> CK_RV {
    with_module("C_WaitForSlotEvent", |_| {
        if slot.is_null() || !reserved.is_null() {
            return Err(Ckr(CKR_ARGUMENTS_BAD));
        }
        if flags & CKF_DONT_BLOCK != 0 {
            Err(Ckr(CKR_NO_EVENT))
        } else {
            Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED))
        }
    })
}

/// PKCS#11 2.40, section 5.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetMechanismList(
    slot: CK_SLOT_ID,
    list: CK_MECHANISM_TYPE_PTR,
    count: CK_ULONG_PTR,
) -> CK_RV {
    with_module("C_GetMechanismList", |module| {
        // SAFETY: PKCS#11's contract.
        slot::mechanisms(module, slot, &mut unsafe { Output::new(list, count)? })
    })
}

/// PKCS#11 2.40, section 5.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetMechanismInfo(
    slot: CK_SLOT_ID,
    kind: CK_MECHANISM_TYPE,
    info: CK_MECHANISM_INFO_PTR,
) -> CK_RV {
    with_module("C_GetMechanismInfo", |module| {
        // SAFETY: PKCS#11's contract.
        let mut info = unsafe { Place::new(info)? };
        info.set(slot::mechanism_info(module, slot, kind)?);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`]. `label` has 32 bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_InitToken(
    slot: CK_SLOT_ID,
    pin: CK_UTF8CHAR_PTR,
    pin_length: CK_ULONG,
    label: CK_UTF8CHAR_PTR,
) -> CK_RV {
    with_module("C_InitToken", |module| {
        // SAFETY: PKCS#11's contract.
        let pin = unsafe { Input::required(pin, pin_length)? };
        // SAFETY: PKCS#11's contract: 32 bytes.
        let label = unsafe { Place::new(label.cast::<[u8; 32]>())? }.get();
        slot::init_token(module, slot, pin.at_most(PIN_BYTES_MAX, CKR_PIN_LEN_RANGE)?, label)
    })
}

/// PKCS#11 2.40, section 5.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_InitPIN(
    session: CK_SESSION_HANDLE,
    pin: CK_UTF8CHAR_PTR,
    pin_length: CK_ULONG,
) -> CK_RV {
    with_session("C_InitPIN", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let pin = unsafe { Input::required(pin, pin_length)? };
        slot::init_pin(module, session, pin.at_most(PIN_BYTES_MAX, CKR_PIN_LEN_RANGE)?)
    })
}

/// PKCS#11 2.40, section 5.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_SetPIN(
    session: CK_SESSION_HANDLE,
    old: CK_UTF8CHAR_PTR,
    old_length: CK_ULONG,
    new: CK_UTF8CHAR_PTR,
    new_length: CK_ULONG,
) -> CK_RV {
    with_session("C_SetPIN", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let old = unsafe { Input::required(old, old_length)? };
        // SAFETY: PKCS#11's contract.
        let new = unsafe { Input::required(new, new_length)? };
        slot::set_pin(
            module,
            session,
            old.at_most(PIN_BYTES_MAX, CKR_PIN_INCORRECT)?,
            new.at_most(PIN_BYTES_MAX, CKR_PIN_LEN_RANGE)?,
        )
    })
}

/// PKCS#11 2.40, section 5.6. `application` and `notify` are accepted; there is nothing to notify.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    _application: CK_VOID_PTR,
    _notify: CK_NOTIFY,
    handle: CK_SESSION_HANDLE_PTR,
) -> CK_RV {
    with_module("C_OpenSession", |module| {
        // SAFETY: PKCS#11's contract.
        let mut handle = unsafe { Place::new(handle)? };
        handle.set(session::handle(session::open(module, slot, flags)?));
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.6.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    with_module("C_CloseSession", |module| session::close(module, session))
}

/// PKCS#11 2.40, section 5.6.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    with_module("C_CloseAllSessions", |module| session::close_all(module, slot))
}

/// PKCS#11 2.40, section 5.6.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetSessionInfo(
    session: CK_SESSION_HANDLE,
    info: CK_SESSION_INFO_PTR,
) -> CK_RV {
    with_session("C_GetSessionInfo", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let mut info = unsafe { Place::new(info)? };
        info.set(session::info(module, session));
        Ok(())
    })
}

/// PKCS#11 3.2, section 5.6.12. No module here is validated, so no flag is ever set.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetSessionValidationFlags(
    session: CK_SESSION_HANDLE,
    kind: CK_SESSION_VALIDATION_FLAGS_TYPE,
    flags: CK_FLAGS_PTR,
) -> CK_RV {
    with_session("C_GetSessionValidationFlags", session, |_, _| {
        // SAFETY: PKCS#11's contract.
        let mut flags = unsafe { Place::new(flags)? };
        if kind != CKS_LAST_VALIDATION_OK {
            return Err(Ckr(CKR_ARGUMENTS_BAD));
        }
        flags.set(0);
        Ok(())
    })
}

/// PKCS#11 2.40, section 5.6.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user_type: CK_USER_TYPE,
    pin: CK_UTF8CHAR_PTR,
    pin_length: CK_ULONG,
) -> CK_RV {
    with_session("C_Login", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let pin = unsafe { Input::required(pin, pin_length)? };
        let pin = pin.at_most(PIN_BYTES_MAX, CKR_PIN_INCORRECT)?;
        login::login(module, session, user_type, None, pin)
    })
}

/// PKCS#11 3.0, section 5.6.9: C_Login with a user name.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_LoginUser(
    session: CK_SESSION_HANDLE,
    user_type: CK_USER_TYPE,
    pin: CK_UTF8CHAR_PTR,
    pin_length: CK_ULONG,
    user: CK_UTF8CHAR_PTR,
    user_length: CK_ULONG,
) -> CK_RV {
    with_session("C_LoginUser", session, |module, session| {
        // SAFETY: PKCS#11's contract.
        let pin = unsafe { Input::required(pin, pin_length)? };
        let pin = pin.at_most(PIN_BYTES_MAX, CKR_PIN_INCORRECT)?;
        // SAFETY: PKCS#11's contract.
        let user = unsafe { Input::new(user, user_length)? };
        let user = user.at_most(PIN_BYTES_MAX, CKR_PIN_INCORRECT)?;
        login::login(module, session, user_type, Some(user), pin)
    })
}

/// PKCS#11 2.40, section 5.6.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_Logout(session: CK_SESSION_HANDLE) -> CK_RV {
    with_session("C_Logout", session, |module, _| login::logout(module))
}

/// PKCS#11 3.0, section 5.6.11: ends operations of a session.
///
/// # Safety
/// None is needed; the type is the standard's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_SessionCancel(
    session: CK_SESSION_HANDLE,
    flags: CK_FLAGS,
) -> CK_RV {
    with_session("C_SessionCancel", session, |_, session| {
        session.operations().cancel(flags);
        Ok(())
    })
}
