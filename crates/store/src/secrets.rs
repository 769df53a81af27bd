//! The keys of a cluster and of one of its HSMs, and the sealed file that keeps them.

use prost::Message;
use strongroom_crypto::{Curve, SecretBytes, generate_ec, random};
use strongroom_seal::{Seal, fetch, keep};
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, Folder, KeyRing, database};

const FILE: &str = "secrets.sealed";
const FORMAT: u32 = 1;

/// What AWS's identifiers are made of: `[2-7a-z]`, 5 bits each.
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const ID_CHARS: usize = 11;

/// The root secrets of one HSM. Made by the first HSM of a cluster; each other HSM gets the
/// cluster's from a member and makes its own.
pub struct Secrets {
    /// This HSM: `hsm-…`.
    pub hsm_id: String,
    /// What sealed objects name as theirs; random, kept by a restored clone.
    pub masking_domain: [u8; 16],
    /// The cluster's: seals objects.
    pub masking: KeyRing,
    /// The cluster's: seals log entries.
    pub log: KeyRing,
    /// The cluster's: authenticates login tickets.
    pub ticket: KeyRing,
    /// This HSM's: seals audit records.
    pub audit: KeyRing,
    /// This HSM's: seals the rows of its store.
    pub state: KeyRing,
    /// The cluster's signing key (P-256), PKCS#8 DER.
    pub cluster_key: SecretBytes,
    /// This HSM's device key (P-256), PKCS#8 DER.
    pub device_key: SecretBytes,
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
        let mut masking_domain = [0; 16];
        random(&mut masking_domain)?;
        Ok(Self {
            hsm_id,
            masking_domain,
            masking: KeyRing::generate()?,
            log: KeyRing::generate()?,
            ticket: KeyRing::generate()?,
            audit: KeyRing::generate()?,
            state: KeyRing::generate()?,
            cluster_key: generate_ec(Curve::P256)?.to_pkcs8()?,
            device_key: generate_ec(Curve::P256)?.to_pkcs8()?,
        })
    }

    /// Whether a folder has secrets, before a seal is there to open them.
    #[must_use]
    pub fn exist(folder: &Folder) -> bool {
        folder.path().join(FILE).exists()
    }

    /// The secrets of a folder; `None` where it has none yet.
    ///
    /// # Errors
    /// Where the seal does not open, or what it holds is not secrets of this format.
    /// [`Error::Tampered`] where a store is there and its secrets are not: new ones would not open
    /// it.
    pub fn load(folder: &Folder, seal: &dyn Seal) -> Result<Option<Self>, Error> {
        match fetch(seal, &folder.path().join(FILE))? {
            Some(bytes) => Self::from_bytes(bytes.as_bytes()).map(Some),
            None if folder.path().join(database::FILE).exists() => {
                Err(Error::tampered(FILE, "secrets", "the file is missing, and a store is there"))
            }
            None => Ok(None),
        }
    }

    /// Keeps the secrets in a folder, durably, in place of those that are there.
    ///
    /// # Errors
    /// Where the seal or the file system fails.
    pub fn save(&self, folder: &Folder, seal: &dyn Seal) -> Result<(), Error> {
        Ok(keep(seal, &folder.path().join(FILE), self.to_bytes().as_bytes())?)
    }

    /// The secrets of a folder; new ones, kept there, where it has none.
    ///
    /// # Errors
    /// As [`Secrets::load`] and [`Secrets::save`].
    pub fn load_or_generate(folder: &Folder, seal: &dyn Seal) -> Result<Self, Error> {
        if let Some(secrets) = Self::load(folder, seal)? {
            return Ok(secrets);
        }
        let secrets = Self::generate()?;
        secrets.save(folder, seal)?;
        Ok(secrets)
    }

    /// As bytes, for a seal.
    #[must_use]
    pub fn to_bytes(&self) -> SecretBytes {
        let message = SecretsMessage {
            format: FORMAT,
            hsm_id: self.hsm_id.clone(),
            masking_domain: self.masking_domain.to_vec(),
            masking: ring_message(&self.masking),
            log: ring_message(&self.log),
            ticket: ring_message(&self.ticket),
            audit: ring_message(&self.audit),
            state: ring_message(&self.state),
            cluster_key: self.cluster_key.as_bytes().to_vec(),
            device_key: self.device_key.as_bytes().to_vec(),
        };
        // encode_to_vec reserves the exact length: no copy is left behind by growing.
        SecretBytes::new(message.encode_to_vec())
    }

    /// From what [`Secrets::to_bytes`] made.
    ///
    /// # Errors
    /// Where they are not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason| Error::tampered(FILE, "secrets", reason);
        let message = SecretsMessage::decode(bytes).map_err(|_| wrong("it does not decode"))?;
        if message.format != FORMAT {
            return Err(Error::Format { found: message.format.into(), known: FORMAT.into() });
        }
        let ring = |keys: &[EpochKeyMessage]| {
            KeyRing::from_keys(keys.iter().map(|key| (key.epoch, key.key.as_slice())))?
                .ok_or_else(|| wrong("a key is missing or malformed"))
        };
        Ok(Self {
            hsm_id: message.hsm_id.clone(),
            masking_domain: message
                .masking_domain
                .as_slice()
                .try_into()
                .map_err(|_| wrong("the masking domain is not 16 bytes long"))?,
            masking: ring(&message.masking)?,
            log: ring(&message.log)?,
            ticket: ring(&message.ticket)?,
            audit: ring(&message.audit)?,
            state: ring(&message.state)?,
            cluster_key: SecretBytes::new(message.cluster_key.clone()),
            device_key: SecretBytes::new(message.device_key.clone()),
        })
    }
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

