//! Users and their passwords.

use cryptoki_sys::{CKR_ACTION_PROHIBITED, CKR_FUNCTION_FAILED, CKR_PIN_INVALID};

use super::{Changes, bad};
use crate::limits::{USER_NAME_CHARS_MAX, USERS_MAX, VERIFIER_BYTES_MAX};
use crate::{
    Action, LoginId, Outcome, PasswordVerifier, Personality, Principal, Refusal, Role, State, User,
    UserId,
};

impl State {
    pub(super) fn create_user(
        &mut self,
        who: &Principal,
        name: &str,
        role: Role,
        verifier: PasswordVerifier,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::ManageUsers)?;
        check_verifier(&verifier)?;
        let name = canonical_name(name)?;
        if !matches!(role, Role::Admin | Role::CryptoUser) {
            return Err(bad("a user's role is admin or crypto-user"));
        }
        if self.user_by_name(&name).is_some() {
            return Err(bad("a user of this name exists already"));
        }
        if self.users.len() >= USERS_MAX {
            return Err(Refusal::new(CKR_FUNCTION_FAILED, "the cluster has 1,024 users already"));
        }
        let id = self.next_user()?;
        let verifier = Some(verifier);
        self.put_user(User { id, name, role, verifier, failures: 0, epoch: 1 }, changes);
        Ok(Outcome::UserCreated(id))
    }

    pub(super) fn delete_user(
        &mut self,
        who: &Principal,
        name: &str,
        role: Role,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::ManageUsers)?;
        let id = self.named(name, role)?.id;
        if role == Role::Admin && self.users.admins() == 1 {
            return Err(in_the_way("this is the last admin: create another one first"));
        }
        if self.objects.owned_by(id) > 0 {
            return Err(in_the_way(
                "the user owns objects: they must be deleted first, by the user",
            ));
        }
        // CloudHSM: a user who is logged in cannot be deleted.
        if self.logins().any(|login| login.user == id) {
            return Err(in_the_way(
                "the user is logged in: the user must log out first, or an admin change the \
                 password, which ends all logins",
            ));
        }
        self.remove_user(id, changes);
        Ok(Outcome::Done)
    }

    pub(super) fn change_password(
        &mut self,
        who: &Principal,
        name: &str,
        role: Role,
        verifier: PasswordVerifier,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        if *who == Principal::Anonymous {
            return Err(Refusal::not_logged_in());
        }
        let user = self.named(name, role)?;
        self.authorise(who, &Action::ChangePassword(user))?;
        check_verifier(&verifier)?;
        let id = user.id;
        // PKCS#11 programs go on in their session after C_SetPIN; CloudHSM's log in again.
        let keep = match (self.personality(), who) {
            (Personality::Token, Principal::User { login, user, .. }) if *user == id => {
                Some(*login)
            }
            _ => None,
        };
        self.set_password(id, verifier, keep, changes);
        Ok(Outcome::Done)
    }

    /// Sets a user's password, unlocks the user, and ends the user's logins but `keep`.
    pub(super) fn set_password(
        &mut self,
        id: UserId,
        verifier: PasswordVerifier,
        keep: Option<LoginId>,
        changes: &mut Changes,
    ) {
        let Some(user) = self.user(id).cloned() else { return };
        let epoch = user.epoch + 1;
        let logins = self.logins().filter(|login| login.user == id);
        let logins: Vec<_> = logins.cloned().collect();
        for login in logins {
            if Some(login.id) == keep {
                self.put_login(crate::Login { epoch, ..login }, changes);
            } else {
                self.remove_login(login.id, changes);
            }
        }
        self.put_user(User { verifier: Some(verifier), failures: 0, epoch, ..user }, changes);
    }

    /// The number of the next user: never one that was given before.
    pub(super) fn next_user(&mut self) -> Result<UserId, Refusal> {
        let id = self.progress.next_user;
        let next = id.0.checked_add(1);
        self.progress.next_user =
            UserId(next.ok_or_else(|| {
                Refusal::new(CKR_FUNCTION_FAILED, "all users' numbers are used up")
            })?);
        Ok(id)
    }

    /// A user with a password of their own, by name and role.
    fn named(&self, name: &str, role: Role) -> Result<&User, Refusal> {
        let user = self.users.of_role(name, role);
        let user = user.ok_or_else(|| bad("there is no user of this name and role"))?;
        match role {
            Role::Admin | Role::CryptoUser => Ok(user),
            Role::UnactivatedAdmin => Err(bad("activate the cluster first: `cluster activate`")),
            Role::ApplianceUser => Err(bad("the appliance user is the HSM's own")),
        }
    }
}

/// A name as it is kept.
///
/// CloudHSM: at most 31 characters, of which `_` is the only special one, in any case.
fn canonical_name(name: &str) -> Result<String, Refusal> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || name.len() > USER_NAME_CHARS_MAX || !name.bytes().all(valid) {
        return Err(bad("a user's name has 1 to 31 letters, digits and underscores"));
    }
    Ok(name.to_ascii_lowercase())
}

pub(super) fn check_verifier(verifier: &PasswordVerifier) -> Result<(), Refusal> {
    if verifier.0.is_empty() || verifier.0.len() > VERIFIER_BYTES_MAX {
        return Err(Refusal::new(CKR_PIN_INVALID, "the password's verifier is malformed"));
    }
    Ok(())
}

fn in_the_way(what: &str) -> Refusal {
    Refusal::new(CKR_ACTION_PROHIBITED, what)
}
