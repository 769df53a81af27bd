//! `strongroom replace HSM-ID`: an HSM that has failed, or is to be another, gives its place to a new
//! one.

use strongroom_hsm::new_hsm_id;
use strongroom_wire::admin::HsmState;

use crate::error::Error;
use crate::members;
use crate::region::{Leaving, Region};
use crate::steps::Steps;
use crate::up::Running;

/// Replaces an HSM by a new one at the same address. The keys come from the others.
///
/// # Errors
/// Where there is no such HSM, no other, or no majority; or the step that failed, which the next
/// `up` does.
pub(crate) fn run(region: &Region, hsm_id: &str) -> Result<(), Error> {
    let mut steps = Steps::begin();
    let mut description = region.description()?;
    let others: Vec<_> =
        description.hsms.iter().filter(|hsm| hsm.hsm_id != hsm_id).cloned().collect();
    let known = description.hsms.iter_mut().find(|hsm| hsm.hsm_id == hsm_id);
    let Some(hsm) = known else {
        return Err(Error::Usage(format!("the region has no HSM {hsm_id}")));
    };
    if others.iter().all(|other| other.witness) && !hsm.witness {
        return Err(Error::Usage(format!(
            "{hsm_id} is the only HSM: the keys would be lost. `strongroom up --hsms 2{}` first",
            region.option()
        )));
    }
    let (_, status) = members::speaker(region, &others)?;
    let serves = members::statuses(region, std::slice::from_ref(hsm))
        .into_iter()
        .any(|status| status.is_ok_and(|status| status.state() == HsmState::Serving));
    let is_member = status.members.iter().any(|member| member.hsm_id == hsm_id);
    if !is_member {
        steps.done(format_args!("{hsm_id} is no member of the cluster any more"));
    }
    // One that works says itself that its secrets are destroyed.
    hsm.leaving = Some(Leaving { force: !serves, successor: Some(new_hsm_id()?) });
    region.describe(&description)?;
    let mut running = Running::default();
    running.complete(region, &mut description, false, &mut steps)?;
    if running.broken.is_empty() { Ok(()) } else { Err(Error::Broken(running.broken)) }
}
