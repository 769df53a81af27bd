//! AES key wrap (RFC 3394) and key wrap with padding (RFC 5649).

use std::ffi::c_int;

use aws_lc_sys as sys;

use super::cipher::{Direction, Schedule};
use super::{Failed, failed, ok, written};
use crate::SecretBytes;

/// RFC 3394 with its default initial value. `material` is 16 bytes or more, in whole 8-byte
/// blocks.
pub(crate) fn wrap(key: &[u8], material: &[u8]) -> Result<Vec<u8>, Failed> {
    let schedule = Schedule::new(key, Direction::Encrypt)?;
    // SAFETY: the schedule is for encryption, a null IV is the default one, and the output is 8
    // bytes longer than the input.
    unsafe {
        written(material.len() + 8, |out| {
            length(sys::AES_wrap_key(
                schedule.as_ptr(),
                std::ptr::null(),
                out,
                material.as_ptr(),
                material.len(),
            ))
        })
    }
}

/// The inverse of [`wrap`].
pub(crate) fn unwrap(key: &[u8], wrapped: &[u8]) -> Result<SecretBytes, Failed> {
    let schedule = Schedule::new(key, Direction::Decrypt)?;
    let mut out = SecretBytes::zeroed(wrapped.len());
    // SAFETY: the schedule is for decryption, a null IV is the default one, and the output is 8
    // bytes shorter than the input.
    let written = unsafe {
        length(sys::AES_unwrap_key(
            schedule.as_ptr(),
            std::ptr::null(),
            out.as_mut_bytes().as_mut_ptr(),
            wrapped.as_ptr(),
            wrapped.len(),
        ))?
    };
    out.truncate(written);
    Ok(out)
}

/// RFC 5649. `material` is of any length but 0.
pub(crate) fn wrap_padded(key: &[u8], material: &[u8]) -> Result<Vec<u8>, Failed> {
    let schedule = Schedule::new(key, Direction::Encrypt)?;
    let room = material.len() + 15;
    let mut length = 0;
    // SAFETY: the schedule is for encryption; at most `room` bytes are written.
    unsafe {
        written(room, |out| {
            ok(sys::AES_wrap_key_padded(
                schedule.as_ptr(),
                out,
                &mut length,
                room,
                material.as_ptr(),
                material.len(),
            ))?;
            Ok(length)
        })
    }
}

/// The inverse of [`wrap_padded`].
pub(crate) fn unwrap_padded(key: &[u8], wrapped: &[u8]) -> Result<SecretBytes, Failed> {
    let schedule = Schedule::new(key, Direction::Decrypt)?;
    let mut out = SecretBytes::zeroed(wrapped.len());
    let mut length = 0;
    // SAFETY: the schedule is for decryption; at most the input's length is written.
    ok(unsafe {
        sys::AES_unwrap_key_padded(
            schedule.as_ptr(),
            out.as_mut_bytes().as_mut_ptr(),
            &mut length,
            wrapped.len(),
            wrapped.as_ptr(),
            wrapped.len(),
        )
    })?;
    out.truncate(length);
    Ok(out)
}

/// These return a length, or -1.
fn length(code: c_int) -> Result<usize, Failed> {
    usize::try_from(code).map_err(|_| failed())
}
