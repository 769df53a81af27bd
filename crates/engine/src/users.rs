//! Users: created, deleted, listed, given passwords; and what the HSM says of itself.

use cryptoki_sys::*;
use strongroom_vault::{Action, Actor, Command, Outcome, PasswordVerifier, Personality, Role};
use strongroom_wire::limits;
use strongroom_wire::message::{
    self, ActivateCluster, ChangePassword, CreateUser, DeleteUser, HsmInfoReply, MechanismReply,
    MechanismsReply, UserReply, UsersReply,
};

use crate::connection::Connection;
use crate::error::Error;
use crate::login::{requested_role, wire_role};
use crate::password;

impl Connection {
    /// The first admin's password makes the cluster active.
    pub(crate) fn activate_cluster(&mut self, request: &ActivateCluster) -> Result<(), Error> {
        self.only(Personality::CloudHsm, "a token is initialised, not activated")?;
        if self.already_done()? {
            return Ok(());
        }
        let verifier = self.new_verifier(&request.password)?;
        self.change(Command::ActivateCluster { verifier })?;
        Ok(())
    }

    pub(crate) fn create_user(&mut self, request: &CreateUser) -> Result<(), Error> {
        self.only(Personality::CloudHsm, "a token has one user, made by C_InitPIN")?;
        if self.already_done()? {
            return Ok(());
        }
        let role = requested_role(request.role)?;
        if !matches!(role, Role::Admin | Role::CryptoUser) {
            return Err(Error::caller(
                CKR_USER_TYPE_INVALID,
                "admins and crypto users can be created",
            ));
        }
        check_name(&request.user)?;
        self.may(&Action::ManageUsers)?;
        let verifier = self.new_verifier(&request.password)?;
        let name = request.user.to_ascii_lowercase();
        self.change(Command::CreateUser { name, role, verifier })?;
        Ok(())
    }

    pub(crate) fn delete_user(&mut self, request: &DeleteUser) -> Result<(), Error> {
        self.only(Personality::CloudHsm, "a token's users go with C_InitToken")?;
        if self.already_done()? {
            return Ok(());
        }
        let role = requested_role(request.role)?;
        check_name(&request.user)?;
        self.may(&Action::ManageUsers)?;
        let name = request.user.to_ascii_lowercase();
        self.change(Command::DeleteUser { name, role })?;
        Ok(())
    }

    /// A new password: by an admin, by the user, or (C_SetPIN) by whoever knows the old one.
    pub(crate) fn change_password(&mut self, request: &ChangePassword) -> Result<(), Error> {
        if self.already_done()? {
            return Ok(());
        }
        let role = requested_role(request.role)?;
        let name = request.user.to_ascii_lowercase();
        password::check_rules(self.personality(), &request.password)?;
        let Some(old) = &request.old_password else {
            // "C_SetPIN modifies the PIN of the user that is currently logged in", and wants the old
            // one (PKCS#11 2.40, 5.5).
            self.not(Personality::Token, "give the old PIN")?;
            self.view(|state, who| {
                // Whether there is such a user is for the change to say.
                match state.user_by_name(&name).filter(|user| user.role == role) {
                    Some(user) => Ok(state.authorise(who, &Action::ChangePassword(user))?),
                    None => Ok(state.authorise(who, &Action::ManageUsers)?),
                }
            })?;
            let verifier = self.new_verifier(&request.password)?;
            self.change(Command::ChangePassword { name, role, verifier })?;
            return Ok(());
        };
        let user = self.prove(&name, role, old)?;
        let verifier = self.new_verifier(&request.password)?;
        let own = self.view(|_, who| Ok(who.user() == Some(user.id)))?;
        let command = Command::ChangePassword { name, role, verifier };
        if own {
            // The login goes on where PKCS#11 wants that: the vault knows.
            let refund = Command::RefundLogin { user: user.id, epoch: user.epoch };
            self.step(Actor::Anonymous, refund)?;
            self.change(command)?;
            return Ok(());
        }
        // The old password was proved, which is what a login is: the change is made on its authority.
        // Nobody has a ticket of it, or the key.
        let mut client_key = [0; 32];
        strongroom_crypto::random(&mut client_key)?;
        let open = Command::OpenLogin { user: user.id, epoch: user.epoch, client_key };
        let Outcome::LoginOpened(login) = self.step(Actor::Anonymous, open)? else {
            return Err(Error::Bug("login"));
        };
        let changed = self.change_as(Actor::Login(login), command);
        let closed = self.step(Actor::Login(login), Command::CloseLogins { logins: vec![login] });
        changed?;
        match closed {
            // The change has ended it.
            Err(error) if error.ckr() == CKR_USER_NOT_LOGGED_IN => Ok(()),
            closed => closed.map(drop),
        }
    }

