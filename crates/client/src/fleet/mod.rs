//! What a client knows of the HSMs, and what it decides by that: where a request goes, when an HSM
//! counts as dead, when it is tried again.
//!
//! In: the configured servers, topologies, what became of requests and pings. Out: decisions. It has
//! no socket, clock, thread or randomness of its own: time is passed in as what has passed since some
//! fixed moment, randomness as a number. So the same code runs in programs and in the simulation.
//!
//! - [`Fleet`]: the HSMs. One for each client, behind a lock that no request takes while all is well.
//! - [`Load`]: what threads see of one HSM without that lock.
//! - [`Watch`]: for one request that waits: when to ping, when to leave.
//! - [`Journey`]: for one request that met trouble: where to go next, when to give up.
//!
//! An HSM is *alive*, *suspect* (a connection broke, or it sent a request elsewhere; others are
//! preferred for new connections) or *dead* (nothing is sent to it). A suspect or dead one is tried
//! by one thread when its time has come, with growing pauses; any answer makes it alive.

mod budget;
mod journey;
mod load;
#[cfg(test)]
mod tests;
mod watch;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use strongroom_wire::{limits::TOPOLOGY_HSMS_MAX, message::TopologyReply};

use self::budget::Budget;
pub use self::{
    journey::{Journey, Reason, Setback, Step},
    load::{Load, Standing},
    watch::{Look, OVERDUE, PONG, Watch},
};
use crate::config::Server;

/// Time that has passed since a moment that stays the same for the life of a fleet.
pub type Moment = Duration;

/// Pause before a suspect or dead HSM is tried for the first time; each later one is twice as long.
const PROBE_PAUSE_MIN: Duration = Duration::from_millis(100);
/// No pause between two tries is longer.
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// While one thread tries an HSM, no other does.
const PROBE_TAKEN: Duration = Duration::from_secs(1);
/// A thread stays on its HSM for so long before it looks whether another one serves it better, and up
/// to twice as long.
pub const CHOSEN_FOR: Duration = Duration::from_secs(3);
/// The first time it looks sooner: a program that lives for so long is worth a connection for pings.
pub const CHOSEN_FIRST_FOR: Duration = Duration::from_millis(250);
/// Addresses remembered for one HSM: as configured, and as the cluster says.
const ADDRESSES_MAX: usize = 4;

/// One HSM's number within a fleet; never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HsmKey(u32);

/// What is worth a line in the log: once for each death and each return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An HSM counts as dead from now on.
    Died(String),
    /// A dead HSM answers again.
    Returned(String),
}

/// What a topology brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// HSMs that were not known.
    pub added: Vec<String>,
    /// HSMs that the cluster has no more.
    pub removed: Vec<String>,
}

/// The HSMs of one cluster, as one client knows them.
#[derive(Debug)]
pub struct Fleet {
    hsms: BTreeMap<HsmKey, Hsm>,
    next_key: u32,
    /// Where the client is; empty where nobody said.
    zone: String,
    /// The newest topology that was taken in, 0 for none.
    topology: u64,
    budget: Budget,
}

#[derive(Debug)]
struct Hsm {
    /// The first is tried next. Empty for the local HSM.
    addresses: Vec<Server>,
    /// Known once it has greeted, or from a topology.
    hsm_id: Option<String>,
    zone: String,
    /// Named by the configuration.
    configured: bool,
    /// Named by the newest topology.
    listed: bool,
    health: Health,
    /// When it last answered a ping.
    heard: Moment,
    /// When a ping was sent that has no answer yet.
    pinged: Option<Moment>,
    /// Of `load`'s answers, those that the budget has counted.
    counted: u32,
    load: Arc<Load>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Alive,
    Suspect(Probe),
    Dead(Probe),
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    at: Moment,
    /// Before jitter.
    pause: Duration,
}

/// How much an HSM is wanted, least is most.
type Rank = (u8, bool, u32, u64);

impl Fleet {
    /// The configured HSMs of a cluster, for a client in `zone` (empty for none).
    #[must_use]
    pub fn new(servers: &[Server], zone: &str) -> Self {
        let mut fleet = Self {
            hsms: BTreeMap::new(),
            next_key: 0,
            zone: zone.to_owned(),
            topology: 0,
            budget: Budget::new(),
        };
        for server in servers {
            if !fleet.hsms.values().any(|hsm| hsm.addresses.contains(server)) {
                let hsm = Hsm { configured: true, ..Hsm::new(vec![server.clone()]) };
                fleet.insert(hsm);
            }
        }
        fleet
    }

