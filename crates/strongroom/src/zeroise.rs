//! `strongroom zeroise HSM-ID`: an HSM destroys its secrets at once, on its provisioner's word.

use crate::administration::Administration;
use crate::error::Error;
use crate::region::Region;
use crate::steps::say;

/// Has an HSM destroy its secrets. It is lost then, and the cluster goes on without it.
///
/// # Errors
/// Where there is no such HSM, it does not answer, or it is the last one with the keys and nobody has
/// said that they may be lost.
pub(crate) fn run(region: &Region, hsm_id: &str, force: bool) -> Result<(), Error> {
    let description = region.description()?;
    let found = description.hsms.iter().find(|hsm| hsm.hsm_id == hsm_id);
    let Some(hsm) = found else {
        return Err(Error::Usage(format!("the region has no HSM {hsm_id}")));
    };
    let last = description.serving().iter().all(|other| other.hsm_id == hsm_id);
    if last && !hsm.witness && !force {
        return Err(Error::Usage(format!(
            "{hsm_id} is the only HSM with the keys: --force, and they are lost for ever"
        )));
    }
    Administration::connect(region, hsm)?.zeroise(&region.zeroised_record(hsm))?;
    say(format_args!(
        "{hsm_id} has destroyed its secrets; its signed word for it is in {}\n\
         `strongroom replace {hsm_id}{}` makes a new one in its place",
        region.zeroised_record(hsm).display(),
        region.option(),
    ));
    Ok(())
}
