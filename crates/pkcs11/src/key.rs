//! Key management (PKCS#11 2.40, section 5.13).

use cryptoki_sys::*;
use strongroom_crypto::Scheme;
use strongroom_crypto::mechanism::Mechanism as Entry;
use strongroom_wire::limits::DATA_BYTES_MAX;
use strongroom_wire::message::{
    DecapsulateKey, DeriveKey, EncapsulateKey, GenerateKey, GenerateKeyPair, Operation, UnwrapKey,
    WrapKey,
};

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::{Input, Output};
use crate::abi::template::Template;
use crate::error::{Ckr, Result, unexpected_reply};
use crate::key_info;
use crate::mechanism::{self, Parsed};
use crate::module::{Module, narrow, wide};
use crate::object::admit;
use crate::session::Session;
use strongroom_wire::message::Outcome;

/// A mechanism that the HSM offers for `usage` (one CKF_ flag).
fn offered(module: &Module, given: &Mechanism<'_>, usage: CK_FLAGS) -> Result<Parsed> {
    let parsed = mechanism::parse(given, module.is_cloudhsm())?;
    if module.mechanism(given.kind())?.flags & wide(usage) == 0 {
        return Err(Ckr(CKR_MECHANISM_INVALID));
    }
    Ok(parsed)
}

/// C_GenerateKey.
pub(crate) fn generate(
    module: &Module,
    session: &Session,
    given: &Mechanism<'_>,
    template: Template<'_>,
) -> Result<CK_OBJECT_HANDLE> {
    let parsed = offered(module, given, CKF_GENERATE)?;
    let template = template.to_wire()?;
    admit(session, &template)?;
    let request = GenerateKey { mechanism: Some(parsed.wire), template: Some(template) };
    module.hsm.object(session.handle, Operation::GenerateKey(request)).map(narrow)
}

/// C_GenerateKeyPair: the public and the private key.
pub(crate) fn generate_pair(
    module: &Module,
    session: &Session,
    given: &Mechanism<'_>,
    public: Template<'_>,
    private: Template<'_>,
) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
    let parsed = offered(module, given, CKF_GENERATE_KEY_PAIR)?;
    let (public, private) = (public.to_wire()?, private.to_wire()?);
    admit(session, &public)?;
    admit(session, &private)?;
    let request = GenerateKeyPair {
        mechanism: Some(parsed.wire),
        public_template: Some(public),
        private_template: Some(private),
    };
    let pair = module.hsm.pair(session.handle, Operation::GenerateKeyPair(request))?;
    Ok((narrow(pair.0), narrow(pair.1)))
}

/// The key that wraps or unwraps, with the errors that these functions have for it.
fn wrapping_key(
    module: &Module,
    session: &Session,
    key: CK_OBJECT_HANDLE,
    entry: &Entry,
    usage: CK_FLAGS,
) -> Result<()> {
    let unwraps = usage == CKF_UNWRAP;
    key_info::usable(module, session.handle, wide(key), entry, usage).map(drop).map_err(
        |Ckr(code)| {
            Ckr(match (code, unwraps) {
                (CKR_KEY_HANDLE_INVALID, true) => CKR_UNWRAPPING_KEY_HANDLE_INVALID,
                (CKR_KEY_HANDLE_INVALID, false) => CKR_WRAPPING_KEY_HANDLE_INVALID,
                (CKR_KEY_TYPE_INCONSISTENT, true) => CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
                (CKR_KEY_TYPE_INCONSISTENT, false) => CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
                (other, _) => other,
            })
        },
    )
}

/// C_WrapKey. The length of a wrapped key is known only to the HSM, so a call that asks for it
/// wraps too.
pub(crate) fn wrap(
    module: &Module,
    session: &Session,
    given: &Mechanism<'_>,
    wrapping_key_handle: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    output: &mut Output<'_>,
) -> Result<()> {
    let parsed = offered(module, given, CKF_WRAP)?;
    wrapping_key(module, session, wrapping_key_handle, parsed.entry, CKF_WRAP)?;
    let request = Operation::WrapKey(WrapKey {
        wrapping_handle: wide(wrapping_key_handle),
        mechanism: Some(parsed.wire),
        handle: wide(key),
    });
    let answer = module.hsm.call(session.handle, request).map_err(crate::hsm::key_handle)?;
    let wrapped = match answer {
        Some(Outcome::Data(mut reply)) => std::mem::take(&mut reply.data),
        Some(Outcome::Encrypted(reply)) => {
            if let Some(place) = parsed.iv_place {
                place.write(&reply.iv);
            }
            reply.data
        }
        _ => return Err(unexpected_reply()),
    };
    output.write(&wrapped).map(drop)
}

