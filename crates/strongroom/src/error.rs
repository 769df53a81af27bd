//! What goes wrong with a region, by whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

/// Each says what to do, where that is not plain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The caller's: an option that cannot be.
    #[error("{0}")]
    Usage(String),
    /// There is no region in the folder.
    #[error("there is no region in {}; `strongroom up` makes one", .0.display())]
    NoRegion(PathBuf),
    /// A file of the region does not read.
    #[error("{}: {problem}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file of the region cannot be written.
    #[error(transparent)]
    Write(#[from] strongroom_seal::Error),
    /// The HSM process.
    #[error(transparent)]
    Hsm(#[from] strongroom_hsm::Error),
    /// The HSM refused a request on port 2224.
    #[error("the HSM refuses: {0}")]
    Refused(String),
    /// Nothing listens on the HSM's port 2224.
    #[error("{0} does not run")]
    NotRunning(String),
    /// Port 2224 of an HSM does not answer, or is not the HSM's.
    #[error("{hsm} does not answer on {address}: {problem}")]
    Unreachable {
        /// `hsm-…`
        hsm: String,
        /// Where.
        address: String,
        /// Why.
        problem: String,
    },
    /// Some HSMs of the region do not run, or are no members.
    #[error("{}", .0.join("\n"))]
    Broken(Vec<String>),
    /// No HSM that answers is a member of the cluster that can speak for it.
    #[error("{0}")]
    NoMember(String),
    /// The client: port 2223.
    #[error(transparent)]
    Client(#[from] strongroom_client::Error),
    /// The PKCS#11 module.
    #[error("PKCS#11: {what}: {problem}")]
    Pkcs11 {
        /// What was tried.
        what: String,
        /// What the module answered.
        problem: String,
    },
    /// A certificate of the owner or the provisioner could not be made.
    #[error("{what}: {problem}")]
    Certificate {
        /// Which.
        what: &'static str,
        /// Why.
        problem: String,
    },
    /// A program that we started failed.
    #[error("{program} failed: {problem}")]
    Program {
        /// Which.
        program: &'static str,
        /// Its last words.
        problem: String,
    },
    /// A file or the system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: the system's error with what was tried.
    pub(crate) fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source: source.into() }
    }

    /// For `map_err`: a file that does not read.
    pub(crate) fn file<E: std::fmt::Display>(file: &Path) -> impl FnOnce(E) -> Self {
        let file = file.to_owned();
        move |problem| Self::File { file, problem: problem.to_string() }
    }
}
