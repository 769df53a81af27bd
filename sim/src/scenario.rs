//! Scenarios: how large the cluster is, what its clients do, what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use strongroom_vault::Replicator;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bridge;
use crate::cluster;
use crate::faults::{Fault, Faults};
use crate::history::Totals;
use crate::logins::{Changer, LoginBook};
use crate::mutant::Mutant;
use crate::network::{FIRST_CLIENT, Machine, Weather};
use crate::workload::{Accounts, Guesser, KeyUser, Manager, Pool};
use crate::world::World;

/// A user whose password changes all the time.
const UNSETTLED: &str = "una";

/// What is run from a seed.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name, for `--scenario`.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    hsms: u8,
    /// Whether a witness votes with them.
    witness: bool,
    weather: Weather,
    faults: &'static [Fault],
    /// Programs that make and use keys.
    key_users: u8,
    /// Programs that try passwords; an admin then changes users.
    guessers: u8,
    /// Programs of a user whose password an admin changes over and over.
    unsettled: u8,
    /// How long faults are caused, in milliseconds of virtual time.
    troubled_ms: u64,
    /// The leader is killed so often, one after the other, instead of all else.
    leaders_killed: u32,
}

const CALM: Scenario = Scenario {
    name: "calm",
    about: "three HSMs, nothing goes wrong",
    hsms: 3,
    witness: false,
    weather: Weather::FAIR,
    faults: &[],
    key_users: 3,
    guessers: 2,
    unsettled: 0,
    troubled_ms: 4_000,
    leaders_killed: 0,
};

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    CALM,
    Scenario {
        name: "crashes",
        about: "processes are killed, one or all, at any time",
        faults: &[Fault::Crash, Fault::CrashLeader, Fault::CrashLeader, Fault::PowerCut],
        troubled_ms: 12_000,
        ..CALM
    },
    Scenario {
        name: "network",
        about: "a bad network that falls apart, one-way too; HSMs that flap or stand still",
        weather: Weather::FOUL,
        faults: &[Fault::Part, Fault::OneWay, Fault::Flap, Fault::Pause, Fault::PauseLeader],
        troubled_ms: 12_000,
        ..CALM
    },
    Scenario {
        name: "disks",
        about: "slow and full disks, disks put back to an older copy, clocks set wrong",
        faults: &[
            Fault::SlowDisk,
            Fault::FullDisk,
            Fault::OldDisk,
            Fault::OldDisk,
            Fault::Crash,
            Fault::Clock,
        ],
        troubled_ms: 12_000,
        ..CALM
    },
    Scenario {
        name: "members",
        about: "HSMs join and are removed while others crash",
        faults: &[Fault::Join, Fault::Join, Fault::Remove, Fault::Remove, Fault::CrashLeader],
        troubled_ms: 15_000,
        ..CALM
    },
    Scenario {
        name: "logins",
        about: "logins end all the time, while the network falls apart",
        faults: &[Fault::Part, Fault::OneWay, Fault::PauseLeader, Fault::CrashLeader],
        key_users: 0,
        guessers: 4,
        unsettled: 3,
        troubled_ms: 12_000,
        ..CALM
    },
    Scenario {
        name: "five",
        about: "five HSMs, everything goes wrong",
        hsms: 5,
        weather: Weather::FOUL,
        faults: &[
            Fault::Crash,
            Fault::CrashLeader,
            Fault::PowerCut,
            Fault::Pause,
            Fault::PauseLeader,
            Fault::Part,
            Fault::Part,
            Fault::OneWay,
            Fault::Flap,
            Fault::SlowDisk,
            Fault::FullDisk,
            Fault::Clock,
            Fault::OldDisk,
            Fault::OldDisk,
        ],
        troubled_ms: 15_000,
        ..CALM
    },
    Scenario {
        name: "theft",
        about: "HSMs are removed and run on, so secrets are made anew, while others crash",
        faults: &[
            Fault::Join,
            Fault::Join,
            Fault::Steal,
            Fault::Steal,
            Fault::Remove,
            Fault::CrashLeader,
            Fault::PowerCut,
            Fault::Part,
        ],
        troubled_ms: 15_000,
        ..CALM
    },
    Scenario {
        name: "witness",
        about: "two HSMs and a witness, which alone has what a lost leader acknowledged",
        hsms: 2,
        witness: true,
        faults: &[
            Fault::LeaveBehind,
            Fault::LeaveBehind,
            Fault::LeaveBehind,
            Fault::Crash,
            Fault::CrashLeader,
            Fault::PowerCut,
            Fault::Part,
            Fault::Pause,
            Fault::OldDisk,
        ],
        troubled_ms: 15_000,
        ..CALM
    },
    Scenario {
        name: "recovery",
        about: "a majority of five HSMs is lost, the rest is recovered, the majority comes back",
        hsms: 5,
        faults: &[Fault::LoseMajority, Fault::LoseMajority, Fault::CrashLeader, Fault::Part],
        troubled_ms: 12_000,
        ..CALM
    },
    Scenario {
        name: "leader-loss",
        about: "the leader is killed 1,000 times in a row",
        key_users: 0,
        guessers: 0,
        leaders_killed: 1000,
        ..CALM
    },
];

