//! What goes wrong with a seal, by whose fault it is.

use std::path::{Path, PathBuf};

/// Why a secret was not sealed or opened. None of these destroys anything: the HSM stays locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's fault: another passphrase than the one that it was sealed with.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The operator's fault: a passphrase of no characters.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The operator's fault: the key file is not the one that it was sealed with.
    #[error("the key file is not the one that this was sealed with")]
    WrongKey,
    /// The operator's fault: sealed in another way.
    #[error("this was sealed with seal {found}, not {expected}")]
    OtherSeal {
        /// The seal that was asked to open it.
        expected: &'static str,
        /// The seal that made it.
        found: String,
    },
    /// The disk's fault, or an attacker's.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// The file system's fault.
    #[error("{}: {source}", path.display())]
    Io {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The crypto backend's fault.
    #[error("crypto: {0}")]
    Crypto(#[from] strongroom_crypto::Error),
    /// The operating system's fault, or that of the limits set for this process.
    #[error("hashing the passphrase failed: {0}")]
    Hash(argon2::Error),
}

impl Error {
    /// For `map_err` on an operation on `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
