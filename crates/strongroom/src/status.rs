//! `strongroom status`: how a region does, for people or programs.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::{Value, json};
use strongroom_wire::admin::{HsmState, MemberStatus, StatusReply};
use strongroom_wire::message::{ClusterPhase, JoinPolicy, MemberRole, SetJoinPolicy};

use crate::administration::Administration;
use crate::error::Error;
use crate::fleet::side_by_side;
use crate::members::word;
use crate::region::{Description, HsmDescription, Region};
use crate::steps::say;

/// What the keys' protection is, for whoever relies on it.
const SOFTWARE: &str = "software, not FIPS-validated";
const FILE_SEAL: &str = "the seal is a file: whoever reads the region's folder, the operator for \
                         one, can read the keys";
const OTHER_SEAL: &str = "the folder alone gives no keys; whoever controls a running HSM's host can \
                          read them";

/// What was found out about one HSM.
struct Found {
    hsm: HsmDescription,
    status: Result<StatusReply, Error>,
}

/// What was found out about all.
struct Cluster<'a> {
    found: &'a [Found],
    /// What the leader says of itself and the others; without it, what any HSM says.
    best: Option<&'a StatusReply>,
}

/// Prints the region's state. Success where every HSM answers.
pub(crate) fn run(region: &Region, as_json: bool, digest: bool) -> ExitCode {
    let description = match region.description() {
        Ok(description) => description,
        Err(e) => {
            eprintln!("strongroom: {e}");
            return ExitCode::FAILURE;
        }
    };
    let found = look(region, &description.hsms, digest);
    let cluster = Cluster::of(&found);
    if as_json {
        say(format_args!("{:#}", cluster.to_json(region, &description)));
    } else {
        cluster.print(region, &description);
    }
    if found.iter().all(|found| found.status.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn look(region: &Region, hsms: &[HsmDescription], digest: bool) -> Vec<Found> {
    let statuses = side_by_side(hsms, |hsm| Administration::connect(region, hsm)?.look(digest));
    hsms.iter().zip(statuses).map(|(hsm, status)| Found { hsm: hsm.clone(), status }).collect()
}

impl<'a> Cluster<'a> {
    fn of(found: &'a [Found]) -> Self {
        let running = || found.iter().filter_map(|found| found.status.as_ref().ok());
        let leads = |status: &&StatusReply| leads(status) && status.cut_off_ms == 0;
        let best = running().filter(leads).max_by_key(|status| status.term);
        Self { found, best: best.or_else(|| running().max_by_key(|status| status.applied)) }
    }

    /// The HSM that leads, where one that leads was found.
    fn leader(&self) -> Option<&str> {
        self.best.filter(|best| leads(best)).map(|best| best.hsm_id.as_str())
    }

    fn member(&self, hsm_id: &str) -> Option<&MemberStatus> {
        self.best?.members.iter().find(|member| member.hsm_id == hsm_id)
    }

    /// What the HSM is in the cluster, as the leader sees it.
    fn role(&self, hsm_id: &str) -> &'static str {
        if self.leader() == Some(hsm_id) {
            return "leader";
        }
        match self.member(hsm_id) {
            Some(member) if member.witness => "witness",
            Some(member) if member.role() == MemberRole::Learner => "learner",
            Some(_) => "voter",
            None => "none",
        }
    }

    fn lag(&self, hsm_id: &str) -> Option<u64> {
        if self.leader() == Some(hsm_id) { Some(0) } else { self.member(hsm_id)?.lag }
    }

    /// What somebody has to do, or to know.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = BTreeSet::new();
        for found in self.found {
            match &found.status {
                Ok(status) => {
                    warnings.extend(status.warnings.iter().cloned());
                    if status.state() != HsmState::Serving {
                        warnings.insert(format!("{} is {}", status.hsm_id, word(status.state())));
                    }
                    if status.seal == "file" {
                        warnings.insert(FILE_SEAL.to_owned());
                    }
                }
                Err(e) => drop(warnings.insert(e.to_string())),
            }
        }
        if let Some(best) = self.best {
            for request in &best.waiting {
                warnings.insert(format!(
                    "{} waits for admins to approve its fingerprint {}",
                    request.hsm_id,
                    hex(&request.fingerprint)
                ));
            }
            if self.leader().is_none() && !best.members.is_empty() {
                warnings.insert("no HSM leads: nothing can be changed".to_owned());
            }
        }
        warnings.into_iter().collect()
    }

    fn to_json(&self, region: &Region, description: &Description) -> Value {
        let best = self.best;
        let waiting = best.map(|best| &best.waiting).into_iter().flatten();
        json!({
            "region": region.dir(),
            "cluster-id": description.cluster_id,
            "leader": self.leader(),
            "term": best.map(|best| best.term),
            "join-policy": best.and_then(|best| best.join_policy).map(policy),
            "generation": best.map(|best| best.generation),
            "secrets-epoch": best.map(|best| best.secrets_epoch),
            "waiting": waiting.map(|request| json!({
                "hsm-id": request.hsm_id,
                "address": request.address,
                "fingerprint": hex(&request.fingerprint),
                "approved-by": request.approved_by,
            })).collect::<Vec<_>>(),
            "hsms": self.found.iter().map(|found| self.hsm_to_json(found)).collect::<Vec<_>>(),
            "warnings": self.warnings(),
            "protection": SOFTWARE,
        })
    }

    fn hsm_to_json(&self, found: &Found) -> Value {
        let id = found.hsm.hsm_id.as_str();
        let mut object = json!({
            "hsm-id": id,
            "address": found.hsm.clients().to_string(),
            "zone": found.hsm.zone,
            "running": found.status.is_ok(),
            "role": self.role(id),
            "lag": self.lag(id),
        });
        let more = match &found.status {
            Err(e) => json!({ "problem": e.to_string() }),
            Ok(status) => json!({
                "state": phase(status),
                "condition": condition(status.state()),
                "leader": status.leader,
                "node": status.node,
                "term": status.term,
                "last-log": status.last,
                "committed": status.committed,
                "applied": status.applied,
                "cut-off": status.cut_off_ms > 0,
                "cut-off-ms": status.cut_off_ms,
                "log-index": status.log_index,
                "state-digest": (!status.state_digest.is_empty())
                    .then(|| hex(&status.state_digest)),
                "objects": status.objects,
                "users": status.users,
                "connections": status.connections,
                "seal": status.seal,
                "seal-meaning": meaning(&status.seal),
                "process-id": status.process_id,
                "uptime-seconds": status.uptime_seconds,
                "memory-bytes": status.memory_bytes,
                "transactions": status.transactions,
                "changing": status.changing,
                "version": status.version,
            }),
        };
        if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
            object.extend(more);
        }
        object
    }

    fn print(&self, region: &Region, description: &Description) {
        say(format_args!("{} in {}", description.cluster_id, region.dir().display()));
        if let Some(best) = self.best {
            // Of `automatic` the HSMs warn.
            let policy = best
                .join_policy
                .filter(|rule| rule.policy() != JoinPolicy::Automatic)
                .map_or_else(String::new, |rule| format!("; join policy {}", policy(rule)));
            say(format_args!(
                "  {}, {} objects, {} users, leader {}{policy}",
                phase(best),
                best.objects,
                best.users,
                self.leader().unwrap_or("none"),
            ));
        }
        for found in self.found {
            self.print_hsm(region, found);
        }
        say(format_args!("  {SOFTWARE}"));
        for warning in self.warnings() {
            say(format_args!("  ! {warning}"));
        }
    }

    fn print_hsm(&self, region: &Region, found: &Found) {
        let Found { hsm, status } = found;
        let place = format!("{} on {} {}", hsm.hsm_id, hsm.clients(), hsm.zone);
        match status {
            Err(Error::NotRunning(_)) => say(format_args!(
                "  {}: does not run; `strongroom up{}` starts it",
                place.trim_end(),
                region.option()
            )),
            Err(e) => say(format_args!("  {}: {e}", place.trim_end())),
            Ok(status) => {
                let lag = self
                    .lag(&hsm.hsm_id)
                    .map_or_else(|| "lag unknown".to_owned(), |lag| format!("lag {lag}"));
                let state = status.state();
                let state =
                    if state == HsmState::Serving { "" } else { &format!(", {}", word(state)) };
                say(format_args!(
                    "  {}: {}{state}, {lag}, applied {}, {} connections, {} MiB, up {} s, version {}",
                    place.trim_end(),
                    self.role(&hsm.hsm_id),
                    status.applied,
                    status.connections,
                    status.memory_bytes / (1024 * 1024),
                    status.uptime_seconds,
                    status.version,
                ));
            }
        }
    }
}

