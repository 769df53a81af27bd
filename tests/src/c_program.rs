//! C programs of `tests/clients`, compiled when a test needs them, as an application's author would.

use std::path::{Path, PathBuf};

use crate::{Scratch, program};

/// Where Debian's libp11-kit-dev keeps a `pkcs11.h` that is nobody's of ours.
const PKCS11_H: &str = "/usr/include/p11-kit-1/p11-kit";

/// Compiles `tests/clients/NAME.c` with all warnings as errors; gives the program's path.
///
/// # Panics
/// Where it does not compile, with what the compiler says.
#[must_use]
pub fn compile(name: &str, scratch: &Scratch) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = tests.join("clients").join(name).with_extension("c");
    let target = scratch.file(name);
    program("cc")
        .args(["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread"])
        .args(["-Wall", "-Wextra", "-Werror"])
        .arg("-I")
        .arg(tests.join("../include"))
        .args(["-I", PKCS11_H])
        .arg("-o")
        .arg(&target)
        .arg(source)
        .arg("-ldl")
        .ok();
    target
}
