//! A template and an operation's defaults become the metadata of a new object.

use cryptoki_sys::*;

use super::table::{self, Place, Row, Rule, Sort};
use super::value::{Attribute, invalid};
use crate::limits::{META_VALUE_BYTES_MAX, TEMPLATE_ATTRIBUTES_MAX};
use crate::{Flags, Meta, Personality, Refusal};

/// How an object comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// C_GenerateKey.
    Generate,
    /// The public key of C_GenerateKeyPair.
    GeneratePublic,
    /// The private key of C_GenerateKeyPair.
    GeneratePrivate,
    /// C_CreateObject.
    Create,
    /// C_UnwrapKey.
    Unwrap,
    /// C_DeriveKey.
    Derive,
}

impl Origin {
    fn is_generated(self) -> bool {
        matches!(self, Self::Generate | Self::GeneratePublic | Self::GeneratePrivate)
    }
}

/// What a new object will be. The engine makes or parses the key, and sets [`Meta::size_bits`] and
/// [`Meta::check_value`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Metadata, complete but for what only the key itself tells.
    pub meta: Meta,
    /// What the template gave for the key itself, each once, its form checked: CKA_VALUE,
    /// CKA_VALUE_LEN, CKA_MODULUS_BITS, CKA_EC_PARAMS, … Wiped when dropped.
    pub given: Vec<Attribute>,
}

impl Draft {
    /// What the template gave for an attribute of the key itself.
    #[must_use]
    pub fn given(&self, kind: u64) -> Option<&[u8]> {
        let attribute = self.given.iter().find(|attribute| attribute.kind == kind)?;
        Some(&attribute.value)
    }

    /// As [`Draft::given`], of a CK_ULONG.
    #[must_use]
    pub fn given_number(&self, kind: u64) -> Option<u64> {
        self.given.iter().find(|attribute| attribute.kind == kind)?.as_number()
    }
}

/// Checks a template and completes it.
///
/// `implied_class` and `implied_key_type` are what the mechanism makes; `mechanism` is kept as
/// CKA_KEY_GEN_MECHANISM of a generated key.
///
/// # Errors
/// - CKR_ATTRIBUTE_TYPE_INVALID: no attribute has this number.
/// - CKR_ATTRIBUTE_VALUE_INVALID: a value has the wrong form or is out of range.
/// - CKR_ATTRIBUTE_READ_ONLY: the HSM sets the attribute itself.
/// - CKR_TEMPLATE_INCOMPLETE: an attribute is missing that must be given.
/// - CKR_TEMPLATE_INCONSISTENT: attributes contradict one another, the object's sort, the mechanism
///   or the token's rules.
pub fn draft(
    origin: Origin,
    personality: Personality,
    implied_class: Option<u64>,
    implied_key_type: Option<u64>,
    mechanism: Option<u64>,
    template: &[Attribute],
) -> Result<Draft, Refusal> {
    let template = without_repeats(template)?;
    let class = chosen(&template, CKA_CLASS, "CKA_CLASS", implied_class)?
        .ok_or_else(|| incomplete("CKA_CLASS"))?;
    let key_type = match class {
        CKO_DATA => None,
        CKO_CERTIFICATE => Some(required(&template, CKA_CERTIFICATE_TYPE, "CKA_CERTIFICATE_TYPE")?),
        _ => chosen(&template, CKA_KEY_TYPE, "CKA_KEY_TYPE", implied_key_type)?,
    };
    if key_type.is_none() && matches!(class, CKO_SECRET_KEY | CKO_PUBLIC_KEY | CKO_PRIVATE_KEY) {
        return Err(incomplete("CKA_KEY_TYPE"));
    }
    let sort = Sort::of(class, key_type).ok_or_else(|| {
        Refusal::new(
            CKR_TEMPLATE_INCONSISTENT,
            "no object of this CKA_CLASS and CKA_KEY_TYPE can be kept here",
        )
    })?;
    if !exists(origin, sort) {
        return Err(inconsistent("an object of this class cannot be made in this way"));
    }

    let mut draft = Draft { meta: Meta { class, key_type, ..Meta::default() }, given: Vec::new() };
    for attribute in &template {
        let row = table::find(attribute.kind).ok_or_else(|| {
            Refusal::new(
                CKR_ATTRIBUTE_TYPE_INVALID,
                format!("attribute {:#x} is not known", attribute.kind),
            )
        })?;
        row.form.check(attribute, row.name)?;
        let rule = row.rule(personality, origin, sort);
        admit(row, rule, attribute)?;
        if rule != Rule::Absent {
            draft.put(row, attribute)?;
        }
    }
    for row in table::TABLE {
        let absent = !template.iter().any(|attribute| attribute.kind == row.kind);
        match row.rule(personality, origin, sort) {
            Rule::Mandatory if absent => return Err(incomplete(row.name)),
            Rule::Optional(default) | Rule::Only(default) if absent => {
                draft.set_flag(row, default);
            }
            Rule::True => draft.set_flag(row, true),
            _ => {}
        }
    }
    draft.finish(origin, sort, mechanism)?;
    Ok(draft)
}

