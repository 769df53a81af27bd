//! Log entries as ciphertext. Specified in `docs/spec/log.md`, section "Entries".
//!
//! ```text
//! format 1 | epoch u64 | boot u64 | salt[16] | counter u64 | n u8 | hsm id[n] | ciphertext | tag[16]
//! ```
//! AES-256-GCM under HKDF-SHA256 of the cluster's log key; all before the ciphertext is associated
//! data. Each start of each HSM has a key of its own, so a counter makes the nonce. An HSM of the
//! cluster opens what another sealed; a witness, which has no log key, does not.

use std::sync::Arc;

use strongroom_crypto::SecretBytes;
use strongroom_crypto::symmetric::{self, AeadKey};
use strongroom_store::{Boot, ClusterSecrets, KeyRing, Secrets};

use crate::Error;

/// The format that this build writes.
const FORMAT: u8 = 1;
const CONTEXT: &[u8] = b"strongroom log entry 1\0";
/// Bytes of the header before the HSM's id.
const FIXED_BYTES: usize = 1 + 8 + 8 + 16 + 8 + 1;

/// Who sealed an entry, and when: what its key is derived from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    epoch: u64,
    boot: Boot,
    hsm_id: &'a [u8],
}

impl Origin<'_> {
    fn key(&self, log_key: &[u8]) -> Result<AeadKey, Error> {
        let info = [
            CONTEXT,
            &self.epoch.to_be_bytes(),
            &self.boot.number.to_be_bytes(),
            &self.boot.salt,
            self.hsm_id,
        ]
        .concat();
        Ok(AeadKey::from_secret(&symmetric::derive(log_key, &info))?)
    }

    fn header(&self, counter: u64) -> Result<Vec<u8>, Error> {
        let length = u8::try_from(self.hsm_id.len())
            .map_err(|_| Error::Entry("the HSM's id is longer than 255 bytes"))?;
        Ok([
            &[FORMAT][..],
            &self.epoch.to_be_bytes(),
            &self.boot.number.to_be_bytes(),
            &self.boot.salt,
            &counter.to_be_bytes(),
            &[length],
            self.hsm_id,
        ]
        .concat())
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

fn associated_data(header: &[u8]) -> Vec<u8> {
    [CONTEXT, header].concat()
}

/// Seals what this HSM proposes. There must be one for each start.
pub struct EntrySealer {
    secrets: Arc<Secrets>,
    boot: Boot,
    counter: u64,
    epoch: u64,
    key: AeadKey,
}

impl EntrySealer {
    /// For one start of an HSM, always under the newest log key.
    ///
    /// # Errors
    /// Where the HSM has no secrets of a cluster, or the backend fails.
    pub fn new(secrets: Arc<Secrets>, boot: Boot) -> Result<Self, Error> {
        let cluster = secrets.cluster()?;
        let (epoch, key) = newest_key(&secrets, &cluster, boot)?;
        Ok(Self { secrets, boot, counter: 0, epoch, key })
    }

    /// Seals an encoded entry.
    ///
    /// # Errors
    /// Where the backend fails, or the HSM has lost its cluster's secrets.
    pub fn seal(&mut self, entry: &[u8]) -> Result<Vec<u8>, Error> {
        let cluster = self.secrets.cluster()?;
        if cluster.epoch() != self.epoch {
            (self.epoch, self.key) = newest_key(&self.secrets, &cluster, self.boot)?;
        }
        self.counter = self.counter.checked_add(1).ok_or(Error::Entry("the counter ran out"))?;
        let hsm_id = self.secrets.hsm_id.as_bytes();
        let origin = Origin { epoch: self.epoch, boot: self.boot, hsm_id };
        let mut sealed = origin.header(self.counter)?;
        let ciphertext = self.key.seal(nonce(self.counter), &associated_data(&sealed), entry);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }
}

/// One start's key of the newest epoch.
fn newest_key(
    secrets: &Secrets,
    cluster: &ClusterSecrets,
    boot: Boot,
) -> Result<(u64, AeadKey), Error> {
    let log_key = cluster.log.current();
    let epoch = log_key.epoch();
    let key = Origin { epoch, boot, hsm_id: secrets.hsm_id.as_bytes() }.key(log_key.bytes())?;
    Ok((epoch, key))
}

/// Opens an entry that any HSM of the cluster sealed, under the log key of its epoch.
///
/// # Errors
/// [`Error::Entry`] where it was not sealed by this cluster, has changed, or its epoch's key is
/// gone.
pub fn open(log_keys: &KeyRing, sealed: &[u8]) -> Result<SecretBytes, Error> {
    let parsed = Parsed::of(sealed).ok_or(Error::Entry("it is malformed"))?;
    let log_key =
        log_keys.at(parsed.origin.epoch).ok_or(Error::Entry("its key's epoch is not known"))?;
    parsed
        .origin
        .key(log_key.bytes())?
        .open(nonce(parsed.counter), &associated_data(parsed.header), parsed.ciphertext)
        .map_err(|_| Error::Entry("it does not open"))
}

/// A sealed entry taken apart.
struct Parsed<'a> {
    origin: Origin<'a>,
    counter: u64,
    header: &'a [u8],
    ciphertext: &'a [u8],
}

