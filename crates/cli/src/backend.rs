//! The thin line between the commands and the HSM: what they may ask for, and nothing else.
//!
//! The program puts a [`Client`] behind it, the tests an HSM in memory.

use strongroom_client::Client;
use strongroom_wire::message::{Operation, Outcome, Role};

use crate::error::Error;

/// The session that the CLI's session keys belong to: they live as long as the process.
const SESSION: u64 = 1;

/// A cluster, as far as commands see it.
pub(crate) trait Backend {
    /// `cluster-…`.
    fn cluster_id(&self) -> String;
    /// One request, one answer.
    fn call(&mut self, operation: Operation) -> Result<Option<Outcome>, Error>;
    /// Proves `password`; later calls act as this user.
    fn login(&mut self, user: &str, role: Role, password: &[u8]) -> Result<(), Error>;
    /// Ends the login.
    fn logout(&mut self) -> Result<(), Error>;
}

impl Backend for Client {
    fn cluster_id(&self) -> String {
        self.info().cluster_id.clone()
    }

    fn call(&mut self, operation: Operation) -> Result<Option<Outcome>, Error> {
        Ok(Client::call(self, SESSION, operation)?)
    }

    fn login(&mut self, user: &str, role: Role, password: &[u8]) -> Result<(), Error> {
        Ok(Client::login(self, user, role, password)?)
    }

    fn logout(&mut self) -> Result<(), Error> {
        Ok(Client::logout(self)?)
    }
}

impl From<strongroom_client::Error> for Error {
    fn from(error: strongroom_client::Error) -> Self {
        match error {
            strongroom_client::Error::Hsm { status, message } if !message.is_empty() => {
                Self::Hsm { ckr: status, message }
            }
            strongroom_client::Error::Hsm { status, .. } => {
                Self::Hsm { ckr: status, message: format!("The HSM answered 0x{status:08x}") }
            }
            other => Self::Connection(other.to_string()),
        }
    }
}
