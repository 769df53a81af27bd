//! The PKCS#11 module: `libstrongroom_pkcs11.so`, a C interface over the client.
//!
//! In: calls of PKCS#11 2.40 and 3.0 from any program, with any pointers, from any threads, before
//! and after forks. Out: requests to the HSM, and CKR_ values. What it must never do: panic into
//! its caller, trust a pointer that it could check, hold a lock over a fork, run after C_Finalize,
//! start a thread, or write a PIN, a key or data to its log.
//!
//! - `abi`: the C functions and everything that touches the caller's memory; nearly all
//!   `unsafe` code is there.
//! - One safe module for each chapter of the standard: `general`, `slot`, `session`,
//!   `login`, `object`, `encrypt` (with `cipher`), `digest`, `sign`, `verify`, `dual`,
//!   `key`, `random`.
//! - What they share: `module` (the state between C_Initialize and C_Finalize), `hsm` (the HSM
//!   as a trait), `operation` (what a session has under way), `mechanism` and `template`
//!   (from C's form to the wire's), `key_info` (what is remembered of keys), `error`.
//! - Around them: `fork`, `lock`, `log`.

mod abi;
mod cipher;
mod digest;
mod dual;
mod encrypt;
mod error;
#[cfg(test)]
mod fake;
mod fork;
mod general;
mod hsm;
mod kdf;
mod key;
mod key_info;
mod lock;
mod log;
mod login;
mod mechanism;
mod message;
mod message_sign;
mod module;
mod object;
mod operation;
mod random;
mod session;
mod sign;
mod slot;
mod template;
mod verify;
