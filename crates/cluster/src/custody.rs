//! How the cluster's secrets are rotated.
//!
//! In: a node that leads, and the secrets of its HSM. Out: an entry of the log with new ones, and on every
//! HSM those opened and kept. It must never put secrets anywhere but sealed to a member that holds them.
//!
//! When a member has gone, the leader makes new ones, seals a copy to each HSM that is left, and puts
//! them into the log ([`Command::RotateSecrets`]). Every HSM opens its own copy while it applies that
//! entry, and keeps it before it opens a later one. Whoever reads the log or a snapshot without being a
//! member finds nothing that it can open.

use std::sync::Arc;

use strongroom_crypto::sealing::seal_to;
use strongroom_store::{ClusterSecrets, Rotation, Secrets};
use strongroom_vault::{Actor, ClientId, Command, Entry, NodeId, Replicator, State};

use crate::Error;

/// What a rotation's copies are sealed for; the epoch is the associated data.
const ROTATION: &[u8] = b"strongroom rotation 1";

/// Opens this HSM's copy of new secrets and keeps them, durably. Those of an epoch that it has already
/// change nothing.
///
/// # Errors
/// Where the copy is not for this HSM or of another epoch, or cannot be kept.
pub fn take_rotation(secrets: &Secrets, epoch: u64, sealed: &[u8]) -> Result<(), Error> {
    let opened = secrets.sealing_key.open(ROTATION, &epoch.to_be_bytes(), sealed)?;
    let newer = ClusterSecrets::from_bytes(opened.as_bytes())?;
    if newer.epoch() != epoch {
        return Err(Error::Secrets(format!("those of epoch {epoch} are of another one")));
    }
    secrets.add_epoch(newer)?;
    Ok(())
}

/// Makes new secrets where they are due. Every HSM has one; the leader's acts.
pub struct Custodian {
    replicator: Arc<dyn Replicator>,
    secrets: Arc<Secrets>,
}

/// What the next secrets are made from.
struct Plan {
    present: Arc<ClusterSecrets>,
    rotation: Rotation,
    /// The HSMs that hold secrets, and what is sealed to each of them.
    holders: Vec<(NodeId, Vec<u8>)>,
}

impl Custodian {
    /// For one HSM.
    #[must_use]
    pub fn new(replicator: Arc<dyn Replicator>, secrets: Arc<Secrets>) -> Self {
        Self { replicator, secrets }
    }

    /// Rotates the secrets where a member that knew them has gone; whether it did.
    ///
    /// # Errors
    /// Where the new ones were not agreed on: it is to be tried again.
    pub fn rotate_if_due(&self) -> Result<bool, Error> {
        let due = self.replicator.leads() && self.replicator.state().read().rotation_due();
        if due { self.rotate() } else { Ok(false) }
    }

    /// Rotates the secrets; `false` where this HSM does not have the present ones yet.
    ///
    /// # Errors
    /// Where the new ones were not agreed on.
    pub fn rotate(&self) -> Result<bool, Error> {
        let plan = Plan::of(&self.replicator.state().read(), self.secrets.cluster()?);
        let Some(plan) = plan else { return Ok(false) };
        let next = plan.present.next(plan.rotation)?;
        let (epoch, plaintext) = (next.epoch(), next.to_bytes());
        let sealed = plan.holders.iter().map(|(node, key)| {
            let copy = seal_to(key, ROTATION, &epoch.to_be_bytes(), plaintext.as_bytes())?;
            Ok((*node, copy))
        });
        let sealed = sealed.collect::<Result<_, Error>>()?;
        propose(&*self.replicator, Command::RotateSecrets { epoch, sealed })?;
        tracing::info!(epoch, generation = next.generation(), "the cluster has new secrets");
        Ok(true)
    }
}

