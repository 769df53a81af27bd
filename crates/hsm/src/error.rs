//! Why an HSM does not start or stops, by whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

use crate::certificates::CertificateError;

/// What went wrong with the process as a whole; a single connection's troubles only end it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's: an option that cannot be.
    #[error("{0}")]
    Configuration(String),
    /// The machine's: the data folder is not ours alone, or not to be used.
    #[error("data folder {}: {problem}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Another process serves the folder.
    #[error("another HSM already runs on {}", .0.display())]
    Running(PathBuf),
    /// The seal does not open: a wrong passphrase, a foreign or damaged file.
    #[error("seal: {0}")]
    Seal(#[from] strongroom_seal::Error),
    /// The store does not open, or failed.
    #[error("store: {0}")]
    Store(#[from] strongroom_store::Error),
    /// Replication does not start.
    #[error("cluster: {0}")]
    Cluster(#[from] strongroom_cluster::Error),
    /// The first entries of the log could not be made.
    #[error("log: {0}")]
    Replication(#[from] strongroom_vault::ReplicationError),
    /// The vault refused one of the HSM's own entries: a bug, or a store from elsewhere.
    #[error("vault: {0}")]
    Vault(#[from] strongroom_vault::Refusal),
    /// A certificate, ours or given.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The cluster's key of a generation is not here: this HSM has not learnt of it yet.
    #[error("this HSM does not have the cluster's key of generation {0}")]
    Generation(u64),
    /// The HSM that lived there has destroyed its secrets.
    #[error(
        "data folder {}: its HSM has destroyed its secrets ({reason}); a new one needs an empty folder",
        folder.display()
    )]
    Zeroised {
        /// Which.
        folder: PathBuf,
        /// As its record has it.
        reason: String,
    },
    /// The crypto backend.
    #[error("crypto: {0}")]
    Crypto(#[from] strongroom_crypto::Error),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A listener.
    #[error("cannot listen on {address}: {source}{}", elsewhere(source))]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A detached HSM ended before it was ready.
    #[error("the HSM did not start: {0}")]
    Start(String),
    /// A file or the system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the file's path where there is one.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// What to do about a place that is taken.
fn elsewhere(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => ": choose another address or --port-offset",
        _ => "",
    }
}

impl Error {
    /// For `map_err`: the system's error with what was tried.
    pub(crate) fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source: source.into() }
    }

    /// A fault of the data folder.
    pub(crate) fn folder(folder: &Path, problem: impl Into<String>) -> Self {
        Self::Folder { folder: folder.to_owned(), problem: problem.into() }
    }
}
