//! Session objects (CKA_TOKEN=false): one client's, in HSMs' memory only.
//!
//! The client keeps a masked copy of each (`kept`), and puts it onto another HSM when it goes there. They carry the same metadata as token objects and obey the same rules, but never enter the vault.
//! PKCS#11 2.40, 4.4: "session objects … are destroyed when the session is closed".

use std::collections::{BTreeMap, BTreeSet, HashMap};
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

    /// The login without which the object is of no use.
    pub(crate) fn needs(&self) -> Option<LoginId> {
        self.login.filter(|_| self.is_private())
    }

    /// Whether a connection with this login may know of it. A private object ends with its login, which
    /// another HSM may have ended.
    pub(crate) fn is_for(&self, login: Option<LoginId>) -> bool {
        self.needs().is_none_or(|needs| Some(needs) == login)
    }
}

/// What a session object that became a token object leaves behind: its handle goes on working for its
/// client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Became {
    pub(crate) handle: Handle,
    /// The token object.
    pub(crate) token: Handle,
    /// Newer than the session object's.
    pub(crate) version: u64,
    /// The login that the session object needed.
    pub(crate) needs: Option<LoginId>,
}

/// What a client keeps of a session object.
#[derive(Clone)]
pub(crate) enum Kept {
    Object(Arc<SessionObject>),
    Became(Became),
}

impl Kept {
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Self::Object(kept) => kept.object.handle,
            Self::Became(became) => became.handle,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        match self {
            Self::Object(kept) => kept.object.version,
            Self::Became(became) => became.version,
        }
    }

    /// The application's session that it ends with; 0 for none.
    pub(crate) fn session(&self) -> u64 {
        match self {
            Self::Object(kept) => kept.session,
            Self::Became(_) => 0,
        }
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
    became: HashMap<Handle, Became>,
    /// What was made for recent requests, by their sequence: a retry gets the same objects. Nothing was
    /// made by one that destroyed.
    made: BTreeMap<u64, Vec<Handle>>,
}

