//! The list of targets.

mod wire;

/// One decoder under fuzz.
#[derive(Debug)]
pub struct Target {
    /// Its name, and its corpus' folder.
    pub name: &'static str,
    /// Valid inputs, made by the code that writes them: they follow every change of a format.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes any bytes and returns.
    pub run: fn(&[u8]),
}

/// Every target.
pub static TARGETS: &[Target] = &[
    Target { name: "wire-frame", seeds: wire::frame_seeds, run: wire::frame },
    Target { name: "wire-request", seeds: wire::request_seeds, run: wire::request },
    Target { name: "wire-reply", seeds: wire::reply_seeds, run: wire::reply },
    Target { name: "wire-admin", seeds: wire::admin_seeds, run: wire::admin },
];
