//! Pointers of the caller, behind types that check them.
//!
//! PKCS#11 is a C interface: what a pointer leads to can't be proven here. Each type is made by an
//! unsafe constructor under the caller's promise ("null, or valid for this length until the
//! function returns": PKCS#11 2.40, section 5.1), which refuses what can be refused: a null pointer with a
//! length, a length that no memory has. Everything after that is safe code.
//!
//! Input and output may be the same memory (programs encrypt in place). So no Rust reference to
//! the output is ever made: it is only copied to, at the end of a call.

use std::marker::PhantomData;

use cryptoki_sys::*;

use crate::error::{Ckr, Result};
use crate::module::narrow;

/// Bytes that the caller passes in.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pointer: *const u8,
    length: usize,
    call: PhantomData<&'a ()>,
}

impl Input<'_> {
    /// No bytes.
    pub(crate) fn nothing() -> Self {
        Self { pointer: std::ptr::null(), length: 0, call: PhantomData }
    }

    /// Checks a pointer and a length.
    ///
    /// # Safety
    /// `pointer` is null, or `length` bytes can be read at it during the call.
    pub(crate) unsafe fn new(pointer: *const u8, length: CK_ULONG) -> Result<Self> {
        let length = possible(pointer.addr(), length, 1)?;
        Ok(Self { pointer, length, call: PhantomData })
    }

    /// As [`Input::new`], where null is refused whatever the length: a PIN, even an empty one, since
    /// null would ask for a PIN pad.
    ///
    /// # Safety
    /// As for [`Input::new`].
    pub(crate) unsafe fn required(pointer: *const u8, length: CK_ULONG) -> Result<Self> {
        if pointer.is_null() {
            return Err(Ckr(CKR_ARGUMENTS_BAD));
        }
        // SAFETY: this function's contract.
        unsafe { Self::new(pointer, length) }
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Whether the pointer is null.
    pub(crate) fn is_null(&self) -> bool {
        self.pointer.is_null()
    }

    /// The bytes. The borrow must end before output is written.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: not null, as `possible` refused null with a length; readable for `length` bytes,
        // which is at most isize::MAX, by the constructor's contract.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }

    /// The bytes, where they are at most `most`; else `error`. No more is read than allowed.
    pub(crate) fn at_most(&self, most: usize, error: CK_RV) -> Result<&[u8]> {
        if self.length > most {
            return Err(Ckr(error));
        }
        Ok(self.bytes())
    }

    /// The bytes as a C structure, where the length is the structure's.
    ///
    /// # Safety
    /// `T` is a C structure of integers and pointers, for which every bit pattern is a value.
    pub(crate) unsafe fn as_structure<T: Copy>(&self) -> Result<T> {
        if self.length != size_of::<T>() {
            return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
        }
        // SAFETY: readable for T's size by the constructor's contract; alignment isn't assumed.
        Ok(unsafe { self.pointer.cast::<T>().read_unaligned() })
    }
}

/// `count` items of `size` bytes at `address` as a length in items, if memory can hold that.
pub(super) fn possible(address: usize, count: CK_ULONG, size: usize) -> Result<usize> {
    let count = usize::try_from(count).map_err(|_| Ckr(CKR_ARGUMENTS_BAD))?;
    let bytes = count
        .checked_mul(size)
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or(Ckr(CKR_ARGUMENTS_BAD))?;
    let null_with_length = address == 0 && count != 0;
    if null_with_length || address.checked_add(bytes).is_none() {
        return Err(Ckr(CKR_ARGUMENTS_BAD));
    }
    Ok(count)
}

/// A place for one value of the caller's.
pub(crate) struct Place<'a, T> {
    pointer: *mut T,
    call: PhantomData<&'a mut T>,
}

