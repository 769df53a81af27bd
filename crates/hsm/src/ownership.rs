//! The owner's hold on the cluster: the request for the newest cluster key, the check of what the owner
//! signs, and what is to be done where the newest key is not signed yet.

use std::sync::Arc;
use std::time::SystemTime;

use strongroom_store::Secrets;
use strongroom_vault::{Command, Replicator, State};

use crate::Error;
use crate::administration::propose;
use crate::certificates::{CertificateError, P256Key, check_renewal, cluster_request};
use crate::trust::cluster_key;

/// What this HSM knows of its owner.
pub(crate) struct Ownership {
    replicator: Arc<dyn Replicator>,
    secrets: Arc<Secrets>,
}

/// A request for the owner to sign.
pub(crate) struct ClusterRequest {
    pub(crate) pem: String,
    pub(crate) generation: u64,
}

impl Ownership {
    pub(crate) fn new(replicator: Arc<dyn Replicator>, secrets: Arc<Secrets>) -> Self {
        Self { replicator, secrets }
    }

    /// The newest cluster key.
    ///
    /// # Errors
    /// [`Error::Generation`] where a newer one is due and not made yet, or not known here.
    pub(crate) fn newest_key(&self) -> Result<P256Key, Error> {
        cluster_key(&self.secrets, self.replicator.state().read().generation())
    }

    /// A request for the newest cluster key.
    ///
    /// # Errors
    /// As [`Ownership::newest_key`].
    pub(crate) fn request(&self) -> Result<ClusterRequest, Error> {
        let (generation, cluster_id) = {
            let state = self.replicator.state().read();
            (state.generation(), state.cluster_id().to_owned())
        };
        let key = cluster_key(&self.secrets, generation)?;
        Ok(ClusterRequest { pem: cluster_request(&key, &cluster_id)?, generation })
    }

    /// Checks what the owner has signed for the newest key, PEM: its DER, and the key's generation.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check_certificate(&self, pem: &str) -> Result<(Vec<u8>, u64), Error> {
        let (generation, cluster_id, anchor) = {
            let state = self.replicator.state().read();
            let anchor = state.trust_anchor().map(<[u8]>::to_vec);
            (state.generation(), state.cluster_id().to_owned(), anchor)
        };
        let anchor = anchor.ok_or(CertificateError::NotInitialised)?;
        let public_key = cluster_key(&self.secrets, generation)?.public_key();
        let certificate = check_renewal(&public_key, &cluster_id, pem, &anchor, SystemTime::now())?;
        Ok((certificate, generation))
    }

    /// Takes what the owner has signed for the newest key: all HSMs show it from then on.
    ///
    /// # Errors
    /// As [`Ownership::check_certificate`], and where it was not agreed on.
    pub(crate) fn install(&self, pem: &str) -> Result<(), Error> {
        let (cluster_certificate, generation) = self.check_certificate(pem)?;
        propose(
            &*self.replicator,
            Command::InstallClusterCertificate { generation, cluster_certificate },
        )
        .map(drop)
    }
}

/// What an operator must do, in words: red in `status` until it is done.
pub(crate) fn warning(state: &State) -> Option<String> {
    state.cluster_key_compromised().then(|| {
        format!(
            "the cluster's certificate must be renewed: an HSM was removed without a receipt, and may \
             still have the key of generation {}; sign the request of generation {} with customerCA, \
             install it, and run `configure -a` on the clients",
            state.certified_generation(),
            state.generation()
        )
    })
}
