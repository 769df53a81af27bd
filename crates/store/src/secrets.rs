//! The secrets of one HSM, and the sealed file that keeps them: its own, and those that it shares
//! with its cluster.
//!
//! In: a folder and a seal. Out: keys. The cluster's part is missing until the HSM has joined, and is
//! replaced when it is rotated, while others read: they take a snapshot. What changes is on disk
//! before anybody sees it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use prost::Message;
use strongroom_crypto::memory::LockedBytes;
use strongroom_crypto::sealing::SealingKeyPair;
use strongroom_crypto::{Curve, SecretBytes, generate_ec, random};
use strongroom_seal::{Seal, destroy, fetch, keep};
use zeroize::{Zeroize, Zeroizing};

use crate::cluster_secrets::{ClusterSecretsMessage, KeyMessage, ring, ring_message};
use crate::{ClusterSecrets, Error, Folder, KeyRing, database};

const FILE: &str = "secrets.sealed";
const FORMAT: u32 = 2;
/// The format of before there were clusters of several HSMs; read, and kept as [`FORMAT`].
const FORMAT_1: u32 = 1;

/// What AWS's identifiers are made of: `[2-7a-z]`, 5 bits each.
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const ID_CHARS: usize = 11;

/// The root secrets of one HSM.
pub struct Secrets {
    /// This HSM: `hsm-…`.
    pub hsm_id: String,
    /// Its device key (P-256), PKCS#8 DER.
    pub device_key: LockedBytes,
    /// What others seal secrets for it to.
    pub sealing_key: SealingKeyPair,
    /// Seals its audit records.
    pub audit: KeyRing,
    /// Seals the rows of its store.
    pub state: KeyRing,
    cluster: RwLock<Option<Arc<ClusterSecrets>>>,
    /// Held while secrets change, so that the file and memory change in the same order.
    kept: Mutex<Option<Kept>>,
}

/// Where secrets are kept.
struct Kept {
    path: PathBuf,
    seal: Arc<dyn Seal>,
}

