//! Keys that leave and enter the HSM under another key: C_WrapKey and C_UnwrapKey.
//!
//! Whether a key may leave is the vault's to say: CKA_EXTRACTABLE (CKR_KEY_UNEXTRACTABLE), a trusted
//! wrapping key where the key wants one (CKR_KEY_NOT_WRAPPABLE), CKA_WRAP and CKA_WRAP_TEMPLATE of
//! the wrapping key. What enters has never been here for sure: CKA_LOCAL,
//! CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE are false.

use cryptoki_sys::*;
use strongroom_crypto::{Key, KeyKind, Kind, SecretBytes};
use strongroom_vault::attributes::{self, Origin};
use strongroom_vault::guard::{self, Guard};
use strongroom_vault::{Action, Flags, Handle, Meta};
use strongroom_wire::message::{Data, EncryptedReply, Outcome, UnwrapKey, WrapKey};

use crate::audit::Function;
use crate::connection::Connection;
use crate::error::Error;
use crate::keys::{self, New};
use crate::objects::{Seen, see_for_use};
use crate::operations::{self, Purpose, kind, parameter};
use crate::{material, parameters, template};

const WRAP: Purpose = Purpose {
    function: CKF_WRAP,
    permission: Flags::WRAP,
    handle_invalid: CKR_WRAPPING_KEY_HANDLE_INVALID,
    type_inconsistent: CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
};
const UNWRAP: Purpose = Purpose {
    function: CKF_UNWRAP,
    permission: Flags::UNWRAP,
    handle_invalid: CKR_UNWRAPPING_KEY_HANDLE_INVALID,
    type_inconsistent: CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
};

impl Connection {
    /// C_WrapKey. The answer is `Data`, or `Encrypted` where the HSM made an IV that the caller has
    /// to keep.
    pub(crate) fn wrap_key(&mut self, request: &WrapKey) -> Result<Outcome, Error> {
        let result = self.wrap_unrecorded(request);
        let mechanism = kind(request.mechanism.as_ref());
        let used = result.as_ref().map(drop);
        self.record(Function::Wrap, request.wrapping_handle, mechanism, used);
        let left = result.as_ref().map(drop);
        self.record(Function::Export, request.handle, mechanism, left);
        result
    }

    fn wrap_unrecorded(&mut self, request: &WrapKey) -> Result<Outcome, Error> {
        let (mechanism, wrapping_content) =
            self.key_for(WRAP, request.wrapping_handle, request.mechanism.as_ref())?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        let wrapping = self.object(Handle(request.wrapping_handle))?;
        let invalid =
            |error: Error| error.renamed(CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID);
        let (target, ()) = self
            .look_up(Handle(request.handle), |state, who, object| {
                see_for_use(state, who, object, Flags::WRAP)
            })
            .map_err(invalid)?;
        if !matches!(target.meta().class, CKO_SECRET_KEY | CKO_PRIVATE_KEY) {
            return Err(Error::caller(
                CKR_KEY_NOT_WRAPPABLE,
                "secret and private keys can be wrapped",
            ));
        }
        self.may(&Action::Wrap { wrapping: wrapping.record(), target: target.record() })?;
        let content = target.content(self).map_err(invalid)?;
        let bytes = exported(content.key()?)?;
        let fresh = parameters::fresh_gcm_iv(self.personality(), mechanism, &params)?;
        // Under an IV of one's own choice, a key that one knows and the one that one doesn't are
        // enciphered by the same key stream.
        if mechanism.operation == Kind::AesGcm && fresh.is_none() {
            self.must_decrypt(&wrapping)?;
        }
        let params = parameters::with_iv(params, fresh.as_ref());
        let data =
            strongroom_crypto::wrap(wrapping_content.key()?, mechanism, &params, bytes.as_bytes())
                .map_err(wrap_error)?;
        Ok(match fresh {
            Some(iv) => Outcome::Encrypted(EncryptedReply { data, iv: iv.to_vec() }),
            None => Outcome::Data(Data { data }),
        })
    }

