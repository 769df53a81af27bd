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
