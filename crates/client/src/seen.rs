//! What a client has seen of the cluster's state, as log indices: each request says how new a state it
//! needs for its answer.
//!
//! A process sees its own changes on whatever HSM. Most requests therefore ask for a state that is no
//! older than the newest one seen. A use of a key asks for less: for the last change that this client
//! made to that very key, and for what it changed of users and policies. When a leader dies, what it
//! committed last is not known to be committed on the others until a new one is elected; programs that
//! sign meanwhile must not wait for that because another of their threads has just made a key.
//!
//! A key that an HSM does not know yet is no problem: no HSM says that something is not there before it
//! has all that was committed.
//!
//! In: operations and replies. Out: the indices of a request. No I/O; the simulation runs it too.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use strongroom_wire::message::{Operation, Reply};

/// Objects whose last change is kept apart. What falls out counts for every use from then on, which is
/// older than what any HSM in touch still lacks.
const CHANGED_MAX: usize = 1024;

/// A request, as far as indices go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `Request::seen_index`.
    pub seen: u64,
    /// `Request::needs_index`.
    pub needs: Option<u64>,
    changes: Changes,
}

/// What a request changes, if it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Changes {
    /// Nothing that a use of a key would miss.
    #[default]
    Nothing,
    /// The object with this handle.
    Object(u64),
    /// Users, logins, policies.
    Floor,
}

/// One client's knowledge.
#[derive(Debug, Default)]
pub struct Seen {
    /// The newest state of all.
    newest: AtomicU64,
    /// The newest change that every request needs.
    floor: AtomicU64,
    /// The newest change in `changed`.
    newest_changed: AtomicU64,
    /// The last changes of single objects, by handle.
    changed: Mutex<BTreeMap<u64, u64>>,
}

/// What a request's answer depends on, of what its own client did.
enum Depends {
    /// Everything.
    All,
    /// Users, logins and policies.
    Floor,
    /// These, and the objects with these handles.
    Objects([u64; 2]),
}

impl Seen {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a request has to say.
    #[must_use]
    pub fn ask(&self, operation: &Operation) -> Asked {
        let seen = self.newest.load(Ordering::Acquire);
        let needs = match depends(operation) {
            Depends::All => seen,
            Depends::Floor => self.floor.load(Ordering::Acquire),
            Depends::Objects(handles) => self.needs(handles),
        };
        Asked { seen, needs: (needs < seen).then_some(needs), changes: changes(operation) }
    }

    /// Takes note of a request's reply.
    pub fn answered(&self, asked: Asked, reply: &Reply) {
        let done = reply.status == 0;
        if done && asked.needs.is_none() && reply.log_index < asked.seen {
            self.lost(asked.seen, reply.log_index);
            return;
        }
        // Most answers bring nothing new; a plain load leaves the cache line shared.
        if reply.log_index > self.newest.load(Ordering::Relaxed) {
            self.newest.fetch_max(reply.log_index, Ordering::AcqRel);
        }
        if !done {
            return;
        }
        match asked.changes {
            Changes::Nothing => {}
            Changes::Object(handle) => self.changed(handle, reply.log_index),
            Changes::Floor => {
                self.floor.fetch_max(reply.log_index, Ordering::AcqRel);
            }
        }
    }

    /// An HSM in touch with its majority has less than this client has seen: the cluster was recovered
    /// from fewer HSMs, and goes on from `index`.
    fn lost(&self, seen: u64, index: u64) {
        let mut changed = self.lock();
        let back = |newest: u64| match newest.cmp(&seen) {
            Equal => Some(index),
            // Another thread has found out already.
            Less => Some(newest.max(index)),
            Greater => None,
        };
        let _ = self.newest.fetch_update(Ordering::AcqRel, Ordering::Acquire, back);
        self.floor.fetch_min(index, Ordering::AcqRel);
        self.newest_changed.fetch_min(index, Ordering::AcqRel);
        changed.values_mut().for_each(|change| *change = index.min(*change));
    }

    fn needs(&self, handles: [u64; 2]) -> u64 {
        let floor = self.floor.load(Ordering::Acquire);
        if self.newest_changed.load(Ordering::Acquire) <= floor {
            return floor;
        }
        let changed = self.lock();
        let of = |handle| changed.get(&handle).copied().unwrap_or(0);
        handles.into_iter().map(of).fold(floor, u64::max)
    }

