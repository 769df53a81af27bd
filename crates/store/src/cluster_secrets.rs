//! What all HSMs of a cluster keep together: its keys, by epoch and generation.

use std::sync::Arc;

use prost::Message;
use strongroom_crypto::memory::LockedBytes;
use strongroom_crypto::{Curve, SecretBytes, generate_ec, random};
use zeroize::Zeroize;

use crate::{Error, KeyRing};

/// What an error calls it.
pub(crate) const NAME: &str = "the cluster's secrets";
const FORMAT: u32 = 1;
/// Epochs whose log and ticket keys are kept, so that secrets stay short enough to be sealed to each
/// member in one log entry. An entry that is opened is a few epochs old at most.
const EPOCHS_KEPT: u64 = 32;
/// Generations of the cluster key that are kept: the certified one is among them unless the owner has
/// left so many removals unanswered.
const GENERATIONS_KEPT: usize = 16;
/// The first generation of the cluster key.
const FIRST_GENERATION: u64 = 1;

/// Why secrets are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The older ones are in members' hands alone: what was sealed with them still counts.
    Routine,
    /// Somebody who is no member may hold the older ones: what clients keep of session objects under
    /// older ticket keys opens no more, and there is a new cluster key. Logins go on: the vault knows
    /// each login's own key.
    Exposed {
        /// The new key's generation, above the present one.
        generation: u64,
    },
}

/// A cluster's secrets at one epoch. A new epoch is a new value; a clone shares the keys.
#[derive(Clone)]
pub struct ClusterSecrets {
    /// What sealed objects name as theirs; random, kept by a restored clone.
    pub masking_domain: [u8; 16],
    /// Seals objects.
    pub masking: KeyRing,
    /// Seals log entries.
    pub log: KeyRing,
    /// Authenticates login tickets, and seals session objects for their client.
    pub ticket: KeyRing,
    /// The signing keys (P-256, PKCS#8 DER) by generation, the oldest first; never empty.
    cluster_keys: Vec<ClusterKey>,
}

#[derive(Clone)]
struct ClusterKey {
    generation: u64,
    pkcs8: Arc<LockedBytes>,
}

impl ClusterKey {
    fn generate(generation: u64) -> Result<Self, Error> {
        let pkcs8 = generate_ec(Curve::P256)?.to_pkcs8()?;
        Self::from_pkcs8(generation, pkcs8.as_bytes())
    }

    fn from_pkcs8(generation: u64, pkcs8: &[u8]) -> Result<Self, Error> {
        let pkcs8 = LockedBytes::copied(pkcs8).map_err(Error::Memory)?;
        Ok(Self { generation, pkcs8: Arc::new(pkcs8) })
    }
}

