//! When to stand for election, when to send heartbeats, and whether this HSM is in touch.
//!
//! openraft draws a time-out once for each node, so that two survivors that drew the same may split
//! votes for ever. Here each attempt draws a fresh one, and before it uses up a term it asks who would
//! vote for it: whoever hears a leader says no, so that a node that comes back disturbs nobody.
//!
//! A node that has started neither stands nor grants before a majority has told what it saw of it, and
//! the leader where they hear one: where that is more than its disk knows, the disk is an old copy, and
//! the node can't go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::ServerState;
use openraft::error::Fatal;
use strongroom_wire::limits::CUT_OFF_MS;
use strongroom_wire::peer::{
    Ballot, PeerOperation, PeerResult, Place, PreVote, PreVoteReply, Seen, SeenReply,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::contacts::newer;
use crate::convert::{from_place, to_ballot, to_place};
use crate::log::Log;
use crate::options::Ended;
use crate::raft::{LogId, Metrics, Raft};
use crate::shared::{Shared, is_quorum, voters};
use crate::{Error, Peer, payload};

/// How finely time is told.
const TICK: Duration = Duration::from_millis(10);
/// A node that hears nobody asks its peers for news so often.
const NEWS: Duration = Duration::from_secs(2);

/// Drives one node's elections.
pub(crate) struct Elections {
    shared: Arc<Shared>,
    raft: Raft,
    log: Log,
    started: Instant,
    /// What the time-out runs from, beside the last word of a leader.
    quiet_since: Instant,
    timeout: Duration,
    next_heartbeat: Instant,
    next_question: Instant,
}

impl Elections {
    pub(crate) fn new(shared: Arc<Shared>, raft: Raft, log: Log) -> Self {
        let now = Instant::now();
        let timeout = shared.chance.between(shared.timing.election_min, shared.timing.election_max);
        Self {
            shared,
            raft,
            log,
            started: now,
            quiet_since: now,
            timeout,
            next_heartbeat: now,
            next_question: now,
        }
    }

    /// Runs until the node ends.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(TICK).await;
            if self.shared.ended.load(Ordering::Acquire) {
                self.shared.cut_off_ms.store(ms(self.started.elapsed()).max(1), Ordering::Release);
                continue;
            }
            let metrics = self.raft.metrics().borrow().clone();
            if let Err(fatal) = &metrics.running_state {
                // Of a log that can't be read nobody else is told.
                if !matches!(fatal, Fatal::Stopped) {
                    self.shared.fail(&Error::Log(fatal.to_string()));
                }
                return;
            }
            self.look_around(&metrics);
            if metrics.state == ServerState::Leader {
                self.heartbeat().await;
                continue;
            }
            self.ask_what_was_seen(&metrics).await;
            if voters(&metrics).contains(&self.shared.node)
                && self.shared.cleared.load(Ordering::Acquire)
                && self.is_time(&metrics)
            {
                self.stand(&metrics).await;
            }
        }
    }

    /// Whether the majority is in touch.
    fn look_around(&self, metrics: &Metrics) {
        let silence = if metrics.state == ServerState::Leader {
            self.quorum_silence(metrics)
        } else {
            self.shared.contacts.majority_silence()
        };
        let silence = ms(silence.unwrap_or_else(|| self.started.elapsed().max(LONG)));
        self.shared.silence_ms.store(silence, Ordering::Release);
        let cut_off_ms = if silence < CUT_OFF_MS { 0 } else { silence };
        self.shared.cut_off_ms.store(cut_off_ms, Ordering::Release);
    }

    /// For a leader: since a majority answered.
    fn quorum_silence(&self, metrics: &Metrics) -> Option<Duration> {
        let mut silences: Vec<(Duration, u64)> = voters(metrics)
            .into_iter()
            .filter(|voter| *voter != self.shared.node)
            .filter_map(|voter| Some((self.shared.contacts.silence(voter)?, voter)))
            .collect();
        silences.sort_unstable();
        let mut answered = BTreeSet::from([self.shared.node]);
        if is_quorum(metrics, &answered) {
            return Some(Duration::ZERO);
        }
        silences.into_iter().find_map(|(silence, voter)| {
            answered.insert(voter);
            is_quorum(metrics, &answered).then_some(silence)
        })
    }

    async fn heartbeat(&mut self) {
        let now = Instant::now();
        self.quiet_since = now;
        if now >= self.next_heartbeat && !self.shared.yielding.load(Ordering::Acquire) {
            self.next_heartbeat = now + self.shared.timing.heartbeat;
            // A node that ends is seen by the caller.
            let _ = self.raft.trigger().heartbeat().await;
        }
    }

    fn is_time(&self, metrics: &Metrics) -> bool {
        let only_voter = voters(metrics).len() == 1;
        let since_start_or_attempt = self.quiet_since.elapsed();
        let silence = self
            .shared
            .contacts
            .leader_silence()
            .map_or(since_start_or_attempt, |silence| silence.min(since_start_or_attempt));
        // An HSM that has all of the log should be first.
        let after_hsms =
            if self.is_witness(metrics) { self.shared.timing.election_max } else { Duration::ZERO };
        silence >= self.timeout + after_hsms
            || (only_voter && metrics.state != ServerState::Candidate)
    }

    async fn stand(&mut self, metrics: &Metrics) {
        let timing = &self.shared.timing;
        if self.would_win(metrics).await {
            self.timeout = self.shared.chance.between(timing.election_min, timing.election_max);
            let _ = self.raft.trigger().elect().await;
        } else {
            // Nothing is used up by asking, so the next question may come sooner.
            self.timeout = self.shared.chance.between(timing.heartbeat, timing.election_min);
        }
        self.quiet_since = Instant::now();
    }

    fn is_witness(&self, metrics: &Metrics) -> bool {
        metrics
            .membership_config
            .membership()
            .get_node(&self.shared.node)
            .is_some_and(|p| p.witness)
    }

    /// Asks who would vote for this node.
    async fn would_win(&self, metrics: &Metrics) -> bool {
        let last = self.log.last().as_ref().map(to_place);
        let question = PreVote { term: metrics.current_term + 1, last };
        let mut answers = self.ask(known_voters(metrics), &PeerOperation::PreVote(question));
        let mut granted = BTreeSet::from([self.shared.node]);
        while !is_quorum(metrics, &granted) {
            match answers.join_next().await {
                Some(Ok((
                    voter,
                    Some(PeerResult::PreVote(PreVoteReply { granted: true, .. })),
                ))) => {
                    granted.insert(voter);
                }
                Some(_) => {}
                None => return false,
            }
        }
        true
    }

    /// Asks others, all at once.
    fn ask(
        &self,
        peers: BTreeMap<u64, Peer>,
        question: &PeerOperation,
    ) -> JoinSet<(u64, Option<PeerResult>)> {
        let mut answers = JoinSet::new();
        for (node, peer) in peers {
            if node == self.shared.node {
                continue;
            }
            let (shared, question) = (self.shared.clone(), question.clone());
            answers.spawn(async move {
                let patience = shared.timing.answer;
                (node, shared.call(node, &peer, question, patience).await.ok())
            });
        }
        answers
    }

    /// After a start: what did you see of me? And where no leader is heard for long: who is there?
    async fn ask_what_was_seen(&mut self, metrics: &Metrics) {
        let now = Instant::now();
        let cleared = self.shared.cleared.load(Ordering::Acquire);
        let cut_off = self.shared.cut_off_ms.load(Ordering::Acquire) > 0;
        if now < self.next_question || (cleared && !cut_off) {
            return;
        }
        let pause = if cleared { NEWS } else { self.shared.timing.answer };
        self.next_question = now + self.shared.chance.between(pause / 2, pause);
        let own = Own::of(self.shared.boot.number, self.log.last(), metrics);
        if is_quorum(metrics, &BTreeSet::from([self.shared.node])) {
            // Nobody else has a say.
            return self.shared.cleared.store(true, Ordering::Release);
        }
        // Who leads may have joined since this disk was written.
        let mut peers = self.shared.contacts.introduced();
        peers.extend(known_voters(metrics));
        let mut answers = self.ask(peers, &PeerOperation::Seen(own.question()));
        let mut answered = BTreeSet::from([self.shared.node]);
        let mut leaders = BTreeSet::new();
        while let Some(answer) = answers.join_next().await {
            let Ok((voter, Some(PeerResult::Seen(reply)))) = answer else { continue };
            if !cleared && own.is_behind(&reply) {
                return self.shared.end(Ended::RolledBack);
            }
            answered.insert(voter);
            leaders.insert(reply.leader);
            self.learn_members(metrics, reply);
        }
        // The leader above all knows what this node has acknowledged.
        leaders.remove(&0);
        let enough = is_quorum(metrics, &answered) || self.most_are_strangers(&answered);
        if !cleared && enough && leaders.is_subset(&answered) {
            self.quiet_since = Instant::now();
            self.shared.cleared.store(true, Ordering::Release);
        }
    }

    /// Whether most of the members that this node was told of have answered. Of those that its log knows a
    /// majority may be gone for ever; what these have seen of it counts then.
    fn most_are_strangers(&self, answered: &BTreeSet<u64>) -> bool {
        let members = self.shared.contacts.introduced();
        let told = self.shared.strangers.load(Ordering::Acquire);
        told && members.keys().filter(|node| answered.contains(node)).count() * 2 > members.len()
    }

    /// A known member knows newer members: they may speak to this node, which is behind.
    fn learn_members(&self, metrics: &Metrics, reply: SeenReply) {
        let own = metrics.membership_config.log_id().as_ref().map(to_place);
        let newer = match (reply.membership, own) {
            (Some(theirs), Some(own)) => newer(&theirs, &own),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if newer {
            let members: Result<BTreeMap<u64, Peer>, _> =
                reply.members.into_iter().map(payload::from_member).collect();
            if let Ok(members) = members {
                self.shared.contacts.introduce(members);
            }
        }
    }
}

