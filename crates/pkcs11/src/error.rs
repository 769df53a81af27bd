//! The module's error: a CKR_ value, which is all that PKCS#11 lets a caller see.
//!
//! What went wrong in words goes to the log where the error arises, never into the value.

use cryptoki_sys::*;
use strongroom_client::Error;

/// A CKR_ value other than CKR_OK.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ckr(pub(crate) CK_RV);

/// What the module's functions give.
pub(crate) type Result<T> = std::result::Result<T, Ckr>;

impl std::fmt::Debug for Ckr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CKR {:#x}", self.0)
    }
}

/// An error of the client: logged in words, by whose fault it is, and reduced to its CKR_ value.
impl From<Error> for Ckr {
    fn from(error: Error) -> Self {
        let ckr = CK_RV::try_from(error.ckr()).unwrap_or(CKR_GENERAL_ERROR);
        match error {
            // The caller's fault or choice; the caller gets the code.
            Error::Hsm { .. } => tracing::debug!("refused with CKR {ckr:#x}: {error}"),
            _ => tracing::error!("{error}"),
        }
        Self(ckr)
    }
}

/// The HSM answered with something else than the request asks for: a bug of one side.
pub(crate) fn unexpected_reply() -> Ckr {
    tracing::error!("the HSM's reply does not fit the request");
    Ckr(CKR_DEVICE_ERROR)
}
