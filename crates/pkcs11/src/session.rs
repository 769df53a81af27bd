//! Sessions (PKCS#11 2.40, section 5.6).
//!
//! Sessions are the library's own: opening one costs no request, and one survives a reconnection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use cryptoki_sys::*;
use strongroom_wire::limits::SESSIONS_MAX;
use strongroom_wire::message::{CloseSession, Operation, Role};

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

    /// Whether one is read-only.
    pub(crate) fn any_read_only(&self) -> bool {
        read(&self.table).values().any(|session| !session.read_write)
    }

    /// Ends all operations that use objects.
    pub(crate) fn end_uses_of_objects(&self) {
        for session in read(&self.table).values() {
            session.operations().end_uses_of_objects();
        }
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

/// A session's handle as the application sees it.
pub(crate) fn handle(session: u64) -> CK_SESSION_HANDLE {
    narrow(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;
    use strongroom_wire::message::Personality;

    const RO: CK_FLAGS = CKF_SERIAL_SESSION;
    const RW: CK_FLAGS = CKF_SERIAL_SESSION | CKF_RW_SESSION;

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
}
