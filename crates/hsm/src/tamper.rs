//! Destroying an HSM's secrets: on a tamper input, on its provisioner's word, or when it has been removed.
//!
//! In: a reason. Out: a signed record in the data folder, no secrets, no process. The record is signed
//! and on disk before the secrets go, because afterwards nothing can be signed. What is *not* a reason:
//! a wrong passphrase, a seal that does not open, a damaged store, an input that does not read. Those
//! lock the HSM or have it fetch its data again; a fault must not cost keys.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rcgen::SigningKey as _;
use strongroom_pki::verify_message;
use strongroom_store::Secrets;

use crate::certificates::P256Key;
use crate::{Error, clock};

/// The exit status of a process that has destroyed its secrets, and of one that is started on what is
/// left of them.
pub const EXIT_ZEROISED: u8 = 3;
/// The record, in the data folder.
pub const ZEROISED_FILE: &str = "zeroised";

/// What the record's signature is over: this, then all lines before the signature's.
const CONTEXT: &str = "strongroom zeroised 1\n";
/// How often a tamper input is read.
const PERIOD: Duration = Duration::from_millis(250);
/// More than a record has, in bytes.
const RECORD_BYTES_MAX: u64 = 4096;

/// Destroys this HSM's secrets.
pub(crate) struct Zeroiser {
    folder: PathBuf,
    secrets: Arc<Secrets>,
}

impl Zeroiser {
    pub(crate) fn new(folder: &Path, secrets: Arc<Secrets>) -> Self {
        Self { folder: folder.to_owned(), secrets }
    }

    /// Signs the record, then destroys the secrets, then ends the process: nothing is answered any
    /// more. The store's file stays, as ciphertext without a key.
    pub(crate) fn zeroise(&self, reason: &str) -> ! {
        self.destroy(reason);
        std::process::exit(EXIT_ZEROISED.into())
    }

    /// Signs the record and destroys the secrets. What can't be done is logged and does not keep the
    /// rest from being done. The process must end: its memory still has what it works with.
    pub(crate) fn destroy(&self, reason: &str) {
        self.record(reason);
        match self.secrets.destroy() {
            Ok(()) => tracing::error!("the secrets of this HSM are destroyed"),
            Err(e) => tracing::error!("the secrets are destroyed in memory alone: {e}"),
        }
    }

    /// The same, but for what the process has in memory: it goes on until it ends.
    ///
    /// # Errors
    /// Where something of them may be left on disk.
    pub(crate) fn destroy_on_disk(&self, reason: &str) -> Result<(), Error> {
        self.record(reason);
        Ok(self.secrets.destroy_on_disk()?)
    }

    fn record(&self, reason: &str) {
        tracing::error!("destroying the secrets of this HSM: {reason}");
        let recorded = record(&self.secrets, reason, clock::now_ms()).and_then(|text| {
            let path = self.folder.join(ZEROISED_FILE);
            Ok(strongroom_seal::write_atomically(&path, text.as_bytes())?)
        });
        if let Err(e) = recorded {
            tracing::error!("the record of it could not be made: {e}");
        }
    }
}

/// A text that says what happened, and the device key's signature over it.
fn record(secrets: &Secrets, reason: &str, now_ms: u64) -> Result<String, Error> {
    let key = P256Key::from_pkcs8("use of the device key", secrets.device_key.as_bytes())?;
    // One line each, whatever the reason says.
    let reason = reason.replace(char::is_control, " ");
    let text = format!("hsm: {}\ntime-ms: {now_ms}\nreason: {reason}\n", secrets.hsm_id);
    let signature = key.sign([CONTEXT, &text].concat().as_bytes()).map_err(|e| {
        crate::CertificateError::Making { what: "record of zeroising", problem: e.to_string() }
    })?;
    Ok(format!("{CONTEXT}{text}signature: {}\n", hex(&signature)))
}

/// Whether a record is signed by a device key (SubjectPublicKeyInfo, DER).
#[must_use]
pub fn is_zeroised_record(record: &str, device_key: &[u8]) -> bool {
    let Some((text, signature)) = record.rsplit_once("signature: ") else { return false };
    let signature = unhex(signature.trim_end_matches('\n'));
    text.starts_with(CONTEXT)
        && signature.is_some_and(|signature| {
            verify_message(device_key, text.as_bytes(), &signature).is_ok()
        })
}

/// Refuses a folder whose HSM has destroyed its secrets: what was in it can't be had again, and an HSM
/// that was removed may not come back as a new one that looks the same.
///
/// # Errors
/// [`Error::Zeroised`], with the record's reason.
pub(crate) fn refuse_zeroised(folder: &Path) -> Result<(), Error> {
    let path = folder.join(ZEROISED_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io(path.display().to_string())(e)),
    };
    let mut record = String::new();
    // One that does not read is a record all the same.
    let _ = file.take(RECORD_BYTES_MAX).read_to_string(&mut record);
    let reason = record.lines().find_map(|line| line.strip_prefix("reason: "));
    Err(Error::Zeroised {
        folder: folder.to_owned(),
        reason: reason.unwrap_or("the record does not say why").to_owned(),
    })
}