impl<'a> Parsed<'a> {
    fn of(sealed: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = sealed.split_first_chunk::<FIXED_BYTES>()?;
        let (&format, fixed) = fixed.split_first()?;
        if format != FORMAT {
            return None;
        }
        let (epoch, fixed) = fixed.split_first_chunk::<8>()?;
        let (boot, fixed) = fixed.split_first_chunk::<8>()?;
        let (salt, fixed) = fixed.split_first_chunk::<16>()?;
        let (counter, fixed) = fixed.split_first_chunk::<8>()?;
        let (hsm_id, ciphertext) = rest.split_at_checked(usize::from(*fixed.first()?))?;
        let boot = Boot { number: u64::from_be_bytes(*boot), salt: *salt };
        Some(Self {
            origin: Origin { epoch: u64::from_be_bytes(*epoch), boot, hsm_id },
            counter: u64::from_be_bytes(*counter),
            header: &sealed[..sealed.len() - ciphertext.len()],
            ciphertext,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use strongroom_store::Rotation;

    use super::*;

    const BOOT: Boot = Boot { number: 3, salt: [9; 16] };

    fn arc_secrets() -> Arc<Secrets> {
        Arc::new(Secrets::generate().unwrap())
    }

    fn log(secrets: &Secrets) -> KeyRing {
        secrets.cluster().unwrap().log.clone()
    }

    #[test]
    fn an_entry_opens_under_the_clusters_log_key_alone() {
        let secrets = arc_secrets();
        let sealed = EntrySealer::new(secrets.clone(), BOOT).unwrap().seal(b"entry").unwrap();
        assert_eq!(open(&log(&secrets), &sealed).unwrap().as_bytes(), b"entry");
        let other = arc_secrets();
        assert!(matches!(open(&log(&other), &sealed), Err(Error::Entry("it does not open"))));
    }

    #[test]
    fn no_byte_of_an_entry_can_be_changed_or_lost() {
        let secrets = arc_secrets();
        let sealed = EntrySealer::new(secrets.clone(), BOOT).unwrap().seal(b"entry").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&log(&secrets), &changed).is_err(), "byte {at} flipped");
            assert!(open(&log(&secrets), &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_entry_is_sealed_under_the_newest_epoch_and_older_ones_open() {
        let secrets = arc_secrets();
        let mut sealer = EntrySealer::new(secrets.clone(), BOOT).unwrap();
        let first = sealer.seal(b"first").unwrap();
        let old = log(&secrets);
        let next = secrets.cluster().unwrap().next(Rotation::Exposed { generation: 2 }).unwrap();
        secrets.add_epoch(next).unwrap();
        let second = sealer.seal(b"second").unwrap();
        assert_eq!(open(&log(&secrets), &first).unwrap().as_bytes(), b"first");
        assert_eq!(open(&log(&secrets), &second).unwrap().as_bytes(), b"second");
        // Who knows the older keys alone learns nothing of what follows.
        assert!(matches!(open(&old, &second), Err(Error::Entry("its key's epoch is not known"))));
    }

    #[test]
    fn starts_with_the_same_number_have_different_keys() {
        let secrets = arc_secrets();
        let seal = |salt| {
            let boot = Boot { number: 1, salt };
            EntrySealer::new(secrets.clone(), boot).unwrap().seal(&[0; 64]).unwrap()
        };
        let header = FIXED_BYTES + secrets.hsm_id.len();
        assert_ne!(seal([1; 16])[header..], seal([2; 16])[header..]);
    }

    #[test]
    fn entries_are_those_of_the_specification() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../docs/spec/vectors/log.json")).unwrap();
        for vector in vectors["entries"].as_array().unwrap() {
            let (key, epoch) = (bytes(&vector["key"]), vector["epoch"].as_u64().unwrap());
            let mut cluster = ClusterSecrets::generate().unwrap();
            cluster.log = KeyRing::from_keys([(epoch, key.as_slice())]).unwrap().unwrap();
            let hsm_id = vector["hsm_id"].as_str().unwrap().to_owned();
            let secrets = Secrets::generate_alone(hsm_id).unwrap().with_cluster(cluster);
            let secrets = Arc::new(secrets);
            let salt = bytes(&vector["salt"]).try_into().unwrap();
            let boot = Boot { number: vector["boot"].as_u64().unwrap(), salt };
            let mut sealer = EntrySealer::new(secrets.clone(), boot).unwrap();
            sealer.counter = vector["counter"].as_u64().unwrap() - 1;
            let (plaintext, sealed) = (bytes(&vector["plaintext"]), bytes(&vector["sealed"]));
            assert_eq!(sealer.seal(&plaintext).unwrap(), sealed);
            assert_eq!(open(&log(&secrets), &sealed).unwrap().as_bytes(), plaintext);
        }
    }

    fn bytes(value: &serde_json::Value) -> Vec<u8> {
        let pairs = value.as_str().unwrap().as_bytes().as_chunks::<2>().0;
        let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.iter().map(|pair| byte(&pair[..])).collect()
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            let secrets = arc_secrets();
            prop_assert!(open(&log(&secrets), &bytes).is_err());
        }
    }
}
