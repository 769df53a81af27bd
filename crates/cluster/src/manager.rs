//! Who votes: the leader's care for the members.
//!
//! The vault's state says which members there are; this makes Raft's membership follow, one change at a
//! time: takes in as learner, gives votes to those who are caught up, takes them from whoever is gone for
//! long, spreads them over zones, and takes out whoever was removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, ServerState};
use strongroom_vault::Member;
use strongroom_wire::PORT_PEERS;
use strongroom_wire::limits::CLOCK_APART_MS_MAX;
use strongroom_wire::peer::{PeerOperation, PeerResult, Stand};
use tokio::time::Instant;

use crate::convert::{to_ballot, to_place};
use crate::raft::{Metrics, Raft};
use crate::shared::{Shared, voters};
use crate::{Error, Peer, snapshot};

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(250);
/// A learner is caught up when it is so few Raft entries behind.
const LAG_MAX: u64 = 50;
/// And has answered within this time.
const ALIVE: Duration = Duration::from_secs(1);
/// A change of members that a majority does not agree on in this time is looked at again.
const CHANGE_PATIENCE: Duration = Duration::from_secs(5);
/// Who is asked to take over must have done so in this time.
const TRANSFER_PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked whether it has.
const TRANSFER_LOOK: Duration = Duration::from_millis(5);

/// A member as the choice of voters sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    node: u64,
    voter: bool,
    witness: bool,
    /// Answers, and has the log but for its end.
    fit: bool,
    /// Has not answered for longer than a voter may.
    lost: bool,
    this: bool,
    zone: String,
}

/// Runs until the node ends.
pub(crate) async fn run(shared: Arc<Shared>, raft: Raft, log_entries_kept: u64) {
    let witnesses = Witnesses::default();
    loop {
        tokio::time::sleep(PERIOD).await;
        let metrics = raft.metrics().borrow().clone();
        if metrics.running_state.is_err() {
            return;
        }
        if metrics.state != ServerState::Leader
            || shared.cut_off_ms.load(Ordering::Acquire) > 0
            || shared.ended.load(Ordering::Acquire)
        {
            continue;
        }
        if let Err(error) = look_after(&shared, &raft, &metrics).await {
            // The next look is soon.
            tracing::debug!(%error, "members are not as they should be yet");
        }
        witnesses.relieve(&shared, &metrics, log_entries_kept);
    }
}

/// Up to where a witness has a snapshot, by this leader.
#[derive(Default)]
struct Witnesses(Arc<Mutex<BTreeMap<u64, u64>>>);

impl Witnesses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A witness makes no snapshot, and its log would grow for ever: it gets one now and then.
    fn relieve(&self, shared: &Arc<Shared>, metrics: &Metrics, log_entries_kept: u64) {
        let purged = metrics.purged.map_or(0, |id| id.index);
        if shared.keys.is_none() || purged == 0 {
            return;
        }
        for (node, peer) in metrics.membership_config.membership().nodes() {
            let sent = self.lock().get(node).copied();
            let due = sent.is_none_or(|sent| purged >= sent.saturating_add(log_entries_kept));
            if !peer.witness || !due {
                continue;
            }
            self.lock().insert(*node, purged);
            let (this, shared) = (Self(self.0.clone()), shared.clone());
            let (node, peer) = (*node, peer.clone());
            let vote = metrics.vote;
            tokio::spawn(async move {
                let Ok(Some(source)) = shared.storage.snapshot().await else { return };
                let sent = match snapshot::of_source(source) {
                    Ok(snapshot) => snapshot::send(&shared, node, &peer, vote, snapshot).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = sent {
                    tracing::debug!(%error, node, "a witness got no snapshot: the next look sends one");
                    this.lock().remove(&node);
                }
            });
        }
    }
}

async fn look_after(shared: &Shared, raft: &Raft, metrics: &Metrics) -> Result<(), Error> {
    let membership = metrics.membership_config.membership();
    if membership.get_joint_config().len() > 1 {
        // A change that an earlier leader began: the second half of it.
        return set_voters(raft, joint_target(metrics)).await;
    }
    if gives_up(shared, metrics) {
        return transfer(shared, raft).await;
    }
    if let Some(change) = follow_the_vault(shared, metrics) {
        return change_members(raft, change, false).await;
    }
    let candidates = candidates(shared, metrics);
    match choose(&candidates) {
        Some(chosen) => set_voters(raft, chosen).await,
        None => Ok(()),
    }
}

/// Whether who votes is changing, or will as soon as those who answer have caught up: the loss of one HSM
/// may be the loss of the majority until then. The leader alone knows all of it.
pub(crate) fn is_changing(shared: &Shared, metrics: &Metrics) -> bool {
    let joint = metrics.membership_config.membership().get_joint_config().len() > 1;
    let will_change =
        || follow_the_vault(shared, metrics).is_some() || will_vote(&candidates(shared, metrics));
    joint || (metrics.state == ServerState::Leader && will_change())
}