impl Secrets {
    /// New secrets of a new cluster, for its first HSM.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn generate() -> Result<Self, Error> {
        Self::generate_for(random_id("hsm-")?)
    }

    /// The same, for an HSM whose id is given.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn generate_for(hsm_id: String) -> Result<Self, Error> {
        Ok(Self::generate_alone(hsm_id)?.with_cluster(ClusterSecrets::generate()?))
    }

    /// An HSM's own secrets, without a cluster's: for one that is to join, and for a witness.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn generate_alone(hsm_id: String) -> Result<Self, Error> {
        let device_key = generate_ec(Curve::P256)?.to_pkcs8()?;
        Ok(Self {
            hsm_id,
            device_key: locked(device_key.as_bytes())?,
            sealing_key: SealingKeyPair::generate()?,
            audit: KeyRing::generate()?,
            state: KeyRing::generate()?,
            cluster: RwLock::default(),
            kept: Mutex::default(),
        })
    }

    /// These, not kept anywhere yet, with a cluster's.
    #[must_use]
    pub fn with_cluster(self, cluster: ClusterSecrets) -> Self {
        Self { cluster: RwLock::new(Some(Arc::new(cluster))), ..self }
    }

    /// Whether a folder has secrets, before a seal is there to open them.
    #[must_use]
    pub fn exist(folder: &Folder) -> bool {
        folder.path().join(FILE).exists()
    }

    /// The secrets of a folder; `None` where it has none yet.
    ///
    /// # Errors
    /// Where the seal does not open, or what it holds is not secrets of a known format.
    /// [`Error::Tampered`] where a store is there and its secrets are not: new ones would not open
    /// it.
    pub fn load(folder: &Folder, seal: Arc<dyn Seal>) -> Result<Option<Self>, Error> {
        let path = folder.path().join(FILE);
        let Some(bytes) = fetch(&*seal, &path)? else {
            if folder.path().join(database::FILE).exists() {
                let reason = "the file is missing, and a store is there";
                return Err(Error::tampered(FILE, "secrets", reason));
            }
            return Ok(None);
        };
        let (secrets, format) = Self::read(bytes.as_bytes())?;
        if format == FORMAT {
            *secrets.lock_kept() = Some(Kept { path, seal });
        } else {
            secrets.save(folder, seal)?;
        }
        Ok(Some(secrets))
    }

    /// Keeps the secrets in a folder, durably, in place of those that are there, and from now on what
    /// changes of them.
    ///
    /// # Errors
    /// Where the seal or the file system fails.
    pub fn save(&self, folder: &Folder, seal: Arc<dyn Seal>) -> Result<(), Error> {
        let mut kept = self.lock_kept();
        let path = folder.path().join(FILE);
        keep(&*seal, &path, self.to_bytes().as_bytes())?;
        *kept = Some(Kept { path, seal });
        Ok(())
    }

    /// The secrets of a folder; new ones of a new cluster, kept there, where it has none.
    ///
    /// # Errors
    /// As [`Secrets::load`] and [`Secrets::save`].
    pub fn load_or_generate(folder: &Folder, seal: Arc<dyn Seal>) -> Result<Self, Error> {
        if let Some(secrets) = Self::load(folder, Arc::clone(&seal))? {
            return Ok(secrets);
        }
        let secrets = Self::generate()?;
        secrets.save(folder, seal)?;
        Ok(secrets)
    }

    /// The cluster's, as they are now: a later rotation does not change what was returned.
    ///
    /// # Errors
    /// [`Error::NoCluster`] where this HSM has not joined one.
    pub fn cluster(&self) -> Result<Arc<ClusterSecrets>, Error> {
        let cluster = self.cluster.read().unwrap_or_else(PoisonError::into_inner);
        cluster.clone().ok_or(Error::NoCluster)
    }

    /// Takes the secrets of the cluster that this HSM joins, durably. To adopt the same cluster's
    /// again is to add an epoch.
    ///
    /// # Errors
    /// [`Error::OtherCluster`] where it has another's already; else as [`Secrets::save`].
    pub fn adopt(&self, cluster: ClusterSecrets) -> Result<(), Error> {
        let kept = self.lock_kept();
        match self.cluster() {
            Err(Error::NoCluster) => self.put(&kept, cluster),
            present => self.put_newer(&kept, &*present?, cluster).map(drop),
        }
    }

    /// Takes a newer epoch of the cluster's secrets, durably; whether it was newer.
    ///
    /// # Errors
    /// [`Error::NoCluster`] or [`Error::OtherCluster`] where it is not this HSM's cluster's; else as
    /// [`Secrets::save`].
    pub fn add_epoch(&self, newer: ClusterSecrets) -> Result<bool, Error> {
        let kept = self.lock_kept();
        self.put_newer(&kept, &*self.cluster()?, newer)
    }

    fn put_newer(
        &self,
        kept: &Option<Kept>,
        present: &ClusterSecrets,
        newer: ClusterSecrets,
    ) -> Result<bool, Error> {
        if newer.masking_domain != present.masking_domain {
            return Err(Error::OtherCluster);
        }
        let is_newer = newer.epoch() > present.epoch();
        if is_newer {
            self.put(kept, newer)?;
        }
        Ok(is_newer)
    }

    /// Forgets the masking keys of epochs below `epoch`, durably: nothing is masked under them any
    /// more.
    ///
    /// # Errors
    /// As [`Secrets::save`].
    pub fn forget_masking_before(&self, epoch: u64) -> Result<(), Error> {
        let kept = self.lock_kept();
        let present = self.cluster()?;
        let oldest = present.masking.iter().next().map_or(epoch, crate::EpochKey::epoch);
        if oldest >= epoch.min(present.epoch()) {
            Ok(())
        } else {
            self.put(&kept, present.masking_from(epoch))
        }
    }

    /// Destroys the secrets: as [`Secrets::destroy_on_disk`], and in memory the cluster's go with their
    /// last reader, the HSM's own with the process, which must end.
    ///
    /// # Errors
    /// As [`Secrets::destroy_on_disk`]; in memory they are gone then, too.
    pub fn destroy(&self) -> Result<(), Error> {
        *self.cluster.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.destroy_on_disk()
    }

    /// Destroys the secrets on disk, and makes what their seal sealed unopenable as far as the seal
    /// can. Nothing of them is kept any more, so the process can't come back.
    ///
    /// # Errors
    /// Where the file system fails; as much as can be is destroyed then, too.
    pub fn destroy_on_disk(&self) -> Result<(), Error> {
        let mut kept = self.lock_kept();
        let Some(Kept { path, seal }) = kept.take() else { return Ok(()) };
        let (file, key) = (destroy(&path), seal.destroy());
        file?;
        Ok(key?)
    }

    /// First on disk, then in memory.
    fn put(&self, kept: &Option<Kept>, cluster: ClusterSecrets) -> Result<(), Error> {
        if let Some(Kept { path, seal }) = kept {
            keep(&**seal, path, self.bytes_with(Some(&cluster)).as_bytes())?;
        }
        *self.cluster.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(cluster));
        Ok(())
    }

    fn lock_kept(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As bytes, for a seal.
    #[must_use]
    pub fn to_bytes(&self) -> SecretBytes {
        self.bytes_with(self.cluster().ok().as_deref())
    }

    fn bytes_with(&self, cluster: Option<&ClusterSecrets>) -> SecretBytes {
        let message = SecretsMessage {
            format: FORMAT,
            hsm_id: self.hsm_id.clone(),
            audit: ring_message(&self.audit),
            state: ring_message(&self.state),
            device_key: self.device_key.as_bytes().to_vec(),
            sealing_key: self.sealing_key.to_secret_bytes().into_plain(),
            cluster: cluster.map(ClusterSecrets::to_message),
        };
        // encode_to_vec reserves the exact length: no copy is left behind by growing.
        SecretBytes::new(message.encode_to_vec())
    }

    /// From what [`Secrets::to_bytes`] made, or an older version's.
    ///
    /// # Errors
    /// Where they are not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).map(|(secrets, _)| secrets)
    }

    /// The same, with the format that the bytes are of.
    fn read(bytes: &[u8]) -> Result<(Self, u32), Error> {
        let wrong = |_| Error::tampered(FILE, "secrets", "it does not decode");
        let FormatMessage { format } = FormatMessage::decode(bytes).map_err(wrong)?;
        let message = match format {
            FORMAT => SecretsMessage::decode(bytes).map_err(wrong)?,
            FORMAT_1 => SecretsMessage1::decode(bytes).map_err(wrong)?.into_newest()?,
            found => return Err(Error::Format { found: found.into(), known: FORMAT.into() }),
        };
        let cluster = message.cluster.as_ref().map(ClusterSecrets::from_message).transpose()?;
        let secrets = Self {
            hsm_id: message.hsm_id.clone(),
            device_key: locked(&message.device_key)?,
            sealing_key: SealingKeyPair::from_secret_bytes(&message.sealing_key)
                .map_err(|_| Error::tampered(FILE, "secrets", "the sealing key is malformed"))?,
            audit: ring(FILE, &message.audit)?,
            state: ring(FILE, &message.state)?,
            cluster: RwLock::new(cluster.map(Arc::new)),
            kept: Mutex::default(),
        };
        Ok((secrets, format))
    }
}

