//! The table of users.

use std::collections::BTreeMap;

use crate::{Role, User, UserId};

/// Users by number, and their numbers by name.
#[derive(Default)]
pub(crate) struct Users {
    by_id: BTreeMap<UserId, User>,
    ids: BTreeMap<String, UserId>,
}

impl Users {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &User> {
        self.by_id.values()
    }

    pub(crate) fn get(&self, id: UserId) -> Option<&User> {
        self.by_id.get(&id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&User> {
        self.get(*self.ids.get(&name.to_ascii_lowercase())?)
    }

    /// The user of this name under this role; a name is of one role only.
    pub(crate) fn of_role(&self, name: &str, role: Role) -> Option<&User> {
        self.by_name(name).filter(|user| user.role == role)
    }

    /// Puts a user, over an older record of the same number.
    pub(crate) fn put(&mut self, user: User) {
        if let Some(old) = self.by_id.get(&user.id)
            && old.name != user.name
        {
            self.ids.remove(&old.name);
        }
        self.ids.insert(user.name.clone(), user.id);
        self.by_id.insert(user.id, user);
    }

    pub(crate) fn remove(&mut self, id: UserId) {
        if let Some(user) = self.by_id.remove(&id) {
            self.ids.remove(&user.name);
        }
    }

    pub(crate) fn admins(&self) -> usize {
        self.iter().filter(|user| user.role == Role::Admin).count()
    }

    /// Whether the two maps agree: each name leads to one user, and each user has one.
    pub(crate) fn is_consistent(&self) -> bool {
        self.ids.len() == self.by_id.len()
    }
}