impl Draft {
    /// Puts one attribute where it belongs.
    fn put(&mut self, row: &Row, attribute: &Attribute) -> Result<(), Refusal> {
        let value = &attribute.value;
        match row.place {
            Place::Class | Place::Type => {}
            Place::Flag(flag) => {
                self.meta.flags.set(flag, attribute.as_boolean().unwrap_or(false));
            }
            Place::Label => self.meta.label.clone_from(value),
            Place::Id => self.meta.cka_id.clone_from(value),
            Place::More => {
                if value.len() > META_VALUE_BYTES_MAX {
                    return Err(invalid(row.name, "is longer than 4 KiB"));
                }
                if !value.is_empty() {
                    self.meta.more.insert(row.kind, value.clone());
                }
            }
            // The HSM sets these two.
            Place::CheckValue | Place::GeneratedBy => {}
            Place::Bits | Place::Bytes | Place::Public | Place::Secret => {
                self.given.push(attribute.clone());
            }
        }
        Ok(())
    }

    fn set_flag(&mut self, row: &Row, on: bool) {
        if let Place::Flag(flag) = row.place {
            self.meta.flags.set(flag, on);
        }
    }

    /// What the HSM itself knows, and what attributes must agree on with one another.
    fn finish(
        &mut self,
        origin: Origin,
        sort: Sort,
        mechanism: Option<u64>,
    ) -> Result<(), Refusal> {
        let generated = origin.is_generated();
        let flags = &mut self.meta.flags;
        flags.set(Flags::LOCAL, generated);
        if sort.is_secret() {
            // PKCS#11 v3.1, section 4.9: CKA_ALWAYS_SENSITIVE is "CK_TRUE if key has always had the
            // CKA_SENSITIVE attribute set to CK_TRUE", CKA_NEVER_EXTRACTABLE likewise. A key that
            // was once elsewhere has not; of a derived one the engine knows from its base.
            flags.set(Flags::ALWAYS_SENSITIVE, generated && flags.contains(Flags::SENSITIVE));
            flags.set(Flags::NEVER_EXTRACTABLE, generated && !flags.contains(Flags::EXTRACTABLE));
        }
        if generated {
            self.meta.generated_by = mechanism;
        }
        if sort == Sort::RsaPublic && generated && self.given(CKA_PUBLIC_EXPONENT).is_none() {
            self.given.push(Attribute::new(CKA_PUBLIC_EXPONENT, [1, 0, 1]));
        }
        if let (Some(value), Some(length)) =
            (self.given(CKA_VALUE), self.given_number(CKA_VALUE_LEN))
            && value.len() as u64 != length
        {
            return Err(inconsistent("CKA_VALUE_LEN is not the length of CKA_VALUE"));
        }
        match self.meta.over_limit() {
            None => Ok(()),
            Some(what) => Err(invalid("a template", &format!("has too long a {what}"))),
        }
    }
}

/// Whether an operation can make objects of this sort.
fn exists(origin: Origin, sort: Sort) -> bool {
    match origin {
        Origin::Generate | Origin::Derive => {
            matches!(sort, Sort::Aes | Sort::OneLength | Sort::Generic)
        }
        Origin::GeneratePublic => matches!(sort, Sort::EcPublic | Sort::RsaPublic | Sort::PqPublic),
        Origin::GeneratePrivate => {
            matches!(sort, Sort::EcPrivate | Sort::RsaPrivate | Sort::PqPrivate)
        }
        Origin::Create => true,
        Origin::Unwrap => sort.is_secret(),
    }
}

