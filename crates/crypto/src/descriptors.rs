//! Keeping open descriptors from the programs that this process starts.
//!
//! It is here because it needs `unsafe`, and this is the HSM's crate for that.

use std::io;

/// The first after the standard streams.
const FIRST: u32 = 3;

/// Marks every open descriptor but the three standard streams and `except` to be closed in programs
/// that this process starts: an HSM started on demand must not hold what its starter happened to
/// have open. An error (a kernel before 5.11) is no reason to stop.
pub fn keep_from_children(except: Option<u32>) -> io::Result<()> {
    match except.filter(|except| *except >= FIRST) {
        None => mark(FIRST, u32::MAX),
        Some(except) => {
            mark(FIRST, except - 1)?;
            mark(except.saturating_add(1), u32::MAX)
        }
    }
}

fn mark(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // The flag is 4: it fits.
    let flag = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
    // SAFETY: takes integers only, and closes nothing in this process.
    if unsafe { libc::close_range(first, last, flag) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_child_has_the_excepted_descriptor_and_no_other() {
        let (kept, hidden) = (std::fs::File::open("/").unwrap(), std::fs::File::open("/").unwrap());
        for file in [&kept, &hidden] {
            // SAFETY: clears the close-on-exec flag of a descriptor that is open here.
            assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) }, 0);
        }
        keep_from_children(Some(kept.as_raw_fd().unsigned_abs())).unwrap();
        let open_in_child = |file: &std::fs::File| {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            std::process::Command::new("test").args(["-e", &path]).status().unwrap().success()
        };
        assert!(open_in_child(&kept));
        assert!(!open_in_child(&hidden));
    }
}
