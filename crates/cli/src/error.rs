//! What can go wrong, named by whose fault it is. The text is what a user reads in `data`.

use std::path::{Path, PathBuf};

/// Why a command failed. Never carries a password or key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The command line, an attribute, a filter or a file's content: the caller's.
    #[error("{0}")]
    Usage(String),
    /// A filter for one key that does not name exactly one.
    #[error(
        "Key selection criteria matched {matched} keys. Refine selection criteria to select a single key."
    )]
    Selection {
        /// How many keys it names.
        matched: usize,
    },
    /// The HSM refused.
    #[error("{message}")]
    Hsm {
        /// CKR_…
        ckr: u64,
        /// The HSM's words.
        message: String,
    },
    /// Configuration, trust or network.
    #[error("{0}")]
    Connection(String),
    /// The answer is not one to the question: a bug on one of the two sides.
    #[error("The HSM's answer to {0} was not understood")]
    Answer(&'static str),
    /// A file that the command reads or writes.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The terminal, or whatever stands for it.
    #[error("Cannot read from the terminal: {0}")]
    Terminal(#[from] std::io::Error),
}

impl Error {
    /// A usage error.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// For `map_err` on file operations.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
