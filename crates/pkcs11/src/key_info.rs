//! What the library knows of keys, so that a steady-state Init call costs no request.
//!
//! The HSM enforces everything again at the use itself; the cache only makes errors come at the
//! call where PKCS#11 has them, and tells how long a signature will be. A refusal is never given
//! from a cached entry: another program may have changed the key, so it is read again first.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use cryptoki_sys::*;
use strongroom_crypto::mechanism::{Kind, Mechanism};
use strongroom_crypto::{Curve, Scheme};
use strongroom_wire::message::AttributeReply;

use crate::error::{Ckr, Result};
use crate::hsm::key_handle;
use crate::lock::{read, write};
use crate::module::{Module, wide};

/// Keys remembered at most; beyond that the cache starts again.
const KEYS_MAX: usize = 65_536;

/// What an Init call asks about a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyInfo {
    /// CKA_CLASS.
    class: u64,
    /// CKA_KEY_TYPE.
    key_type: u64,
    /// CKF_ENCRYPT, … for CKA_ENCRYPT, …
    usages: CK_FLAGS,
    /// CKA_ALWAYS_AUTHENTICATE.
    pub(crate) always_authenticate: bool,
    /// Of what scheme it is, where it is not a key of RSA or of FIPS 186's or SEC 2's curves.
    pub(crate) scheme: Option<Scheme>,
    /// Bytes of an RSA modulus, or of an elliptic curve's field; 0 for other keys.
    pub(crate) bytes: usize,
}

/// CKA_ and CKF_ of each use of a key.
const USAGES: [(CK_ATTRIBUTE_TYPE, CK_FLAGS); 9] = [
    (CKA_ENCRYPT, CKF_ENCRYPT),
    (CKA_DECRYPT, CKF_DECRYPT),
    (CKA_SIGN, CKF_SIGN),
    (CKA_VERIFY, CKF_VERIFY),
    (CKA_WRAP, CKF_WRAP),
    (CKA_UNWRAP, CKF_UNWRAP),
    (CKA_DERIVE, CKF_DERIVE),
    (CKA_ENCAPSULATE, CKF_ENCAPSULATE),
    (CKA_DECAPSULATE, CKF_DECAPSULATE),
];

impl KeyInfo {
    /// The attributes that an entry is made of.
    fn kinds() -> Vec<u64> {
        let others = [
            CKA_CLASS,
            CKA_KEY_TYPE,
            CKA_ALWAYS_AUTHENTICATE,
            CKA_MODULUS,
            CKA_EC_PARAMS,
            CKA_PARAMETER_SET,
        ];
        let usages = USAGES.iter().map(|(attribute, _)| *attribute);
        others.into_iter().chain(usages).map(wide).collect()
    }

    fn from_attributes(attributes: &[AttributeReply]) -> Result<Self> {
        let value = |kind: CK_ATTRIBUTE_TYPE| {
            attributes
                .iter()
                .find(|reply| reply.kind == wide(kind) && reply.status == wide(CKR_OK))
                .map(|reply| reply.value.as_slice())
        };
        let number = |kind| {
            value(kind).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map(u64::from_le_bytes)
        };
        let is_set = |kind| value(kind).and_then(<[u8]>::first).is_some_and(|&on| on != 0);
        let class = number(CKA_CLASS).ok_or(Ckr(CKR_KEY_HANDLE_INVALID))?;
        let is_key = [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, CKO_SECRET_KEY].map(wide).contains(&class);
        if !is_key {
            return Err(Ckr(CKR_KEY_HANDLE_INVALID));
        }
        let modulus = value(CKA_MODULUS).map(|modulus| {
            let zeroes = modulus.iter().take_while(|&&byte| byte == 0).count();
            modulus.len() - zeroes
        });
        let field = value(CKA_EC_PARAMS).and_then(Curve::from_params).map(|c| c.field_bytes());
        let key_type = number(CKA_KEY_TYPE).unwrap_or(u64::MAX);
        let of_set =
            number(CKA_PARAMETER_SET).and_then(|set| Scheme::from_parameter_set(key_type, set));
        Ok(Self {
            class,
            key_type,
            scheme: of_set.or_else(|| value(CKA_EC_PARAMS).and_then(Scheme::from_params)),
            usages: USAGES
                .iter()
                .filter(|(attribute, _)| is_set(*attribute))
                .fold(0, |flags, (_, flag)| flags | flag),
            always_authenticate: is_set(CKA_ALWAYS_AUTHENTICATE),
            bytes: modulus.or(field).unwrap_or(0),
        })
    }

