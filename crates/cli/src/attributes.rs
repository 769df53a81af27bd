//! The one table of key attributes: the CLI's name, PKCS#11's number, how the value is written, and
//! what a new key gets. The key JSON, `--attributes`, filters and help follow from it.
//!
//! Defaults are CloudHSM's for its CLI, which differ from PKCS#11's: they are sent with every new
//! key, so that a key is the same whatever the token's personality.

use cryptoki_sys::*;
use strongroom_crypto::{Curve, Scheme};
use strongroom_wire::message::Attribute;

use crate::error::Error;

/// How an attribute's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `true`, `false`.
    Flag,
    /// Text.
    Text,
    /// `0x…`; bytes that are no hex number may be given as text.
    Identifier,
    /// `0x…`.
    Hex,
    /// `0x04…`: an uncompressed point, in PKCS#11 inside a DER OCTET STRING.
    Point,
    /// `secret-key`, `public-key`, `private-key`.
    Class,
    /// `aes`, `rsa`, `ec`, `generic-secret`.
    KeyType,
    /// `prime256v1`, …
    Curve,
    /// A number that follows from other attributes.
    Computed,
}

/// Which kind of key an attribute is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An AES key.
    Aes,
    /// A generic secret.
    Generic,
    /// A public key.
    Public,
    /// A private key.
    Private,
}

/// One row.
pub(crate) struct Row {
    /// The CLI's name.
    pub(crate) name: &'static str,
    /// CKA_…; without meaning for [`Shape::Computed`].
    pub(crate) cka: u64,
    /// How it is written.
    pub(crate) shape: Shape,
    /// Whether `--attributes` takes it.
    pub(crate) settable: bool,
    /// What a new key gets, by [`Kind`]; `None` is left out of the template.
    defaults: [Option<bool>; 4],
}

const T: Option<bool> = Some(true);
const F: Option<bool> = Some(false);
const N: Option<bool> = None;

const fn row(name: &'static str, cka: u64, shape: Shape, settable: bool) -> Row {
    Row { name, cka, shape, settable, defaults: [N; 4] }
}

const fn flag(name: &'static str, cka: u64, defaults: [Option<bool>; 4]) -> Row {
    Row { name, cka, shape: Shape::Flag, settable: true, defaults }
}

/// In the order of the key JSON.
pub(crate) static ROWS: &[Row] = &[
    row("key-type", CKA_KEY_TYPE, Shape::KeyType, false),
    row("label", CKA_LABEL, Shape::Text, true),
    row("id", CKA_ID, Shape::Identifier, true),
    row("check-value", CKA_CHECK_VALUE, Shape::Hex, false),
    row("class", CKA_CLASS, Shape::Class, false),
    //                                                    aes gen pub prv
    flag("encrypt", CKA_ENCRYPT, /*                    */ [F, N, F, N]),
    flag("decrypt", CKA_DECRYPT, /*                    */ [F, N, N, F]),
    flag("token", CKA_TOKEN, /*                        */ [T, T, T, T]),
    row("always-sensitive", CKA_ALWAYS_SENSITIVE, Shape::Flag, false),
    flag("derive", CKA_DERIVE, /*                      */ [F, F, F, F]),
    flag("destroyable", CKA_DESTROYABLE, /*            */ [T, T, T, T]),
    flag("extractable", CKA_EXTRACTABLE, /*            */ [T, T, N, T]),
    row("local", CKA_LOCAL, Shape::Flag, false),
    flag("modifiable", CKA_MODIFIABLE, /*              */ [T, T, T, T]),
    row("never-extractable", CKA_NEVER_EXTRACTABLE, Shape::Flag, false),
    flag("private", CKA_PRIVATE, /*                    */ [T, T, T, T]),
    flag("sensitive", CKA_SENSITIVE, /*                */ [T, T, N, T]),
    flag("sign", CKA_SIGN, /*                          */ [T, T, N, F]),
    row("trusted", CKA_TRUSTED, Shape::Flag, false),
    flag("unwrap", CKA_UNWRAP, /*                      */ [F, N, N, F]),
    flag("verify", CKA_VERIFY, /*                      */ [T, T, F, N]),
    flag("wrap", CKA_WRAP, /*                          */ [F, N, F, N]),
    flag("wrap-with-trusted", CKA_WRAP_WITH_TRUSTED, /**/ [F, F, N, F]),
    row("key-length-bytes", 0, Shape::Computed, false),
    row("public-exponent", CKA_PUBLIC_EXPONENT, Shape::Hex, false),
    row("modulus", CKA_MODULUS, Shape::Hex, false),
    row("modulus-size-bits", 0, Shape::Computed, false),
    row("ec-point", CKA_EC_POINT, Shape::Point, false),
    row("curve", CKA_EC_PARAMS, Shape::Curve, false),
];

