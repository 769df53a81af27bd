//! What a client keeps for each HSM: its load, and one connection beside those of its threads, on
//! which it is asked whether it is still there.
//!
//! That connection is made before it is needed: an HSM whose network has just gone could not be told
//! from one that is slow to shake hands.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use crate::{
    connection::Connection,
    fleet::{HsmKey, Load},
    objects::Progress,
};

/// A ping connection that rested for so long is used, or the HSM closes it.
pub(crate) const PING_REST: Duration = Duration::from_secs(20);

/// One HSM.
pub(crate) struct Site {
    pub(crate) key: HsmKey,
    pub(crate) load: Arc<Load>,
    /// Of the session objects.
    pub(crate) objects: Progress,
    ping: Mutex<Option<Connection>>,
}

impl Site {
    pub(crate) fn new(key: HsmKey, load: Arc<Load>) -> Self {
        Self { key, load, objects: Progress::default(), ping: Mutex::new(None) }
    }

    /// The connection for pings, for one thread at a time; `None` where another thread is asking.
    pub(crate) fn try_ping(&self) -> Option<MutexGuard<'_, Option<Connection>>> {
        match self.ping.try_lock() {
            Ok(ping) => Some(ping),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The HSMs that connections were made to.
pub(crate) struct Sites(Mutex<HashMap<HsmKey, Arc<Site>>>);

impl Sites {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    pub(crate) fn find(&self, key: HsmKey, load: impl FnOnce() -> Arc<Load>) -> Arc<Site> {
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let site = sites.entry(key).or_insert_with(|| Arc::new(Site::new(key, load())));
        Arc::clone(site)
    }

    /// Closes the ping connections in order.
    pub(crate) fn close_all(&self) {
        for site in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if let Some(ping) = site.try_ping().and_then(|mut ping| ping.take()) {
                ping.close();
            }
        }
    }

    /// Forgets those that the fleet has no more.
    pub(crate) fn retain(&self, known: impl Fn(HsmKey) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| known(*key));
    }

    /// Lets go of the ping connections without a word, and without waiting for a lock: see
    /// [`crate::Client::forget`].
    pub(crate) fn forget(&self) {
        let sites = match self.0.try_lock() {
            Ok(sites) => sites,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for site in sites.values() {
            if let Some(mut ping) = site.try_ping() {
                *ping = None;
            }
        }
    }
}
