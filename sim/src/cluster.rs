//! Making a cluster, and changing who belongs to it.

use std::sync::Arc;
use std::time::Duration;

use strongroom_cluster::{MemberRole, Node};
use strongroom_store::{ClusterSecrets, Secrets};
use strongroom_vault::{
    Actor, ClientId, Command, Contact, Endorsement, Entry, JoinPolicy, NodeId, Outcome,
    Personality, Replicator,
};
use strongroom_wire::message::{self, Operation, Role};
use tokio::time::sleep;

use crate::bridge;
use crate::client::Client;
use crate::disk::Platter;
use crate::hsm::Hsm;
use crate::network::{FIRST_CLIENT, Machine};
use crate::workload::{CUT_OFF_SECONDS, password};
use crate::world::World;

/// How long a cluster without faults may take for a change of its members.
const SETTLED: Duration = Duration::from_secs(30);
/// The machine from which the cluster is set up.
const OWNER: Machine = FIRST_CLIENT - 1;

/// A machine with an empty disk and secrets of its own, which belongs to no cluster yet.
///
/// # Panics
/// Where the backend makes no keys.
#[must_use]
pub fn machine(world: &World, machine: Machine, witness: bool) -> Arc<Hsm> {
    let secrets = Secrets::generate_alone(format!("hsm-{machine}"));
    let secrets = secrets.expect("the backend makes keys");
    let platter = Platter::new(world.dice(0x100 + u64::from(machine)));
    let hsm = Hsm::new(machine, witness, platter, secrets);
    world.add(Arc::clone(&hsm));
    hsm
}

/// A cluster of so many HSMs with an admin and users, in working order; with a witness, where one is
/// wanted.
///
/// # Panics
/// Where one does not come about, on a network without faults.
pub async fn create(world: &Arc<World>, hsms: u8, witness: bool, users: &[&str]) {
    let first = machine(world, 1, false);
    let secrets = ClusterSecrets::generate().expect("the backend makes keys");
    first.secrets.adopt(secrets).expect("it has none yet");
    first.becomes(NodeId(1));
    {
        let (mut disk, _) = first.platter.open().expect("an empty disk opens");
        Node::bootstrap(&mut disk, NodeId(1), &first.peer()).expect("a disk takes its first entry");
    }
    first.start(world).await;
    sleep(Duration::from_millis(500)).await;
    let node = first.running().expect("it was started").node;
    let member = first.member();
    bridge::run("genesis", move || {
        must(
            &node,
            Command::CreateCluster {
                masking_domain: [7; 16],
                cluster_id: "cluster-simulated".to_owned(),
                personality: Personality::CloudHsm,
                join_policy: JoinPolicy::Automatic,
            },
        );
        must(&node, add_member(member, None));
        must(
            &node,
            Command::InitialiseCluster { cluster_certificate: vec![1], trust_anchor: vec![2] },
        );
    })
    .await;
    for number in 2..=hsms {
        let hsm = machine(world, number, false);
        join(world, &hsm, None).await;
    }
    if witness {
        let witness = machine(world, hsms + 1, true);
        join(world, &witness, None).await;
    }
    settle(world).await;
    let (owned, users) = (Arc::clone(world), users.iter().map(|u| (*u).to_owned()).collect());
    bridge::run("owner", move || first_users(&owned, users)).await;
}

fn first_users(world: &Arc<World>, users: Vec<String>) {
    let mut owner = Client::new(Arc::clone(world), OWNER, &[1]);
    let done = |called: crate::client::Called| assert_eq!(called.status(), Some(0));
    done(owner.call(&|| {
        let mut activate = message::ActivateCluster::default();
        activate.password = password(0).into_bytes();
        Operation::ActivateCluster(activate)
    }));
    done(owner.log_in("admin", Role::Admin, &password(0)));
    let seconds = CUT_OFF_SECONDS;
    done(owner.call(&|| Operation::SetCutOffPolicy(message::SetCutOffPolicy { seconds })));
    for user in users {
        done(owner.call(&move || {
            let mut create = message::CreateUser::default();
            create.user.clone_from(&user);
            create.role = Role::CryptoUser.into();
            create.password = password(0).into_bytes();
            Operation::CreateUser(create)
        }));
    }
}

fn add_member(member: strongroom_vault::Member, replaces: Option<NodeId>) -> Command {
    Command::AddMember { member, endorsement: Endorsement::Provisioner, replaces }
}

/// Proposes as the HSM itself; the outcome, unless it was refused or there was no majority.
pub fn propose(node: &Node, command: Command) -> Option<Outcome> {
    let entry = Entry {
        time_ms: 0,
        client: ClientId::default(),
        sequence: 0,
        lowest_unanswered: 0,
        actor: Actor::System,
        command,
    };
    node.propose(entry).ok()?.result.ok()
}

