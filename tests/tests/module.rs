//! The module as a shared object: loaded, begun, ended and dropped in every order, while it is used.
//!
//! The program is `clients/module.c`; each of its parts runs against a local HSM and over TLS.

use strongroom_tests::{LocalToken, Program, Region, USER_PIN, compile, program, release};

const MODULE: &str = "libstrongroom_pkcs11.so";

#[test]
fn it_is_loaded_and_dropped_under_load_on_a_local_hsm() {
    let token = LocalToken::initialised("module-token");
    let path = compile("module", &token.scratch);
    let path = path.to_str().expect("a path in UTF-8");
    let copy = token.scratch.file("copy.so");
    all_parts(&|| token.program(path).env("CLOUDHSM_PIN", USER_PIN), &copy);
}

#[test]
fn it_is_loaded_and_dropped_under_load_over_tls() {
    let region = Region::up("module-region");
    let path = compile("module", &region.scratch);
    let path = path.to_str().expect("a path in UTF-8");
    let copy = region.scratch.file("copy.so");
    all_parts(&|| region.program(path), &copy);
}

fn all_parts(program: &dyn Fn() -> Program, copy: &std::path::Path) {
    std::fs::copy(release().join(MODULE), copy).expect("a copy of the module");
    let part = |arguments: &[&str]| {
        program()
            // Beside a copy there is no `strongroom` to start.
            .env("STRONGROOM_BIN", release().join("strongroom"))
            .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
            .args(arguments)
            .ok();
    };
    part(&["reload"]);
    part(&["twice", copy.to_str().expect("a path in UTF-8")]);
    part(&["finalize", "20240607"]);
    part(&["restless", "20240607"]);
    part(&["cycles"]);
}

#[test]
fn it_exports_the_functions_of_the_standard_and_nothing_else() {
    let symbols = program("nm").args(["-D", "--defined-only"]).arg(release().join(MODULE)).text();
    let mut names: Vec<&str> =
        symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    names.sort_unstable();
    let foreign: Vec<_> = names.iter().filter(|name| !name.starts_with("C_")).collect();
    assert!(foreign.is_empty(), "exported: {foreign:?}");
    for name in ["C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList", "C_Sign"] {
        assert!(names.binary_search(&name).is_ok(), "{name} is missing");
    }
}

#[test]
fn it_needs_only_the_system_and_stays_in_memory() {
    const SYSTEM: [&str; 4] = ["libc.so", "libgcc_s.so", "libm.so", "ld-linux"];
    let dynamic = program("readelf").args(["-d", "-W"]).arg(release().join(MODULE)).text();
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    let foreign: Vec<&str> =
        needed.filter(|line| !SYSTEM.iter().any(|name| line.contains(name))).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    // A thread's end runs destructors of what it used, even after dlclose.
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}
