//! Sessions and the login (PKCS#11 2.40, sections 5.6: session management functions).
//!
//! Sessions are the library's own: opening one costs no request, and one survives a reconnection.
//! The login is the application's, over all its sessions (section 5.6, C_Login).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use cryptoki_sys::*;
use strongroom_wire::limits::SESSIONS_MAX;
use strongroom_wire::message::{CloseSession, Operation, Role};
use zeroize::Zeroizing;

use crate::error::{Ckr, Result};
use crate::lock::{lock, read, write};
use crate::module::{Module, narrow};
use crate::operation::Operations;
use crate::slot;

/// The next session's handle: never used twice in a process, not even after C_Finalize.
static NEXT_HANDLE: AtomicU64 = AtomicU64::new(1);

/// One session.
pub(crate) struct Session {
    /// Its handle, and its number at the HSM.
    pub(crate) handle: u64,
    /// CKF_RW_SESSION.
    pub(crate) read_write: bool,
    operations: Mutex<Operations>,
    made_objects: AtomicBool,
}

impl Session {
    /// The session's operations, for the length of one call.
    pub(crate) fn operations(&self) -> MutexGuard<'_, Operations> {
        lock(&self.operations)
    }

    /// Remembers that the session made a session object, which dies with it.
    pub(crate) fn made_object(&self) {
        self.made_objects.store(true, Ordering::Relaxed);
    }

    /// Refuses a change of token objects in a read-only session.
    pub(crate) fn must_write(&self) -> Result<()> {
        if self.read_write { Ok(()) } else { Err(Ckr(CKR_SESSION_READ_ONLY)) }
    }
}

/// All sessions of the application.
pub(crate) struct Sessions {
    table: RwLock<HashMap<u64, Arc<Session>>>,
    /// Held where sessions open or close and where the login changes: their rules depend on
    /// each other.
    order: Mutex<()>,
}

impl Sessions {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { table: RwLock::new(HashMap::new()), order: Mutex::new(()) }
    }

    /// The session of a handle.
    pub(crate) fn find(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        read(&self.table)
            .get(&crate::module::wide(handle))
            .cloned()
            .ok_or(Ckr(CKR_SESSION_HANDLE_INVALID))
    }

    /// How many are open, and how many of these are read/write.
    pub(crate) fn count(&self) -> (usize, usize) {
        let table = read(&self.table);
        let read_write = table.values().filter(|session| session.read_write).count();
        (table.len(), read_write)
    }

    /// Held, no session opens or closes and nobody logs in or out.
    pub(crate) fn in_order(&self) -> MutexGuard<'_, ()> {
        lock(&self.order)
    }

    /// Runs `change` while no session opens or closes and nobody logs in or out, but only where no
    /// session is open (C_InitToken).
    pub(crate) fn while_none<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let _order = self.in_order();
        if read(&self.table).is_empty() { change() } else { Err(Ckr(CKR_SESSION_EXISTS)) }
    }
}