fn must(node: &Node, command: Command) -> Outcome {
    let what = format!("{command:?}");
    let outcome = propose(node, command);
    outcome.unwrap_or_else(|| panic!("without faults the cluster does this: {what}"))
}

fn may_ask(other: &Hsm, about: &Hsm) -> bool {
    other.machine != about.machine && !other.witness
}

/// Asks whichever HSM is there to take a machine in; whether it came to that. One that is new gets the
/// secrets that the HSM has which took it in.
///
/// # Panics
/// Where secrets are not taken.
pub async fn join(world: &Arc<World>, hsm: &Arc<Hsm>, replaces: Option<NodeId>) -> bool {
    for other in world.hsms() {
        let Some(running) = other.running().filter(|_| may_ask(&other, hsm)) else {
            continue;
        };
        let member = hsm.member();
        let added =
            bridge::run("join", move || propose(&running.node, add_member(member, replaces)));
        if let Some(Some(Outcome::MemberAdded(node))) = added.await {
            world.trace.note(format_args!("{} joins as node {node}", hsm.machine));
            if !hsm.witness && hsm.secrets.cluster().is_err() {
                let secrets = other.secrets.cluster().expect("a member has them");
                hsm.secrets.adopt((*secrets).clone()).expect("it has none yet");
            }
            hsm.becomes(node);
            hsm.start(world).await;
            return true;
        }
    }
    false
}

/// Asks whichever HSM is there to remove another, which has destroyed its secrets where there is a
/// receipt for that; whether it came to that.
pub async fn remove(world: &Arc<World>, gone: &Arc<Hsm>, receipt: bool) -> bool {
    let node = gone.node_id();
    for other in world.hsms() {
        let Some(running) = other.running().filter(|_| may_ask(&other, gone)) else {
            continue;
        };
        let command = Command::RemoveMember { node, receipt };
        let removed = bridge::run("remove", move || propose(&running.node, command));
        if let Some(Some(_)) = removed.await {
            world.trace.note(format_args!("{} is removed", gone.machine));
            return true;
        }
    }
    false
}

/// Which machine leads, as most say that know a leader of the newest term.
#[must_use]
pub fn leader(world: &World) -> Option<Machine> {
    let leads = |hsm: &&Arc<Hsm>| {
        hsm.status().is_some_and(|s| s.leader == Some(s.node) && s.contact == Contact::Connected)
    };
    let hsms = world.hsms();
    let leaders = hsms.iter().filter(leads);
    leaders.max_by_key(|hsm| hsm.status().map(|s| s.term)).map(|hsm| hsm.machine)
}

/// Waits until all HSMs that run have one leader and the same log applied.
///
/// # Panics
/// Where it does not come to that.
pub async fn settle(world: &World) {
    let began = tokio::time::Instant::now();
    while !is_settled(world) {
        assert!(began.elapsed() < SETTLED, "the cluster does not settle: {}", describe(world));
        sleep(Duration::from_millis(50)).await;
    }
}

/// Whether all HSMs that run have one leader and the same log applied, and those vote that should.
#[must_use]
pub fn is_settled(world: &World) -> bool {
    let statuses: Vec<_> = world.hsms().iter().filter_map(|hsm| hsm.status()).collect();
    let Some(first) = statuses.first() else { return false };
    let votes = |role: &MemberRole| *role != MemberRole::Learner;
    let wanted = match statuses.len() {
        1 => 1,
        2 => 2,
        3 | 4 => 3,
        _ => 5,
    };
    first.leader.is_some()
        && first.applied > 0
        && first.members.len() == statuses.len()
        && first.members.iter().filter(|member| votes(&member.role)).count() == wanted
        && statuses.iter().all(|status| {
            (status.leader, status.term, status.applied)
                == (first.leader, first.term, first.applied)
        })
}

/// How the HSMs stand, for a failure's report.
#[must_use]
pub fn describe(world: &World) -> String {
    let mut text = String::new();
    for hsm in world.hsms() {
        let status = hsm.status().map(|s| {
            let members: Vec<_> = s.members.iter().map(|m| (m.node.0, m.role)).collect();
            format!(
                "node {} leader {:?} term {} log {} committed {} applied {} {members:?} {:?}",
                s.node, s.leader, s.term, s.last_log, s.committed, s.applied, s.contact
            )
        });
        text.push_str(&format!("\n  {}: {status:?} {:?}", hsm.machine, hsm.ended()));
    }
    text
}