/// Whether others vote once those who answer have caught up.
fn will_vote(members: &[Candidate]) -> bool {
    let caught_up = |member: &Candidate| {
        let fit = member.fit || !member.lost;
        Candidate { fit, ..member.clone() }
    };
    choose(&members.iter().map(caught_up).collect::<Vec<_>>()).is_some()
}

fn joint_target(metrics: &Metrics) -> BTreeSet<u64> {
    metrics.membership_config.membership().get_joint_config().last().cloned().unwrap_or_default()
}

/// A witness hands over, and so does a leader whose clock is wrong or that was removed.
fn gives_up(shared: &Shared, metrics: &Metrics) -> bool {
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = voters(metrics).into_iter().collect();
    let witness = membership.get_node(&shared.node).is_some_and(|peer| peer.witness);
    let apart = shared.contacts.clock_apart_ms(&voters, shared.node, (shared.clock)());
    let removed = {
        let state = shared.state.read();
        state.members().next().is_some()
            && state.member(strongroom_vault::NodeId(shared.node)).is_none()
    };
    let others = voters.len() > 1;
    others && (witness || removed || apart.is_some_and(|ms| ms.unsigned_abs() > CLOCK_APART_MS_MAX))
}

/// The next difference between the vault's members and Raft's. A cluster that has no members in its
/// state yet is left alone.
fn follow_the_vault(shared: &Shared, metrics: &Metrics) -> Option<ChangeMembers<u64, Peer>> {
    let wanted: BTreeMap<u64, Peer> = {
        let state = shared.state.read();
        state.members().map(|member| (member.node.0, peer_of(member))).collect()
    };
    if !wanted.contains_key(&shared.node) {
        return None;
    }
    let membership = metrics.membership_config.membership();
    let present: BTreeMap<u64, &Peer> = membership.nodes().map(|(node, p)| (*node, p)).collect();
    for (node, peer) in &wanted {
        match present.get(node) {
            None => return Some(ChangeMembers::AddNodes(BTreeMap::from([(*node, peer.clone())]))),
            Some(known) if *known != peer => {
                return Some(ChangeMembers::SetNodes(BTreeMap::from([(*node, peer.clone())])));
            }
            Some(_) => {}
        }
    }
    let gone = present.into_keys().find(|node| !wanted.contains_key(node))?;
    let gone = BTreeSet::from([gone]);
    if voters(metrics).is_disjoint(&gone) {
        Some(ChangeMembers::RemoveNodes(gone))
    } else {
        Some(ChangeMembers::RemoveVoters(gone))
    }
}

/// How a member of the vault's is reached.
pub(crate) fn peer_of(member: &Member) -> Peer {
    let port = PORT_PEERS.saturating_add(member.port_offset);
    let address = if member.address.contains(':') {
        format!("[{}]:{port}", member.address)
    } else {
        format!("{}:{port}", member.address)
    };
    Peer {
        hsm_id: member.hsm_id.clone(),
        address,
        device_key: member.fingerprint(),
        witness: member.witness,
        zone: member.zone.clone(),
    }
}

fn candidates(shared: &Shared, metrics: &Metrics) -> Vec<Candidate> {
    let voters = voters(metrics);
    let last = metrics.last_log_index.unwrap_or(0);
    let candidate = |(node, peer): (&u64, &Peer)| {
        let this = *node == shared.node;
        let silence = shared.contacts.silence(*node);
        let matched = metrics.replication.as_ref().and_then(|all| all.get(node)).copied().flatten();
        let near = matched.is_some_and(|id| id.index + LAG_MAX >= last);
        Candidate {
            node: *node,
            voter: voters.contains(node),
            witness: peer.witness,
            fit: this || (near && silence.is_some_and(|silence| silence < ALIVE)),
            lost: !this && silence.is_none_or(|silence| silence > shared.timing.voter_lost),
            this,
            zone: peer.zone.clone(),
        }
    };
    metrics.membership_config.membership().nodes().map(candidate).collect()
}

/// How many HSMs vote, and whether a witness does: 1, 2 with a witness where there is one, 3, 3, 5.
fn target(hsms: usize) -> (usize, bool) {
    match hsms {
        0 => (0, false),
        1 => (1, false),
        2 => (2, true),
        3 | 4 => (3, false),
        _ => (5, false),
    }
}

/// The voters as they should be, where they are not: different by as little as possible.
fn choose(members: &[Candidate]) -> Option<BTreeSet<u64>> {
    let (hsms, witness) = target(members.iter().filter(|member| !member.witness).count());
    let now: BTreeSet<u64> = members.iter().filter(|m| m.voter).map(|m| m.node).collect();
    let chosen = with_hsms(members, hsms).or_else(|| with_witness(members, witness))?;
    (chosen != now && !chosen.is_empty()).then_some(chosen)
}