    /// The local HSM alone.
    #[must_use]
    pub fn local() -> Self {
        let mut fleet = Self::new(&[], "");
        fleet.insert(Hsm { configured: true, ..Hsm::new(Vec::new()) });
        fleet
    }

    fn insert(&mut self, hsm: Hsm) -> HsmKey {
        let key = HsmKey(self.next_key);
        self.next_key += 1;
        self.hsms.insert(key, hsm);
        key
    }

    /// The HSMs known, in no order that means anything.
    pub fn keys(&self) -> impl Iterator<Item = HsmKey> {
        self.hsms.keys().copied()
    }

    /// Where to connect to next; `None` for the local HSM, and for one that is gone.
    #[must_use]
    pub fn address(&self, key: HsmKey) -> Option<Server> {
        self.hsms.get(&key)?.addresses.first().cloned()
    }

    /// Its load, while it is known.
    #[must_use]
    pub fn load(&self, key: HsmKey) -> Option<Arc<Load>> {
        self.hsms.get(&key).map(|hsm| Arc::clone(&hsm.load))
    }

    /// The version of the newest topology that was taken in, 0 for none. A reply that names a newer
    /// one is a reason to ask for it.
    #[must_use]
    pub fn topology(&self) -> u64 {
        self.topology
    }

    /// Takes in a topology, unless it is older than what is known.
    pub fn learn(&mut self, topology: &TopologyReply) -> Learned {
        let mut learned = Learned::default();
        if topology.version < self.topology {
            return learned;
        }
        self.topology = topology.version;
        if topology.hsms.is_empty() || topology.hsms.len() > TOPOLOGY_HSMS_MAX {
            return learned;
        }
        for hsm in self.hsms.values_mut() {
            hsm.listed = false;
        }
        for told in &topology.hsms {
            let (Ok(address), Ok(port @ 1..)) =
                (told.address.parse::<IpAddr>(), u16::try_from(told.port))
            else {
                continue;
            };
            let server = Server::new(address.to_string(), port);
            let by_id = |hsm: &Hsm| hsm.hsm_id.as_ref() == Some(&told.hsm_id);
            let by_address = |hsm: &Hsm| hsm.hsm_id.is_none() && hsm.addresses.contains(&server);
            let known = self.find(by_id).or_else(|| self.find(by_address));
            let key = known.unwrap_or_else(|| {
                learned.added.push(format!("{} ({server})", told.hsm_id));
                self.insert(Hsm::new(Vec::new()))
            });
            let Some(hsm) = self.hsms.get_mut(&key) else { continue };
            hsm.hsm_id = Some(told.hsm_id.clone());
            hsm.zone.clone_from(&told.zone);
            hsm.listed = true;
            if hsm.load.standing() == Standing::Gone && !matches!(hsm.health, Health::Dead(_)) {
                hsm.load.set_standing(Standing::Good);
            }
            if !hsm.addresses.contains(&server) {
                // Where the configuration's address leads to it, that one stays the first.
                hsm.addresses.truncate(ADDRESSES_MAX - 1);
                hsm.addresses.push(server);
            }
        }
        self.let_go(&mut learned);
        learned
    }

    /// HSMs that the cluster has no more: forgotten, or kept as a way in where the configuration
    /// names them.
    fn let_go(&mut self, learned: &mut Learned) {
        self.hsms.retain(|_, hsm| {
            // One that is configured and has not said who it is may be any of those listed.
            let known_as_gone = !hsm.listed && hsm.hsm_id.is_some();
            if known_as_gone && hsm.load.standing() != Standing::Gone {
                hsm.load.set_standing(Standing::Gone);
                learned.removed.push(hsm.name());
            }
            hsm.listed || hsm.configured
        });
    }

    fn find(&self, fits: impl Fn(&Hsm) -> bool) -> Option<HsmKey> {
        self.hsms.iter().find(|(_, hsm)| fits(hsm)).map(|(key, _)| *key)
    }

