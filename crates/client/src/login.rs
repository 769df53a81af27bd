//! Who is logged in: the ticket and the key that proves it.
//!
//! The password is gone once the HSM has answered. What stays is a ticket, which every HSM of the
//! cluster takes, but only with a signature over the connection that it is used on, by a key that was
//! made for this login and never leaves this process.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use strongroom_wire::{
    attach_statement,
    message::{Attach, Role},
};
use zeroize::Zeroizing;

use crate::Error;

/// A key that proves a ticket: one for each login.
pub(crate) struct ProofKey(Ed25519KeyPair);

impl ProofKey {
    pub(crate) fn generate() -> Result<Self, Error> {
        // Only the machine's random generator can fail here.
        Ed25519KeyPair::generate()
            .map(Self)
            .map_err(|_| Error::Connection("no random numbers for a login key".into()))
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }
}

/// One login.
pub(crate) struct Login {
    role: Role,
    ticket: Zeroizing<Vec<u8>>,
    key: ProofKey,
}

impl Login {
    pub(crate) fn new(role: Role, ticket: Vec<u8>, key: ProofKey) -> Self {
        Self { role, ticket: Zeroizing::new(ticket), key }
    }
}

/// The number of a login, or of the time without one: it rises with each login and logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// The client's login, shared by its connections.
pub(crate) struct Logins {
    generation: AtomicU64,
    current: Mutex<Option<Arc<Login>>>,
}

impl Logins {
    pub(crate) fn new() -> Self {
        Self { generation: AtomicU64::new(0), current: Mutex::new(None) }
    }

    /// What a connection must have attached with to be used now. One atomic load.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// The login and its generation, of one moment.
    pub(crate) fn current(&self) -> (Generation, Option<Arc<Login>>) {
        let current = self.lock();
        (self.generation(), current.clone())
    }

    pub(crate) fn role(&self) -> Option<Role> {
        self.lock().as_ref().map(|login| login.role)
    }

    pub(crate) fn begin(&self, login: Login) {
        self.set(&mut self.lock(), Some(Arc::new(login)));
    }

    /// Ends the login of `generation`; a later one stays.
    pub(crate) fn end(&self, generation: Generation) {
        let mut current = self.lock();
        if self.generation() == generation && current.is_some() {
            self.set(&mut current, None);
        }
    }

    /// Wipes the login where that is possible without waiting.
    pub(crate) fn forget(&self) {
        match self.current.try_lock() {
            Ok(mut current) => self.set(&mut current, None),
            Err(TryLockError::Poisoned(poisoned)) => self.set(&mut poisoned.into_inner(), None),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn set(&self, current: &mut Option<Arc<Login>>, login: Option<Arc<Login>>) {
        *current = login;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Login>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request that makes a connection one of `client_id`'s, under its login where there is one.
pub(crate) fn attach(client_id: &[u8; 16], binding: &[u8; 32], login: Option<&Login>) -> Attach {
    let (ticket, proof) = match login {
        None => (Vec::new(), Vec::new()),
        Some(login) => {
            let proof = login.key.0.sign(&attach_statement(binding, client_id));
            (login.ticket.to_vec(), proof.as_ref().to_vec())
        }
    };
    Attach { client_id: client_id.to_vec(), ticket, proof }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn login() -> Login {
        Login::new(Role::CryptoUser, b"ticket".to_vec(), ProofKey::generate().unwrap())
    }

    #[test]
    fn the_proof_is_for_one_connection_and_one_client() {
        let login = login();
        let public_key = login.key.public_key();
        let attach = attach(&[1; 16], &[2; 32], Some(&login));
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        key.verify(&attach_statement(&[2; 32], &[1; 16]), &attach.proof).unwrap();
        key.verify(&attach_statement(&[3; 32], &[1; 16]), &attach.proof).unwrap_err();
        key.verify(&attach_statement(&[2; 32], &[4; 16]), &attach.proof).unwrap_err();
    }

    #[test]
    fn an_old_login_that_ends_late_does_not_end_the_new_one() {
        let logins = Logins::new();
        logins.begin(login());
        let old = logins.generation();
        logins.begin(login());
        logins.end(old);
        assert_eq!(logins.role(), Some(Role::CryptoUser));
        logins.end(logins.generation());
        assert_eq!(logins.role(), None);
    }
}