/// A scenario by name.
#[must_use]
pub fn named(name: &str) -> Option<Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name).copied()
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// SHA-256 of the trace, and its lines.
    pub trace: (String, u64),
    /// What clients did.
    pub totals: Totals,
    /// For a scenario that kills leaders: the times until changes went on, sorted, in milliseconds.
    pub stalls_ms: Vec<u64>,
    /// Everything that is wrong.
    pub problems: Vec<String>,
    /// The end of the trace.
    pub tail: String,
}

/// How far applied time may be ahead of the truth: as far as a leader's clock may be from its voters'.
const CLOCK_AHEAD_MS_MAX: u64 = 10_000 + 1_000;
/// After a leader's loss changes go on within this time.
const STALL_MS_MAX: u64 = 1_000;
/// Final checks, which clients make on a cluster that is well again, take no longer.
const FINAL_MS: u64 = 60_000;

impl Scenario {
    /// The same with leaders killed so many times.
    #[must_use]
    pub fn with_leaders_killed(self, times: u32) -> Self {
        Self { leaders_killed: times, ..self }
    }

    /// Runs it. A panic anywhere is a problem like any other.
    #[must_use]
    pub fn run(self, seed: u64, mutant: Option<Mutant>, echo: bool) -> Report {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => panic!("the simulation has a runtime: {error}"),
        };
        let world = runtime.block_on(async { World::new(seed, Weather::FAIR, echo) });
        let running = Arc::clone(&world);
        let run = AssertUnwindSafe(|| runtime.block_on(self.play(running, mutant)));
        let stalls_ms = match catch_unwind(run) {
            Ok(stalls_ms) => stalls_ms,
            Err(panic) => {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                world.history.problem(format!("panic: {}", words.unwrap_or("without words")));
                Vec::new()
            }
        };
        let problems = world.history.check();
        Report {
            trace: world.trace.hash(),
            totals: world.history.totals(),
            stalls_ms,
            problems,
            tail: world.trace.tail(),
        }
    }

    async fn play(self, world: Arc<World>, mutant: Option<Mutant>) -> Vec<u64> {
        let users = ["alice", "bob", UNSETTLED];
        cluster::create(&world, self.hsms, self.witness, &users).await;
        world.trace.note("the cluster works");
        if let Some(mutant) = mutant {
            world.plant(mutant);
        }
        world.network.set_weather(self.weather);
        tokio::spawn(watch(Arc::clone(&world)));
        if self.leaders_killed > 0 {
            return kill_leaders(&world, self.leaders_killed).await;
        }
        let pool = Pool::default();
        let until_ms = world.trace.now_ms() + self.troubled_ms;
        let mut programs = self.programs(&world, &pool, &users, until_ms);
        Faults::new(&world, self.faults).run(until_ms).await;
        while let Some(ended) = programs.join_next().await {
            if let Err(error) = ended {
                world.history.problem(format!("a client: {error}"));
            }
        }
        world.network.set_weather(Weather::FAIR);
        world.trace.note("the troubles are over");
        final_checks(&world, &pool).await;
        Vec::new()
    }

    fn programs(
        &self,
        world: &Arc<World>,
        pool: &Pool,
        users: &[&str],
        until_ms: u64,
    ) -> JoinSet<()> {
        let mut programs = JoinSet::new();
        let mut machine: Machine = FIRST_CLIENT;
        for number in 0..usize::from(self.key_users) {
            let user = users[number % 2];
            // Each user's programs share that user's keys.
            let pool = pool.of(user);
            let program = KeyUser::new(world, machine, user, &pool, None);
            programs.spawn(async move {
                bridge::run("key user", move || program.work(until_ms)).await;
            });
            machine += 1;
        }
        if self.unsettled > 0 {
            let book = LoginBook::default();
            let changer = Changer::new(world, machine, UNSETTLED, &book);
            programs.spawn(async move {
                bridge::run("changer", move || changer.work(until_ms)).await;
            });
            machine += 1;
            for _ in 0..self.unsettled {
                let (pool, book) = (pool.of(UNSETTLED), Some(book.clone()));
                let program = KeyUser::new(world, machine, UNSETTLED, &pool, book);
                programs.spawn(async move {
                    bridge::run("key user", move || program.work(until_ms)).await;
                });
                machine += 1;
            }
        }
        if self.guessers > 0 {
            let accounts = Accounts::default();
            let manager = Manager::new(world, machine, &accounts);
            programs.spawn(async move {
                bridge::run("manager", move || manager.work(until_ms)).await;
            });
            machine += 1;
            for _ in 0..self.guessers {
                let guesser = Guesser::new(world, machine, &accounts);
                programs.spawn(async move {
                    bridge::run("guesser", move || guesser.work(until_ms)).await;
                });
                machine += 1;
            }
        }
        programs
    }
}

