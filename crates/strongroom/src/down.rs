//! `strongroom down`: stop a region's HSMs, in order, and return when they are gone.

use crate::error::Error;
use crate::fleet::{self, Stopped};
use crate::region::Region;
use crate::steps::Steps;

/// Stops the region.
///
/// # Errors
/// Where there is none, or an HSM does not stop; the others have.
pub(crate) fn run(region: &Region) -> Result<(), Error> {
    let mut steps = Steps::begin();
    let hsms = region.description()?.hsms;
    let mut failed = None;
    for (hsm, result) in hsms.iter().zip(fleet::stop(region, &hsms)) {
        match result {
            Ok(Stopped::Before) => steps.done(format_args!("{} does not run", hsm.hsm_id)),
            Ok(Stopped::Now) => {
                steps.done(format_args!("{} stopped; its keys are kept", hsm.hsm_id));
            }
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    failed.map_or(Ok(()), Err)
}