fn with_hsms(members: &[Candidate], target: usize) -> Option<BTreeSet<u64>> {
    let now: BTreeSet<u64> = members.iter().filter(|m| m.voter).map(|m| m.node).collect();
    let voting: Vec<&Candidate> = members.iter().filter(|m| m.voter && !m.witness).collect();
    let in_zone = |zone: &str, except: u64| {
        voting.iter().filter(|voter| voter.zone == zone && voter.node != except).count()
    };
    let next = members
        .iter()
        .filter(|member| !member.voter && !member.witness && member.fit)
        .min_by_key(|member| (in_zone(&member.zone, 0), member.node));
    let lost = voting.iter().find(|voter| voter.lost);
    let mut chosen = now;
    if voting.len() < target {
        chosen.insert(next?.node);
    } else if voting.len() > target {
        let worst = voting.iter().filter(|voter| !voter.this).max_by_key(|voter| {
            (voter.lost, !voter.fit, in_zone(&voter.zone, voter.node), voter.node)
        });
        chosen.remove(&worst?.node);
    } else if let (Some(lost), Some(next)) = (lost, next) {
        chosen.remove(&lost.node);
        chosen.insert(next.node);
    } else {
        // A voter whose zone has another one makes room for a zone that has none.
        let next = next.filter(|next| in_zone(&next.zone, 0) == 0)?;
        let double = voting
            .iter()
            .filter(|voter| !voter.this && in_zone(&voter.zone, voter.node) > 0)
            .max_by_key(|voter| voter.node)?;
        chosen.remove(&double.node);
        chosen.insert(next.node);
    }
    Some(chosen)
}

fn with_witness(members: &[Candidate], wanted: bool) -> Option<BTreeSet<u64>> {
    let mut chosen: BTreeSet<u64> = members.iter().filter(|m| m.voter).map(|m| m.node).collect();
    let hsms = members.iter().filter(|m| m.voter && !m.witness).count();
    if let Some(voting) = members.iter().find(|member| member.witness && member.voter) {
        // With one HSM left to vote it could not do without the witness; three do.
        if !wanted || hsms < 2 {
            chosen.remove(&voting.node);
        }
    } else if wanted && hsms == 2 {
        let witness = members.iter().find(|member| member.witness && member.fit)?;
        chosen.insert(witness.node);
    }
    Some(chosen)
}

pub(crate) async fn add_learner(raft: &Raft, node: u64, peer: Peer) -> Result<(), Error> {
    change_members(raft, ChangeMembers::AddNodes(BTreeMap::from([(node, peer)])), true).await
}

pub(crate) async fn remove(shared: &Shared, raft: &Raft, node: u64) -> Result<(), Error> {
    if node == shared.node {
        return Err(Error::NotNow("a leader does not take itself out".to_owned()));
    }
    let gone = BTreeSet::from([node]);
    let change = if voters(&raft.metrics().borrow()).contains(&node) {
        ChangeMembers::RemoveVoters(gone)
    } else {
        ChangeMembers::RemoveNodes(gone)
    };
    change_members(raft, change, false).await
}

pub(crate) async fn set_voters(raft: &Raft, nodes: BTreeSet<u64>) -> Result<(), Error> {
    change_members(raft, ChangeMembers::ReplaceAllVoters(nodes), true).await
}

/// One change. `retain`: a voter that loses its vote stays as a learner.
async fn change_members(
    raft: &Raft,
    change: ChangeMembers<u64, Peer>,
    retain: bool,
) -> Result<(), Error> {
    let change = raft.change_membership(change, retain);
    match tokio::time::timeout(CHANGE_PATIENCE, change).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::Fatal(fatal))) => Err(Error::fatal(fatal)),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
            Err(Error::NotNow("another HSM leads".to_owned()))
        }
        Ok(Err(RaftError::APIError(error))) => Err(Error::NotNow(error.to_string())),
        Err(_) => Err(Error::NotNow("no majority has agreed yet".to_owned())),
    }
}

pub(crate) async fn transfer(shared: &Shared, raft: &Raft) -> Result<(), Error> {
    shared.yielding.store(true, Ordering::Release);
    let transferred = try_transfer(shared, raft).await;
    shared.yielding.store(false, Ordering::Release);
    shared.proposals.arrived.notify_one();
    transferred
}

