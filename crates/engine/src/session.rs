//! Session objects (CKA_TOKEN=false): one client's, in this HSM's memory only.
//!
//! They carry the same metadata as token objects and obey the same rules, but never enter the vault.
//! PKCS#11 2.40, 4.4: "session objects … are destroyed when the session is closed".

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::CKR_DEVICE_MEMORY;
use strongroom_vault::{Flags, Handle, LoginId, Object};
use strongroom_wire::limits;

use crate::content::Content;
use crate::error::Error;

/// Session objects of all clients of one HSM.
const OBJECTS_OF_ALL_MAX: usize = 16 * limits::SESSION_OBJECTS_MAX;

/// A session object.
pub(crate) struct SessionObject {
    /// As a token object would be. Its id is unused.
    pub(crate) object: Object,
    /// The application's session that it belongs to.
    pub(crate) session: u64,
    /// The login that it was made under.
    pub(crate) login: Option<LoginId>,
    pub(crate) content: Arc<Content>,
}

impl SessionObject {
    pub(crate) fn is_private(&self) -> bool {
        self.object.meta.flags.contains(Flags::PRIVATE)
    }
}

/// Gives handles to, and counts, the session objects of all clients.
pub(crate) struct ObjectBudget {
    next: AtomicU64,
    count: AtomicUsize,
}

impl ObjectBudget {
    pub(crate) fn new(first: Handle) -> Self {
        Self { next: AtomicU64::new(first.0), count: AtomicUsize::new(0) }
    }

    fn handle(&self) -> Handle {
        Handle(self.next.fetch_add(1, Ordering::Relaxed) | Handle::SESSION_BIT)
    }
}

/// One client's session objects.
pub(crate) struct SessionObjects {
    budget: Arc<ObjectBudget>,
    /// Rises with every change or end of an object: connections' caches compare it.
    changes: AtomicU64,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    objects: BTreeMap<Handle, Arc<SessionObject>>,
    /// Session objects that became token objects keep their handle for this client.
    became: HashMap<Handle, Handle>,
    /// What was made for recent requests, by their sequence: a retry gets the same objects.
    made: BTreeMap<u64, Vec<Handle>>,
}

impl SessionObjects {
    pub(crate) fn new(budget: Arc<ObjectBudget>) -> Self {
        Self { budget, changes: AtomicU64::new(0), store: Mutex::default() }
    }

    /// See [`crate::cache::Hot`].
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let store = self.store();
        store.objects.is_empty() && store.became.is_empty()
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<Arc<SessionObject>> {
        self.store().objects.get(&handle).cloned()
    }

    /// The handle that `handle` stands for: itself, but for a session object that became a token
    /// object.
    pub(crate) fn resolve(&self, handle: Handle) -> Handle {
        if !handle.is_session() {
            return handle;
        }
        self.store().became.get(&handle).copied().unwrap_or(handle)
    }

