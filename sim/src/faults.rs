//! What goes wrong, when, and to whom.

use std::sync::Arc;
use std::time::Duration;

use strongroom_cluster::Ended;
use tokio::time::sleep;

use crate::cluster;
use crate::dice::Dice;
use crate::disasters;
use crate::disk::{Health, Image};
use crate::hsm::Hsm;
use crate::network::{FIRST_CLIENT, Machine};
use crate::world::World;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed, and starts again after a while.
    Crash,
    /// The leader's process is.
    CrashLeader,
    /// All processes are, at once.
    PowerCut,
    /// A process stands still for a while.
    Pause,
    /// The leader's does.
    PauseLeader,
    /// The network falls apart in two, clients on either side.
    Part,
    /// One HSM hears nothing, or is heard by nobody.
    OneWay,
    /// One HSM comes and goes every few moments.
    Flap,
    /// A disk is slow for a while.
    SlowDisk,
    /// A disk is full: its process ends, and starts again when there is room.
    FullDisk,
    /// A clock is set wrong, or runs wrong.
    Clock,
    /// A machine is put back to an older copy of its disk.
    OldDisk,
    /// An HSM joins.
    Join,
    /// An HSM is removed.
    Remove,
    /// An HSM is removed that goes on running.
    Steal,
    /// A leader is lost, and what it has acknowledged is on a witness alone.
    LeaveBehind,
    /// A majority is lost, the rest goes on, and the majority returns. Once in a run.
    LoseMajority,
}

/// Causes faults until a moment of the run, then mends everything.
pub struct Faults {
    world: Arc<World>,
    dice: Dice,
    kinds: Vec<Fault>,
    /// An older copy of a disk.
    old: Option<(Machine, Image)>,
    next_machine: Machine,
    size: usize,
    /// Whose clock is wrong now and then.
    wrong_clock: Option<Machine>,
}

impl Faults {
    /// Of these kinds, each as likely as it is often named.
    #[must_use]
    pub fn new(world: &Arc<World>, kinds: &[Fault]) -> Self {
        let hsms = world.hsms();
        Self {
            world: Arc::clone(world),
            dice: world.dice(7),
            kinds: kinds.to_vec(),
            old: None,
            next_machine: hsms.last().map_or(1, |hsm| hsm.machine + 1),
            size: hsms.len(),
            wrong_clock: None,
        }
    }

    /// Runs until a moment of the run, in milliseconds.
    pub async fn run(mut self, until_ms: u64) {
        while self.world.trace.now_ms() < until_ms {
            self.pass(100, 1500).await;
            let Some(&fault) = self.dice.pick(&self.kinds) else { break };
            self.world.trace.note(format_args!("fault {fault:?}"));
            self.cause(fault).await;
            self.attend_ended().await;
        }
        self.mend().await;
    }

    async fn pass(&mut self, low_ms: u64, high_ms: u64) {
        sleep(Duration::from_millis(self.dice.between(low_ms, high_ms))).await;
    }

    fn some_hsm(&mut self) -> Option<Arc<Hsm>> {
        let hsms = self.world.hsms();
        self.dice.pick(&hsms).cloned()
    }

    fn leader(&self) -> Option<Arc<Hsm>> {
        self.world.hsm(cluster::leader(&self.world)?)
    }

    async fn cause(&mut self, fault: Fault) {
        match fault {
            Fault::Crash => {
                let hsm = self.some_hsm();
                self.crash(hsm).await;
            }
            Fault::CrashLeader => {
                let hsm = self.leader();
                self.crash(hsm).await;
            }
            Fault::PowerCut => {
                let world = Arc::clone(&self.world);
                world.hsms().iter().for_each(|hsm| hsm.crash(&world));
                self.pass(10, 1000).await;
                self.restart_all().await;
            }
            Fault::Pause => {
                let hsm = self.some_hsm();
                self.pause(hsm).await;
            }
            Fault::PauseLeader => {
                let hsm = self.leader();
                self.pause(hsm).await;
            }
            Fault::Part => self.part().await,
            Fault::OneWay => self.one_way().await,
            Fault::Flap => self.flap().await,
            Fault::SlowDisk => {
                let Some(hsm) = self.some_hsm() else { return };
                hsm.platter.set_health(Health::Slow(self.dice.between(20, 400)));
                self.pass(200, 3000).await;
                hsm.platter.mend();
            }
            Fault::FullDisk => {
                let Some(hsm) = self.some_hsm() else { return };
                hsm.platter.set_health(Health::Full);
                self.pass(100, 2000).await;
                hsm.platter.mend();
                self.restart_all().await;
            }
            Fault::Clock => {
                let leader = self.leader().filter(|_| self.dice.chance(500));
                let Some(hsm) = leader.or_else(|| self.some_hsm()) else { return };
                // Of three clocks one may be wrong. A leader goes by what it heard last, so one that has
                // just been set right may still count as wrong: it is the same one all the time.
                let machine = *self.wrong_clock.get_or_insert(hsm.machine);
                let Some(hsm) = self.world.hsm(machine) else { return };
                let offset = i64::try_from(self.dice.below(40_000)).unwrap_or(0) - 20_000;
                let drift = i64::try_from(self.dice.below(100_000)).unwrap_or(0) - 50_000;
                hsm.clock.set(offset, drift);
            }
            Fault::OldDisk => self.old_disk().await,
            Fault::Join => self.join().await,
            Fault::Remove => self.remove().await,
            Fault::Steal => {
                if self.may_lose_one() {
                    disasters::steal(&self.world, &mut self.dice).await;
                }
            }
            Fault::LeaveBehind => {
                disasters::leave_behind(&self.world, &mut self.dice).await;
                self.restart_all().await;
            }
            Fault::LoseMajority => {
                if !self.world.was_recovered() && cluster::is_settled(&self.world) {
                    disasters::lose_majority(&self.world, &mut self.dice).await;
                }
            }
        }
    }

