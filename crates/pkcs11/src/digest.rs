//! Message digesting (PKCS#11 2.40, section 5.10). Digests are computed here: data of any size,
//! and no request, but for a key's value.

use cryptoki_sys::*;
use strongroom_crypto::mechanism::Kind;
use strongroom_crypto::{Hash, Hasher};

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::{Input, Output};
use crate::error::{Ckr, Result};
use crate::hsm::key_handle;
use crate::mechanism;
use crate::module::{Module, wide};
use crate::operation::{self, Progress};
use crate::session::Session;

/// A digest under way.
pub(crate) struct Digest {
    hash: Hash,
    /// From the first C_DigestUpdate on.
    hasher: Option<Hasher>,
}

/// C_DigestInit.
pub(crate) fn init(module: &Module, session: &Session, given: Option<Mechanism<'_>>) -> Result<()> {
    let place = &mut session.operations().digest;
    let Some(given) = given else {
        return operation::cancel(place);
    };
    operation::begin(place, || {
        let parsed = mechanism::parse(&given, module.is_cloudhsm())?;
        module.mechanism(given.kind())?;
        match (parsed.entry.operation, parsed.entry.hash) {
            (Kind::Digest, Some(hash)) => Ok(Digest { hash, hasher: None }),
            _ => Err(Ckr(CKR_MECHANISM_INVALID)),
        }
    })
}

/// C_Digest.
pub(crate) fn digest(session: &Session, data: Input<'_>, output: &mut Output<'_>) -> Result<()> {
    operation::step(&mut session.operations().digest, |digest| {
        if digest.hasher.is_some() {
            return Err(Ckr(CKR_OPERATION_ACTIVE));
        }
        if !output.announce(digest.hash.len())? {
            return Ok(Progress::GoesOn);
        }
        let value = digest.hash.digest(data.bytes());
        output.write(&value)?;
        Ok(Progress::Done)
    })
}

/// C_DigestUpdate.
pub(crate) fn update(session: &Session, data: Input<'_>) -> Result<()> {
    take(&mut session.operations().digest, data.bytes())
}

/// C_DigestUpdate, with the session's operations in hand.
pub(crate) fn take(place: &mut Option<Digest>, data: &[u8]) -> Result<()> {
    operation::step(place, |digest| {
        let hash = digest.hash;
        digest.hasher.get_or_insert_with(|| Hasher::new(hash)).update(data);
        Ok(Progress::GoesOn)
    })
}

/// C_DigestKey, which CloudHSM's module does not have. Whose value may not be read is not digested
/// either: the digest of a short key, or of a key after data of the caller's choice, tells of it.
pub(crate) fn key(module: &Module, session: &Session, key: CK_OBJECT_HANDLE) -> Result<()> {
    if module.is_cloudhsm() {
        return Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED));
    }
    let place = &mut session.operations().digest;
    if place.is_none() {
        return Err(Ckr(CKR_OPERATION_NOT_INITIALIZED));
    }
    let kinds = [CKA_CLASS, CKA_VALUE].map(wide).to_vec();
    let answer = module.hsm.attributes(session.handle, wide(key), kinds).map_err(key_handle)?;
    let secret_key = wide(CKO_SECRET_KEY).to_le_bytes();
    match answer.as_slice() {
        [class, value] if class.value == secret_key && value.status == wide(CKR_OK) => {
            take(place, &value.value)
        }
        _ => Err(Ckr(CKR_KEY_INDIGESTIBLE)),
    }
}

/// C_DigestFinal.
pub(crate) fn finish(session: &Session, output: &mut Output<'_>) -> Result<()> {
    operation::step(&mut session.operations().digest, |digest| {
        if !output.announce(digest.hash.len())? {
            return Ok(Progress::GoesOn);
        }
        let value = match digest.hasher.take() {
            Some(hasher) => hasher.finish(),
            None => digest.hash.digest(&[]),
        };
        output.write(&value)?;
        Ok(Progress::Done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, input, output, with_mechanism};
    use crate::lock::lock;

    #[test]
    fn a_digest_in_pieces_is_that_of_the_whole_and_lengths_are_told_first() {
        let (module, session, _) = fake::token();
        let begin = || with_mechanism(CKM_SHA256, &[], |given| init(&module, &session, given));
        begin().unwrap();
        assert_eq!(begin(), Err(Ckr(CKR_OPERATION_ACTIVE)));
        let data = input(b"abc");
        assert_eq!(output(None, |out| digest(&session, data, out)).1, 32);
        let small = output(Some(31), |out| digest(&session, data, out));
        assert_eq!((small.0, small.1), (Err(Ckr(CKR_BUFFER_TOO_SMALL)), 32));
        let whole = output(Some(32), |out| digest(&session, data, out));
        whole.0.unwrap();
        assert_eq!(whole.2, Hash::Sha256.digest(b"abc"));

        begin().unwrap();
        update(&session, input(b"a")).unwrap();
        update(&session, input(b"bc")).unwrap();
        assert_eq!(output(None, |out| finish(&session, out)).1, 32);
        assert_eq!(output(Some(64), |out| finish(&session, out)).2, whole.2);
        assert_eq!(update(&session, data), Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)));
    }

    #[test]
    fn a_key_is_digested_like_data_where_its_value_may_be_read() {
        let (module, session, state) = fake::token();
        let begin = || with_mechanism(CKM_SHA256, &[], |given| init(&module, &session, given));
        let none = key(&module, &session, fake::GENERIC);
        assert_eq!(none, Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)));
        begin().unwrap();
        assert_eq!(key(&module, &session, fake::AES), Err(Ckr(CKR_KEY_INDIGESTIBLE)));
        assert_eq!(key(&module, &session, 1), Err(Ckr(CKR_KEY_HANDLE_INVALID)));
        lock(&state).readable = true;
        assert_eq!(key(&module, &session, fake::EC_PUBLIC), Err(Ckr(CKR_KEY_INDIGESTIBLE)));
        update(&session, input(b"a")).unwrap();
        key(&module, &session, fake::GENERIC).unwrap();
        let value = output(Some(32), |out| finish(&session, out)).2;
        assert_eq!(value, Hash::Sha256.digest(&[b"a".as_slice(), &fake::GENERIC_VALUE].concat()));
    }

    #[test]
    fn a_program_for_cloudhsm_digests_no_keys() {
        let (module, state) = fake::module(strongroom_wire::message::Personality::CloudHsm);
        let session = fake::open(&module, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap();
        let session = module.session(session).unwrap();
        let refused = key(&module, &session, fake::GENERIC);
        assert_eq!(refused, Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED)));
        assert!(lock(&state).asked.is_empty());
    }

    #[test]
    fn only_digests_digest() {
        let (module, session, _) = fake::token();
        let refused = with_mechanism(CKM_ECDSA, &[], |given| init(&module, &session, given));
        assert_eq!(refused, Err(Ckr(CKR_MECHANISM_INVALID)));
    }
}
