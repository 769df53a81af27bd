//! Logins: charged before the password is checked, opened or given back after.

use cryptoki_sys::{
    CKR_FUNCTION_FAILED, CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_USER_PIN_NOT_INITIALIZED,
};

use super::Changes;
use crate::limits::{LOGIN_FAILURES_MAX, LOGINS_MAX};
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
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::LogIn)?;
        if self.logins.len() >= LOGINS_MAX {
            return Err(Refusal::new(
                CKR_FUNCTION_FAILED,
                "the cluster has 65,536 open logins; log out where they are not needed",
            ));
        }
        self.refund(user, epoch, changes)?;
        let id = LoginId::from(self.progress.applied);
        self.put_login(Login { id, user, epoch }, changes);
        Ok(Outcome::LoginOpened(id))
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