/// Looks at all HSMs over and over: those that have applied the same entries have the same state, and
/// applied time neither goes back nor runs away.
async fn watch(world: Arc<World>) {
    let mut digests: BTreeMap<u64, ([u8; 32], Machine)> = BTreeMap::new();
    let mut looked_at: BTreeMap<Machine, (u64, u64, u64)> = BTreeMap::new();
    loop {
        sleep(Duration::from_millis(7)).await;
        for hsm in world.hsms().into_iter().filter(|hsm| !hsm.witness) {
            let Some(running) = hsm.running() else { continue };
            let (life, last, last_ms) = looked_at.get(&hsm.machine).copied().unwrap_or_default();
            let state = running.node.state().read();
            let (applied, time_ms) = (state.applied().0, state.time_ms());
            if life == running.life && applied == last {
                continue;
            }
            looked_at.insert(hsm.machine, (running.life, applied, time_ms));
            if life == running.life && time_ms < last_ms {
                world.history.problem(format!("time goes back on {}", hsm.machine));
            }
            if time_ms > world.true_time_ms() + CLOCK_AHEAD_MS_MAX {
                world.history.problem(format!("time runs ahead on {}", hsm.machine));
            }
            let digest = state.digest();
            drop(state);
            let (first, other) = *digests.entry(applied).or_insert((digest, hsm.machine));
            if first != digest {
                let machine = hsm.machine;
                world.history.problem(format!("{other} and {machine} differ at entry {applied}"));
            }
        }
    }
}

