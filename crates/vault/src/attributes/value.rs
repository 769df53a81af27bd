//! One attribute's value, and the forms that values have.

use cryptoki_sys::{CK_UNAVAILABLE_INFORMATION, CKR_ATTRIBUTE_VALUE_INVALID};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::template;
use crate::Refusal;
use crate::limits::ATTRIBUTE_VALUE_BYTES_MAX;

/// An attribute as an application gives or gets it: CKA_ number and value. A CK_ULONG is eight
/// bytes, little-endian; a CK_BBOOL one byte; a nested template as [`super::encode_template`] makes
/// it. Wiped when dropped, since the value may be key material.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Attribute {
    /// CKA_ number.
    pub kind: u64,
    /// Value.
    pub value: Vec<u8>,
}

impl Attribute {
    /// An attribute of any form.
    #[must_use]
    pub fn new(kind: u64, value: impl Into<Vec<u8>>) -> Self {
        Self { kind, value: value.into() }
    }

    /// A CK_BBOOL.
    #[must_use]
    pub fn boolean(kind: u64, value: bool) -> Self {
        Self::new(kind, [u8::from(value)])
    }

    /// A CK_ULONG.
    #[must_use]
    pub fn number(kind: u64, value: u64) -> Self {
        Self::new(kind, value.to_le_bytes())
    }

    /// The value as a CK_BBOOL; `None` where it is neither CK_TRUE nor CK_FALSE.
    #[must_use]
    pub fn as_boolean(&self) -> Option<bool> {
        match self.value[..] {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// The value as a CK_ULONG; `None` where it is not eight bytes.
    #[must_use]
    pub fn as_number(&self) -> Option<u64> {
        self.value.as_slice().try_into().ok().map(u64::from_le_bytes)
    }
}

/// The number and the length: a value may be key material.
impl std::fmt::Debug for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attribute({:#x}, {} bytes)", self.kind, self.value.len())
    }
}

/// What an attribute's value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// CK_BBOOL.
    Boolean,
    /// CK_ULONG.
    Number,
    /// Bytes, a big integer, DER or text: of any length up to the limit.
    Bytes,
    /// CK_DATE (`YYYYMMDD`), or empty.
    Date,
    /// An array of CK_MECHANISM_TYPE.
    Mechanisms,
    /// A template.
    Template,
}

impl Form {
    /// Checks a value's form and length.
    ///
    /// # Errors
    /// CKR_ATTRIBUTE_VALUE_INVALID.
    pub(crate) fn check(self, attribute: &Attribute, name: &str) -> Result<(), Refusal> {
        let value = &attribute.value;
        if value.len() > ATTRIBUTE_VALUE_BYTES_MAX {
            return Err(invalid(name, "is longer than 64 KiB"));
        }
        match self {
            Self::Boolean if attribute.as_boolean().is_none() => {
                Err(invalid(name, "is neither CK_TRUE nor CK_FALSE"))
            }
            Self::Number => match attribute.as_number() {
                None => Err(invalid(name, "is no CK_ULONG")),
                Some(number) if number == CK_UNAVAILABLE_INFORMATION => {
                    Err(invalid(name, "is CK_UNAVAILABLE_INFORMATION"))
                }
                Some(_) => Ok(()),
            },
            Self::Date if !is_date(value) => Err(invalid(name, "is no date YYYYMMDD")),
            Self::Mechanisms if !value.len().is_multiple_of(8) => {
                Err(invalid(name, "is no list of mechanisms"))
            }
            Self::Template => template::decode_template(value).map(drop),
            Self::Boolean | Self::Bytes | Self::Date | Self::Mechanisms => Ok(()),
        }
    }
}

/// CKR_ATTRIBUTE_VALUE_INVALID.
pub(super) fn invalid(name: &str, what: &str) -> Refusal {
    Refusal::new(CKR_ATTRIBUTE_VALUE_INVALID, format!("the value of {name} {what}"))
}

/// Digits of a month and a day that exist, or nothing. Some programs give eight zeros for "none".
fn is_date(value: &[u8]) -> bool {
    if value.is_empty() || value == b"00000000" {
        return true;
    }
    let two = |at: usize| u32::from(value[at] - b'0') * 10 + u32::from(value[at + 1] - b'0');
    value.len() == 8
        && value.iter().all(u8::is_ascii_digit)
        && (1..=12).contains(&two(4))
        && (1..=31).contains(&two(6))
}
