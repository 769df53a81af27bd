//! Which of a region's HSMs are members of its cluster: letting them in, and having them leave.
//!
//! What the cluster says is what counts. `region.json` only says what is wanted, so each step asks
//! first whether it is done.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use strongroom_wire::admin::{Admission, HsmState, StatusReply};
use strongroom_wire::message::{JoinPolicy, MemberRole};

use crate::administration::Administration;
use crate::error::Error;
use crate::fleet::{self, side_by_side};
use crate::owner;
use crate::region::{Description, HsmDescription, Leaving, Region};
use crate::steps::Steps;

/// For an HSM to catch up, or a cluster to find a leader.
const PATIENCE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// For an HSM that is removed already to lose its vote.
const GONE: Duration = Duration::from_secs(3);
/// For a cluster to agree on a removal: it may just have lost its leader.
const AGREED: Duration = Duration::from_secs(15);

/// The status of each HSM, asked side by side.
pub(crate) fn statuses(
    region: &Region,
    hsms: &[HsmDescription],
) -> Vec<Result<StatusReply, Error>> {
    side_by_side(hsms, |hsm| Administration::connect(region, hsm)?.status())
}

/// A connection to a member that speaks for the cluster: the leader, else one that knows it. A witness
/// does not: it knows nothing of what the members have agreed on.
///
/// # Errors
/// [`Error::NoMember`] where none does.
pub(crate) fn speaker(
    region: &Region,
    hsms: &[HsmDescription],
) -> Result<(Administration, StatusReply), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found: Vec<_> = hsms
            .iter()
            .zip(statuses(region, hsms))
            .filter_map(|(hsm, status)| Some((hsm, status.ok()?)))
            .filter(|(hsm, status)| !hsm.witness && is_member(status))
            .collect();
        let leads = |status: &StatusReply| status.leader == status.hsm_id;
        let knows = |status: &StatusReply| !status.leader.is_empty() && status.cut_off_ms == 0;
        let leader = found.iter().find(|(_, status)| leads(status) && knows(status));
        if let Some((hsm, _)) = leader.or_else(|| found.iter().find(|(_, status)| knows(status))) {
            let mut administration = Administration::connect(region, hsm)?;
            let status = administration.status()?;
            return Ok((administration, status));
        }
        if found.is_empty() || Instant::now() > deadline {
            let count = found.len();
            return Err(Error::NoMember(format!(
                "no majority: of {} HSMs {count} answer as members, and none of them has a leader. \
                 `strongroom up{option}` starts those that are down; where they are lost for ever, \
                 `strongroom recover{option}` goes on without them",
                hsms.len(),
                option = region.option(),
            )));
        }
        thread::sleep(ASK_AGAIN);
    }
}

fn is_member(status: &StatusReply) -> bool {
    !matches!(status.state(), HsmState::Waiting | HsmState::Retired)
}

/// Lets the HSMs in that wait for it.
///
/// # Errors
/// Where the cluster refuses one, or it waits for its admins.
pub(crate) fn join(
    region: &Region,
    description: &Description,
    steps: &mut Steps,
) -> Result<(), Error> {
    let hsms = description.staying();
    let waiting: Vec<HsmDescription> = hsms
        .iter()
        .zip(statuses(region, &hsms))
        .filter(|(_, status)| {
            status.as_ref().is_ok_and(|status| status.state() == HsmState::Waiting)
        })
        .map(|(hsm, _)| hsm.clone())
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let (mut speaker, status) = speaker(region, &description.hsms)?;
    let welcomers: Vec<Vec<u8>> =
        status.members.iter().map(|member| member.fingerprint.clone()).collect();
    let anchor = anchor(region)?;
    let by_owner = status.join_policy.is_some_and(|policy| policy.policy() == JoinPolicy::Owner);
    let mut approvals = Vec::new();
    for hsm in &waiting {
        let mut newcomer = Administration::connect(region, hsm)?;
        let certificate = owner::read_certificate(&region.device_certificate(hsm))?;
        let known = status.members.iter().find(|member| member.hsm_id == hsm.hsm_id);
        if let Some(known) = known
            && known.fingerprint != owner::key_of_device(&certificate)?
        {
            return Err(Error::Broken(vec![format!(
                "{id} has lost its data, and the cluster knows it by another key: `strongroom \
                 replace {id}{option}` makes a new one in its place",
                id = hsm.hsm_id,
                option = region.option()
            )]));
        }
        let device = newcomer.device()?;
        newcomer.join(&description.cluster_id, welcomers.clone(), anchor.clone())?;
        let endorsement = if by_owner { owner::endorse(region, &certificate)? } else { Vec::new() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = speaker.add(device.clone(), endorsement.clone())?;
            match reply.admission() {
                Admission::Welcomed => {
                    steps.done(format_args!("{} let into the cluster", hsm.hsm_id));
                    break;
                }
                Admission::Waiting => {
                    approvals.push(format!("{} waits: {}", hsm.hsm_id, reply.message));
                    break;
                }
                Admission::Unreached if Instant::now() < deadline => thread::sleep(ASK_AGAIN),
                Admission::Unreached => {
                    return Err(Error::Refused(format!("{}: {}", hsm.hsm_id, reply.message)));
                }
            }
        }
    }
    if approvals.is_empty() { Ok(()) } else { Err(Error::Broken(approvals)) }
}

