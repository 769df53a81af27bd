//! What the commands do: each asks the HSM through a [`Backend`] and answers with the `data` of the
//! output. Passwords come from a [`Prompt`].

mod cluster;
mod crypto;
mod generate;
mod keys;
mod users;

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::error::Error;
use crate::grammar::{Command, Credentials, KeyCommand, Password, Role, UserCommand};

/// Where passwords come from.
pub(crate) trait Prompt {
    /// Asks for one line, which is not shown.
    fn password(&mut self, prompt: &str) -> Result<Password, Error>;
}

/// A cluster and the login to it.
pub(crate) struct Session {
    backend: Box<dyn Backend>,
    /// Under which role somebody is logged in.
    role: Option<Role>,
}

impl Session {
    /// Nobody is logged in yet.
    pub(crate) fn new(backend: Box<dyn Backend>) -> Self {
        Self { backend, role: None }
    }

    /// An error where `wanted` is another cluster than this one.
    pub(crate) fn check_cluster(&self, wanted: Option<&str>) -> Result<(), Error> {
        let here = self.backend.cluster_id();
        match wanted {
            Some(id) if id != here => Err(Error::usage(format!(
                "Cluster {id} is not configured; the configured one is {here}"
            ))),
            _ => Ok(()),
        }
    }

    /// Logs in; a login before it ends.
    pub(crate) fn login(
        &mut self,
        user: &str,
        role: Role,
        password: &Password,
    ) -> Result<(), Error> {
        self.close();
        self.backend.login(user, role.wire(), password.as_bytes())?;
        self.role = Some(role);
        Ok(())
    }

    /// Runs one command.
    pub(crate) fn run(
        &mut self,
        command: &Command,
        prompt: &mut dyn Prompt,
    ) -> Result<Value, Error> {
        if command.needs_login() && self.role.is_none() {
            return Err(Error::usage(
                "Not logged in. Use login in an interactive session, or set CLOUDHSM_ROLE and \
                 CLOUDHSM_PIN=user:password",
            ));
        }
        match command {
            Command::Login(credentials) => {
                let password = asked(credentials, prompt, false)?;
                self.login(&credentials.user.username, credentials.user.role, &password)?;
                Ok(users::shown(&credentials.user))
            }
            Command::Logout => {
                self.backend.logout()?;
                self.role = None;
                Ok(json!("Logout successful"))
            }
            Command::Cluster(command) => cluster::run(self, command, prompt),
            Command::User(UserCommand::List) => users::list(self),
            Command::User(UserCommand::Create(credentials)) => {
                users::create(self, credentials, &asked(credentials, prompt, true)?)
            }
            Command::User(UserCommand::ChangePassword(credentials)) => {
                users::change_password(self, credentials, &asked(credentials, prompt, true)?)
            }
            Command::User(UserCommand::Delete(user)) => users::delete(self, user),
            Command::Key(KeyCommand::GenerateSymmetric(command)) => {
                generate::symmetric(self, command)
            }
            Command::Key(KeyCommand::GenerateAsymmetricPair(command)) => {
                generate::pair(self, command)
            }
            Command::Key(command) => keys::run(self, command),
            Command::Crypto(command) => crypto::run(self, command),
        }
    }

    /// Ends the login, if there is one. The HSM's objection is not the caller's trouble.
    pub(crate) fn close(&mut self) {
        if self.role.take().is_some() {
            let _ = self.backend.logout();
        }
    }
}

/// The password given on the command line, or asked for.
fn asked(credentials: &Credentials, prompt: &mut dyn Prompt, new: bool) -> Result<Password, Error> {
    match &credentials.password.password {
        Some(given) => Ok(given.clone()),
        None if new => confirmed(prompt),
        None => prompt.password("Enter password: "),
    }
}

/// A new password, asked for twice.
fn confirmed(prompt: &mut dyn Prompt) -> Result<Password, Error> {
    let first = prompt.password("Enter password: ")?;
    let again = prompt.password("Confirm password: ")?;
    // Both come from the same person: nothing can be learnt from how long this takes.
    if first.as_bytes() == again.as_bytes() {
        Ok(first)
    } else {
        Err(Error::usage("The passwords differ"))
    }
}