/// Key classes, by name.
pub(crate) static CLASSES: &[(&str, u64)] = &[
    ("secret-key", CKO_SECRET_KEY),
    ("public-key", CKO_PUBLIC_KEY),
    ("private-key", CKO_PRIVATE_KEY),
];

/// Key types, by name.
pub(crate) static KEY_TYPES: &[(&str, u64)] = &[
    ("aes", CKK_AES),
    ("rsa", CKK_RSA),
    ("ec", CKK_EC),
    ("generic-secret", CKK_GENERIC_SECRET),
    ("des3", CKK_DES3),
    ("ml-dsa", CKK_ML_DSA),
    ("ml-kem", CKK_ML_KEM),
    ("ec-edwards", CKK_EC_EDWARDS),
    ("ec-montgomery", CKK_EC_MONTGOMERY),
];

/// CKA_EC_PARAMS by the names of curves, Ed25519's too.
pub(crate) fn curve_params() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let ed25519 = Scheme::Ed25519;
    let others = ed25519.params().map(|params| (ed25519.name(), params));
    CURVES.iter().map(|(name, curve)| (*name, curve.params())).chain(others)
}

/// Curves, by the names that CloudHSM takes; [`Curve::name`] is the one shown.
pub(crate) static CURVES: &[(&str, Curve)] = &[
    ("prime256v1", Curve::P256),
    ("secp256r1", Curve::P256),
    ("secp224r1", Curve::P224),
    ("secp384r1", Curve::P384),
    ("secp521r1", Curve::P521),
    ("secp256k1", Curve::Secp256k1),
];

/// The row of a name.
pub(crate) fn find(name: &str) -> Result<&'static Row, Error> {
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        Error::usage(format!("Unknown key attribute '{name}'. Known are: {}", names.join(", ")))
    })
}

/// A CK_ULONG as it travels: eight bytes, little-endian.
pub(crate) fn ulong(value: u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// An attribute as it travels.
pub(crate) fn attribute(kind: u64, value: Vec<u8>) -> Attribute {
    Attribute { kind, value }
}

impl Row {
    /// A value as a user writes it, as PKCS#11 has it.
    pub(crate) fn parse(&self, text: &str) -> Result<Vec<u8>, Error> {
        let wrong =
            |what: &str| Error::usage(format!("Attribute {}: '{text}' is not {what}", self.name));
        let named = |table: &[(&str, u64)]| {
            let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
            table
                .iter()
                .find(|(name, _)| *name == text)
                .map(|(_, number)| ulong(*number))
                .ok_or_else(|| wrong(&format!("one of {}", names.join(", "))))
        };
        match self.shape {
            Shape::Flag => match text {
                "true" => Ok(vec![1]),
                "false" => Ok(vec![0]),
                _ => Err(wrong("true or false")),
            },
            Shape::Text => Ok(text.as_bytes().to_vec()),
            Shape::Identifier => Ok(from_hex(text).unwrap_or_else(|| text.as_bytes().to_vec())),
            Shape::Hex => from_hex(text).ok_or_else(|| wrong("hexadecimal (0x…)")),
            Shape::Point => from_hex(text)
                .map(|point| crate::der::octet_string(&point))
                .ok_or_else(|| wrong("hexadecimal (0x…)")),
            Shape::Class => named(CLASSES),
            Shape::KeyType => named(KEY_TYPES),
            Shape::Curve => curve_params()
                .find(|(name, _)| *name == text)
                .map(|(_, params)| params.to_vec())
                .ok_or_else(|| wrong("a curve")),
            Shape::Computed => text.parse().map(ulong).map_err(|_| wrong("a number")),
        }
    }
}

/// `name=value` of `--attributes`.
#[derive(Clone)]
pub(crate) struct Assignment {
    cka: u64,
    value: Vec<u8>,
}

impl std::str::FromStr for Assignment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Error::usage(format!("'{text}' is not KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE"))
        })?;
        let row = find(name)?;
        if !row.settable {
            return Err(Error::usage(format!("Attribute {name} cannot be set when a key is made")));
        }
        Ok(Self { cka: row.cka, value: row.parse(value)? })
    }
}

