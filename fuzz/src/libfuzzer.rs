//! The same targets under libFuzzer: `STRONGROOM_FUZZ_TARGET` names the one to run.

#![no_main]

use std::sync::OnceLock;

use strongroom_fuzz::{TARGETS, Target};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = CHOSEN.get_or_init(|| {
        let name = std::env::var("STRONGROOM_FUZZ_TARGET").expect("STRONGROOM_FUZZ_TARGET is set");
        TARGETS.iter().find(|t| t.name == name).expect("a target of this name")
    });
    (target.run)(data);
});
