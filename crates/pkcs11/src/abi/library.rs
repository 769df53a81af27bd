//! Where this shared object was loaded from.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The folder of the shared object's file; the `strongroom` binary is looked for beside it.
pub(crate) fn folder() -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let here: fn() -> Option<PathBuf> = folder;
    // SAFETY: `info` is a place for the answer; the address is one of our own functions.
    let found = unsafe { libc::dladdr(here as *const libc::c_void, info.as_mut_ptr()) };
    // SAFETY: zeroed is a value of this C structure, and dladdr may have filled it.
    let info = unsafe { info.assume_init() };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr's name is a C string that lives as long as the object is mapped.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    let file = Path::new(OsStr::from_bytes(name.to_bytes()));
    file.canonicalize().ok()?.parent().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_folder_is_that_of_the_running_file() {
        let exe = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert_eq!(super::folder().as_deref(), exe.parent());
    }
}
