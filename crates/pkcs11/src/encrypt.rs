//! Encryption and decryption (PKCS#11 2.40, sections 5.8 and 5.9).

use cryptoki_sys::*;

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::{Input, Output};
use crate::cipher::{Cipher, Direction, Target};
use crate::error::{Ckr, Result};
use crate::module::Module;
use crate::operation::{self, Operations, Progress};
use crate::session::Session;

/// The operation of one direction.
fn place(operations: &mut Operations, direction: Direction) -> &mut Option<Cipher> {
    match direction {
        Direction::Encrypt => &mut operations.encrypt,
        Direction::Decrypt => &mut operations.decrypt,
    }
}

fn target<'a>(module: &'a Module, session: &Session) -> Target<'a> {
    Target { module, session: session.handle }
}

/// C_EncryptInit and C_DecryptInit.
pub(crate) fn init(
    module: &Module,
    session: &Session,
    direction: Direction,
    given: Option<Mechanism<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let mut operations = session.operations();
    let place = place(&mut operations, direction);
    let Some(given) = given else {
        return operation::cancel(place);
    };
    let target = target(module, session);
    operation::begin(place, || Cipher::begin(target, direction, &given, key))
}

/// C_Encrypt and C_Decrypt.
pub(crate) fn whole(
    module: &Module,
    session: &Session,
    direction: Direction,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    operation::step(place(&mut session.operations(), direction), |cipher| {
        // Section 5.8, C_Encrypt: "cannot be used to terminate a multi-part operation".
        if cipher.in_parts() {
            return Err(Ckr(CKR_OPERATION_ACTIVE));
        }
        end(module, session, cipher, data, output)
    })
}

/// C_EncryptUpdate and C_DecryptUpdate.
pub(crate) fn update(
    module: &Module,
    session: &Session,
    direction: Direction,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    operation::step(place(&mut session.operations(), direction), |cipher| {
        allowed(cipher)?;
        if !output.announce(cipher.update_length(data.len()))? {
            return Ok(Progress::GoesOn);
        }
        let result = cipher.update(target(module, session), data.bytes())?;
        output.write(&result)?;
        Ok(Progress::GoesOn)
    })
}

/// C_EncryptFinal and C_DecryptFinal.
pub(crate) fn finish(
    module: &Module,
    session: &Session,
    direction: Direction,
    output: &mut Output<'_>,
) -> Result<()> {
    operation::step(place(&mut session.operations(), direction), |cipher| {
        end(module, session, cipher, Input::nothing(), output)
    })
}

/// Ends an operation with its last data. Where the length is known only afterwards, a buffer that
/// holds the result is enough; one that does not, keeps the operation.
fn end(
    module: &Module,
    session: &Session,
    cipher: &Cipher,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<Progress> {
    allowed(cipher)?;
    let (most, exact) = cipher.finish_length(data.len());
    if (exact || output.is_query()) && !output.announce(most)? {
        return Ok(Progress::GoesOn);
    }
    let result = cipher.finish(target(module, session), data.bytes())?;
    output.write(&result)?;
    Ok(Progress::Done)
}

fn allowed(cipher: &Cipher) -> Result<()> {
    if cipher.waits_for_pin() { Err(Ckr(CKR_USER_NOT_LOGGED_IN)) } else { Ok(()) }
}
