//! The login (PKCS#11 2.40, section 5.6): the application's, over all its sessions.

use cryptoki_sys::*;
use strongroom_wire::message::Role;
use zeroize::Zeroizing;

use crate::error::{Ckr, Result};
use crate::module::Module;
use crate::session::Session;

/// Who logs in, from C_Login's user type and PIN.
pub(crate) struct Credentials {
    /// The user's name.
    pub(crate) user: String,
    /// The role.
    pub(crate) role: Role,
    /// The password; wiped.
    pub(crate) password: Zeroizing<Vec<u8>>,
}

/// Reads a PIN: `user:password` in personality `cloudhsm` (the first colon separates them), else
/// the password of the one SO or user.
pub(crate) fn credentials(
    cloudhsm: bool,
    user_type: CK_USER_TYPE,
    pin: &[u8],
) -> Result<Credentials> {
    let role = match user_type {
        // A CloudHSM admin has no PKCS#11 login.
        CKU_SO if !cloudhsm => Role::Admin,
        CKU_USER => Role::CryptoUser,
        _ => return Err(Ckr(CKR_USER_TYPE_INVALID)),
    };
    if !cloudhsm {
        return Ok(Credentials {
            user: token_user(role).to_owned(),
            role,
            password: Zeroizing::new(pin.to_vec()),
        });
    }
    let incorrect = || {
        tracing::error!("the PIN of this token has the form user:password");
        Ckr(CKR_PIN_INCORRECT)
    };
    let colon = pin.iter().position(|&byte| byte == b':').ok_or_else(incorrect)?;
    let (user, password) = (&pin[..colon], &pin[colon + 1..]);
    Ok(Credentials {
        user: String::from_utf8(user.to_vec()).map_err(|_| incorrect())?,
        role,
        password: Zeroizing::new(password.to_vec()),
    })
}

/// The user names of personality `token`.
pub(crate) fn token_user(role: Role) -> &'static str {
    if role == Role::Admin { "so" } else { "user" }
}

/// C_Login, and C_LoginUser with its user name.
pub(crate) fn login(
    module: &Module,
    session: &Session,
    user_type: CK_USER_TYPE,
    user: Option<&[u8]>,
    pin: &[u8],
) -> Result<()> {
    if user_type == CKU_CONTEXT_SPECIFIC {
        return confirm(module, session, pin);
    }
    let cloudhsm = module.is_cloudhsm();
    let credentials = match user {
        Some(user) if cloudhsm => {
            let joined = Zeroizing::new([user, b":", pin].concat());
            credentials(cloudhsm, user_type, &joined)?
        }
        _ => credentials(cloudhsm, user_type, pin)?,
    };
    let sessions = &module.sessions;
    let _order = sessions.in_order();
    match module.hsm.role() {
        Some(role) if role == credentials.role => return Err(Ckr(CKR_USER_ALREADY_LOGGED_IN)),
        Some(_) => return Err(Ckr(CKR_USER_ANOTHER_ALREADY_LOGGED_IN)),
        None => {}
    }
    if credentials.role == Role::Admin && sessions.any_read_only() {
        return Err(Ckr(CKR_SESSION_READ_ONLY_EXISTS));
    }
    module.keys.clear();
    module.hsm.login(&credentials.user, credentials.role, &credentials.password)
}

/// C_Login with CKU_CONTEXT_SPECIFIC: the PIN again, for the operation that a key with
/// CKA_ALWAYS_AUTHENTICATE was given to (PKCS#11 2.40, section 4.8).
fn confirm(module: &Module, session: &Session, pin: &[u8]) -> Result<()> {
    let _order = module.sessions.in_order();
    if module.hsm.role() != Some(Role::CryptoUser) {
        return Err(Ckr(CKR_USER_NOT_LOGGED_IN));
    }
    let mut operations = session.operations();
    if !operations.wait_for_pin() {
        return Err(Ckr(CKR_OPERATION_NOT_INITIALIZED));
    }
    let credentials = credentials(module.is_cloudhsm(), CKU_USER, pin)?;
    module.hsm.prove(&credentials.user, credentials.role, &credentials.password)?;
    operations.pin_was_given();
    Ok(())
}

