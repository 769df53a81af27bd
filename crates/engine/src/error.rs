//! Why the engine refuses, named by whose fault it is, and the one table of PKCS#11 codes.

use cryptoki_sys::*;
use strongroom_vault::{Refusal, ReplicationError};
use strongroom_wire::message::Retry;

/// Why a request got no answer but a status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The caller's fault: the request can't be done as it stands.
    #[error("{message}")]
    Caller {
        /// CKR_…
        ckr: u64,
        /// What was wrong and what to do, without secrets.
        message: String,
    },
    /// The state does not allow it: permissions, attribute rules, limits of the vault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller's fault or the backend's, as the mechanism found it.
    #[error(transparent)]
    Crypto(#[from] strongroom_crypto::Error),
    /// The cluster's or the store's fault: nothing was committed, or it is not known.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The cluster's fault: this HSM is behind what the client has seen already.
    #[error("this HSM has not caught up with what you have seen; ask another one, or again")]
    Behind,
    /// The cluster's fault: this HSM is cut off from the majority. Nothing was done.
    #[error("{0}")]
    CutOff(String),
    /// Nobody's: others are before this caller.
    #[error("too many passwords are being checked; try again later")]
    Busy,
    /// Storage's fault: failed logins can't be counted, so none is tried.
    #[error("failed logins can't be counted on this HSM; ask another one")]
    Counters,
    /// Storage's fault: a sealed record is missing, does not open, or is not what the vault says.
    #[error("a stored record failed its check: {0}")]
    Damaged(&'static str),
    /// The backend's known-answer tests failed: no key is used.
    #[error("the self-test of the algorithms failed")]
    SelfTest,
    /// Ours.
    #[error("internal error: {0}")]
    Bug(&'static str),
}

impl Error {
    /// The caller's fault, with PKCS#11's code and words for people.
    pub(crate) fn caller(ckr: CK_RV, message: impl Into<String>) -> Self {
        Self::Caller { ckr, message: message.into() }
    }

    /// The request is malformed.
    pub(crate) fn arguments(message: impl Into<String>) -> Self {
        Self::caller(CKR_ARGUMENTS_BAD, message)
    }

    /// The mechanism's parameter is not what the mechanism takes.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::caller(CKR_MECHANISM_PARAM_INVALID, message)
    }

    /// The request needs a login.
    pub(crate) fn not_logged_in() -> Self {
        Refusal::not_logged_in().into()
    }

    /// The CKR_ code that an application sees.
    pub(crate) fn ckr(&self) -> u64 {
        match self {
            Self::Caller { ckr, .. } => *ckr,
            Self::Refused(refusal) => refusal.ckr,
            Self::Crypto(error) => error.ckr(),
            Self::Replication(_)
            | Self::Behind
            | Self::CutOff(_)
            | Self::Counters
            | Self::Damaged(_)
            | Self::SelfTest => CKR_DEVICE_ERROR,
            Self::Busy => CKR_FUNCTION_FAILED,
            Self::Bug(_) => CKR_GENERAL_ERROR,
        }
    }

    /// Whether the same request may do better, and where.
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Replication(
                ReplicationError::Stopping
                | ReplicationError::CutOff
                | ReplicationError::Damaged(_),
            )
            | Self::Behind
            | Self::CutOff(_)
            | Self::Busy
            | Self::Counters
            | Self::Damaged(_)
            | Self::SelfTest => Retry::Elsewhere,
            // It may have happened, or the disk failed before that was known.
            Self::Replication(_) => Retry::Again,
            Self::Caller { .. } | Self::Refused(_) | Self::Crypto(_) | Self::Bug(_) => Retry::Never,
        }
    }

    /// The same error under another code where it has the code `from`: a handle that is invalid is
    /// CKR_OBJECT_HANDLE_INVALID to C_GetAttributeValue, CKR_KEY_HANDLE_INVALID to C_SignInit and
    /// CKR_WRAPPING_KEY_HANDLE_INVALID to C_WrapKey.
    pub(crate) fn renamed(self, from: CK_RV, to: CK_RV) -> Self {
        if self.ckr() == from { Self::caller(to, self.to_string()) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_code_and_words() {
        let error = Error::from(Refusal::no_such_object());
        assert_eq!(error.ckr(), CKR_OBJECT_HANDLE_INVALID);
        let renamed = error.renamed(CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID);
        assert_eq!(renamed.ckr(), CKR_KEY_HANDLE_INVALID);
        assert_eq!(renamed.to_string(), Refusal::no_such_object().message);
    }

    #[test]
    fn what_another_hsm_may_do_is_not_final() {
        let stopping = Error::from(ReplicationError::Stopping);
        for error in [stopping, Error::Behind, Error::CutOff("why".to_owned()), Error::SelfTest] {
            assert_eq!((error.ckr(), error.retry()), (CKR_DEVICE_ERROR, Retry::Elsewhere));
        }
        assert_eq!(Error::from(ReplicationError::NoQuorum).retry(), Retry::Again);
        assert_eq!(Error::not_logged_in().retry(), Retry::Never);
    }

    #[test]
    fn an_error_of_another_code_is_not_renamed() {
        let error = Error::not_logged_in();
        let renamed = error.renamed(CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID);
        assert_eq!(renamed.ckr(), CKR_USER_NOT_LOGGED_IN);
    }
}
