//! The processes of a region's HSMs: started and stopped side by side.

use std::ffi::OsString;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use strongroom_hsm::{Log, start_detached};
use strongroom_seal::write_atomically;

use crate::administration::Administration;
use crate::error::Error;
use crate::private_folder;
use crate::process::Process;
use crate::region::{Description, HsmDescription, Region};

/// For an HSM that does not answer, and may be about to start or to end; and for one that stops: for
/// requests in progress and the store.
const PATIENCE: Duration = Duration::from_secs(15);
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What became of an HSM that was to run.
pub(crate) enum Started {
    /// It ran already.
    Before,
    /// Now.
    Now(Child),
}

/// What became of an HSM that was to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It did not run.
    Before,
    /// Now, in order.
    Now,
}

/// Starts those HSMs that do not run, side by side. Gives what became of each, in their order.
pub(crate) fn start(
    region: &Region,
    description: &Description,
    hsms: &[HsmDescription],
    foreground: bool,
) -> Vec<Result<Started, Error>> {
    side_by_side(hsms, |hsm| start_one(region, description, hsm, foreground))
}

/// Stops HSMs in order, side by side. Gives what became of each, in their order.
pub(crate) fn stop(region: &Region, hsms: &[HsmDescription]) -> Vec<Result<Stopped, Error>> {
    side_by_side(hsms, |hsm| stop_one(region, hsm))
}

/// One result for each HSM, in their order, by a thread each.
pub(crate) fn side_by_side<T: Send>(
    hsms: &[HsmDescription],
    each: impl Fn(&HsmDescription) -> Result<T, Error> + Sync,
) -> Vec<Result<T, Error>> {
    let each = &each;
    thread::scope(|scope| {
        let threads: Vec<_> = hsms.iter().map(|hsm| scope.spawn(move || each(hsm))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn start_one(
    region: &Region,
    description: &Description,
    hsm: &HsmDescription,
    foreground: bool,
) -> Result<Started, Error> {
    if runs(region, hsm)? {
        if foreground {
            return Err(Error::Usage(format!(
                "{} runs already; `strongroom down{}` stops it",
                hsm.hsm_id,
                region.option()
            )));
        }
        return Ok(Started::Before);
    }
    private_folder::make(&region.hsm_folder(hsm))?;
    let log = region.hsm_log(hsm);
    let log = if foreground { Log::Inherited } else { Log::File(&log) };
    let child = start_detached(arguments(region, description, hsm), None, log)?;
    write_atomically(&region.pid_file(hsm), child.id().to_string().as_bytes())?;
    Ok(Started::Now(child))
}

fn arguments(region: &Region, description: &Description, hsm: &HsmDescription) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        "hsm".into(),
        "--dir".into(),
        region.hsm_folder(hsm).into(),
        "--listen".into(),
        hsm.address.to_string().into(),
        "--port-offset".into(),
        hsm.port_offset.to_string().into(),
        "--provisioner".into(),
        region.provisioner().certificate.into(),
        "--hsm-id".into(),
        hsm.hsm_id.clone().into(),
        "--zone".into(),
        hsm.zone.clone().into(),
    ];
    if hsm.joins {
        arguments.push("--join".into());
        if hsm.witness {
            arguments.push("--witness".into());
        }
    } else {
        // Whoever runs `up` has the owner's CA in the region's folder and could read keys anyway.
        let policy = ["--join-policy", "automatic", "--cluster-id"];
        arguments.extend(policy.map(OsString::from));
        arguments.push(description.cluster_id.clone().into());
    }
    arguments
}

/// Whether the HSM runs. The ports of one that was killed a moment ago may still take a connection,
/// to reset it, and its folder is locked a little longer than they are open: so the end of a process
/// that does not answer is awaited, and then its ports are asked again.
fn runs(region: &Region, hsm: &HsmDescription) -> Result<bool, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Before the connection: what is not there now cannot be what resets it.
        let process = Process::of(region, hsm);
        match (Administration::connect(region, hsm), process) {
            (Ok(_), _) => return Ok(true),
            (Err(Error::NotRunning(_) | Error::Unreachable { .. }), Some(process)) => {
                // Not to its end at once: it may be one that is only about to listen.
                if !process.ends_within(ASK_AGAIN)? && Instant::now() > deadline {
                    return Err(Error::Program {
                        program: "the HSM",
                        problem: format!(
                            "the process of {} does not answer; `strongroom down{}` ends it",
                            hsm.hsm_id,
                            region.option()
                        ),
                    });
                }
            }
            // Where something else answers in its place, its own listening will say so.
            (Err(Error::NotRunning(_) | Error::Unreachable { .. }), None) => return Ok(false),
            (Err(e), _) => return Err(e),
        }
    }
}

fn stop_one(region: &Region, hsm: &HsmDescription) -> Result<Stopped, Error> {
    let process = match Administration::connect(region, hsm) {
        Ok(mut administration) => {
            // Held before it is asked to stop, so that its number cannot become another's.
            let id = administration.status()?.process_id;
            let process = i32::try_from(id).ok().and_then(Process::numbered);
            administration.shut_down()?;
            process
        }
        Err(Error::NotRunning(_) | Error::Unreachable { .. }) => {
            let Some(process) = Process::of(region, hsm) else { return Ok(Stopped::Before) };
            process.terminate()?;
            Some(process)
        }
        Err(e) => return Err(e),
    };
    if let Some(process) = process
        && !process.ends_within(PATIENCE)?
    {
        let problem = format!("{} has not stopped within {} s", hsm.hsm_id, PATIENCE.as_secs());
        return Err(Error::Program { program: "the HSM", problem });
    }
    let _ = std::fs::remove_file(region.pid_file(hsm));
    Ok(Stopped::Now)
}

/// Ends an HSM that is no member any more, whatever it takes.
///
/// # Errors
/// Where the system refuses.
pub(crate) fn end(region: &Region, hsm: &HsmDescription) -> Result<(), Error> {
    match stop_one(region, hsm) {
        Ok(_) => Ok(()),
        Err(Error::Program { .. } | Error::Refused(_) | Error::Unreachable { .. }) => {
            let Some(process) = Process::of(region, hsm) else { return Ok(()) };
            process.kill()?;
            process.ends_within(PATIENCE)?;
            Ok(())
        }
        Err(e) => Err(e),
    }
}