impl Store {
    /// What a request made, for its retry; 0 is the sequence of one that is not retried.
    fn remember(&mut self, sequence: u64, lowest_unanswered: u64, made: Vec<Handle>) {
        if sequence == 0 {
            return;
        }
        self.made = self.made.split_off(&lowest_unanswered);
        self.made.insert(sequence, made);
        while self.made.len() > limits::REMEMBERED_REPLIES_MAX {
            self.made.pop_first();
        }
    }
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
        self.store().became.get(&handle).map_or(handle, |became| became.token)
    }

    /// What a client keeps of the object that had this handle.
    pub(crate) fn kept(&self, handle: Handle) -> Option<Kept> {
        let store = self.store();
        let became = store.became.get(&handle).copied().map(Kept::Became);
        became.or_else(|| store.objects.get(&handle).cloned().map(Kept::Object))
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
        store.remember(sequence, lowest_unanswered, handles.clone());
        Ok(handles)
    }

    /// Adds what the client has kept, all or none, where there is nothing as new here.
    ///
    /// # Errors
    /// CKR_DEVICE_MEMORY over the limits.
    pub(crate) fn restore(&self, kept: Vec<Kept>) -> Result<(), Error> {
        let mut store = self.store();
        let newer = |store: &Store, kept: &Kept| {
            let present = store.objects.get(&kept.handle()).map(|present| present.object.version);
            !store.became.contains_key(&kept.handle())
                && present.is_none_or(|present| present < kept.version())
        };
        let kept: Vec<Kept> = kept.into_iter().filter(|kept| newer(&store, kept)).collect();
        let full = || Error::caller(CKR_DEVICE_MEMORY, "too many session objects");
        let became = kept.iter().filter(|kept| matches!(kept, Kept::Became(_))).count();
        if store.became.len() + became > limits::SESSION_OBJECTS_MAX {
            return Err(full());
        }
        let is_new = |kept: &&Kept| {
            matches!(kept, Kept::Object(_)) && !store.objects.contains_key(&kept.handle())
        };
        let added: BTreeSet<Handle> = kept.iter().filter(is_new).map(Kept::handle).collect();
        if store.objects.len() + added.len() > limits::SESSION_OBJECTS_MAX {
            return Err(full());
        }
        let added = added.len();
        if self.budget.count.fetch_add(added, Ordering::Relaxed) + added > OBJECTS_OF_ALL_MAX {
            self.budget.count.fetch_sub(added, Ordering::Relaxed);
            return Err(full());
        }
        for kept in kept {
            // Looked at again: the same request may hold two versions.
            if !newer(&store, &kept) {
                continue;
            }
            match kept {
                Kept::Object(kept) => drop(store.objects.insert(kept.object.handle, kept)),
                Kept::Became(became) => {
                    if store.objects.remove(&became.handle).is_some() {
                        self.budget.count.fetch_sub(1, Ordering::Relaxed);
                    }
                    store.became.insert(became.handle, became);
                }
            }
        }
        self.changed();
        Ok(())
    }

    /// Takes back what was made for a request that failed after all.
    pub(crate) fn unmake(&self, sequence: u64, handles: &[Handle]) {
        self.store().made.remove(&sequence);
        self.destroy_where(|object| handles.contains(&object.object.handle));
    }

    /// Replaces an object by its changed self. `false` where it is gone, or changed meanwhile.
    pub(crate) fn replace(&self, before: &Arc<SessionObject>, after: Arc<SessionObject>) -> bool {
        let mut store = self.store();
        match store.objects.get_mut(&before.object.handle) {
            Some(present) if Arc::ptr_eq(present, before) => {
                *present = after;
                self.changed();
                true
            }
            _ => false,
        }
    }

    /// The object has become the token object `token`: what the client keeps of it from now on.
    pub(crate) fn became(&self, object: &SessionObject, token: Handle) -> Became {
        let handle = object.object.handle;
        let version = object.object.version + 1;
        let became = Became { handle, token, version, needs: object.needs() };
        let mut store = self.store();
        if store.objects.remove(&handle).is_some() {
            self.budget.count.fetch_sub(1, Ordering::Relaxed);
        }
        store.became.insert(handle, became);
        self.changed();
        became
    }

    /// Whether the request `sequence` has destroyed its object when it was sent before.
    pub(crate) fn destroyed_by(&self, sequence: u64) -> bool {
        self.store().made.get(&sequence).is_some_and(Vec::is_empty)
    }

    /// Destroys an object for the request `sequence`; whether it was there.
    pub(crate) fn destroy(&self, handle: Handle, sequence: u64, lowest_unanswered: u64) -> bool {
        let mut store = self.store();
        if store.objects.remove(&handle).is_none() {
            return false;
        }
        self.budget.count.fetch_sub(1, Ordering::Relaxed);
        store.remember(sequence, lowest_unanswered, Vec::new());
        self.changed();
        true
    }

    /// Destroys all objects of which `is_so`.
    pub(crate) fn destroy_where(&self, is_so: impl Fn(&SessionObject) -> bool) {
        let mut store = self.store();
        let before = store.objects.len();
        store.objects.retain(|_, object| !is_so(object));
        let gone = before - store.objects.len();
        if gone > 0 {
            self.budget.count.fetch_sub(gone, Ordering::Relaxed);
            self.changed();
        }
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
    fn a_retry_of_a_destruction_is_told_that_it_was_done() {
        let objects = objects();
        let one = objects.add(9, 9, vec![object(1)]).unwrap()[0];
        assert!(objects.destroy(one, 10, 10));
        assert!(objects.destroyed_by(10));
        assert!(!objects.destroyed_by(11) && !objects.destroyed_by(0));
        assert!(!objects.destroy(one, 11, 11));
    }

    fn version(handle: u64, version: u64) -> Kept {
        let mut object = object(1);
        object.object.handle = Handle(Handle::SESSION_BIT | handle);
        object.object.version = version;
        Kept::Object(Arc::new(object))
    }

    #[test]
    fn what_is_restored_never_replaces_what_is_newer() {
        let objects = objects();
        let present = |handle| {
            objects.get(Handle(Handle::SESSION_BIT | handle)).map(|object| object.object.version)
        };
        for (restored, then) in [(2, 2), (1, 2), (3, 3), (3, 3)] {
            objects.restore(vec![version(5, restored)]).unwrap();
            assert_eq!(present(5), Some(then));
        }
        objects.restore(vec![version(6, 4), version(6, 2), version(6, 5)]).unwrap();
        assert_eq!(present(6), Some(5));
        assert_eq!(objects.budget.count.load(Ordering::Relaxed), 2);
        let object = objects.get(Handle(Handle::SESSION_BIT | 5)).unwrap();
        let became = objects.became(&object, Handle::FIRST);
        objects.restore(vec![version(5, 9)]).unwrap();
        assert_eq!(present(5), None);
        assert_eq!(objects.resolve(became.handle), Handle::FIRST);
        assert_eq!(objects.budget.count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_became_a_token_object_is_restored_as_that() {
        let objects = objects();
        objects.restore(vec![version(5, 0)]).unwrap();
        let handle = Handle(Handle::SESSION_BIT | 5);
        let became = Became { handle, token: Handle::FIRST, version: 1, needs: None };
        objects.restore(vec![Kept::Became(became)]).unwrap();
        assert!(objects.get(handle).is_none());
        assert_eq!(objects.resolve(handle), Handle::FIRST);
        assert_eq!(objects.budget.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn more_than_a_client_may_have_is_not_restored() {
        let objects = objects();
        let all = |count: u64| (0..count).map(|handle| version(handle, 0)).collect::<Vec<_>>();
        let max = limits::SESSION_OBJECTS_MAX as u64;
        let refused = objects.restore(all(max + 1)).unwrap_err();
        assert_eq!(refused.ckr(), CKR_DEVICE_MEMORY);
        assert_eq!(objects.budget.count.load(Ordering::Relaxed), 0);
        objects.restore(all(max)).unwrap();
        objects.restore(all(max)).unwrap();
        assert_eq!(objects.budget.count.load(Ordering::Relaxed), max as usize);
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