/// Kills the leader over and over, and tells how long changes stood still each time.
async fn kill_leaders(world: &Arc<World>, times: u32) -> Vec<u64> {
    let mut stalls_ms = Vec::new();
    for round in 0..times {
        cluster::settle(world).await;
        let Some(machine) = cluster::leader(world) else { continue };
        let Some(leader) = world.hsm(machine) else { continue };
        leader.crash(world);
        let began = Instant::now();
        let survivors: Vec<_> = world.hsms().iter().filter_map(|hsm| hsm.running()).collect();
        loop {
            let Some(running) = survivors.get(round as usize % survivors.len()).cloned() else {
                break;
            };
            let command = strongroom_vault::Command::SeeLogins { logins: Vec::new() };
            let done = bridge::run("change", move || cluster::propose(&running.node, command));
            if done.await.flatten().is_some() {
                break;
            }
            sleep(Duration::from_millis(5)).await;
            if began.elapsed() > Duration::from_secs(20) {
                break;
            }
        }
        let stall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        world.trace.note(format_args!("leader {round} lost: {stall_ms} ms"));
        if stall_ms > STALL_MS_MAX {
            world
                .history
                .problem(format!("changes stood still for {stall_ms} ms after loss {round}"));
        }
        stalls_ms.push(stall_ms);
        leader.start(world).await;
    }
    stalls_ms.sort_unstable();
    stalls_ms
}

/// What must hold when all is well again: every HSM has the same state, in memory and on disk, and what
/// clients find is what they made and did not destroy.
async fn final_checks(world: &Arc<World>, pool: &Pool) {
    cluster::settle(world).await;
    let given_up = world.history.totals().given_up;
    for user in pool.users() {
        let pool = pool.of(&user);
        let mut reader = KeyUser::new(world, FIRST_CLIENT + 50, &user, &pool, pool.book());
        let until_ms = world.trace.now_ms() + FINAL_MS;
        bridge::run("reader", move || {
            if reader.ready(until_ms) {
                for label in pool.labels() {
                    if let Some(handle) = reader.find(&label) {
                        reader.use_key(&label, handle);
                    }
                }
            }
        })
        .await;
    }
    if world.history.totals().given_up > given_up {
        // A key that is there and can't be used is as good as lost.
        world.history.problem("a key can't be found or used, though all is well");
    }
    cluster::settle(world).await;
    // Rows follow the log onto the disk.
    sleep(Duration::from_secs(1)).await;
    let mut digests = BTreeMap::new();
    let mut secrets_seen = BTreeSet::new();
    for hsm in world.hsms() {
        let Some(running) = hsm.running() else {
            world.history.problem(format!("{} does not run", hsm.machine));
            continue;
        };
        if hsm.witness {
            continue;
        }
        let (memory, epoch) = {
            let state = running.node.state().read();
            if state.rotation_due() {
                world.history.problem("nobody has made new secrets");
            }
            (state.digest(), state.secrets_epoch())
        };
        match hsm.secrets.cluster() {
            Ok(secrets) if secrets.epoch() == epoch => {
                secrets_seen.insert(secrets.log.current().bytes().to_vec());
            }
            _ => {
                let machine = hsm.machine;
                world.history.problem(format!("{machine} does not have the secrets {epoch}"));
            }
        }
        digests.entry(memory).or_insert_with(Vec::new).push(hsm.machine);
        match hsm.platter.copy().state() {
            Ok(state) if state.digest() == memory => {}
            Ok(_) => world.history.problem(format!("{}'s disk is not its memory", hsm.machine)),
            Err(error) => world.history.problem(format!("{}'s disk: {error}", hsm.machine)),
        }
    }
    if digests.len() > 1 {
        let sides: Vec<_> = digests.into_values().collect();
        world.history.problem(format!("HSMs have different states: {sides:?}"));
    }
    if secrets_seen.len() > 1 {
        world.history.problem("HSMs have different secrets of one epoch");
    }
    world.trace.note("checked");
}