    /// Everybody may know the users (cloudhsm-cli `user list` needs no login).
    pub(crate) fn list_users(&mut self) -> Result<message::Outcome, Error> {
        // A user who is not among them is missing.
        self.engine.read_barrier(self.call.seen)?;
        let users = self.glance(|state| {
            state
                .users()
                .map(|user| UserReply {
                    user: user.name.clone(),
                    role: wire_role(user.role).into(),
                    locked: user.failures >= limits::LOGIN_FAILURES_MAX,
                    id: user.id.0,
                    failures: user.failures,
                })
                .collect()
        });
        Ok(message::Outcome::Users(UsersReply { users }))
    }

    pub(crate) fn hsm_info(&mut self) -> Result<message::Outcome, Error> {
        let number = |text: &str| text.parse().unwrap_or(0);
        Ok(message::Outcome::HsmInfo(HsmInfoReply {
            vendor: "Strongroom".to_owned(),
            model: "Strongroom".to_owned(),
            serial_number: self.engine.identity.hsm_id.clone(),
            version_major: number(env!("CARGO_PKG_VERSION_MAJOR")),
            version_minor: number(env!("CARGO_PKG_VERSION_MINOR")),
            version_build: number(env!("CARGO_PKG_VERSION_PATCH")),
            fips_mode: self.engine.identity.fips_mode,
        }))
    }

    pub(crate) fn list_mechanisms(&self) -> message::Outcome {
        let mechanisms = strongroom_crypto::mechanism::MECHANISMS
            .iter()
            .map(|mechanism| MechanismReply {
                kind: mechanism.kind,
                min_key_size: match mechanism.key_type {
                    Some(CKK_RSA) => self.rsa_bits_min().into(),
                    _ => mechanism.min_size,
                },
                max_key_size: mechanism.max_size,
                flags: crate::operations::offered(mechanism, self.engine.identity.fips_mode),
            })
            .filter(|mechanism| mechanism.flags != 0)
            .collect();
        message::Outcome::Mechanisms(MechanismsReply { mechanisms })
    }

    /// A verifier for a new password that keeps the rules.
    pub(crate) fn new_verifier(&mut self, password: &[u8]) -> Result<PasswordVerifier, Error> {
        password::check_rules(self.personality(), password)?;
        self.engine.passwords.turn()?.verifier(password)
    }

    /// Whether the vault allows an action, before work is done for it.
    pub(crate) fn may(&mut self, action: &Action<'_>) -> Result<(), Error> {
        self.view(|state, who| Ok(state.authorise(who, action)?))
    }

    /// Refuses what the token's personality does not have.
    pub(crate) fn only(&mut self, personality: Personality, why: &str) -> Result<(), Error> {
        if self.personality() == personality {
            Ok(())
        } else {
            Err(Error::caller(CKR_FUNCTION_NOT_SUPPORTED, why))
        }
    }

    fn not(&mut self, personality: Personality, why: &str) -> Result<(), Error> {
        if self.personality() == personality {
            Err(Error::caller(CKR_PIN_INCORRECT, why))
        } else {
            Ok(())
        }
    }
}

/// "User name: ≤ 31 characters, only special character `_`" (CloudHSM's quotas).
fn check_name(name: &str) -> Result<(), Error> {
    let good = (1..=limits::USER_NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if good {
        Ok(())
    } else {
        Err(Error::arguments(format!(
            "a user name has 1 to {} letters, digits and _",
            limits::USER_NAME_CHARS_MAX
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_short_and_plain() {
        for good in ["a", "crypto_user_1", "Alice", &"x".repeat(31)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a:b", "a b", "ü", "a-b", &"x".repeat(32)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
