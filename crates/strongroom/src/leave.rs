//! `strongroom leave HSM-ID`: one HSM goes, whichever it is, and the others go on without it.

use crate::administration::Administration;
use crate::error::Error;
use crate::region::{Leaving, Region};
use crate::steps::Steps;
use crate::up::Running;

/// Has an HSM leave the cluster and the region.
///
/// # Errors
/// Where there is no such HSM, or it refuses: it stays then. Or the step that failed, which the next
/// `up` does.
pub(crate) fn run(region: &Region, hsm_id: &str) -> Result<(), Error> {
    let mut steps = Steps::begin();
    let mut description = region.description()?;
    let before = description.clone();
    let found = description.hsms.iter_mut().find(|hsm| hsm.hsm_id == hsm_id);
    let Some(hsm) = found else {
        return Err(Error::Usage(format!("the region has no HSM {hsm_id}")));
    };
    let mut administration = Administration::connect(region, hsm)?;
    hsm.leaving = Some(Leaving { force: false, successor: None });
    region.describe(&description)?;
    match administration.leave() {
        Ok(_) => steps.done(format_args!("{hsm_id} has destroyed its secrets")),
        Err(e @ Error::Refused(_)) => {
            region.describe(&before)?;
            return Err(e);
        }
        Err(e) => return Err(e),
    }
    drop(administration);
    let mut running = Running::default();
    running.complete(region, &mut description, false, &mut steps)?;
    if running.broken.is_empty() { Ok(()) } else { Err(Error::Broken(running.broken)) }
}
