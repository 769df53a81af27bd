//! What this node has heard of the others: when they answered, what they acknowledged, how their clocks
//! stand. In memory only; by `tokio::time`, so that a simulation's time is the same for all.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_wire::peer::{Ballot, Place};
use tokio::time::Instant;

use crate::Peer;

/// What was seen of one other node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) boot: u64,
    pub(crate) vote: Option<Ballot>,
    /// The last entry that it acknowledged, and the term of the leader to whom.
    pub(crate) acknowledged: Option<(u64, Place)>,
}

#[derive(Default)]
struct Other {
    answered: Option<Instant>,
    /// What its clock showed, in milliseconds since 1970, and when that was told.
    clock: Option<(u64, Instant)>,
    seen: Seen,
}

#[derive(Default)]
struct Inner {
    others: BTreeMap<u64, Other>,
    /// When a leader was heard.
    leader_heard: Option<Instant>,
    /// When a leader that was heard was in touch with a majority.
    majority_heard: Option<Instant>,
    /// Members that known members told of, while this node has an old membership.
    introduced: BTreeMap<u64, Peer>,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Contacts {
    inner: Mutex<Inner>,
}

impl Contacts {
    /// A leader spoke, and was in touch with a majority so long ago.
    pub(crate) fn heard_leader(&self, silence: Duration) {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.leader_heard = Some(now);
        // One that has been cut off for longer than this machine runs was never in touch, for all that
        // is known here.
        inner.majority_heard = inner.majority_heard.max(now.checked_sub(silence));
    }

    /// How long ago one did.
    pub(crate) fn leader_silence(&self) -> Option<Duration> {
        self.lock().leader_heard.map(|heard| heard.elapsed())
    }

    /// How long ago the majority was heard of, by way of a leader.
    pub(crate) fn majority_silence(&self) -> Option<Duration> {
        self.lock().majority_heard.map(|heard| heard.elapsed())
    }

    /// `node` answered.
    pub(crate) fn answered(&self, node: u64, its_clock_ms: u64) {
        let mut inner = self.lock();
        let other = inner.others.entry(node).or_default();
        other.answered = Some(Instant::now());
        if its_clock_ms != 0 {
            other.clock = Some((its_clock_ms, Instant::now()));
        }
    }

    /// How long ago `node` answered.
    pub(crate) fn silence(&self, node: u64) -> Option<Duration> {
        self.lock().others.get(&node).and_then(|other| other.answered).map(|at| at.elapsed())
    }

    /// The voters' clocks against ours: the one in the middle, ours among them. `None` until all but a
    /// minority have told theirs. What they told is taken to have gone on since, so that a clock of ours
    /// that jumps is found out before anything is stamped by it.
    pub(crate) fn clock_apart_ms(
        &self,
        voters: &[u64],
        this: u64,
        our_clock_ms: u64,
    ) -> Option<i64> {
        let inner = self.lock();
        let mut apart: Vec<i64> = voters
            .iter()
            .filter_map(|voter| {
                if *voter == this {
                    Some(0)
                } else {
                    let (told_ms, when) = inner.others.get(voter).and_then(|other| other.clock)?;
                    let passed = i128::try_from(when.elapsed().as_millis()).unwrap_or(0);
                    let apart = i128::from(told_ms) + passed - i128::from(our_clock_ms);
                    i64::try_from(apart.clamp(i64::MIN.into(), i64::MAX.into())).ok()
                }
            })
            .collect();
        if apart.is_empty() || apart.len() * 2 <= voters.len() {
            return None;
        }
        apart.sort_unstable();
        let middle = [apart[(apart.len() - 1) / 2], apart[apart.len() / 2]];
        // Of an even number the nearer one to ours: two that differ do not say who is wrong.
        middle.into_iter().min_by_key(|ms| ms.unsigned_abs())
    }

    /// `node` acknowledged an entry to the leader of `term`. A later leader may have it take the entry
    /// back, so what it acknowledged to an earlier one says nothing any more.
    pub(crate) fn acknowledged(&self, node: u64, term: u64, place: Place) {
        let mut inner = self.lock();
        let seen = &mut inner.others.entry(node).or_default().seen;
        let is_news = seen.acknowledged.is_none_or(|(known_term, known)| {
            term > known_term || (term == known_term && newer(&place, &known))
        });
        if is_news {
            seen.acknowledged = Some((term, place));
        }
    }

