//! What an object's attributes are, for those who may see the object.

use cryptoki_sys::{CK_UNAVAILABLE_INFORMATION, CKA_ALLOWED_MECHANISMS};

use super::table::{self, Form, Place, Row, Sort};
use super::value::Attribute;
use crate::guard::{Guard, stands};
use crate::{Flags, Meta};

/// What reading one attribute gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The value.
    Value(Vec<u8>),
    /// The value is in the sealed body (or made from it: CKA_PUBLIC_KEY_INFO), and may be shown.
    Body,
    /// CKR_ATTRIBUTE_SENSITIVE: the key is sensitive or unextractable.
    Sensitive,
    /// CKR_ATTRIBUTE_TYPE_INVALID: the object has no such attribute.
    Invalid,
}

/// As [`Reading`], without a copy: a search looks at a million of these.
enum View<'a> {
    Bytes(&'a [u8]),
    Number(u64),
    Boolean(bool),
    Body,
    Sensitive,
    Invalid,
}

/// Reads one attribute of an object.
#[must_use]
pub fn read(meta: &Meta, kind: u64) -> Reading {
    match view(meta, kind) {
        View::Bytes(bytes) => Reading::Value(bytes.to_vec()),
        View::Number(number) => Reading::Value(number.to_le_bytes().to_vec()),
        View::Boolean(boolean) => Reading::Value(vec![u8::from(boolean)]),
        View::Body => Reading::Body,
        View::Sensitive => Reading::Sensitive,
        View::Invalid => Reading::Invalid,
    }
}

/// Whether an object has an attribute with this value; `None` where the sealed body decides. An
/// attribute that may not be read matches nothing, or a search would tell its value by guesses.
#[must_use]
pub fn matches(meta: &Meta, attribute: &Attribute) -> Option<bool> {
    Some(match view(meta, attribute.kind) {
        View::Bytes(bytes) => bytes == attribute.value,
        View::Number(number) => number.to_le_bytes() == attribute.value[..],
        View::Boolean(boolean) => [u8::from(boolean)] == attribute.value[..],
        View::Body => return None,
        View::Sensitive | View::Invalid => false,
    })
}

/// Whether an attribute is a secret key's own material: of an open key, for its owner alone.
pub(crate) fn is_material(meta: &Meta, kind: u64) -> bool {
    let secret = Sort::of(meta.class, meta.key_type).is_some_and(Sort::is_secret);
    secret && table::find(kind).is_some_and(|row| row.place == Place::Secret)
}

/// Whether a key may be used with a mechanism (CKM_…): CKA_ALLOWED_MECHANISMS names it, or names
/// none.
#[must_use]
pub fn allows_mechanism(meta: &Meta, mechanism: u64) -> bool {
    let Some(list) = meta.more.get(&CKA_ALLOWED_MECHANISMS) else { return true };
    list.is_empty() || list.as_chunks::<8>().0.contains(&mechanism.to_le_bytes())
}

fn view(meta: &Meta, kind: u64) -> View<'_> {
    let (Some(row), Some(sort)) = (table::find(kind), Sort::of(meta.class, meta.key_type)) else {
        return View::Invalid;
    };
    if !row.is_of(sort) {
        return View::Invalid;
    }
    match row.place {
        Place::Class => View::Number(meta.class),
        // Of the sorts that have a type all have one.
        Place::Type => meta.key_type.map_or(View::Invalid, View::Number),
        Place::Flag(flag) => View::Boolean(meta.flags.contains(flag)),
        Place::Label => View::Bytes(&meta.label),
        Place::Id => View::Bytes(&meta.cka_id),
        Place::Bits => View::Number(u64::from(meta.size_bits)),
        Place::Bytes => View::Number(u64::from(meta.size_bits / 8)),
        Place::CheckValue => {
            meta.check_value.as_ref().map_or(View::Invalid, |value| View::Bytes(value))
        }
        Place::GeneratedBy => View::Number(meta.generated_by.unwrap_or(CK_UNAVAILABLE_INFORMATION)),
        Place::More => more(meta, row),
        Place::Public => View::Body,
        Place::Secret if is_secret(meta, sort) => View::Sensitive,
        Place::Secret => View::Body,
    }
}

/// PKCS#11 v3.1, section 4.9, footnote 7: "Cannot be revealed if object has its CKA_SENSITIVE
/// attribute set to CK_TRUE or its CKA_EXTRACTABLE attribute set to CK_FALSE."
fn is_secret(meta: &Meta, sort: Sort) -> bool {
    sort.is_secret()
        && (meta.flags.contains(Flags::SENSITIVE) || !meta.flags.contains(Flags::EXTRACTABLE))
        && stands(Guard::Sensitive)
}

/// A rarer attribute, empty or zero where the object was given none.
fn more<'a>(meta: &'a Meta, row: &Row) -> View<'a> {
    match meta.more.get(&row.kind) {
        Some(value) => View::Bytes(value),
        None if row.form == Form::Number => View::Number(0),
        None => View::Bytes(&[]),
    }
}
