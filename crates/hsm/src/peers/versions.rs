//! Which version of Strongroom the other HSMs run, as they have said.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use strongroom_cluster::DeviceKeyHash;
use strongroom_wire::limits::MEMBERS_MAX;

/// The newest greeting's version of each HSM.
#[derive(Default)]
pub(crate) struct Versions(Mutex<HashMap<DeviceKeyHash, String>>);

impl Versions {
    /// What an admitted HSM said. Those that left are forgotten when there are too many.
    pub(super) fn note(&self, device: DeviceKeyHash, version: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= 2 * MEMBERS_MAX && !known.contains_key(&device) {
            known.clear();
        }
        known.insert(device, version);
    }

    /// An HSM's, where the two have spoken.
    pub(crate) fn of(&self, device: &DeviceKeyHash) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(device).cloned()
    }
}
