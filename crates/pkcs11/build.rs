//! How the module is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Thread-local destructors of the standard library would run after dlclose() has unmapped
    // their code, in threads of the host that once called us. So the module stays mapped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // A host may itself export functions named C_Sign and so on (p11-kit's proxy, a program linked
    // against another module). Our function tables must hold ours.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}
