//! Keeping secrets out of core dumps, swap and other processes' sight.
//!
//! For the few long-lived secrets (a cluster's master keys) there is [`LockedBytes`]; for the whole
//! process [`harden_process`] and [`lock_all`], which are called once, before secrets are opened.

use std::io;
use std::ptr::{self, NonNull};

/// Keeps this process's memory out of core dumps, and other processes of the same user from
/// reading or tracing it: the core limit is set to 0 and the process is marked non-dumpable.
pub fn harden_process() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is a valid structure, read by the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })?;
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

/// Keeps all of this process's memory out of swap: what is mapped now, and, where the limit of
/// locked memory is or can be made infinite, what is mapped later, each page as it is touched. An
/// error is for the caller to warn of, not to stop for; [`LockedBytes`] locks its own pages in any
/// case.
pub fn lock_all() -> io::Result<()> {
    // With a finite limit, locking future pages would make later allocations fail, so that isn't
    // asked for.
    let future = if raise_lock_limit()? { libc::MCL_FUTURE } else { 0 };
    // SAFETY: takes integers only.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | future | libc::MCL_ONFAULT) })
}

/// Raises the limit of locked memory as far as this process may; whether there is none now.
fn raise_lock_limit() -> io::Result<bool> {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is a valid structure, read by the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &unlimited) } == 0 {
        return Ok(true);
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is a valid structure, written by the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the limit is a valid structure, read by the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) })?;
    Ok(limit.rlim_cur == libc::RLIM_INFINITY)
}

/// Secret bytes in pages of their own, which aren't swapped, dumped or inherited by a forked
/// child, and which, where the kernel has memfd_secret, aren't even in the kernel's own map of
/// memory. Wiped when dropped.
///
/// Each takes a page or more of the limit of locked memory: for master keys, not for users' keys.
pub struct LockedBytes {
    start: NonNull<u8>,
    length: usize,
    mapped: usize,
}

// SAFETY: it owns its mapping, which has no ties to a thread.
unsafe impl Send for LockedBytes {}
// SAFETY: through a shared reference it can only be read.
unsafe impl Sync for LockedBytes {}

impl LockedBytes {
    /// `length` zero bytes, to be filled through [`LockedBytes::as_mut_bytes`]. An error says that
    /// no memory could be mapped or locked.
    pub fn zeroed(length: usize) -> io::Result<Self> {
        // SAFETY: takes an integer only.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .map_err(|_| io::Error::last_os_error())?;
        let mapped = length.max(1).checked_next_multiple_of(page).ok_or_else(out_of_memory)?;
        let start = map_secret(mapped).or_else(|_| map_locked(mapped))?;
        Ok(Self { start, length, mapped })
    }

    /// A copy of `bytes`; wiping the original stays with the caller.
    pub fn copied(bytes: &[u8]) -> io::Result<Self> {
        let mut locked = Self::zeroed(bytes.len())?;
        locked.as_mut_bytes().copy_from_slice(bytes);
        Ok(locked)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `length` bytes from `start` are mapped, readable, initialised (a new mapping is
        // zero), and live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// The bytes, to be written.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        // SAFETY: as above, writable, and exclusively borrowed through `self`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        crate::backend::cleanse(self.as_mut_bytes());
        // SAFETY: the mapping is ours and isn't used afterwards. Unmapping unlocks.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}

/// Pages that only this process can see: memfd_secret(2), Linux 5.14 and later. They are locked and
/// left out of dumps by nature.
fn map_secret(length: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: takes a flag, and returns a new descriptor or -1.
    let descriptor = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let descriptor = libc::c_int::try_from(descriptor).map_err(|_| out_of_memory())?;
    check(descriptor.min(0))?;
    let mapping = (|| {
        let size = libc::off_t::try_from(length).map_err(|_| out_of_memory())?;
        // SAFETY: the descriptor is open and ours.
        check(unsafe { libc::ftruncate(descriptor, size) })?;
        map(length, libc::MAP_SHARED, descriptor)
    })();
    // SAFETY: the descriptor is ours; a mapping outlives it.
    unsafe { libc::close(descriptor) };
    let start = mapping?;
    // The mapping is shared by nature, so a child would see it: it gets none instead.
    advise_or_unmap(start, length, &[libc::MADV_DONTFORK])
}

/// Ordinary pages, locked, left out of dumps, and empty in a forked child.
fn map_locked(length: usize) -> io::Result<NonNull<u8>> {
    let start = map(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    // SAFETY: the range is a mapping of ours.
    if let Err(error) = check(unsafe { libc::mlock(start.as_ptr().cast(), length) }) {
        // SAFETY: the mapping is ours and isn't used afterwards.
        unsafe { libc::munmap(start.as_ptr().cast(), length) };
        return Err(error);
    }
    advise_or_unmap(start, length, &[libc::MADV_DONTDUMP, libc::MADV_WIPEONFORK])
}

fn map(length: usize, flags: libc::c_int, descriptor: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            descriptor,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(out_of_memory)
}

fn advise_or_unmap(
    start: NonNull<u8>,
    length: usize,
    advices: &[libc::c_int],
) -> io::Result<NonNull<u8>> {
    for advice in advices {
        // SAFETY: the range is a mapping of ours, and none of the advices used here changes what
        // this process reads from it.
        if let Err(error) = check(unsafe { libc::madvise(start.as_ptr().cast(), length, *advice) })
        {
            // SAFETY: the mapping is ours and isn't used afterwards.
            unsafe { libc::munmap(start.as_ptr().cast(), length) };
            return Err(error);
        }
    }
    Ok(start)
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn out_of_memory() -> io::Error {
    io::Error::from(io::ErrorKind::OutOfMemory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_bytes_hold_what_was_put_there() {
        let mut locked = LockedBytes::copied(b"master key").expect("locked memory");
        assert_eq!(locked.as_bytes(), b"master key");
        locked.as_mut_bytes()[0] = b'M';
        assert_eq!(locked.as_bytes(), b"Master key");
        assert_eq!(locked.len(), 10);
        let large = LockedBytes::zeroed(10_000).expect("locked memory");
        assert!(large.as_bytes().iter().all(|byte| *byte == 0));
        assert!(LockedBytes::zeroed(0).expect("locked memory").is_empty());
    }

    #[test]
    fn both_ways_of_mapping_give_zeroed_writable_pages() {
        for map in [map_secret, map_locked] {
            let Ok(start) = map(8192) else { continue }; // an old kernel has only one of them
            let locked = LockedBytes { start, length: 8192, mapped: 8192 };
            assert!(locked.as_bytes().iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_hardened_process_dumps_no_core() {
        harden_process().expect("lowering limits is always allowed");
        let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        // SAFETY: the limit is a valid structure, written by the call.
        unsafe { libc::getrlimit(libc::RLIMIT_CORE, &mut limit) };
        assert_eq!(limit.rlim_cur, 0);
        // SAFETY: takes integers only.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }, 0);
    }
}