fn locked(bytes: &[u8]) -> Result<LockedBytes, Error> {
    LockedBytes::copied(bytes).map_err(Error::Memory)
}

/// A random identifier in AWS's form: the prefix, then 11 characters of `[2-7a-z]`.
///
/// # Errors
/// Where the backend fails.
pub fn random_id(prefix: &str) -> Result<String, Error> {
    let mut bytes = Zeroizing::new([0; ID_CHARS]);
    random(&mut *bytes)?;
    let chars = bytes.iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)]));
    Ok(prefix.chars().chain(chars).collect())
}

/// What every format begins with.
#[derive(Clone, PartialEq, Message)]
struct FormatMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct SecretsMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    hsm_id: String,
    #[prost(message, repeated, tag = "7")]
    audit: Vec<KeyMessage>,
    #[prost(message, repeated, tag = "8")]
    state: Vec<KeyMessage>,
    #[prost(bytes = "vec", tag = "10")]
    device_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "11")]
    sealing_key: Vec<u8>,
    #[prost(message, optional, tag = "12")]
    cluster: Option<ClusterSecretsMessage>,
}

impl Drop for SecretsMessage {
    fn drop(&mut self) {
        self.device_key.zeroize();
        self.sealing_key.zeroize();
    }
}

/// Format 1: the HSM's own and the cluster's together, one key of the cluster, no sealing key.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct SecretsMessage1 {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    hsm_id: String,
    #[prost(bytes = "vec", tag = "3")]
    masking_domain: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    masking: Vec<KeyMessage>,
    #[prost(message, repeated, tag = "5")]
    log: Vec<KeyMessage>,
    #[prost(message, repeated, tag = "6")]
    ticket: Vec<KeyMessage>,
    #[prost(message, repeated, tag = "7")]
    audit: Vec<KeyMessage>,
    #[prost(message, repeated, tag = "8")]
    state: Vec<KeyMessage>,
    #[prost(bytes = "vec", tag = "9")]
    cluster_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    device_key: Vec<u8>,
}

