//! New metadata out of old, by the rules of one-way attributes.
//!
//! [`change`] serves C_SetAttributeValue when it is proposed; [`check_change`] holds old against new
//! when it is applied, whoever made the new. Both ask the table's column `changing`.

use cryptoki_sys::*;

use super::table::{self, Changing, Place, Row, Sort};
use super::value::{Attribute, invalid};
use crate::guard::{Guard, stands};
use crate::limits::TEMPLATE_ATTRIBUTES_MAX;
use crate::{Flags, Meta, Personality, Principal, Refusal, Role};

/// The metadata that an object has after C_SetAttributeValue.
///
/// CKA_TOKEN from false to true is not here: the engine makes the object anew.
///
/// # Errors
/// - CKR_ACTION_PROHIBITED: the object's CKA_MODIFIABLE is false.
/// - CKR_ATTRIBUTE_READ_ONLY: the attribute does not change, not in this direction, or not by `who`.
/// - CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID: no such attribute, no such value.
/// - CKR_TEMPLATE_INCONSISTENT: an attribute twice with different values.
pub fn change(
    meta: &Meta,
    personality: Personality,
    who: &Principal,
    template: &[Attribute],
) -> Result<Meta, Refusal> {
    if template.len() > TEMPLATE_ATTRIBUTES_MAX {
        return Err(Refusal::new(CKR_TEMPLATE_INCONSISTENT, "more than 128 attributes"));
    }
    let sort = sort_of(meta)?;
    let mut new = meta.clone();
    no_contradiction(template)?;
    for attribute in template {
        let row = table::find(attribute.kind).ok_or_else(unknown)?;
        row.form.check(attribute, row.name)?;
        match row.place {
            // A boolean that such an object does not have is false: saying so changes nothing.
            Place::Flag(_) if !row.is_of(sort) && attribute.as_boolean() == Some(false) => {}
            _ if !row.is_of(sort) => return Err(unknown()),
            Place::Flag(flag) => new.flags.set(flag, attribute.as_boolean().unwrap_or(false)),
            Place::Label => new.label.clone_from(&attribute.value),
            Place::Id => new.cka_id.clone_from(&attribute.value),
            Place::More if attribute.value.is_empty() => {
                new.more.remove(&row.kind);
            }
            Place::More => {
                new.more.insert(row.kind, attribute.value.clone());
            }
            _ => return Err(read_only(row)),
        }
    }
    check_change(meta, &new, personality, who)?;
    Ok(new)
}

/// Refuses a template that gives an attribute two different values.
pub(super) fn no_contradiction(template: &[Attribute]) -> Result<(), Refusal> {
    for (at, attribute) in template.iter().enumerate() {
        let twice = |other: &Attribute| other.kind == attribute.kind && other != attribute;
        if template.iter().take(at).any(twice) {
            return Err(Refusal::new(
                CKR_TEMPLATE_INCONSISTENT,
                "the template gives an attribute two different values",
            ));
        }
    }
    Ok(())
}

/// Whether `who` may make `new` out of `old`.
///
/// # Errors
/// As [`change`].
pub(crate) fn check_change(
    old: &Meta,
    new: &Meta,
    personality: Personality,
    who: &Principal,
) -> Result<(), Refusal> {
    let sort = sort_of(old)?;
    if let Some(what) = new.over_limit() {
        return Err(invalid("a changed object", &format!("has too long a {what}")));
    }
    let fixed = |meta: &Meta| {
        (meta.class, meta.key_type, meta.size_bits, meta.check_value, meta.generated_by)
    };
    if fixed(old) != fixed(new) {
        return Err(Refusal::new(CKR_ATTRIBUTE_READ_ONLY, "what a key is does not change"));
    }
    let mut changed = false;
    for row in table::TABLE {
        if !differs(row, old, new) {
            continue;
        }
        changed = true;
        if !row.is_of(sort) {
            return Err(unknown());
        }
        if let Some(value) = new.more.get(&row.kind) {
            row.form.check(&Attribute::new(row.kind, value.clone()), row.name)?;
        }
        let now = matches!(row.place, Place::Flag(flag) if new.flags.contains(flag));
        may_change(row, now, old, personality, who)?;
    }
    if new.more.keys().any(|&kind| table::find(kind).is_none_or(|row| row.place != Place::More)) {
        return Err(unknown());
    }
    // An admin may still mark a key as trusted: its owner can't, and need not agree.
    let trust_only = new.flags.0 ^ old.flags.0 == Flags::TRUSTED.0;
    if changed && !old.flags.contains(Flags::MODIFIABLE) && !(trust_only && is_admin(who)) {
        return Err(Refusal::new(
            CKR_ACTION_PROHIBITED,
            "the object's CKA_MODIFIABLE is false: it does not change",
        ));
    }
    Ok(())
}

/// Whether one attribute may change, for a boolean to `now`.
fn may_change(
    row: &Row,
    now: bool,
    old: &Meta,
    personality: Personality,
    who: &Principal,
) -> Result<(), Refusal> {
    let admin = is_admin(who);
    // In `cloudhsm` an admin marks keys as trusted and does nothing else with them.
    if admin && personality == Personality::CloudHsm && row.changing != Changing::ByAdmin {
        return Err(Refusal::new(
            CKR_ATTRIBUTE_READ_ONLY,
            format!("{} is changed by the key's owner, not by an admin", row.name),
        ));
    }
    let allowed = match row.changing {
        Changing::Never => false,
        Changing::Free => true,
        Changing::UntilTrusted => {
            admin || !old.flags.contains(Flags::TRUSTED) || !stands(Guard::TrustedSettings)
        }
        Changing::OnlyOn => now || !stands(Guard::OneWay),
        Changing::OnlyOff => !now || !stands(Guard::OneWay),
        Changing::ByAdmin => admin || !stands(Guard::TrustedByAdmin),
    };
    if allowed { Ok(()) } else { Err(read_only(row)) }
}

fn differs(row: &Row, old: &Meta, new: &Meta) -> bool {
    match row.place {
        Place::Flag(flag) => old.flags.contains(flag) != new.flags.contains(flag),
        Place::Label => old.label != new.label,
        Place::Id => old.cka_id != new.cka_id,
        Place::More => old.more.get(&row.kind) != new.more.get(&row.kind),
        _ => false,
    }
}

fn is_admin(who: &Principal) -> bool {
    matches!(who, Principal::User { role: Role::Admin, .. })
}

fn sort_of(meta: &Meta) -> Result<Sort, Refusal> {
    Sort::of(meta.class, meta.key_type).ok_or_else(unknown)
}

fn unknown() -> Refusal {
    Refusal::new(CKR_ATTRIBUTE_TYPE_INVALID, "the object has no such attribute")
}

fn read_only(row: &Row) -> Refusal {
    let why = match row.changing {
        Changing::Never => "does not change",
        Changing::OnlyOn => "only changes from false to true",
        Changing::OnlyOff => "only changes from true to false",
        Changing::ByAdmin => "is changed by an admin",
        Changing::UntilTrusted => "of a trusted key is changed by an admin",
        Changing::Free => "cannot change so",
    };
    Refusal::new(CKR_ATTRIBUTE_READ_ONLY, format!("{} {why}", row.name))
}
