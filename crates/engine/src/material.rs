//! Key material in templates and in wrapped form: from attributes or bytes to a key.

use cryptoki_sys::*;
use strongroom_crypto::{Curve, Key, KeyKind, RsaImport, Scheme, SecretBytes};
use strongroom_vault::Meta;
use strongroom_vault::attributes::Attribute;
use zeroize::Zeroizing;

use crate::der;
use crate::error::Error;
use crate::template::{require, take, ulong};

/// The longest secret key, in bytes.
pub(crate) const SECRET_BYTES_MAX: usize = strongroom_crypto::mechanism::GENERIC_SECRET_BYTES_MAX;

/// The key that C_CreateObject's template gives, whose attributes are taken out of `given`; `None`
/// for an object that is no key.
///
/// # Errors
/// CKR_TEMPLATE_INCOMPLETE, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, CKR_CURVE_NOT_SUPPORTED.
pub(crate) fn imported(meta: &Meta, given: &mut Vec<Attribute>) -> Result<Option<Key>, Error> {
    let key = match (meta.class, meta.key_type) {
        (CKO_SECRET_KEY, Some(key_type)) => {
            let value = require(given, CKA_VALUE, "CKA_VALUE")?;
            take(given, CKA_VALUE_LEN);
            Key::from_secret(stored_type(key_type), value)?
        }
        (CKO_PUBLIC_KEY, Some(CKK_RSA)) => {
            let modulus = require(given, CKA_MODULUS, "CKA_MODULUS")?;
            let exponent = require(given, CKA_PUBLIC_EXPONENT, "CKA_PUBLIC_EXPONENT")?;
            Key::from_rsa_public(&modulus, &exponent)?
        }
        (CKO_PRIVATE_KEY, Some(CKK_RSA)) => rsa_private(given)?,
        (CKO_PUBLIC_KEY, Some(key_type @ (CKK_EC | CKK_EC_EDWARDS | CKK_EC_MONTGOMERY))) => {
            ec_public(key_type, given)?
        }
        (CKO_PRIVATE_KEY, Some(key_type @ (CKK_EC | CKK_EC_EDWARDS | CKK_EC_MONTGOMERY))) => {
            ec_private(key_type, given)?
        }
        (CKO_PUBLIC_KEY, Some(CKK_ML_DSA | CKK_ML_KEM)) => {
            let scheme = parameter_set(meta.key_type, given)?;
            Key::from_scheme_public(scheme, &require(given, CKA_VALUE, "CKA_VALUE")?)?
        }
        (CKO_PRIVATE_KEY, Some(CKK_ML_DSA | CKK_ML_KEM)) => pq_private(meta.key_type, given)?,
        (CKO_SECRET_KEY | CKO_PUBLIC_KEY | CKO_PRIVATE_KEY, _) => {
            return Err(Error::caller(
                CKR_ATTRIBUTE_VALUE_INVALID,
                "keys of this type can't be created",
            ));
        }
        _ => return Ok(None),
    };
    Ok(Some(key))
}

fn rsa_private(given: &mut Vec<Attribute>) -> Result<Key, Error> {
    let modulus = require(given, CKA_MODULUS, "CKA_MODULUS")?;
    let public_exponent = require(given, CKA_PUBLIC_EXPONENT, "CKA_PUBLIC_EXPONENT")?;
    let private_exponent =
        Zeroizing::new(require(given, CKA_PRIVATE_EXPONENT, "CKA_PRIVATE_EXPONENT")?);
    let mut part = |kind| take(given, kind).map(Zeroizing::new);
    let parts = [
        part(CKA_PRIME_1),
        part(CKA_PRIME_2),
        part(CKA_EXPONENT_1),
        part(CKA_EXPONENT_2),
        part(CKA_COEFFICIENT),
    ];
    let [prime_1, prime_2, exponent_1, exponent_2, coefficient] =
        parts.each_ref().map(|part| part.as_ref().map(|value| value.as_slice()));
    Ok(Key::from_rsa_private_parts(&RsaImport {
        modulus: &modulus,
        public_exponent: &public_exponent,
        private_exponent: &private_exponent,
        prime_1,
        prime_2,
        exponent_1,
        exponent_2,
        coefficient,
    })?)
}

/// Which of the curves is meant: one of FIPS 186 and SEC 2, or another scheme's.
enum AnyCurve {
    Curve(Curve),
    Scheme(Scheme),
}

