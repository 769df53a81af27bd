//! How an HSM is told to stop: SIGTERM, SIGINT, or the provisioner's request. All three become a
//! byte in one socket pair, which the accept loop polls beside its listeners.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::Error;

/// Asks the process to stop.
#[derive(Clone)]
pub(crate) struct Stop(Arc<UnixStream>);

/// Readable when the process is to stop.
pub(crate) struct StopRequest(UnixStream);

impl Stop {
    /// Stops the process in order. A request that does not fit follows many others.
    pub(crate) fn request(&self) {
        let _ = (&*self.0).write(&[1]);
    }
}

impl AsFd for StopRequest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Takes over SIGTERM and SIGINT.
///
/// # Errors
/// The system's.
pub(crate) fn install() -> Result<(Stop, StopRequest), Error> {
    let failed = "setting up signals";
    let (receiver, sender) = UnixStream::pair().map_err(Error::io(failed))?;
    sender.set_nonblocking(true).map_err(Error::io(failed))?;
    for signal in [SIGTERM, SIGINT] {
        let sender = sender.try_clone().map_err(Error::io(failed))?;
        signal_hook::low_level::pipe::register(signal, sender).map_err(Error::io(failed))?;
    }
    Ok((Stop(Arc::new(sender)), StopRequest(receiver)))
}
