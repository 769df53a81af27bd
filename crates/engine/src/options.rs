//! What an engine takes from its surroundings and a simulation gives in another way.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::desk::{ClusterDesk, LocalCounters, no_desk};

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What an engine runs with. The default is what an HSM in service has.
#[derive(Clone)]
pub struct Options {
    /// The time of entries and of use records.
    pub clock: Clock,
    /// What a new password's verifier costs.
    pub password_cost: PasswordCost,
    /// The HSM's part in the cluster; by default it is alone.
    pub desk: Arc<dyn ClusterDesk>,
    /// Where failed logins are counted while the HSM is cut off. Without it nobody logs in then.
    pub local_counters: Option<Arc<dyn LocalCounters>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(system_time_ms),
            password_cost: PasswordCost::default(),
            desk: no_desk(),
            local_counters: None,
        }
    }
}

/// The cost of one argon2id hash. A verifier carries its own, so it can change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// OWASP's first parameters: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

impl PasswordCost {
    /// The least that argon2 takes: for simulations, whose passwords protect nothing.
    pub const CHEAPEST: Self = Self { memory_kib: 8, passes: 1 };
}

fn system_time_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
