//! The HSM as the module sees it: one request, one answer.
//!
//! A trait, so that the module's own rules (sessions, operations, templates) are tested without a
//! process behind them. The one real implementation is [`strongroom_client::Client`].

use cryptoki_sys::*;
use strongroom_client::Client;
use strongroom_wire::message::{
    AttributeReply, Encrypt, EncryptedReply, FindObjects, FoundReply, GetAttributes, HsmInfoReply,
    MechanismReply, Operation, Outcome, Personality, Role, TokenInfoReply,
};

use crate::error::{Ckr, Result, unexpected_reply};

/// How the module names itself to the HSM, for its audit log.
pub(crate) const PROGRAM: &str = concat!("strongroom-pkcs11 ", env!("CARGO_PKG_VERSION"));

/// An HSM with this application's login.
pub(crate) trait Hsm: Send + Sync {
    /// Which programs the token is for.
    fn personality(&self) -> Personality;
    /// One request of session `session` (0: of none).
    fn call(&self, session: u64, operation: Operation) -> Result<Option<Outcome>>;
    /// Logs the application in.
    fn login(&self, user: &str, role: Role, password: &[u8]) -> Result<()>;
    /// Whether a password is right, without touching the application's login. Counts as an attempt.
    fn prove(&self, user: &str, role: Role, password: &[u8]) -> Result<()>;
    /// Logs the application out, on all its connections.
    fn logout(&self) -> Result<()>;
    /// Under which role the application is logged in.
    fn role(&self) -> Option<Role>;
    /// In a forked child: closes the copies of the parent's connections, in silence.
    fn forget(&self);
}

impl Hsm for Client {
    fn personality(&self) -> Personality {
        self.info().personality
    }

    fn call(&self, session: u64, operation: Operation) -> Result<Option<Outcome>> {
        Ok(Client::call(self, session, operation)?)
    }

    fn login(&self, user: &str, role: Role, password: &[u8]) -> Result<()> {
        Ok(Client::login(self, user, role, password)?)
    }

    fn prove(&self, user: &str, role: Role, password: &[u8]) -> Result<()> {
        // A client of its own, so that the attempt has its own login, which ends here.
        let client = Client::open(self.config().clone(), PROGRAM)?;
        client.login(user, role, password)?;
        Ok(client.logout()?)
    }

    fn logout(&self) -> Result<()> {
        Ok(Client::logout(self)?)
    }

    fn role(&self) -> Option<Role> {
        self.logged_in()
    }

    fn forget(&self) {
        Client::forget(self.clone());
    }
}

/// Requests by their answers' types.
impl dyn Hsm {
    /// A request that is answered by its status alone.
    pub(crate) fn tell(&self, session: u64, operation: Operation) -> Result<()> {
        self.call(session, operation).map(drop)
    }

    /// A request that makes one object.
    pub(crate) fn object(&self, session: u64, operation: Operation) -> Result<u64> {
        match self.call(session, operation)? {
            Some(Outcome::Object(reply)) => Ok(reply.handle),
            _ => Err(unexpected_reply()),
        }
    }

    /// A request that makes a key pair: its public and its private handle.
    pub(crate) fn pair(&self, session: u64, operation: Operation) -> Result<(u64, u64)> {
        match self.call(session, operation)? {
            Some(Outcome::Pair(reply)) => Ok((reply.public_handle, reply.private_handle)),
            _ => Err(unexpected_reply()),
        }
    }

    /// A request that is answered by bytes.
    pub(crate) fn data(&self, session: u64, operation: Operation) -> Result<Vec<u8>> {
        match self.call(session, operation)? {
            Some(Outcome::Data(mut reply) | Outcome::Signature(mut reply)) => {
                Ok(std::mem::take(&mut reply.data))
            }
            _ => Err(unexpected_reply()),
        }
    }

    /// C_Encrypt.
    pub(crate) fn encrypt(&self, session: u64, request: Encrypt) -> Result<EncryptedReply> {
        match self.call(session, Operation::Encrypt(request))? {
            Some(Outcome::Encrypted(reply)) => Ok(reply),
            _ => Err(unexpected_reply()),
        }
    }

    /// C_GetAttributeValue: one reply for each of `kinds`, in their order.
    pub(crate) fn attributes(
        &self,
        session: u64,
        handle: u64,
        kinds: Vec<u64>,
    ) -> Result<Vec<AttributeReply>> {
        let asked = kinds.len();
        let request = Operation::GetAttributes(GetAttributes { handle, kinds });
        match self.call(session, request)? {
            Some(Outcome::Attributes(reply)) if reply.attributes.len() == asked => {
                Ok(reply.attributes)
            }
            _ => Err(unexpected_reply()),
        }
    }

    /// One page of a search.
    pub(crate) fn find(&self, session: u64, request: FindObjects) -> Result<FoundReply> {
        match self.call(session, Operation::FindObjects(request))? {
            Some(Outcome::Found(reply)) => Ok(reply),
            _ => Err(unexpected_reply()),
        }
    }

    /// The mechanisms that the HSM offers.
    pub(crate) fn mechanisms(&self) -> Result<Vec<MechanismReply>> {
        let request = Operation::ListMechanisms(strongroom_wire::message::ListMechanisms {});
        match self.call(0, request)? {
            Some(Outcome::Mechanisms(reply)) => Ok(reply.mechanisms),
            _ => Err(unexpected_reply()),
        }
    }

    /// What C_GetTokenInfo shows.
    pub(crate) fn token_info(&self) -> Result<TokenInfoReply> {
        let request = Operation::TokenInfo(strongroom_wire::message::TokenInfo {});
        match self.call(0, request)? {
            Some(Outcome::Token(reply)) => Ok(reply),
            _ => Err(unexpected_reply()),
        }
    }

    /// What the HSM is.
    pub(crate) fn hsm_info(&self) -> Result<HsmInfoReply> {
        let request = Operation::HsmInfo(strongroom_wire::message::HsmInfo {});
        match self.call(0, request)? {
            Some(Outcome::HsmInfo(reply)) => Ok(reply),
            _ => Err(unexpected_reply()),
        }
    }
}

/// The HSM's word for a handle that is not there, as a function that takes a key says it.
pub(crate) fn key_handle(error: Ckr) -> Ckr {
    match error {
        Ckr(CKR_OBJECT_HANDLE_INVALID) => Ckr(CKR_KEY_HANDLE_INVALID),
        other => other,
    }
}
