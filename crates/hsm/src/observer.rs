//! What the node tells this HSM while it applies the log: new secrets, other members, and that it may not
//! go on as the member that it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use strongroom_cluster::{Ended, Error, Observer, take_rotation};
use strongroom_store::Secrets;
use strongroom_vault::State;

use crate::hsm::Hsm;
use crate::membership::Membership;
use crate::process::hand_over;
use crate::rejoin;

/// Whether the others can do without this HSM is asked again after so long.
const SPARED_PAUSE: Duration = Duration::from_secs(2);

/// The ear of one node.
pub(crate) struct Watch {
    hsm: Weak<Hsm>,
    secrets: Arc<Secrets>,
    membership: Mutex<Membership>,
    /// It is found out what is to be done about a damaged record.
    mending: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn new(hsm: &Arc<Hsm>, membership: Membership) -> Self {
        Self {
            hsm: Arc::downgrade(hsm),
            secrets: Arc::clone(&hsm.secrets),
            membership: Mutex::new(membership),
            mending: Arc::default(),
        }
    }

    fn membership(&self) -> std::sync::MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Watch {
    fn secrets_rotated(&self, epoch: u64, sealed: &[u8]) -> Result<(), Error> {
        take_rotation(&self.secrets, epoch, sealed)
    }

    fn members_changed(&self, state: &State) {
        let Some(hsm) = self.hsm.upgrade() else { return };
        let mut membership = self.membership();
        let now = membership.with_peers(state);
        // Only who must begin again on an empty disk reads it: an older one would do for that.
        if now != *membership {
            match now.save(hsm.path()) {
                Ok(()) => *membership = now,
                Err(e) => tracing::warn!("the members that there are now are not kept: {e}"),
            }
        }
    }

    fn ended(&self, why: Ended) {
        let Some(hsm) = self.hsm.upgrade() else { return };
        let membership = self.membership().clone();
        // The caller is a task of the node, which is about to be stopped.
        let spawned = std::thread::Builder::new()
            .name("ended".to_owned())
            .spawn(move || ended(&hsm, why, membership));
        if let Err(e) = spawned {
            tracing::error!("there is no thread to begin again with, so this HSM ends: {e}");
            std::process::abort();
        }
    }

    fn damaged(&self, _what: &str) {
        let Some(hsm) = self.hsm.upgrade() else { return };
        if self.mending.swap(true, Ordering::AcqRel) {
            return;
        }
        let (membership, mending) = (self.membership().clone(), Arc::clone(&self.mending));
        // Who reads has a client waiting.
        let spawned = std::thread::Builder::new().name("damaged".to_owned()).spawn(move || {
            mend(&hsm, membership);
            mending.store(false, Ordering::Release);
        });
        if let Err(e) = spawned {
            tracing::error!("there is no thread to begin again with: {e}");
            self.mending.store(false, Ordering::Release);
        }
    }
}

/// Nothing more is served from a store of which a record does not check, where others have what was in
/// it. Where they cannot do without this HSM, only what is damaged is refused.
fn mend(hsm: &Arc<Hsm>, membership: Membership) {
    if hsm.member().is_none() {
        return;
    }
    if !rejoin::can_be_spared(hsm) {
        tracing::error!(
            "the others cannot do without this HSM, so it refuses only what is damaged"
        );
        std::thread::sleep(SPARED_PAUSE);
        return;
    }
    hand_over(hsm);
    rejoin::begin(hsm, membership, "a record of its store does not check");
}

fn ended(hsm: &Arc<Hsm>, why: Ended, membership: Membership) {
    match why {
        Ended::Removed => hsm.was_removed(),
        Ended::RolledBack => {
            rejoin::begin(hsm, membership, "its disk is older than what the others saw of it");
        }
        Ended::Fenced => {
            rejoin::begin(hsm, membership, "the cluster was recovered without its majority");
        }
    }
}
