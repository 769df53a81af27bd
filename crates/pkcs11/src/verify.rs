//! Verifying signatures and MACs (PKCS#11 2.40, section 5.12).

use cryptoki_sys::*;

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::Input;
use crate::error::{Ckr, Result};
use crate::key_info;
use crate::module::Module;
use crate::operation::{self, Progress};
use crate::session::Session;
use crate::sign::{self, Payload, Signing};

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
        let payload = verify.whole(module, session, data)?;
        complete(module, session, verify, payload, signature)
    })
}

/// C_VerifyUpdate.
pub(crate) fn update(module: &Module, session: &Session, data: Input<'_>) -> Result<()> {
    sign::take(module, session, &mut session.operations().verify, data.bytes())
}

/// C_VerifyFinal.
pub(crate) fn finish(module: &Module, session: &Session, signature: Input<'_>) -> Result<()> {
    operation::step(&mut session.operations().verify, |verify| {
        let signature = checked_length(verify, signature)?;
        let payload = verify.pieces();
        complete(module, session, verify, payload, signature)
    })
}

/// A verification whose signature came first (PKCS#11 3.2, section 5.17).
pub(crate) struct Given {
    verify: Signing,
    signature: Vec<u8>,
}

/// C_VerifySignatureInit.
pub(crate) fn init_signature(
    module: &Module,
    session: &Session,
    given: Option<Mechanism<'_>>,
    key: CK_OBJECT_HANDLE,
    signature: Input<'_>,
) -> Result<()> {
    let place = &mut session.operations().verify_signature;
    let Some(given) = given else {
        return operation::cancel(place);
    };
    operation::begin(place, || {
        let verify = Signing::begin(module, session.handle, &given, key, CKF_VERIFY)?;
        let signature = checked_length(&verify, signature)?;
        Ok(Given { verify, signature })
    })
}

/// C_VerifySignature.
pub(crate) fn signature(module: &Module, session: &Session, data: Input<'_>) -> Result<()> {
    operation::step(&mut session.operations().verify_signature, |given| {
        let payload = given.verify.whole(module, session, data)?;
        complete(module, session, &mut given.verify, payload, std::mem::take(&mut given.signature))
    })
}

/// C_VerifySignatureUpdate.
pub(crate) fn update_signature(module: &Module, session: &Session, data: Input<'_>) -> Result<()> {
    operation::step(&mut session.operations().verify_signature, |given| {
        given.verify.update(module, session, data.bytes())?;
        Ok(Progress::GoesOn)
    })
}

/// C_VerifySignatureFinal.
pub(crate) fn finish_signature(module: &Module, session: &Session) -> Result<()> {
    operation::step(&mut session.operations().verify_signature, |given| {
        let payload = given.verify.pieces();
        complete(module, session, &mut given.verify, payload, std::mem::take(&mut given.signature))
    })
}

/// The signature, where it has the length that the key's signatures have: "If the signature can be
/// seen to be invalid purely on the basis of its length, then CKR_SIGNATURE_LEN_RANGE should be
/// returned" (section 5.12, C_Verify).
pub(crate) fn checked_length(verify: &Signing, signature: Input<'_>) -> Result<Vec<u8>> {
    if signature.len() != verify.signature_length() {
        return Err(Ckr(CKR_SIGNATURE_LEN_RANGE));
    }
    Ok(signature.bytes().to_vec())
}