    /// `node` voted, or asked for votes.
    pub(crate) fn voted(&self, node: u64, ballot: Ballot) {
        let mut inner = self.lock();
        let seen = &mut inner.others.entry(node).or_default().seen;
        let order = |ballot: &Ballot| (ballot.term, ballot.node);
        if seen.vote.as_ref().is_none_or(|known| order(&ballot) > order(known)) {
            seen.vote = Some(ballot);
        }
    }

    /// `node` started for the `boot`th time.
    pub(crate) fn started(&self, node: u64, boot: u64) {
        let mut inner = self.lock();
        let seen = &mut inner.others.entry(node).or_default().seen;
        seen.boot = seen.boot.max(boot);
    }

    /// What was seen of `node`.
    pub(crate) fn seen(&self, node: u64) -> Seen {
        self.lock().others.get(&node).map(|other| other.seen.clone()).unwrap_or_default()
    }

    /// A known member says that those are members.
    pub(crate) fn introduce(&self, members: BTreeMap<u64, Peer>) {
        self.lock().introduced = members;
    }

    /// Members that known members told of.
    pub(crate) fn introduced(&self) -> BTreeMap<u64, Peer> {
        self.lock().introduced.clone()
    }

    /// Whether a known member said that `node` is a member with this device key.
    pub(crate) fn is_introduced(&self, node: u64, device_key: &[u8; 32]) -> bool {
        self.lock().introduced.get(&node).is_some_and(|peer| peer.device_key == *device_key)
    }

    /// Whether a known member said that somebody with this device key is a member.
    pub(crate) fn has_introduced(&self, device_key: &[u8; 32]) -> bool {
        self.lock().introduced.values().any(|peer| peer.device_key == *device_key)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one entry is later in the log than another.
pub(crate) fn newer(one: &Place, other: &Place) -> bool {
    (one.term, one.leader, one.index) > (other.term, other.leader, other.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_in_the_middle_counts() {
        let contacts = Contacts::default();
        let apart = |voters: &[u64]| contacts.clock_apart_ms(voters, 1, 1_000_000);
        assert_eq!(apart(&[1, 2, 3]), None);
        contacts.answered(2, 1_020_000);
        // Two that differ do not say who is wrong.
        assert_eq!(apart(&[1, 2]), Some(0));
        contacts.answered(3, 1_021_000);
        assert_eq!(apart(&[1, 2, 3]), Some(20_000));
        contacts.answered(3, 1_000_100);
        assert_eq!(apart(&[1, 2, 3]), Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_of_ours_that_jumps_is_found_out_at_once() {
        let contacts = Contacts::default();
        contacts.answered(2, 1_000_000);
        contacts.answered(3, 1_000_000);
        tokio::time::advance(Duration::from_millis(30)).await;
        assert_eq!(contacts.clock_apart_ms(&[1, 2, 3], 1, 1_000_030), Some(0));
        assert_eq!(contacts.clock_apart_ms(&[1, 2, 3], 1, 1_020_030), Some(-20_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_cut_off_is_heard_and_the_majority_is_not() {
        let contacts = Contacts::default();
        tokio::time::advance(Duration::from_secs(10)).await;
        contacts.heard_leader(Duration::from_millis(40));
        tokio::time::advance(Duration::from_secs(2)).await;
        contacts.heard_leader(Duration::from_millis(2_040));
        assert_eq!(contacts.leader_silence(), Some(Duration::ZERO));
        assert_eq!(contacts.majority_silence(), Some(Duration::from_millis(2_040)));
        contacts.heard_leader(Duration::MAX);
        assert_eq!(contacts.majority_silence(), Some(Duration::from_millis(2_040)));
    }

    #[test]
    fn what_was_seen_never_goes_back() {
        let contacts = Contacts::default();
        let place = |term, index| Place { term, leader: 1, index };
        contacts.acknowledged(2, 2, place(2, 5));
        contacts.acknowledged(2, 2, place(1, 9));
        contacts.acknowledged(2, 1, place(1, 9));
        contacts.started(2, 4);
        contacts.started(2, 3);
        let seen = contacts.seen(2);
        assert_eq!((seen.acknowledged, seen.boot), (Some((2, place(2, 5))), 4));
        contacts.acknowledged(2, 3, place(2, 4));
        assert_eq!(contacts.seen(2).acknowledged, Some((3, place(2, 4))), "one was taken back");
        assert_eq!(contacts.seen(3), Seen::default());
    }
}