    /// C_UnwrapKey.
    pub(crate) fn unwrap_key(&mut self, request: UnwrapKey) -> Result<Outcome, Error> {
        let (handle, mechanism) = (request.wrapping_handle, kind(request.mechanism.as_ref()));
        let result = self.unwrap_unrecorded(request);
        self.record(Function::Unwrap, handle, mechanism, result.as_ref().map(drop));
        result
    }

    fn unwrap_unrecorded(&mut self, mut request: UnwrapKey) -> Result<Outcome, Error> {
        let (mechanism, unwrapping) =
            self.key_for(UNWRAP, request.wrapping_handle, request.mechanism.as_ref())?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        operations::check_length(&request.wrapped, CKR_WRAPPED_KEY_LEN_RANGE)?;
        let key = self.object(Handle(request.wrapping_handle))?;
        if tells_of_altered(mechanism.operation) {
            self.must_decrypt(&key)?;
        }
        let given = template::attributes(request.template.take())?;
        let given = with_unwrap_template(key.meta(), given)?;
        let draft =
            attributes::draft(Origin::Unwrap, self.personality(), None, None, None, &given)?;
        drop(given);
        if let Some(made) = self.made_before(&[&draft.meta])? {
            return keys::object_reply(&made);
        }
        self.may_create(&draft.meta)?;
        let attributes::Draft { mut meta, given: mut attributes } = draft;
        let bytes =
            strongroom_crypto::unwrap(unwrapping.key()?, mechanism, &params, &request.wrapped)?;
        let key = material::unwrapped(&meta, &mut attributes, bytes)?;
        keys::describe(&mut meta, &key);
        let made = self.make(vec![New { meta, key: Some(key), attributes }])?;
        keys::object_reply(&made)
    }

    /// Refuses a way of wrapping that decrypts for whoever may only wrap and unwrap, where the key may not
    /// decrypt anyway.
    fn must_decrypt(&mut self, key: &Seen) -> Result<(), Error> {
        if !guard::stands(Guard::Oracles) {
            return Ok(());
        }
        self.may(&Action::Use { object: key.record(), flag: Flags::DECRYPT })
    }
}

/// Whether unwrapping a ciphertext that was altered tells what it holds: where nothing authenticates it,
/// the padding, the length or the key that comes of it does (Vaudenay, EUROCRYPT 2002; against tokens:
/// Bardou and others, CRYPTO 2012). RSA PKCS #1 v1.5 does not: its wrong padding gives another key.
fn tells_of_altered(operation: Kind) -> bool {
    !matches!(
        operation,
        Kind::AesGcm
            | Kind::AesGcmWithIv
            | Kind::AesKeyWrap
            | Kind::AesKeyWrapPad
            | Kind::AesKeyWrapPkcs5
            | Kind::RsaOaep
            | Kind::RsaAesKeyWrap
            | Kind::RsaPkcs
    )
}

/// The template with what the unwrapping key adds.
fn with_unwrap_template(
    unwrapping: &Meta,
    given: Vec<attributes::Attribute>,
) -> Result<Vec<attributes::Attribute>, Error> {
    let inherited = attributes::inherited(Origin::Unwrap, unwrapping);
    let given = attributes::merge(&given, &inherited)?;
    match unwrapping.more.get(&CKA_UNWRAP_TEMPLATE) {
        Some(template) => Ok(attributes::merge(&given, &attributes::decode_template(template)?)?),
        None => Ok(given),
    }
}

/// A key as it leaves: a secret key's value, a private key's PKCS#8.
fn exported(key: &Key) -> Result<SecretBytes, Error> {
    match key.kind() {
        KeyKind::Secret(_) => Ok(key.to_stored()),
        KeyKind::RsaPrivate | KeyKind::EcPrivate(_) | KeyKind::SchemePrivate(_) => {
            Ok(key.to_pkcs8()?)
        }
        KeyKind::RsaPublic | KeyKind::EcPublic(_) | KeyKind::SchemePublic(_) => {
            Err(Error::caller(CKR_KEY_NOT_WRAPPABLE, "public keys need no wrapping"))
        }
    }
}

/// What is wrapped is a key, not data: its length is the key's.
fn wrap_error(error: strongroom_crypto::Error) -> Error {
    Error::from(error).renamed(CKR_DATA_LEN_RANGE, CKR_KEY_SIZE_RANGE)
}