/// C_UnwrapKey.
pub(crate) fn unwrap(
    module: &Module,
    session: &Session,
    given: &Mechanism<'_>,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: Input<'_>,
    template: Template<'_>,
) -> Result<CK_OBJECT_HANDLE> {
    let parsed = offered(module, given, CKF_UNWRAP)?;
    let wrapped = wrapped.at_most(DATA_BYTES_MAX, CKR_WRAPPED_KEY_LEN_RANGE)?.to_vec();
    let template = template.to_wire()?;
    admit(session, &template)?;
    wrapping_key(module, session, unwrapping_key, parsed.entry, CKF_UNWRAP)?;
    let request = UnwrapKey {
        wrapping_handle: wide(unwrapping_key),
        mechanism: Some(parsed.wire),
        wrapped,
        template: Some(template),
    };
    module.hsm.object(session.handle, Operation::UnwrapKey(request)).map(narrow)
}

/// C_DeriveKey.
pub(crate) fn derive(
    module: &Module,
    session: &Session,
    given: &Mechanism<'_>,
    base_key: CK_OBJECT_HANDLE,
    template: Template<'_>,
) -> Result<CK_OBJECT_HANDLE> {
    let parsed = offered(module, given, CKF_DERIVE)?;
    let template = template.to_wire()?;
    admit(session, &template)?;
    key_info::usable(module, session.handle, wide(base_key), parsed.entry, CKF_DERIVE)?;
    let request = DeriveKey {
        handle: wide(base_key),
        mechanism: Some(parsed.wire),
        template: Some(template),
    };
    let answer = module.hsm.object(session.handle, Operation::DeriveKey(request));
    key_info::used(module, wide(base_key), answer).map(narrow)
}

/// C_EncapsulateKey: the new key, unless only the ciphertext's length was asked for.
pub(crate) fn encapsulate(
    module: &Module,
    session: &Session,
    given: &Mechanism<'_>,
    public_key: CK_OBJECT_HANDLE,
    template: Template<'_>,
    ciphertext: &mut Output<'_>,
) -> Result<Option<CK_OBJECT_HANDLE>> {
    let parsed = offered(module, given, CKF_ENCAPSULATE)?;
    let template = template.to_wire()?;
    admit(session, &template)?;
    let info =
        key_info::usable(module, session.handle, wide(public_key), parsed.entry, CKF_ENCAPSULATE)?;
    if !ciphertext.announce(info.scheme.map_or(0, Scheme::ciphertext_bytes))? {
        return Ok(None);
    }
    let request = EncapsulateKey {
        handle: wide(public_key),
        mechanism: Some(parsed.wire),
        template: Some(template),
    };
    let answer = module.hsm.call(session.handle, Operation::EncapsulateKey(request));
    match key_info::used(module, wide(public_key), answer)? {
        Some(Outcome::Encapsulated(reply)) => {
            ciphertext.write(&reply.ciphertext)?;
            Ok(Some(narrow(reply.handle)))
        }
        _ => Err(unexpected_reply()),
    }
}

/// C_DecapsulateKey.
pub(crate) fn decapsulate(
    module: &Module,
    session: &Session,
    given: &Mechanism<'_>,
    private_key: CK_OBJECT_HANDLE,
    template: Template<'_>,
    ciphertext: Input<'_>,
) -> Result<CK_OBJECT_HANDLE> {
    let parsed = offered(module, given, CKF_DECAPSULATE)?;
    let ciphertext = ciphertext.at_most(DATA_BYTES_MAX, CKR_WRAPPED_KEY_LEN_RANGE)?.to_vec();
    let template = template.to_wire()?;
    admit(session, &template)?;
    key_info::usable(module, session.handle, wide(private_key), parsed.entry, CKF_DECAPSULATE)?;
    let request = DecapsulateKey {
        handle: wide(private_key),
        mechanism: Some(parsed.wire),
        ciphertext,
        template: Some(template),
    };
    let answer = module.hsm.object(session.handle, Operation::DecapsulateKey(request));
    key_info::used(module, wide(private_key), answer).map(narrow)
}
