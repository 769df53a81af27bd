//! What goes wrong in replication, by whose fault it is.

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
    /// The crypto backend's fault.
    #[error("crypto: {0}")]
    Crypto(#[from] strongroom_crypto::Error),
    /// The operating system's fault: no thread.
    #[error("can't start the writer's thread: {0}")]
    Thread(std::io::Error),
    /// A bug of ours: the writer's thread panicked, and the state may be half changed.
    #[error("the writer panicked")]
    Panicked,
}
