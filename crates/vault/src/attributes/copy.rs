//! The metadata of a copy (C_CopyObject), and of a session object that is made a token object.

use cryptoki_sys::*;

use super::change::{change, no_contradiction};
use super::value::Attribute;
use crate::{Flags, Meta, Personality, Principal, Refusal};

/// The metadata of a copy of an object with some attributes different.
///
/// Beside what [`change`] lets change, CKA_TOKEN may, and CKA_PRIVATE from false to true. A copy is
/// no easier to change, destroy or copy than the object. A trusted key is not copied: its copy could
/// be made to decrypt what the key wraps.
///
/// # Errors
/// - CKR_ACTION_PROHIBITED: the object's CKA_COPYABLE is false, or its CKA_TRUSTED true.
/// - CKR_TEMPLATE_INCONSISTENT: the copy of a private object would be public; an attribute twice
///   with different values.
/// - Else as [`change`].
pub fn copy(
    meta: &Meta,
    personality: Personality,
    who: &Principal,
    template: &[Attribute],
) -> Result<Meta, Refusal> {
    if !meta.flags.contains(Flags::COPYABLE) || meta.flags.contains(Flags::TRUSTED) {
        return Err(Refusal::new(
            CKR_ACTION_PROHIBITED,
            "the object's CKA_COPYABLE is false or its CKA_TRUSTED true: it is not copied",
        ));
    }
    no_contradiction(template)?;
    let moved = |attribute: &&Attribute| matches!(attribute.kind, CKA_TOKEN | CKA_PRIVATE);
    let (moves, changes): (Vec<_>, Vec<_>) = template.iter().partition(moved);
    let changes: Vec<_> = changes.into_iter().cloned().collect();

    // That an object is not modifiable does not keep its copy from being different, but from being
    // modifiable.
    let fixed = !meta.flags.contains(Flags::MODIFIABLE);
    let modifiable = |a: &Attribute| a.kind == CKA_MODIFIABLE && a.as_boolean() == Some(true);
    if fixed && template.iter().any(modifiable) {
        return Err(Refusal::new(
            CKR_ATTRIBUTE_READ_ONLY,
            "the object's CKA_MODIFIABLE is false: so is its copy's",
        ));
    }
    let mut open = meta.clone();
    open.flags.set(Flags::MODIFIABLE, true);
    let mut new = change(&open, personality, who, &changes)?;
    if fixed {
        new.flags.set(Flags::MODIFIABLE, false);
    }
    for attribute in moves {
        let on = attribute.as_boolean().ok_or_else(|| {
            Refusal::new(CKR_ATTRIBUTE_VALUE_INVALID, "the value is neither CK_TRUE nor CK_FALSE")
        })?;
        let private = attribute.kind == CKA_PRIVATE;
        if private && !on && meta.flags.contains(Flags::PRIVATE) {
            return Err(Refusal::new(
                CKR_TEMPLATE_INCONSISTENT,
                "a copy of a private object is private",
            ));
        }
        new.flags.set(if private { Flags::PRIVATE } else { Flags::TOKEN }, on);
    }
    Ok(new)
}