    /// An HSM has said who it is, on a new connection to [`Fleet::address`] of `key`. Returns the key
    /// that it is known by from now on: another one where two addresses lead to one HSM.
    pub fn greeted(&mut self, key: HsmKey, hsm_id: &str, zone: &str) -> HsmKey {
        let same = self.find(|hsm| hsm.hsm_id.as_deref() == Some(hsm_id));
        let Some(hsm) = self.hsms.get_mut(&key) else { return same.unwrap_or(key) };
        match same {
            Some(same) if same != key => {
                let address = (!hsm.addresses.is_empty()).then(|| hsm.addresses.remove(0));
                let configured = hsm.configured;
                if hsm.addresses.is_empty() {
                    hsm.load.set_standing(Standing::Gone);
                    self.hsms.remove(&key);
                }
                if let Some(known) = self.hsms.get_mut(&same) {
                    known.configured |= configured;
                    known.addresses.retain(|other| Some(other) != address.as_ref());
                    known.addresses.truncate(ADDRESSES_MAX - 1);
                    known.addresses.splice(0..0, address);
                }
                same
            }
            _ => {
                hsm.hsm_id = Some(hsm_id.to_owned());
                if !zone.is_empty() {
                    zone.clone_into(&mut hsm.zone);
                }
                key
            }
        }
    }

    /// Where a new request goes, or one that `avoid` can't serve: own zone first, then fewest
    /// requests under way. A request that is on `current` stays there unless another HSM is clearly
    /// better. `None` where all are to be avoided.
    pub fn choose(
        &self,
        now: Moment,
        random: u64,
        current: Option<HsmKey>,
        avoid: &[HsmKey],
    ) -> Option<HsmKey> {
        let candidates = self.hsms.iter().filter(|(key, _)| !avoid.contains(key));
        let (best, best_rank) = candidates
            .map(|(key, hsm)| (*key, self.rank(*key, hsm, now, random)))
            .min_by_key(|(_, rank)| *rank)?;
        let Some(current) = current.filter(|key| *key != best && !avoid.contains(key)) else {
            return Some(best);
        };
        let Some(hsm) = self.hsms.get(&current) else { return Some(best) };
        let rank = self.rank(current, hsm, now, random);
        // One more there must still be fewer than here.
        let clearly_better =
            (best_rank.0, best_rank.1) < (rank.0, rank.1) || best_rank.2 + 1 < rank.2;
        Some(if clearly_better { best } else { current })
    }

    fn rank(&self, key: HsmKey, hsm: &Hsm, now: Moment, random: u64) -> Rank {
        let health = match hsm.health {
            Health::Alive => 0,
            Health::Suspect(_) => 1,
            Health::Dead(probe) if probe.at <= now => 3,
            Health::Dead(_) => 4,
        };
        // One that the cluster does not name (any more) is a last way in.
        let tier = if self.topology > 0 && !hsm.listed { health + 2 } else { health };
        let elsewhere = !self.zone.is_empty() && hsm.zone != self.zone;
        (tier, elsewhere, hsm.load.under_way(), mix(random, key))
    }

    /// A suspect or dead HSM whose time to be tried has come, for one caller: the next one gets it
    /// only after a pause. The caller connects to it and tells by [`Fleet::answered`] or
    /// [`Fleet::failed`].
    pub fn due_probe(&mut self, now: Moment, random: u64) -> Option<HsmKey> {
        let named = |topology: u64, hsm: &Hsm| hsm.listed || topology == 0;
        let topology = self.topology;
        let due = self.hsms.iter_mut().find(|(_, hsm)| {
            named(topology, hsm)
                && matches!(hsm.health, Health::Suspect(probe) | Health::Dead(probe) if probe.at <= now)
        });
        let (key, hsm) = due?;
        if let Health::Suspect(probe) | Health::Dead(probe) = &mut hsm.health {
            probe.at = now + jittered(PROBE_TAKEN, random);
        }
        Some(*key)
    }

    /// An HSM has answered, on whatever connection.
    pub fn answered(&mut self, key: HsmKey, now: Moment) -> Option<Event> {
        let hsm = self.hsms.get_mut(&key)?;
        hsm.heard = hsm.heard.max(now);
        hsm.pinged = None;
        let was = std::mem::replace(&mut hsm.health, Health::Alive);
        let removed = self.topology > 0 && !hsm.listed && hsm.hsm_id.is_some();
        hsm.load.set_standing(if removed { Standing::Gone } else { Standing::Good });
        matches!(was, Health::Dead(_)).then(|| Event::Returned(hsm.name()))
    }

