//! Unsealed objects that were used lately, so that a key is parsed once and not for each signature.
//!
//! [`Contents`] is shared by all connections and owns what it holds: an object that is destroyed is
//! dropped here, and wiped when the last operation on it ends. [`Hot`] is one connection's own: what
//! it was allowed to use, until when that holds, and a weak reference to the content.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use strongroom_vault::{Flags, Handle, LogIndex, Meta, ObjectId};

use crate::content::Content;

/// Shards of the shared cache: connections that miss rarely meet in one.
const SHARDS: usize = 16;
/// Objects of one shard.
const SHARD_OBJECTS_MAX: usize = 256;
/// Objects in one connection's own cache.
const HOT_OBJECTS_MAX: usize = 128;

/// The shared cache.
#[derive(Default)]
pub(crate) struct Contents {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// Counts uses: what was used longest ago goes first.
    clock: u64,
    objects: HashMap<ObjectId, Entry>,
}

struct Entry {
    used: u64,
    handle: Handle,
    content: Arc<Content>,
}

impl Contents {
    pub(crate) fn get(&self, id: ObjectId) -> Option<Arc<Content>> {
        let mut shard = self.shard(id);
        shard.clock += 1;
        let now = shard.clock;
        let entry = shard.objects.get_mut(&id)?;
        entry.used = now;
        Some(Arc::clone(&entry.content))
    }

    pub(crate) fn put(&self, handle: Handle, id: ObjectId, content: Arc<Content>) {
        let mut shard = self.shard(id);
        shard.clock += 1;
        let now = shard.clock;
        if shard.objects.len() >= SHARD_OBJECTS_MAX && !shard.objects.contains_key(&id) {
            let oldest = shard.objects.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                shard.objects.remove(&oldest);
            }
        }
        shard.objects.insert(id, Entry { used: now, handle, content });
    }

    pub(crate) fn drop_object(&self, id: ObjectId) {
        self.shard(id).objects.remove(&id);
    }

    /// Keeps the objects of which `is_so`.
    pub(crate) fn retain(&self, is_so: impl Fn(Handle, ObjectId) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.objects.retain(|id, entry| is_so(entry.handle, *id));
        }
    }

    fn shard(&self, id: ObjectId) -> std::sync::MutexGuard<'_, Shard> {
        // Object ids are random, so any byte spreads them.
        let shard = &self.shards[usize::from(id.0[15]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection may do with one object, and until when it may believe that.
#[derive(Clone)]
pub(crate) struct Hot {
    content: Weak<Content>,
    /// As authorised.
    pub(crate) meta: Arc<Meta>,
    /// Functions that the vault allowed.
    allowed: Flags,
    /// Holds while the state is at this index…
    index: LogIndex,
    /// …and the client's session objects at this one.
    session_changes: u64,
}

impl Hot {
    pub(crate) fn new(
        content: &Arc<Content>,
        meta: Arc<Meta>,
        allowed: Flags,
        index: LogIndex,
        session_changes: u64,
    ) -> Self {
        Self { content: Arc::downgrade(content), meta, allowed, index, session_changes }
    }
}

/// One connection's own cache.
#[derive(Default)]
pub(crate) struct HotObjects(HashMap<Handle, Hot>);

impl HotObjects {
    /// The object's content and metadata where `function` was allowed at just this index.
    pub(crate) fn get(
        &self,
        handle: Handle,
        function: Flags,
        index: LogIndex,
        session_changes: u64,
    ) -> Option<(Arc<Content>, &Arc<Meta>)> {
        let hot = self.0.get(&handle)?;
        let holds = hot.index == index
            && hot.allowed.contains(function)
            && (!handle.is_session() || hot.session_changes == session_changes);
        if !holds {
            return None;
        }
        Some((hot.content.upgrade()?, &hot.meta))
    }

    /// Remembers what was allowed, beside what was allowed at the same index before.
    pub(crate) fn put(&mut self, handle: Handle, mut hot: Hot) {
        if let Some(before) = self.0.get(&handle) {
            if before.index == hot.index && before.session_changes == hot.session_changes {
                hot.allowed = hot.allowed | before.allowed;
            }
        } else if self.0.len() >= HOT_OBJECTS_MAX {
            // A connection that uses this many keys in turn gains little from its own cache.
            self.0.clear();
        }
        self.0.insert(handle, hot);
    }

    pub(crate) fn forget(&mut self, handle: Handle) {
        self.0.remove(&handle);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Arc<Content> {
        Content::new(&Meta::default(), None, Vec::new())
    }

    fn id(n: u16) -> ObjectId {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        ObjectId(id)
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let cache = Contents::default();
        for n in 0..1000 {
            cache.put(Handle(u64::from(n)), id(n), content());
            assert!(cache.get(id(0)).is_some());
        }
        let kept = (0..1000).filter(|n| cache.get(id(*n)).is_some()).count();
        assert_eq!(kept, SHARD_OBJECTS_MAX);
        assert!(cache.get(id(999)).is_some() && cache.get(id(1)).is_none());
    }

    #[test]
    fn a_permission_holds_at_its_index_and_for_its_functions_only() {
        let content = content();
        let mut hot = HotObjects::default();
        let at = |index, flags| Hot::new(&content, Arc::default(), flags, LogIndex(index), 0);
        hot.put(Handle(1), at(5, Flags::SIGN));
        assert!(hot.get(Handle(1), Flags::SIGN, LogIndex(5), 0).is_some());
        assert!(hot.get(Handle(1), Flags::SIGN, LogIndex(6), 0).is_none());
        assert!(hot.get(Handle(1), Flags::DECRYPT, LogIndex(5), 0).is_none());
        hot.put(Handle(1), at(5, Flags::DECRYPT));
        assert!(hot.get(Handle(1), Flags::SIGN, LogIndex(5), 0).is_some());
        hot.put(Handle(1), at(6, Flags::DECRYPT));
        assert!(hot.get(Handle(1), Flags::SIGN, LogIndex(6), 0).is_none());
    }

    #[test]
    fn a_connections_cache_keeps_no_key_alive() {
        let mut hot = HotObjects::default();
        let content = content();
        hot.put(Handle(1), Hot::new(&content, Arc::default(), Flags::SIGN, LogIndex(1), 0));
        drop(content);
        assert!(hot.get(Handle(1), Flags::SIGN, LogIndex(1), 0).is_none());
    }

    #[test]
    fn a_session_objects_permission_ends_with_any_change_of_the_clients_session_objects() {
        let content = content();
        let handle = Handle(Handle::SESSION_BIT | 1);
        let mut hot = HotObjects::default();
        hot.put(handle, Hot::new(&content, Arc::default(), Flags::SIGN, LogIndex(1), 4));
        assert!(hot.get(handle, Flags::SIGN, LogIndex(1), 4).is_some());
        assert!(hot.get(handle, Flags::SIGN, LogIndex(1), 5).is_none());
    }
}
