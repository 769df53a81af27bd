//! The module between C_Initialize and C_Finalize, one for each process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use cryptoki_sys::*;
use strongroom_crypto::mechanism;
use strongroom_wire::message::{MechanismReply, Personality};

use crate::error::{Ckr, Result};
use crate::fork::PerProcess;
use crate::hsm::Hsm;
use crate::key_info::KeyCache;
use crate::lock::{lock, read, write};
use crate::session::{Session, Sessions};

/// The state of one initialisation.
pub(crate) struct Module {
    /// The HSM behind it.
    pub(crate) hsm: Box<dyn Hsm>,
    /// Open sessions and the login.
    pub(crate) sessions: Sessions,
    /// What is known of keys.
    pub(crate) keys: KeyCache,
    personality: Personality,
    mechanisms: OnceLock<Vec<MechanismReply>>,
    /// Whether C_Finalize has taken it out.
    ended: AtomicBool,
}

impl Module {
    /// A module over `hsm`.
    pub(crate) fn new(hsm: Box<dyn Hsm>) -> Self {
        Self {
            personality: hsm.personality(),
            hsm,
            sessions: Sessions::new(),
            keys: KeyCache::new(),
            mechanisms: OnceLock::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// What a call that failed tells its caller. Where C_Finalize came while it ran, the login and
    /// the objects that it missed had only gone with the module.
    pub(crate) fn failure(&self, error: Ckr) -> Ckr {
        if self.ended.load(Ordering::Acquire) { Ckr(CKR_CRYPTOKI_NOT_INITIALIZED) } else { error }
    }

    /// The session of a handle.
    pub(crate) fn session(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        self.sessions.find(handle)
    }

    /// Whether the token is for programs written for CloudHSM.
    pub(crate) fn is_cloudhsm(&self) -> bool {
        self.personality == Personality::CloudHsm
    }

    /// The mechanisms that the HSM offers and this library can speak; asked for once.
    pub(crate) fn mechanisms(&self) -> Result<&[MechanismReply]> {
        if let Some(list) = self.mechanisms.get() {
            return Ok(list);
        }
        let mut list = self.hsm.mechanisms()?;
        list.retain(|offered| mechanism::find(offered.kind).is_some());
        Ok(self.mechanisms.get_or_init(|| list))
    }

    /// What the HSM says of a mechanism: CKR_MECHANISM_INVALID where it does not offer it.
    pub(crate) fn mechanism(&self, kind: CK_MECHANISM_TYPE) -> Result<&MechanismReply> {
        self.mechanisms()?
            .iter()
            .find(|offered| offered.kind == wide(kind))
            .ok_or(Ckr(CKR_MECHANISM_INVALID))
    }
}

/// A CK_ULONG as it travels.
#[allow(clippy::useless_conversion)] // CK_ULONG is 32 bits wide on some targets.
pub(crate) fn wide(value: CK_ULONG) -> u64 {
    u64::from(value)
}

/// A number from the wire as a CK_ULONG; what does not fit is no handle, number or size of ours.
pub(crate) fn narrow(value: u64) -> CK_ULONG {
    CK_ULONG::try_from(value).unwrap_or(CK_UNAVAILABLE_INFORMATION)
}

/// Where the module of this process is, or is not yet.
pub(crate) struct Gate {
    /// Held while C_Initialize or C_Finalize runs.
    lifecycle: Mutex<()>,
    module: RwLock<Option<Arc<Module>>>,
}

static GATE: PerProcess<Gate> = PerProcess::new(
    || Gate { lifecycle: Mutex::new(()), module: RwLock::new(None) },
    |parents| {
        // Where the parent held the lock at the fork, its sockets stay open in this child; they
        // are of no use to anybody, and close with it.
        if let Ok(module) = parents.module.try_read()
            && let Some(module) = module.as_ref()
        {
            module.hsm.forget();
        }
    },
);

/// The initialised module, or CKR_CRYPTOKI_NOT_INITIALIZED.
pub(crate) fn current() -> Result<Arc<Module>> {
    read(&GATE.get().module).clone().ok_or(Ckr(CKR_CRYPTOKI_NOT_INITIALIZED))
}

/// Puts in the module that `make` makes.
///
/// # Errors
/// CKR_CRYPTOKI_ALREADY_INITIALIZED, or `make`'s.
pub(crate) fn initialize(make: impl FnOnce() -> Result<Module>) -> Result<()> {
    let gate = GATE.get();
    let _one_at_a_time = lock(&gate.lifecycle);
    if read(&gate.module).is_some() {
        return Err(Ckr(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    let module = Arc::new(make()?);
    *write(&gate.module) = Some(module);
    Ok(())
}

/// Takes the module out. Calls that other threads are in end with their answers, or with
/// CKR_CRYPTOKI_NOT_INITIALIZED.
pub(crate) fn finalize() -> Result<Arc<Module>> {
    let gate = GATE.get();
    let _one_at_a_time = lock(&gate.lifecycle);
    let module = write(&gate.module).take().ok_or(Ckr(CKR_CRYPTOKI_NOT_INITIALIZED))?;
    module.ended.store(true, Ordering::Release);
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn a_call_that_fails_beside_c_finalize_finds_no_module() {
        initialize(|| Ok(fake::module(Personality::Token).0)).unwrap();
        let module = current().unwrap();
        let missed = Ckr(CKR_USER_NOT_LOGGED_IN);
        assert_eq!(module.failure(missed), missed);
        finalize().unwrap();
        assert_eq!(module.failure(missed), Ckr(CKR_CRYPTOKI_NOT_INITIALIZED));
        assert_eq!(current().err(), Some(Ckr(CKR_CRYPTOKI_NOT_INITIALIZED)));
    }
}
