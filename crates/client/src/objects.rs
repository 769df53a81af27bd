//! Session objects as the client keeps them: so that they outlive the HSM that they were made on.
//!
//! In: what replies carry, and what was destroyed. Out: what another HSM lacks before it can serve a
//! request. The objects are masked under a key of the login: the client can't read them, and they are
//! of no use to anybody else.
//!
//! Changes are counted. Of each HSM it is known up to which change it has all objects
//! ([`Progress`]); what came later it gets before it is next asked for an object. An HSM
//! that may have lost its memory starts again from 0: putting an object onto an HSM that has it
//! changes nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

use strongroom_wire::{
    SESSION_HANDLE_BIT,
    limits::{FRAME_BYTES_MAX, SESSION_OBJECTS_MAX},
    message::{Operation, RestoreObjects, SessionObject},
    wipe::Wiped,
};

/// Bytes of all kept objects. What does not fit is not kept, and is lost with its HSM.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What was destroyed is remembered for HSMs that still have it, so many at most: beyond that it stays
/// there until its session ends.
const GONE_MAX: usize = 4096;
/// Bytes of the objects in one request, with room for what stands around them.
const RESTORE_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// The session objects of one client.
pub(crate) struct Objects {
    /// The number of the last change.
    changes: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    objects: HashMap<u64, Object>,
    bytes: usize,
    /// What other HSMs may still have, by the change that destroyed it.
    gone: BTreeMap<u64, Gone>,
    full: bool,
}

struct Object {
    session: u64,
    version: u64,
    blob: Wiped,
    /// The first and the last that concerned it.
    made: u64,
    change: u64,
}

/// What is to be destroyed on an HSM that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    /// Of which session.
    pub(crate) session: u64,
    /// Which object; `None` for all of the session's.
    pub(crate) handle: Option<u64>,
    /// An HSM that has not come so far never had it.
    made: u64,
}

/// How far one HSM has come.
#[derive(Default)]
pub(crate) struct Progress {
    /// It has all objects as of this change, for as long as it has not lost its memory.
    known: AtomicU64,
    /// What was made up to this change it may have.
    had: AtomicU64,
}

impl Progress {
    /// The HSM may have forgotten everything.
    pub(crate) fn doubt(&self) {
        self.known.store(0, Ordering::Release);
    }

    /// It has everything up to this change.
    pub(crate) fn reached(&self, change: u64) {
        self.had.fetch_max(change, Ordering::AcqRel);
        self.known.fetch_max(change, Ordering::AcqRel);
    }
}

/// What one HSM lacks.
pub(crate) struct Lack {
    /// To be destroyed first.
    pub(crate) gone: Vec<Gone>,
    /// To be put there; each fits into one request.
    pub(crate) restore: Vec<RestoreObjects>,
    /// The change that it is up to date with then.
    pub(crate) change: u64,
}