impl<T: Copy> Place<'_, T> {
    /// Refuses null.
    ///
    /// # Safety
    /// `pointer` is null, or a `T` can be written (and, for [`Place::get`], read) at it during the
    /// call.
    pub(crate) unsafe fn new(pointer: *mut T) -> Result<Self> {
        if pointer.is_null() {
            return Err(Ckr(CKR_ARGUMENTS_BAD));
        }
        Ok(Self { pointer, call: PhantomData })
    }

    /// Writes the value.
    pub(crate) fn set(&mut self, value: T) {
        // SAFETY: not null, and valid by the constructor's contract.
        unsafe { self.pointer.write_unaligned(value) }
    }

    /// Reads the value.
    pub(crate) fn get(&self) -> T {
        // SAFETY: not null, and valid by the constructor's contract.
        unsafe { self.pointer.read_unaligned() }
    }
}

/// A buffer of the caller's for `T`s, with a place for their number: the convention of PKCS#11
/// 2.40, section 5.2.
pub(crate) struct Output<'a, T = u8> {
    buffer: *mut T,
    length: Place<'a, CK_ULONG>,
    room: usize,
}

impl<T: Copy> Output<'_, T> {
    /// Checks the pointers.
    ///
    /// # Safety
    /// `length` is null, or a number can be read and written at it during the call; `buffer` is
    /// null, or that number of `T`s can be written at it during the call.
    pub(crate) unsafe fn new(buffer: *mut T, length: *mut CK_ULONG) -> Result<Self> {
        // SAFETY: this function's contract.
        let length = unsafe { Place::new(length)? };
        let room = if buffer.is_null() {
            0
        } else {
            possible(buffer.addr(), length.get(), size_of::<T>())?
        };
        Ok(Self { buffer, length, room })
    }

    /// Whether the caller only asks for the length.
    pub(crate) fn is_query(&self) -> bool {
        self.buffer.is_null()
    }

    /// Whether `items` fit.
    pub(crate) fn holds(&self, items: usize) -> bool {
        !self.is_query() && items <= self.room
    }

    /// Tells the caller that there will be `items`. True where they can be written; false where
    /// the caller only asked.
    ///
    /// # Errors
    /// CKR_BUFFER_TOO_SMALL, with the length told.
    pub(crate) fn announce(&mut self, items: usize) -> Result<bool> {
        let fits = self.holds(items);
        if !fits {
            self.length.set(narrow(items as u64));
        }
        if fits || self.is_query() { Ok(fits) } else { Err(Ckr(CKR_BUFFER_TOO_SMALL)) }
    }

    /// Writes `items` and their number; where they don't fit, as [`Output::announce`].
    pub(crate) fn write(&mut self, items: &[T]) -> Result<bool> {
        if !self.announce(items.len())? {
            return Ok(false);
        }
        if !items.is_empty() {
            // SAFETY: the buffer isn't null and holds `room` items by the constructor's contract,
            // and `items` fit. `items` is Rust's own memory, so the two don't overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    items.as_ptr().cast::<u8>(),
                    self.buffer.cast::<u8>(),
                    size_of_val(items),
                );
            }
        }
        self.length.set(narrow(items.len() as u64));
        Ok(true)
    }
}

/// A fixed array of the caller's, filled from its beginning (C_FindObjects, C_GenerateRandom).
pub(crate) struct Array<'a, T> {
    buffer: *mut T,
    room: usize,
    filled: usize,
    call: PhantomData<&'a mut T>,
}

impl<T: Copy> Array<'_, T> {
    /// Checks the pointer.
    ///
    /// # Safety
    /// `buffer` is null, or `count` of `T` can be written at it during the call.
    pub(crate) unsafe fn new(buffer: *mut T, count: CK_ULONG) -> Result<Self> {
        Ok(Self {
            buffer,
            room: possible(buffer.addr(), count, size_of::<T>())?,
            filled: 0,
            call: PhantomData,
        })
    }

    /// How many more fit.
    pub(crate) fn left(&self) -> usize {
        self.room - self.filled
    }

    /// Appends as many of `items` as fit, and says how many.
    pub(crate) fn push(&mut self, items: &[T]) -> usize {
        let count = items.len().min(self.left());
        if count > 0 {
            // SAFETY: the buffer holds `room` items by the constructor's contract; `filled + count`
            // is at most that. `items` is Rust's own memory.
            unsafe {
                let end = self.buffer.cast::<u8>().add(self.filled * size_of::<T>());
                std::ptr::copy_nonoverlapping(
                    items.as_ptr().cast::<u8>(),
                    end,
                    count * size_of::<T>(),
                );
            }
        }
        self.filled += count;
        count
    }
}