/// Waits until all HSMs that are members serve, and as many vote as will.
///
/// # Errors
/// Where one does not come to that.
pub(crate) fn settle(
    region: &Region,
    cluster_id: &str,
    hsms: &[HsmDescription],
    steps: &mut Steps,
) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut introduced = BTreeSet::new();
    loop {
        let statuses = statuses(region, hsms);
        for hsm in forgotten(hsms, &statuses) {
            if !introduced.contains(&hsm.hsm_id) && introduce(region, cluster_id, hsm, hsms)? {
                introduced.insert(hsm.hsm_id.clone());
                steps.done(format_args!("{} told who the members are now", hsm.hsm_id));
            }
        }
        let behind: Vec<String> = hsms
            .iter()
            .zip(statuses)
            .filter_map(|(hsm, status)| match status {
                Ok(status) => match status.state() {
                    HsmState::Serving if !status.changing => None,
                    HsmState::Serving => Some("who votes is not settled yet".to_owned()),
                    state => Some(format!("{} is not ready: {}", hsm.hsm_id, word(state))),
                },
                Err(e) => Some(e.to_string()),
            })
            .collect();
        if behind.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Broken(behind));
        }
        thread::sleep(ASK_AGAIN);
    }
}

/// Members that know none of those that vote now: they were away while all others were replaced, and
/// nobody can reach them who they would listen to.
fn forgotten<'a>(
    hsms: &'a [HsmDescription],
    statuses: &[Result<StatusReply, Error>],
) -> Vec<&'a HsmDescription> {
    let known = || statuses.iter().filter_map(|status| status.as_ref().ok());
    let speaks = |status: &&StatusReply| {
        is_member(status) && !status.witness && status.cut_off_ms == 0 && !status.leader.is_empty()
    };
    let Some(speaker) = known().find(speaks) else { return Vec::new() };
    let voters: BTreeSet<&[u8]> = speaker
        .members
        .iter()
        .filter(|member| member.role() != MemberRole::Learner)
        .map(|member| member.fingerprint.as_slice())
        .collect();
    let is_forgotten = |hsm: &&HsmDescription| {
        let own = known().find(|status| status.hsm_id == hsm.hsm_id);
        own.is_some_and(|own| {
            let others = own.members.iter().filter(|member| member.hsm_id != own.hsm_id);
            own.state() == HsmState::CutOff
                && speaker.members.iter().any(|member| member.hsm_id == own.hsm_id)
                && !others.clone().any(|other| voters.contains(other.fingerprint.as_slice()))
        })
    };
    hsms.iter().filter(is_forgotten).collect()
}

/// Has a member welcome one that knows nobody any more, once again; whether it was heard.
fn introduce(
    region: &Region,
    cluster_id: &str,
    hsm: &HsmDescription,
    hsms: &[HsmDescription],
) -> Result<bool, Error> {
    let (mut speaker, status) = speaker(region, hsms)?;
    let mut lost = Administration::connect(region, hsm)?;
    let welcomers = status.members.iter().map(|member| member.fingerprint.clone()).collect();
    lost.join(cluster_id, welcomers, anchor(region)?)?;
    let reply = speaker.add(lost.device()?, Vec::new())?;
    Ok(reply.admission() == Admission::Welcomed)
}

/// customerCA's certificate, PEM; empty where the cluster has no owner yet.
fn anchor(region: &Region) -> Result<String, Error> {
    let path = region.customer_ca().certificate;
    match std::fs::read_to_string(&path) {
        Ok(pem) => Ok(pem),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(Error::file(&path)(e)),
    }
}

