//! The C interface: what programs call, and nothing of what it means.
//!
//! Each function turns the caller's pointers into the types of [`raw`], [`template`] and
//! [`mechanism`], which check them, and hands over to the safe module of its chapter. No panic leaves
//! a function, and none runs before C_Initialize or on a forked parent's state.
//!
//! All pointers are taken under PKCS#11's contract: null where the standard allows it, else valid
//! for the length given with them until the function returns. That is the one promise behind each
//! `unsafe` here.

#![allow(non_snake_case)] // PKCS#11's names.

pub(crate) mod crypto;
pub(crate) mod general;
pub(crate) mod interfaces;
pub(crate) mod kdf;
mod keys;
pub(crate) mod library;
pub(crate) mod mechanism;
mod message_signing;
pub(crate) mod messages;
pub(crate) mod objects;
pub(crate) mod raw;
pub(crate) mod template;
pub(crate) mod unsupported;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cryptoki_sys::*;

use crate::error::{Ckr, Result};
use crate::module::{self, Module};
use crate::session::Session;

/// Runs one function of the interface: no panic gets out, and the log tells how it ended.
fn guarded(name: &'static str, body: impl FnOnce() -> Result<()>) -> CK_RV {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(Ckr(CKR_GENERAL_ERROR)));
    let code = match result {
        Ok(()) => CKR_OK,
        Err(Ckr(code)) => code,
    };
    tracing::trace!("{name} = {code:#x}");
    code
}

/// As [`guarded`], with the initialised module.
fn with_module(name: &'static str, body: impl FnOnce(&Module) -> Result<()>) -> CK_RV {
    guarded(name, || {
        let module = module::current()?;
        body(&module).map_err(|error| module.failure(error))
    })
}

/// As [`with_module`], with a session.
fn with_session(
    name: &'static str,
    handle: CK_SESSION_HANDLE,
    body: impl FnOnce(&Module, &Session) -> Result<()>,
) -> CK_RV {
    with_module(name, |module| body(module, &*module.session(handle)?))
}