    fn changed(&self, handle: u64, index: u64) {
        let mut changed = self.lock();
        let last = changed.entry(handle).or_default();
        *last = index.max(*last);
        if changed.len() > CHANGED_MAX
            && let Some((oldest, at)) = changed.iter().map(|(h, at)| (*h, *at)).min_by_key(|c| c.1)
        {
            changed.remove(&oldest);
            self.floor.fetch_max(at, Ordering::AcqRel);
        }
        self.newest_changed.fetch_max(index, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn depends(operation: &Operation) -> Depends {
    match operation {
        Operation::Sign(m) => Depends::Objects([m.handle; 2]),
        Operation::Verify(m) => Depends::Objects([m.handle; 2]),
        Operation::Encrypt(m) => Depends::Objects([m.handle; 2]),
        Operation::Decrypt(m) => Depends::Objects([m.handle; 2]),
        Operation::GetAttributes(m) => Depends::Objects([m.handle; 2]),
        Operation::WrapKey(m) => Depends::Objects([m.handle, m.wrapping_handle]),
        // What a connection to another HSM begins with, and session objects, which are not in the log.
        Operation::Hello(_)
        | Operation::Attach(_)
        | Operation::Topology(_)
        | Operation::RestoreObjects(_)
        | Operation::CloseSession(_)
        | Operation::Random(_) => Depends::Floor,
        Operation::DestroyObject(m) if m.handle & strongroom_wire::SESSION_HANDLE_BIT != 0 => {
            Depends::Floor
        }
        _ => Depends::All,
    }
}

fn changes(operation: &Operation) -> Changes {
    match operation {
        Operation::DestroyObject(m) => Changes::Object(m.handle),
        Operation::SetAttributes(m) => Changes::Object(m.handle),
        // An object that an HSM does not know yet is waited for there.
        Operation::GenerateKey(_)
        | Operation::GenerateKeyPair(_)
        | Operation::CreateObject(_)
        | Operation::CopyObject(_)
        | Operation::UnwrapKey(_) => Changes::Nothing,
        other if other.is_change() || matches!(other, Operation::Login(_)) => Changes::Floor,
        _ => Changes::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use strongroom_wire::message::{
        ChangePassword, Decrypt, DestroyObject, FindObjects, GenerateKey, SetAttributes,
    };

    use super::*;

    fn decrypt(handle: u64) -> Operation {
        Operation::Decrypt(Decrypt { handle, ..Decrypt::default() })
    }

    fn destroy(handle: u64) -> Operation {
        Operation::DestroyObject(DestroyObject { handle })
    }

    fn set(handle: u64) -> Operation {
        Operation::SetAttributes(SetAttributes { handle, template: None })
    }

    fn done(seen: &Seen, operation: &Operation, log_index: u64) {
        seen.answered(seen.ask(operation), &reply(log_index));
    }

    fn reply(log_index: u64) -> Reply {
        Reply { log_index, ..Reply::default() }
    }

    /// What a request says: seen, needs.
    fn asks(seen: &Seen, operation: &Operation) -> (u64, Option<u64>) {
        let asked = seen.ask(operation);
        (asked.seen, asked.needs)
    }

    #[test]
    fn a_use_of_a_key_does_not_wait_for_other_keys() {
        let seen = Seen::new();
        done(&seen, &Operation::GenerateKey(GenerateKey::default()), 40);
        done(&seen, &destroy(8), 41);
        assert_eq!(asks(&seen, &decrypt(7)), (41, Some(0)));
        let find = Operation::FindObjects(FindObjects::default());
        assert_eq!(asks(&seen, &find), (41, None));
    }

    #[test]
    fn a_use_of_a_key_needs_the_clients_own_changes_of_it() {
        let seen = Seen::new();
        done(&seen, &destroy(7), 40);
        done(&seen, &set(8), 41);
        done(&seen, &destroy(9), 42);
        assert_eq!(asks(&seen, &decrypt(7)), (42, Some(40)));
        assert_eq!(asks(&seen, &decrypt(8)), (42, Some(41)));
    }

    #[test]
    fn every_request_needs_what_the_client_changed_of_users() {
        let seen = Seen::new();
        done(&seen, &Operation::ChangePassword(ChangePassword::default()), 40);
        done(&seen, &Operation::GenerateKey(GenerateKey::default()), 50);
        assert_eq!(asks(&seen, &decrypt(7)), (50, Some(40)));
    }

    #[test]
    fn a_change_that_was_refused_is_none() {
        let seen = Seen::new();
        seen.answered(seen.ask(&destroy(7)), &Reply { status: 5, ..reply(40) });
        assert_eq!(asks(&seen, &decrypt(7)), (40, Some(0)));
    }

    #[test]
    fn memory_is_bounded_and_what_falls_out_counts_for_all() {
        let seen = Seen::new();
        for number in 1..=CHANGED_MAX as u64 + 2 {
            done(&seen, &destroy(number), 100 + number);
        }
        assert_eq!(seen.lock().len(), CHANGED_MAX);
        assert_eq!(seen.ask(&decrypt(999_999)).needs, Some(102));
    }

    #[test]
    fn the_newest_only_rises_while_nothing_is_lost() {
        let seen = Seen::new();
        let find = Operation::FindObjects(FindObjects::default());
        let early = seen.ask(&find);
        done(&seen, &find, 7);
        seen.answered(early, &reply(3));
        assert_eq!(seen.ask(&find).seen, 7);
        // A use may be answered from an older state.
        done(&seen, &decrypt(1), 5);
        assert_eq!(seen.ask(&find).seen, 7);
    }

    #[test]
    fn after_a_loss_the_client_goes_on_from_what_there_is() {
        let seen = Seen::new();
        let find = Operation::FindObjects(FindObjects::default());
        done(&seen, &destroy(1), 90);
        done(&seen, &Operation::ChangePassword(ChangePassword::default()), 95);
        let before = seen.ask(&find);
        seen.answered(before, &reply(60));
        assert_eq!(asks(&seen, &find), (60, None));
        assert_eq!(asks(&seen, &decrypt(1)), (60, None));
        // Another thread's answer of the same kind, sent before.
        seen.answered(before, &reply(62));
        assert_eq!(seen.ask(&find).seen, 62);
    }
}
