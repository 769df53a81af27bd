//! Clients (processes of applications) as this HSM knows them: how many connections each has, which
//! logins they use, and when they were last here.
//!
//! In: attach, detach, logout. Out: a [`ClientContext`] that all connections of one client share, and
//! who has been gone for long. A connection looks here when it attaches and when it ends, never while
//! it works.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strongroom_vault::{ClientId, Handle, LoginId, UserId};

use crate::session::{ObjectBudget, SessionObject, SessionObjects};

/// Session objects of a client without a connection are kept so long, in milliseconds: its
/// connection may have broken while it waits for something else.
const ABSENCE_MS_MAX: u64 = 5 * 60 * 1000;

/// One client, shared by its connections.
pub(crate) struct ClientContext {
    pub(crate) id: ClientId,
    pub(crate) objects: SessionObjects,
    connections: AtomicUsize,
    gone_since_ms: AtomicU64,
}

/// A login as the connections that attached with it share it.
pub(crate) struct LoginContext {
    pub(crate) id: LoginId,
    pub(crate) user: UserId,
    ended: AtomicBool,
}

impl LoginContext {
    /// Whether the client has logged out, so that it knows that it acts as nobody. Other ends of a login
    /// (the user's epoch, C_InitToken, one from while this HSM was cut off that the cluster does not take)
    /// are seen in the state, and the client is told of them.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The client logs out: on all its connections, from now on.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

struct KnownLogin {
    context: Option<Arc<LoginContext>>,
    connections: usize,
    gone_since_ms: u64,
}

/// All clients of this HSM.
pub(crate) struct Clients {
    contexts: Mutex<HashMap<ClientId, Arc<ClientContext>>>,
    logins: Mutex<HashMap<LoginId, KnownLogin>>,
    budget: Arc<ObjectBudget>,
}

impl Clients {
    /// `first_handle` is random, so that a handle from before a restart means nothing after it.
    pub(crate) fn new(first_handle: Handle) -> Self {
        Self {
            contexts: Mutex::default(),
            logins: Mutex::default(),
            budget: Arc::new(ObjectBudget::new(first_handle)),
        }
    }

    /// A connection becomes one of the client's.
    pub(crate) fn attach(&self, id: ClientId) -> Arc<ClientContext> {
        let mut contexts = lock(&self.contexts);
        let context = contexts.entry(id).or_insert_with(|| {
            Arc::new(ClientContext {
                id,
                objects: SessionObjects::new(Arc::clone(&self.budget)),
                connections: AtomicUsize::new(0),
                gone_since_ms: AtomicU64::new(0),
            })
        });
        context.connections.fetch_add(1, Ordering::Relaxed);
        Arc::clone(context)
    }

    /// A connection of the client ends.
    pub(crate) fn detach(&self, context: &ClientContext, now_ms: u64) {
        let mut contexts = lock(&self.contexts);
        context.gone_since_ms.store(now_ms, Ordering::Relaxed);
        if context.connections.fetch_sub(1, Ordering::Relaxed) == 1 && context.objects.is_empty() {
            contexts.remove(&context.id);
        }
    }

    /// A connection uses a login; `None` where its client has logged out here.
    pub(crate) fn use_login(&self, id: LoginId, user: UserId) -> Option<Arc<LoginContext>> {
        let mut logins = lock(&self.logins);
        let known = logins.entry(id).or_insert(KnownLogin {
            context: None,
            connections: 0,
            gone_since_ms: 0,
        });
        let context = known.context.get_or_insert_with(|| {
            Arc::new(LoginContext { id, user, ended: AtomicBool::new(false) })
        });
        if context.ended() {
            return None;
        }
        let context = Arc::clone(context);
        known.connections += 1;
        Some(context)
    }

    /// A connection uses a login no longer.
    pub(crate) fn leave_login(&self, id: LoginId, now_ms: u64) {
        if let Some(known) = lock(&self.logins).get_mut(&id) {
            known.connections = known.connections.saturating_sub(1);
            known.gone_since_ms = now_ms;
        }
    }