fn leads(status: &StatusReply) -> bool {
    !status.leader.is_empty() && status.leader == status.hsm_id
}

/// The words of CloudHSM's API.
fn phase(status: &StatusReply) -> &'static str {
    match status.phase() {
        ClusterPhase::Locked => "LOCKED",
        ClusterPhase::Uninitialized => "UNINITIALIZED",
        ClusterPhase::Initialized => "INITIALIZED",
        ClusterPhase::Active => "ACTIVE",
    }
}

fn condition(state: HsmState) -> &'static str {
    match state {
        HsmState::Serving => "serving",
        HsmState::Waiting => "waiting",
        HsmState::CatchingUp => "catching-up",
        HsmState::CutOff => "cut-off",
        HsmState::Retired => "retired",
    }
}

fn policy(policy: SetJoinPolicy) -> String {
    match policy.policy() {
        JoinPolicy::Automatic => "automatic".to_owned(),
        JoinPolicy::Owner => "owner".to_owned(),
        JoinPolicy::Quorum => format!("quorum of {}", policy.approvals),
    }
}

fn meaning(seal: &str) -> &'static str {
    if seal == "file" { FILE_SEAL } else { OTHER_SEAL }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn found(number: u8, status: Option<StatusReply>) -> Found {
        let hsm_id = format!("hsm-{number}");
        let hsm = HsmDescription {
            hsm_id: hsm_id.clone(),
            address: IpAddr::from([127, 0, number, 10]),
            port_offset: 0,
            zone: "strongroom-1a".to_owned(),
            joins: number > 1,
            witness: false,
            leaving: None,
        };
        let status = status.map(|status| StatusReply { hsm_id: hsm_id.clone(), ..status });
        Found { hsm, status: status.ok_or(Error::NotRunning(hsm_id)) }
    }

    fn member(number: u8, role: MemberRole, lag: Option<u64>) -> MemberStatus {
        let hsm_id = format!("hsm-{number}");
        MemberStatus { hsm_id, role: role.into(), lag, ..MemberStatus::default() }
    }

    /// Three members: the first leads, the second lags, the third does not run.
    fn cluster() -> Vec<Found> {
        let members = vec![
            member(1, MemberRole::Leader, None),
            member(2, MemberRole::Voter, Some(7)),
            member(3, MemberRole::Learner, Some(90)),
        ];
        let leader = "hsm-1".to_owned();
        let status = StatusReply { leader, members, term: 4, ..StatusReply::default() };
        vec![found(1, Some(status.clone())), found(2, Some(status)), found(3, None)]
    }

    #[test]
    fn the_leader_says_who_is_what_and_how_far_behind() {
        let found = cluster();
        let cluster = Cluster::of(&found);
        assert_eq!(cluster.leader(), Some("hsm-1"));
        let roles = ["hsm-1", "hsm-2", "hsm-3", "hsm-4"].map(|id| cluster.role(id));
        assert_eq!(roles, ["leader", "voter", "learner", "none"]);
        let lags = ["hsm-1", "hsm-2", "hsm-3", "hsm-4"].map(|id| cluster.lag(id));
        assert_eq!(lags, [Some(0), Some(7), Some(90), None]);
    }

    #[test]
    fn a_leader_that_has_lost_its_majority_leads_nobody() {
        let mut found = cluster();
        for found in &mut found {
            if let Ok(status) = &mut found.status {
                status.cut_off_ms = 1_500;
                status.state = HsmState::CutOff.into();
                status.leader.clear();
            }
        }
        let cluster = Cluster::of(&found);
        assert_eq!(cluster.leader(), None);
        let warnings = cluster.warnings().join("\n");
        for said in ["no HSM leads", "hsm-3 does not run", "hsm-1 is cut off"] {
            assert!(warnings.contains(said), "{said} is not in: {warnings}");
        }
    }

    #[test]
    fn what_an_operator_could_do_is_said() {
        let mut found = cluster();
        if let Ok(status) = &mut found[0].status {
            let policy = JoinPolicy::Automatic.into();
            status.join_policy = Some(SetJoinPolicy { policy, approvals: 0 });
            status.seal = "file".to_owned();
            status.warnings = vec!["one HSM only".to_owned()];
        }
        let cluster = Cluster::of(&found);
        let warnings = cluster.warnings();
        assert!(warnings.contains(&"one HSM only".to_owned()));
        assert!(warnings.contains(&FILE_SEAL.to_owned()));
        let region = Region::at(std::path::Path::new("/tmp"));
        let description = Description { cluster_id: "cluster-1".to_owned(), hsms: Vec::new() };
        let json = cluster.to_json(&region, &description);
        assert_eq!(json["join-policy"], "automatic");
        assert_eq!(json["hsms"][1]["lag"], 7);
        assert_eq!(json["hsms"][2]["running"], false);
        assert_eq!(json["leader"], "hsm-1");
    }
}
