//! How one row of the store is sealed. Specified in `docs/spec/log.md`, section "Records".
//!
//! ```text
//! format 1 | boot u64 | counter u64 | ciphertext | tag[16]
//! ```
//! AES-256-GCM. The key is derived anew at each start of the HSM from the state key (or the audit
//! key), the start's number and a random salt, so that a counter is enough for a nonce that never
//! comes twice: also where an old copy of the folder is put back, and counts on from there. The
//! associated data names the row and its version: a row that is moved, or exchanged for an older
//! one of another version, does not open.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use strongroom_crypto::SecretBytes;
use strongroom_crypto::random;
use strongroom_crypto::symmetric::{self, AeadKey};

use crate::{Error, KeyRing, Secrets};

/// The format that this build writes.
const FORMAT: u8 = 1;
const CONTEXT: &[u8] = b"strongroom record 1\0";
/// Bytes before the ciphertext.
pub const HEADER_BYTES: usize = 17;
const TAG_BYTES: usize = 16;

/// A table of the store: what a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// What the store knows of itself.
    Meta = 1,
    /// Raft's log.
    Log = 2,
    /// The vault's records.
    Records = 3,
    /// Masked objects.
    Blobs = 4,
    /// Audit records, under the audit key.
    Audit = 5,
}

impl Table {
    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Log => "log",
            Self::Records => "records",
            Self::Blobs => "blobs",
            Self::Audit => "audit",
        }
    }
}

/// Which row of which table.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The table.
    pub table: Table,
    /// The row's key as the database has it; a number as 8 bytes, big-endian.
    pub key: &'a [u8],
    /// The vault's index that wrote it, or how often it was written; 0 where rows are written once.
    pub version: u64,
}

impl Place<'_> {
    /// The row for messages to people: text as text, numbers as numbers, others in hexadecimal.
    fn name(&self) -> String {
        match (self.table, self.key.try_into()) {
            (Table::Meta, _) => String::from_utf8_lossy(self.key).into_owned(),
            (_, Ok(number)) => u64::from_be_bytes(number).to_string(),
            (_, Err(_)) => self.key.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    fn associated_data(&self) -> Vec<u8> {
        [CONTEXT, &[self.table as u8], &self.version.to_be_bytes(), self.key].concat()
    }
}

/// One start of the HSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Counts starts on this folder, from 1.
    pub number: u64,
    /// Random: makes the start's keys its own even where the number comes twice.
    pub salt: [u8; 16],
}

/// A start, with the epochs of the keys that its rows are sealed under.
#[derive(Clone, Copy)]
pub(crate) struct BootRow {
    pub(crate) boot: Boot,
    pub(crate) state_epoch: u64,
    pub(crate) audit_epoch: u64,
}

impl BootRow {
    /// The next start after `number`.
    pub(crate) fn next(number: u64, secrets: &Secrets) -> Result<Self, Error> {
        let mut salt = [0; 16];
        random(&mut salt)?;
        Ok(Self {
            boot: Boot { number: number + 1, salt },
            state_epoch: secrets.state.current().epoch(),
            audit_epoch: secrets.audit.current().epoch(),
        })
    }
}