fn ring_message(ring: &KeyRing) -> Vec<EpochKeyMessage> {
    ring.iter()
        .map(|key| EpochKeyMessage { epoch: key.epoch(), key: key.bytes().to_vec() })
        .collect()
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct SecretsMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    hsm_id: String,
    #[prost(bytes = "vec", tag = "3")]
    masking_domain: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    masking: Vec<EpochKeyMessage>,
    #[prost(message, repeated, tag = "5")]
    log: Vec<EpochKeyMessage>,
    #[prost(message, repeated, tag = "6")]
    ticket: Vec<EpochKeyMessage>,
    #[prost(message, repeated, tag = "7")]
    audit: Vec<EpochKeyMessage>,
    #[prost(message, repeated, tag = "8")]
    state: Vec<EpochKeyMessage>,
    #[prost(bytes = "vec", tag = "9")]
    cluster_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    device_key: Vec<u8>,
}

impl Drop for SecretsMessage {
    fn drop(&mut self) {
        self.cluster_key.zeroize();
        self.device_key.zeroize();
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct EpochKeyMessage {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

impl Drop for EpochKeyMessage {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use strongroom_seal::FileSeal;

    use super::*;

    #[test]
    fn secrets_outlive_the_process_that_made_them() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let seal = FileSeal::open_or_create(&root.path().join("seal.key")).unwrap();
        assert!(Secrets::load(&folder, &seal).unwrap().is_none());
        let made = Secrets::load_or_generate(&folder, &seal).unwrap();
        let again = Secrets::load_or_generate(&folder, &seal).unwrap();
        assert_eq!(made.to_bytes().as_bytes(), again.to_bytes().as_bytes());
    }

    #[test]
    fn a_store_without_its_secrets_gets_no_new_ones() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let seal = FileSeal::open_or_create(&root.path().join("seal.key")).unwrap();
        std::fs::write(root.path().join(database::FILE), b"").unwrap();
        let refused = Secrets::load_or_generate(&folder, &seal);
        assert!(matches!(refused, Err(Error::Tampered { .. })));
        assert!(!root.path().join(FILE).exists());
    }

    #[test]
    fn no_two_keys_are_equal() {
        let secrets = Secrets::generate().unwrap();
        let rings =
            [&secrets.masking, &secrets.log, &secrets.ticket, &secrets.audit, &secrets.state];
        let keys: std::collections::HashSet<_> =
            rings.iter().map(|ring| ring.current().bytes().to_vec()).collect();
        assert_eq!(keys.len(), rings.len());
        assert!(!secrets.cluster_key.ct_eq(secrets.device_key.as_bytes()));
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
        message.ticket.clear();
        assert!(matches!(
            Secrets::from_bytes(&message.encode_to_vec()),
            Err(Error::Tampered { .. })
        ));
        message.format = 2;
        assert!(matches!(Secrets::from_bytes(&message.encode_to_vec()), Err(Error::Format { .. })));
    }
}
