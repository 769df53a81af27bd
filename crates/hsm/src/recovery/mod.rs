//! Going on after the majority is lost for ever: by decision of the recovery keys alone, never by itself.
//!
//! ```text
//! provisioner ── RecoveryStatement ──▶ the survivor that has come furthest: asks the others (Survey)
//! the recovery keys sign the statement, or customerCA where none are set
//! provisioner ── Recover ────────────▶ the same survivor: checks all of it again, becomes a cluster of
//!                                      its own under a higher fence, and says so in its log (Recovered)
//! the other survivors are fenced, set their stores aside, and join again under new numbers
//! ```
//! The old majority, coming back, is fenced too, and given up: it keeps what it has, and serves nobody.

mod statement;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_cluster::{MemberRole, NodeStatus, Transport as _};
use strongroom_vault::{Command, Contact, Member as MemberRecord, NodeId, Replicator as _};
use strongroom_wire::admin::{Recover, RecoveryStatement, RecoveryStatementReply};
use strongroom_wire::limits::RECOVERY_STATEMENT_BYTES_MAX;
use strongroom_wire::peer::{PeerOperation, PeerRequest, PeerResult, Place, Survey, SurveyReply};

pub(crate) use self::statement::RecoveryError;
use self::statement::{Authority, Statement, Survivor};
use crate::administration::propose;
use crate::device::peer_of;
use crate::hsm::{Hsm, Member};
use crate::{Error, clock};

/// What is agreed on and not said in the log yet, in the data folder.
const FILE: &str = "recovery.statement";
/// For a survivor's answer.
const SURVEY_PATIENCE: Duration = Duration::from_secs(3);
/// For the recovered HSM to lead and to say so in its log.
const LEAD_PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// How far this HSM has come.
pub(crate) fn survey(member: &Member) -> SurveyReply {
    let status = member.node.status();
    let state = member.node.state().read();
    let seen =
        member.service.as_ref().map_or(0, |service| service.engine.newest_seen_by_clients().0);
    SurveyReply {
        last: Some(Place { term: status.last_term, leader: 0, index: status.last_log }),
        applied: state.applied().0,
        applied_ms: state.time_ms(),
        seen,
        cut_off_ms: cut_off_ms(&status),
    }
}

fn cut_off_ms(status: &NodeStatus) -> u64 {
    match status.contact {
        Contact::Connected => 0,
        Contact::CutOff { for_ } => u64::try_from(for_.as_millis()).unwrap_or(u64::MAX).max(1),
    }
}

/// What has to be signed to go on with the survivors that are named, this HSM among them.
///
/// # Errors
/// Why there is nothing to recover, or who does not answer.
pub(crate) fn prepare(
    hsm: &Hsm,
    member: &Member,
    asked: &RecoveryStatement,
) -> Result<RecoveryStatementReply, String> {
    let status = member.node.status();
    let (members, cluster_id, fence, authority) = {
        let state = member.node.state().read();
        let authority = Authority::of(&state).map_err(|e| e.to_string())?;
        let members: Vec<MemberRecord> = state.members().cloned().collect();
        (members, state.cluster_id().to_owned(), state.fence(), authority)
    };
    let named = |member: &&MemberRecord| asked.survivors.contains(&member.hsm_id);
    let survivors: Vec<_> = members.iter().filter(named).collect();
    if survivors.len() != asked.survivors.len() {
        return Err("a survivor that is named is no member, or is named twice".to_owned());
    }
    if !survivors.iter().any(|survivor| survivor.node == member.membership.node()) {
        return Err("this HSM is not among the survivors that are named".to_owned());
    }
    let nodes = survivors.iter().map(|survivor| survivor.node);
    check_majority_lost(&status, &nodes.collect::<Vec<_>>()).map_err(|e| e.to_string())?;
    let surveyed = survivors.into_iter().map(|survivor| {
        let own = survivor.node == member.membership.node();
        let reply = if own { Ok(survey(member)) } else { ask(hsm, member, survivor) };
        let reply = reply.map_err(|e| format!("{}: {e}", survivor.hsm_id))?;
        if reply.cut_off_ms == 0 {
            return Err(format!("{} has a majority: nothing is to be recovered", survivor.hsm_id));
        }
        Ok(Survivor {
            node: survivor.node.0,
            hsm_id: survivor.hsm_id.clone(),
            device_key: survivor.fingerprint().to_vec(),
            last: reply.last,
            applied: reply.applied,
            applied_ms: reply.applied_ms,
            seen: reply.seen,
            cut_off_ms: reply.cut_off_ms,
        })
    });
    let mut statement = Statement {
        cluster_id,
        fence: fence.saturating_add(1),
        survivors: surveyed.collect::<Result<_, _>>()?,
        given_up: members
            .iter()
            .filter(|member| !named(member))
            .map(|member| member.hsm_id.clone())
            .collect(),
        made_ms: clock::now_ms(),
    };
    statement.put_newest_first();
    check_newest(member, &statement).map_err(|e| e.to_string())?;
    Ok(RecoveryStatementReply {
        explanation: statement.explanation(),
        threshold: authority.threshold,
        statement: statement.to_bytes(),
    })
}

