//! What admins decide for the cluster: who joins, how long a cut-off HSM goes on, who recovers it, and
//! the certificate of its key.

use std::collections::BTreeSet;

use super::{Changes, bad};
use crate::codec::TopologyRecord;
use crate::limits::{
    CERTIFICATE_BYTES_MAX, JOIN_APPROVALS_MAX, RECOVERY_KEY_BYTES_MAX, RECOVERY_KEYS_MAX,
};
use crate::{Action, JoinPolicy, Outcome, Principal, Refusal, State};

impl State {
    pub(super) fn set_join_policy(
        &mut self,
        who: &Principal,
        policy: JoinPolicy,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Govern)?;
        check_policy(policy)?;
        if let JoinPolicy::Quorum { approvals } = policy
            && self.users.admins() < approvals as usize
        {
            return Err(bad("there are not so many admins: create them first"));
        }
        // An approval is given under the policy of its time.
        self.clear_waiting(changes);
        self.change_topology(changes, |topology| topology.join_policy = policy);
        Ok(Outcome::Done)
    }

    pub(super) fn set_cut_off_policy(
        &mut self,
        who: &Principal,
        seconds: u64,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Govern)?;
        self.change_topology(changes, |topology| topology.cut_off_seconds = seconds);
        Ok(Outcome::Done)
    }

    pub(super) fn set_recovery_keys(
        &mut self,
        who: &Principal,
        keys: Vec<Vec<u8>>,
        threshold: u32,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Govern)?;
        let wrong = |key: &Vec<u8>| key.is_empty() || key.len() > RECOVERY_KEY_BYTES_MAX;
        if keys.len() > RECOVERY_KEYS_MAX || keys.iter().any(wrong) {
            return Err(bad("there are at most 20 recovery keys, of 1 to 1,024 bytes each"));
        }
        // One key twice would count as two who sign.
        if keys.iter().collect::<BTreeSet<_>>().len() != keys.len() {
            return Err(bad("a recovery key is there twice"));
        }
        let none = keys.is_empty() && threshold == 0;
        if !none && !(1..=keys.len()).contains(&(threshold as usize)) {
            return Err(bad("of the recovery keys at least one must sign, and at most all"));
        }
        self.change_topology(changes, |topology| {
            topology.recovery_keys = keys;
            topology.recovery_threshold = threshold;
        });
        Ok(Outcome::Done)
    }

    pub(super) fn install_cluster_certificate(
        &mut self,
        who: &Principal,
        generation: u64,
        certificate: Vec<u8>,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        // It is the owner's word by itself, so the provisioner may bring it, too.
        let action = if *who == Principal::System { Action::Maintain } else { Action::Govern };
        self.authorise(who, &action)?;
        if certificate.is_empty() || certificate.len() > CERTIFICATE_BYTES_MAX {
            return Err(bad("a certificate has 1 to 20,000 bytes"));
        }
        if generation != self.generation() {
            return Err(bad("the certificate is not of the cluster's newest key"));
        }
        match &mut self.cluster {
            Some(cluster) if cluster.trust_anchor.is_some() => {
                cluster.cluster_certificate = Some(certificate);
            }
            _ => return Err(bad("the cluster has no owner's certificate")),
        }
        self.put_cluster(changes);
        self.change_topology(changes, |topology| topology.certified_generation = generation);
        Ok(Outcome::Done)
    }

    pub(super) fn change_topology(
        &mut self,
        changes: &mut Changes,
        change: impl FnOnce(&mut TopologyRecord),
    ) {
        if let Some(topology) = &mut self.topology {
            change(topology);
        }
        self.put_topology(changes);
    }
}