/// The key of one start's rows: HKDF-SHA256 of the root key.
fn derive(root: &[u8], epoch: u64, boot: &Boot, hsm_id: &str) -> Result<AeadKey, Error> {
    let info =
        [CONTEXT, &epoch.to_be_bytes(), &boot.number.to_be_bytes(), &boot.salt, hsm_id.as_bytes()]
            .concat();
    Ok(AeadKey::from_secret(&symmetric::derive(root, &info))?)
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

/// Seals rows: the store's writer has the only one of its start.
pub(crate) struct Sealer {
    boot: u64,
    counter: u64,
    state: AeadKey,
    audit: AeadKey,
}

impl Sealer {
    pub(crate) fn new(secrets: &Secrets, row: &BootRow) -> Result<Self, Error> {
        let derived = Derived::new(secrets, row)?;
        Ok(Self { boot: row.boot.number, counter: 0, state: derived.state, audit: derived.audit })
    }

    /// Goes on so that the next row has this counter.
    #[cfg(test)]
    pub(crate) fn at(self, counter: u64) -> Self {
        Self { counter: counter - 1, ..self }
    }

    /// Seals one row.
    pub(crate) fn seal(&mut self, place: &Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        self.counter = self.counter.checked_add(1).ok_or(Error::Bug("the counter ran out"))?;
        let key = if place.table == Table::Audit { &self.audit } else { &self.state };
        let ciphertext = key.seal(nonce(self.counter), &place.associated_data(), plaintext);
        let mut sealed = Vec::with_capacity(HEADER_BYTES + ciphertext.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.boot.to_be_bytes());
        sealed.extend_from_slice(&self.counter.to_be_bytes());
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }
}

/// Both keys of one start.
struct Derived {
    state: AeadKey,
    audit: AeadKey,
}

impl Derived {
    fn new(secrets: &Secrets, row: &BootRow) -> Result<Self, Error> {
        let key = |ring: &KeyRing, epoch| {
            let root = ring.at(epoch).ok_or_else(|| {
                Error::tampered("boots", row.boot.number, "its keys' epoch is not known")
            })?;
            derive(root.bytes(), epoch, &row.boot, &secrets.hsm_id)
        };
        Ok(Self {
            state: key(&secrets.state, row.state_epoch)?,
            audit: key(&secrets.audit, row.audit_epoch)?,
        })
    }
}

/// Opens rows of all starts, from any thread.
pub(crate) struct Opener {
    secrets: std::sync::Arc<Secrets>,
    /// A start's keys are derived when its first row is opened: a folder has many starts.
    boots: BTreeMap<u64, (BootRow, OnceLock<Derived>)>,
}

impl Opener {
    pub(crate) fn new(
        secrets: std::sync::Arc<Secrets>,
        boots: impl IntoIterator<Item = BootRow>,
    ) -> Self {
        let boots =
            boots.into_iter().map(|row| (row.boot.number, (row, OnceLock::new()))).collect();
        Self { secrets, boots }
    }

    /// Adds a start.
    pub(crate) fn insert(&mut self, row: BootRow) {
        self.boots.insert(row.boot.number, (row, OnceLock::new()));
    }

    /// The last start, 0 where there was none.
    pub(crate) fn last_boot(&self) -> u64 {
        self.boots.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Opens one row.
    pub(crate) fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<SecretBytes, Error> {
        let tampered = |reason| Error::tampered(place.table.name(), place.name(), reason);
        let (header, ciphertext) = sealed
            .split_first_chunk::<HEADER_BYTES>()
            .filter(|(_, ciphertext)| ciphertext.len() >= TAG_BYTES)
            .ok_or_else(|| tampered("it is too short"))?;
        let [format, numbers @ ..] = header;
        if *format != FORMAT {
            return Err(tampered("its format is not known"));
        }
        let (boot, counter) = split_numbers(numbers);
        let (row, derived) =
            self.boots.get(&boot).ok_or_else(|| tampered("it is of a start that never was"))?;
        let derived = match derived.get() {
            Some(derived) => derived,
            None => {
                let made = Derived::new(&self.secrets, row)?;
                derived.get_or_init(|| made)
            }
        };
        let key = if place.table == Table::Audit { &derived.audit } else { &derived.state };
        key.open(nonce(counter), &place.associated_data(), ciphertext)
            .map_err(|_| tampered("it does not open"))
    }
}

fn split_numbers(numbers: &[u8; 16]) -> (u64, u64) {
    let number = u128::from_be_bytes(*numbers);
    ((number >> 64) as u64, number as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn place(key: &[u8], version: u64) -> Place<'_> {
        Place { table: Table::Records, key, version }
    }

    fn pair() -> (Sealer, Opener) {
        let secrets = Arc::new(Secrets::generate().unwrap());
        let row = BootRow::next(0, &secrets).unwrap();
        (Sealer::new(&secrets, &row).unwrap(), Opener::new(secrets, [row]))
    }

    #[test]
    fn a_row_opens_only_in_its_own_place() {
        let (mut sealer, opener) = pair();
        let sealed = sealer.seal(&place(b"row", 7), b"value").unwrap();
        assert_eq!(opener.open(&place(b"row", 7), &sealed).unwrap().as_bytes(), b"value");
        for (key, version) in [(&b"rox"[..], 7), (b"row", 6), (b"row", 8)] {
            assert!(matches!(
                opener.open(&place(key, version), &sealed),
                Err(Error::Tampered { table: "records", .. })
            ));
        }
        for table in [Table::Meta, Table::Log, Table::Blobs, Table::Audit] {
            assert!(opener.open(&Place { table, key: b"row", version: 7 }, &sealed).is_err());
        }
    }

    #[test]
    fn no_nonce_comes_twice_and_equal_rows_look_different() {
        let (mut sealer, _) = pair();
        let seal = |sealer: &mut Sealer| sealer.seal(&place(b"row", 7), b"value").unwrap();
        let (one, two) = (seal(&mut sealer), seal(&mut sealer));
        assert_ne!(one[..HEADER_BYTES], two[..HEADER_BYTES]);
        assert_ne!(one[HEADER_BYTES..], two[HEADER_BYTES..]);
    }

    #[test]
    fn a_folder_put_back_does_not_seal_under_an_old_key_again() {
        let secrets = Arc::new(Secrets::generate().unwrap());
        let rows = [0, 0].map(|number| BootRow::next(number, &secrets).unwrap());
        let sealed =
            rows.map(|row| Sealer::new(&secrets, &row).unwrap().seal(&place(b"row", 1), &[0; 64]));
        let [one, two] = sealed.map(Result::unwrap);
        assert_eq!(one[..HEADER_BYTES], two[..HEADER_BYTES]);
        assert_ne!(one[HEADER_BYTES..], two[HEADER_BYTES..]);
    }

    #[test]
    fn no_byte_of_a_row_can_be_changed_or_lost() {
        let (mut sealer, opener) = pair();
        let sealed = sealer.seal(&place(b"row", 7), b"value").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(opener.open(&place(b"row", 7), &changed).is_err(), "byte {at} flipped");
            assert!(opener.open(&place(b"row", 7), &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(key in any::<Vec<u8>>(), version: u64, value in any::<Vec<u8>>()) {
            let (mut sealer, opener) = pair();
            let sealed = sealer.seal(&place(&key, version), &value).unwrap();
            let opened = opener.open(&place(&key, version), &sealed).unwrap();
            prop_assert_eq!(opened.as_bytes(), value);
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            let (_, opener) = pair();
            prop_assert!(opener.open(&place(b"row", 1), &bytes).is_err());
        }
    }
}