/// Tells members where the others listen now. Each finds its own address by itself, but where all
/// have moved at once, none can tell another.
///
/// # Errors
/// Where an HSM refuses.
pub(crate) fn tell_addresses(region: &Region, hsms: &[HsmDescription]) -> Result<(), Error> {
    for (to, status) in hsms.iter().zip(statuses(region, hsms)) {
        let Ok(status) = status else { continue };
        let moved = |hsm: &&HsmDescription| {
            status.members.iter().any(|member| {
                member.hsm_id == hsm.hsm_id
                    && (member.address != hsm.address.to_string()
                        || member.port_offset != u32::from(hsm.port_offset))
            })
        };
        // An HSM knows its own from its start, and says it by itself.
        let others = hsms.iter().filter(|hsm| hsm.hsm_id != to.hsm_id);
        let moved: Vec<_> = others.filter(moved).collect();
        if moved.is_empty() {
            continue;
        }
        let mut administration = Administration::connect(region, to)?;
        for hsm in moved {
            administration.update_address(hsm)?;
        }
    }
    Ok(())
}

/// Has those HSMs leave that are to, and takes them out of the region; their successors take their
/// places in it, but do not run yet.
///
/// # Errors
/// Where one does not leave. Those before it have left.
pub(crate) fn leave(
    region: &Region,
    description: &mut Description,
    steps: &mut Steps,
) -> Result<(), Error> {
    while let Some((at, hsm, leaving)) = next_to_leave(description) {
        let others: Vec<_> =
            description.hsms.iter().filter(|other| other.hsm_id != hsm.hsm_id).cloned().collect();
        let (mut speaker, status) = speaker(region, &others)?;
        if lists(&status, &hsm) {
            let how = remove(&mut speaker, &hsm, leaving.force)?;
            // As long as its vote counts it may be needed, to take that very vote away.
            if !gone(&mut speaker, &hsm, PATIENCE)? {
                let problem = format!("the cluster still counts on {}", hsm.hsm_id);
                return Err(Error::Program { program: "the removal", problem });
            }
            steps.done(format_args!("{} {how}", hsm.hsm_id));
        }
        fleet::end(region, &hsm)?;
        // Out of the description first: what is in it is started again.
        match leaving.successor {
            Some(hsm_id) => {
                let successor =
                    HsmDescription { hsm_id, joins: true, leaving: None, ..hsm.clone() };
                description.hsms[at] = successor;
            }
            None => drop(description.hsms.remove(at)),
        }
        region.describe(description)?;
        remove_folder(region, &hsm)?;
    }
    Ok(())
}

/// Has an HSM removed; says how it went.
fn remove(
    speaker: &mut Administration,
    hsm: &HsmDescription,
    force: bool,
) -> Result<&'static str, Error> {
    let deadline = Instant::now() + AGREED;
    loop {
        match speaker.remove(&hsm.hsm_id, force) {
            Ok(reply) if reply.receipt.is_empty() => {
                return Ok("removed without its word that its secrets are destroyed");
            }
            Ok(_) => return Ok("has left the cluster and destroyed its secrets"),
            // It was removed before, or just now without an answer in time: it may only still have a
            // vote.
            Err(Error::Refused(_)) if gone(speaker, hsm, GONE)? => {
                return Ok("has left the cluster");
            }
            Err(Error::Refused(_)) if Instant::now() < deadline => thread::sleep(ASK_AGAIN),
            Err(e) => return Err(e),
        }
    }
}

fn lists(status: &StatusReply, hsm: &HsmDescription) -> bool {
    status.members.iter().any(|member| member.hsm_id == hsm.hsm_id)
}

/// Waits until neither the state nor Raft's voters and learners have the HSM; whether it came to that.
fn gone(
    speaker: &mut Administration,
    hsm: &HsmDescription,
    patience: Duration,
) -> Result<bool, Error> {
    let deadline = Instant::now() + patience;
    while lists(&speaker.status()?, hsm) {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(ASK_AGAIN);
    }
    Ok(true)
}

/// The last of those that are to leave.
fn next_to_leave(description: &Description) -> Option<(usize, HsmDescription, Leaving)> {
    let at = description.hsms.iter().rposition(|hsm| hsm.leaving.is_some())?;
    let hsm = description.hsms[at].clone();
    let leaving = hsm.leaving.clone()?;
    Some((at, hsm, leaving))
}

/// The data of an HSM that is no member: nobody can use it, and it takes room.
fn remove_folder(region: &Region, hsm: &HsmDescription) -> Result<(), Error> {
    let folder = region.hsm_folder(hsm);
    match std::fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(&folder)(e)),
        _ => Ok(()),
    }
}

/// An HSM's state in a word.
pub(crate) fn word(state: HsmState) -> &'static str {
    match state {
        HsmState::Serving => "serving",
        HsmState::Waiting => "waiting to be let into a cluster",
        HsmState::CatchingUp => "catching up",
        HsmState::CutOff => "cut off from the majority",
        HsmState::Retired => "no member of the cluster any more",
    }
}
