//! What an object holds beside its metadata: its key, parsed, and the attributes that never change.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_crypto::{Key, KeyKind, SecretBytes};
use strongroom_vault::attributes::Attribute;
use strongroom_vault::guard::{Guard, stands};
use strongroom_vault::{Flags, Meta};
use zeroize::Zeroizing;

use crate::der;
use crate::error::Error;

/// Flags that are set when an object is made and never change.
pub(crate) const IMMUTABLE_FLAGS: Flags = Flags(
    Flags::PRIVATE.0 | Flags::LOCAL.0 | Flags::ALWAYS_SENSITIVE.0 | Flags::NEVER_EXTRACTABLE.0,
);

/// The metadata that is sealed with the key, so that a changed record can't make more of an object
/// than its maker did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) class: u64,
    pub(crate) key_type: Option<u64>,
    /// All flags at the object's creation.
    pub(crate) flags: Flags,
    pub(crate) generated_by: Option<u64>,
}

impl Origin {
    pub(crate) fn of(meta: &Meta) -> Self {
        Self {
            class: meta.class,
            key_type: meta.key_type,
            flags: meta.flags,
            generated_by: meta.generated_by,
        }
    }

    /// Whether `meta` can have come of this origin by the changes that the rules allow: sensitive
    /// stays so, what could not be extracted never can be, and what wanted a trusted key does.
    pub(crate) fn allows(&self, meta: &Meta) -> bool {
        let kept = |flag| meta.flags.contains(flag) || !self.flags.contains(flag);
        let one_way = kept(Flags::SENSITIVE)
            && kept(Flags::WRAP_WITH_TRUSTED)
            && (!meta.flags.contains(Flags::EXTRACTABLE)
                || self.flags.contains(Flags::EXTRACTABLE));
        self.class == meta.class
            && self.key_type == meta.key_type
            && self.generated_by == meta.generated_by
            && (self.flags.0 ^ meta.flags.0) & IMMUTABLE_FLAGS.0 == 0
            && (one_way || !stands(Guard::OneWay))
    }
}

/// An object's content, unsealed. Wiped when the last holder drops it.
pub(crate) struct Content {
    pub(crate) origin: Origin,
    pub(crate) key: Option<Key>,
    /// Attributes other than the key's own, as given when the object was made.
    pub(crate) attributes: Vec<Attribute>,
}

impl Content {
    pub(crate) fn new(meta: &Meta, key: Option<Key>, attributes: Vec<Attribute>) -> Arc<Self> {
        Arc::new(Self { origin: Origin::of(meta), key, attributes })
    }

    /// The key.
    ///
    /// # Errors
    /// CKR_KEY_HANDLE_INVALID where the object is no key.
    pub(crate) fn key(&self) -> Result<&Key, Error> {
        self.key
            .as_ref()
            .ok_or_else(|| Error::caller(CKR_KEY_HANDLE_INVALID, "this object is not a key"))
    }

    /// An attribute as it was given.
    pub(crate) fn given(&self, kind: u64) -> Option<&[u8]> {
        self.attributes.iter().find(|a| a.kind == kind).map(|a| a.value.as_slice())
    }

    /// An attribute's value, of the key itself or as given. The caller has asked the vault whether it
    /// may be shown.
    pub(crate) fn attribute(&self, kind: u64) -> Option<Zeroizing<Vec<u8>>> {
        let of_key = self.key.as_ref().and_then(|key| of_key(key, kind));
        of_key.or_else(|| self.given(kind).map(|value| Zeroizing::new(value.to_vec())))
    }
}

/// An attribute that the key itself tells.
fn of_key(key: &Key, kind: u64) -> Option<Zeroizing<Vec<u8>>> {
    let value = match kind {
        CKA_VALUE => match key.kind() {
            KeyKind::Secret(_) | KeyKind::EcPrivate(_) => return Some(plain(key.to_stored())),
            KeyKind::SchemePrivate(scheme) if scheme.params().is_some() => {
                return Some(plain(key.to_stored()));
            }
            KeyKind::SchemePrivate(_) => return Some(plain(key.scheme_expanded()?)),
            KeyKind::SchemePublic(scheme) if scheme.params().is_none() => {
                key.scheme_public()?.to_vec()
            }
            _ => return None,
        },
        CKA_MODULUS => key.rsa_modulus()?,
        CKA_PUBLIC_EXPONENT => key.rsa_public_exponent()?,
        CKA_EC_PARAMS => match key.kind() {
            KeyKind::EcPrivate(curve) | KeyKind::EcPublic(curve) => curve.params().to_vec(),
            KeyKind::SchemePrivate(scheme) | KeyKind::SchemePublic(scheme) => {
                scheme.params()?.to_vec()
            }
            _ => return None,
        },
        // "DER-encoding of the b-bit public key value in little endian order as defined in RFC 8032"
        // (PKCS#11 v3.0, 2.3.5).
        CKA_EC_POINT => match key.kind() {
            KeyKind::SchemePrivate(scheme) | KeyKind::SchemePublic(scheme) => {
                scheme.params()?;
                der::octet_string(key.scheme_public()?)
            }
            _ => der::octet_string(&key.ec_point()?),
        },
        CKA_PARAMETER_SET => match key.kind() {
            KeyKind::SchemePrivate(scheme) | KeyKind::SchemePublic(scheme) => {
                scheme.parameter_set()?.to_le_bytes().to_vec()
            }
            _ => return None,
        },
        CKA_SEED => match key.kind() {
            KeyKind::SchemePrivate(scheme) if scheme.params().is_none() => {
                return Some(plain(key.to_stored()));
            }
            _ => return None,
        },
        CKA_PUBLIC_KEY_INFO => key.to_spki()?,
        CKA_PRIVATE_EXPONENT => return Some(plain(key.rsa_private_parts()?.d)),
        CKA_PRIME_1 => return Some(plain(key.rsa_private_parts()?.p)),
        CKA_PRIME_2 => return Some(plain(key.rsa_private_parts()?.q)),
        CKA_EXPONENT_1 => return Some(plain(key.rsa_private_parts()?.dp)),
        CKA_EXPONENT_2 => return Some(plain(key.rsa_private_parts()?.dq)),
        CKA_COEFFICIENT => return Some(plain(key.rsa_private_parts()?.qinv)),
        _ => return None,
    };
    Some(Zeroizing::new(value))
}

fn plain(secret: SecretBytes) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(secret.into_plain())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(flags: Flags) -> Meta {
        Meta { class: CKO_SECRET_KEY, key_type: Some(CKK_AES), flags, ..Meta::default() }
    }

    #[test]
    fn metadata_may_change_only_in_the_allowed_direction() {
        let sensitive = Origin::of(&meta(Flags::SENSITIVE));
        assert!(sensitive.allows(&meta(Flags::SENSITIVE | Flags::SIGN)));
        assert!(!sensitive.allows(&meta(Flags(0))));
        assert!(!sensitive.allows(&meta(Flags::SENSITIVE | Flags::EXTRACTABLE)));
        assert!(!sensitive.allows(&meta(Flags::SENSITIVE | Flags::LOCAL)));
        let open = Origin::of(&meta(Flags::EXTRACTABLE));
        assert!(open.allows(&meta(Flags::SENSITIVE)));
        assert!(!open.allows(&Meta { class: CKO_DATA, ..meta(Flags::EXTRACTABLE) }));
        assert!(!open.allows(&Meta { key_type: None, ..meta(Flags::EXTRACTABLE) }));
    }
}
