//! Rules about the repository itself, that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, root};

/// Source files longer than this are split by idea.
const LINES_MAX: usize = 700;

/// What stands for work that was not done. Spelled in halves, so that this file passes itself.
const PROMISES: &[(&str, &str)] = &[
    ("todo", "!("),
    ("unimplemented", "!("),
    ("FIX", "ME"),
    ("TO", "DO:"),
    ("#[ign", "ore"),
    ("dbg", "!("),
];

/// Crates at a C border, the only ones that may hold unsafe code.
const MAY_BE_UNSAFE: &[&str] = &["crates/crypto", "crates/pkcs11", "tests"];

/// The switch of the guards against the known attacks (`crates/vault/src/guard.rs`), for tests alone.
const GUARD_SWITCH: (&str, &str) = ("without(", "Guard::");

/// Words that mark a type as holding a secret.
const SECRET_TYPES: &[&str] = &["SecretBytes", "LockedBytes", "AeadKey"];

/// Checks every tracked file and tells all findings at once.
pub(crate) fn check() -> Result {
    let mut findings = Vec::new();
    for file in tracked()? {
        let path = root().join(&file);
        let name = file.display().to_string();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if name.ends_with(".rs") || name.ends_with(".toml") || name.ends_with(".md") {
            check_text(&name, &text, &mut findings);
        }
        if name.ends_with(".md") {
            check_links(&name, &text, &path, &mut findings);
        }
        if name.ends_with(".rs") {
            check_rust(&name, &text, &mut findings);
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(format!("tidy:\n  {}", findings.join("\n  "))) }
}

/// A link of a document to another file of the repository leads to one.
fn check_links(name: &str, text: &str, path: &Path, findings: &mut Vec<String>) {
    for (_, rest) in text.match_indices("](").map(|(at, found)| text.split_at(at + found.len())) {
        let target = rest.split([')', '#']).next().unwrap_or_default();
        let local = !target.is_empty() && !target.contains("://");
        if local && !path.with_file_name(target).exists() {
            findings.push(format!("{name}: a link to {target}, which is not there"));
        }
    }
}

fn check_text(name: &str, text: &str, findings: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t']) && !name.ends_with(".md") {
            findings.push(format!("{name}:{}: trailing blank", number + 1));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(format!("{name}: no newline at its end"));
    }
}

fn check_rust(name: &str, text: &str, findings: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(format!("{name}: {lines} lines; split it by idea (limit {LINES_MAX})"));
    }
    for (first, second) in PROMISES {
        let promise = format!("{first}{second}");
        if text.contains(&promise) {
            findings.push(format!("{name}: holds {promise:?}: do it, or leave it out"));
        }
    }
    let (first, second) = GUARD_SWITCH;
    let of_tests = name.contains("/tests/") || name == "crates/vault/src/guard.rs";
    if !of_tests && text.contains(&format!("{first}{second}")) {
        findings
            .push(format!("{name}: takes a guard against a known attack away outside of tests"));
    }
    let is_root = name.ends_with("/src/lib.rs") || name.ends_with("/src/main.rs");
    if is_root && !text.starts_with("//!") {
        findings.push(format!("{name}: says nothing about what the crate is (`//!` first)"));
    }
    let may = MAY_BE_UNSAFE.iter().any(|c| name.starts_with(c));
    if is_root && !may && !text.contains("#![forbid(unsafe_code)]") {
        findings.push(format!("{name}: lacks #![forbid(unsafe_code)]"));
    }
    for secret in SECRET_TYPES {
        let declared = format!("pub struct {secret}");
        if let Some(at) = text.find(&declared) {
            let before = &text[..at];
            let attributes = before.rsplit("\n\n").next().unwrap_or(before);
            for shown in ["Debug", "Clone", "PartialEq", "Serialize"] {
                if attributes.contains("derive(") && attributes.contains(shown) {
                    findings.push(format!("{name}: {secret} derives {shown}"));
                }
            }
        }
    }
}

fn tracked() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("git ls-files: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|l| Path::new(l).to_path_buf())
        .collect())
}