/// The voters, as this node's log has them.
fn known_voters(metrics: &Metrics) -> BTreeMap<u64, Peer> {
    let membership = metrics.membership_config.membership();
    let peer = |node: u64| Some((node, membership.get_node(&node)?.clone()));
    voters(metrics).into_iter().filter_map(peer).collect()
}

/// No contact since the start counts as cut off from the start.
const LONG: Duration = Duration::from_millis(CUT_OFF_MS);

/// What this node's disk knows.
struct Own {
    boot: u64,
    last: Option<Place>,
    vote: Ballot,
}

impl Own {
    fn of(boot: u64, last: Option<LogId>, metrics: &Metrics) -> Self {
        Self { boot, last: last.as_ref().map(to_place), vote: to_ballot(&metrics.vote) }
    }

    fn question(&self) -> Seen {
        Seen { boot: self.boot, last: self.last, vote: Some(self.vote) }
    }

    /// Whether others saw more than the disk has: it was put back from an old copy.
    fn is_behind(&self, reply: &SeenReply) -> bool {
        // What was acknowledged to an earlier leader than the last one that this disk knows of was on the
        // disk then; where it is not any more, the later leader had it taken back.
        let known_later = reply.acknowledged_term != 0 && reply.acknowledged_term < self.vote.term;
        let log = !known_later
            && reply
                .acknowledged
                .is_some_and(|seen| self.last.is_none_or(|last| newer(&seen, &last)));
        let vote = reply
            .vote
            .is_some_and(|seen| (seen.term, seen.node) > (self.vote.term, self.vote.node));
        log || vote || reply.boot > self.boot
    }
}

