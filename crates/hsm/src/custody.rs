//! The cluster's secrets in this HSM's hands: what of them the engine gets.

use std::sync::Arc;

use strongroom_crypto::SecretBytes;
use strongroom_engine::EpochSecrets;
use strongroom_store::{ClusterSecrets, EpochKey, KeyRing, Secrets};

/// The keys that the engine asks for, always the present ones. An HSM without a cluster has none, so
/// nothing opens.
pub(crate) struct EngineKeys(pub(crate) Arc<Secrets>);

impl EngineKeys {
    fn key(&self, epoch: u64, of: impl FnOnce(&ClusterSecrets) -> &KeyRing) -> Option<SecretBytes> {
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

#[cfg(test)]
mod tests {
    use strongroom_store::Rotation;

    use super::*;

    #[test]
    fn the_engine_gets_the_keys_of_the_epochs_that_are_kept() {
        let secrets = Arc::new(Secrets::generate().unwrap());
        let keys = EngineKeys(Arc::clone(&secrets));
        assert!(keys.epoch() == 1 && keys.ticket(1).is_some() && keys.masking(2).is_none());
        let next = secrets.cluster().unwrap().next(Rotation::Exposed { generation: 2 }).unwrap();
        secrets.add_epoch(next).unwrap();
        assert_eq!(keys.epoch(), 2);
        assert!(keys.ticket(1).is_none() && keys.masking(1).is_some() && keys.masking(2).is_some());
    }

    #[test]
    fn an_hsm_without_a_cluster_has_no_keys() {
        let keys = EngineKeys(Arc::new(Secrets::generate_alone("hsm-1".to_owned()).unwrap()));
        assert!(keys.epoch() == 0 && keys.masking(1).is_none() && keys.ticket(0).is_none());
    }
}