fn ask(hsm: &Hsm, member: &Member, survivor: &MemberRecord) -> Result<SurveyReply, String> {
    let transport = hsm.transport.as_ref().ok_or("a local HSM has no peers")?;
    let peer = peer_of(survivor).ok_or("its address is none")?;
    let request = PeerRequest {
        fence: member.node.status().fence,
        from: member.membership.node().0,
        to: survivor.node.0,
        operation: Some(PeerOperation::Survey(Survey {})),
    };
    let call = transport.call(survivor.node, &peer, request, SURVEY_PATIENCE);
    match hsm.runtime.block_on(call).map_err(|e| e.to_string())?.result {
        Some(PeerResult::Survey(reply)) => Ok(reply),
        Some(PeerResult::Refused(refused)) => Err(refused.reason),
        _ => Err("its answer makes no sense".to_owned()),
    }
}

/// Only where the survivors cannot agree on anything without those that are lost.
fn check_majority_lost(status: &NodeStatus, survivors: &[NodeId]) -> Result<(), RecoveryError> {
    if status.contact == Contact::Connected {
        let words = "this HSM has a majority: nothing is to be recovered";
        return Err(RecoveryError::NotNow(words.to_owned()));
    }
    let voters: Vec<NodeId> = status
        .members
        .iter()
        .filter(|member| member.role != MemberRole::Learner)
        .map(|member| member.node)
        .collect();
    let left = voters.iter().filter(|voter| survivors.contains(voter)).count();
    if left > voters.len() / 2 {
        return Err(RecoveryError::NotNow(format!(
            "{left} of {} voters are left, which is a majority: start them and wait for a leader",
            voters.len()
        )));
    }
    Ok(())
}

/// The survivor that has come furthest goes on: what it has is lost otherwise. It has no witness's log,
/// which nobody can read.
fn check_newest(member: &Member, statement: &Statement) -> Result<(), RecoveryError> {
    let newest = statement.survivors.first().ok_or(RecoveryError::NoStatement)?;
    let own = survey(member);
    if newest.node != member.membership.node().0 || member.membership.witness {
        return Err(RecoveryError::NotNow(format!(
            "{} has come furthest of the survivors: ask it",
            newest.hsm_id
        )));
    }
    if newest.last != own.last {
        return Err(RecoveryError::Stale("was made before the log went on"));
    }
    Ok(())
}

/// Goes on without the majority.
///
/// # Errors
/// Why not: then everything is as before.
pub(crate) fn recover(hsm: &Arc<Hsm>, member: Arc<Member>, asked: &Recover) -> Result<(), String> {
    let statement = Statement::parse(&asked.statement).map_err(|e| e.to_string())?;
    {
        let state = member.node.state().read();
        let check = statement.check_state(&state).and_then(|()| Authority::of(&state));
        let authority = check.map_err(|e| e.to_string())?;
        authority.check(&asked.statement, &asked.signatures).map_err(|e| e.to_string())?;
    }
    let survivors: Vec<_> = statement.survivors.iter().map(|s| NodeId(s.node)).collect();
    check_majority_lost(&member.node.status(), &survivors).map_err(|e| e.to_string())?;
    check_newest(&member, &statement).map_err(|e| e.to_string())?;

    tracing::error!("recovering: {}", statement.explanation().join("; "));
    // First what is to be said in the log, then what makes it possible to say it.
    let path = file(hsm.path());
    strongroom_seal::write_atomically(&path, &asked.statement).map_err(|e| e.to_string())?;
    let membership = member.membership.clone();
    drop(member);
    hsm.take_part_again(Some(statement.fence), membership, |_| Ok(())).map_err(|e| {
        // It cannot go on as either.
        hsm.stop.request();
        format!("this HSM stops, and is recovered when it is started again: {e}")
    })?;
    let deadline = Instant::now() + LEAD_PATIENCE;
    while Instant::now() < deadline {
        if let Some(member) = hsm.member() {
            if let Err(e) = finish(hsm, &member) {
                tracing::info!("the recovery is not in the log yet: {e}");
            }
            if member.node.state().read().fence() >= statement.fence {
                tracing::warn!(fence = statement.fence, "recovered");
                return Ok(());
            }
        }
        std::thread::sleep(POLL);
    }
    Err("it leads nobody yet; look at its status in a moment".to_owned())
}

/// Says in the log what was decided, where that is still to be done: also after a crash.
///
/// # Errors
/// Where it was not agreed on: it is to be tried again.
pub(crate) fn finish(hsm: &Hsm, member: &Member) -> Result<(), Error> {
    let path = file(hsm.path());
    let Some(statement) = kept(&path)? else { return Ok(()) };
    let done = member.node.state().read().fence() >= statement.fence;
    // A crash before the fence was raised: nothing has been recovered, and can be again.
    let vain = member.node.status().fence < statement.fence;
    if !done && !vain {
        if !member.node.leads() {
            return Ok(());
        }
        let members = statement.survivors.iter().map(|survivor| NodeId(survivor.node)).collect();
        propose(&*member.node, Command::Recovered { fence: statement.fence, members })?;
    }
    std::fs::remove_file(&path).map_err(Error::io(path.display().to_string()))
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn kept(path: &Path) -> Result<Option<Statement>, Error> {
    let metadata = match path.metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(Error::io(path.display().to_string()))?,
    };
    let bytes = if metadata.len() > RECOVERY_STATEMENT_BYTES_MAX as u64 * 2 {
        Vec::new()
    } else {
        std::fs::read(path).map_err(Error::io(path.display().to_string()))?
    };
    Statement::parse(&bytes).map(Some).map_err(|e| Error::Configuration(e.to_string()))
}
