//! Templates that are themselves an attribute's value: CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE.

use cryptoki_sys::*;
use prost::Message;

use super::draft::Origin;
use super::table::{self, Form, Place};
use super::value::Attribute;
use crate::guard::{Guard, stands};
use crate::limits::{META_VALUE_BYTES_MAX, NESTED_TEMPLATE_ATTRIBUTES_MAX};
use crate::{Flags, Meta, Refusal};

/// As the wire has it: the same tags as its `Template`.
#[derive(PartialEq, Message)]
struct TemplateMessage {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<AttributeMessage>,
}

#[derive(PartialEq, Message)]
#[prost(skip_debug)]
struct AttributeMessage {
    #[prost(uint64, tag = "1")]
    kind: u64,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl std::fmt::Debug for AttributeMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AttributeMessage({:#x})", self.kind)
    }
}

/// A template as an attribute's value. Empty for an empty template.
#[must_use]
pub fn encode_template(template: &[Attribute]) -> Vec<u8> {
    let attributes = template
        .iter()
        .map(|attribute| AttributeMessage { kind: attribute.kind, value: attribute.value.clone() })
        .collect();
    TemplateMessage { attributes }.encode_to_vec()
}

/// The template that is an attribute's value. Its attributes are known, have the right form, stand
/// there once, and are neither templates nor key material.
///
/// # Errors
/// CKR_ATTRIBUTE_VALUE_INVALID.
pub fn decode_template(value: &[u8]) -> Result<Vec<Attribute>, Refusal> {
    let invalid = |what| Refusal::new(CKR_ATTRIBUTE_VALUE_INVALID, what);
    if value.len() > META_VALUE_BYTES_MAX {
        return Err(invalid("a template within a template is longer than 4 KiB"));
    }
    let message = TemplateMessage::decode(value)
        .map_err(|_| invalid("a template within a template is malformed"))?;
    if message.attributes.len() > NESTED_TEMPLATE_ATTRIBUTES_MAX {
        return Err(invalid("a template within a template has more than 32 attributes"));
    }
    let mut template: Vec<Attribute> = Vec::with_capacity(message.attributes.len());
    for AttributeMessage { kind, value } in message.attributes {
        let attribute = Attribute { kind, value };
        let row = table::find(kind)
            .filter(|row| row.form != Form::Template && row.place != Place::Secret)
            .ok_or_else(|| invalid("a template within a template names an unknown attribute"))?;
        row.form.check(&attribute, row.name)?;
        if template.iter().any(|other| other.kind == kind) {
            return Err(invalid("a template within a template names an attribute twice"));
        }
        template.push(attribute);
    }
    Ok(template)
}

/// What a key takes over from the one that unwraps it or that it is derived of, for [`merge`].
///
/// A wrapped key does not say what it was: whoever may unwrap gives the attributes, so what left under a
/// trusted key would come back as one whose value is read, or that any key wraps (Bortolozzo and others,
/// CCS 2010). And what is derived of a key is derived again with other attributes. So both are protected
/// as what they come of: sensitive, and wrapped by trusted keys only.
#[must_use]
pub fn inherited(origin: Origin, from: &Meta) -> Vec<Attribute> {
    let guarded = match origin {
        Origin::Unwrap => from.class == CKO_SECRET_KEY && from.flags.contains(Flags::TRUSTED),
        Origin::Derive => from.flags.contains(Flags::WRAP_WITH_TRUSTED),
        _ => false,
    };
    if !guarded || !stands(Guard::Inheritance) {
        return Vec::new();
    }
    [CKA_SENSITIVE, CKA_WRAP_WITH_TRUSTED].map(|kind| Attribute::new(kind, [1])).to_vec()
}

/// The caller's template with what another key adds: its CKA_UNWRAP_TEMPLATE, or what is [`inherited`].
///
/// CloudHSM adds silently what the caller's template lacks; PKCS#11 v3.1, section 4.8, would have the
/// caller's applied after the key's, which is the same where they don't contradict each other.
///
/// # Errors
/// CKR_TEMPLATE_INCONSISTENT where both give an attribute, with different values.
pub fn merge(caller: &[Attribute], added: &[Attribute]) -> Result<Vec<Attribute>, Refusal> {
    let mut merged = caller.to_vec();
    for attribute in added {
        match caller.iter().find(|given| given.kind == attribute.kind) {
            None => merged.push(attribute.clone()),
            Some(given) if given.value == attribute.value => {}
            Some(_) => {
                return Err(Refusal::new(
                    CKR_TEMPLATE_INCONSISTENT,
                    "the template contradicts what the other key demands: its CKA_UNWRAP_TEMPLATE, or \
                     that what comes of it is sensitive and wrapped by trusted keys only",
                ));
            }
        }
    }
    Ok(merged)
}
