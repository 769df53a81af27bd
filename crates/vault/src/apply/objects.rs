//! Token objects.

use std::collections::BTreeSet;

use cryptoki_sys::{CKR_DEVICE_MEMORY, CKR_FUNCTION_FAILED};

use super::{Changes, bad};
use crate::attributes;
use crate::limits::{BLOB_BYTES_MAX, OBJECTS_MAX, OBJECTS_PER_ENTRY_MAX};
use crate::{
    Action, Change, Flags, Handle, Meta, NewObject, Object, Outcome, Principal, Refusal, State,
    UserId,
};

impl State {
    pub(super) fn create_objects(
        &mut self,
        who: &Principal,
        objects: Vec<NewObject>,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        if objects.is_empty() || objects.len() > OBJECTS_PER_ENTRY_MAX {
            return Err(bad("one change makes 1 to 4 objects"));
        }
        let mut ids = BTreeSet::new();
        for object in &objects {
            self.check_new_object(who, object)?;
            if !ids.insert(object.id) {
                return Err(bad("two objects have one id"));
            }
        }
        if self.objects.len() + objects.len() > OBJECTS_MAX {
            return Err(Refusal::new(
                CKR_DEVICE_MEMORY,
                "the cluster holds a million objects; destroy some first",
            ));
        }
        let first = self.progress.next_handle;
        let next = first.0.checked_add(objects.len() as u64).map(Handle);
        self.progress.next_handle = next
            .filter(|next| !next.is_session())
            .ok_or_else(|| Refusal::new(CKR_DEVICE_MEMORY, "all handles are used up"))?;
        let mut handles = Vec::with_capacity(objects.len());
        for (handle, NewObject { id, owner, meta, blob }) in (first.0..).map(Handle).zip(objects) {
            changes.0.push(Change::PutBlob { id, blob });
            self.put_object(Object { handle, id, owner, version: 1, meta }, changes);
            handles.push(handle);
        }
        Ok(Outcome::Created(handles))
    }

    fn check_new_object(&self, who: &Principal, object: &NewObject) -> Result<(), Refusal> {
        self.authorise(who, &Action::Create { meta: &object.meta })?;
        attributes::check_new(&object.meta, self.personality())?;
        if !object.meta.flags.contains(Flags::TOKEN) {
            return Err(bad("a session object is no token object"));
        }
        // Nobody owns what was made without a login.
        if object.owner != who.user().unwrap_or(UserId(0)) {
            return Err(bad("an object is owned by the user who makes it"));
        }
        if object.blob.is_empty() || object.blob.len() > BLOB_BYTES_MAX {
            return Err(bad("an object's sealed body has 1 byte to 1 MiB"));
        }
        Ok(())
    }

    pub(super) fn destroy_object(
        &mut self,
        who: &Principal,
        handle: Handle,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        let object = self.object(handle).ok_or_else(Refusal::no_such_object)?;
        self.authorise(who, &Action::Destroy(object))?;
        self.remove_object(handle, changes);
        Ok(Outcome::Done)
    }

    pub(super) fn set_meta(
        &mut self,
        who: &Principal,
        handle: Handle,
        version: u64,
        meta: Meta,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        let object = self.object(handle).ok_or_else(Refusal::no_such_object)?;
        self.authorise(who, &Action::ChangeMeta { object, new: &meta })?;
        if object.version != version {
            return Err(Refusal::new(
                CKR_FUNCTION_FAILED,
                "the object has changed at the same time; try again",
            ));
        }
        let object = Object { version: version + 1, meta, ..object.clone() };
        self.put_object(object, changes);
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::*;

    use super::*;
    use crate::testing::{World, aes, aes_with, ckr, public_key};
    use crate::{Actor, Command, ObjectId, Personality};

    const CLOUDHSM: Personality = Personality::CloudHsm;

    #[test]
    fn handles_count_on_and_are_never_used_again() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let first = world.object(alice, aes(CLOUDHSM));
        assert_eq!(first, Handle::FIRST);
        world.must(alice, Command::DestroyObject { handle: first });
        assert_eq!(world.object(alice, aes(CLOUDHSM)), Handle(first.0 + 1));
        world.check();
    }