    /// Forgets clients that have been gone for long, with their session objects.
    pub(crate) fn forget_absent(&self, now_ms: u64) {
        lock(&self.contexts).retain(|_, context| {
            let gone = context.connections.load(Ordering::Relaxed) == 0
                && now_ms.saturating_sub(context.gone_since_ms.load(Ordering::Relaxed))
                    > ABSENCE_MS_MAX;
            !gone
        });
    }

    /// Of the open logins, with when the cluster saw each, those that were used here `again_ms` or more
    /// after that.
    pub(crate) fn seen_again(
        &self,
        open: &BTreeMap<LoginId, u64>,
        now_ms: u64,
        again_ms: u64,
    ) -> Vec<LoginId> {
        let mut logins = lock(&self.logins);
        logins.retain(|id, known| known.connections > 0 || open.contains_key(id));
        let mut seen: Vec<LoginId> = logins
            .iter()
            .filter(|(id, known)| {
                let here_ms = if known.connections > 0 { now_ms } else { known.gone_since_ms };
                let again = |seen_ms: &u64| here_ms.saturating_sub(*seen_ms) >= again_ms;
                open.get(id).is_some_and(again)
            })
            .map(|(id, _)| *id)
            .collect();
        seen.sort_unstable();
        seen
    }

    /// Of the open logins, those that were logged out of here when the change could not be made.
    pub(crate) fn ended_logins(&self, open: &BTreeMap<LoginId, u64>) -> Vec<LoginId> {
        let logins = lock(&self.logins);
        let ended = |known: &KnownLogin| known.context.as_ref().is_some_and(|c| c.ended());
        let ended = logins.iter().filter(|(id, known)| ended(known) && open.contains_key(id));
        ended.map(|(id, _)| *id).collect()
    }

    /// Destroys all session objects, of whatever client, of which `is_so`.
    pub(crate) fn destroy_objects_where(&self, is_so: impl Fn(&SessionObject) -> bool) {
        for context in lock(&self.contexts).values() {
            context.objects.destroy_where(&is_so);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_objects_is_forgotten_with_its_last_connection() {
        let clients = Clients::new(Handle(Handle::SESSION_BIT));
        let one = clients.attach(ClientId([1; 16]));
        let two = clients.attach(ClientId([1; 16]));
        assert!(Arc::ptr_eq(&one, &two));
        clients.detach(&one, 5);
        assert_eq!(lock(&clients.contexts).len(), 1);
        clients.detach(&two, 5);
        assert!(lock(&clients.contexts).is_empty());
    }

    fn open(seen_ms: u64) -> BTreeMap<LoginId, u64> {
        BTreeMap::from([(LoginId(4), seen_ms)])
    }

    #[test]
    fn a_login_is_seen_again_while_it_is_used_and_once_after() {
        let clients = Clients::new(Handle(Handle::SESSION_BIT));
        let login = clients.use_login(LoginId(4), UserId(3)).unwrap();
        assert!(clients.seen_again(&open(1000), 1099, 100).is_empty());
        assert_eq!(clients.seen_again(&open(1000), 1100, 100), [LoginId(4)]);
        clients.leave_login(login.id, 1150);
        assert_eq!(clients.seen_again(&open(1000), 9999, 100), [LoginId(4)]);
        assert!(clients.seen_again(&open(1100), 9999, 100).is_empty());
        assert!(clients.seen_again(&BTreeMap::new(), 9999, 100).is_empty());
        assert!(lock(&clients.logins).is_empty());
    }

    #[test]
    fn a_login_that_was_logged_out_of_is_of_no_use_and_is_closed_at_the_next_chance() {
        let clients = Clients::new(Handle(Handle::SESSION_BIT));
        let login = clients.use_login(LoginId(4), UserId(3)).unwrap();
        assert!(clients.ended_logins(&open(0)).is_empty());
        login.end();
        assert!(clients.use_login(LoginId(4), UserId(3)).is_none());
        assert_eq!(clients.ended_logins(&open(0)), [LoginId(4)]);
        assert!(clients.ended_logins(&BTreeMap::new()).is_empty());
    }
}
