//! What goes wrong once in the life of a cluster: an HSM is stolen, the leader is lost while only a
//! witness has what it acknowledged, a majority is lost for ever.
//!
//! Each causes its trouble, lets time pass, and sees that the cluster comes out of it as it should;
//! what clients see of it is the history's to judge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strongroom_cluster::{Ended, Node};
use strongroom_vault::{Command, Contact, NodeId};
use tokio::time::{Instant, sleep};

use crate::bridge;
use crate::cluster;
use crate::dice::Dice;
use crate::hsm::Hsm;
use crate::network::{FIRST_CLIENT, Machine};
use crate::world::World;

/// A witness lets HSMs stand first, and then brings one up to date.
const BROUGHT_UP_MS_MAX: u64 = 3_000;
/// A recovered HSM leads and says so in its log within this time.
const RECOVERED_MS_MAX: u64 = 20_000;
/// Whoever was given up or removed finds that out, or is found out, in this time.
const FOUND_OUT: Duration = Duration::from_secs(3);
/// Tries to have a member removed while the others elect a leader.
const TRIES: u32 = 10;

async fn pass(dice: &mut Dice, low_ms: u64, high_ms: u64) {
    sleep(Duration::from_millis(dice.between(low_ms, high_ms))).await;
}

fn machines(hsms: &[Arc<Hsm>]) -> Vec<Machine> {
    hsms.iter().map(|hsm| hsm.machine).collect()
}

/// All machines that may be a client's.
fn clients() -> Vec<Machine> {
    (FIRST_CLIENT - 1..FIRST_CLIENT + 100).collect()
}