/// Whether this node would vote for one that asks.
pub(crate) fn would_grant(
    shared: &Shared,
    metrics: &Metrics,
    last: Option<LogId>,
    from: u64,
    question: &PreVote,
) -> bool {
    let timing = &shared.timing;
    let leads = metrics.state == ServerState::Leader
        && shared.cut_off_ms.load(Ordering::Acquire) == 0
        && !shared.yielding.load(Ordering::Acquire);
    // The candidate heard the leader's last word up to a heartbeat earlier than this node.
    let patience = timing.election_min.saturating_sub(timing.heartbeat);
    let hears = shared.contacts.leader_silence().is_some_and(|silence| silence < patience);
    if leads || hears || !shared.cleared.load(Ordering::Acquire) {
        return false;
    }
    let theirs = question.last.as_ref().map(from_place);
    let witness = metrics.membership_config.membership().get_node(&from).is_some_and(|p| p.witness);
    // A witness is only to bring an HSM up to date.
    if witness { theirs > last } else { theirs >= last }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(term: u64, index: u64) -> Place {
        Place { term, leader: 1, index }
    }

    #[test]
    fn a_disk_whose_end_was_taken_back_by_a_later_leader_is_not_taken_for_an_old_one() {
        // It led in term 2, and has heard of the leader of term 4, who had it drop entries; then its
        // process ended before others were in their place.
        let own = Own {
            boot: 3,
            last: Some(place(1, 10)),
            vote: Ballot { term: 4, node: 2, committed: true },
        };
        let by = |acknowledged_term| SeenReply {
            acknowledged: Some(place(2, 12)),
            acknowledged_term,
            ..SeenReply::default()
        };
        assert!(!own.is_behind(&by(2)));
        assert!(own.is_behind(&by(4)), "what it acknowledged to the last leader has to be there");
        assert!(own.is_behind(&by(5)), "and it has not heard of this one");
        assert!(own.is_behind(&by(0)), "whoever does not say to whom is believed");
    }

    #[test]
    fn a_disk_that_is_older_than_what_others_saw_is_found_out() {
        let own = Own {
            boot: 3,
            last: Some(place(2, 10)),
            vote: Ballot { term: 2, node: 1, committed: false },
        };
        assert!(!own.is_behind(&SeenReply::default()));
        let same = SeenReply {
            boot: 3,
            vote: Some(Ballot { term: 2, node: 1, committed: true }),
            acknowledged: Some(place(2, 10)),
            ..SeenReply::default()
        };
        assert!(!own.is_behind(&same));
        assert!(own.is_behind(&SeenReply { boot: 4, ..same.clone() }));
        assert!(own.is_behind(&SeenReply { acknowledged: Some(place(2, 11)), ..same.clone() }));
        let vote = Some(Ballot { term: 3, node: 1, committed: false });
        assert!(own.is_behind(&SeenReply { vote, ..same }));
    }
}
