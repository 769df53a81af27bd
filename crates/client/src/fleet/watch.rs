//! For one request that waits for its answer: when to ping its HSM, and when to leave it.
//!
//! A slow operation is not a dead HSM: pings are answered off the path of requests. So what counts is
//! the HSM's silence, over all threads and connections, and not how long one answer takes. Where
//! there is nowhere else to go, nobody asks and nobody leaves.

use std::time::Duration;

use super::{Fleet, HsmKey, Moment};

/// After so long without any sign of life from the HSM it is pinged.
pub const OVERDUE: Duration = Duration::from_millis(50);
/// After so long without an answer to the ping it is dead. A little less than it takes to be overdue:
/// together with the way to the next HSM it stays under 100 ms.
pub const PONG: Duration = Duration::from_millis(40);
/// While another thread waits for the ping's answer.
const RECHECK: Duration = Duration::from_millis(10);

/// What to do about a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Wait so long, then look again.
    Wait(Duration),
    /// Ping the HSM on another connection and tell: [`Fleet::answered`], or [`Fleet::failed`] with
    /// [`super::Setback::Silent`] where nothing came for [`PONG`]; then look again.
    Ping,
    /// The HSM is dead: take the request elsewhere.
    Leave,
}

/// One request's wait.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    quiet_since: Moment,
    answers: u32,
}

impl Watch {
    /// Over a request that was sent at `now`; `answers` as [`super::Load::begin`] gave them.
    #[must_use]
    pub fn new(now: Moment, answers: u32) -> Self {
        Self { quiet_since: now, answers }
    }

    /// What to do now.
    pub fn look(&mut self, fleet: &mut Fleet, key: HsmKey, now: Moment) -> Look {
        if !fleet.has_alternative(key, now) {
            return Look::Wait(OVERDUE);
        }
        if fleet.is_dead(key) {
            return Look::Leave;
        }
        let Some(hsm) = fleet.hsms.get_mut(&key) else { return Look::Leave };
        let answers = hsm.load.answers();
        if answers != self.answers {
            self.answers = answers;
            self.quiet_since = now;
        }
        self.quiet_since = self.quiet_since.max(hsm.heard);
        let quiet = now.saturating_sub(self.quiet_since);
        if quiet < OVERDUE {
            return Look::Wait(OVERDUE - quiet);
        }
        match hsm.pinged {
            None => {
                hsm.pinged = Some(now);
                Look::Ping
            }
            Some(since) => {
                let left = (since + PONG).saturating_sub(now);
                Look::Wait(left.clamp(Duration::from_millis(1), RECHECK))
            }
        }
    }
}