impl Objects {
    pub(crate) fn new() -> Self {
        Self { changes: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// Whether an HSM lacks something. Two atomic loads.
    pub(crate) fn is_behind(&self, hsm: &Progress) -> bool {
        hsm.known.load(Ordering::Acquire) < self.changes.load(Ordering::Acquire)
    }

    /// Keeps objects from a reply of an HSM.
    pub(crate) fn keep(&self, objects: Vec<SessionObject>, hsm: &Progress) {
        if objects.is_empty() {
            return;
        }
        let mut kept = self.lock();
        for object in objects {
            let change = self.next_change();
            if kept.insert(object, change) {
                self.changed(change, Some(hsm));
            }
        }
    }

    /// An object was destroyed, on this HSM.
    pub(crate) fn destroyed(&self, handle: u64, hsm: &Progress) {
        let mut kept = self.lock();
        if let Some(Object { session, made, .. }) = kept.remove(handle) {
            let change = self.next_change();
            kept.bury(change, Gone { session, handle: Some(handle), made });
            self.changed(change, Some(hsm));
        }
    }

    /// A session was closed, and its objects are destroyed on this HSM; on none where none answered.
    pub(crate) fn closed(&self, session: u64, hsm: Option<&Progress>) {
        let mut kept = self.lock();
        let of_session = kept.objects.iter().filter(|(_, object)| object.session == session);
        let (handles, made): (Vec<u64>, Vec<u64>) =
            of_session.map(|(handle, object)| (*handle, object.made)).unzip();
        let Some(made) = made.into_iter().min() else { return };
        for handle in handles {
            kept.remove(handle);
        }
        let change = self.next_change();
        kept.bury(change, Gone { session, handle: None, made });
        self.changed(change, hsm);
    }

    /// The login has ended, and all objects with it, on every HSM.
    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    /// As [`Objects::clear`], where that is possible without waiting.
    pub(crate) fn forget(&self) {
        match self.kept.try_lock() {
            Ok(mut kept) => *kept = Kept::default(),
            Err(TryLockError::Poisoned(poisoned)) => *poisoned.into_inner() = Kept::default(),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// What an HSM lacks.
    pub(crate) fn lack(&self, hsm: &Progress) -> Lack {
        let kept = self.lock();
        let known = hsm.known.load(Ordering::Acquire);
        let had = hsm.had.load(Ordering::Acquire);
        let gone = kept.gone.range(known + 1..).map(|(_, gone)| *gone);
        let gone = gone.filter(|gone| gone.made <= had).collect();
        let mut later: Vec<(&u64, &Object)> =
            kept.objects.iter().filter(|(_, object)| object.change > known).collect();
        later.sort_by_key(|(_, object)| object.change);
        let mut restore: Vec<RestoreObjects> = Vec::new();
        let mut bytes = RESTORE_BYTES_MAX;
        for (handle, object) in later {
            bytes += object.blob.len();
            if bytes > RESTORE_BYTES_MAX {
                bytes = object.blob.len();
                restore.push(RestoreObjects::default());
            }
            if let Some(request) = restore.last_mut() {
                request.objects.push(SessionObject {
                    handle: *handle,
                    session: object.session,
                    version: object.version,
                    blob: object.blob.to_vec(),
                });
            }
        }
        Lack { gone, restore, change: self.changes.load(Ordering::Acquire) }
    }

    /// Of the change that comes next; the caller has the lock.
    fn next_change(&self) -> u64 {
        self.changes.load(Ordering::Acquire) + 1
    }

    fn changed(&self, change: u64, hsm: Option<&Progress>) {
        if let Some(hsm) = hsm {
            hsm.had.fetch_max(change, Ordering::AcqRel);
            // One that had everything before the change that it made has everything after it.
            let before = change - 1;
            let _ = hsm.known.compare_exchange(before, change, Ordering::AcqRel, Ordering::Acquire);
        }
        self.changes.store(change, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Whether the object is newer than what was kept.
    fn insert(&mut self, object: SessionObject, change: u64) -> bool {
        let SessionObject { handle, session, version, blob } = object;
        let blob = Wiped::from(blob);
        let old = self.objects.get(&handle);
        let made = old.map_or(change, |old| old.made);
        if old.is_some_and(|old| old.version >= version) {
            return false;
        }
        let bytes = self.bytes - old.map_or(0, |old| old.blob.len()) + blob.len();
        if bytes > BYTES_MAX || (old.is_none() && self.objects.len() >= SESSION_OBJECTS_MAX) {
            // An old version would be worse than none.
            self.remove(handle);
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!("too many session objects: some would be lost with their HSM");
            }
            return false;
        }
        self.bytes = bytes;
        self.objects.insert(handle, Object { session, version, blob, made, change });
        true
    }

    fn remove(&mut self, handle: u64) -> Option<Object> {
        let object = self.objects.remove(&handle)?;
        self.bytes -= object.blob.len();
        Some(object)
    }

    fn bury(&mut self, change: u64, gone: Gone) {
        self.gone.insert(change, gone);
        if self.gone.len() > GONE_MAX {
            self.gone.pop_first();
        }
    }
}

/// Whether an operation names a session object, or looks for objects that it does not name.
pub(crate) fn needs_objects(operation: &Operation) -> bool {
    let is_session_object = |handle: u64| handle & SESSION_HANDLE_BIT != 0;
    match operation {
        Operation::FindObjects(_) => true,
        Operation::WrapKey(m) => {
            is_session_object(m.wrapping_handle) || is_session_object(m.handle)
        }
        Operation::DestroyObject(m) => is_session_object(m.handle),
        Operation::GetAttributes(m) => is_session_object(m.handle),
        Operation::SetAttributes(m) => is_session_object(m.handle),
        Operation::CopyObject(m) => is_session_object(m.handle),
        Operation::Sign(m) => is_session_object(m.handle),
        Operation::Verify(m) => is_session_object(m.handle),
        Operation::MacPart(m) => is_session_object(m.handle),
        Operation::Encrypt(m) => is_session_object(m.handle),
        Operation::Decrypt(m) => is_session_object(m.handle),
        Operation::UnwrapKey(m) => is_session_object(m.wrapping_handle),
        Operation::DeriveKey(m) => is_session_object(m.handle),
        Operation::EncapsulateKey(m) => is_session_object(m.handle),
        Operation::DecapsulateKey(m) => is_session_object(m.handle),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: u64, session: u64, version: u64) -> SessionObject {
        let handle = SESSION_HANDLE_BIT | number;
        SessionObject { handle, session, version, blob: vec![number as u8; 100] }
    }

    fn restored(lack: &Lack) -> Vec<(u64, u64)> {
        let objects = lack.restore.iter().flat_map(|request| &request.objects);
        objects.map(|object| (object.handle & !SESSION_HANDLE_BIT, object.version)).collect()
    }

    #[test]
    fn the_hsm_that_made_an_object_has_it_and_another_one_gets_it_once() {
        let (objects, here, there) = (Objects::new(), Progress::default(), Progress::default());
        objects.keep(vec![object(1, 1, 1), object(2, 1, 1)], &here);
        assert!(!objects.is_behind(&here) && objects.is_behind(&there));
        let lack = objects.lack(&there);
        assert_eq!(restored(&lack), [(1, 1), (2, 1)]);
        there.reached(lack.change);
        assert!(!objects.is_behind(&there));
        objects.keep(vec![object(1, 1, 2)], &there);
        assert_eq!(restored(&objects.lack(&here)), [(1, 2)]);
    }

    #[test]
    fn an_older_version_that_comes_late_is_not_kept() {
        let (objects, hsm) = (Objects::new(), Progress::default());
        objects.keep(vec![object(1, 1, 5)], &hsm);
        objects.keep(vec![object(1, 1, 4)], &hsm);
        assert_eq!(restored(&objects.lack(&Progress::default())), [(1, 5)]);
    }

    #[test]
    fn what_is_destroyed_goes_from_every_hsm_that_had_it_and_no_other() {
        let objects = Objects::new();
        let [here, there, never] = [(); 3].map(|()| Progress::default());
        objects.keep(vec![object(1, 1, 1), object(2, 2, 1), object(3, 2, 1)], &here);
        there.reached(objects.lack(&there).change);
        objects.destroyed(SESSION_HANDLE_BIT | 1, &here);
        objects.closed(2, Some(&here));
        assert!(!objects.is_behind(&here));
        let lack = objects.lack(&there);
        let gone: Vec<_> = lack.gone.iter().map(|gone| (gone.session, gone.handle)).collect();
        assert_eq!(gone, [(1, Some(SESSION_HANDLE_BIT | 1)), (2, None)]);
        assert_eq!(restored(&lack), []);
        let lack = objects.lack(&never);
        assert!(lack.gone.is_empty() && lack.restore.is_empty());
    }

    #[test]
    fn an_hsm_in_doubt_gets_everything_again_and_still_loses_what_it_had() {
        let (objects, here, there) = (Objects::new(), Progress::default(), Progress::default());
        objects.keep(vec![object(1, 1, 1), object(2, 1, 1)], &here);
        here.doubt();
        objects.destroyed(SESSION_HANDLE_BIT | 1, &there);
        let lack = objects.lack(&here);
        assert_eq!(lack.gone.len(), 1);
        assert_eq!(restored(&lack), [(2, 1)]);
    }

    #[test]
    fn after_the_login_nothing_is_left() {
        let (objects, hsm) = (Objects::new(), Progress::default());
        objects.keep(vec![object(1, 1, 1)], &hsm);
        objects.clear();
        let lack = objects.lack(&Progress::default());
        assert!(lack.gone.is_empty() && lack.restore.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_each_request_fits_a_frame() {
        let (objects, hsm) = (Objects::new(), Progress::default());
        for number in 0..200 {
            let blob = vec![1; 500_000];
            objects.keep(vec![SessionObject { blob, ..object(number, 1, 1) }], &hsm);
        }
        let kept = objects.lock();
        assert!(kept.bytes <= BYTES_MAX && kept.objects.len() == BYTES_MAX / 500_000);
        drop(kept);
        for request in objects.lack(&Progress::default()).restore {
            assert!(prost::Message::encoded_len(&request) < FRAME_BYTES_MAX);
        }
        for number in 0..GONE_MAX as u64 + 200 {
            objects.keep(vec![object(1000 + number, 1, 1)], &hsm);
            objects.destroyed(SESSION_HANDLE_BIT | (1000 + number), &hsm);
        }
        assert_eq!(objects.lock().gone.len(), GONE_MAX);
    }
}
