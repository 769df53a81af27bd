//! `strongroom down`: stop a region's HSMs, in order, and return when they are gone.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::administration::Administration;
use crate::error::Error;
use crate::region::{HsmDescription, Region};
use crate::steps::Steps;

/// For requests in progress and the store; an HSM itself gives them a little less.
const PATIENCE: Duration = Duration::from_secs(15);

/// Stops the region.
///
/// # Errors
/// Where there is none, or an HSM does not stop.
pub(crate) fn run(region: &Region) -> Result<(), Error> {
    let mut steps = Steps::begin();
    for hsm in &region.description()?.hsms {
        let process = match Administration::connect(region, hsm) {
            Ok(mut administration) => {
                // Held before it is asked to stop, so that its number cannot become another's.
                let id = administration.status()?.process_id;
                let process = i32::try_from(id).ok().and_then(open);
                administration.shut_down()?;
                process
            }
            Err(Error::NotRunning(_) | Error::Unreachable { .. }) => {
                let Some(process) = unanswering(region, hsm) else {
                    steps.done(format_args!("{} does not run", hsm.hsm_id));
                    continue;
                };
                pidfd_send_signal(&process, Signal::TERM).map_err(Error::io("stopping the HSM"))?;
                Some(process)
            }
            Err(e) => return Err(e),
        };
        if let Some(process) = process {
            wait(&process, hsm)?;
        }
        let _ = std::fs::remove_file(region.pid_file(hsm));
        steps.done(format_args!("{} stopped; its keys are kept", hsm.hsm_id));
    }
    Ok(())
}

/// The process of an HSM that does not answer on port 2224, where it is surely that HSM's.
fn unanswering(region: &Region, hsm: &HsmDescription) -> Option<OwnedFd> {
    let id: i32 = std::fs::read_to_string(region.pid_file(hsm)).ok()?.trim().parse().ok()?;
    let process = open(id)?;
    // Looked at after the process is held: what is read is of the one that is held.
    let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let folder = region.hsm_folder(hsm);
    let is_ours = command
        .split(|byte| *byte == 0)
        .any(|argument| argument == folder.as_os_str().as_encoded_bytes());
    is_ours.then_some(process)
}

fn open(id: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()
}

/// Waits until the process is gone.
fn wait(process: &OwnedFd, hsm: &HsmDescription) -> Result<(), Error> {
    let patience = Timespec::try_from(PATIENCE).ok();
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    loop {
        match poll(&mut polled, patience.as_ref()) {
            Ok(0) => {
                return Err(Error::Program {
                    program: "the HSM",
                    problem: format!(
                        "{} has not stopped within {} s",
                        hsm.hsm_id,
                        PATIENCE.as_secs()
                    ),
                });
            }
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::io("waiting for the HSM")(e)),
        }
    }
}
