//! What port 2223 shows: nothing before the cluster has an owner, then a leaf that is always fresh.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;

use crate::certificates::{Leaf, P256Key};
use crate::{Error, tls};

/// The TLS identity towards clients.
pub(crate) struct ClientTrust {
    cluster_key: P256Key,
    leaf: Leaf,
    current: RwLock<Option<Current>>,
}

struct Current {
    config: Arc<ServerConfig>,
    cluster_certificate: Vec<u8>,
    renewal: SystemTime,
}

impl ClientTrust {
    pub(crate) fn new(cluster_key: P256Key, leaf: Leaf) -> Self {
        Self { cluster_key, leaf, current: RwLock::new(None) }
    }

    /// The key that the owner certifies.
    pub(crate) fn cluster_key(&self) -> &P256Key {
        &self.cluster_key
    }

    /// For a new connection; `None` before initialisation.
    pub(crate) fn config(&self) -> Option<Arc<ServerConfig>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|current| Arc::clone(&current.config))
    }

    /// Issues a leaf under the owner's certificate; connections from now on see it.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(crate) fn issue(&self, cluster_certificate: Vec<u8>, now: SystemTime) -> Result<(), Error> {
        let leaf = self.leaf.issue(&self.cluster_key, &cluster_certificate, now)?;
        let config = tls::for_clients(leaf)?;
        let next = Current { config, cluster_certificate, renewal: Leaf::renewal(now) };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(next);
        Ok(())
    }

    /// Issues a new leaf where the present one is old.
    ///
    /// # Errors
    /// As [`ClientTrust::issue`].
    pub(crate) fn renew_if_due(&self, now: SystemTime) -> Result<(), Error> {
        let due = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current
                .as_ref()
                .filter(|current| current.renewal <= now)
                .map(|current| current.cluster_certificate.clone())
        };
        match due {
            Some(cluster_certificate) => {
                tracing::info!("issuing a new leaf certificate");
                self.issue(cluster_certificate, now)
            }
            None => Ok(()),
        }
    }
}