/// The curve of a key of this type. Ed25519 keys may be CKK_EC, as CloudHSM's are.
fn any_curve(key_type: u64, given: &mut Vec<Attribute>) -> Result<AnyCurve, Error> {
    let params = require(given, CKA_EC_PARAMS, "CKA_EC_PARAMS")?;
    match Scheme::from_params(&params) {
        Some(scheme) if fits(scheme.key_type(), key_type, Some(scheme)) => {
            Ok(AnyCurve::Scheme(scheme))
        }
        _ if key_type == CKK_EC => curve(&params).map(AnyCurve::Curve),
        _ => Err(curve_unknown()),
    }
}

fn ec_public(key_type: u64, given: &mut Vec<Attribute>) -> Result<Key, Error> {
    let curve = any_curve(key_type, given)?;
    let point = require(given, CKA_EC_POINT, "CKA_EC_POINT")?;
    Ok(match curve {
        AnyCurve::Curve(curve) => Key::from_ec_public(curve, bare_point(&point, curve)?)?,
        AnyCurve::Scheme(scheme) => {
            let point = der::bare(&point, &[scheme.public_bytes()]).ok_or_else(point_invalid)?;
            Key::from_scheme_public(scheme, point)?
        }
    })
}

fn ec_private(key_type: u64, given: &mut Vec<Attribute>) -> Result<Key, Error> {
    let curve = any_curve(key_type, given)?;
    let value = Zeroizing::new(require(given, CKA_VALUE, "CKA_VALUE")?);
    Ok(match curve {
        AnyCurve::Curve(curve) => Key::from_ec_private(curve, &value)?,
        AnyCurve::Scheme(scheme) => Key::from_scheme_seed(scheme, &value)?,
    })
}

/// A private key of ML-DSA or ML-KEM by its seed; the expanded key, if it is given, must be the
/// seed's.
fn pq_private(key_type: Option<u64>, given: &mut Vec<Attribute>) -> Result<Key, Error> {
    let scheme = parameter_set(key_type, given)?;
    let seed = Zeroizing::new(require(given, CKA_SEED, "CKA_SEED")?);
    let key = Key::from_scheme_seed(scheme, &seed)?;
    if let Some(value) = take(given, CKA_VALUE).map(Zeroizing::new)
        && !value.is_empty()
        && key.scheme_expanded().is_none_or(|expanded| !expanded.ct_eq(&value))
    {
        return Err(inconsistent("CKA_VALUE is not the key of CKA_SEED"));
    }
    Ok(key)
}

/// The scheme that CKA_PARAMETER_SET names for a key type.
///
/// # Errors
/// CKR_TEMPLATE_INCOMPLETE, CKR_PARAMETER_SET_NOT_SUPPORTED.
pub(crate) fn parameter_set(
    key_type: Option<u64>,
    given: &mut Vec<Attribute>,
) -> Result<Scheme, Error> {
    let set = require(given, CKA_PARAMETER_SET, "CKA_PARAMETER_SET")?;
    let set = ulong(&set, "CKA_PARAMETER_SET")?;
    key_type.and_then(|key_type| Scheme::from_parameter_set(key_type, set)).ok_or_else(|| {
        Error::caller(CKR_PARAMETER_SET_NOT_SUPPORTED, "CKA_PARAMETER_SET is not known")
    })
}

/// The scheme that CKA_EC_PARAMS names for a key type.
///
/// # Errors
/// CKR_CURVE_NOT_SUPPORTED.
pub(crate) fn scheme_of_curve(key_type: Option<u64>, params: &[u8]) -> Result<Scheme, Error> {
    Scheme::from_params(params)
        .filter(|scheme| Some(scheme.key_type()) == key_type)
        .ok_or_else(curve_unknown)
}

/// Whether a key whose own type is `own` may be an object of `key_type`.
fn fits(own: u64, key_type: u64, scheme: Option<Scheme>) -> bool {
    own == key_type || (key_type == CKK_EC && scheme == Some(Scheme::Ed25519))
}

