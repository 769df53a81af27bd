//! The cluster's secrets as the state knows them: epochs, what is sealed to whom, objects masked anew;
//! and the failed logins of an HSM that was cut off.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, bad};
use crate::codec::Key;
use crate::limits::{
    BLOB_BYTES_MAX, LOGIN_FAILURES_MAX, REMASK_BYTES_MAX, REMASK_OBJECTS_MAX, ROTATIONS_MAX,
    SEALED_SECRETS_BYTES_MAX, USERS_MAX,
};
use crate::{
    Action, Change, Handle, NodeId, ObjectId, Outcome, Principal, Refusal, State, User, UserId,
};

impl State {
    pub(super) fn rotate_secrets(
        &mut self,
        who: &Principal,
        epoch: u64,
        sealed: Vec<(NodeId, Vec<u8>)>,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        if self.secrets_epoch().checked_add(1) != Some(epoch) {
            return Err(bad("the secrets were rotated by another, or an epoch was left out"));
        }
        let count = sealed.len();
        let sealed: BTreeMap<_, _> = sealed.into_iter().collect();
        // A member that is left out could not go on, and one that is gone must not.
        let holders: BTreeSet<NodeId> = self.members.hsms().map(|member| member.node).collect();
        if count != sealed.len() || !sealed.keys().eq(&holders) {
            return Err(bad("new secrets are sealed to each HSM of the cluster, and to no other"));
        }
        let wrong = |sealed: &Vec<u8>| sealed.is_empty() || sealed.len() > SEALED_SECRETS_BYTES_MAX;
        if sealed.values().any(wrong) {
            return Err(bad("sealed secrets have 1 byte to 16 KiB"));
        }
        for (node, sealed) in sealed {
            self.put_sealed(epoch, node, sealed, changes);
        }
        let oldest = epoch.saturating_sub(ROTATIONS_MAX - 1);
        let old = self.members.sealed.extract_if(..(oldest, NodeId(0)), |_, _| true);
        for ((epoch, node), _) in old {
            changes.delete(Key::Sealed(epoch, node));
        }
        self.change_topology(changes, |topology| {
            topology.secrets_epoch = epoch;
            topology.rotation_due = false;
        });
        Ok(Outcome::Done)
    }

    pub(super) fn remask(
        &mut self,
        who: &Principal,
        objects: Vec<(Handle, ObjectId, Vec<u8>)>,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        let bytes: usize = objects.iter().map(|(_, _, blob)| blob.len()).sum();
        if objects.is_empty() || objects.len() > REMASK_OBJECTS_MAX || bytes > REMASK_BYTES_MAX {
            return Err(bad("one change masks 1 to 1,024 objects of 4 MiB together anew"));
        }
        if objects.iter().any(|(_, _, blob)| blob.is_empty() || blob.len() > BLOB_BYTES_MAX) {
            return Err(bad("an object's sealed body has 1 byte to 1 MiB"));
        }
        for (handle, id, blob) in objects {
            // The handle alone would do; the id makes sure that no blob comes under another's.
            if self.object(handle).is_some_and(|object| object.id == id) {
                changes.0.push(Change::PutBlob { id, blob });
            }
        }
        Ok(Outcome::Done)
    }

    /// Adds: whatever order the HSMs come back in, no failure is forgotten. Where the password has
    /// changed since, the failures were another password's.
    pub(super) fn merge_failures(
        &mut self,
        who: &Principal,
        failures: &[(UserId, u64, u32)],
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        if failures.is_empty() || failures.len() > USERS_MAX {
            return Err(bad("one change adds 1 to 1,024 users' failed logins"));
        }
        for &(id, epoch, count) in failures {
            let user = self.user(id).filter(|user| user.epoch == epoch && user.verifier.is_some());
            let Some(user) = user.cloned() else { continue };
            let failures = user.failures.saturating_add(count).min(LOGIN_FAILURES_MAX);
            if failures > user.failures {
                self.put_user(User { failures, ..user }, changes);
            }
        }
        Ok(Outcome::Done)
    }
}
