//! How many signatures a second so many HSMs give, and how evenly they are used: a model, not a
//! measurement.
//!
//! In: how long one HSM takes for one signature, as it was measured, and how many threads sign. Out: for
//! each size of a cluster what all HSMs together give, and what each of them. Each HSM is a queue with one
//! server, and the network takes its time; which HSM a thread uses, and when it chooses again, is decided
//! by the shipped [`strongroom_client::fleet`]. So it shows what the choice of HSMs costs, and nothing
//! of what a real machine would do to it. It must never be shown as measured.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::time::Duration;

use strongroom_client::config::{RetryMode, Server};
use strongroom_client::fleet::{CHOSEN_FIRST_FOR, CHOSEN_FOR, Fleet, HsmKey, Journey, Step};

use crate::dice::Dice;

/// Sizes of clusters that are modelled.
pub const SIZES: [usize; 6] = [1, 2, 3, 6, 12, 28];
/// HSMs and programs stand in so many zones in turn.
pub const ZONES: usize = 3;

/// A message's way, there or back.
const NETWORK: Duration = Duration::from_micros(50);
/// Time for threads to find their HSMs, before signatures count.
const WARM: Duration = Duration::from_secs(8);
/// Time in which they count.
const COUNTED: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(10);
const PORT: u16 = 2223;
/// Moments at which a program's threads choose again.
const STEPS: u32 = 64;

/// What one size gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// HSMs.
    pub hsms: usize,
    /// Signatures a second of all HSMs together.
    pub per_second: f64,
    /// Those of the busiest HSM over those of the idlest.
    pub spread: f64,
}

impl fmt::Display for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hsms, per_second, spread } = self;
        write!(f, "  {hsms:>2} HSMs {per_second:>10.0}/s, busiest HSM over idlest {spread:.3}")
    }
}

/// A program in one zone, with its own view of the HSMs.
struct Program {
    fleet: Fleet,
    hsms: BTreeMap<HsmKey, usize>,
}

/// A thread of a program, which signs one thing after another.
struct Thread {
    program: usize,
    current: Option<HsmKey>,
    choose_again: Duration,
    chosen: u32,
}

/// Models one cluster.
///
/// # Panics
/// Where there is no HSM or no thread, or the service time is zero.
#[must_use]
pub fn simulate(hsms: usize, service: Duration, threads: usize) -> Simulated {
    assert!(hsms > 0 && threads > 0 && !service.is_zero(), "nothing to simulate");
    let mut dice = Dice::new(hsms as u64);
    let mut programs: Vec<Program> = (0..ZONES).map(|zone| program(hsms, zone)).collect();
    let mut all: Vec<Thread> = (0..threads)
        .map(|number| Thread {
            program: number % ZONES,
            current: None,
            choose_again: Duration::ZERO,
            chosen: 0,
        })
        .collect();
    let mut free_at = vec![Duration::ZERO; hsms];
    let mut served = vec![0_u64; hsms];
    // When a thread goes on, the earliest first.
    let mut waiting: BinaryHeap<Reverse<(Duration, usize)>> =
        (0..threads).map(|number| Reverse((Duration::ZERO, number))).collect();
    while let Some(Reverse((now, number))) = waiting.pop() {
        if now >= WARM + COUNTED {
            break;
        }
        let thread = &mut all[number];
        let program = &mut programs[thread.program];
        if let Some(load) = thread.current.and_then(|key| program.fleet.load(key)) {
            load.answered();
        }
        let key = thread.choose(&mut program.fleet, now, dice.draw(), number);
        if let Some(load) = program.fleet.load(key) {
            load.begin();
        }
        let hsm = program.hsms[&key];
        let done = free_at[hsm].max(now + NETWORK) + service;
        free_at[hsm] = done;
        if done >= WARM && done < WARM + COUNTED {
            served[hsm] += 1;
        }
        waiting.push(Reverse((done + NETWORK, number)));
    }
    #[expect(clippy::cast_precision_loss)]
    let count = |count: u64| count as f64;
    let (busiest, idlest) = (served.iter().max(), served.iter().min());
    Simulated {
        hsms,
        per_second: count(served.iter().sum()) / COUNTED.as_secs_f64(),
        spread: count(busiest.copied().unwrap_or(0)) / count(idlest.copied().unwrap_or(0)),
    }
}

/// All sizes.
#[must_use]
pub fn simulate_all(service: Duration, threads: usize) -> Vec<Simulated> {
    SIZES.into_iter().map(|hsms| simulate(hsms, service, threads)).collect()
}

fn program(hsms: usize, zone: usize) -> Program {
    let servers: Vec<Server> =
        (1..=hsms).map(|hsm| Server::new(format!("10.0.0.{hsm}"), PORT)).collect();
    let mut fleet = Fleet::new(&servers, &format!("zone-{zone}"));
    let keys: Vec<HsmKey> = fleet.keys().collect();
    let mut known = BTreeMap::new();
    for key in keys {
        let address = fleet.address(key);
        let hsm = servers.iter().position(|server| Some(server) == address.as_ref()).unwrap_or(0);
        let now = fleet.greeted(key, &format!("hsm-{hsm}"), &format!("zone-{}", hsm % ZONES));
        known.insert(now, hsm);
    }
    Program { fleet, hsms: known }
}

impl Thread {
    /// Stays on its HSM for a while, as the client's threads do, and then asks the fleet.
    fn choose(&mut self, fleet: &mut Fleet, now: Duration, random: u64, number: usize) -> HsmKey {
        if let Some(current) = self.current.filter(|_| now <= self.choose_again) {
            return current;
        }
        let step =
            Journey::new(PATIENCE, RetryMode::Standard).next(fleet, now, random, self.current);
        let Step::Go(key) = step else { panic!("all HSMs are alive") };
        let stays = if self.chosen == 0 {
            CHOSEN_FIRST_FOR
        } else {
            // Threads don't choose in step.
            let part = u32::try_from(number).unwrap_or(0).wrapping_mul(7) % STEPS;
            CHOSEN_FOR + CHOSEN_FOR * part / STEPS
        };
        self.choose_again = now + stays;
        self.chosen += 1;
        self.current = Some(key);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Duration = Duration::from_micros(270);

    #[test]
    fn twenty_eight_hsms_are_used_evenly_and_give_nearly_twenty_eight_times_one() {
        let one = simulate(1, SERVICE, 168);
        let many = simulate(28, SERVICE, 168);
        assert!((one.per_second * SERVICE.as_secs_f64() - 1.0).abs() < 0.01, "{one:?}");
        assert!(many.per_second >= 0.9 * 28.0 * one.per_second, "{one:?} {many:?}");
        assert!(many.spread <= 1.1, "{many:?}");
    }

    #[test]
    fn threads_that_wait_for_each_answer_keep_no_more_hsms_busy_than_there_are_threads() {
        let few = simulate(28, SERVICE, 6);
        let each = 1.0 / (SERVICE + 2 * NETWORK).as_secs_f64();
        assert!((few.per_second / (6.0 * each) - 1.0).abs() < 0.01, "{few:?}");
    }
}