/// The key inside unwrapped bytes: a secret key's value, or a private key's PKCS#8 ("BER-encoded …
/// PrivateKeyInfo", PKCS#11 2.40, mechanisms, 2.1.22), which must be what the template says.
///
/// # Errors
/// CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE, CKR_TEMPLATE_INCONSISTENT.
pub(crate) fn unwrapped(
    meta: &Meta,
    given: &mut Vec<Attribute>,
    bytes: SecretBytes,
) -> Result<Key, Error> {
    let invalid =
        || Error::caller(CKR_WRAPPED_KEY_INVALID, "the wrapped key is not of the template's type");
    match (meta.class, meta.key_type) {
        (CKO_SECRET_KEY, Some(key_type)) => {
            if let Some(length) = take(given, CKA_VALUE_LEN)
                && ulong(&length, "CKA_VALUE_LEN")? != bytes.len() as u64
            {
                return Err(inconsistent("CKA_VALUE_LEN is not the wrapped key's length"));
            }
            Key::from_secret(stored_type(key_type), bytes.into_plain()).map_err(|error| match error
            {
                strongroom_crypto::Error::KeySize => Error::caller(
                    CKR_WRAPPED_KEY_LEN_RANGE,
                    "the wrapped key has a length that its type does not have",
                ),
                _ => invalid(),
            })
        }
        (CKO_PRIVATE_KEY, Some(key_type)) => {
            let key = Key::from_pkcs8(bytes.as_bytes()).map_err(|_| invalid())?;
            let scheme = match key.kind() {
                KeyKind::SchemePrivate(scheme) => Some(scheme),
                _ => None,
            };
            if !fits(key.kind().key_type(), key_type, scheme) {
                return Err(invalid());
            }
            Ok(key)
        }
        _ => Err(inconsistent("secret and private keys can be unwrapped")),
    }
}

/// The type that a secret key has as key material: CKK_SHA256_HMAC and its like are generic secrets
/// that say what they are for.
pub(crate) fn stored_type(key_type: u64) -> u64 {
    match key_type {
        CKK_AES | CKK_DES3 | CKK_CHACHA20 | CKK_AES_XTS => key_type,
        _ => CKK_GENERIC_SECRET,
    }
}

/// Adds to a template what PKCS#11 has a derived key be where it says nothing: "a generic secret key" (v3.1,
/// 6.3.18 and others).
pub(crate) fn generic_secret_unless_said(given: &mut Vec<Attribute>) {
    for (kind, value) in [(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_GENERIC_SECRET)] {
        if !given.iter().any(|attribute| attribute.kind == kind) {
            given.push(Attribute::new(kind, value.to_le_bytes()));
        }
    }
}

/// The length in bytes that a template asks for: CKA_VALUE_LEN, which key types of one length need not
/// have.
///
/// # Errors
/// CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT where the key type has another length.
pub(crate) fn value_length(key_type: u64, given: &mut Vec<Attribute>) -> Result<usize, Error> {
    let fixed = strongroom_crypto::fixed_length(key_type);
    let length = match (take(given, CKA_VALUE_LEN), fixed) {
        (None, Some(fixed)) => return Ok(fixed),
        (Some(length), _) => length,
        (None, None) => {
            return Err(Error::caller(CKR_TEMPLATE_INCOMPLETE, "give CKA_VALUE_LEN"));
        }
    };
    let length = usize::try_from(ulong(&length, "CKA_VALUE_LEN")?).unwrap_or(usize::MAX);
    match fixed {
        Some(fixed) if fixed != length => {
            Err(inconsistent("CKA_VALUE_LEN is not the length of this key type"))
        }
        _ => Ok(length),
    }
}

/// The curve of CKA_EC_PARAMS.
///
/// # Errors
/// CKR_CURVE_NOT_SUPPORTED.
pub(crate) fn curve(params: &[u8]) -> Result<Curve, Error> {
    Curve::from_params(params).ok_or_else(curve_unknown)
}

fn curve_unknown() -> Error {
    Error::caller(CKR_CURVE_NOT_SUPPORTED, "CKA_EC_PARAMS is not the name of a known curve")
}

fn bare_point(value: &[u8], curve: Curve) -> Result<&[u8], Error> {
    der::ec_point(value, curve.field_bytes()).ok_or_else(point_invalid)
}

fn point_invalid() -> Error {
    Error::caller(CKR_ATTRIBUTE_VALUE_INVALID, "CKA_EC_POINT is no point of this curve")
}

fn inconsistent(message: &str) -> Error {
    Error::caller(CKR_TEMPLATE_INCONSISTENT, message)
}