impl SecretsMessage1 {
    /// The same in the newest format, with a new sealing key.
    fn into_newest(mut self) -> Result<SecretsMessage, Error> {
        let cluster = ClusterSecretsMessage::of_format_1(
            std::mem::take(&mut self.masking_domain),
            [
                std::mem::take(&mut self.masking),
                std::mem::take(&mut self.log),
                std::mem::take(&mut self.ticket),
            ],
            std::mem::take(&mut self.cluster_key),
        );
        Ok(SecretsMessage {
            format: FORMAT,
            hsm_id: std::mem::take(&mut self.hsm_id),
            audit: std::mem::take(&mut self.audit),
            state: std::mem::take(&mut self.state),
            device_key: std::mem::take(&mut self.device_key),
            sealing_key: SealingKeyPair::generate()?.to_secret_bytes().into_plain(),
            cluster: Some(cluster),
        })
    }
}

impl Drop for SecretsMessage1 {
    fn drop(&mut self) {
        self.cluster_key.zeroize();
        self.device_key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use strongroom_seal::FileSeal;
    use tempfile::TempDir;

    use super::*;
    use crate::Rotation;

    fn folder() -> (TempDir, Folder, Arc<dyn Seal>) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let seal = FileSeal::open_or_create(&root.path().join("seal.key")).unwrap();
        (root, folder, Arc::new(seal))
    }

    #[test]
    fn secrets_outlive_the_process_that_made_them() {
        let (_root, folder, seal) = folder();
        assert!(Secrets::load(&folder, seal.clone()).unwrap().is_none());
        let made = Secrets::load_or_generate(&folder, seal.clone()).unwrap();
        let again = Secrets::load_or_generate(&folder, seal).unwrap();
        assert!(made.to_bytes().ct_eq(again.to_bytes().as_bytes()));
    }

    #[test]
    fn a_store_without_its_secrets_gets_no_new_ones() {
        let (root, folder, seal) = folder();
        std::fs::write(root.path().join(database::FILE), b"").unwrap();
        let refused = Secrets::load_or_generate(&folder, seal);
        assert!(matches!(refused, Err(Error::Tampered { .. })));
        assert!(!root.path().join(FILE).exists());
    }

    #[test]
    fn a_new_epoch_is_kept_before_it_is_seen_and_readers_keep_theirs() {
        let (_root, folder, seal) = folder();
        let secrets = Secrets::load_or_generate(&folder, seal.clone()).unwrap();
        let before = secrets.cluster().unwrap();
        let next = before.next(Rotation::Routine).unwrap();
        assert!(secrets.add_epoch(next.clone()).unwrap());
        assert!(!secrets.add_epoch(next).unwrap());
        assert_eq!(before.epoch(), 1);
        assert_eq!(secrets.cluster().unwrap().epoch(), 2);
        let loaded = Secrets::load(&folder, seal).unwrap().unwrap();
        assert!(loaded.to_bytes().ct_eq(secrets.to_bytes().as_bytes()));
        // An older epoch, as a log that is read again tells of it, changes nothing.
        assert!(!secrets.add_epoch((*before).clone()).unwrap());
        assert_eq!(secrets.cluster().unwrap().epoch(), 2);
    }

    #[test]
    fn an_epoch_that_cannot_be_kept_is_not_seen() {
        let (root, folder, seal) = folder();
        let secrets = Secrets::load_or_generate(&folder, seal).unwrap();
        let next = secrets.cluster().unwrap().next(Rotation::Routine).unwrap();
        // Where the temporary file would be.
        std::fs::create_dir(root.path().join("secrets.sealed.new")).unwrap();
        assert!(secrets.add_epoch(next).is_err());
        assert_eq!(secrets.cluster().unwrap().epoch(), 1);
    }

    #[test]
    fn an_hsm_that_joins_has_its_own_secrets_first_and_adopts_the_clusters() {
        let (_root, folder, seal) = folder();
        let secrets = Secrets::generate_alone("hsm-2345abcdefg".to_owned()).unwrap();
        secrets.save(&folder, seal.clone()).unwrap();
        assert!(matches!(secrets.cluster(), Err(Error::NoCluster)));
        let cluster = ClusterSecrets::generate().unwrap();
        assert!(matches!(secrets.add_epoch(cluster.clone()), Err(Error::NoCluster)));
        secrets.adopt(cluster.clone()).unwrap();
        let loaded = Secrets::load(&folder, seal).unwrap().unwrap();
        assert_eq!(loaded.cluster().unwrap().masking_domain, cluster.masking_domain);
        assert_eq!(loaded.sealing_key.public_key(), secrets.sealing_key.public_key());
        let other = ClusterSecrets::generate().unwrap();
        assert!(matches!(loaded.adopt(other), Err(Error::OtherCluster)));
        loaded.adopt(cluster.next(Rotation::Exposed { generation: 2 }).unwrap()).unwrap();
        assert_eq!(loaded.cluster().unwrap().generation(), 2);
    }

