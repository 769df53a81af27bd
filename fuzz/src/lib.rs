//! Fuzz targets: one for every decoder of bytes that somebody else can choose.
//!
//! A target is a function that takes any bytes and must return. The same function is replayed over
//! its seeds, its corpus (`fuzz/corpus/NAME`) and thousands of mutations of them in the ordinary test run, driven
//! for longer by the `strongroom-fuzz` program, and guided by coverage under libFuzzer:
//! `cargo xtask fuzz`.

#![forbid(unsafe_code)]

mod certificates;
mod disk;
mod fixed;
mod hsm;
mod input;
mod mutate;
mod targets;

pub use mutate::Mutator;
pub use targets::{TARGETS, Target};

use std::path::Path;

/// What a target's cases are made of: its seeds, and the cases of `fuzz/corpus/NAME` that once
/// failed or that libFuzzer found worth keeping, in the order of their names.
///
/// # Panics
/// Where a kept case does not read.
#[must_use]
pub fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut cases = (target.seeds)();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    if let Ok(entries) = std::fs::read_dir(folder) {
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        cases.extend(paths.iter().map(|path| std::fs::read(path).expect("a kept case")));
    }
    cases
}