async fn try_transfer(shared: &Shared, raft: &Raft) -> Result<(), Error> {
    // No heartbeat, no entry: the voters' lease for this leader runs out.
    let metrics = raft.metrics().borrow().clone();
    if metrics.state != ServerState::Leader {
        return Ok(());
    }
    let successor = successor(shared, &metrics)
        .ok_or_else(|| Error::NotNow("no other HSM is fit to lead".to_owned()))?;
    let peer = metrics.membership_config.membership().get_node(&successor).cloned();
    let peer = peer.ok_or_else(|| Error::NotNow("it is no member any more".to_owned()))?;
    tokio::time::sleep(shared.timing.answer + shared.timing.heartbeat).await;
    let metrics = raft.metrics().borrow().clone();
    let last =
        metrics.replication.as_ref().and_then(|all| all.get(&shared.node)).copied().flatten();
    let stand = Stand { vote: Some(to_ballot(&metrics.vote)), last: last.as_ref().map(to_place) };
    let stand = PeerOperation::Stand(stand);
    match shared.call(successor, &peer, stand, shared.timing.answer).await {
        Ok(PeerResult::Standing(_)) => {}
        Ok(_) => return Err(Error::Peer("another answer than to the question")),
        Err(error) => return Err(Error::Transport(error)),
    }
    // A look now and then, for the proposer waits on the channel: which of two is woken first there is
    // tokio's chance, and a simulation could not be repeated.
    let leads = || raft.server_metrics().borrow().current_leader == Some(shared.node);
    let asked = Instant::now();
    while leads() {
        if asked.elapsed() > TRANSFER_PATIENCE {
            return Err(Error::NotNow("nobody took over".to_owned()));
        }
        tokio::time::sleep(TRANSFER_LOOK).await;
    }
    Ok(())
}

/// The voter that has most of the log; no witness.
fn successor(shared: &Shared, metrics: &Metrics) -> Option<u64> {
    let replication = metrics.replication.as_ref()?;
    candidates(shared, metrics)
        .into_iter()
        .filter(|member| member.voter && !member.this && !member.witness && member.fit)
        .max_by_key(|member| replication.get(&member.node).copied().flatten())
        .map(|member| member.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, zone: &str, voter: bool) -> Candidate {
        Candidate {
            node,
            voter,
            witness: false,
            fit: true,
            lost: false,
            this: node == 1,
            zone: zone.to_owned(),
        }
    }

    /// What becomes of the members when every change is made.
    fn settle(members: &mut [Candidate]) -> Vec<u64> {
        for _ in 0..20 {
            let Some(chosen) = choose(members) else { break };
            let changed = members.iter().filter(|m| m.voter != chosen.contains(&m.node)).count();
            assert!(changed <= 2, "more than one change at a time");
            for member in members.iter_mut() {
                member.voter = chosen.contains(&member.node);
            }
        }
        assert_eq!(choose(members), None, "it never settles");
        members.iter().filter(|m| m.voter).map(|m| m.node).collect()
    }

    #[test]
    fn one_two_three_three_and_five_hsms_vote() {
        for (count, voters) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5), (6, 5), (28, 5)] {
            let mut members: Vec<_> = (1..=count).map(|node| member(node, "", node == 1)).collect();
            assert_eq!(settle(&mut members).len(), voters, "{count} HSMs");
        }
    }

    #[test]
    fn a_witness_votes_with_two_hsms_and_with_no_others() {
        for (hsms, voters) in [(1, vec![1]), (2, vec![1, 2, 9]), (3, vec![1, 2, 3])] {
            let mut members: Vec<_> = (1..=hsms).map(|node| member(node, "", node == 1)).collect();
            members.push(Candidate { witness: true, ..member(9, "", false) });
            assert_eq!(settle(&mut members), voters);
            members[hsms as usize].voter = true;
            assert_eq!(settle(&mut members), voters);
        }
    }

    #[test]
    fn a_voter_that_is_lost_is_replaced_and_kept_where_nobody_can() {
        let mut members: Vec<_> = (1..=4).map(|node| member(node, "", node <= 3)).collect();
        members[2].lost = true;
        members[2].fit = false;
        let mut nobody = members.clone();
        nobody[3].fit = false;
        assert_eq!(settle(&mut nobody), [1, 2, 3]);
        assert_eq!(settle(&mut members), [1, 2, 4]);
    }

    #[test]
    fn votes_are_settled_when_nobody_who_answers_waits_for_one() {
        let mut members: Vec<_> = (1..=3).map(|node| member(node, "", node <= 2)).collect();
        members[2].fit = false;
        assert_eq!(choose(&members), None, "it has to catch up first");
        assert!(will_vote(&members));
        members[2].lost = true;
        assert!(!will_vote(&members));
        members[2] = member(3, "", true);
        assert!(!will_vote(&members));
    }

    #[test]
    fn voters_are_spread_over_zones() {
        let zones = ["a", "a", "a", "b", "c"];
        let mut members: Vec<_> =
            (1..).zip(zones).map(|(node, zone)| member(node, zone, node <= 3)).take(4).collect();
        assert_eq!(settle(&mut members), [1, 2, 4]);
    }
}
