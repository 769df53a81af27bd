//! What whole-process tests share: regions and local tokens that clean up after themselves, and
//! foreign programs whose output is kept for the failure message.
//!
//! The tests take the built files of `target/release`, as a user would; `cargo xtask test` builds
//! them first. Nothing here links the product.

mod c_program;
mod calls;
mod cluster;
mod load;
mod module;
mod network;
mod process;
mod program;
mod region;
mod scratch;
mod suites;
mod token;

pub use c_program::compile;
pub use calls::{code, with_parameter};
pub use cluster::SmallDisk;
pub use load::{Load, Report, StopAtEnd, logged_in};
pub use module::{Called, Failed, Module, attribute, bytes, plain};
pub use network::Network;
pub use process::{command_line, hsm_process, kill_hard, signal, spawn, stop};
pub use program::{Program, program, release};
pub use region::Region;
pub use scratch::Scratch;
pub use suites::{GoSuite, PythonSuite, kept, python_with, skipped};
pub use token::{LocalToken, SO_PIN, USER_PIN};

/// Whether the long forms of the tests were asked for (`cargo xtask test --full`).
#[must_use]
pub fn full() -> bool {
    std::env::var("STRONGROOM_FULL").is_ok_and(|v| v == "1")
}
