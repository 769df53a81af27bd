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

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKR_ACTION_PROHIBITED, CKR_ARGUMENTS_BAD, CKR_PIN_LOCKED};

    use super::*;
    use crate::testing::members::witness;
    use crate::testing::{World, aes, ckr, verifier};
    use crate::{Actor, Command, Personality, Role};

    fn rotate(epoch: u64, nodes: &[u64]) -> Command {
        let sealed = nodes.iter().map(|&node| (NodeId(node), vec![node as u8])).collect();
        Command::RotateSecrets { epoch, sealed }
    }

    #[test]
    fn secrets_are_sealed_to_those_who_are_there_and_in_order() {
        let mut world = World::cluster(3);
        assert!(world.add(witness(4)).is_ok());
        world.must(Actor::System, Command::RemoveMember { node: NodeId(2), receipt: true });
        assert!(world.state.rotation_due());
        for wrong in [
            rotate(1, &[1, 3]),
            rotate(3, &[1, 3]),
            rotate(2, &[1]),
            rotate(2, &[1, 2, 3]),
            rotate(2, &[1, 3, 4]),
            rotate(2, &[1, 1, 3]),
            Command::RotateSecrets {
                epoch: 2,
                sealed: vec![(NodeId(1), vec![1]), (NodeId(3), Vec::new())],
            },
        ] {
            assert_eq!(ckr(world.apply(Actor::System, wrong)), CKR_ARGUMENTS_BAD);
        }
        world.must(Actor::System, rotate(2, &[1, 3]));
        assert!(!world.state.rotation_due());
        assert_eq!(world.state.secrets_epoch(), 2);
        assert!(world.apply(Actor::System, rotate(2, &[1, 3])).is_err(), "once");
        world.check();
    }

    #[test]
    fn a_member_finds_its_own_of_all_epochs_that_it_missed() {
        let mut world = World::cluster(2);
        for epoch in 2..6 {
            world.must(Actor::System, rotate(epoch, &[1, 2]));
        }
        let missed: Vec<_> = world.state.rotations(NodeId(2), 3).collect();
        assert_eq!(missed, [(4, &[2][..]), (5, &[2][..])]);
        world.must(Actor::System, Command::RemoveMember { node: NodeId(2), receipt: true });
        assert_eq!(world.state.rotations(NodeId(2), 0).count(), 0, "not for one who is gone");
        for epoch in 6..100 {
            world.must(Actor::System, rotate(epoch, &[1]));
        }
        assert_eq!(world.state.rotations(NodeId(1), 0).count() as u64, ROTATIONS_MAX);
        world.check();
    }

    #[test]
    fn a_blob_is_replaced_only_where_its_object_is_still_there() {
        let mut world = World::cluster(1);
        let alice = world.crypto_user("alice");
        let (kept, gone) = (
            world.object(alice, aes(Personality::CloudHsm)),
            world.object(alice, aes(Personality::CloudHsm)),
        );
        let id = |world: &World, handle| world.state.object(handle).expect("an object").id;
        let (kept_id, gone_id) = (id(&world, kept), id(&world, gone));
        world.must(alice, Command::DestroyObject { handle: gone });
        let before = world.state.object(kept).cloned();
        let objects = vec![
            (kept, kept_id, vec![9]),
            (gone, gone_id, vec![9]),
            (kept, gone_id, vec![8]),
            (Handle(1), kept_id, vec![7]),
        ];
        let remask = Command::Remask { objects };
        assert_eq!(ckr(world.apply(alice, remask.clone())), CKR_ACTION_PROHIBITED);
        let (_, changes) = world.changes(Actor::System, remask);
        let blobs = changes.into_iter().filter(|change| matches!(change, Change::PutBlob { .. }));
        assert!(blobs.eq([Change::PutBlob { id: kept_id, blob: vec![9] }]));
        assert_eq!(world.state.object(kept).cloned(), before, "no version, no metadata");
        world.check();
        for objects in [
            Vec::new(),
            vec![(kept, kept_id, Vec::new())],
            vec![(kept, kept_id, vec![1; BLOB_BYTES_MAX + 1])],
            vec![(kept, kept_id, vec![1]); REMASK_OBJECTS_MAX + 1],
            vec![(kept, kept_id, vec![1; BLOB_BYTES_MAX]); 4],
        ] {
            let result = world.apply(Actor::System, Command::Remask { objects });
            assert_eq!(ckr(result), CKR_ARGUMENTS_BAD);
        }
    }

    #[test]
    fn failures_of_a_cut_off_hsm_are_added_and_lock_the_user() {
        let mut world = World::cluster(2);
        let alice = world.crypto_user("alice");
        let charge = Command::ChargeLogin { name: "alice".to_owned(), role: Role::CryptoUser };
        world.must(Actor::Anonymous, charge.clone());
        let user = |world: &World| world.state.user_by_name("alice").expect("alice").clone();
        let (id, epoch) = (user(&world).id, user(&world).epoch);
        let merge = |count, epoch| Command::MergeFailures { failures: vec![(id, epoch, count)] };
        assert!(world.apply(alice, merge(1, epoch)).is_err());
        world.must(Actor::System, merge(2, epoch));
        assert_eq!(user(&world).failures, 3);
        world.must(Actor::System, merge(u32::MAX, epoch));
        assert_eq!(user(&world).failures, LOGIN_FAILURES_MAX);
        assert_eq!(ckr(world.apply(Actor::Anonymous, charge)), CKR_PIN_LOCKED);
        world.check();
        let admin = world.admin();
        let (name, role) = ("alice".to_owned(), Role::CryptoUser);
        let change = Command::ChangePassword { name, role, verifier: verifier("new") };
        world.must(admin, change);
        world.must(Actor::System, merge(5, epoch));
        assert_eq!(user(&world).failures, 0, "they were guesses at the old password");
        world.must(Actor::System, Command::MergeFailures { failures: vec![(UserId(99), 1, 1)] });
        world.check();
    }
}