/// Whether the template may give this value.
fn admit(row: &Row, rule: Rule, attribute: &Attribute) -> Result<(), Refusal> {
    match rule {
        Rule::Mandatory | Rule::Optional(_) | Rule::True => Ok(()),
        Rule::Only(value) if attribute.as_boolean() == Some(value) => Ok(()),
        Rule::Only(value) => Err(inconsistent(&format!(
            "{} can only be {} for such a key",
            row.name,
            if value { "true" } else { "false" }
        ))),
        Rule::Absent if attribute.as_boolean() == Some(false) && is_flag(row) => Ok(()),
        Rule::Absent => {
            Err(inconsistent(&format!("{} does not belong to such an object here", row.name)))
        }
        Rule::ByHsm => {
            Err(Refusal::new(CKR_ATTRIBUTE_READ_ONLY, format!("{} is set by the HSM", row.name)))
        }
    }
}

fn is_flag(row: &Row) -> bool {
    matches!(row.place, Place::Flag(_))
}

/// The template with each attribute once.
///
/// PKCS#11 v3.1, section 4.1.1: "One example of an inconsistent template would be using a template
/// which specifies two different values for the same attribute."
fn without_repeats(template: &[Attribute]) -> Result<Vec<&Attribute>, Refusal> {
    if template.len() > TEMPLATE_ATTRIBUTES_MAX {
        return Err(inconsistent("the template has more than 128 attributes"));
    }
    let mut unique: Vec<&Attribute> = Vec::with_capacity(template.len());
    for attribute in template {
        match unique.iter().find(|other| other.kind == attribute.kind) {
            None => unique.push(attribute),
            Some(other) if other.value == attribute.value => {}
            Some(_) => {
                return Err(inconsistent("the template gives an attribute two different values"));
            }
        }
    }
    Ok(unique)
}

/// A number that the template gives or the mechanism implies; both must agree.
fn chosen(
    template: &[&Attribute],
    kind: u64,
    name: &str,
    implied: Option<u64>,
) -> Result<Option<u64>, Refusal> {
    let Some(attribute) = template.iter().find(|attribute| attribute.kind == kind) else {
        return Ok(implied);
    };
    let given = attribute.as_number().ok_or_else(|| invalid(name, "is no CK_ULONG"))?;
    match implied {
        Some(implied) if implied != given => {
            Err(inconsistent(&format!("{name} is not what the mechanism makes")))
        }
        _ => Ok(Some(given)),
    }
}

fn required(template: &[&Attribute], kind: u64, name: &str) -> Result<u64, Refusal> {
    chosen(template, kind, name, None)?.ok_or_else(|| incomplete(name))
}

fn incomplete(name: &str) -> Refusal {
    Refusal::new(CKR_TEMPLATE_INCOMPLETE, format!("the template must give {name}"))
}

fn inconsistent(what: &str) -> Refusal {
    Refusal::new(CKR_TEMPLATE_INCONSISTENT, what)
}

/// Checks metadata of a new object that comes with a command, whoever drafted it.
pub(crate) fn check_new(meta: &Meta, personality: Personality) -> Result<(), Refusal> {
    let sort = Sort::of(meta.class, meta.key_type)
        .ok_or_else(|| inconsistent("no object of this class and type can be kept here"))?;
    if let Some(what) = meta.over_limit() {
        return Err(invalid("a new object", &format!("has too long a {what}")));
    }
    for row in table::TABLE {
        match row.place {
            Place::Flag(flag) if meta.flags.contains(flag) && !row.is_of(sort) => {
                return Err(inconsistent(&format!(
                    "{} does not belong to such an object",
                    row.name
                )));
            }
            _ => {}
        }
    }
    for (&kind, value) in &meta.more {
        let row = table::find(kind)
            .filter(|row| row.place == Place::More && row.is_of(sort))
            .ok_or_else(|| inconsistent("an attribute does not belong to such an object"))?;
        row.form.check(&Attribute::new(kind, value.clone()), row.name)?;
    }
    let flags = meta.flags;
    if personality == Personality::CloudHsm && sort.is_secret() && !flags.contains(Flags::PRIVATE) {
        return Err(inconsistent("a private or secret key is private"));
    }
    let contradicts = |always, now: bool| flags.contains(always) && !now;
    if contradicts(Flags::ALWAYS_SENSITIVE, flags.contains(Flags::SENSITIVE))
        || contradicts(Flags::NEVER_EXTRACTABLE, !flags.contains(Flags::EXTRACTABLE))
    {
        return Err(inconsistent("a key is said to have always been what it is not"));
    }
    Ok(())
}