pub(crate) fn complete(
    module: &Module,
    session: &Session,
    verify: &mut Signing,
    payload: Payload,
    signature: Vec<u8>,
) -> Result<Progress> {
    let request = verify.request(payload, Some(signature));
    match module.hsm.tell(session.handle, request) {
        // The key served; it is the signature that is wrong.
        Err(wrong @ Ckr(CKR_SIGNATURE_INVALID | CKR_SIGNATURE_LEN_RANGE)) => Err(wrong),
        answer => key_info::used(module, verify.key, answer).map(|()| Progress::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, EC_PRIVATE, EC_PUBLIC, GENERIC, input, output, with_mechanism};
    use crate::lock::lock;
    use crate::sign;
    use strongroom_wire::message::Role;

    fn begin_sign(
        module: &Module,
        session: &Session,
        kind: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        with_mechanism(kind, &[], |given| sign::init(module, session, given, key))
    }

    fn begin_verify(
        module: &Module,
        session: &Session,
        kind: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        with_mechanism(kind, &[], |given| init(module, session, given, key))
    }

    #[test]
    fn what_was_signed_in_pieces_verifies_whole_and_what_was_not_does_not() {
        let (module, session, _) = fake::token();
        let pairs =
            [(CKM_ECDSA_SHA256, EC_PRIVATE, EC_PUBLIC), (CKM_SHA256_HMAC, GENERIC, GENERIC)];
        for (kind, signer, verifier) in pairs {
            begin_sign(&module, &session, kind, signer).unwrap();
            sign::update(&module, &session, input(b"some ")).unwrap();
            sign::update(&module, &session, input(b"data")).unwrap();
            let (_, length, _) = output(None, |out| sign::finish(&module, &session, out));
            let signed = output(Some(length), |out| sign::finish(&module, &session, out));
            signed.0.unwrap();

            for (data, answer) in
                [(b"some data", Ok(())), (b"same data", Err(Ckr(CKR_SIGNATURE_INVALID)))]
            {
                begin_verify(&module, &session, kind, verifier).unwrap();
                let result = verify(&module, &session, input(data), input(&signed.2));
                assert_eq!(result, answer);
            }
            begin_verify(&module, &session, kind, verifier).unwrap();
            let short = verify(&module, &session, input(b"some data"), input(&signed.2[1..]));
            assert_eq!(short, Err(Ckr(CKR_SIGNATURE_LEN_RANGE)));
        }
    }

    #[test]
    fn once_a_key_is_known_an_init_call_asks_nothing() {
        let (module, session, fake) = fake::token();
        let sign = || {
            begin_sign(&module, &session, CKM_ECDSA_SHA256, EC_PRIVATE).unwrap();
            let signed = output(Some(64), |out| sign::sign(&module, &session, input(b"data"), out));
            signed.0.unwrap();
        };
        sign();
        lock(&fake).asked.clear();
        sign();
        assert_eq!(lock(&fake).asked, ["sign"]);
    }

    #[test]
    fn a_key_is_refused_at_init_and_never_from_memory() {
        let (module, session, fake) = fake::token();
        let begin = |kind, key| {
            let result = begin_sign(&module, &session, kind, key);
            session.operations().sign = None;
            result
        };
        begin(CKM_ECDSA, EC_PRIVATE).unwrap();
        assert_eq!(begin(CKM_ECDSA, EC_PUBLIC), Err(Ckr(CKR_KEY_TYPE_INCONSISTENT)));
        assert_eq!(begin(CKM_ECDSA, GENERIC), Err(Ckr(CKR_KEY_TYPE_INCONSISTENT)));
        assert_eq!(begin(CKM_ECDSA, 77), Err(Ckr(CKR_KEY_HANDLE_INVALID)));
        assert_eq!(begin(CKM_AES_KEY_GEN, EC_PRIVATE), Err(Ckr(CKR_MECHANISM_INVALID)));

        // Another program takes the permission away, and gives it back.
        lock(&fake).forbidden.push(crate::module::wide(CKA_SIGN));
        module.keys.clear();
        assert_eq!(begin(CKM_ECDSA, EC_PRIVATE), Err(Ckr(CKR_KEY_FUNCTION_NOT_PERMITTED)));
        lock(&fake).forbidden.clear();
        begin(CKM_ECDSA, EC_PRIVATE).unwrap();
    }

    #[test]
    fn a_key_that_always_wants_its_pin_signs_once_for_each() {
        let (module, session, fake) = fake::token();
        lock(&fake).always_authenticate = true;
        lock(&fake).role = Some(Role::CryptoUser);
        let pin = |pin| crate::login::login(&module, &session, CKU_CONTEXT_SPECIFIC, None, pin);
        let sign = || output(Some(64), |out| sign::sign(&module, &session, input(b"data"), out)).0;
        assert_eq!(pin(fake::PASSWORD), Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)));
        for _ in 0..2 {
            begin_sign(&module, &session, CKM_ECDSA_SHA256, EC_PRIVATE).unwrap();
            assert_eq!(sign(), Err(Ckr(CKR_USER_NOT_LOGGED_IN)));
            begin_sign(&module, &session, CKM_ECDSA_SHA256, EC_PRIVATE).unwrap();
            assert_eq!(pin(b"wrong"), Err(Ckr(CKR_PIN_INCORRECT)));
            assert_eq!(pin(fake::PASSWORD), Ok(()));
            assert_eq!(sign(), Ok(()));
        }
    }

    #[test]
    fn an_error_ends_the_operation_but_a_small_buffer_does_not() {
        let (module, session, _) = fake::token();
        begin_sign(&module, &session, CKM_ECDSA_SHA256, EC_PRIVATE).unwrap();
        let data = input(b"data");
        let small = output(Some(63), |out| sign::sign(&module, &session, data, out));
        assert_eq!((small.0, small.1), (Err(Ckr(CKR_BUFFER_TOO_SMALL)), 64));
        sign::update(&module, &session, data).unwrap();
        // A multi-part operation can't be ended by C_Sign.
        let mixed = output(Some(64), |out| sign::sign(&module, &session, data, out));
        assert_eq!(mixed.0, Err(Ckr(CKR_OPERATION_ACTIVE)));
        let after = output(Some(64), |out| sign::finish(&module, &session, out));
        assert_eq!(after.0, Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)));
    }

    /// One request takes 1 MiB: what is longer goes in parts, whose state the HSM has sealed.
    #[test]
    fn a_mac_of_any_length_is_the_same_in_parts_of_any_size() {
        use strongroom_crypto::mechanism::find;
        use strongroom_crypto::{Key, Params};
        use strongroom_wire::limits::DATA_BYTES_MAX;

        let (module, session, fake) = fake::token();
        let data: Vec<u8> = (0..3 * DATA_BYTES_MAX + 77).map(|at| (at * 7) as u8).collect();
        let of = |key_type, value| Key::from_secret(crate::module::wide(key_type), value).unwrap();
        let (generic, aes) = (of(CKK_GENERIC_SECRET, vec![8; 40]), of(CKK_AES, vec![7; 32]));
        let at_once = |kind: CK_MECHANISM_TYPE, data: &[u8]| {
            let key = if kind == CKM_AES_CMAC { &aes } else { &generic };
            let entry = find(crate::module::wide(kind)).unwrap();
            strongroom_crypto::sign(key, entry, &Params::None, data, false).unwrap()
        };
        for (kind, handle) in [
            (CKM_SHA_1_HMAC, GENERIC),
            (CKM_SHA256_HMAC, GENERIC),
            (CKM_SHA512_224_HMAC, GENERIC),
            (CKM_AES_CMAC, fake::AES),
        ] {
            lock(&fake).asked.clear();
            begin_sign(&module, &session, kind, handle).unwrap();
            let sign_whole = |out: &mut crate::abi::raw::Output<'_>| {
                sign::sign(&module, &session, input(&data), out)
            };
            let (_, length, _) = output(None, sign_whole);
            let whole = output(Some(length), sign_whole);
            assert_eq!((whole.0, &whole.2), (Ok(()), &at_once(kind, &data)), "{kind:#x}");
            let parts = lock(&fake).asked.iter().filter(|asked| **asked == "MAC part").count();
            assert_eq!(parts, 4, "three that go on, and the last");
            for size in [DATA_BYTES_MAX, 1_000_003, 2 * DATA_BYTES_MAX + 1] {
                begin_sign(&module, &session, kind, handle).unwrap();
                for piece in data.chunks(size) {
                    sign::update(&module, &session, input(piece)).unwrap();
                }
                let signed = output(Some(length), |out| sign::finish(&module, &session, out));
                assert_eq!((signed.0, &signed.2), (Ok(()), &whole.2), "{kind:#x} {size}");
            }
            begin_verify(&module, &session, kind, handle).unwrap();
            assert_eq!(verify(&module, &session, input(&data), input(&whole.2)), Ok(()));
            begin_verify(&module, &session, kind, handle).unwrap();
            let other = verify(&module, &session, input(&data[1..]), input(&whole.2));
            assert_eq!(other, Err(Ckr(CKR_SIGNATURE_INVALID)));
        }
        // What fits one request is one request.
        lock(&fake).asked.clear();
        begin_sign(&module, &session, CKM_SHA256_HMAC, GENERIC).unwrap();
        let fits = input(&data[..DATA_BYTES_MAX]);
        let one = output(Some(32), |out| sign::sign(&module, &session, fits, out));
        assert_eq!(one.2, at_once(CKM_SHA256_HMAC, &data[..DATA_BYTES_MAX]));
        assert_eq!(lock(&fake).asked, ["sign"]);
        // SHA-3's state can't be kept.
        begin_sign(&module, &session, CKM_SHA3_256_HMAC, GENERIC).unwrap();
        let long = output(Some(32), |out| sign::sign(&module, &session, input(&data), out));
        assert_eq!(long.0, Err(Ckr(CKR_DATA_LEN_RANGE)));
    }
}
