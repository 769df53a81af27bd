//! What a member does about what the log says of it: new secrets, and the end of its part.

use std::sync::{Arc, Weak};

use strongroom_cluster::{Ended, Error, Observer};
use strongroom_store::Secrets;
use strongroom_vault::State;

use crate::custody::take_rotation;
use crate::hsm::Hsm;

/// Told by the node while it applies the log.
pub(crate) struct Watch {
    pub(crate) secrets: Arc<Secrets>,
    /// The HSM holds the node that holds this.
    pub(crate) hsm: Weak<Hsm>,
}

impl Observer for Watch {
    fn secrets_rotated(&self, epoch: u64, sealed: &[u8]) -> Result<(), Error> {
        Ok(take_rotation(&self.secrets, epoch, sealed)?)
    }

    fn members_changed(&self, _state: &State) {}

    fn ended(&self, why: Ended) {
        let Some(hsm) = self.hsm.upgrade() else { return };
        match why {
            Ended::Removed => hsm.retire("it was removed from its cluster"),
            Ended::RolledBack => hsm.retire(
                "its folder is older than what the other members saw of it; remove it and add an HSM \
                 with an empty folder",
            ),
            Ended::Fenced => hsm.retire(
                "its cluster was recovered without it; add an HSM with an empty folder in its place",
            ),
        }
    }
}
