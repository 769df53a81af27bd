//! Slot and token management (PKCS#11 2.40, section 5.5).
//!
//! There is one slot, and its token never leaves. Which functions the token has depends on its
//! personality: `cloudhsm` tokens are initialised and filled with users by other tools.

use cryptoki_sys::*;
use strongroom_wire::limits::{
    LOGIN_FAILURES_MAX, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, PIN_BYTES_MAX, PIN_BYTES_MIN,
    SESSIONS_MAX, USER_NAME_CHARS_MAX,
};
use strongroom_wire::message::{
    ChangePassword, InitPin, InitToken, MechanismReply, Operation, Role, TokenInfoReply,
};

use crate::abi::raw::Output;
use crate::error::{Ckr, Result};
use crate::login::token_user;
use crate::module::{Module, narrow};
use crate::session::Session;

/// The one slot's id.
pub(crate) const ID: CK_SLOT_ID = 0;
/// Who made slot, token and library.
pub(crate) const MANUFACTURER: &str = "Strongroom";
const MODEL: &str = "Strongroom HSM";

/// Refuses any other slot.
pub(crate) fn check(slot: CK_SLOT_ID) -> Result<()> {
    if slot == ID { Ok(()) } else { Err(Ckr(CKR_SLOT_ID_INVALID)) }
}

/// Text as PKCS#11 has it: padded with blanks, without an end, cut between characters.
pub(crate) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let end = (0..=text.len().min(N)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
    field
}

