//! An object as the vault knows it: metadata that is searched, checked and changed.

use std::collections::BTreeMap;

use crate::limits::{ID_BYTES_MAX, LABEL_BYTES_MAX, META_MORE_BYTES_MAX, META_VALUE_BYTES_MAX};
use crate::{Handle, ObjectId, UserId};

/// The boolean attributes of an object, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:expr,)+) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)+
        }
    };
}

flags! {
    /// CKA_TOKEN
    TOKEN = 0,
    /// CKA_PRIVATE
    PRIVATE = 1,
    /// CKA_MODIFIABLE
    MODIFIABLE = 2,
    /// CKA_DESTROYABLE
    DESTROYABLE = 3,
    /// CKA_COPYABLE
    COPYABLE = 4,
    /// CKA_LOCAL
    LOCAL = 5,
    /// CKA_SENSITIVE
    SENSITIVE = 6,
    /// CKA_ALWAYS_SENSITIVE
    ALWAYS_SENSITIVE = 7,
    /// CKA_EXTRACTABLE
    EXTRACTABLE = 8,
    /// CKA_NEVER_EXTRACTABLE
    NEVER_EXTRACTABLE = 9,
    /// CKA_TRUSTED
    TRUSTED = 10,
    /// CKA_WRAP_WITH_TRUSTED
    WRAP_WITH_TRUSTED = 11,
    /// CKA_ALWAYS_AUTHENTICATE
    ALWAYS_AUTHENTICATE = 12,
    /// CKA_ENCRYPT
    ENCRYPT = 13,
    /// CKA_DECRYPT
    DECRYPT = 14,
    /// CKA_SIGN
    SIGN = 15,
    /// CKA_VERIFY
    VERIFY = 16,
    /// CKA_SIGN_RECOVER
    SIGN_RECOVER = 17,
    /// CKA_VERIFY_RECOVER
    VERIFY_RECOVER = 18,
    /// CKA_WRAP
    WRAP = 19,
    /// CKA_UNWRAP
    UNWRAP = 20,
    /// CKA_DERIVE
    DERIVE = 21,
    /// CKA_ENCAPSULATE
    ENCAPSULATE = 22,
    /// CKA_DECAPSULATE
    DECAPSULATE = 23,
}

impl Flags {
    /// All bits that have a meaning.
    pub const ALL: Self = Self((1 << 24) - 1);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets or clears the bits of `other`.
    pub fn set(&mut self, other: Self, on: bool) {
        if on {
            self.0 |= other.0;
        } else {
            self.0 &= !other.0;
        }
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is known of an object without unsealing it. At most about 500 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// CKA_CLASS (CKO_…).
    pub class: u64,
    /// CKA_KEY_TYPE (CKK_…) of a key, CKA_CERTIFICATE_TYPE of a certificate, else `None`.
    pub key_type: Option<u64>,
    /// The boolean attributes.
    pub flags: Flags,
    /// CKA_LABEL.
    pub label: Vec<u8>,
    /// CKA_ID.
    pub cka_id: Vec<u8>,
    /// A key's size in bits: modulus, curve's field, or 8 × length. 0 for other objects.
    pub size_bits: u32,
    /// CKA_CHECK_VALUE.
    pub check_value: Option<[u8; 3]>,
    /// CKA_KEY_GEN_MECHANISM (CKM_…) of a generated key.
    pub generated_by: Option<u64>,
    /// Modifiable attributes that few objects have (CKA_SUBJECT, CKA_START_DATE, …), by CKA_ number.
    pub more: BTreeMap<u64, Vec<u8>>,
}

impl Meta {
    /// The first part that is outside its limit, named; `None` where all are within.
    pub(crate) fn over_limit(&self) -> Option<&'static str> {
        if self.flags.0 & !Flags::ALL.0 != 0 {
            Some("flags")
        } else if self.label.len() > LABEL_BYTES_MAX {
            Some("label")
        } else if self.cka_id.len() > ID_BYTES_MAX {
            Some("identifier")
        } else if self.more.values().any(|value| value.len() > META_VALUE_BYTES_MAX)
            || self.more.values().map(Vec::len).sum::<usize>() > META_MORE_BYTES_MAX
        {
            Some("attribute")
        } else {
            None
        }
    }
}

/// A token object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What applications call it.
    pub handle: Handle,
    /// What its blob is sealed under.
    pub id: ObjectId,
    /// Who owns it.
    pub owner: UserId,
    /// Rises with each change of `meta`: caches compare it.
    pub version: u64,
    /// Metadata.
    pub meta: Meta,
}
