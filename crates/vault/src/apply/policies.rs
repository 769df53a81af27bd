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
        self.authorise(who, &Action::Govern)?;
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