/// C_OpenSession.
pub(crate) fn open(module: &Module, slot_id: CK_SLOT_ID, flags: CK_FLAGS) -> Result<u64> {
    slot::check(slot_id)?;
    if flags & CKF_SERIAL_SESSION == 0 {
        return Err(Ckr(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
    }
    let read_write = flags & CKF_RW_SESSION != 0;
    let sessions = &module.sessions;
    let _order = sessions.in_order();
    if !read_write && module.hsm.role() == Some(Role::Admin) {
        return Err(Ckr(CKR_SESSION_READ_WRITE_SO_EXISTS));
    }
    let mut table = write(&sessions.table);
    if table.len() >= SESSIONS_MAX {
        tracing::error!("the application has {SESSIONS_MAX} sessions open: close some");
        return Err(Ckr(CKR_SESSION_COUNT));
    }
    let handle = NEXT_HANDLE.fetch_add(1, Ordering::Relaxed);
    let session = Session {
        handle,
        read_write,
        operations: Mutex::default(),
        made_objects: AtomicBool::new(false),
    };
    table.insert(handle, Arc::new(session));
    Ok(handle)
}

/// C_CloseSession.
pub(crate) fn close(module: &Module, handle: CK_SESSION_HANDLE) -> Result<()> {
    let sessions = &module.sessions;
    let _order = sessions.in_order();
    let session = sessions.find(handle)?;
    write(&sessions.table).remove(&session.handle);
    end(module, &session);
    public_when_last(module);
    Ok(())
}

/// C_CloseAllSessions.
pub(crate) fn close_all(module: &Module, slot_id: CK_SLOT_ID) -> Result<()> {
    slot::check(slot_id)?;
    let _order = module.sessions.in_order();
    let closed = std::mem::take(&mut *write(&module.sessions.table));
    for session in closed.values() {
        end(module, session);
    }
    public_when_last(module);
    Ok(())
}

/// Ends what the HSM keeps for a session that was taken out of the table.
fn end(module: &Module, session: &Session) {
    if session.made_objects.load(Ordering::Relaxed) {
        // The session is closed to the application whether or not the HSM could be told; it drops
        // session objects with their client too.
        let request = Operation::CloseSession(CloseSession {});
        if let Err(error) = module.hsm.tell(session.handle, request) {
            tracing::warn!("the HSM was not told of a closed session: {error:?}");
        }
        module.keys.clear();
    }
}

/// PKCS#11 2.40, section 5.6, C_CloseSession: "If this function is successful and it closes the
/// last session between the application and the token, the login state of the token for the
/// application returns to public sessions."
fn public_when_last(module: &Module) {
    if read(&module.sessions.table).is_empty() && module.hsm.role().is_some() {
        module.keys.clear();
        if let Err(error) = module.hsm.logout() {
            tracing::warn!("the HSM was not told of the logout: {error:?}");
        }
    }
}

/// C_GetSessionInfo.
pub(crate) fn info(module: &Module, session: &Session) -> CK_SESSION_INFO {
    let state = match (module.hsm.role(), session.read_write) {
        (Some(Role::Admin), _) => CKS_RW_SO_FUNCTIONS,
        (Some(_), true) => CKS_RW_USER_FUNCTIONS,
        (Some(_), false) => CKS_RO_USER_FUNCTIONS,
        (None, true) => CKS_RW_PUBLIC_SESSION,
        (None, false) => CKS_RO_PUBLIC_SESSION,
    };
    let read_write = if session.read_write { CKF_RW_SESSION } else { 0 };
    CK_SESSION_INFO {
        slotID: slot::ID,
        state,
        flags: CKF_SERIAL_SESSION | read_write,
        ulDeviceError: 0,
    }
}

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
    if credentials.role == Role::Admin && read(&sessions.table).values().any(|s| !s.read_write) {
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
    for session in read(&module.sessions.table).values() {
        session.operations().end_uses_of_objects();
    }
    module.hsm.logout()
}

/// A session's handle as the application sees it.
pub(crate) fn handle(session: u64) -> CK_SESSION_HANDLE {
    narrow(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, PASSWORD};
    use strongroom_wire::message::Personality;

    const RO: CK_FLAGS = CKF_SERIAL_SESSION;
    const RW: CK_FLAGS = CKF_SERIAL_SESSION | CKF_RW_SESSION;

    fn state(module: &Module, handle: CK_SESSION_HANDLE) -> CK_STATE {
        info(module, &module.session(handle).unwrap()).state
    }

    fn log_in(
        module: &Module,
        user_type: CK_USER_TYPE,
        user: Option<&[u8]>,
        pin: &[u8],
    ) -> Result<()> {
        let any = read(&module.sessions.table).values().next().cloned().unwrap();
        login(module, &any, user_type, user, pin)
    }

    #[test]
    fn a_session_is_serial_and_of_the_one_slot() {
        let (module, _) = fake::module(Personality::Token);
        assert_eq!(
            fake::open(&module, CKF_RW_SESSION),
            Err(Ckr(CKR_SESSION_PARALLEL_NOT_SUPPORTED))
        );
        assert_eq!(open(&module, slot::ID + 1, RW), Err(Ckr(CKR_SLOT_ID_INVALID)));
        assert_eq!(close(&module, 0), Err(Ckr(CKR_SESSION_HANDLE_INVALID)));
    }

    #[test]
    fn a_login_is_every_sessions_until_the_last_one_closes() {
        let (module, fake) = fake::module(Personality::Token);
        let (reader, writer) = (fake::open(&module, RO).unwrap(), fake::open(&module, RW).unwrap());
        assert_eq!(state(&module, reader), CKS_RO_PUBLIC_SESSION);
        log_in(&module, CKU_USER, None, PASSWORD).unwrap();
        assert_eq!(state(&module, reader), CKS_RO_USER_FUNCTIONS);
        assert_eq!(state(&module, writer), CKS_RW_USER_FUNCTIONS);
        let again = log_in(&module, CKU_USER, None, PASSWORD);
        assert_eq!(again, Err(Ckr(CKR_USER_ALREADY_LOGGED_IN)));
        let other = log_in(&module, CKU_SO, None, PASSWORD);
        assert_eq!(other, Err(Ckr(CKR_USER_ANOTHER_ALREADY_LOGGED_IN)));
        close(&module, reader).unwrap();
        assert!(lock(&fake).role.is_some());
        close(&module, writer).unwrap();
        assert_eq!(lock(&fake).role, None);
        assert_eq!(logout(&module), Err(Ckr(CKR_USER_NOT_LOGGED_IN)));
    }

    #[test]
    fn the_so_and_read_only_sessions_exclude_each_other() {
        let (module, _) = fake::module(Personality::Token);
        let reader = fake::open(&module, RO).unwrap();
        assert_eq!(log_in(&module, CKU_SO, None, PASSWORD), Err(Ckr(CKR_SESSION_READ_ONLY_EXISTS)));
        close(&module, reader).unwrap();
        let writer = fake::open(&module, RW).unwrap();
        log_in(&module, CKU_SO, None, PASSWORD).unwrap();
        assert_eq!(state(&module, writer), CKS_RW_SO_FUNCTIONS);
        assert_eq!(fake::open(&module, RO), Err(Ckr(CKR_SESSION_READ_WRITE_SO_EXISTS)));
    }

    #[test]
    fn handles_are_never_used_twice() {
        let (module, _) = fake::module(Personality::Token);
        let first = fake::open(&module, RO).unwrap();
        close(&module, first).unwrap();
        let (module, _) = fake::module(Personality::Token);
        assert_ne!(fake::open(&module, RO).unwrap(), first);
        assert!(module.session(first).is_err());
    }

    #[test]
    fn sessions_are_counted() {
        let (module, _) = fake::module(Personality::Token);
        for _ in 0..SESSIONS_MAX {
            fake::open(&module, RO).unwrap();
        }
        assert_eq!(fake::open(&module, RO), Err(Ckr(CKR_SESSION_COUNT)));
        assert_eq!(module.sessions.count(), (SESSIONS_MAX, 0));
        close_all(&module, slot::ID).unwrap();
        assert_eq!(module.sessions.count(), (0, 0));
    }

    #[test]
    fn the_hsm_hears_of_a_closed_session_only_where_it_has_objects_of_it() {
        let (module, fake) = fake::module(Personality::Token);
        let (with, without) = (fake::open(&module, RO).unwrap(), fake::open(&module, RO).unwrap());
        module.session(with).unwrap().made_object();
        close(&module, without).unwrap();
        assert!(lock(&fake).asked.is_empty());
        close(&module, with).unwrap();
        assert_eq!(lock(&fake).asked, ["close"]);
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