/// The caller's IV buffer, kept from an Init call until the IV that the HSM made is written to it
/// (CloudHSM's CKM_AES_GCM: "the library writes the 12-byte IV into pIv during C_Encrypt").
#[derive(Clone, Copy)]
pub(crate) struct IvPlace {
    address: usize,
    length: usize,
}

impl IvPlace {
    /// Remembers a buffer.
    ///
    /// # Safety
    /// `length` bytes can be written at `pointer` until the operation has ended.
    pub(crate) unsafe fn new(pointer: *mut u8, length: usize) -> Self {
        Self { address: pointer.expose_provenance(), length }
    }

    /// Writes the IV, where it has the buffer's length.
    pub(crate) fn write(self, iv: &[u8]) {
        if iv.len() == self.length {
            // SAFETY: writable for `length` bytes by the constructor's contract; `iv` is Rust's
            // own memory.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    iv.as_ptr(),
                    std::ptr::with_exposed_provenance_mut(self.address),
                    iv.len(),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_pointer_with_a_length_is_refused_and_one_without_is_empty() {
        // SAFETY: null pointers are allowed.
        unsafe {
            assert!(Input::new(std::ptr::null(), 1).is_err());
            assert!(Input::new(std::ptr::null(), 0).unwrap().bytes().is_empty());
            assert!(Array::<u8>::new(std::ptr::null_mut(), 1).is_err());
            assert!(Place::<u8>::new(std::ptr::null_mut()).is_err());
            assert!(Output::<u8>::new(std::ptr::null_mut(), std::ptr::null_mut()).is_err());
        }
    }

    #[test]
    fn a_length_that_no_memory_has_is_refused_unread() {
        let byte = 0u8;
        for length in [CK_ULONG::MAX, CK_ULONG::MAX / 2 + 1, CK_ULONG::MAX - 4095] {
            // SAFETY: refused before anything is read.
            assert!(unsafe { Input::new(&raw const byte, length) }.is_err());
        }
        let mut room: CK_ULONG = CK_ULONG::MAX / 4;
        let mut one: CK_ULONG = 0;
        // SAFETY: refused before anything is written.
        assert!(unsafe { Output::new(&raw mut one, &raw mut room) }.is_err());
    }

    #[test]
    fn output_tells_the_length_first_and_writes_only_what_fits() {
        let mut buffer = [0u8; 4];
        let mut length: CK_ULONG = 0;
        // SAFETY: both places are live.
        let mut query =
            unsafe { Output::<u8>::new(std::ptr::null_mut(), &raw mut length) }.unwrap();
        assert_eq!(query.write(b"abcd"), Ok(false));
        assert_eq!(length, 4);

        length = 3;
        // SAFETY: as above.
        let mut small = unsafe { Output::new(buffer.as_mut_ptr(), &raw mut length) }.unwrap();
        assert_eq!(small.write(b"abcd"), Err(Ckr(CKR_BUFFER_TOO_SMALL)));
        assert_eq!((length, buffer), (4, [0; 4]));

        length = 4;
        // SAFETY: as above.
        let mut right = unsafe { Output::new(buffer.as_mut_ptr(), &raw mut length) }.unwrap();
        assert_eq!(right.write(b"abc"), Ok(true));
        assert_eq!((length, &buffer), (3, b"abc\0"));
    }

    #[test]
    fn an_array_takes_no_more_than_it_holds() {
        let mut places = [0u32; 3];
        // SAFETY: three places.
        let mut array = unsafe { Array::new(places.as_mut_ptr(), 3) }.unwrap();
        assert_eq!(array.push(&[1, 2]), 2);
        assert_eq!(array.push(&[3, 4]), 1);
        assert_eq!(array.left(), 0);
        assert_eq!(places, [1, 2, 3]);
    }
}
