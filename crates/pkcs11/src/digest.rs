//! Message digesting (PKCS#11 2.40, section 5.10). Digests are computed here: data of any size,
//! and no request.

use cryptoki_sys::*;
use strongroom_crypto::mechanism::Kind;
use strongroom_crypto::{Hash, Hasher};

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::{Input, Output};
use crate::error::{Ckr, Result};
use crate::mechanism;
use crate::module::Module;
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
    operation::step(&mut session.operations().digest, |digest| {
        let hash = digest.hash;
        digest.hasher.get_or_insert_with(|| Hasher::new(hash)).update(data.bytes());
        Ok(Progress::GoesOn)
    })
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
    fn only_digests_digest() {
        let (module, session, _) = fake::token();
        let refused = with_mechanism(CKM_ECDSA, &[], |given| init(&module, &session, given));
        assert_eq!(refused, Err(Ckr(CKR_MECHANISM_INVALID)));
    }
}
