//! Why the vault refuses, each with the PKCS#11 code that an application sees.

use cryptoki_sys::*;

/// A refusal by the caller's fault or the state's. Deterministic: a retry of the same request gets
/// the same one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// CKR_…
    pub ckr: u64,
    /// What was wrong and what to do, without secrets.
    pub message: String,
}

impl Refusal {
    /// A refusal with PKCS#11's code and words for people.
    #[must_use]
    pub fn new(ckr: CK_RV, message: impl Into<String>) -> Self {
        Self { ckr, message: message.into() }
    }

    /// No object of this handle that the caller may see.
    #[must_use]
    pub fn no_such_object() -> Self {
        Self::new(CKR_OBJECT_HANDLE_INVALID, "no object has this handle, or it is not yours to see")
    }

    /// The request needs a login.
    #[must_use]
    pub fn not_logged_in() -> Self {
        Self::new(CKR_USER_NOT_LOGGED_IN, "log in first")
    }

    /// The login has ended.
    #[must_use]
    pub fn login_ended() -> Self {
        Self::new(
            CKR_USER_NOT_LOGGED_IN,
            "the login has ended: it was closed, or the user or its password has changed; log in \
             again",
        )
    }
}
