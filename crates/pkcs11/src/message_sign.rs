//! Message-based signing and verification (PKCS#11 3.0, sections 5.14 and 5.16): many messages under one
//! key and mechanism.
//!
//! No mechanism here has a parameter for a single message, so these functions take none. A message that
//! fails does not end the process; C_MessageSignFinal does.

use cryptoki_sys::*;

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::{Input, Output};
use crate::error::{Ckr, Result};
use crate::module::Module;
use crate::operation;
use crate::session::Session;
use crate::sign::{self, Signing};
use crate::verify;

/// A process between C_MessageSignInit and C_MessageSignFinal, or for verification.
pub(crate) struct Messages {
    signing: Signing,
    /// Whether a message that comes in parts has begun.
    begun: bool,
}

impl Messages {
    fn begin(
        module: &Module,
        session: &Session,
        given: &Mechanism<'_>,
        key: CK_OBJECT_HANDLE,
        usage: CK_FLAGS,
    ) -> Result<Self> {
        let signing = Signing::begin(module, session.handle, given, key, usage)?;
        if signing.waits_for_pin {
            // There is no call between two messages in which the PIN could be given.
            return Err(Ckr(CKR_KEY_FUNCTION_NOT_PERMITTED));
        }
        Ok(Self { signing, begun: false })
    }

    /// For a message that is whole, and for the beginning of one that is not.
    fn between_messages(&mut self) -> Result<&mut Signing> {
        if self.begun { Err(Ckr(CKR_OPERATION_ACTIVE)) } else { Ok(&mut self.signing) }
    }

    /// For a part of a message that has begun.
    fn in_message(&mut self) -> Result<&mut Signing> {
        if self.begun { Ok(&mut self.signing) } else { Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)) }
    }
}

fn active(place: &mut Option<Messages>) -> Result<&mut Messages> {
    place.as_mut().ok_or(Ckr(CKR_OPERATION_NOT_INITIALIZED))
}

/// A message's own parameter: there is none.
fn without_parameter(parameter: Input<'_>) -> Result<()> {
    if parameter.len() == 0 { Ok(()) } else { Err(Ckr(CKR_MECHANISM_PARAM_INVALID)) }
}

/// C_MessageSignInit.
pub(crate) fn init_sign(
    module: &Module,
    session: &Session,
    given: Option<Mechanism<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let place = &mut session.operations().message_sign;
    let Some(given) = given else {
        return operation::cancel(place);
    };
    operation::begin(place, || Messages::begin(module, session, &given, key, CKF_SIGN))
}

/// C_SignMessage.
pub(crate) fn sign(
    module: &Module,
    session: &Session,
    parameter: Input<'_>,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    let mut operations = session.operations();
    let signing = active(&mut operations.message_sign)?.between_messages()?;
    without_parameter(parameter)?;
    if !output.announce(signing.signature_length())? {
        return Ok(());
    }
    let payload = signing.whole(module, session, data)?;
    sign::complete(module, session, signing, payload, output).map(drop)
}

/// C_SignMessageBegin.
pub(crate) fn begin_sign(session: &Session, parameter: Input<'_>) -> Result<()> {
    let mut operations = session.operations();
    let messages = active(&mut operations.message_sign)?;
    messages.between_messages()?;
    without_parameter(parameter)?;
    messages.begun = true;
    Ok(())
}

/// C_SignMessageNext. The last part is the one that asks for the signature.
pub(crate) fn next_sign(
    module: &Module,
    session: &Session,
    parameter: Input<'_>,
    data: Input<'_>,
    output: Option<&mut Output<'_>>,
) -> Result<()> {
    let mut operations = session.operations();
    let messages = active(&mut operations.message_sign)?;
    let signing = messages.in_message()?;
    without_parameter(parameter)?;
    let Some(output) = output else {
        return signing.update(module, session, data.bytes());
    };
    if !output.announce(signing.signature_length())? {
        return Ok(());
    }
    let taken = signing.update(module, session, data.bytes());
    let payload = signing.pieces();
    let signed = taken.and_then(|()| sign::complete(module, session, signing, payload, output));
    messages.begun = false;
    signed.map(drop)
}

/// C_MessageSignFinal.
pub(crate) fn finish_sign(session: &Session) -> Result<()> {
    let ended = session.operations().message_sign.take();
    ended.map(drop).ok_or(Ckr(CKR_OPERATION_NOT_INITIALIZED))
}

/// C_MessageVerifyInit.
pub(crate) fn init_verify(
    module: &Module,
    session: &Session,
    given: Option<Mechanism<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let place = &mut session.operations().message_verify;
    let Some(given) = given else {
        return operation::cancel(place);
    };
    operation::begin(place, || Messages::begin(module, session, &given, key, CKF_VERIFY))
}

