//! `strongroom status`: how a region does, for people or programs.

use std::process::ExitCode;

use serde_json::{Value, json};
use strongroom_wire::admin::StatusReply;
use strongroom_wire::message::ClusterPhase;

use crate::administration::Administration;
use crate::error::Error;
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

/// Prints the region's state. Success where every HSM answers.
pub(crate) fn run(region: &Region, as_json: bool) -> ExitCode {
    let description = match region.description() {
        Ok(description) => description,
        Err(e) => {
            eprintln!("strongroom: {e}");
            return ExitCode::FAILURE;
        }
    };
    let found: Vec<Found> = description.hsms.iter().map(|hsm| look(region, hsm)).collect();
    if as_json {
        say(format_args!("{:#}", to_json(region, &description, &found)));
    } else {
        print(region, &description, &found);
    }
    if found.iter().all(|found| found.status.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn look(region: &Region, hsm: &HsmDescription) -> Found {
    let status = Administration::connect(region, hsm).and_then(|mut hsm| hsm.status());
    Found { hsm: hsm.clone(), status }
}

fn to_json(region: &Region, description: &Description, found: &[Found]) -> Value {
    json!({
        "region": region.dir(),
        "cluster-id": description.cluster_id,
        "hsms": found.iter().map(hsm_to_json).collect::<Vec<_>>(),
        "protection": SOFTWARE,
    })
}

fn hsm_to_json(found: &Found) -> Value {
    let place = found.hsm.clients().to_string();
    match &found.status {
        Err(e) => json!({
            "hsm-id": found.hsm.hsm_id,
            "address": place,
            "running": false,
            "problem": e.to_string(),
        }),
        Ok(status) => json!({
            "hsm-id": found.hsm.hsm_id,
            "address": place,
            "running": true,
            "state": state(status),
            "log-index": status.log_index,
            "objects": status.objects,
            "users": status.users,
            "connections": status.connections,
            "seal": status.seal,
            "seal-meaning": meaning(&status.seal),
            "process-id": status.process_id,
            "uptime-seconds": status.uptime_seconds,
            "version": status.version,
        }),
    }
}

fn print(region: &Region, description: &Description, found: &[Found]) {
    say(format_args!("{} in {}", description.cluster_id, region.dir().display()));
    for Found { hsm, status } in found {
        let place = hsm.clients();
        match status {
            Err(Error::NotRunning(id)) => say(format_args!(
                "  {id} on {place}: does not run; `strongroom up{}` starts it",
                region.option()
            )),
            Err(e) => say(format_args!("  {e}")),
            Ok(status) => say(format_args!(
                "  {} on {place}: {}, {} objects, {} users, {} connections, log at {}, up {} s\n  \
                 {SOFTWARE}; {}",
                hsm.hsm_id,
                state(status),
                status.objects,
                status.users,
                status.connections,
                status.log_index,
                status.uptime_seconds,
                meaning(&status.seal),
            )),
        }
    }
}

/// The words of CloudHSM's API.
fn state(status: &StatusReply) -> &'static str {
    match status.phase() {
        ClusterPhase::Locked => "LOCKED",
        ClusterPhase::Uninitialized => "UNINITIALIZED",
        ClusterPhase::Initialized => "INITIALIZED",
        ClusterPhase::Active => "ACTIVE",
    }
}

fn meaning(seal: &str) -> &'static str {
    if seal == "file" { FILE_SEAL } else { OTHER_SEAL }
}