/// Whether a policy can be kept at all.
pub(super) fn check_policy(policy: JoinPolicy) -> Result<(), Refusal> {
    match policy {
        JoinPolicy::Quorum { approvals } if !(1..=JOIN_APPROVALS_MAX).contains(&approvals) => {
            Err(bad("a join policy asks for 1 to 20 admins' approval"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKR_ACTION_PROHIBITED, CKR_ARGUMENTS_BAD, CKR_USER_NOT_LOGGED_IN};

    use super::*;
    use crate::limits::CUT_OFF_SECONDS_DEFAULT;
    use crate::testing::{World, ckr};
    use crate::{Actor, Command, NodeId, Personality};

    fn commands() -> [Command; 5] {
        [
            Command::SetJoinPolicy { policy: JoinPolicy::Owner },
            Command::SetCutOffPolicy { seconds: 0 },
            Command::SetRecoveryKeys { keys: vec![vec![1]], threshold: 1 },
            Command::ApproveJoin { fingerprint: [0; 32] },
            Command::InstallClusterCertificate { generation: 1, cluster_certificate: vec![1] },
        ]
    }

    #[test]
    fn policies_are_the_admins_alone() {
        let mut world = World::cluster(1);
        let alice = world.crypto_user("alice");
        for command in commands() {
            for (actor, code) in [
                (Actor::System, CKR_USER_NOT_LOGGED_IN),
                (Actor::Anonymous, CKR_USER_NOT_LOGGED_IN),
                (alice, CKR_ACTION_PROHIBITED),
            ] {
                // The certificate is the owner's word by itself: the provisioner may bring it, too.
                let owners = matches!(command, Command::InstallClusterCertificate { .. });
                if actor == Actor::System && owners {
                    continue;
                }
                assert_eq!(ckr(world.apply(actor, command.clone())), code, "{command:?}");
            }
        }
    }

    #[test]
    fn nobody_decides_before_there_is_an_admin() {
        let mut world = World::created(Personality::CloudHsm);
        for command in commands() {
            let result = world.apply(Actor::Anonymous, command.clone());
            assert_eq!(ckr(result), CKR_ACTION_PROHIBITED, "{command:?}");
        }
    }

    #[test]
    fn a_quorum_is_one_that_the_admins_can_give() {
        let mut world = World::cluster(1);
        let admin = world.admin();
        for approvals in [0, 2, 21] {
            let policy = JoinPolicy::Quorum { approvals };
            let result = world.apply(admin, Command::SetJoinPolicy { policy });
            assert_eq!(ckr(result), CKR_ARGUMENTS_BAD);
        }
        let policy = JoinPolicy::Quorum { approvals: 1 };
        world.must(admin, Command::SetJoinPolicy { policy });
        assert_eq!(world.state.join_policy(), policy);
        world.check();
    }

    #[test]
    fn a_recovery_needs_a_number_of_different_keys() {
        let mut world = World::cluster(1);
        let admin = world.admin();
        let set = |keys: &[u8], threshold| Command::SetRecoveryKeys {
            keys: keys.iter().map(|key| vec![*key]).collect(),
            threshold,
        };
        for wrong in [set(&[1, 2], 0), set(&[1, 2], 3), set(&[1, 1], 2), set(&[], 1)] {
            assert_eq!(ckr(world.apply(admin, wrong)), CKR_ARGUMENTS_BAD);
        }
        for keys in [vec![Vec::new()], vec![vec![1; RECOVERY_KEY_BYTES_MAX + 1]]] {
            let command = Command::SetRecoveryKeys { keys, threshold: 1 };
            assert_eq!(ckr(world.apply(admin, command)), CKR_ARGUMENTS_BAD);
        }
        world.must(admin, set(&[1, 2, 3], 2));
        assert_eq!(world.state.recovery_keys(), (&[vec![1], vec![2], vec![3]][..], 2));
        world.check();
        world.must(admin, set(&[], 0));
        assert_eq!(world.state.recovery_keys(), (&[][..], 0));
    }

    #[test]
    fn the_cut_off_policy_is_an_hour_until_an_admin_says_otherwise() {
        let mut world = World::cluster(1);
        assert_eq!(world.state.cut_off_seconds(), CUT_OFF_SECONDS_DEFAULT);
        let admin = world.admin();
        for seconds in [0, 60, u64::MAX] {
            world.must(admin, Command::SetCutOffPolicy { seconds });
            assert_eq!(world.state.cut_off_seconds(), seconds);
        }
        world.check();
    }

    #[test]
    fn a_certificate_of_an_older_key_is_of_no_use() {
        let mut world = World::cluster(2);
        let gone = Command::RemoveMember { node: NodeId(2), receipt: false };
        world.must(Actor::System, gone);
        let admin = world.admin();
        let install = |generation| Command::InstallClusterCertificate {
            generation,
            cluster_certificate: vec![0x31],
        };
        for generation in [0, 1, 3] {
            assert_eq!(ckr(world.apply(admin, install(generation))), CKR_ARGUMENTS_BAD);
        }
        assert_eq!(world.state.cluster_certificate(), Some(&[0x30][..]));
        world.must(admin, install(2));
        assert_eq!(world.state.cluster_certificate(), Some(&[0x31][..]));
        assert!(!world.state.cluster_key_compromised());
        world.check();
    }
}
