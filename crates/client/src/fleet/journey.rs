//! For one request that met trouble: where it goes next, after what pause, and when it is given up.
//!
//! Everything may be sent again: reads and uses of keys give the same result, and a change carries a
//! number by which the cluster knows that it has been made. So a request goes at once to another HSM
//! when its own fails. When all have been tried it waits, ever longer, and begins again, until its
//! patience is over.

use std::time::Duration;

use super::{Event, Fleet, HsmKey, Moment, jittered};
use crate::config::RetryMode;

/// How long HSMs that answer but can't serve are asked again: an election takes less.
const ELECTION_PATIENCE: Duration = Duration::from_secs(3);
/// The first pause; each later one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What became of a request, other than an answer that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// No connection could be made.
    NotConnected,
    /// What answered is not an HSM of this cluster. Another one may be; where none is, this must not
    /// be hidden.
    Untrusted,
    /// The connection broke.
    Broken,
    /// The HSM is silent: [`super::Look::Leave`], or a ping without an answer.
    Silent,
    /// `Retry::Elsewhere`: the HSM stops, is cut off or behind. Nothing was done.
    Elsewhere,
    /// `Retry::Again`: it is not known whether the change was made.
    Again,
}

/// What to do with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it to this HSM. While the fleet is still locked the caller begins a request on
    /// [`Fleet::load`], so that the next one who chooses knows.
    Go(HsmKey),
    /// Wait so long first.
    Pause(Duration),
    /// Give it up.
    GiveUp(Reason),
}

/// Why a request is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The configuration says that nothing is sent twice.
    NotAgain,
    /// HSMs answer, and none can serve: the last one's words say why.
    Refused,
    /// No HSM can be reached.
    Unreachable,
    /// No HSM can be reached that is to be trusted.
    Untrusted,
}

/// One request's way from HSM to HSM.
#[derive(Debug)]
pub struct Journey {
    patience: Duration,
    retry: RetryMode,
    /// In this round: every HSM once.
    pub(super) tried: Vec<HsmKey>,
    refused: bool,
    untrusted: bool,
    first_setback: Option<Moment>,
    /// Since when HSMs answer that they can't serve.
    refused_since: Option<Moment>,
    pause: Duration,
    /// The next attempt needs no pause: its pause has been, or it is the first after good times.
    free: bool,
    stop: bool,
}

impl Journey {
    /// A request that is given up after `patience` from its first setback on.
    #[must_use]
    pub fn new(patience: Duration, retry: RetryMode) -> Self {
        Self {
            patience,
            retry,
            tried: Vec::new(),
            refused: false,
            untrusted: false,
            first_setback: None,
            refused_since: None,
            pause: Duration::ZERO,
            free: true,
            stop: false,
        }
    }

    /// Whether nothing has gone wrong yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.first_setback.is_none()
    }

    /// What to do next. `current` is the HSM that the caller's thread was on.
    pub fn next(
        &mut self,
        fleet: &mut Fleet,
        now: Moment,
        random: u64,
        current: Option<HsmKey>,
    ) -> Step {
        if self.stop {
            return Step::GiveUp(Reason::NotAgain);
        }
        let mut left = Duration::MAX;
        if let Some(first) = self.first_setback {
            let (since, patience) = match self.refused_since {
                Some(since) => (since, self.patience.min(ELECTION_PATIENCE)),
                None => (first, self.patience),
            };
            left = patience.saturating_sub(now.saturating_sub(since));
            if left.is_zero() {
                return Step::GiveUp(self.reason());
            }
        }
        let choice = fleet.choose(now, random, current, &self.tried);
        // Where some answer, those that are dead are left until their time.
        let choice = choice.filter(|key| !(self.refused && fleet.is_dead_for_now(*key, now)));
        match choice {
            Some(key) if self.free || fleet.pay_for_retry() => {
                self.free = false;
                Step::Go(key)
            }
            Some(_) => self.wait(left, random),
            None if self.untrusted && !self.refused => Step::GiveUp(Reason::Untrusted),
            None => {
                if !self.refused {
                    self.refused_since = None;
                }
                self.tried.clear();
                self.refused = false;
                self.untrusted = false;
                self.wait(left, random)
            }
        }
    }

    /// An attempt failed on `key`; `sent` says whether the HSM may have got the request. Tells the
    /// fleet too.
    pub fn setback(
        &mut self,
        fleet: &mut Fleet,
        key: HsmKey,
        now: Moment,
        random: u64,
        (setback, sent): (Setback, bool),
    ) -> Option<Event> {
        self.first_setback.get_or_insert(now);
        self.tried.push(key);
        match setback {
            Setback::Elsewhere | Setback::Again => {
                self.refused = true;
                self.refused_since.get_or_insert(now);
            }
            Setback::Untrusted => self.untrusted = true,
            Setback::NotConnected | Setback::Broken | Setback::Silent => {}
        }
        self.stop = sent && self.retry == RetryMode::Off;
        // That a good HSM fails is news, which costs nothing to act on.
        self.free = fleet.is_alive(key);
        fleet.failed(key, now, random, setback)
    }

    fn reason(&self) -> Reason {
        match (self.refused_since, self.untrusted) {
            (Some(_), _) => Reason::Refused,
            (None, true) => Reason::Untrusted,
            (None, false) => Reason::Unreachable,
        }
    }

    fn wait(&mut self, left: Duration, random: u64) -> Step {
        self.free = true;
        let pause = jittered(self.pause, random).min(left);
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        Step::Pause(pause)
    }
}
