//! Keys that are rotated: each has an epoch, and older epochs open what they sealed.

use std::sync::Arc;

use strongroom_crypto::memory::LockedBytes;
use strongroom_crypto::random;

use crate::Error;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// A key of one epoch.
pub struct EpochKey {
    epoch: u64,
    bytes: LockedBytes,
}

impl EpochKey {
    fn generate(epoch: u64) -> Result<Arc<Self>, Error> {
        let mut bytes = LockedBytes::zeroed(KEY_BYTES).map_err(Error::Memory)?;
        random(bytes.as_mut_bytes())?;
        Ok(Arc::new(Self { epoch, bytes }))
    }

    /// Its epoch, from 1.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }
}

/// The keys of one purpose, in rising epochs; never empty. A clone shares the keys.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Arc<EpochKey>>,
}

impl KeyRing {
    /// A ring with a new random key of epoch 1.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn generate() -> Result<Self, Error> {
        Self::generate_at(1)
    }

    /// The same, of a given epoch.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn generate_at(epoch: u64) -> Result<Self, Error> {
        Ok(Self { keys: vec![EpochKey::generate(epoch)?] })
    }

    /// A ring of known keys; `None` where there is none, one is not 32 bytes long, or the epochs do
    /// not rise.
    ///
    /// # Errors
    /// Where there is no memory to lock.
    pub fn from_keys<'a>(
        keys: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> Result<Option<Self>, Error> {
        let mut ring = Self { keys: Vec::new() };
        for (epoch, bytes) in keys {
            if bytes.len() != KEY_BYTES || ring.keys.last().map_or(0, |key| key.epoch) >= epoch {
                return Ok(None);
            }
            let bytes = LockedBytes::copied(bytes).map_err(Error::Memory)?;
            ring.keys.push(Arc::new(EpochKey { epoch, bytes }));
        }
        Ok((!ring.keys.is_empty()).then_some(ring))
    }

    /// The key that seals: the newest.
    ///
    /// # Panics
    /// Never: a ring is made with at least one key.
    #[must_use]
    pub fn current(&self) -> &EpochKey {
        self.keys.last().expect("a ring is never empty")
    }

    /// The key of an epoch.
    #[must_use]
    pub fn at(&self, epoch: u64) -> Option<&EpochKey> {
        self.keys.iter().find(|key| key.epoch == epoch).map(Arc::as_ref)
    }

    /// All keys, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &EpochKey> {
        self.keys.iter().map(Arc::as_ref)
    }

    /// This ring with one more key, new and of a given epoch, which is above the current one's.
    ///
    /// # Errors
    /// Where the backend fails, or the epoch is not above.
    pub(crate) fn with_epoch(&self, epoch: u64) -> Result<Self, Error> {
        if epoch <= self.current().epoch() {
            return Err(Error::Bug("a new epoch is not above the last"));
        }
        let mut ring = self.clone();
        ring.keys.push(EpochKey::generate(epoch)?);
        Ok(ring)
    }

    /// This ring without the keys of epochs below `epoch`; the newest stays in any case.
    pub(crate) fn since_epoch(&self, epoch: u64) -> Self {
        let newest = self.current().epoch();
        let stays = |key: &&Arc<EpochKey>| key.epoch >= epoch.min(newest);
        Self { keys: self.keys.iter().filter(stays).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(ring: &KeyRing) -> Vec<u64> {
        ring.iter().map(EpochKey::epoch).collect()
    }

    #[test]
    fn a_ring_seals_with_its_newest_key_and_opens_with_all() {
        let (old, new) = ([1; 32], [2; 32]);
        let ring = KeyRing::from_keys([(1, &old[..]), (4, &new)]).unwrap().unwrap();
        assert_eq!(ring.current().epoch(), 4);
        assert_eq!(ring.current().bytes(), new);
        assert_eq!(ring.at(1).unwrap().bytes(), old);
        assert!(ring.at(2).is_none());
    }

    #[test]
    fn a_ring_is_never_empty_and_its_epochs_rise() {
        let key = [1; 32];
        for wrong in [&[][..], &[(1, &key[..31])], &[(2, &key[..]), (2, &key)], &[(0, &key[..])]] {
            assert!(KeyRing::from_keys(wrong.iter().copied()).unwrap().is_none());
        }
        let ring = KeyRing::generate_at(3).unwrap();
        assert!(ring.with_epoch(3).is_err());
        assert_eq!(epochs(&ring.since_epoch(9)), [3]);
    }

    #[test]
    fn a_new_epoch_has_a_key_of_its_own_and_leaves_the_old_ones() {
        let ring = KeyRing::generate().unwrap();
        let next = ring.with_epoch(2).unwrap();
        assert_eq!(next.at(1).unwrap().bytes(), ring.current().bytes());
        assert_ne!(next.current().bytes(), ring.current().bytes());
        assert_eq!(epochs(&next.since_epoch(2)), [2]);
        assert_eq!(epochs(&ring), [1]);
    }
}
