//! Verifying signatures and MACs (PKCS#11 2.40, section 5.12).

use cryptoki_sys::*;
use strongroom_wire::message::{Operation, Verify};

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::Input;
use crate::error::{Ckr, Result};
use crate::key_info;
use crate::module::Module;
use crate::operation::{self, Progress};
use crate::session::Session;
use crate::sign::{Payload, Signing};

/// C_VerifyInit.
pub(crate) fn init(
    module: &Module,
    session: &Session,
    given: Option<Mechanism<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let place = &mut session.operations().verify;
    let Some(given) = given else {
        return operation::cancel(place);
    };
    operation::begin(place, || Signing::begin(module, session.handle, &given, key, CKF_VERIFY))
}

/// C_Verify.
pub(crate) fn verify(
    module: &Module,
    session: &Session,
    data: Input<'_>,
    signature: Input<'_>,
) -> Result<()> {
    operation::step(&mut session.operations().verify, |verify| {
        let signature = checked_length(verify, signature)?;
        let payload = verify.whole(data)?;
        complete(module, session, verify, payload, signature)
    })
}

/// C_VerifyUpdate.
pub(crate) fn update(session: &Session, data: Input<'_>) -> Result<()> {
    operation::step(&mut session.operations().verify, |verify| {
        verify.update(data)?;
        Ok(Progress::GoesOn)
    })
}

/// C_VerifyFinal.
pub(crate) fn finish(module: &Module, session: &Session, signature: Input<'_>) -> Result<()> {
    operation::step(&mut session.operations().verify, |verify| {
        let signature = checked_length(verify, signature)?;
        let payload = verify.pieces();
        complete(module, session, verify, payload, signature)
    })
}

/// The signature, where it has the length that the key's signatures have: "If the signature can be
/// seen to be invalid purely on the basis of its length, then CKR_SIGNATURE_LEN_RANGE should be
/// returned" (section 5.12, C_Verify).
fn checked_length(verify: &Signing, signature: Input<'_>) -> Result<Vec<u8>> {
    if signature.len() != verify.signature_length() {
        return Err(Ckr(CKR_SIGNATURE_LEN_RANGE));
    }
    Ok(signature.bytes().to_vec())
}

fn complete(
    module: &Module,
    session: &Session,
    verify: &Signing,
    payload: Payload,
    signature: Vec<u8>,
) -> Result<Progress> {
    let request = Operation::Verify(Verify {
        handle: verify.key,
        mechanism: Some(verify.mechanism()),
        data: payload.data,
        prehashed: payload.prehashed,
        signature,
    });
    match module.hsm.tell(session.handle, request) {
        // The key served; it is the signature that is wrong.
        Err(wrong @ Ckr(CKR_SIGNATURE_INVALID | CKR_SIGNATURE_LEN_RANGE)) => Err(wrong),
        answer => key_info::used(module, verify.key, answer).map(|()| Progress::Done),
    }
}
