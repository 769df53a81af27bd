//! Arrays of CK_ATTRIBUTE: read as templates, filled as answers.
//!
//! Values are turned between the machine's form and the wire's by [`crate::template`]; here is
//! only what follows pointers.

use std::marker::PhantomData;

use cryptoki_sys::*;
use prost::Message;
use strongroom_wire::limits::{
    ATTRIBUTE_TYPES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, TEMPLATE_ATTRIBUTES_MAX,
};
use strongroom_wire::message;

use super::raw::{Input, possible};
use crate::error::{Ckr, Result};
use crate::module::{narrow, wide};
use crate::template::{self, Form};

/// How deep templates stand in templates: CKA_WRAP_TEMPLATE holds attributes, which hold none.
const DEPTH_MAX: usize = 1;

/// A template that the caller passes in.
#[derive(Clone, Copy)]
pub(crate) struct Template<'a> {
    pointer: *const CK_ATTRIBUTE,
    count: usize,
    call: PhantomData<&'a ()>,
}

impl Template<'_> {
    /// Checks pointer and count.
    ///
    /// # Safety
    /// `pointer` is null, or `count` attributes can be read at it during the call, each with a
    /// value that is null or readable for its length.
    pub(crate) unsafe fn new(pointer: *const CK_ATTRIBUTE, count: CK_ULONG) -> Result<Self> {
        let count = possible(pointer.addr(), count, size_of::<CK_ATTRIBUTE>())?;
        if count > TEMPLATE_ATTRIBUTES_MAX {
            return Err(Ckr(CKR_ARGUMENTS_BAD));
        }
        Ok(Self { pointer, count, call: PhantomData })
    }

    /// The template as it travels.
    pub(crate) fn to_wire(self) -> Result<message::Template> {
        self.to_wire_at(0)
    }

    fn to_wire_at(self, depth: usize) -> Result<message::Template> {
        let attributes = (0..self.count)
            .map(|index| {
                let attribute = self.attribute(index);
                let kind = template::standard(wide(attribute.type_));
                Ok(message::Attribute {
                    kind,
                    value: value(&attribute, template::form(kind), depth)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(message::Template { attributes })
    }

    fn attribute(self, index: usize) -> CK_ATTRIBUTE {
        debug_assert!(index < self.count);
        // SAFETY: `index` is below `count`, and so many attributes are readable by the
        // constructor's contract.
        unsafe { self.pointer.add(index).read_unaligned() }
    }
}

/// One value in the wire's form.
fn value(attribute: &CK_ATTRIBUTE, form: Form, depth: usize) -> Result<Vec<u8>> {
    let invalid = Ckr(CKR_ATTRIBUTE_VALUE_INVALID);
    if form == Form::Template {
        let size = narrow(size_of::<CK_ATTRIBUTE>() as u64);
        if depth >= DEPTH_MAX || !attribute.ulValueLen.is_multiple_of(size) {
            return Err(invalid);
        }
        // SAFETY: the value is readable for its length by the template's contract, and a value of
        // this attribute is an array of attributes.
        let nested = unsafe {
            Template::new(attribute.pValue.cast_const().cast(), attribute.ulValueLen / size)
        };
        let nested = nested.map_err(|_| invalid)?;
        return Ok(nested.to_wire_at(depth + 1)?.encode_to_vec());
    }
    // SAFETY: the value is readable for its length by the template's contract.
    let input = unsafe { Input::new(attribute.pValue.cast_const().cast(), attribute.ulValueLen) };
    let input = input.map_err(|_| invalid)?;
    let bytes = input.at_most(ATTRIBUTE_VALUE_BYTES_MAX, CKR_ATTRIBUTE_VALUE_INVALID)?;
    Ok(template::to_wire(form, bytes))
}

/// A template whose values the caller asks for (C_GetAttributeValue).
pub(crate) struct Wanted<'a> {
    pointer: *mut CK_ATTRIBUTE,
    count: usize,
    call: PhantomData<&'a mut ()>,
}

impl Wanted<'_> {
    /// Checks pointer and count.
    ///
    /// # Safety
    /// `pointer` is null, or `count` attributes can be read and written at it during the call, each
    /// with a value that is null or writable for its length.
    pub(crate) unsafe fn new(pointer: *mut CK_ATTRIBUTE, count: CK_ULONG) -> Result<Self> {
        let count = possible(pointer.addr(), count, size_of::<CK_ATTRIBUTE>())?;
        if count > ATTRIBUTE_TYPES_MAX {
            return Err(Ckr(CKR_ARGUMENTS_BAD));
        }
        Ok(Self { pointer, count, call: PhantomData })
    }

    /// The CKA_ numbers asked for, in order.
    pub(crate) fn kinds(&self) -> Vec<u64> {
        (0..self.count).map(|index| template::standard(wide(self.attribute(index).type_))).collect()
    }

    /// Gives entry `index` its value, in the wire's form.
    ///
    /// # Errors
    /// CKR_BUFFER_TOO_SMALL, with the entry's length unavailable.
    pub(crate) fn give(&mut self, index: usize, value: &[u8]) -> Result<()> {
        let attribute = self.attribute(index);
        let form = template::form(template::standard(wide(attribute.type_)));
        if form == Form::Template {
            return self.give_template(index, value);
        }
        self.give_bytes(index, &template::from_wire(form, value))
    }

    /// Says that entry `index` has no value to show.
    pub(crate) fn withhold(&mut self, index: usize) {
        self.set_length(index, CK_UNAVAILABLE_INFORMATION);
    }

    fn give_bytes(&mut self, index: usize, value: &[u8]) -> Result<()> {
        let attribute = self.attribute(index);
        let length = narrow(value.len() as u64);
        if !attribute.pValue.is_null() {
            if attribute.ulValueLen < length {
                self.withhold(index);
                return Err(Ckr(CKR_BUFFER_TOO_SMALL));
            }
            // SAFETY: the value is writable for its length by the constructor's contract, and
            // `value`, Rust's own memory, is no longer than that.
            unsafe {
                std::ptr::copy_nonoverlapping(value.as_ptr(), attribute.pValue.cast(), value.len());
            }
        }
        self.set_length(index, length);
        Ok(())
    }

    /// A value that is a template (PKCS#11 2.40, section 5.7, C_GetAttributeValue): the caller asks
    /// for the number of attributes, then for their types and lengths, then for their values.
    fn give_template(&mut self, index: usize, value: &[u8]) -> Result<()> {
        let nested = message::Template::decode(value).map_err(|_| Ckr(CKR_DEVICE_ERROR))?;
        let attribute = self.attribute(index);
        let length = narrow((nested.attributes.len() * size_of::<CK_ATTRIBUTE>()) as u64);
        if attribute.pValue.is_null() {
            self.set_length(index, length);
            return Ok(());
        }
        if attribute.ulValueLen < length {
            self.withhold(index);
            return Err(Ckr(CKR_BUFFER_TOO_SMALL));
        }
        let count = narrow(nested.attributes.len() as u64);
        // SAFETY: the value is an array of attributes, writable for its length by the constructor's
        // contract, and holds `count` of them. Its entries' values are the caller's too.
        let mut inner = unsafe { Wanted::new(attribute.pValue.cast(), count)? };
        let mut result = Ok(());
        for (place, entry) in nested.attributes.iter().enumerate() {
            inner.set_kind(place, narrow(entry.kind));
            if template::form(entry.kind) == Form::Template {
                inner.withhold(place);
            } else if let Err(error) = inner.give(place, &entry.value) {
                result = Err(error);
            }
        }
        self.set_length(index, length);
        result
    }

    fn attribute(&self, index: usize) -> CK_ATTRIBUTE {
        assert!(index < self.count, "an entry of the template");
        // SAFETY: `index` is below `count`, and so many attributes are readable by the
        // constructor's contract.
        unsafe { self.pointer.add(index).read_unaligned() }
    }

    fn set_length(&mut self, index: usize, length: CK_ULONG) {
        let attribute = CK_ATTRIBUTE { ulValueLen: length, ..self.attribute(index) };
        // SAFETY: as for reading; the constructor's contract allows writing.
        unsafe { self.pointer.add(index).write_unaligned(attribute) };
    }

    fn set_kind(&mut self, index: usize, kind: CK_ATTRIBUTE_TYPE) {
        let attribute = CK_ATTRIBUTE { type_: kind, ..self.attribute(index) };
        // SAFETY: as for reading; the constructor's contract allows writing.
        unsafe { self.pointer.add(index).write_unaligned(attribute) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: CK_ATTRIBUTE_TYPE, value: *mut u8, length: CK_ULONG) -> CK_ATTRIBUTE {
        CK_ATTRIBUTE { type_: kind, pValue: value.cast(), ulValueLen: length }
    }

    fn read(attributes: &[CK_ATTRIBUTE]) -> Result<message::Template> {
        // SAFETY: the tests pass live arrays, or values that are refused unread.
        unsafe { Template::new(attributes.as_ptr(), attributes.len() as CK_ULONG) }?.to_wire()
    }

    #[test]
    fn a_template_travels_with_its_order_and_values() {
        let mut class = CKO_SECRET_KEY.to_ne_bytes();
        let mut label = *b"key";
        let wire = read(&[
            attribute(CKA_CLASS, class.as_mut_ptr(), size_of::<CK_ULONG>() as CK_ULONG),
            attribute(CKA_LABEL, label.as_mut_ptr(), 3),
            attribute(CKA_ID, std::ptr::null_mut(), 0),
        ])
        .unwrap();
        let values: Vec<_> = wire.attributes.iter().map(|a| (a.kind, a.value.clone())).collect();
        assert_eq!(
            values,
            [
                (wide(CKA_CLASS), 4u64.to_le_bytes().to_vec()),
                (wide(CKA_LABEL), b"key".to_vec()),
                (wide(CKA_ID), Vec::new()),
            ]
        );
    }

    #[test]
    fn lengths_without_memory_are_refused_unread() {
        let mut byte = 0u8;
        for (pointer, length) in [
            (std::ptr::null_mut(), 1),
            (&raw mut byte, CK_ULONG::MAX),
            (&raw mut byte, CK_ULONG::MAX / 2),
            (&raw mut byte, ATTRIBUTE_VALUE_BYTES_MAX as CK_ULONG + 1),
        ] {
            let refused = read(&[attribute(CKA_LABEL, pointer, length)]);
            assert_eq!(refused, Err(Ckr(CKR_ATTRIBUTE_VALUE_INVALID)));
        }
        let one = attribute(CKA_LABEL, &raw mut byte, 1);
        for count in [CK_ULONG::MAX, CK_ULONG::MAX / 24, TEMPLATE_ATTRIBUTES_MAX as CK_ULONG + 1] {
            // SAFETY: refused unread.
            let refused = unsafe { Template::new(&raw const one, count) };
            assert_eq!(refused.err(), Some(Ckr(CKR_ARGUMENTS_BAD)));
        }
    }

    #[test]
    fn a_template_nests_once_and_never_in_itself() {
        let mut on = CK_TRUE;
        let mut inner = [attribute(CKA_EXTRACTABLE, &raw mut on, 1)];
        let size = size_of::<CK_ATTRIBUTE>() as CK_ULONG;
        let outer = [attribute(CKA_UNWRAP_TEMPLATE, inner.as_mut_ptr().cast(), size)];
        let wire = read(&outer).unwrap();
        let nested = message::Template::decode(wire.attributes[0].value.as_slice()).unwrap();
        assert_eq!(nested.attributes[0].kind, wide(CKA_EXTRACTABLE));

        let mut endless = [attribute(CKA_UNWRAP_TEMPLATE, std::ptr::null_mut(), size)];
        endless[0].pValue = endless.as_mut_ptr().cast();
        assert_eq!(read(&endless), Err(Ckr(CKR_ATTRIBUTE_VALUE_INVALID)));
        let odd = [attribute(CKA_UNWRAP_TEMPLATE, inner.as_mut_ptr().cast(), size - 1)];
        assert_eq!(read(&odd), Err(Ckr(CKR_ATTRIBUTE_VALUE_INVALID)));
    }

    fn wanted(attributes: &mut [CK_ATTRIBUTE]) -> Wanted<'_> {
        // SAFETY: a live array whose values are null or live.
        unsafe { Wanted::new(attributes.as_mut_ptr(), attributes.len() as CK_ULONG) }.unwrap()
    }

    #[test]
    fn answers_are_given_by_length_first_then_value_and_never_beyond_the_buffer() {
        let mut buffer = [0u8; 4];
        let mut entries = [
            attribute(CKA_LABEL, std::ptr::null_mut(), 77),
            attribute(CKA_LABEL, buffer.as_mut_ptr(), 2),
            attribute(CKA_LABEL, buffer.as_mut_ptr(), 4),
            attribute(CKA_VALUE, buffer.as_mut_ptr(), 4),
        ];
        let mut answer = wanted(&mut entries);
        assert_eq!(answer.give(0, b"abc"), Ok(()));
        assert_eq!(answer.give(1, b"abc"), Err(Ckr(CKR_BUFFER_TOO_SMALL)));
        assert_eq!(answer.give(2, b"abc"), Ok(()));
        answer.withhold(3);
        let lengths = entries.map(|entry| entry.ulValueLen);
        assert_eq!(lengths, [3, CK_UNAVAILABLE_INFORMATION, 3, CK_UNAVAILABLE_INFORMATION]);
        assert_eq!(&buffer, b"abc\0");
    }

    #[test]
    fn a_template_is_read_in_two_passes() {
        let stored = message::Template {
            attributes: vec![message::Attribute { kind: wide(CKA_LABEL), value: b"abc".to_vec() }],
        }
        .encode_to_vec();
        let size = size_of::<CK_ATTRIBUTE>() as CK_ULONG;
        let mut outer = [attribute(CKA_WRAP_TEMPLATE, std::ptr::null_mut(), 0)];
        wanted(&mut outer).give(0, &stored).unwrap();
        assert_eq!(outer[0].ulValueLen, size);

        let mut inner = [attribute(0, std::ptr::null_mut(), 0)];
        outer[0].pValue = inner.as_mut_ptr().cast();
        wanted(&mut outer).give(0, &stored).unwrap();
        assert_eq!((inner[0].type_, inner[0].ulValueLen), (CKA_LABEL, 3));

        let mut label = [0u8; 3];
        inner[0].pValue = label.as_mut_ptr().cast();
        outer[0].pValue = inner.as_mut_ptr().cast();
        wanted(&mut outer).give(0, &stored).unwrap();
        assert_eq!(&label, b"abc");
    }
}
