//! `strongroom status`: how a region does, for people or programs.

use std::process::ExitCode;

use serde_json::{Value, json};
use strongroom_wire::admin::StatusReply;
use strongroom_wire::message::ClusterPhase;

use crate::administration::{Administration, is_refused};
use crate::error::Error;
use crate::region::{Description, HsmDescription, Region};

/// What the seal means for whoever relies on the keys.
const SOFTWARE: &str = "software, not FIPS-validated";
const FILE_SEAL: &str = "the seal is a file: whoever reads the region's folder, the operator for one, \
                         can read the keys";
const PASSPHRASE_SEAL: &str = "the seal is a passphrase: the folder alone gives no keys; whoever \
                               controls a running HSM's host can read them";

/// Prints the region's state. Success where every HSM runs.
pub(crate) fn run(region: &Region, as_json: bool) -> ExitCode {
    let (description, hsms) = match look(region) {
        Ok(found) => found,
        Err(e) => {
            eprintln!("strongroom: {e}");
            return ExitCode::FAILURE;
        }
    };
    if as_json {
        let shown: Vec<Value> =
            hsms.iter().map(|(hsm, status)| to_json(hsm, status.as_ref())).collect();
        let whole = json!({
            "region": region.dir(),
            "cluster-id": description.cluster_id,
            "hsms": shown,
            "protection": SOFTWARE,
        });
        println!("{whole:#}");
    } else {
        print(region, &description, &hsms);
    }
    if hsms.iter().all(|(_, status)| status.is_some()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

type Found = (HsmDescription, Option<StatusReply>);

fn look(region: &Region) -> Result<(Description, Vec<Found>), Error> {
    let description = region.description()?;
    let hsms = description
        .hsms
        .iter()
        .map(|hsm| {
            let status = Administration::connect(region, hsm).and_then(|mut a| a.status());
            match status {
                Ok(status) => Ok((hsm.clone(), Some(status))),
                Err(e) if is_refused(&e) => Ok((hsm.clone(), None)),
                Err(e) => Err(e),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((description, hsms))
}

fn to_json(hsm: &HsmDescription, status: Option<&StatusReply>) -> Value {
    let place = hsm.clients().to_string();
    match status {
        None => json!({"hsm-id": hsm.hsm_id, "address": place, "running": false}),
        Some(status) => json!({
            "hsm-id": hsm.hsm_id,
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

fn print(region: &Region, description: &Description, hsms: &[Found]) {
    println!("{} in {}", description.cluster_id, region.dir().display());
    for (hsm, status) in hsms {
        let place = hsm.clients();
        let Some(status) = status else {
            println!(
                "  {} on {place}: does not run; `strongroom up{}`",
                hsm.hsm_id,
                region.option()
            );
            continue;
        };
        println!(
            "  {} on {place}: {}, {} objects, {} users, {} connections, log at {}, up {} s",
            hsm.hsm_id,
            state(status),
            status.objects,
            status.users,
            status.connections,
            status.log_index,
            status.uptime_seconds,
        );
        println!("  {SOFTWARE}; {}", meaning(&status.seal));
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
    if seal == "file" { FILE_SEAL } else { PASSPHRASE_SEAL }
}
