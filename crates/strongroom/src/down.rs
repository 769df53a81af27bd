//! `strongroom down`: stop a region's HSMs, in order, and return when they are gone.

use std::time::Duration;

use crate::administration::Administration;
use crate::error::Error;
use crate::process::Process;
use crate::region::Region;
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
                let process = i32::try_from(id).ok().and_then(Process::numbered);
                administration.shut_down()?;
                process
            }
            Err(Error::NotRunning(_) | Error::Unreachable { .. }) => {
                let Some(process) = Process::of(region, hsm) else {
                    steps.done(format_args!("{} does not run", hsm.hsm_id));
                    continue;
                };
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
        steps.done(format_args!("{} stopped; its keys are kept", hsm.hsm_id));
    }
    Ok(())
}