impl ClusterSecrets {
    /// Those of a new cluster.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn generate() -> Result<Self, Error> {
        let mut masking_domain = [0; 16];
        random(&mut masking_domain)?;
        Ok(Self {
            masking_domain,
            masking: KeyRing::generate()?,
            log: KeyRing::generate()?,
            ticket: KeyRing::generate()?,
            cluster_keys: vec![ClusterKey::generate(FIRST_GENERATION)?],
        })
    }

    /// The same secrets with one cluster key, given as PKCS#8 DER.
    ///
    /// # Errors
    /// Where there is no memory to lock.
    pub fn with_cluster_key(self, generation: u64, pkcs8: &[u8]) -> Result<Self, Error> {
        let cluster_keys = vec![ClusterKey::from_pkcs8(generation, pkcs8)?];
        Ok(Self { cluster_keys, ..self })
    }

    /// The epoch of the keys that seal now.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.log.current().epoch()
    }

    /// The next epoch's: all older keys stay but those that `rotation` ends.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn next(&self, rotation: Rotation) -> Result<Self, Error> {
        let epoch = self.epoch().checked_add(1).ok_or(Error::Bug("the epochs ran out"))?;
        let (ticket, mut cluster_keys) =
            (self.ticket.with_epoch(epoch)?, self.cluster_keys.clone());
        let ticket = match rotation {
            Rotation::Routine => ticket,
            Rotation::Exposed { generation } => {
                if generation <= self.generation() {
                    return Err(Error::Bug("a new generation is not above the last"));
                }
                cluster_keys.push(ClusterKey::generate(generation)?);
                ticket.since_epoch(epoch)
            }
        };
        let surplus = cluster_keys.len().saturating_sub(GENERATIONS_KEPT);
        cluster_keys.drain(..surplus);
        let oldest = epoch.saturating_sub(EPOCHS_KEPT - 1);
        Ok(Self {
            masking_domain: self.masking_domain,
            masking: self.masking.with_epoch(epoch)?,
            log: self.log.with_epoch(epoch)?.since_epoch(oldest),
            ticket: ticket.since_epoch(oldest),
            cluster_keys,
        })
    }

    /// The same, without masking keys of epochs below `epoch`.
    #[must_use]
    pub fn masking_from(&self, epoch: u64) -> Self {
        Self { masking: self.masking.since_epoch(epoch), ..self.clone() }
    }

    /// The generation of the newest cluster key, from 1.
    ///
    /// # Panics
    /// Never: there is at least one key.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.cluster_keys.last().expect("there is at least one cluster key").generation
    }

    /// The cluster key of a generation, PKCS#8 DER.
    #[must_use]
    pub fn cluster_key(&self, generation: u64) -> Option<&[u8]> {
        self.cluster_keys
            .iter()
            .find(|key| key.generation == generation)
            .map(|key| key.pkcs8.as_bytes())
    }

    /// As bytes, to be sealed.
    #[must_use]
    pub fn to_bytes(&self) -> SecretBytes {
        // encode_to_vec reserves the exact length: no copy is left behind by growing.
        SecretBytes::new(self.to_message().encode_to_vec())
    }

    /// From what [`ClusterSecrets::to_bytes`] made.
    ///
    /// # Errors
    /// [`Error::Tampered`] where they are not, [`Error::Format`] where a newer version made them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let message = ClusterSecretsMessage::decode(bytes)
            .map_err(|_| Error::tampered(NAME, "secrets", "they do not decode"))?;
        Self::from_message(&message)
    }

    pub(crate) fn to_message(&self) -> ClusterSecretsMessage {
        ClusterSecretsMessage {
            format: FORMAT,
            masking_domain: self.masking_domain.to_vec(),
            masking: ring_message(&self.masking),
            log: ring_message(&self.log),
            ticket: ring_message(&self.ticket),
            cluster_keys: self
                .cluster_keys
                .iter()
                .map(|key| KeyMessage {
                    number: key.generation,
                    key: key.pkcs8.as_bytes().to_vec(),
                })
                .collect(),
        }
    }

    pub(crate) fn from_message(message: &ClusterSecretsMessage) -> Result<Self, Error> {
        let wrong = |reason| Error::tampered(NAME, "secrets", reason);
        if message.format != FORMAT {
            return Err(Error::Format { found: message.format.into(), known: FORMAT.into() });
        }
        let masking_domain = message.masking_domain.as_slice().try_into();
        let cluster_keys: Vec<_> = message
            .cluster_keys
            .iter()
            .map(|key| ClusterKey::from_pkcs8(key.number, &key.key))
            .collect::<Result<_, _>>()?;
        let mut generation = 0;
        for key in &cluster_keys {
            if key.generation <= generation || key.pkcs8.is_empty() {
                return Err(wrong("a cluster key is malformed or not in its place"));
            }
            generation = key.generation;
        }
        if cluster_keys.is_empty() {
            return Err(wrong("there is no cluster key"));
        }
        let secrets = Self {
            masking_domain: masking_domain
                .map_err(|_| wrong("the masking domain is not 16 bytes long"))?,
            masking: ring(NAME, &message.masking)?,
            log: ring(NAME, &message.log)?,
            ticket: ring(NAME, &message.ticket)?,
            cluster_keys,
        };
        let epoch = secrets.epoch();
        if [&secrets.masking, &secrets.ticket].iter().any(|ring| ring.current().epoch() != epoch) {
            return Err(wrong("the rings are of different epochs"));
        }
        Ok(secrets)
    }
}

/// Reads a ring; `what` names its file in the error.
pub(crate) fn ring(what: &'static str, keys: &[KeyMessage]) -> Result<KeyRing, Error> {
    KeyRing::from_keys(keys.iter().map(|key| (key.number, key.key.as_slice())))?
        .ok_or_else(|| Error::tampered(what, "secrets", "a key is missing or malformed"))
}

pub(crate) fn ring_message(ring: &KeyRing) -> Vec<KeyMessage> {
    ring.iter().map(|key| KeyMessage { number: key.epoch(), key: key.bytes().to_vec() }).collect()
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct ClusterSecretsMessage {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) masking_domain: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) masking: Vec<KeyMessage>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) log: Vec<KeyMessage>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) ticket: Vec<KeyMessage>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) cluster_keys: Vec<KeyMessage>,
}

