//! The table of token objects, with its indexes.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound::{Excluded, Included, Unbounded};

use cryptoki_sys::{CKA_ID, CKA_LABEL};

use crate::attributes::Attribute;
use crate::{Handle, Object, UserId};

/// Objects by handle, and their handles by label and by CKA_ID.
///
/// An index keeps a hash of the value and the handle, 16 bytes an object, however long the value
/// is; under one hash the handles rise, so that a search goes on from a handle without a sort. The
/// hash never leaves the process, and a collision costs a comparison.
#[derive(Default)]
pub(crate) struct Objects {
    by_handle: BTreeMap<Handle, Object>,
    labels: BTreeSet<(u64, Handle)>,
    cka_ids: BTreeSet<(u64, Handle)>,
    owned: BTreeMap<UserId, usize>,
}

impl Objects {
    pub(crate) fn len(&self) -> usize {
        self.by_handle.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Object> {
        self.by_handle.values()
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&Object> {
        self.by_handle.get(&handle)
    }

    /// How many objects a user owns.
    pub(crate) fn owned_by(&self, user: UserId) -> usize {
        self.owned.get(&user).copied().unwrap_or(0)
    }

    /// Puts an object, over an older record of the same handle.
    pub(crate) fn put(&mut self, object: Object) {
        self.remove(object.handle);
        self.labels.insert((hash(&object.meta.label), object.handle));
        self.cka_ids.insert((hash(&object.meta.cka_id), object.handle));
        *self.owned.entry(object.owner).or_default() += 1;
        self.by_handle.insert(object.handle, object);
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<Object> {
        let object = self.by_handle.remove(&handle)?;
        self.labels.remove(&(hash(&object.meta.label), handle));
        self.cka_ids.remove(&(hash(&object.meta.cka_id), handle));
        if let Some(count) = self.owned.get_mut(&object.owner) {
            *count -= 1;
            if *count == 0 {
                self.owned.remove(&object.owner);
            }
        }
        Some(object)
    }

    /// Objects above `after` that may match the template, by rising handle: those of an index where
    /// the template gives an identifier or a label that is not empty, else all.
    pub(crate) fn candidates<'a>(
        &'a self,
        template: &[Attribute],
        after: Handle,
    ) -> Box<dyn Iterator<Item = &'a Object> + 'a> {
        let given = |kind| {
            let attribute = template.iter().find(|attribute| attribute.kind == kind)?;
            (!attribute.value.is_empty()).then(|| hash(&attribute.value))
        };
        let (index, hash) = match (given(CKA_ID), given(CKA_LABEL)) {
            (Some(hash), _) => (&self.cka_ids, hash),
            (None, Some(hash)) => (&self.labels, hash),
            (None, None) => {
                let all = self.by_handle.range((Excluded(after), Unbounded));
                return Box::new(all.map(|(_, object)| object));
            }
        };
        let range = (Excluded((hash, after)), Included((hash, Handle(u64::MAX))));
        // `BTreeSet::range` panics where both bounds are the same and one is excluded.
        if after == Handle(u64::MAX) {
            return Box::new(std::iter::empty());
        }
        Box::new(index.range(range).filter_map(|(_, handle)| self.get(*handle)))
    }
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