/// Watches a tamper input (a file, a GPIO's value) until it is dropped.
pub(crate) struct TamperInput {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TamperInput {
    /// Begins to watch; `tripped` is called once, from another thread, when the input reads `1`.
    ///
    /// # Errors
    /// Where the input cannot be read now, or there is no thread to be had.
    pub(crate) fn watch(
        path: PathBuf,
        tripped: impl FnOnce(&str) + Send + 'static,
    ) -> Result<Self, Error> {
        read_input(&path).map_err(Error::io(format!("tamper input {}", path.display())))?;
        let (stop, stopped) = channel();
        let thread = Builder::new()
            .name("tamper".to_owned())
            .spawn(move || {
                let mut readable = true;
                loop {
                    match read_input(&path) {
                        Ok(true) => {
                            return tripped(&format!("tamper input {} reads 1", path.display()));
                        }
                        Ok(false) => readable = true,
                        Err(e) if readable => {
                            readable = false;
                            tracing::error!("tamper input {}: {e}", path.display());
                        }
                        Err(_) => {}
                    }
                    if stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })
            .map_err(Error::io("starting a thread"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for TamperInput {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether the input reads `1`. It is opened each time: a GPIO's file gives its value at an open, and
/// another file may have been put in its place.
fn read_input(path: &Path) -> std::io::Result<bool> {
    let mut start = [0; 16];
    let length = File::open(path)?.read(&mut start)?;
    Ok(start[..length].trim_ascii() == b"1")
}

/// Bytes in small hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use strongroom_seal::{FileSeal, Seal};
    use strongroom_store::Folder;

    use super::*;

    fn hsm() -> (tempfile::TempDir, Zeroiser, Vec<u8>) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let seal: Arc<dyn Seal> =
            Arc::new(FileSeal::open_or_create(&root.path().join("seal.key")).unwrap());
        let secrets = Arc::new(Secrets::load_or_generate(&folder, seal).unwrap());
        let key = P256Key::from_pkcs8("device key of a test", secrets.device_key.as_bytes());
        let zeroiser = Zeroiser::new(root.path(), secrets);
        (root, zeroiser, key.unwrap().public_key())
    }

    #[test]
    fn what_is_destroyed_is_gone_and_its_record_is_signed() {
        let (root, zeroiser, device_key) = hsm();
        refuse_zeroised(root.path()).unwrap();
        zeroiser.destroy("a test\nsays so");
        for gone in ["secrets.sealed", "seal.key"] {
            assert!(!root.path().join(gone).exists(), "{gone}");
        }
        assert!(zeroiser.secrets.cluster().is_err());
        let record = std::fs::read_to_string(root.path().join(ZEROISED_FILE)).unwrap();
        assert!(record.contains("\nreason: a test says so\n"), "{record}");
        assert!(is_zeroised_record(&record, &device_key));
        assert!(matches!(refuse_zeroised(root.path()), Err(Error::Zeroised { .. })));
    }

    #[test]
    fn a_record_that_was_changed_or_is_anothers_is_none() {
        let (root, zeroiser, device_key) = hsm();
        zeroiser.destroy("a test");
        let record = std::fs::read_to_string(root.path().join(ZEROISED_FILE)).unwrap();
        assert!(!is_zeroised_record(&record.replace("a test", "no test"), &device_key));
        assert!(!is_zeroised_record(&record.replace("signature: ", "signature: 00"), &device_key));
        assert!(!is_zeroised_record("", &device_key));
        let other = P256Key::generate("device key of a test").unwrap();
        assert!(!is_zeroised_record(&record, &other.public_key()));
    }

    #[test]
    fn secrets_go_even_where_no_record_can_be_made() {
        let (root, zeroiser, _) = hsm();
        std::fs::create_dir(root.path().join("zeroised.new")).unwrap();
        zeroiser.destroy("a test");
        assert!(!root.path().join("secrets.sealed").exists());
        assert!(zeroiser.secrets.cluster().is_err());
    }

    #[test]
    fn an_input_trips_when_it_reads_one_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("switch");
        let (tripped, trip) = channel();
        let watch = |path: &Path| {
            let tripped = tripped.clone();
            TamperInput::watch(path.to_owned(), move |reason| {
                let _ = tripped.send(reason.to_owned());
            })
        };
        // An input that is not there is a mistake, found at the start.
        assert!(watch(&path).is_err());
        for quiet in ["0\n", "", "11", "no"] {
            std::fs::write(&path, quiet).unwrap();
            assert!(!read_input(&path).unwrap(), "{quiet:?}");
        }
        let input = watch(&path).unwrap();
        // One that goes away is no reason to destroy anything.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        assert!(trip.recv().unwrap().ends_with("reads 1"));
        drop(input);
        assert!(trip.try_recv().is_err());
    }
}