/// The template of a new key: the defaults of its kind, its label, then what the caller set, which
/// wins. A usage that the kind does not know (as `verify` of a private key) and that is set to
/// `false` is left out: it is false already, and the HSM would refuse the name.
pub(crate) fn template(
    kind: Kind,
    label: &str,
    session: bool,
    assignments: &[Assignment],
) -> Vec<Attribute> {
    let mut values: Vec<(u64, Vec<u8>)> = vec![(CKA_LABEL, label.as_bytes().to_vec())];
    let mut set = |cka: u64, value: Vec<u8>| match values.iter_mut().find(|(k, _)| *k == cka) {
        Some((_, old)) => *old = value,
        None => values.push((cka, value)),
    };
    for row in ROWS {
        if let Some(on) = row.defaults[kind as usize] {
            set(row.cka, vec![u8::from(on)]);
        }
    }
    if session {
        set(CKA_TOKEN, vec![0]);
    }
    for Assignment { cka, value } in assignments {
        let applies = ROWS.iter().any(|row| {
            row.cka == *cka && (row.shape != Shape::Flag || row.defaults[kind as usize].is_some())
        });
        if applies || value != &[0] {
            set(*cka, value.clone());
        }
    }
    values.into_iter().map(|(cka, value)| attribute(cka, value)).collect()
}

/// `0x…`, an even number of digits or not, as bytes; `None` where the text is something else.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
    (0..padded.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&padded[at..at + 2], 16).ok())
        .collect()
}

/// `0x` and the bytes in lower case.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(template: &[Attribute], cka: u64) -> Option<&[u8]> {
        template.iter().find(|a| a.kind == cka).map(|a| a.value.as_slice())
    }

    #[test]
    fn the_json_order_is_cloudhsms() {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(
            names.join(","),
            "key-type,label,id,check-value,class,encrypt,decrypt,token,always-sensitive,derive,\
             destroyable,extractable,local,modifiable,never-extractable,private,sensitive,sign,\
             trusted,unwrap,verify,wrap,wrap-with-trusted,key-length-bytes,public-exponent,\
             modulus,modulus-size-bits,ec-point,curve"
        );
    }

    #[test]
    fn a_new_aes_key_signs_and_stays_and_a_new_private_key_does_nothing_unasked() {
        let aes = template(Kind::Aes, "a", false, &[]);
        assert_eq!(value(&aes, CKA_SIGN), Some(&[1][..]));
        assert_eq!(value(&aes, CKA_ENCRYPT), Some(&[0][..]));
        assert_eq!(value(&aes, CKA_TOKEN), Some(&[1][..]));
        let private = template(Kind::Private, "p", false, &[]);
        assert_eq!(value(&private, CKA_SIGN), Some(&[0][..]));
        assert_eq!(value(&private, CKA_EXTRACTABLE), Some(&[1][..]));
        assert_eq!(value(&private, CKA_VERIFY), None);
    }

    #[test]
    fn what_the_caller_sets_wins() {
        let set: Vec<Assignment> = ["sign=true", "extractable=false", "id=0x0102", "verify=false"]
            .iter()
            .map(|text| text.parse().ok().unwrap())
            .collect();
        let made = template(Kind::Private, "p", true, &set);
        assert_eq!(value(&made, CKA_SIGN), Some(&[1][..]));
        assert_eq!(value(&made, CKA_EXTRACTABLE), Some(&[0][..]));
        assert_eq!(value(&made, CKA_ID), Some(&[1, 2][..]));
        assert_eq!(value(&made, CKA_TOKEN), Some(&[0][..]));
        assert_eq!(value(&made, CKA_VERIFY), None, "false already, and not a private key's");
    }

    #[test]
    fn an_attribute_that_the_hsm_sets_is_refused_by_name() {
        for text in ["local=true", "trusted=true", "colour=red", "sign", "sign=yes"] {
            assert!(text.parse::<Assignment>().is_err(), "{text}");
        }
    }

    #[test]
    fn hex_is_read_back_as_written() {
        assert_eq!(from_hex("0xabc"), Some(vec![0x0a, 0xbc]));
        assert_eq!(from_hex(&to_hex(&[0, 255, 16])), Some(vec![0, 255, 16]));
        for bad in ["abc", "0xg0", "0x+1", "0x1é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