/// The library's version, which is the HSM software's too.
pub(crate) fn version() -> CK_VERSION {
    let number = |text: &str| text.parse().unwrap_or(0);
    CK_VERSION {
        major: number(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: number(env!("CARGO_PKG_VERSION_MINOR")),
    }
}

/// C_GetSlotList: a token is always present, so `tokenPresent` changes nothing.
pub(crate) fn list(output: &mut Output<'_, CK_SLOT_ID>) -> Result<()> {
    output.write(&[ID]).map(drop)
}

/// C_GetSlotInfo.
pub(crate) fn info(slot: CK_SLOT_ID) -> Result<CK_SLOT_INFO> {
    check(slot)?;
    Ok(CK_SLOT_INFO {
        slotDescription: padded("Strongroom HSM (software, not FIPS-validated)"),
        manufacturerID: padded(MANUFACTURER),
        flags: CKF_TOKEN_PRESENT,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: version(),
    })
}

/// C_GetTokenInfo.
pub(crate) fn token_info(module: &Module, slot: CK_SLOT_ID) -> Result<CK_TOKEN_INFO> {
    check(slot)?;
    let token = module.hsm.token_info()?;
    let (sessions, read_write) = module.sessions.count();
    let (pin_min, pin_max) = if module.is_cloudhsm() {
        // user:password; a name has at least one character, and a character up to four bytes.
        (PASSWORD_CHARS_MIN + 2, 4 * (USER_NAME_CHARS_MAX + PASSWORD_CHARS_MAX) + 1)
    } else {
        (PIN_BYTES_MIN, PIN_BYTES_MAX)
    };
    let count = |number: usize| narrow(number as u64);
    Ok(CK_TOKEN_INFO {
        label: label(&token.label),
        manufacturerID: padded(MANUFACTURER),
        model: padded(MODEL),
        serialNumber: padded(&token.serial_number),
        flags: token_flags(&token),
        ulMaxSessionCount: count(SESSIONS_MAX),
        ulSessionCount: count(sessions),
        ulMaxRwSessionCount: count(SESSIONS_MAX),
        ulRwSessionCount: count(read_write),
        ulMaxPinLen: count(pin_max),
        ulMinPinLen: count(pin_min),
        ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: firmware(module),
        utcTime: [b' '; 16],
    })
}

/// The HSM's own software version; the library's where it does not say.
fn firmware(module: &Module) -> CK_VERSION {
    match module.hsm.hsm_info() {
        Ok(info) => CK_VERSION {
            major: u8::try_from(info.version_major).unwrap_or(u8::MAX),
            minor: u8::try_from(info.version_minor).unwrap_or(u8::MAX),
        },
        Err(_) => version(),
    }
}

/// A label from the HSM, padded with blanks.
fn label(bytes: &[u8]) -> [u8; 32] {
    let mut field = [b' '; 32];
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
    field
}

/// CK_TOKEN_INFO.flags (PKCS#11 2.40, section 3.2, table 4).
fn token_flags(token: &TokenInfoReply) -> CK_FLAGS {
    let pin = |failures: u32, locked: bool, low: CK_FLAGS, last: CK_FLAGS, lock: CK_FLAGS| {
        let mut flags = 0;
        if locked {
            flags |= lock;
        } else if failures > 0 {
            flags |= low;
            if failures + 1 >= LOGIN_FAILURES_MAX {
                flags |= last;
            }
        }
        flags
    };
    let set = |on: bool, flag: CK_FLAGS| if on { flag } else { 0 };
    CKF_RNG
        | CKF_LOGIN_REQUIRED
        | set(token.initialized, CKF_TOKEN_INITIALIZED)
        | set(token.user_pin_set, CKF_USER_PIN_INITIALIZED)
        | pin(
            token.user_failures,
            token.user_locked,
            CKF_USER_PIN_COUNT_LOW,
            CKF_USER_PIN_FINAL_TRY,
            CKF_USER_PIN_LOCKED,
        )
        | pin(
            token.so_failures,
            token.so_locked,
            CKF_SO_PIN_COUNT_LOW,
            CKF_SO_PIN_FINAL_TRY,
            CKF_SO_PIN_LOCKED,
        )
}

/// C_GetMechanismList.
pub(crate) fn mechanisms(
    module: &Module,
    slot: CK_SLOT_ID,
    output: &mut Output<'_, CK_MECHANISM_TYPE>,
) -> Result<()> {
    check(slot)?;
    let kinds: Vec<_> = module.mechanisms()?.iter().map(|offered| narrow(offered.kind)).collect();
    output.write(&kinds).map(drop)
}

/// C_GetMechanismInfo.
pub(crate) fn mechanism_info(
    module: &Module,
    slot: CK_SLOT_ID,
    kind: CK_MECHANISM_TYPE,
) -> Result<CK_MECHANISM_INFO> {
    check(slot)?;
    let MechanismReply { min_key_size, max_key_size, flags, .. } = *module.mechanism(kind)?;
    Ok(CK_MECHANISM_INFO {
        ulMinKeySize: narrow(min_key_size),
        ulMaxKeySize: narrow(max_key_size),
        flags: with_messages(narrow(flags)),
    })
}

/// The library signs messages of a process (C_MessageSignInit) with whatever signs at all.
fn with_messages(flags: CK_FLAGS) -> CK_FLAGS {
    let signs = if flags & CKF_SIGN != 0 { CKF_MESSAGE_SIGN } else { 0 };
    let verifies = if flags & CKF_VERIFY != 0 { CKF_MESSAGE_VERIFY } else { 0 };
    flags | signs | verifies
}

/// C_InitToken.
pub(crate) fn init_token(
    module: &Module,
    slot: CK_SLOT_ID,
    so_pin: &[u8],
    label: [u8; 32],
) -> Result<()> {
    check(slot)?;
    only_token(module)?;
    let so_pin = so_pin.to_vec();
    let request = Operation::InitToken(InitToken { so_pin, label: label.to_vec() });
    module.sessions.while_none(|| {
        module.keys.clear();
        module.hsm.tell(0, request)
    })
}

/// C_InitPIN.
pub(crate) fn init_pin(module: &Module, session: &Session, pin: &[u8]) -> Result<()> {
    only_token(module)?;
    if module.hsm.role() != Some(Role::Admin) {
        return Err(Ckr(CKR_USER_NOT_LOGGED_IN));
    }
    module.hsm.tell(session.handle, Operation::InitPin(InitPin { pin: pin.to_vec() }))
}

/// C_SetPIN: of the user who is logged in, else of the normal user (PKCS#11 2.40, section 5.5).
///
/// The HSM ends the other logins of the user; the program's own goes on, with its session objects.
pub(crate) fn set_pin(module: &Module, session: &Session, old: &[u8], new: &[u8]) -> Result<()> {
    only_token(module)?;
    session.must_write()?;
    let _order = module.sessions.in_order();
    let role = module.hsm.role().unwrap_or(Role::CryptoUser);
    let request = Operation::ChangePassword(ChangePassword {
        user: token_user(role).to_owned(),
        role: role.into(),
        password: new.to_vec(),
        old_password: Some(old.to_vec()),
    });
    module.hsm.tell(session.handle, request)
}

/// CloudHSM's module does not have these functions: users and passwords are the CLI's.
fn only_token(module: &Module) -> Result<()> {
    if module.is_cloudhsm() { Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, PASSWORD};
    use crate::lock::lock;

    #[test]
    fn text_is_padded_and_cut_between_characters() {
        assert_eq!(&padded::<6>("abc"), b"abc   ");
        assert_eq!(&padded::<2>("abc"), b"ab");
        assert_eq!(&padded::<4>("abcé"), b"abc ");
    }

    #[test]
    fn a_new_pin_does_not_end_the_login_with_its_session_objects() {
        let (module, session, fake) = fake::token();
        module.hsm.login("user", Role::CryptoUser, PASSWORD).unwrap();
        assert_eq!(set_pin(&module, &session, PASSWORD, b"another"), Ok(()));
        assert_eq!(module.hsm.role(), Some(Role::CryptoUser));
        assert_eq!(lock(&fake).asked, ["change password"]);
    }

    #[test]
    fn pin_flags_follow_the_failures() {
        let token = |failures, locked| TokenInfoReply {
            user_failures: failures,
            user_locked: locked,
            ..TokenInfoReply::default()
        };
        let user = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;
        let flags = |failures, locked| token_flags(&token(failures, locked)) & user;
        assert_eq!(flags(0, false), 0);
        assert_eq!(flags(1, false), CKF_USER_PIN_COUNT_LOW);
        assert_eq!(
            flags(LOGIN_FAILURES_MAX - 1, false),
            CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY
        );
        assert_eq!(flags(LOGIN_FAILURES_MAX, true), CKF_USER_PIN_LOCKED);
    }
}
