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
        self.withdraw_approvals(id, changes);
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

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKR_ARGUMENTS_BAD, CKR_USER_NOT_LOGGED_IN};

    use super::*;
    use crate::testing::{World, aes, ckr, create_user, verifier};
    use crate::{Actor, Command};

    fn delete(name: &str, role: Role) -> Command {
        Command::DeleteUser { name: name.to_owned(), role }
    }

    fn new_password(name: &str, role: Role) -> Command {
        Command::ChangePassword { name: name.to_owned(), role, verifier: verifier("new") }
    }

    #[test]
    fn names_are_kept_in_lower_case_and_are_of_one_user() {
        let mut world = World::cloudhsm();
        let admin = world.admin();
        world.must(admin, create_user("Crypto_User1", Role::CryptoUser));
        assert!(world.state.user_by_name("CRYPTO_user1").is_some());
        for role in [Role::CryptoUser, Role::Admin] {
            assert!(world.apply(admin, create_user("crypto_USER1", role)).is_err());
        }
    }

    #[test]
    fn a_name_has_letters_digits_and_underscores_only() {
        let mut world = World::cloudhsm();
        let admin = world.admin();
        let long = "a".repeat(32);
        for name in ["", "a b", "a:b", "ä", "a-b", "a\0", &long] {
            let result = world.apply(admin, create_user(name, Role::CryptoUser));
            assert_eq!(ckr(result), CKR_ARGUMENTS_BAD, "{name:?}");
        }
        assert!(world.apply(admin, create_user(&long[1..], Role::CryptoUser)).is_ok());
    }

    #[test]
    fn numbers_count_from_three_and_are_never_used_again() {
        let mut world = World::cloudhsm();
        let admin = world.admin();
        let made = world.must(admin, create_user("alice", Role::CryptoUser));
        assert_eq!(made, Outcome::UserCreated(UserId(3)));
        world.must(admin, delete("alice", Role::CryptoUser));
        let made = world.must(admin, create_user("alice", Role::CryptoUser));
        assert_eq!(made, Outcome::UserCreated(UserId(4)));
        world.check();
    }

    #[test]
    fn only_an_admin_makes_users_and_of_two_roles_only() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let admin = world.admin();
        let bob = || create_user("bob", Role::CryptoUser);
        assert_eq!(ckr(world.apply(Actor::Anonymous, bob())), CKR_USER_NOT_LOGGED_IN);
        assert_eq!(ckr(world.apply(alice, bob())), CKR_ACTION_PROHIBITED);
        assert!(world.apply(Actor::System, bob()).is_err());
        for role in [Role::UnactivatedAdmin, Role::ApplianceUser] {
            assert!(world.apply(admin, create_user("bob", role)).is_err());
        }
        world.must(admin, bob());
    }

    #[test]
    fn the_last_admin_stays() {
        let mut world = World::cloudhsm();
        let first = world.admin();
        assert_eq!(ckr(world.apply(first, delete("admin", Role::Admin))), CKR_ACTION_PROHIBITED);
        world.must(first, create_user("second", Role::Admin));
        world.must(first, delete("second", Role::Admin));
        assert!(world.apply(first, delete("admin", Role::Admin)).is_err());
    }

    #[test]
    fn a_user_with_objects_or_a_login_stays() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let key = world.object(alice, aes(Personality::CloudHsm));
        let admin = world.admin();
        let refused = world.apply(admin, delete("alice", Role::CryptoUser));
        assert!(refused.is_err_and(|refusal| refusal.message.contains("owns objects")));
        world.must(alice, Command::DestroyObject { handle: key });
        let refused = world.apply(admin, delete("alice", Role::CryptoUser));
        assert!(refused.is_err_and(|refusal| refusal.message.contains("logged in")));
        world.must(admin, new_password("alice", Role::CryptoUser));
        world.must(admin, delete("alice", Role::CryptoUser));
        assert!(world.state.user_by_name("alice").is_none());
        world.check();
    }

    #[test]
    fn everybody_changes_their_own_password_and_an_admin_every_users() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let bob = world.crypto_user("bob");
        let admin = world.admin();
        let of_bob = || new_password("bob", Role::CryptoUser);
        assert_eq!(ckr(world.apply(alice, of_bob())), CKR_ACTION_PROHIBITED);
        assert_eq!(ckr(world.apply(Actor::Anonymous, of_bob())), CKR_USER_NOT_LOGGED_IN);
        world.must(bob, of_bob());
        assert!(world.state.principal(bob).is_err(), "the login ends with the password");
        world.must(admin, of_bob());
        assert!(world.apply(admin, new_password("bob", Role::Admin)).is_err());
        assert!(world.apply(admin, new_password("app_user", Role::ApplianceUser)).is_err());
    }

    #[test]
    fn a_tokens_user_goes_on_after_a_new_pin_of_their_own() {
        let (mut world, so, user) = World::token();
        let other = world.login("user", Role::CryptoUser);
        world.must(user, new_password("user", Role::CryptoUser));
        assert!(world.state.principal(user).is_ok());
        assert!(world.state.principal(other).is_err());
        // The SO sets the user's PIN by C_InitPIN only.
        assert!(world.apply(so, new_password("user", Role::CryptoUser)).is_err());
        world.check();
    }
}
