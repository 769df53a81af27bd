//! Attribute values between the machine's form and the wire's.
//!
//! On the wire a CK_ULONG is eight bytes, little-endian, whatever the machine is. Everything else
//! travels as it is. A number of the wrong length is passed on untouched, so that the HSM refuses
//! it with the right code.

use cryptoki_sys::*;
use strongroom_wire::message::Template;

use crate::module::{narrow, wide};

/// What an attribute's value is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Bytes, text, a CK_BBOOL, a date.
    Bytes,
    /// One CK_ULONG.
    Number,
    /// Several CK_ULONG.
    Numbers,
    /// Several CK_ATTRIBUTE.
    Template,
}

/// The form of CKA_ number `kind` (PKCS#11 2.40, section 4, and its mechanisms' chapters).
#[must_use]
pub(crate) fn form(kind: u64) -> Form {
    match narrow(kind) {
        CKA_CLASS
        | CKA_CERTIFICATE_TYPE
        | CKA_CERTIFICATE_CATEGORY
        | CKA_JAVA_MIDP_SECURITY_DOMAIN
        | CKA_NAME_HASH_ALGORITHM
        | CKA_KEY_TYPE
        | CKA_KEY_GEN_MECHANISM
        | CKA_MODULUS_BITS
        | CKA_VALUE_BITS
        | CKA_VALUE_LEN
        | CKA_PRIME_BITS
        | CKA_SUBPRIME_BITS
        | CKA_HW_FEATURE_TYPE
        | CKA_MECHANISM_TYPE
        | CKA_PROFILE_ID
        | CKA_PARAMETER_SET => Form::Number,
        CKA_ALLOWED_MECHANISMS => Form::Numbers,
        CKA_WRAP_TEMPLATE | CKA_UNWRAP_TEMPLATE | CKA_DERIVE_TEMPLATE => Form::Template,
        _ => Form::Bytes,
    }
}

/// AWS's name for CKA_PARAMETER_SET, whose number it does not publish: the standard's with the
/// vendor's bit.
const CKA_CLOUDHSM_PARAMETER_SET: u64 = CKA_VENDOR_DEFINED | CKA_PARAMETER_SET;

/// The standard's number of an attribute that a vendor's header names, too.
#[must_use]
pub(crate) fn standard(kind: u64) -> u64 {
    if kind == CKA_CLOUDHSM_PARAMETER_SET { wide(CKA_PARAMETER_SET) } else { kind }
}

/// A value of the machine's as it travels. `form` is not [`Form::Template`].
#[must_use]
pub(crate) fn to_wire(form: Form, value: &[u8]) -> Vec<u8> {
    const NATIVE: usize = size_of::<CK_ULONG>();
    let right_length = match form {
        Form::Number => value.len() == NATIVE,
        Form::Numbers => value.len().is_multiple_of(NATIVE),
        Form::Bytes | Form::Template => false,
    };
    if !right_length {
        return value.to_vec();
    }
    let (numbers, _) = value.as_chunks::<NATIVE>();
    numbers.iter().flat_map(|number| wide(CK_ULONG::from_ne_bytes(*number)).to_le_bytes()).collect()
}

/// A value of the wire's as the machine has it. `form` is not [`Form::Template`].
#[must_use]
pub(crate) fn from_wire(form: Form, value: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let right_length = match form {
        Form::Number => value.len() == 8,
        Form::Numbers => value.len().is_multiple_of(8),
        Form::Bytes | Form::Template => false,
    };
    if !right_length {
        return value.to_vec().into();
    }
    let (numbers, _) = value.as_chunks::<8>();
    numbers
        .iter()
        .flat_map(|number| narrow(u64::from_le_bytes(*number)).to_ne_bytes())
        .collect::<Vec<u8>>()
        .into()
}

/// Whether a template makes a token object (CKA_TOKEN; the default is a session object).
#[must_use]
pub(crate) fn makes_token_object(template: &Template) -> bool {
    let token = wide(CKA_TOKEN);
    template.attributes.iter().any(|attribute| {
        attribute.kind == token && attribute.value.first().is_some_and(|&on| on != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_travels_as_eight_bytes_little_endian() {
        let native = CKO_PRIVATE_KEY.to_ne_bytes();
        let wire = to_wire(form(wide(CKA_CLASS)), &native);
        assert_eq!(wire, 3u64.to_le_bytes());
        assert_eq!(from_wire(Form::Number, &wire).as_slice(), native);
    }

    #[test]
    fn a_number_of_the_wrong_length_is_left_for_the_hsm_to_refuse() {
        assert_eq!(to_wire(Form::Number, &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(to_wire(Form::Number, &[]), [0u8; 0]);
    }

    proptest! {
        #[test]
        fn every_value_comes_back_as_it_went(kind in any::<u64>(), value in any::<Vec<u8>>()) {
            let form = form(kind);
            prop_assume!(form != Form::Template);
            let back = from_wire(form, &to_wire(form, &value));
            prop_assert_eq!(back.as_slice(), value.as_slice());
        }
    }
}