    /// An HSM did not do what it was asked; see [`Setback`].
    pub fn failed(
        &mut self,
        key: HsmKey,
        now: Moment,
        random: u64,
        setback: Setback,
    ) -> Option<Event> {
        let hsm = self.hsms.get_mut(&key)?;
        match setback {
            Setback::Again => None,
            Setback::Broken | Setback::Elsewhere => {
                if hsm.health == Health::Alive {
                    // After a broken connection the next one tells more, at once.
                    let wait = setback == Setback::Elsewhere;
                    let pause = if wait { PROBE_PAUSE_MIN } else { Duration::ZERO };
                    hsm.health = Health::Suspect(Probe { at: now + pause, pause });
                    hsm.load.set_standing(Standing::Doubtful);
                }
                None
            }
            Setback::NotConnected | Setback::Untrusted | Setback::Silent => {
                hsm.pinged = None;
                if setback != Setback::Silent && hsm.addresses.len() > 1 {
                    hsm.addresses.rotate_left(1);
                }
                let last = match hsm.health {
                    Health::Dead(probe) => Some(probe.pause),
                    Health::Alive | Health::Suspect(_) => None,
                };
                let pause = last.map_or(PROBE_PAUSE_MIN, |last| (last * 2).min(PROBE_PAUSE_MAX));
                hsm.health = Health::Dead(Probe { at: now + jittered(pause, random), pause });
                hsm.load.set_standing(Standing::Gone);
                last.is_none().then(|| Event::Died(hsm.name()))
            }
        }
    }

    /// Whether there is somewhere else to go than `key`.
    #[must_use]
    pub fn has_alternative(&self, key: HsmKey, now: Moment) -> bool {
        self.hsms.iter().any(|(other, hsm)| {
            *other != key
                && match hsm.health {
                    Health::Alive | Health::Suspect(_) => true,
                    Health::Dead(probe) => probe.at <= now,
                }
        })
    }

    /// Pays for one retry, where what was answered has earned it.
    fn pay_for_retry(&mut self) -> bool {
        for hsm in self.hsms.values_mut() {
            let answers = hsm.load.answers();
            self.budget.earn(answers.wrapping_sub(std::mem::replace(&mut hsm.counted, answers)));
        }
        self.budget.pay()
    }

    fn is_dead_for_now(&self, key: HsmKey, now: Moment) -> bool {
        let health = self.hsms.get(&key).map(|hsm| hsm.health);
        matches!(health, Some(Health::Dead(probe)) if probe.at > now)
    }

    fn is_alive(&self, key: HsmKey) -> bool {
        self.hsms.get(&key).is_some_and(|hsm| hsm.health == Health::Alive)
    }

    fn is_dead(&self, key: HsmKey) -> bool {
        self.hsms.get(&key).is_none_or(|hsm| matches!(hsm.health, Health::Dead(_)))
    }
}

impl Hsm {
    fn new(addresses: Vec<Server>) -> Self {
        Self {
            addresses,
            hsm_id: None,
            zone: String::new(),
            configured: false,
            listed: false,
            health: Health::Alive,
            heard: Moment::ZERO,
            pinged: None,
            counted: 0,
            load: Arc::new(Load::new()),
        }
    }

    fn name(&self) -> String {
        match (&self.hsm_id, self.addresses.first()) {
            (Some(id), Some(server)) => format!("{id} ({server})"),
            (Some(id), None) => id.clone(),
            (None, Some(server)) => server.to_string(),
            (None, None) => "the local HSM".to_owned(),
        }
    }
}

/// From half of `pause` to all of it: clients that lost the same HSM must not come back in step.
fn jittered(pause: Duration, random: u64) -> Duration {
    pause.mul_f64(0.5 + 0.5 * ((random >> 32) as f64 / f64::from(u32::MAX)))
}

/// Another order of HSMs for each random number.
fn mix(random: u64, key: HsmKey) -> u64 {
    (random ^ u64::from(key.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}
