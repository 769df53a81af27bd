//! Which requests have run, so that none runs twice.
//!
//! A client numbers its requests and sends one again, under the same number, where it saw no reply.
//! The state remembers the newest replies of each client; of older changes it keeps only that they
//! ran, as runs of numbers; below the client's floor (it has seen the answers itself) everything
//! counts as answered. A number that ran is never run again, whatever is forgotten.
//!
//! The numbers of forgotten replies are kept apart from the floor since a slow request may be under
//! way while faster ones of the same client's other threads come and go by the thousand.

use std::collections::{BTreeMap, BTreeSet};

use cryptoki_sys::CKR_FUNCTION_FAILED;

use super::runs;
use crate::codec::ClientRecord;
use crate::limits::{
    CLIENT_MEMORY_MS_MIN, FORGOTTEN_RANGES_MAX, REMEMBERED_CLIENTS_MAX, REMEMBERED_REPLIES_MAX,
};
use crate::{ClientId, LogIndex, Outcome, Refusal};

type Reply = Result<Outcome, Refusal>;

/// What is known of one request.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// It has not run.
    Never,
    /// It ran, with this reply.
    Answered(&'a Reply),
    /// It ran, or its client said that it is answered; the reply is gone.
    Forgotten,
}

/// What remembering one reply changed, for the store.
#[derive(Default)]
pub(crate) struct Forgotten {
    /// Replies that are gone.
    pub(crate) replies: Vec<(ClientId, u64)>,
    /// Clients that are gone.
    pub(crate) clients: Vec<ClientId>,
}

/// One client.
#[derive(Default)]
struct Client {
    record: ClientRecord,
    replies: BTreeMap<u64, Reply>,
}

/// All clients.
#[derive(Default)]
pub(crate) struct Replies {
    clients: BTreeMap<ClientId, Client>,
    /// Clients by their last change.
    by_use: BTreeSet<(LogIndex, ClientId)>,
}

impl Replies {
    pub(crate) fn seen(&self, client: ClientId, sequence: u64) -> Seen<'_> {
        let Some(client) = self.clients.get(&client) else { return Seen::Never };
        if let Some(reply) = client.replies.get(&sequence) {
            return Seen::Answered(reply);
        }
        if sequence < client.record.floor || runs::contains(&client.record.forgotten, sequence) {
            Seen::Forgotten
        } else {
            Seen::Never
        }
    }

    /// The answer to a request that ran and whose reply is gone.
    pub(crate) fn forgotten() -> Refusal {
        Refusal::new(
            CKR_FUNCTION_FAILED,
            "this request has been answered before and its reply is no longer kept; it was not run \
             again: look at what it was to change",
        )
    }

    /// Whether there is room for this client's next reply.
    ///
    /// # Errors
    /// Where it is a new one, and so many others changed something just now that none of them can
    /// be forgotten yet.
    pub(crate) fn admit(&self, client: ClientId, time_ms: u64) -> Result<(), Refusal> {
        if self.clients.contains_key(&client) || self.clients.len() < REMEMBERED_CLIENTS_MAX {
            return Ok(());
        }
        match self.oldest() {
            Some((_, used_ms)) if used_ms.saturating_add(CLIENT_MEMORY_MS_MIN) <= time_ms => Ok(()),
            _ => Err(Refusal::new(
                CKR_FUNCTION_FAILED,
                "too many processes change this cluster at once; try again in a minute",
            )),
        }
    }

    /// Remembers a reply that was not there. The caller has asked [`Replies::admit`].
    pub(crate) fn remember(
        &mut self,
        id: ClientId,
        sequence: u64,
        lowest_unanswered: u64,
        reply: Reply,
        (index, time_ms): (LogIndex, u64),
    ) -> Forgotten {
        let mut gone = Forgotten::default();
        if !self.clients.contains_key(&id)
            && self.clients.len() >= REMEMBERED_CLIENTS_MAX
            && let Some((oldest, _)) = self.oldest()
        {
            gone.replies.extend(self.remove(oldest));
            gone.clients.push(oldest);
        }
        let client = self.clients.entry(id).or_default();
        self.by_use.remove(&(client.record.used, id));
        self.by_use.insert((index, id));
        client.record.used = index;
        client.record.used_ms = time_ms;
        client.replies.insert(sequence, reply);
        // A client cannot have seen the answer to what it asks now.
        let forgotten = client.forget(lowest_unanswered.min(sequence));
        gone.replies.extend(forgotten.into_iter().map(|sequence| (id, sequence)));
        gone
    }

    /// A client's record, for the store.
    pub(crate) fn record(&self, client: ClientId) -> Option<&ClientRecord> {
        self.clients.get(&client).map(|client| &client.record)
    }

    /// All clients with what is remembered of them.
    pub(crate) fn iter(
        &self,
    ) -> impl Iterator<Item = (ClientId, &ClientRecord, &BTreeMap<u64, Reply>)> {
        self.clients.iter().map(|(&id, client)| (id, &client.record, &client.replies))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Puts a client's record from the store.
    pub(crate) fn load_client(&mut self, id: ClientId, record: ClientRecord) {
        let client = self.clients.entry(id).or_default();
        self.by_use.remove(&(client.record.used, id));
        self.by_use.insert((record.used, id));
        client.record = record;
    }

    /// Puts a reply from the store.
    pub(crate) fn load_reply(&mut self, id: ClientId, sequence: u64, reply: Reply) {
        self.clients.entry(id).or_default().replies.insert(sequence, reply);
    }

    /// Whether the records that were loaded are ones that this module writes.
    pub(crate) fn is_consistent(&self) -> bool {
        self.clients.len() <= REMEMBERED_CLIENTS_MAX
            && self.by_use.len() == self.clients.len()
            && self.clients.values().all(|client| {
                let lowest = client.replies.first_key_value();
                client.replies.len() <= REMEMBERED_REPLIES_MAX
                    && lowest.is_none_or(|(&sequence, _)| sequence >= client.record.floor)
            })
    }

    /// The client that was silent for longest, and when it last changed something.
    fn oldest(&self) -> Option<(ClientId, u64)> {
        let (_, id) = self.by_use.first()?;
        Some((*id, self.clients.get(id)?.record.used_ms))
    }

    fn remove(&mut self, id: ClientId) -> Vec<(ClientId, u64)> {
        let Some(client) = self.clients.remove(&id) else { return Vec::new() };
        self.by_use.remove(&(client.record.used, id));
        client.replies.into_keys().map(|sequence| (id, sequence)).collect()
    }
}

