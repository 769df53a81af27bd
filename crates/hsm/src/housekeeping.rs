//! What an HSM does once a second whatever its clients do.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

use strongroom_engine::Engine;
use strongroom_vault::Replicator;

use crate::Error;
use crate::custody::Custodian;
use crate::trust::ClientTrust;

const PERIOD: Duration = Duration::from_secs(1);

/// The thread that keeps house, until it is dropped.
pub(crate) struct Housekeeping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeping {
    /// Begins. A local HSM has no TLS identity to renew.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(crate) fn start(
        engine: Arc<Engine>,
        replicator: Arc<dyn Replicator>,
        custodian: Custodian,
        trust: Option<Arc<ClientTrust>>,
    ) -> Result<Self, Error> {
        let (stop, stopped) = channel();
        let thread = Builder::new()
            .name("housekeeping".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    engine.housekeeping();
                    let now = SystemTime::now();
                    let followed =
                        trust.as_ref().map(|trust| trust.follow(&replicator.state().read(), now));
                    if let Some(Err(e)) = followed {
                        tracing::error!("no new leaf certificate: {e}");
                    }
                    if let Err(e) = custodian.rotate_if_due() {
                        tracing::warn!("new secrets are due and were not agreed on: {e}");
                    }
                }
                // What the last requests left behind.
                engine.housekeeping();
            })
            .map_err(Error::io("starting a thread"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
