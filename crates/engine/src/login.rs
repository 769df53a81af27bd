//! Login and logout.
//!
//! An attempt is charged, durably and for the whole cluster, before its hash is computed, and given
//! back when the hash was right: a crash, or many HSMs asked at once, win no guesses. An unknown user,
//! a wrong role and a wrong password cost the same work and give the same error.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_vault::{Actor, Command, LoginId, Outcome, Personality, Phase, Role, User};
use strongroom_wire::limits;
use strongroom_wire::message::{self, Login, LoginReply};

use crate::connection::Connection;
use crate::error::Error;
use crate::ticket::Claim;

/// What is told of every login that fails.
pub(crate) const WRONG: &str = "user name, role or password is wrong";

impl Connection {
    /// C_Login: proves a password, gives a ticket. The connection itself stays what it is: the
    /// client attaches with the ticket.
    pub(crate) fn log_in(&mut self, login: &Login) -> Result<message::Outcome, Error> {
        let public_key: [u8; 32] = login
            .client_public_key
            .as_slice()
            .try_into()
            .map_err(|_| Error::arguments("an Ed25519 public key has 32 bytes"))?;
        let role = requested_role(login.role)?;
        self.check_pin_is_set(role)?;
        let user = match self.prove(&login.user, role, &login.password) {
            // Applications start then, too.
            Err(Error::CutOff(_)) => return self.log_in_apart(login, role, public_key),
            user => user?,
        };
        let open = Command::OpenLogin { user: user.id, epoch: user.epoch, client_key: public_key };
        let Outcome::LoginOpened(id) = self.step(Actor::Anonymous, open)? else {
            return Err(Error::Bug("login"));
        };
        self.give_ticket(id, &user, public_key)
    }

    /// The ticket of a login that was opened.
    pub(crate) fn give_ticket(
        &mut self,
        login: LoginId,
        user: &User,
        client_key: [u8; 32],
    ) -> Result<message::Outcome, Error> {
        let claim = Claim { login, user: user.id, role: user.role, client_key };
        let domain = self.glance(strongroom_vault::State::masking_domain);
        let ticket = self.engine.tickets.issue(claim, &domain)?;
        let role = wire_role(user.role).into();
        Ok(message::Outcome::Login(LoginReply { ticket, user_id: user.id.0, role }))
    }

    /// C_Login: "CKR_USER_PIN_NOT_INITIALIZED: … the normal user's PIN has not yet been initialized
    /// with C_InitPIN" (PKCS#11 2.40, 5.1.3). C_GetTokenInfo tells everybody the same.
    fn check_pin_is_set(&mut self, role: Role) -> Result<(), Error> {
        let missing = self.glance(|state| {
            state.personality() == Personality::Token
                && state.phase() == Phase::Active
                && role == Role::CryptoUser
                && state.user_by_name(crate::token::USER).is_none_or(|u| u.verifier.is_none())
        });
        if missing {
            return Err(Error::caller(
                CKR_USER_PIN_NOT_INITIALIZED,
                "the SO has not set the user's PIN yet",
            ));
        }
        Ok(())
    }

    /// Charges an attempt and checks the password; the user as charged. What the attempt proves is
    /// for the caller to use, by `OpenLogin` or `RefundLogin`, which also give the charge back.
    ///
    /// # Errors
    /// CKR_PIN_INCORRECT, CKR_PIN_LOCKED.
    pub(crate) fn prove(&mut self, name: &str, role: Role, password: &[u8]) -> Result<User, Error> {
        let engine = Arc::clone(&self.engine);
        // Failures that were counted here while this HSM was cut off count.
        engine.settle()?;
        let turn = engine.passwords.turn()?;
        let user = if name.chars().count() > limits::USER_NAME_CHARS_MAX {
            None
        } else {
            let charge = Command::ChargeLogin { name: name.to_owned(), role };
            match self.step(Actor::Anonymous, charge)? {
                Outcome::LoginCharged { user } => user,
                _ => return Err(Error::Bug("charge")),
            }
        };
        let verifier = user.as_ref().and_then(|user| user.verifier.as_ref());
        let right = turn.check(password, verifier)?;
        drop(turn);
        match user {
            Some(user) if right && user.role == role => Ok(user),
            _ => {
                tracing::info!(role = ?role, "a login failed");
                Err(Error::caller(CKR_PIN_INCORRECT, WRONG))
            }
        }
    }

    /// C_Logout: ends the login on all of the client's connections, and the private session objects
    /// that were made under it ("any of the application's private session objects are destroyed",
    /// PKCS#11 2.40, 5.6).
    pub(crate) fn log_out(&mut self) -> Result<(), Error> {
        let login = Arc::clone(self.login().ok_or_else(Error::not_logged_in)?);
        // Here first, so that nothing is done under it whatever comes of the proposal.
        login.end();
        self.hot.clear();
        let objects = &self.client()?.objects;
        objects.destroy_where(|o| o.is_private() && o.login == Some(login.id));
        if self.engine.apart.end(login.id) {
            return Ok(());
        }
        let close = Command::CloseLogins { logins: vec![login.id] };
        match self.step(Actor::Login(login.id), close) {
            // It had ended already: the password changed, or the user is gone.
            Err(error) if error.ckr() == CKR_USER_NOT_LOGGED_IN => Ok(()),
            result => result.map(drop),
        }
    }
}

/// A role that one can have a password for.
pub(crate) fn requested_role(role: i32) -> Result<Role, Error> {
    match message::Role::try_from(role) {
        Ok(message::Role::Admin) => Ok(Role::Admin),
        Ok(message::Role::CryptoUser) => Ok(Role::CryptoUser),
        Ok(message::Role::UnactivatedAdmin) => Ok(Role::UnactivatedAdmin),
        Ok(message::Role::ApplianceUser) => Ok(Role::ApplianceUser),
        Ok(message::Role::Unspecified) | Err(_) => {
            Err(Error::caller(CKR_USER_TYPE_INVALID, "there is no such role"))
        }
    }
}

/// A vault's role on the wire.
pub(crate) fn wire_role(role: Role) -> message::Role {
    match role {
        Role::UnactivatedAdmin => message::Role::UnactivatedAdmin,
        Role::Admin => message::Role::Admin,
        Role::CryptoUser => message::Role::CryptoUser,
        Role::ApplianceUser => message::Role::ApplianceUser,
    }
}