/// As the HSM's own: without an idempotency key, for it is not retried. The leader stamps it.
fn propose(replicator: &dyn Replicator, command: Command) -> Result<(), Error> {
    let entry = Entry {
        time_ms: 0,
        client: ClientId::default(),
        sequence: 0,
        lowest_unanswered: 0,
        actor: Actor::System,
        command,
    };
    let committed = replicator.propose(entry).map_err(|e| Error::NotNow(e.to_string()))?;
    committed.result.map(drop).map_err(|refusal| Error::NotNow(refusal.to_string()))
}

impl Plan {
    /// `None` where these secrets are not the state's present ones.
    fn of(state: &State, present: Arc<ClusterSecrets>) -> Option<Self> {
        if present.epoch() != state.secrets_epoch() {
            return None;
        }
        let generation = state.generation();
        let rotation = if generation > present.generation() {
            Rotation::Exposed { generation }
        } else {
            Rotation::Routine
        };
        let holders = state.members().filter(|member| !member.witness);
        let holders = holders.map(|member| (member.node, member.sealing_key.clone())).collect();
        Some(Self { present, rotation, holders })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use strongroom_crypto::sealing::SealingKeyPair;
    use strongroom_vault::{
        Committed, Endorsement, JoinPolicy, LogIndex, Member, ObjectId, Personality,
        ReplicationError, SharedState,
    };

    use super::*;

    /// A cluster by value: what is proposed is applied at once.
    struct Cluster {
        state: SharedState,
        leads: bool,
        /// Copies by epoch and node, as they went into the log.
        rotated: Mutex<Vec<(u64, NodeId, Vec<u8>)>>,
    }

    impl Replicator for Cluster {
        fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
            if let Command::RotateSecrets { epoch, sealed } = &entry.command {
                let copies = sealed.iter().map(|(node, copy)| (*epoch, *node, copy.clone()));
                self.rotated.lock().unwrap().extend(copies);
            }
            let mut state = self.state.write();
            let index = LogIndex(state.applied().0 + 1);
            let (result, _) = state.apply(index, entry);
            drop(state);
            self.state.publish(index);
            Ok(Committed { index, result })
        }

        fn read_barrier(&self) -> Result<LogIndex, ReplicationError> {
            Ok(self.state.durable())
        }

        fn state(&self) -> &SharedState {
            &self.state
        }

        fn blob(&self, _: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError> {
            Ok(None)
        }

        fn leads(&self) -> bool {
            self.leads
        }
    }

    fn member(number: u8, secrets: &Secrets) -> Member {
        Member {
            hsm_id: secrets.hsm_id.clone(),
            address: format!("127.0.1.{number}"),
            device_key: vec![number; 91],
            sealing_key: secrets.sealing_key.public_key().to_vec(),
            ..Member::default()
        }
    }

    /// Three HSMs of one cluster, the first of which leads.
    fn cluster(leads: bool) -> (Arc<Cluster>, Vec<Arc<Secrets>>) {
        let shared = ClusterSecrets::generate().unwrap();
        let cluster = Arc::new(Cluster {
            state: SharedState::new(State::new()),
            leads,
            rotated: Mutex::default(),
        });
        propose(
            &*cluster,
            Command::CreateCluster {
                masking_domain: shared.masking_domain,
                cluster_id: "cluster-test".to_owned(),
                personality: Personality::CloudHsm,
                join_policy: JoinPolicy::Automatic,
            },
        )
        .unwrap();
        let secrets = (1..=3).map(|number| {
            let secrets = Secrets::generate_alone(format!("hsm-{number}")).unwrap();
            let secrets = Arc::new(secrets.with_cluster(shared.clone()));
            let add = Command::AddMember {
                member: member(number, &secrets),
                endorsement: Endorsement::Provisioner,
                replaces: None,
            };
            propose(&*cluster, add).unwrap();
            secrets
        });
        let secrets = secrets.collect();
        (cluster, secrets)
    }

    fn take(cluster: &Cluster, secrets: &Secrets, node: u64) {
        for (epoch, _, copy) in
            cluster.rotated.lock().unwrap().iter().filter(|(_, to, _)| *to == NodeId(node))
        {
            take_rotation(secrets, *epoch, copy).unwrap();
        }
    }

    #[test]
    fn after_a_removal_without_a_receipt_all_who_are_left_have_new_keys_and_who_went_has_none() {
        let (cluster, hsms) = cluster(true);
        let custodian = Custodian::new(cluster.clone(), hsms[0].clone());
        assert!(!custodian.rotate_if_due().unwrap());
        propose(&*cluster, Command::RemoveMember { node: NodeId(3), receipt: false }).unwrap();
        assert!(custodian.rotate_if_due().unwrap());
        assert!(!custodian.rotate_if_due().unwrap());

        take(&cluster, &hsms[0], 1);
        take(&cluster, &hsms[1], 2);
        let [one, two] = [0, 1].map(|at| hsms[at].cluster().unwrap());
        assert!(one.to_bytes().ct_eq(two.to_bytes().as_bytes()));
        assert_eq!((one.epoch(), one.generation()), (2, 2));
        assert!(one.ticket.at(1).is_none() && one.masking.at(1).is_some());

        for (epoch, _, copy) in cluster.rotated.lock().unwrap().iter() {
            assert!(take_rotation(&hsms[2], *epoch, copy).is_err());
        }
        assert_eq!(hsms[2].cluster().unwrap().epoch(), 1);
    }

    #[test]
    fn after_a_graceful_leave_logins_go_on_and_the_cluster_key_stays() {
        let (cluster, hsms) = cluster(true);
        propose(&*cluster, Command::RemoveMember { node: NodeId(2), receipt: true }).unwrap();
        assert!(Custodian::new(cluster.clone(), hsms[0].clone()).rotate_if_due().unwrap());
        take(&cluster, &hsms[2], 3);
        let left = hsms[2].cluster().unwrap();
        assert_eq!((left.epoch(), left.generation()), (2, 1));
        assert!(left.ticket.at(1).is_some());
    }

    #[test]
    fn two_removals_before_a_rotation_give_one_key_of_the_newest_generation() {
        let (cluster, hsms) = cluster(true);
        for node in [2, 3] {
            propose(&*cluster, Command::RemoveMember { node: NodeId(node), receipt: false })
                .unwrap();
        }
        assert!(Custodian::new(cluster.clone(), hsms[0].clone()).rotate_if_due().unwrap());
        take(&cluster, &hsms[0], 1);
        assert_eq!(hsms[0].cluster().unwrap().generation(), 3);
        assert_eq!(cluster.state.read().generation(), 3);
    }

    #[test]
    fn only_a_leader_with_the_present_secrets_makes_new_ones() {
        let (follower, hsms) = cluster(false);
        propose(&*follower, Command::RemoveMember { node: NodeId(3), receipt: true }).unwrap();
        assert!(!Custodian::new(follower, hsms[0].clone()).rotate_if_due().unwrap());

        let (leader, hsms) = cluster(true);
        let custodian = Custodian::new(leader.clone(), hsms[0].clone());
        assert!(custodian.rotate().unwrap());
        // The entry is applied, and this HSM has not taken its copy yet.
        assert!(!custodian.rotate().unwrap());
        take(&leader, &hsms[0], 1);
        assert!(custodian.rotate().unwrap());
    }

    #[test]
    fn a_copy_of_another_epoch_or_for_another_hsm_is_not_taken() {
        let secrets = Secrets::generate().unwrap();
        let next = secrets.cluster().unwrap().next(Rotation::Routine).unwrap().to_bytes();
        let copy = |key: &[u8], epoch: u64| {
            seal_to(key, ROTATION, &epoch.to_be_bytes(), next.as_bytes()).unwrap()
        };
        let key = secrets.sealing_key.public_key();
        assert!(take_rotation(&secrets, 3, &copy(key, 3)).is_err());
        assert!(take_rotation(&secrets, 2, &copy(key, 3)).is_err());
        let other = SealingKeyPair::generate().unwrap();
        assert!(take_rotation(&secrets, 2, &copy(other.public_key(), 2)).is_err());
        take_rotation(&secrets, 2, &copy(key, 2)).unwrap();
    }
}
