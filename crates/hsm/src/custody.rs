//! The cluster's secrets in this HSM's hands: what of them the engine gets.

use std::sync::Arc;

use strongroom_crypto::SecretBytes;
use strongroom_engine::EpochSecrets;
use strongroom_store::{EpochKey, KeyRing, Secrets};

/// The keys that the engine asks for, always the present ones. An HSM without a cluster has none, so
/// nothing opens.
pub(crate) struct EngineKeys(pub(crate) Arc<Secrets>);

impl EngineKeys {
    fn key(
        &self,
        epoch: u64,
        of: impl FnOnce(&strongroom_store::ClusterSecrets) -> &KeyRing,
    ) -> Option<SecretBytes> {
        let cluster = self.0.cluster().ok()?;
        of(&cluster).at(epoch).map(EpochKey::bytes).map(SecretBytes::copied)
    }
}

impl EpochSecrets for EngineKeys {
    fn epoch(&self) -> u64 {
        self.0.cluster().map_or(0, |cluster| cluster.epoch())
    }

    fn masking(&self, epoch: u64) -> Option<SecretBytes> {
        self.key(epoch, |cluster| &cluster.masking)
    }

    fn ticket(&self, epoch: u64) -> Option<SecretBytes> {
        self.key(epoch, |cluster| &cluster.ticket)
    }
}