impl Client {
    /// Raises the floor to what the client has seen answered, and keeps within the limits. Gives
    /// the sequences whose replies are gone.
    fn forget(&mut self, answered_below: u64) -> Vec<u64> {
        self.record.floor = self.record.floor.max(answered_below);
        let mut gone = Vec::new();
        while let Some(lowest) = self.replies.first_entry() {
            let below = *lowest.key() < self.record.floor;
            if !below && self.replies.len() <= REMEMBERED_REPLIES_MAX {
                break;
            }
            if let Some((sequence, _)) = self.replies.pop_first() {
                gone.push(sequence);
                if !below {
                    runs::insert(&mut self.record.forgotten, sequence);
                }
            }
        }
        self.trim();
        gone
    }

    /// Cuts runs below the floor, which then goes up to where no run and no gap of one is in doubt.
    fn trim(&mut self) {
        let excess = self.record.forgotten.len().saturating_sub(FORGOTTEN_RANGES_MAX);
        if let Some(&(_, last)) = excess.checked_sub(1).and_then(|at| self.record.forgotten.get(at))
        {
            // Too many gaps: whatever is below, run or not, counts as answered.
            self.record.floor = self.record.floor.max(last.saturating_add(1));
        }
        let floor = self.record.floor;
        self.record.forgotten.retain_mut(|(first, last)| {
            *first = (*first).max(floor);
            *first <= *last
        });
        // A run that begins at the floor says no more than a higher floor does.
        if let Some(&(first, last)) = self.record.forgotten.first()
            && first == floor
            && last < u64::MAX
        {
            self.record.floor = last + 1;
            self.record.forgotten.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{World, aes, ckr, create_user};
    use crate::{Actor, Command, Personality, Role};

    const ONE: ClientId = ClientId([1; 16]);
    const TWO: ClientId = ClientId([2; 16]);

    #[test]
    fn a_retry_gets_the_first_reply_and_makes_nothing() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let creation = world.creation(alice, aes(Personality::CloudHsm));
        let first = world.apply_as(ONE, 7, 7, alice, creation.clone());
        assert!(first.is_ok());
        assert_eq!(world.apply_as(ONE, 7, 7, alice, creation.clone()), first);
        assert_eq!(world.state.object_count(), 1);
        assert_eq!(world.state.remembered(ONE, 7), Some(first));
        // Another client's request of the same number is another request.
        let creation = world.creation(alice, aes(Personality::CloudHsm));
        assert!(world.apply_as(TWO, 7, 7, alice, creation).is_ok());
        assert_eq!(world.state.object_count(), 2);
        world.check();
    }

    #[test]
    fn a_refusal_is_remembered_too() {
        let mut world = World::cloudhsm();
        let admin = world.admin();
        world.must(admin, create_user("alice", Role::CryptoUser));
        let again = create_user("alice", Role::CryptoUser);
        let refused = world.apply_as(ONE, 1, 1, admin, again.clone());
        assert!(refused.is_err());
        let delete = Command::DeleteUser { name: "alice".to_owned(), role: Role::CryptoUser };
        world.must(admin, delete);
        assert_eq!(world.apply_as(ONE, 1, 1, admin, again), refused);
        world.check();
    }

    #[test]
    fn what_the_client_has_seen_answered_is_refused_and_not_run() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        for sequence in [1, 2] {
            let creation = world.creation(alice, aes(Personality::CloudHsm));
            assert!(world.apply_as(ONE, sequence, sequence, alice, creation).is_ok());
        }
        let creation = world.creation(alice, aes(Personality::CloudHsm));
        let late = world.apply_as(ONE, 1, 1, alice, creation);
        assert_eq!(ckr(late), CKR_FUNCTION_FAILED);
        assert_eq!(world.state.object_count(), 2);
        assert!(world.state.remembered(ONE, 1).is_some_and(|reply| reply.is_err()));
        world.check();
    }

