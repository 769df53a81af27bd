//! Users, their passwords' verifiers and their logins.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{LoginId, UserId};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `admin` before activation.
    UnactivatedAdmin = 1,
    /// Manages users (CloudHSM's CO, a token's SO).
    Admin = 2,
    /// Owns and uses keys (CloudHSM's CU, a token's user).
    CryptoUser = 3,
    /// The service's own (CloudHSM's AU).
    ApplianceUser = 4,
}

/// A password's memory-hard hash with its salt and parameters, as a PHC string. Not a secret of the
/// first rank, but one that invites guessing: never logged, wiped on drop, compared by the engine.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PasswordVerifier(pub Vec<u8>);

impl std::fmt::Debug for PasswordVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordVerifier(..)")
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's number, never used again after the user is deleted.
    pub id: UserId,
    /// Lower case; unique over all roles.
    pub name: String,
    /// Role.
    pub role: Role,
    /// `None` until a password is set (the unactivated admin, the appliance user).
    pub verifier: Option<PasswordVerifier>,
    /// Logins charged and not refunded since the last good one.
    pub failures: u32,
    /// Rises when the password, the role or the lock changes: older tickets end.
    pub epoch: u64,
}

/// An open login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its number.
    pub id: LoginId,
    /// Whose.
    pub user: UserId,
    /// The user's epoch when it began: the login ends when the user's is higher.
    pub epoch: u64,
    /// The client's Ed25519 public key, which proves the login on each connection. It is here and not
    /// in the ticket alone: so whoever has an old ticket key, as a removed HSM does, forges nothing.
    pub client_key: [u8; 32],
    /// When an HSM last said that its client is there, in applied time.
    pub seen_ms: u64,
}
