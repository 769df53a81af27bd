//! Buffers that cross the border: what C allocates, and DER readers and writers.

use std::mem::MaybeUninit;
use std::slice;

use aws_lc_sys as sys;

use super::{Failed, failed, ok};
use crate::SecretBytes;

/// The bytes that `write` allocates through its two out-pointers, copied, and C's copy wiped and
/// freed.
///
/// # Safety
/// When `write` returns `Ok`, it has set the pointers to an allocation of aws-lc and its length.
pub(super) unsafe fn allocated(
    write: impl FnOnce(*mut *mut u8, *mut usize) -> Result<(), Failed>,
) -> Result<SecretBytes, Failed> {
    let mut start = std::ptr::null_mut();
    let mut length = 0;
    write(&mut start, &mut length)?;
    if start.is_null() {
        return Err(failed());
    }
    // SAFETY: by this function's contract, `start` is an allocation of `length` bytes that is
    // ours; OPENSSL_free wipes it.
    unsafe {
        let copy = SecretBytes::copied(slice::from_raw_parts(start, length));
        sys::OPENSSL_free(start.cast());
        Ok(copy)
    }
}

/// The DER that `write` makes.
pub(super) fn to_der(
    write: impl FnOnce(*mut sys::CBB) -> Result<(), Failed>,
) -> Result<SecretBytes, Failed> {
    let mut writer = MaybeUninit::<sys::CBB>::zeroed();
    // SAFETY: the writer's memory is ours.
    ok(unsafe { sys::CBB_init(writer.as_mut_ptr(), 256) })?;
    let result = write(writer.as_mut_ptr()).and_then(|()| {
        // SAFETY: the writer is initialised, and finishing it hands over an allocation.
        unsafe {
            allocated(|start, length| ok(sys::CBB_finish(writer.as_mut_ptr(), start, length)))
        }
    });
    // SAFETY: an initialised writer may be cleaned up, after it was finished, too.
    unsafe { sys::CBB_cleanup(writer.as_mut_ptr()) };
    result
}

/// What `parse` reads from `der`, if it reads all of it.
pub(super) fn from_der<T>(
    der: &[u8],
    parse: impl FnOnce(*mut sys::CBS) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let mut reader = sys::CBS { data: der.as_ptr(), len: der.len() };
    let value = parse(&mut reader)?;
    if reader.len == 0 { Ok(value) } else { Err(Failed) }
}
