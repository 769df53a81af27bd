//! An object's metadata, in entries and in records.

use std::collections::BTreeMap;

use super::{Error, messages, open_format, seal_format};
use crate::limits::RECORD_BYTES_MAX;
use crate::{Flags, Meta};

/// Metadata as bytes, deterministic: what an engine binds into a session object's blob.
#[must_use]
pub fn encode_meta(meta: &Meta) -> Vec<u8> {
    seal_format(&to_message(meta))
}

/// Metadata from bytes.
///
/// # Errors
/// Where the bytes are no metadata that [`encode_meta`] writes.
pub fn decode_meta(bytes: &[u8]) -> Result<Meta, Error> {
    from_checked_message(open_format(bytes, RECORD_BYTES_MAX)?)
}

pub(super) fn to_message(meta: &Meta) -> messages::Meta {
    messages::Meta {
        class: meta.class,
        key_type: meta.key_type,
        flags: meta.flags.0,
        label: meta.label.clone(),
        cka_id: meta.cka_id.clone(),
        size_bits: meta.size_bits,
        check_value: meta.check_value.map(|value| value.to_vec()),
        generated_by: meta.generated_by,
        more: meta
            .more
            .iter()
            .map(|(&kind, value)| messages::More { kind, value: value.clone() })
            .collect(),
    }
}

/// Of any [`Meta`] value, within its limits or not: those are for `apply` to check, which can refuse.
pub(super) fn from_message(message: messages::Meta) -> Result<Meta, Error> {
    let check_value = match message.check_value {
        None => None,
        Some(value) => Some(value.try_into().map_err(|_| Error::Invalid("check value"))?),
    };
    let mut more = BTreeMap::new();
    for attribute in message.more {
        // Each once and rising: one value has one encoding.
        if more.last_key_value().is_some_and(|(&last, _)| last >= attribute.kind) {
            return Err(Error::Invalid("attribute"));
        }
        more.insert(attribute.kind, attribute.value);
    }
    Ok(Meta {
        class: message.class,
        key_type: message.key_type,
        flags: Flags(message.flags),
        label: message.label,
        cka_id: message.cka_id,
        size_bits: message.size_bits,
        check_value,
        generated_by: message.generated_by,
        more,
    })
}

/// Of metadata that `apply` or `draft` has let through.
pub(super) fn from_checked_message(message: messages::Meta) -> Result<Meta, Error> {
    let meta = from_message(message)?;
    match meta.over_limit() {
        None => Ok(meta),
        Some(what) => Err(Error::Invalid(what)),
    }
}