/// C_VerifyMessage.
pub(crate) fn verify(
    module: &Module,
    session: &Session,
    parameter: Input<'_>,
    data: Input<'_>,
    signature: Input<'_>,
) -> Result<()> {
    let mut operations = session.operations();
    let signing = active(&mut operations.message_verify)?.between_messages()?;
    without_parameter(parameter)?;
    let signature = verify::checked_length(signing, signature)?;
    let payload = signing.whole(module, session, data)?;
    verify::complete(module, session, signing, payload, signature).map(drop)
}

/// C_VerifyMessageBegin.
pub(crate) fn begin_verify(session: &Session, parameter: Input<'_>) -> Result<()> {
    let mut operations = session.operations();
    let messages = active(&mut operations.message_verify)?;
    messages.between_messages()?;
    without_parameter(parameter)?;
    messages.begun = true;
    Ok(())
}

/// C_VerifyMessageNext. The last part is the one that comes with the signature.
pub(crate) fn next_verify(
    module: &Module,
    session: &Session,
    parameter: Input<'_>,
    data: Input<'_>,
    signature: Option<Input<'_>>,
) -> Result<()> {
    let mut operations = session.operations();
    let messages = active(&mut operations.message_verify)?;
    let signing = messages.in_message()?;
    without_parameter(parameter)?;
    let Some(signature) = signature else {
        return signing.update(module, session, data.bytes());
    };
    let checked = signing
        .update(module, session, data.bytes())
        .and_then(|()| verify::checked_length(signing, signature));
    let payload = signing.pieces();
    messages.begun = false;
    let signature = checked?;
    verify::complete(module, session, &mut messages.signing, payload, signature).map(drop)
}

/// C_MessageVerifyFinal.
pub(crate) fn finish_verify(session: &Session) -> Result<()> {
    let ended = session.operations().message_verify.take();
    ended.map(drop).ok_or(Ckr(CKR_OPERATION_NOT_INITIALIZED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, EC_PRIVATE, EC_PUBLIC, input, output, with_mechanism};

    #[test]
    fn many_messages_are_signed_and_verified_whole_and_in_parts() {
        let (module, session, _) = fake::token();
        with_mechanism(CKM_ECDSA_SHA256, &[], |given| {
            init_sign(&module, &session, given, EC_PRIVATE)
        })
        .unwrap();
        with_mechanism(CKM_ECDSA_SHA256, &[], |given| {
            init_verify(&module, &session, given, EC_PUBLIC)
        })
        .unwrap();
        let none = || input(b"");
        let check = |data: &[u8], signature: &[u8]| {
            verify(&module, &session, none(), input(data), input(signature))
        };
        for data in [&b"one"[..], b"another"] {
            let asked = output(None, |out| sign(&module, &session, none(), input(data), out));
            assert_eq!((asked.0, asked.1), (Ok(()), 64));
            let made = output(Some(64), |out| sign(&module, &session, none(), input(data), out));
            assert_eq!(made.0, Ok(()));
            assert_eq!(check(data, &made.2), Ok(()));
            // A wrong one does not end the process.
            assert_eq!(check(b"other", &made.2), Err(Ckr(CKR_SIGNATURE_INVALID)));
            assert_eq!(check(data, &made.2), Ok(()));
        }
        begin_sign(&session, none()).unwrap();
        next_sign(&module, &session, none(), input(b"in "), None).unwrap();
        let made = output(Some(64), |out| {
            next_sign(&module, &session, none(), input(b"parts"), Some(out))
        });
        assert_eq!(made.0, Ok(()));
        assert_eq!(check(b"in parts", &made.2), Ok(()));
        begin_verify(&session, none()).unwrap();
        next_verify(&module, &session, none(), input(b"in pa"), None).unwrap();
        let last = Some(input(&made.2));
        assert_eq!(next_verify(&module, &session, none(), input(b"rts"), last), Ok(()));
        finish_sign(&session).unwrap();
        finish_verify(&session).unwrap();
        assert_eq!(finish_sign(&session), Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)));
    }

    #[test]
    fn a_message_neither_begins_in_another_nor_goes_on_without_one() {
        let (module, session, _) = fake::token();
        let not_begun = Err(Ckr(CKR_OPERATION_NOT_INITIALIZED));
        assert_eq!(begin_sign(&session, input(b"")), not_begun);
        with_mechanism(CKM_ECDSA_SHA256, &[], |given| {
            init_sign(&module, &session, given, EC_PRIVATE)
        })
        .unwrap();
        assert_eq!(next_sign(&module, &session, input(b""), input(b"data"), None), not_begun);
        let parameter = begin_sign(&session, input(b"parameter"));
        assert_eq!(parameter, Err(Ckr(CKR_MECHANISM_PARAM_INVALID)));
        begin_sign(&session, input(b"")).unwrap();
        assert_eq!(begin_sign(&session, input(b"")), Err(Ckr(CKR_OPERATION_ACTIVE)));
        let whole =
            output(Some(64), |out| sign(&module, &session, input(b""), input(b"data"), out));
        assert_eq!(whole.0, Err(Ckr(CKR_OPERATION_ACTIVE)));
    }
}
