//! Keys that are rotated: each has an epoch, and older epochs open what they sealed.

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

/// The keys of one purpose, in rising epochs; never empty.
pub struct KeyRing {
    keys: Vec<EpochKey>,
}

impl KeyRing {
    /// A ring with a new random key of epoch 1.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = LockedBytes::zeroed(KEY_BYTES).map_err(Error::Memory)?;
        random(bytes.as_mut_bytes())?;
        Ok(Self { keys: vec![EpochKey { epoch: 1, bytes }] })
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
            if bytes.len() != KEY_BYTES || ring.keys.last().map_or(0, EpochKey::epoch) >= epoch {
                return Ok(None);
            }
            let bytes = LockedBytes::copied(bytes).map_err(Error::Memory)?;
            ring.keys.push(EpochKey { epoch, bytes });
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
        self.keys.iter().find(|key| key.epoch == epoch)
    }

    /// All keys, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &EpochKey> {
        self.keys.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