    #[test]
    fn masking_keys_are_forgotten_for_ever() {
        let (_root, folder, seal) = folder();
        let secrets = Secrets::load_or_generate(&folder, seal.clone()).unwrap();
        let next = secrets.cluster().unwrap().next(Rotation::Routine).unwrap();
        secrets.add_epoch(next).unwrap();
        secrets.forget_masking_before(2).unwrap();
        secrets.forget_masking_before(2).unwrap();
        let loaded = Secrets::load(&folder, seal).unwrap().unwrap().cluster().unwrap();
        assert!(loaded.masking.at(1).is_none() && loaded.masking.at(2).is_some());
        assert!(loaded.log.at(1).is_some());
    }

    #[test]
    fn destroyed_secrets_are_nowhere() {
        let (root, folder, seal) = folder();
        let secrets = Secrets::load_or_generate(&folder, seal.clone()).unwrap();
        let copy = std::fs::read(root.path().join(FILE)).unwrap();
        secrets.destroy().unwrap();
        secrets.destroy().unwrap();
        assert!(matches!(secrets.cluster(), Err(Error::NoCluster)));
        assert!(!root.path().join(FILE).exists());
        // A copy of the file is of no use without the seal's key.
        std::fs::write(root.path().join(FILE), copy).unwrap();
        let new_seal = FileSeal::open_or_create(&root.path().join("seal.key")).unwrap();
        assert!(Secrets::load(&folder, Arc::new(new_seal)).is_err());
    }

    #[test]
    fn no_two_keys_are_equal() {
        let secrets = Secrets::generate().unwrap();
        let cluster = secrets.cluster().unwrap();
        let rings =
            [&cluster.masking, &cluster.log, &cluster.ticket, &secrets.audit, &secrets.state];
        let keys: std::collections::HashSet<_> =
            rings.iter().map(|ring| ring.current().bytes().to_vec()).collect();
        assert_eq!(keys.len(), rings.len());
        assert_ne!(cluster.cluster_key(1).unwrap(), secrets.device_key.as_bytes());
    }

    #[test]
    fn an_id_is_in_the_form_of_aws() {
        let id = Secrets::generate().unwrap().hsm_id;
        let rest = id.strip_prefix("hsm-").unwrap();
        assert_eq!(rest.len(), 11);
        assert!(rest.bytes().all(|byte| ID_ALPHABET.contains(&byte)));
    }

    #[test]
    fn secrets_without_a_key_are_not_secrets() {
        let bytes = Secrets::generate().unwrap().to_bytes();
        let mut message = SecretsMessage::decode(bytes.as_bytes()).unwrap();
        message.state.clear();
        assert!(matches!(
            Secrets::from_bytes(&message.encode_to_vec()),
            Err(Error::Tampered { .. })
        ));
        message.format = 3;
        assert!(matches!(Secrets::from_bytes(&message.encode_to_vec()), Err(Error::Format { .. })));
    }

    #[test]
    fn secrets_of_the_first_format_are_read_and_kept_in_the_newest() {
        let (root, folder, seal) = folder();
        let made = Secrets::generate().unwrap();
        let cluster = made.cluster().unwrap();
        let old = SecretsMessage1 {
            format: FORMAT_1,
            hsm_id: made.hsm_id.clone(),
            masking_domain: cluster.masking_domain.to_vec(),
            masking: ring_message(&cluster.masking),
            log: ring_message(&cluster.log),
            ticket: ring_message(&cluster.ticket),
            audit: ring_message(&made.audit),
            state: ring_message(&made.state),
            cluster_key: cluster.cluster_key(1).unwrap().to_vec(),
            device_key: made.device_key.as_bytes().to_vec(),
        };
        keep(&*seal, &root.path().join(FILE), &old.encode_to_vec()).unwrap();
        let loaded = Secrets::load(&folder, seal.clone()).unwrap().unwrap();
        assert!(loaded.cluster().unwrap().to_bytes().ct_eq(cluster.to_bytes().as_bytes()));
        assert_eq!(loaded.device_key.as_bytes(), made.device_key.as_bytes());
        assert_eq!(loaded.state.current().bytes(), made.state.current().bytes());
        // The sealing key is made once, not at each start.
        let again = Secrets::load(&folder, seal).unwrap().unwrap();
        assert_eq!(again.sealing_key.public_key(), loaded.sealing_key.public_key());
    }
}