/// A key with its epoch or generation.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct KeyMessage {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) key: Vec<u8>,
}

impl Drop for KeyMessage {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl ClusterSecretsMessage {
    /// Those of secrets in format 1, in which an HSM's own and the cluster's lay together.
    pub(crate) fn of_format_1(
        masking_domain: Vec<u8>,
        [masking, log, ticket]: [Vec<KeyMessage>; 3],
        cluster_key: Vec<u8>,
    ) -> Self {
        let cluster_keys = vec![KeyMessage { number: FIRST_GENERATION, key: cluster_key }];
        Self { format: FORMAT, masking_domain, masking, log, ticket, cluster_keys }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPOSED: Rotation = Rotation::Exposed { generation: 2 };

    fn epochs(ring: &KeyRing) -> Vec<u64> {
        ring.iter().map(crate::EpochKey::epoch).collect()
    }

    #[test]
    fn secrets_are_the_same_after_they_were_bytes() {
        let secrets = ClusterSecrets::generate().unwrap().next(EXPOSED).unwrap();
        let bytes = secrets.to_bytes();
        let again = ClusterSecrets::from_bytes(bytes.as_bytes()).unwrap();
        assert!(again.to_bytes().ct_eq(bytes.as_bytes()));
        assert_eq!((again.epoch(), again.generation()), (2, 2));
    }

    #[test]
    fn a_routine_rotation_keeps_what_older_keys_sealed() {
        let first = ClusterSecrets::generate().unwrap();
        let second = first.next(Rotation::Routine).unwrap();
        for ring in [&second.masking, &second.log, &second.ticket] {
            assert_eq!(epochs(ring), [1, 2]);
        }
        assert_eq!(second.masking_domain, first.masking_domain);
        assert_eq!((second.epoch(), second.generation()), (2, 1));
        assert_eq!(second.cluster_key(1), first.cluster_key(1));
    }

    #[test]
    fn after_an_exposure_older_ticket_keys_are_gone_and_there_is_a_new_cluster_key() {
        let first = ClusterSecrets::generate().unwrap();
        let second = first.next(EXPOSED).unwrap();
        assert_eq!(epochs(&second.ticket), [2]);
        // What is sealed under the older ones must still be opened, or it could not be sealed anew.
        assert_eq!(epochs(&second.masking), [1, 2]);
        assert_eq!(epochs(&second.log), [1, 2]);
        assert_eq!(second.generation(), 2);
        assert_ne!(second.cluster_key(2), second.cluster_key(1));
        assert_eq!(epochs(&second.masking_from(2).masking), [2]);
    }

    #[test]
    fn secrets_stay_short_over_many_rotations() {
        let mut secrets = ClusterSecrets::generate().unwrap();
        for generation in 2..60 {
            secrets = secrets.next(Rotation::Exposed { generation }).unwrap();
            secrets = secrets.next(Rotation::Routine).unwrap();
        }
        // What the vault takes for one member is 16 KiB.
        assert!(secrets.to_bytes().len() < 14 * 1024, "{}", secrets.to_bytes().len());
        assert_eq!(epochs(&secrets.log).len() as u64, EPOCHS_KEPT);
        assert!(secrets.cluster_key(59).is_some() && secrets.cluster_key(1).is_none());
        assert!(secrets.next(Rotation::Exposed { generation: 59 }).is_err());
    }

    #[test]
    fn bytes_that_are_no_secrets_are_refused() {
        type Change = fn(&mut ClusterSecretsMessage);
        let changes: [Change; 7] = [
            |message| message.format = 2,
            |message| message.masking_domain.truncate(15),
            |message| message.ticket.clear(),
            |message| message.log[0].number = 7,
            |message| message.cluster_keys.clear(),
            |message| message.cluster_keys[0].number = 0,
            |message| message.cluster_keys[0].key.clear(),
        ];
        let secrets = ClusterSecrets::generate().unwrap();
        for (number, change) in changes.iter().enumerate() {
            let mut message = secrets.to_message();
            change(&mut message);
            let bytes = message.encode_to_vec();
            assert!(ClusterSecrets::from_bytes(&bytes).is_err(), "change {number}");
        }
        assert!(ClusterSecrets::from_bytes(b"\xff").is_err());
    }
}
