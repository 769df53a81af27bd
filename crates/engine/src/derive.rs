//! Keys made of other keys: C_DeriveKey.
//!
//! What comes of a base key is no safer than the base was: it has always been sensitive, or never
//! extractable, only if both have (PKCS#11 v3.1, 6.3.18 and others in the same words).

use cryptoki_sys::*;
use strongroom_crypto::{AgreementKdf, Key, KeyKind, Kind, Mechanism, Params};
use strongroom_vault::attributes::{self, Origin};
use strongroom_vault::{Flags, Handle, Personality};
use strongroom_wire::message::{DeriveKey, Outcome};

use crate::audit::Function;
use crate::connection::Connection;
use crate::error::Error;
use crate::keys::{self, New};
use crate::operations::{self, Purpose, kind, parameter};
use crate::{der, material, parameters, template};

const DERIVE: Purpose = operations::purpose(CKF_DERIVE, Flags::DERIVE);

impl Connection {
    /// C_DeriveKey.
    pub(crate) fn derive_key(&mut self, request: DeriveKey) -> Result<Outcome, Error> {
        let (handle, mechanism) = (request.handle, kind(request.mechanism.as_ref()));
        let result = self.derive_unrecorded(request);
        self.record(Function::Derive, handle, mechanism, result.as_ref().map(drop));
        result
    }

    fn derive_unrecorded(&mut self, mut request: DeriveKey) -> Result<Outcome, Error> {
        let (mechanism, base) = self.key_for(DERIVE, request.handle, request.mechanism.as_ref())?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        let params = with_bare_point(params, base.key()?)?;
        if self.engine.identity.fips_mode && matches!(base.key()?, Key::SchemePrivate(_)) {
            return Err(operations::mechanism_invalid());
        }
        let mut given = template::attributes(request.template.take())?;
        if self.personality() == Personality::Token {
            material::generic_secret_unless_said(&mut given);
        }
        let base_meta = self.object(Handle(request.handle))?.meta().clone();
        let given = attributes::merge(&given, &attributes::inherited(Origin::Derive, &base_meta))?;
        let mut draft = attributes::draft(
            Origin::Derive,
            self.personality(),
            Some(CKO_SECRET_KEY),
            None,
            None,
            &given,
        )?;
        drop(given);
        inherit(&mut draft.meta.flags, base_meta.flags);
        if let Some(made) = self.made_before(&[&draft.meta])? {
            return keys::object_reply(&made);
        }
        self.may_create(&draft.meta)?;
        let attributes::Draft { mut meta, given: mut attributes } = draft;
        let key_type = meta.key_type.ok_or(Error::Bug("key type"))?;
        let fixed = strongroom_crypto::fixed_length(key_type);
        let length = match template::take(&mut attributes, CKA_VALUE_LEN) {
            Some(length) => Some(template::ulong(&length, "CKA_VALUE_LEN")?),
            None if fixed.is_some() => fixed.map(|length| length as u64),
            None if has_a_length(mechanism, &params) => None,
            None => {
                return Err(Error::caller(CKR_TEMPLATE_INCOMPLETE, "give CKA_VALUE_LEN"));
            }
        };
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length > material::SECRET_BYTES_MAX) {
            return Err(strongroom_crypto::Error::KeySize.into());
        }
        let secret = strongroom_crypto::derive(base.key()?, mechanism, &params, length)?;
        let key = Key::from_secret(material::stored_type(key_type), secret.into_plain())?;
        keys::describe(&mut meta, &key);
        let made = self.make(vec![New { meta, key: Some(key), attributes }])?;
        keys::object_reply(&made)
    }
}

/// What the new key takes over from its base.
fn inherit(flags: &mut Flags, base: Flags) {
    let sensitive = flags.contains(Flags::SENSITIVE) && base.contains(Flags::ALWAYS_SENSITIVE);
    let kept = !flags.contains(Flags::EXTRACTABLE) && base.contains(Flags::NEVER_EXTRACTABLE);
    flags.set(Flags::ALWAYS_SENSITIVE, sensitive);
    flags.set(Flags::NEVER_EXTRACTABLE, kept);
}

/// Whether what the mechanism gives has a length of its own.
fn has_a_length(mechanism: &Mechanism, params: &Params<'_>) -> bool {
    match params {
        Params::Agreement { kdf, .. } => *kdf == AgreementKdf::None,
        Params::Hkdf(hkdf) => !hkdf.expand,
        _ => mechanism.operation == Kind::HashDerive,
    }
}

/// The parameters with the peer's point out of its OCTET STRING: "the token MUST be able to accept
/// this value encoded as a raw octet string … A token MAY, in addition, support … as a DER-encoded
/// ECPoint" (PKCS#11 v3.1, 6.3.16).
fn with_bare_point<'a>(params: Params<'a>, key: &Key) -> Result<Params<'a>, Error> {
    match (params, key.kind()) {
        (Params::Agreement { kdf, shared_info, peer }, KeyKind::SchemePrivate(scheme)) => {
            let peer = der::bare(peer, &[scheme.public_bytes()])
                .ok_or_else(|| Error::parameter("the public data is no key of this curve"))?;
            Ok(Params::Agreement { kdf, shared_info, peer })
        }
        (Params::Agreement { kdf, shared_info, peer }, KeyKind::EcPrivate(curve)) => {
            let peer = der::ec_point(peer, curve.field_bytes())
                .ok_or_else(|| Error::parameter("the public data is no point of this curve"))?;
            Ok(Params::Agreement { kdf, shared_info, peer })
        }
        (params, _) => Ok(params),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_key_is_no_safer_than_its_base() {
        let always = Flags::ALWAYS_SENSITIVE | Flags::NEVER_EXTRACTABLE;
        for (own, base, expected) in [
            (Flags::SENSITIVE, always, always),
            (Flags::SENSITIVE, Flags(0), Flags(0)),
            (Flags::EXTRACTABLE, always, Flags(0)),
            (Flags::SENSITIVE | Flags::EXTRACTABLE, always, Flags::ALWAYS_SENSITIVE),
        ] {
            let mut flags = own;
            inherit(&mut flags, base);
            assert_eq!(flags.0 & always.0, expected.0);
        }
    }
}
