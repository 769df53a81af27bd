//! What goes wrong at the client, by whose fault it is.

use cryptoki_sys::{
    CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED, CKR_GENERAL_ERROR, CKR_TOKEN_NOT_PRESENT,
};

/// Why a request has no answer. No text holds a password, a value or a ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The HSM refuses: the caller's fault or the state's. A retry gets the same answer.
    #[error("{message}")]
    Hsm {
        /// CKR_…, never CKR_OK.
        status: u64,
        /// What was wrong and what to do.
        message: String,
    },
    /// The caller's fault, seen before anything was sent.
    #[error("{message}")]
    Caller {
        /// CKR_…
        status: u64,
        /// What was wrong and what to do.
        message: String,
    },
    /// The configuration's fault. Names the file and the key.
    #[error("configuration: {0}")]
    Config(String),
    /// What answers is not an HSM of the configured cluster. Names the check that failed. Nothing
    /// was sent but a TLS handshake.
    #[error("not trusted: {0}")]
    Trust(String),
    /// No HSM answered within the client's patience.
    #[error("no connection to the HSM: {0}")]
    Connection(String),
    /// The HSM answered with something that this version does not understand.
    #[error("the HSM's answer is not understood: {0}")]
    Protocol(String),
    /// The local HSM could not be started.
    #[error("the local HSM does not start: {0}")]
    Start(String),
}

impl Error {
    /// The value that a PKCS#11 function returns for this error.
    #[must_use]
    pub fn ckr(&self) -> u64 {
        match self {
            Self::Hsm { status, .. } | Self::Caller { status, .. } => *status,
            Self::Config(_) => CKR_FUNCTION_FAILED,
            // PKCS#11 2.40, section 6.1: "CKR_DEVICE_ERROR: Some problem has occurred with the
            // token and/or slot."
            Self::Trust(_) | Self::Connection(_) => CKR_DEVICE_ERROR,
            Self::Protocol(_) => CKR_GENERAL_ERROR,
            Self::Start(_) => CKR_TOKEN_NOT_PRESENT,
        }
    }

    pub(crate) fn caller(status: u64, message: impl Into<String>) -> Self {
        Self::Caller { status, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_maps_to_success() {
        let errors = [
            Error::Config(String::new()),
            Error::Trust(String::new()),
            Error::Connection(String::new()),
            Error::Protocol(String::new()),
            Error::Start(String::new()),
        ];
        assert!(errors.iter().all(|error| error.ckr() != 0));
    }
}
