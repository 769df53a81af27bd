//! Big numbers, as keys hold them.

use std::ptr;

use aws_lc_sys as sys;

use super::{Failed, Owned, ok};
use crate::SecretBytes;

/// A number of our own.
pub(crate) type Number = Owned<sys::BIGNUM>;

/// The number that big-endian `bytes` say.
pub(crate) fn number(bytes: &[u8]) -> Result<Number, Failed> {
    // SAFETY: the bytes are read by their length; a null result makes a new number, ours.
    unsafe { Owned::new(sys::BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut())) }
}

/// A new number, 0.
pub(crate) fn zero() -> Result<Number, Failed> {
    // SAFETY: a new number is ours.
    unsafe { Owned::new(sys::BN_new()) }
}

/// Scratch space for arithmetic.
pub(crate) fn scratch() -> Result<Owned<sys::BN_CTX>, Failed> {
    // SAFETY: a new context is ours.
    unsafe { Owned::new(sys::BN_CTX_new()) }
}

/// Big-endian bytes of a number, without leading zeros.
///
/// # Safety
/// `number` is valid.
pub(super) unsafe fn to_bytes(number: *const sys::BIGNUM) -> Result<SecretBytes, Failed> {
    // SAFETY: the number is valid by this function's contract.
    let length = unsafe { sys::BN_num_bytes(number) } as usize;
    let mut out = SecretBytes::zeroed(length);
    // SAFETY: as above.
    unsafe { to_padded(number, out.as_mut_bytes())? };
    Ok(out)
}

/// Big-endian bytes of a number, filling `out` from the right.
///
/// # Safety
/// `number` is valid.
pub(super) unsafe fn to_padded(number: *const sys::BIGNUM, out: &mut [u8]) -> Result<(), Failed> {
    // SAFETY: the number is valid by this function's contract; `out` is written by its length, and
    // a number that doesn't fit is an error.
    ok(unsafe { sys::BN_bn2bin_padded(out.as_mut_ptr(), out.len(), number) })
}
