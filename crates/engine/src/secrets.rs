//! The cluster's secrets as the engine sees them: one key of each purpose for each epoch.
//!
//! Removing an HSM raises the epoch. What was sealed in an older one still opens while its key is
//! kept; what is new is sealed in the newest.

use strongroom_crypto::SecretBytes;

/// Where the engine gets the keys of the present from, each time that it needs one.
pub trait EpochSecrets: Send + Sync {
    /// The newest epoch, from 1.
    fn epoch(&self) -> u64;

    /// What objects of an epoch are masked under, 32 bytes; `None` where the key is not here.
    fn masking(&self, epoch: u64) -> Option<SecretBytes>;

    /// What tickets of an epoch are authenticated under, 32 bytes; `None` where the key is not here.
    fn ticket(&self, epoch: u64) -> Option<SecretBytes>;
}

/// Secrets that stay in their first epoch. Wiped when dropped.
pub struct EngineSecrets {
    /// What objects are masked under, 32 bytes.
    pub masking: SecretBytes,
    /// What tickets are authenticated under, 32 bytes.
    pub ticket: SecretBytes,
}

impl EpochSecrets for EngineSecrets {
    fn epoch(&self) -> u64 {
        1
    }

    fn masking(&self, epoch: u64) -> Option<SecretBytes> {
        (epoch == 1).then(|| SecretBytes::copied(self.masking.as_bytes()))
    }

    fn ticket(&self, epoch: u64) -> Option<SecretBytes> {
        (epoch == 1).then(|| SecretBytes::copied(self.ticket.as_bytes()))
    }
}
