//! Dual-function operations (PKCS#11 2.40, section 5.13): one call goes on with two operations, which
//! begin and end each by itself.
//!
//! Both must be active. A call that asks for a length, or whose buffer is too small, goes on with
//! neither; another error ends the one that it is of, and the cipher.

use cryptoki_sys::*;

use crate::abi::raw::{Input, Output};
use crate::error::{Ckr, Result};
use crate::module::Module;
use crate::operation::Operations;
use crate::session::Session;
use crate::{digest, encrypt, sign};

/// CloudHSM's module does not have these functions.
fn only_token(module: &Module) -> Result<()> {
    if module.is_cloudhsm() { Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED)) } else { Ok(()) }
}

fn active(is: bool) -> Result<()> {
    if is { Ok(()) } else { Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)) }
}

/// C_DigestEncryptUpdate.
pub(crate) fn digest_encrypt(
    module: &Module,
    session: &Session,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    only_token(module)?;
    let Operations { encrypt, digest, .. } = &mut *session.operations();
    active(digest.is_some())?;
    let target = encrypt::target(module, session);
    encrypt::update_beside(target, encrypt, data, output, |plain| digest::take(digest, plain))
}

/// C_DecryptDigestUpdate.
pub(crate) fn decrypt_digest(
    module: &Module,
    session: &Session,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    only_token(module)?;
    let Operations { decrypt, digest, .. } = &mut *session.operations();
    active(digest.is_some())?;
    let target = encrypt::target(module, session);
    encrypt::update_beside(target, decrypt, data, output, |plain| digest::take(digest, plain))
}

/// C_SignEncryptUpdate.
pub(crate) fn sign_encrypt(
    module: &Module,
    session: &Session,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    only_token(module)?;
    let Operations { encrypt, sign, .. } = &mut *session.operations();
    active(sign.is_some())?;
    let target = encrypt::target(module, session);
    encrypt::update_beside(target, encrypt, data, output, |plain| {
        sign::take(module, session, sign, plain)
    })
}

/// C_DecryptVerifyUpdate.
pub(crate) fn decrypt_verify(
    module: &Module,
    session: &Session,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    only_token(module)?;
    let Operations { decrypt, verify, .. } = &mut *session.operations();
    active(verify.is_some())?;
    let target = encrypt::target(module, session);
    encrypt::update_beside(target, decrypt, data, output, |plain| {
        sign::take(module, session, verify, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Direction::{Decrypt, Encrypt};
    use crate::fake::{self, AES, GENERIC, input, output, with_mechanism};
    use crate::verify;
    use strongroom_crypto::Hash;

    const IV: [u8; 16] = [3; 16];
    const DATA: &[u8] = b"forty bytes of data in several pieces...";

    type Update = fn(&Module, &Session, Input<'_>, &mut Output<'_>) -> Result<()>;

    /// Puts `data` through `update` in two pieces, each asked for its length first.
    fn pieces(module: &Module, session: &Session, update: Update, data: &[u8]) -> Vec<u8> {
        let (first, second) = data.split_at(7);
        let mut all = Vec::new();
        for piece in [first, second] {
            let length = output(None, |out| update(module, session, input(piece), out)).1;
            if length > 0 {
                let small =
                    output(Some(length - 1), |out| update(module, session, input(piece), out));
                assert_eq!(small.0, Err(Ckr(CKR_BUFFER_TOO_SMALL)));
            }
            let given = output(Some(length), |out| update(module, session, input(piece), out));
            given.0.unwrap();
            all.extend(given.2);
        }
        all
    }

    fn begin_cipher(module: &Module, session: &Session, direction: crate::cipher::Direction) {
        with_mechanism(CKM_AES_CTR, &ctr(), |given| {
            encrypt::init(module, session, direction, given, AES)
        })
        .unwrap();
    }

    fn ctr() -> Vec<u8> {
        [(128 as CK_ULONG).to_ne_bytes().as_slice(), &IV].concat()
    }

    fn begin_digest(module: &Module, session: &Session) {
        with_mechanism(CKM_SHA256, &[], |given| digest::init(module, session, given)).unwrap();
    }

    fn ended(module: &Module, session: &Session, direction: crate::cipher::Direction) -> Vec<u8> {
        output(Some(64), |out| encrypt::finish(module, session, direction, out)).2
    }

    #[test]
    fn what_is_encrypted_and_decrypted_is_digested_once_however_often_lengths_are_asked_for() {
        let (module, session, _) = fake::token();
        let digested = || output(Some(32), |out| digest::finish(&session, out)).2;
        begin_cipher(&module, &session, Encrypt);
        begin_digest(&module, &session);
        let mut sealed = pieces(&module, &session, digest_encrypt, DATA);
        sealed.extend(ended(&module, &session, Encrypt));
        assert_eq!(digested(), Hash::Sha256.digest(DATA));

        begin_cipher(&module, &session, Decrypt);
        begin_digest(&module, &session);
        // The last part comes with C_DecryptFinal, which digests nothing.
        let opened = pieces(&module, &session, decrypt_digest, &sealed);
        assert_eq!(digested(), Hash::Sha256.digest(&opened));
        assert_eq!([opened, ended(&module, &session, Decrypt)].concat(), DATA);
    }

    #[test]
    fn what_is_encrypted_is_signed_and_what_is_decrypted_is_verified() {
        let (module, session, _) = fake::token();
        let whole = &DATA[..32];
        begin_cipher(&module, &session, Encrypt);
        with_mechanism(CKM_SHA256_HMAC, &[], |given| sign::init(&module, &session, given, GENERIC))
            .unwrap();
        let mut sealed = pieces(&module, &session, sign_encrypt, whole);
        sealed.extend(ended(&module, &session, Encrypt));
        let mac = output(Some(32), |out| sign::finish(&module, &session, out)).2;

        begin_cipher(&module, &session, Decrypt);
        with_mechanism(CKM_SHA256_HMAC, &[], |given| {
            verify::init(&module, &session, given, GENERIC)
        })
        .unwrap();
        assert_eq!(pieces(&module, &session, decrypt_verify, &sealed), whole);
        assert_eq!(verify::finish(&module, &session, input(&mac)), Ok(()));
    }

    #[test]
    fn both_operations_must_be_active_and_the_one_that_is_stays_so() {
        let (module, session, _) = fake::token();
        let none = Err(Ckr(CKR_OPERATION_NOT_INITIALIZED));
        let call =
            |update: Update| output(Some(64), |out| update(&module, &session, input(DATA), out)).0;
        begin_cipher(&module, &session, Encrypt);
        begin_cipher(&module, &session, Decrypt);
        for update in [digest_encrypt, decrypt_digest, sign_encrypt, decrypt_verify] {
            assert_eq!(call(update), none);
        }
        ended(&module, &session, Encrypt);
        begin_digest(&module, &session);
        assert_eq!(call(digest_encrypt), none);
        assert_eq!(call(decrypt_digest), Ok(()));
    }

    #[test]
    fn a_program_for_cloudhsm_finds_no_dual_functions() {
        let (module, _) = fake::module(strongroom_wire::message::Personality::CloudHsm);
        let session = fake::open(&module, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap();
        let session = module.session(session).unwrap();
        for update in [digest_encrypt, decrypt_digest, sign_encrypt, decrypt_verify] {
            let refused = output(None, |out| update(&module, &session, input(DATA), out)).0;
            assert_eq!(refused, Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED)));
        }
    }
}