    /// Whether the key can serve `mechanism` in the way of `usage` (one CKF_ flag).
    fn check(&self, mechanism: &Mechanism, usage: CK_FLAGS) -> Result<()> {
        let secret = self.class == wide(CKO_SECRET_KEY);
        if mechanism.key_type.is_some() && !mechanism.takes(self.key_type) {
            return Err(Ckr(CKR_KEY_TYPE_INCONSISTENT));
        }
        // CloudHSM's Ed25519 keys are of the type CKK_EC, too.
        let is_ed25519 = self.scheme == Some(Scheme::Ed25519);
        let of_other_curve = match mechanism.operation {
            Kind::Eddsa => !is_ed25519,
            Kind::Ecdsa | Kind::Ecdh => is_ed25519,
            _ => false,
        };
        if of_other_curve {
            return Err(Ckr(CKR_KEY_TYPE_INCONSISTENT));
        }
        let private =
            usage & (CKF_SIGN | CKF_DECRYPT | CKF_UNWRAP | CKF_DERIVE | CKF_DECAPSULATE) != 0;
        if !secret && private != (self.class == wide(CKO_PRIVATE_KEY)) {
            return Err(Ckr(CKR_KEY_TYPE_INCONSISTENT));
        }
        if self.usages & usage == 0 {
            return Err(Ckr(CKR_KEY_FUNCTION_NOT_PERMITTED));
        }
        Ok(())
    }
}

/// The keys that were used.
pub(crate) struct KeyCache(RwLock<HashMap<u64, Arc<KeyInfo>>>);

impl KeyCache {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(RwLock::new(HashMap::new()))
    }

    /// Forgets one key: it was changed or destroyed, or the HSM does not know it any more.
    pub(crate) fn remove(&self, handle: u64) {
        write(&self.0).remove(&handle);
    }

    /// Forgets all: another user may see other keys.
    pub(crate) fn clear(&self) {
        write(&self.0).clear();
    }

    fn get(&self, handle: u64) -> Option<Arc<KeyInfo>> {
        read(&self.0).get(&handle).cloned()
    }

    fn insert(&self, handle: u64, info: Arc<KeyInfo>) {
        let mut keys = write(&self.0);
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(handle, info);
    }
}

/// The key of `handle`, if it can serve `mechanism` in the way of `usage` (one CKF_ flag).
///
/// # Errors
/// CKR_MECHANISM_INVALID where the HSM does not offer the mechanism for that use,
/// CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED.
pub(crate) fn usable(
    module: &Module,
    session: u64,
    handle: u64,
    mechanism: &Mechanism,
    usage: CK_FLAGS,
) -> Result<Arc<KeyInfo>> {
    let offered = module.mechanism(crate::module::narrow(mechanism.kind))?;
    if offered.flags & wide(usage) == 0 {
        return Err(Ckr(CKR_MECHANISM_INVALID));
    }
    if let Some(known) = module.keys.get(handle)
        && known.check(mechanism, usage).is_ok()
    {
        return Ok(known);
    }
    let attributes =
        module.hsm.attributes(session, handle, KeyInfo::kinds()).map_err(key_handle)?;
    let fresh = Arc::new(KeyInfo::from_attributes(&attributes)?);
    module.keys.insert(handle, Arc::clone(&fresh));
    fresh.check(mechanism, usage)?;
    Ok(fresh)
}

/// The answer to the use of a key: one that is gone is forgotten here too.
pub(crate) fn used<T>(module: &Module, handle: u64, answer: Result<T>) -> Result<T> {
    answer.map_err(|error| {
        module.keys.remove(handle);
        key_handle(error)
    })
}