/// C_Logout.
pub(crate) fn logout(module: &Module) -> Result<()> {
    let _order = module.sessions.in_order();
    if module.hsm.role().is_none() {
        return Err(Ckr(CKR_USER_NOT_LOGGED_IN));
    }
    module.keys.clear();
    // Section 5.6, C_Logout: active operations "may or may not" survive it. What the user's objects
    // are used in does not; a digest does.
    module.sessions.end_uses_of_objects();
    module.hsm.logout()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, PASSWORD};
    use crate::lock::lock;
    use crate::session;
    use strongroom_wire::message::Personality;

    const RO: CK_FLAGS = CKF_SERIAL_SESSION;
    const RW: CK_FLAGS = CKF_SERIAL_SESSION | CKF_RW_SESSION;

    fn state(module: &Module, handle: CK_SESSION_HANDLE) -> CK_STATE {
        session::info(module, &module.session(handle).unwrap()).state
    }

    fn log_in(module: &Module, session: CK_SESSION_HANDLE, user_type: CK_USER_TYPE) -> Result<()> {
        login(module, &module.session(session).unwrap(), user_type, None, PASSWORD)
    }

    #[test]
    fn a_login_is_every_sessions_until_the_last_one_closes() {
        let (module, fake) = fake::module(Personality::Token);
        let (reader, writer) = (fake::open(&module, RO).unwrap(), fake::open(&module, RW).unwrap());
        assert_eq!(state(&module, reader), CKS_RO_PUBLIC_SESSION);
        log_in(&module, writer, CKU_USER).unwrap();
        assert_eq!(state(&module, reader), CKS_RO_USER_FUNCTIONS);
        assert_eq!(state(&module, writer), CKS_RW_USER_FUNCTIONS);
        let again = log_in(&module, writer, CKU_USER);
        assert_eq!(again, Err(Ckr(CKR_USER_ALREADY_LOGGED_IN)));
        let other = log_in(&module, writer, CKU_SO);
        assert_eq!(other, Err(Ckr(CKR_USER_ANOTHER_ALREADY_LOGGED_IN)));
        session::close(&module, reader).unwrap();
        assert!(lock(&fake).role.is_some());
        session::close(&module, writer).unwrap();
        assert_eq!(lock(&fake).role, None);
        assert_eq!(logout(&module), Err(Ckr(CKR_USER_NOT_LOGGED_IN)));
    }

    #[test]
    fn the_so_and_read_only_sessions_exclude_each_other() {
        let (module, _) = fake::module(Personality::Token);
        let reader = fake::open(&module, RO).unwrap();
        assert_eq!(log_in(&module, reader, CKU_SO), Err(Ckr(CKR_SESSION_READ_ONLY_EXISTS)));
        session::close(&module, reader).unwrap();
        let writer = fake::open(&module, RW).unwrap();
        log_in(&module, writer, CKU_SO).unwrap();
        assert_eq!(state(&module, writer), CKS_RW_SO_FUNCTIONS);
        assert_eq!(fake::open(&module, RO), Err(Ckr(CKR_SESSION_READ_WRITE_SO_EXISTS)));
    }

    #[test]
    fn a_cloudhsm_pin_is_split_at_its_first_colon() {
        let pin = credentials(true, CKU_USER, b"alice:pass:word").ok().unwrap();
        assert_eq!(pin.user, "alice");
        assert_eq!(pin.password.as_slice(), b"pass:word");
        let refused = |user_type, pin: &[u8]| credentials(true, user_type, pin).err();
        assert_eq!(refused(CKU_USER, b"password"), Some(Ckr(CKR_PIN_INCORRECT)));
        assert_eq!(refused(CKU_USER, b"\xff:password"), Some(Ckr(CKR_PIN_INCORRECT)));
        assert_eq!(refused(CKU_SO, b"admin:password"), Some(Ckr(CKR_USER_TYPE_INVALID)));
    }

    #[test]
    fn a_token_pin_is_the_password_colons_and_all() {
        let pin = credentials(false, CKU_USER, b"a:b").ok().unwrap();
        assert_eq!((pin.user.as_str(), pin.password.as_slice()), ("user", b"a:b".as_slice()));
        assert_eq!(credentials(false, CKU_SO, b"1234").ok().unwrap().user, "so");
        assert!(credentials(false, 7, b"1234").is_err());
    }
}
