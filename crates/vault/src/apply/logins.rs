//! Logins: charged before the password is checked, opened or given back after.

use cryptoki_sys::{
    CKR_FUNCTION_FAILED, CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_USER_PIN_NOT_INITIALIZED,
};

use super::Changes;
use crate::limits::{LOGIN_FAILURES_MAX, LOGINS_MAX, SEEN_LOGINS_MAX};
use crate::{
    Action, Login, LoginId, Outcome, Personality, Principal, Refusal, Role, State, User, UserId,
};

impl State {
    /// Counts a failure before the hash is computed, so that many guesses at once, or a crash
    /// between a guess and its count, buy no more of them.
    pub(super) fn charge_login(
        &mut self,
        who: &Principal,
        name: &str,
        role: Role,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::LogIn)?;
        let user = self.users.of_role(name, role).filter(|user| user.verifier.is_some());
        let Some(user) = user.cloned() else {
            // Everybody sees in the token's flags whether the user's PIN is set.
            if role == Role::CryptoUser && self.personality() == Personality::Token {
                return Err(Refusal::new(
                    CKR_USER_PIN_NOT_INITIALIZED,
                    "the SO has not set the user's PIN: call C_InitPIN",
                ));
            }
            return Ok(Outcome::LoginCharged { user: None });
        };
        if user.failures >= LOGIN_FAILURES_MAX {
            return Err(Refusal::new(
                CKR_PIN_LOCKED,
                "the user is locked after too many failed logins: an admin (or the SO) unlocks it \
                 by setting its password",
            ));
        }
        let user = User { failures: user.failures + 1, ..user };
        self.put_user(user.clone(), changes);
        Ok(Outcome::LoginCharged { user: Some(user) })
    }

    pub(super) fn open_login(
        &mut self,
        who: &Principal,
        user: UserId,
        epoch: u64,
        client_key: [u8; 32],
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::LogIn)?;
        self.room_for_a_login()?;
        self.refund(user, epoch, changes)?;
        let id = LoginId::from(self.progress.applied);
        let seen_ms = self.progress.time_ms;
        self.put_login(Login { id, user, epoch, client_key, seen_ms }, changes);
        Ok(Outcome::LoginOpened(id))
    }

    fn room_for_a_login(&self) -> Result<(), Refusal> {
        if self.logins.len() < LOGINS_MAX {
            return Ok(());
        }
        Err(Refusal::new(
            CKR_FUNCTION_FAILED,
            "the cluster has 65,536 open logins; log out where they are not needed",
        ))
    }

    /// A login of an HSM that was cut off: as the HSM gave it, so that its ticket counts everywhere.
    pub(super) fn adopt_login(
        &mut self,
        who: &Principal,
        id: LoginId,
        user: UserId,
        epoch: u64,
        client_key: [u8; 32],
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        if !id.began_apart() {
            return Err(super::bad("the login did not begin on an HSM that was cut off"));
        }
        if self.login(id).is_some() {
            // The HSM had no answer and asks again.
            return Ok(Outcome::Done);
        }
        self.room_for_a_login()?;
        self.refund(user, epoch, changes)?;
        let seen_ms = self.progress.time_ms;
        self.put_login(Login { id, user, epoch, client_key, seen_ms }, changes);
        Ok(Outcome::Done)
    }

    pub(super) fn see_logins(
        &mut self,
        who: &Principal,
        logins: &[LoginId],
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        if logins.len() > SEEN_LOGINS_MAX {
            return Err(super::bad("one change sees at most 1,024 logins"));
        }
        let seen_ms = self.progress.time_ms;
        for login in logins.iter().filter_map(|id| self.login(*id).cloned()).collect::<Vec<_>>() {
            self.put_login(Login { seen_ms, ..login }, changes);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn refund_login(
        &mut self,
        who: &Principal,
        user: UserId,
        epoch: u64,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::LogIn)?;
        self.refund(user, epoch, changes)?;
        Ok(Outcome::Done)
    }

    /// The password was right: earlier failures are forgotten.
    fn refund(&mut self, id: UserId, epoch: u64, changes: &mut Changes) -> Result<(), Refusal> {
        let user = self.user(id).filter(|user| user.epoch == epoch && user.verifier.is_some());
        let user = user.cloned().ok_or_else(|| {
            Refusal::new(
                CKR_PIN_INCORRECT,
                "the user or its password has changed while the password was checked",
            )
        })?;
        self.put_user(User { failures: 0, ..user }, changes);
        Ok(())
    }

    pub(super) fn close_logins(
        &mut self,
        who: &Principal,
        logins: Vec<LoginId>,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        for login in logins.iter().filter_map(|id| self.login(*id)) {
            self.authorise(who, &Action::CloseLogin(login.user))?;
        }
        for id in logins {
            self.remove_login(id, changes);
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, ckr, verifier};
    use crate::{Actor, Command};

    fn charge(world: &mut World, name: &str) -> Result<Outcome, Refusal> {
        let command = Command::ChargeLogin { name: name.to_owned(), role: Role::CryptoUser };
        world.apply(Actor::Anonymous, command)
    }

    #[test]
    fn five_failures_lock_a_user_even_from_the_right_password() {
        let mut world = World::cloudhsm();
        world.crypto_user("alice");
        for failures in 1..=5 {
            match charge(&mut world, "alice") {
                Ok(Outcome::LoginCharged { user: Some(user) }) => {
                    assert_eq!(user.failures, failures);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(ckr(charge(&mut world, "alice")), CKR_PIN_LOCKED);
        world.check();
    }

    #[test]
    fn the_fifth_attempt_may_still_be_the_right_one() {
        let mut world = World::cloudhsm();
        world.crypto_user("alice");
        for _ in 0..4 {
            assert!(charge(&mut world, "alice").is_ok());
        }
        world.login("alice", Role::CryptoUser);
        let user = world.state.user_by_name("alice").expect("alice");
        assert_eq!(user.failures, 0);
    }

    #[test]
    fn a_new_password_unlocks_and_ends_logins() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        for _ in 0..5 {
            assert!(charge(&mut world, "alice").is_ok());
        }
        let admin = world.admin();
        world.must(
            admin,
            Command::ChangePassword {
                name: "ALICE".to_owned(),
                role: Role::CryptoUser,
                verifier: verifier("new"),
            },
        );
        assert!(charge(&mut world, "alice").is_ok());
        assert_eq!(ckr(world.state.principal(alice)), cryptoki_sys::CKR_USER_NOT_LOGGED_IN);
        world.check();
    }

    #[test]
    fn a_password_that_changes_while_it_is_checked_opens_nothing() {
        let mut world = World::cloudhsm();
        world.crypto_user("alice");
        let Ok(Outcome::LoginCharged { user: Some(user) }) = charge(&mut world, "alice") else {
            panic!("alice is not known");
        };
        let admin = world.admin();
        world.must(
            admin,
            Command::ChangePassword {
                name: "alice".to_owned(),
                role: Role::CryptoUser,
                verifier: verifier("new"),
            },
        );
        for command in [
            Command::OpenLogin { user: user.id, epoch: user.epoch, client_key: [7; 32] },
            Command::RefundLogin { user: user.id, epoch: user.epoch },
        ] {
            assert_eq!(ckr(world.apply(Actor::Anonymous, command)), CKR_PIN_INCORRECT);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_like_a_known_one() {
        let mut world = World::cloudhsm();
        let before = world.state.users.iter().cloned().collect::<Vec<_>>();
        assert_eq!(charge(&mut world, "nobody"), Ok(Outcome::LoginCharged { user: None }));
        assert!(world.state.users().eq(before.iter()));
        // A name under another role, and users without a password, are unknown too.
        for (name, role) in
            [("admin", Role::CryptoUser), ("app_user", Role::ApplianceUser), ("", Role::Admin)]
        {
            let command = Command::ChargeLogin { name: name.to_owned(), role };
            let result = world.apply(Actor::Anonymous, command);
            assert_eq!(result, Ok(Outcome::LoginCharged { user: None }), "{name}");
        }
    }

    #[test]
    fn nobody_ends_another_users_login() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let bob = world.crypto_user("bob");
        let (Actor::Login(login), Actor::Login(own)) = (alice, bob) else { unreachable!() };
        let close = Command::CloseLogins { logins: vec![own, login] };
        assert!(world.apply(bob, close.clone()).is_err());
        assert!(world.apply(Actor::Anonymous, close.clone()).is_err());
        assert!(world.state.principal(alice).is_ok());
        assert!(world.state.principal(bob).is_ok());
        world.must(Actor::System, close.clone());
        assert!(world.state.principal(alice).is_err());
        // Logins that are gone are passed over.
        world.must(Actor::System, close);
        world.check();
    }

    #[test]
    fn a_login_that_began_apart_is_adopted_once_and_for_its_epoch_only() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let user = world.state.user_by_name("alice").expect("alice").clone();
        let id = LoginId(LoginId::APART_BIT | 5);
        let adopt =
            |login, epoch| Command::AdoptLogin { login, user: user.id, epoch, client_key: [7; 32] };
        assert!(charge(&mut world, "alice").is_ok());
        for actor in [alice, Actor::Anonymous] {
            assert!(world.apply(actor, adopt(id, user.epoch)).is_err());
        }
        assert!(world.apply(Actor::System, adopt(LoginId(5), user.epoch)).is_err());
        assert!(world.apply(Actor::System, adopt(id, user.epoch + 1)).is_err());
        assert!(world.state.principal(Actor::Login(id)).is_err());
        world.must(Actor::System, adopt(id, user.epoch));
        world.must(Actor::System, adopt(id, user.epoch));
        assert!(world.state.principal(Actor::Login(id)).is_ok());
        assert_eq!(world.state.user(user.id).expect("alice").failures, 0);
        assert_eq!(world.state.login(id).expect("adopted").client_key, [7; 32]);
        world.check();
    }

    #[test]
    fn a_login_is_seen_when_an_hsm_says_so() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let Actor::Login(login) = alice else { unreachable!() };
        let opened = world.state.login(login).expect("open").seen_ms;
        let see = Command::SeeLogins { logins: vec![login, LoginId(999_999)] };
        assert!(world.apply(alice, see.clone()).is_err());
        world.must(Actor::System, see);
        let seen = world.state.login(login).expect("open").seen_ms;
        assert!(seen >= opened && seen == world.state.time_ms());
        let many = Command::SeeLogins { logins: vec![login; SEEN_LOGINS_MAX + 1] };
        assert!(world.apply(Actor::System, many).is_err());
        world.check();
    }

    #[test]
    fn a_token_without_a_users_pin_says_so() {
        let (mut world, ..) = World::token();
        assert!(charge(&mut world, "user").is_ok());
        let so_epoch = world.state.user_by_name("so").expect("the SO").epoch;
        world.must(Actor::Anonymous, crate::testing::init_token(so_epoch));
        assert_eq!(ckr(charge(&mut world, "user")), CKR_USER_PIN_NOT_INITIALIZED);
    }
}
