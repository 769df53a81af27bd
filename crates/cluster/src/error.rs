//! What goes wrong in replication, by whose fault it is.

use openraft::error::{Fatal, RaftError};

use crate::TransportError;

/// Why replication can't start, or must end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's, or the disk's under it.
    #[error(transparent)]
    Store(#[from] strongroom_store::Error),
    /// An attacker's fault, or the disk's: a log entry does not open.
    #[error("log entry: {0}")]
    Entry(&'static str),
    /// A peer's fault: what it sent makes no sense.
    #[error("peer: {0}")]
    Peer(&'static str),
    /// The network's fault, or a peer's.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The caller's fault.
    #[error("options: {0}")]
    Options(&'static str),
    /// The cluster's state does not allow it now.
    #[error("not now: {0}")]
    NotNow(String),
    /// The crypto backend's fault.
    #[error("crypto: {0}")]
    Crypto(#[from] strongroom_crypto::Error),
    /// The observer's: the cluster's new secrets do not open, or can't be kept.
    #[error("new secrets: {0}")]
    Secrets(String),
    /// An attacker's fault, or the disk's: what Raft has to read does not check.
    #[error("the log can't be read: {0}")]
    Log(String),
    /// The operating system's fault: no thread.
    #[error("can't start the storage thread: {0}")]
    Thread(std::io::Error),
    /// Nobody's fault: the node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// A bug of ours: the storage thread panicked.
    #[error("the storage thread panicked")]
    Panicked,
}

impl Error {
    pub(crate) fn raft(error: RaftError<u64>) -> Self {
        match error {
            RaftError::Fatal(fatal) => Self::fatal(fatal),
            RaftError::APIError(never) => match never {},
        }
    }

    /// openraft ended: by our word, or after its storage failed, which has been told.
    pub(crate) fn fatal(_: Fatal<u64>) -> Self {
        Self::Stopped
    }
}
