//! Masked objects that are applied and not on disk yet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use strongroom_vault::{Change, LogIndex, ObjectId};

/// What the overlay knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is there.
    Blob(Vec<u8>),
    /// It is gone.
    Gone,
    /// Ask the disk.
    OnDisk,
}

/// The latest blobs by object. Entries go when the disk has them.
#[derive(Default)]
pub(crate) struct Overlay {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    latest: BTreeMap<ObjectId, (LogIndex, Option<Vec<u8>>)>,
    /// All that the disk has is gone, since this entry.
    cleared: Option<LogIndex>,
}

impl Overlay {
    /// Takes in what an entry changed.
    pub(crate) fn apply(&self, index: LogIndex, changes: &[Change]) {
        let mut inner = self.lock();
        for change in changes {
            match change {
                Change::PutBlob { id, blob } => {
                    inner.latest.insert(*id, (index, Some(blob.clone())));
                }
                Change::DeleteBlob { id } => {
                    inner.latest.insert(*id, (index, None));
                }
                Change::Clear => {
                    inner.latest.clear();
                    inner.cleared = Some(index);
                }
                Change::Put { .. } | Change::Delete { .. } => {}
            }
        }
    }

    /// The disk has everything up to `index`.
    pub(crate) fn written(&self, index: LogIndex) {
        let mut inner = self.lock();
        inner.latest.retain(|_, (wrote, _)| *wrote > index);
        if inner.cleared.is_some_and(|cleared| cleared <= index) {
            inner.cleared = None;
        }
    }

    /// The disk has everything, and is another one: a snapshot was installed.
    pub(crate) fn reset(&self) {
        *self.lock() = Inner::default();
    }

    pub(crate) fn find(&self, id: ObjectId) -> Found {
        let inner = self.lock();
        match inner.latest.get(&id) {
            Some((_, Some(blob))) => Found::Blob(blob.clone()),
            Some((_, None)) => Found::Gone,
            None if inner.cleared.is_some() => Found::Gone,
            None => Found::OnDisk,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ObjectId = ObjectId([1; 16]);
    const TWO: ObjectId = ObjectId([2; 16]);

    fn put(id: ObjectId, byte: u8) -> Change {
        Change::PutBlob { id, blob: vec![byte] }
    }

    #[test]
    fn a_blob_is_found_here_until_the_disk_has_it() {
        let overlay = Overlay::default();
        overlay.apply(LogIndex(1), &[put(ONE, 1)]);
        overlay.apply(LogIndex(2), &[Change::DeleteBlob { id: TWO }]);
        assert_eq!(overlay.find(ONE), Found::Blob(vec![1]));
        assert_eq!(overlay.find(TWO), Found::Gone);
        overlay.written(LogIndex(1));
        assert_eq!(overlay.find(ONE), Found::OnDisk);
        assert_eq!(overlay.find(TWO), Found::Gone);
    }

    #[test]
    fn a_newer_blob_stays_when_an_older_one_is_written() {
        let overlay = Overlay::default();
        overlay.apply(LogIndex(1), &[put(ONE, 1)]);
        overlay.apply(LogIndex(2), &[put(ONE, 2)]);
        overlay.written(LogIndex(1));
        assert_eq!(overlay.find(ONE), Found::Blob(vec![2]));
    }

    #[test]
    fn what_the_disk_still_has_is_gone_after_a_clear() {
        let overlay = Overlay::default();
        overlay.apply(LogIndex(1), &[Change::Clear, put(ONE, 1)]);
        assert_eq!(overlay.find(TWO), Found::Gone);
        assert_eq!(overlay.find(ONE), Found::Blob(vec![1]));
        overlay.written(LogIndex(1));
        assert_eq!(overlay.find(TWO), Found::OnDisk);
    }
}