    async fn crash(&mut self, hsm: Option<Arc<Hsm>>) {
        let Some(hsm) = hsm else { return };
        hsm.crash(&self.world);
        self.pass(1, 2500).await;
        self.restart_all().await;
    }

    async fn restart_all(&mut self) {
        for hsm in self.world.hsms() {
            if hsm.running().is_none() && hsm.ended().is_none() {
                hsm.start(&self.world).await;
            }
        }
    }

    async fn pause(&mut self, hsm: Option<Arc<Hsm>>) {
        let Some(hsm) = hsm else { return };
        self.world.network.pause(hsm.machine, true);
        self.pass(50, 3000).await;
        self.world.network.pause(hsm.machine, false);
    }

    async fn part(&mut self) {
        let mut sides = (Vec::new(), Vec::new());
        let clients = FIRST_CLIENT..FIRST_CLIENT + 20;
        for machine in self.world.hsms().iter().map(|hsm| hsm.machine).chain(clients) {
            if self.dice.chance(500) { sides.0.push(machine) } else { sides.1.push(machine) }
        }
        self.world.network.part(&sides.0, &sides.1);
        self.pass(100, 4000).await;
        self.world.network.heal();
    }

    async fn one_way(&mut self) {
        let Some(deaf) = self.some_hsm() else { return };
        let dumb = self.dice.chance(500);
        for other in self.world.hsms() {
            if dumb {
                self.world.network.cut(deaf.machine, other.machine);
            } else {
                self.world.network.cut(other.machine, deaf.machine);
            }
        }
        self.pass(100, 4000).await;
        self.world.network.heal();
    }

    async fn flap(&mut self) {
        let Some(hsm) = self.some_hsm() else { return };
        let others: Vec<_> = self.world.hsms().iter().map(|other| other.machine).collect();
        let others: Vec<_> = others.into_iter().filter(|other| *other != hsm.machine).collect();
        for _ in 0..self.dice.between(3, 12) {
            self.world.network.part(&[hsm.machine], &others);
            self.pass(20, 400).await;
            self.world.network.heal();
            self.pass(20, 400).await;
        }
    }

    /// Keeps a copy of a disk at first, and puts it back the next time.
    async fn old_disk(&mut self) {
        match self.old.take() {
            None => {
                let Some(hsm) = self.some_hsm() else { return };
                self.old = Some((hsm.machine, hsm.platter.copy()));
            }
            Some((machine, image)) => {
                let Some(hsm) = self.world.hsm(machine) else { return };
                hsm.crash(&self.world);
                hsm.platter.put_back(image);
                hsm.start(&self.world).await;
                self.pass(500, 3000).await;
            }
        }
    }

    /// An HSM that found out that its disk is old drops it and rejoins under a new number.
    async fn attend_ended(&mut self) {
        for hsm in self.world.hsms() {
            if !matches!(hsm.ended(), Some(Ended::RolledBack | Ended::Fenced)) {
                continue;
            }
            let was = hsm.node_id();
            if hsm.running().is_some() {
                hsm.crash(&self.world);
            }
            hsm.platter.wipe();
            if self.old.as_ref().is_some_and(|(machine, _)| *machine == hsm.machine) {
                self.old = None;
            }
            cluster::join(&self.world, &hsm, Some(was)).await;
        }
    }

    async fn join(&mut self) {
        if self.world.hsms().len() >= self.size + 2 {
            return;
        }
        let hsm = cluster::machine(&self.world, self.next_machine, false);
        self.next_machine += 1;
        if !cluster::join(&self.world, &hsm, None).await {
            self.world.remove(hsm.machine);
        }
    }

    /// One that has not caught up may know none of the members but those that go.
    fn may_lose_one(&self) -> bool {
        self.world.hsms().len() > self.size && cluster::is_settled(&self.world)
    }

    async fn remove(&mut self) {
        if !self.may_lose_one() {
            return;
        }
        let Some(hsm) = self.some_hsm() else { return };
        if cluster::remove(&self.world, &hsm, true).await {
            hsm.crash(&self.world);
            self.world.remove(hsm.machine);
        }
    }

    /// All is well again, and whoever was down comes up.
    async fn mend(&mut self) {
        self.world.network.heal();
        for hsm in self.world.hsms() {
            self.world.network.pause(hsm.machine, false);
            hsm.platter.mend();
            hsm.clock.set(0, 0);
        }
        self.restart_all().await;
        for _ in 0..40 {
            self.attend_ended().await;
            // Whoever was given up after a loss has a successor.
            if self.world.was_recovered() && self.world.hsms().len() < self.size {
                self.join().await;
            }
            sleep(Duration::from_millis(250)).await;
        }
        disasters::bring_back_the_gone(&self.world).await;
    }
}
