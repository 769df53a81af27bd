//! The operations that a session has under way, and when they end.
//!
//! PKCS#11 2.40, section 5.2: a call that asks for a length (a null buffer), and one whose buffer
//! is too small, leave the operation as it is; every other error ends it, and so does success of
//! the call that finishes it.

use cryptoki_sys::*;

use crate::cipher::Cipher;
use crate::digest::Digest;
use crate::error::{Ckr, Result};
use crate::message::Messages;
use crate::message_sign;
use crate::object::Search;
use crate::sign::Signing;
use crate::verify::Given;

/// One session's operations: at most one of each kind.
#[derive(Default)]
pub(crate) struct Operations {
    /// C_FindObjectsInit.
    pub(crate) search: Option<Search>,
    /// C_EncryptInit.
    pub(crate) encrypt: Option<Cipher>,
    /// C_DecryptInit.
    pub(crate) decrypt: Option<Cipher>,
    /// C_MessageEncryptInit.
    pub(crate) message_encrypt: Option<Messages>,
    /// C_MessageDecryptInit.
    pub(crate) message_decrypt: Option<Messages>,
    /// C_DigestInit.
    pub(crate) digest: Option<Digest>,
    /// C_SignInit.
    pub(crate) sign: Option<Signing>,
    /// C_VerifyInit.
    pub(crate) verify: Option<Signing>,
    /// C_MessageSignInit.
    pub(crate) message_sign: Option<message_sign::Messages>,
    /// C_MessageVerifyInit.
    pub(crate) message_verify: Option<message_sign::Messages>,
    /// C_VerifySignatureInit.
    pub(crate) verify_signature: Option<Given>,
}

impl Operations {
    /// Whether an operation waits for the PIN of CKU_CONTEXT_SPECIFIC.
    pub(crate) fn wait_for_pin(&self) -> bool {
        self.sign.as_ref().is_some_and(|sign| sign.waits_for_pin)
            || self.decrypt.as_ref().is_some_and(|decrypt| decrypt.waits_for_pin)
    }

    /// The PIN was right: what waits for it may go on, this once.
    pub(crate) fn pin_was_given(&mut self) {
        if let Some(sign) = &mut self.sign {
            sign.waits_for_pin = false;
        }
        if let Some(decrypt) = &mut self.decrypt {
            decrypt.waits_for_pin = false;
        }
    }

    /// Ends everything but a digest.
    pub(crate) fn end_uses_of_objects(&mut self) {
        *self = Self { digest: self.digest.take(), ..Self::default() };
    }

    /// C_SessionCancel: ends the operations of `flags` (CKF_ENCRYPT and so on).
    pub(crate) fn cancel(&mut self, flags: CK_FLAGS) {
        if flags & CKF_FIND_OBJECTS != 0 {
            self.search = None;
        }
        if flags & CKF_ENCRYPT != 0 {
            self.encrypt = None;
        }
        if flags & CKF_DECRYPT != 0 {
            self.decrypt = None;
        }
        if flags & CKF_MESSAGE_ENCRYPT != 0 {
            self.message_encrypt = None;
        }
        if flags & CKF_MESSAGE_DECRYPT != 0 {
            self.message_decrypt = None;
        }
        if flags & CKF_DIGEST != 0 {
            self.digest = None;
        }
        if flags & CKF_SIGN != 0 {
            self.sign = None;
        }
        if flags & CKF_MESSAGE_SIGN != 0 {
            self.message_sign = None;
        }
        if flags & CKF_MESSAGE_VERIFY != 0 {
            self.message_verify = None;
        }
        if flags & CKF_VERIFY != 0 {
            self.verify = None;
            self.verify_signature = None;
        }
    }
}

/// What a successful step did to its operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// More may come.
    GoesOn,
    /// It is finished.
    Done,
}

/// Begins an operation, unless one of its kind is active.
pub(crate) fn begin<T>(place: &mut Option<T>, make: impl FnOnce() -> Result<T>) -> Result<()> {
    if place.is_some() {
        return Err(Ckr(CKR_OPERATION_ACTIVE));
    }
    *place = Some(make()?);
    Ok(())
}

/// An Init call without mechanism: it ends the active operation (PKCS#11 3.0, section 5.8.1).
pub(crate) fn cancel<T>(place: &mut Option<T>) -> Result<()> {
    place.take().map(drop).ok_or(Ckr(CKR_ARGUMENTS_BAD))
}

/// Refuses an operation that waits for its PIN.
pub(crate) fn pin_given(waits_for_pin: bool) -> Result<()> {
    if waits_for_pin { Err(Ckr(CKR_USER_NOT_LOGGED_IN)) } else { Ok(()) }
}

/// Takes one step of an active operation.
pub(crate) fn step<T>(
    place: &mut Option<T>,
    act: impl FnOnce(&mut T) -> Result<Progress>,
) -> Result<()> {
    let operation = place.as_mut().ok_or(Ckr(CKR_OPERATION_NOT_INITIALIZED))?;
    match act(operation) {
        Ok(Progress::GoesOn) => Ok(()),
        Err(Ckr(CKR_BUFFER_TOO_SMALL)) => Err(Ckr(CKR_BUFFER_TOO_SMALL)),
        Ok(Progress::Done) => {
            *place = None;
            Ok(())
        }
        Err(other) => {
            *place = None;
            Err(other)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_buffer_and_progress_keep_an_operation() {
        for (answer, stays) in [
            (Ok(Progress::GoesOn), true),
            (Err(Ckr(CKR_BUFFER_TOO_SMALL)), true),
            (Ok(Progress::Done), false),
            (Err(Ckr(CKR_DATA_LEN_RANGE)), false),
            (Err(Ckr(CKR_DEVICE_ERROR)), false),
        ] {
            let mut place = Some(());
            let result = step(&mut place, |()| answer);
            assert_eq!(place.is_some(), stays, "{answer:?}");
            assert_eq!(result.is_ok(), answer.is_ok());
        }
        assert_eq!(
            step(&mut None::<()>, |()| Ok(Progress::Done)),
            Err(Ckr(CKR_OPERATION_NOT_INITIALIZED))
        );
    }

    #[test]
    fn an_operation_does_not_begin_over_another() {
        let mut place = None;
        assert_eq!(begin(&mut place, || Ok(1)), Ok(()));
        assert_eq!(begin(&mut place, || Ok(2)), Err(Ckr(CKR_OPERATION_ACTIVE)));
        assert_eq!(place, Some(1));
        assert_eq!(cancel(&mut place), Ok(()));
        assert_eq!(cancel(&mut place), Err(Ckr(CKR_ARGUMENTS_BAD)));
    }
}