    /// The objects above `after`, in the order of their handles.
    pub(crate) fn after(&self, after: Handle) -> Vec<Arc<SessionObject>> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.store()
            .objects
            .range((Excluded(after), Unbounded))
            .map(|(_, o)| Arc::clone(o))
            .collect()
    }

    /// What was made for the request `sequence`, where it was made here lately.
    pub(crate) fn made_for(&self, sequence: u64) -> Option<Vec<Handle>> {
        self.store().made.get(&sequence).cloned()
    }

    /// Adds objects, all or none, and gives them handles. `sequence` is their request's number, 0
    /// where it must not be remembered; a request that was served already gets the objects of then.
    ///
    /// # Errors
    /// CKR_DEVICE_MEMORY over the limits.
    pub(crate) fn add(
        &self,
        sequence: u64,
        lowest_unanswered: u64,
        objects: Vec<SessionObject>,
    ) -> Result<Vec<Handle>, Error> {
        let mut store = self.store();
        if let Some(made) = store.made.get(&sequence) {
            return Ok(made.clone());
        }
        let full = || Error::caller(CKR_DEVICE_MEMORY, "too many session objects");
        if store.objects.len() + objects.len() > limits::SESSION_OBJECTS_MAX {
            return Err(full());
        }
        let new = objects.len();
        if self.budget.count.fetch_add(new, Ordering::Relaxed) + new > OBJECTS_OF_ALL_MAX {
            self.budget.count.fetch_sub(new, Ordering::Relaxed);
            return Err(full());
        }
        let mut handles = Vec::with_capacity(new);
        for mut object in objects {
            object.object.handle = self.budget.handle();
            handles.push(object.object.handle);
            store.objects.insert(object.object.handle, Arc::new(object));
        }
        if sequence != 0 {
            store.made = store.made.split_off(&lowest_unanswered);
            store.made.insert(sequence, handles.clone());
            while store.made.len() > limits::REMEMBERED_REPLIES_MAX {
                store.made.pop_first();
            }
        }
        Ok(handles)
    }

    /// Takes back what was made for a request that failed after all.
    pub(crate) fn unmake(&self, sequence: u64, handles: &[Handle]) {
        self.store().made.remove(&sequence);
        for handle in handles {
            self.destroy(*handle);
        }
    }

    /// Replaces an object by its changed self. `false` where it is gone, or changed meanwhile.
    pub(crate) fn replace(&self, before: &Arc<SessionObject>, after: SessionObject) -> bool {
        let mut store = self.store();
        match store.objects.get_mut(&before.object.handle) {
            Some(present) if Arc::ptr_eq(present, before) => {
                *present = Arc::new(after);
                self.changed();
                true
            }
            _ => false,
        }
    }

    /// The object has become the token object `token`.
    pub(crate) fn became(&self, handle: Handle, token: Handle) {
        let mut store = self.store();
        if store.objects.remove(&handle).is_some() {
            store.became.insert(handle, token);
            self.budget.count.fetch_sub(1, Ordering::Relaxed);
            self.changed();
        }
    }

    /// Destroys an object; whether it was there.
    pub(crate) fn destroy(&self, handle: Handle) -> bool {
        let gone = self.store().objects.remove(&handle).is_some();
        if gone {
            self.budget.count.fetch_sub(1, Ordering::Relaxed);
            self.changed();
        }
        gone
    }

    /// Destroys all objects of which `is_so`.
    pub(crate) fn destroy_where(&self, is_so: impl Fn(&SessionObject) -> bool) {
        let mut store = self.store();
        let before = store.objects.len();
        store.objects.retain(|_, object| !is_so(object));
        self.budget.count.fetch_sub(before - store.objects.len(), Ordering::Relaxed);
        self.changed();
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SessionObjects {
    fn drop(&mut self) {
        let count = self.store().objects.len();
        self.budget.count.fetch_sub(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_vault::{Meta, ObjectId, UserId};

    fn object(session: u64) -> SessionObject {
        let meta = Meta::default();
        SessionObject {
            object: Object {
                handle: Handle(0),
                id: ObjectId([0; 16]),
                owner: UserId(3),
                version: 0,
                meta: meta.clone(),
            },
            session,
            login: None,
            content: Content::new(&meta, None, Vec::new()),
        }
    }

    fn objects() -> SessionObjects {
        SessionObjects::new(Arc::new(ObjectBudget::new(Handle(Handle::SESSION_BIT | 0x1_0000))))
    }

    #[test]
    fn a_retried_request_gets_the_objects_of_the_first_time() {
        let objects = objects();
        let first = objects.add(9, 9, vec![object(1)]).unwrap();
        assert_eq!(objects.add(9, 9, vec![object(1)]).unwrap(), first);
        assert_eq!(objects.made_for(9), Some(first.clone()));
        let next = objects.add(10, 10, vec![object(1)]).unwrap();
        assert_ne!(next, first);
        assert_eq!(objects.made_for(9), None, "the client has seen the answer to 9");
        assert!(first[0].is_session());
    }

    #[test]
    fn objects_without_a_sequence_are_all_new() {
        let objects = objects();
        let first = objects.add(0, 0, vec![object(1)]).unwrap();
        assert_ne!(objects.add(0, 0, vec![object(1)]).unwrap(), first);
    }

    #[test]
    fn closing_a_session_destroys_its_objects_only() {
        let objects = objects();
        let one = objects.add(0, 0, vec![object(1)]).unwrap()[0];
        let two = objects.add(0, 0, vec![object(2)]).unwrap()[0];
        let before = objects.changes();
        objects.destroy_where(|o| o.session == 1);
        assert!(objects.get(one).is_none() && objects.get(two).is_some());
        assert_ne!(objects.changes(), before);
    }

    #[test]
    fn the_limit_holds_and_room_comes_back() {
        let objects = objects();
        for _ in 0..limits::SESSION_OBJECTS_MAX {
            objects.add(0, 0, vec![object(1)]).unwrap();
        }
        assert_eq!(objects.add(0, 0, vec![object(1)]).unwrap_err().ckr(), CKR_DEVICE_MEMORY);
        objects.destroy_where(|_| true);
        assert_eq!(objects.budget.count.load(Ordering::Relaxed), 0);
        objects.add(0, 0, vec![object(1)]).unwrap();
    }
}
