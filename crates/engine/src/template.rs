//! Templates from the wire, and single values out of them.

use cryptoki_sys::*;
use strongroom_vault::attributes::Attribute;
use strongroom_wire::limits;
use strongroom_wire::message::Template;

use crate::error::Error;

/// Takes a template over, within the limits.
///
/// # Errors
/// CKR_ARGUMENTS_BAD for too many attributes, CKR_ATTRIBUTE_VALUE_INVALID for too long a value.
pub(crate) fn attributes(template: Option<Template>) -> Result<Vec<Attribute>, Error> {
    let mut template = template.unwrap_or_default().attributes;
    if template.len() > limits::TEMPLATE_ATTRIBUTES_MAX {
        return Err(Error::arguments(format!(
            "a template has at most {} attributes",
            limits::TEMPLATE_ATTRIBUTES_MAX
        )));
    }
    template
        .iter_mut()
        .map(|attribute| {
            let bytes_max = match attribute.kind {
                CKA_LABEL => limits::LABEL_BYTES_MAX,
                CKA_ID => limits::ID_BYTES_MAX,
                _ => limits::ATTRIBUTE_VALUE_BYTES_MAX,
            };
            if attribute.value.len() > bytes_max {
                return Err(Error::caller(
                    CKR_ATTRIBUTE_VALUE_INVALID,
                    format!("attribute {:#x} has at most {bytes_max} bytes", attribute.kind),
                ));
            }
            let value = std::mem::take(&mut attribute.value);
            Ok(Attribute { kind: attribute.kind, value })
        })
        .collect()
}

/// Takes an attribute's value out of what was given.
pub(crate) fn take(given: &mut Vec<Attribute>, kind: u64) -> Option<Vec<u8>> {
    let at = given.iter().position(|attribute| attribute.kind == kind)?;
    let mut attribute = given.swap_remove(at);
    Some(std::mem::take(&mut attribute.value))
}

/// Takes an attribute's value out of what was given; it must be there.
///
/// # Errors
/// CKR_TEMPLATE_INCOMPLETE.
pub(crate) fn require(given: &mut Vec<Attribute>, kind: u64, name: &str) -> Result<Vec<u8>, Error> {
    take(given, kind).ok_or_else(|| Error::caller(CKR_TEMPLATE_INCOMPLETE, format!("give {name}")))
}

/// A CK_ULONG as attributes carry it: eight bytes, little-endian.
///
/// # Errors
/// CKR_ATTRIBUTE_VALUE_INVALID.
pub(crate) fn ulong(value: &[u8], name: &str) -> Result<u64, Error> {
    value
        .try_into()
        .map(u64::from_le_bytes)
        .map_err(|_| Error::caller(CKR_ATTRIBUTE_VALUE_INVALID, format!("{name} is no CK_ULONG")))
}