/// Has a change made at one HSM, over and over; how long that took, `None` where it was too long.
async fn change(hsm: &Hsm, command: &Command, most_ms: u64) -> Option<u64> {
    let began = Instant::now();
    loop {
        let passed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if passed_ms > most_ms {
            return None;
        }
        if let Some(running) = hsm.running() {
            let command = command.clone();
            let done = bridge::run("change", move || cluster::propose(&running.node, command));
            if done.await.flatten().is_some() {
                return Some(passed_ms);
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// An HSM is stolen, and removed without a receipt: perhaps it hears of that, perhaps not. It runs on,
/// with its disk and the secrets that it had.
pub async fn steal(world: &Arc<World>, dice: &mut Dice) {
    let hsms = world.hsms();
    let Some(stolen) = dice.pick(&hsms).cloned() else { return };
    if dice.chance(500) {
        let others: Vec<_> =
            machines(&hsms).into_iter().filter(|other| *other != stolen.machine).collect();
        world.network.part(&[stolen.machine], &others);
    }
    for _ in 0..TRIES {
        if cluster::remove(world, &stolen, false).await {
            world.expel(stolen.machine);
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    pass(dice, 200, 3_000).await;
    world.network.heal();
}

/// Whoever was removed comes back with the disk and the secrets that it had, and gets nowhere.
pub async fn bring_back_the_gone(world: &Arc<World>) {
    let gone = world.gone();
    for hsm in &gone {
        hsm.crash(world);
        hsm.start(world).await;
    }
    if gone.is_empty() {
        return;
    }
    sleep(FOUND_OUT).await;
    let epoch = |hsm: &Arc<Hsm>| hsm.secrets.cluster().map_or(0, |cluster| cluster.epoch());
    let newest = world.hsms().iter().map(epoch).max().unwrap_or(0);
    for hsm in &gone {
        let machine = hsm.machine;
        if hsm.status().is_some_and(|status| status.contact == Contact::Connected) {
            world.history.problem(format!("{machine} was removed, and takes part"));
        }
        if epoch(hsm) >= newest {
            world.history.problem(format!("{machine} was removed, and has the newest secrets"));
        }
        hsm.crash(world);
    }
}

/// Of two HSMs and a witness one HSM falls behind; then the leader is lost. What it and the witness
/// have agreed on has to come from the witness.
pub async fn leave_behind(world: &Arc<World>, dice: &mut Dice) {
    let leader = cluster::leader(world).and_then(|machine| world.hsm(machine));
    let Some(leader) = leader.filter(|leader| !leader.witness) else { return };
    let hsms = world.hsms();
    let other = |hsm: &&Arc<Hsm>| !hsm.witness && hsm.machine != leader.machine;
    let (Some(behind), Some(witness)) =
        (hsms.iter().find(other), hsms.iter().find(|hsm| hsm.witness))
    else {
        return;
    };
    if !cluster::is_settled(world) {
        return;
    }
    let rest = [vec![leader.machine, witness.machine], clients()].concat();
    world.network.part(&[behind.machine], &rest);
    pass(dice, 200, 3_000).await;
    leader.crash(world);
    if dice.chance(500) {
        witness.crash(world);
        witness.start(world).await;
    }
    world.network.heal();
    let command = Command::SeeLogins { logins: Vec::new() };
    match change(behind, &command, BROUGHT_UP_MS_MAX).await {
        Some(ms) => world.trace.note(format_args!("brought up to date after {ms} ms")),
        None => {
            let how = cluster::describe(world);
            world.history.problem(format!("a witness brings nobody up to date: {how}"));
        }
    }
    pass(dice, 100, 2_000).await;
}

/// A majority is lost, as it seems for ever. The survivor that has come furthest goes on by decision of
/// those who may decide that; then the old majority comes back, and is fenced.
///
/// What the survivors do not have is lost with the majority, as the statement says that is signed. Here
/// they have everything: clients are kept away until the cluster is at rest, so that the history can
/// hold the recovered cluster to every word that was given.
pub async fn lose_majority(world: &Arc<World>, dice: &mut Dice) {
    let mut lost = world.hsms();
    world.network.part(&machines(&lost), &clients());
    pass(dice, 500, 1_500).await;
    cluster::settle(world).await;
    let majority = lost.len() / 2 + 1;
    while lost.len() > majority {
        let at = usize::try_from(dice.below(lost.len() as u64)).unwrap_or(0);
        lost.remove(at);
    }
    world.trace.note(format_args!("{:?} are lost", machines(&lost)));
    for hsm in &lost {
        hsm.crash(world);
        world.expel(hsm.machine);
    }
    world.network.heal();
    pass(dice, 1_500, 4_000).await;
    recover(world).await;
    pass(dice, 200, 2_000).await;

    // The old majority comes back, at first perhaps where nobody hears of it.
    let rest = [machines(&world.hsms()), clients()].concat();
    if dice.chance(500) {
        world.network.part(&machines(&lost), &rest);
    } else {
        world.network.part(&machines(&lost), &clients());
    }
    for hsm in &lost {
        hsm.start(world).await;
    }
    pass(dice, 300, 2_000).await;
    world.network.heal();
    world.network.part(&machines(&lost), &clients());
    sleep(FOUND_OUT).await;
    world.network.heal();
    for hsm in &lost {
        if hsm.ended() != Some(Ended::Fenced) {
            let (machine, ended) = (hsm.machine, hsm.ended());
            world.history.problem(format!("{machine} was given up, and is not fenced: {ended:?}"));
        }
    }
}

/// Goes on with the survivors, as the newest of them.
async fn recover(world: &Arc<World>) {
    let survivors = world.hsms();
    let newest = survivors.iter().max_by_key(|hsm| {
        let status = hsm.status();
        (status.map(|status| (status.last_term, status.last_log)), u8::MAX - hsm.machine)
    });
    let Some((newest, status)) = newest.and_then(|hsm| Some((hsm, hsm.status()?))) else {
        return world.history.problem("no survivor runs");
    };
    if survivors.iter().any(|hsm| hsm.status().is_some_and(|s| s.contact == Contact::Connected)) {
        world.history.problem("a minority is in touch with a majority");
    }
    world.recover();
    newest.crash(world);
    let (fence, node) = (status.fence + 1, newest.node_id());
    {
        let (mut disk, _) = newest.platter.open().expect("what was written is read");
        let alone = BTreeMap::from([(node, newest.peer())]);
        Node::force_membership(&mut disk, node, fence, &alone).expect("the fence is higher");
    }
    newest.start(world).await;
    let members: Vec<NodeId> = survivors.iter().map(|survivor| survivor.node_id()).collect();
    let command = Command::Recovered { fence, members };
    match change(newest, &command, RECOVERED_MS_MAX).await {
        Some(ms) => world.trace.note(format_args!("recovered by {} in {ms} ms", newest.machine)),
        None => world.history.problem("the cluster is not recovered"),
    }
}