    #[test]
    fn a_pair_is_made_whole_or_not_at_all() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let owner = world.user_of(alice);
        let half =
            |id: u8, meta: Meta| NewObject { id: ObjectId([id; 16]), owner, meta, blob: vec![1] };
        let private = Meta { class: CKO_PRIVATE_KEY, ..public_key(Flags::PRIVATE | Flags::SIGN) };
        let wrong = Meta { class: CKO_VENDOR_DEFINED, ..private.clone() };
        let pair = |private| Command::CreateObjects {
            objects: vec![half(1, public_key(Flags::VERIFY)), half(2, private)],
        };
        assert!(world.apply(alice, pair(wrong)).is_err());
        assert_eq!(world.state.object_count(), 0);
        world.check();
        let made = world.must(alice, pair(private));
        assert_eq!(made, Outcome::Created(vec![Handle::FIRST, Handle(Handle::FIRST.0 + 1)]));
        world.check();
    }

    #[test]
    fn nobody_makes_objects_for_another_or_of_wrong_metadata() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let bob = world.crypto_user("bob");
        let mut creation = |actor, meta| world.creation(actor, meta);
        let good = aes(CLOUDHSM);
        let with = |flag, on| {
            let mut meta = good.clone();
            meta.flags.set(flag, on);
            meta
        };
        let refused = [
            creation(bob, good.clone()),
            creation(alice, with(Flags::TOKEN, false)),
            creation(alice, with(Flags::PRIVATE, false)),
            creation(alice, with(Flags::TRUSTED, true)),
            creation(alice, with(Flags::NEVER_EXTRACTABLE, true)),
            creation(alice, with(Flags(1 << 31), true)),
            creation(alice, with(Flags::ALWAYS_AUTHENTICATE, true)),
            creation(alice, Meta { label: vec![0; 1025], ..good.clone() }),
            creation(alice, Meta { more: [(CKA_SUBJECT, vec![1])].into(), ..good.clone() }),
            creation(alice, Meta { more: [(CKA_WRAP_TEMPLATE, vec![1])].into(), ..good.clone() }),
            Command::CreateObjects { objects: Vec::new() },
        ];
        for command in refused {
            assert!(world.apply(alice, command.clone()).is_err(), "{command:?}");
        }
        assert_eq!(world.state.object_count(), 0);
        world.check();
    }

    #[test]
    fn an_object_that_is_not_destroyable_stays() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let meta = aes_with(CLOUDHSM, &[(CKA_DESTROYABLE, false)]);
        let handle = world.object(alice, meta);
        let destroy = world.apply(alice, Command::DestroyObject { handle });
        assert_eq!(ckr(destroy), CKR_ACTION_PROHIBITED);
        assert_eq!(
            ckr(world.apply(alice, Command::DestroyObject { handle: Handle(1) })),
            CKR_OBJECT_HANDLE_INVALID
        );
    }

    #[test]
    fn of_two_changes_at_once_one_wins_and_the_other_is_told() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let handle = world.object(alice, aes(CLOUDHSM));
        let named = |world: &World, label: &[u8]| Command::SetMeta {
            handle,
            version: 1,
            meta: Meta { label: label.to_vec(), ..world.meta(handle) },
        };
        let (one, two) = (named(&world, b"one"), named(&world, b"two"));
        world.must(alice, one);
        assert_eq!(ckr(world.apply(alice, two)), CKR_FUNCTION_FAILED);
        assert_eq!(world.meta(handle).label, b"one");
        assert_eq!(world.state.object(handle).map(|object| object.version), Some(2));
        world.check();
    }

    #[test]
    fn what_a_proposer_says_of_new_metadata_is_checked_again() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let handle = world.object(alice, aes_with(CLOUDHSM, &[(CKA_EXTRACTABLE, false)]));
        let mut meta = world.meta(handle);
        meta.flags.set(Flags::EXTRACTABLE, true);
        let set = Command::SetMeta { handle, version: 1, meta };
        assert_eq!(ckr(world.apply(alice, set)), CKR_ATTRIBUTE_READ_ONLY);
    }

    #[test]
    fn a_change_proposed_before_logout_does_not_happen_after_it() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let creation = world.creation(alice, aes(CLOUDHSM));
        let Actor::Login(login) = alice else { unreachable!() };
        world.must(alice, Command::CloseLogins { logins: vec![login] });
        assert_eq!(ckr(world.apply(alice, creation)), CKR_USER_NOT_LOGGED_IN);
    }
}