    #[test]
    fn a_slow_request_still_runs_after_many_fast_ones() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        // Sequence 5 is a long key generation on another thread; 10 to 509 overtake it.
        for sequence in 10..510 {
            let creation = world.creation(alice, aes(Personality::CloudHsm));
            assert!(world.apply_as(ONE, sequence, 5, alice, creation).is_ok());
        }
        let record = world.state.replies.record(ONE).expect("a client");
        assert_eq!(record.floor, 5);
        assert_eq!(record.forgotten, [(10, 445)]);
        let creation = world.creation(alice, aes(Personality::CloudHsm));
        let late = world.apply_as(ONE, 10, 5, alice, creation);
        assert_eq!(ckr(late), CKR_FUNCTION_FAILED, "its reply is gone, and it does not run again");
        let creation = world.creation(alice, aes(Personality::CloudHsm));
        assert!(world.apply_as(ONE, 5, 5, alice, creation).is_ok());
        assert_eq!(world.state.object_count(), 501);
        world.check();
    }

    #[test]
    fn a_client_is_forgotten_for_another_only_after_a_while() {
        let mut world = World::cloudhsm();
        let admin = world.admin();
        let ask = |world: &mut World, number: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            let command = create_user("admin", Role::CryptoUser);
            ckr(world.apply_as(ClientId(id), 1, 1, admin, command))
        };
        let answered = cryptoki_sys::CKR_ARGUMENTS_BAD;
        for number in 0..REMEMBERED_CLIENTS_MAX as u32 {
            assert_eq!(ask(&mut world, number), answered);
        }
        assert_eq!(ask(&mut world, u32::MAX), CKR_FUNCTION_FAILED);
        world.time_ms += CLIENT_MEMORY_MS_MIN;
        assert_eq!(ask(&mut world, u32::MAX), answered);
        // The one that was silent for longest is gone, the next one is still known.
        assert!(world.state.remembered(ClientId([0; 16]), 1).is_none());
        assert!(world.state.replies.clients.len() <= REMEMBERED_CLIENTS_MAX);
        world.check();
    }

    #[test]
    fn logins_take_no_place_in_the_memory() {
        let mut world = World::cloudhsm();
        let charge = Command::ChargeLogin { name: "admin".to_owned(), role: Role::Admin };
        assert!(world.apply_as(ONE, 1, 1, Actor::Anonymous, charge).is_ok());
        assert!(world.state.remembered(ONE, 1).is_none());
        assert!(world.state.replies.record(ONE).is_none());
    }

    #[test]
    fn a_stranger_who_is_refused_takes_no_place_either() {
        let mut world = World::cloudhsm();
        let activate = Command::ActivateCluster { verifier: crate::testing::verifier("mine") };
        let creation = world.creation(Actor::Anonymous, aes(Personality::CloudHsm));
        for command in [activate, creation] {
            assert!(world.apply_as(ONE, 1, 1, Actor::Anonymous, command).is_err());
        }
        assert!(world.state.replies.record(ONE).is_none());
    }

    #[test]
    fn init_token_is_remembered_though_it_forgets_everything() {
        let (mut world, ..) = World::token();
        let epoch = world.state.user_by_name("so").expect("the SO").epoch;
        let command = crate::testing::init_token(epoch);
        let first = world.apply_as(ONE, 9, 9, Actor::Anonymous, command.clone());
        assert!(first.is_ok());
        assert_eq!(world.apply_as(ONE, 9, 9, Actor::Anonymous, command), first);
        world.check();
    }

    proptest! {
        /// Whatever numbers come in whatever order with whatever is said to be answered: one that
        /// ran never counts as new.
        #[test]
        fn a_sequence_runs_once(requests in vec((1..2000_u64, 1..2000_u64), 0..600)) {
            let mut replies = Replies::default();
            let mut ran = BTreeSet::new();
            for (at, (sequence, lowest)) in requests.into_iter().enumerate() {
                let now = (LogIndex(at as u64 + 1), 0);
                if matches!(replies.seen(ONE, sequence), Seen::Never) {
                    prop_assert!(ran.insert(sequence), "{sequence} would run again");
                    replies.remember(ONE, sequence, lowest, Ok(Outcome::Done), now);
                }
                let client = &replies.clients[&ONE];
                prop_assert!(client.replies.len() <= REMEMBERED_REPLIES_MAX);
                prop_assert!(client.record.forgotten.len() <= FORGOTTEN_RANGES_MAX);
                prop_assert!(client.record.forgotten.is_sorted_by(|one, two| one.1 + 1 < two.0));
            }
            prop_assert!(replies.is_consistent());
        }
    }
}
