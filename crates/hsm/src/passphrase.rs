//! Reading the passphrase of a seal: from a descriptor, a systemd credential, or the terminal.
//!
//! Never from an argument or the environment: other processes can read those.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use strongroom_crypto::SecretBytes;

use crate::{Error, PassphraseSource};

/// The name under which systemd's LoadCredential gives it.
const CREDENTIAL: &str = "strongroom-passphrase";
/// In bytes; longer input is a mistake.
const PASSPHRASE_BYTES_MAX: usize = 1024;

/// Reads the passphrase. `new`: it is being set, so a terminal asks for it twice.
///
/// # Errors
/// Where the source does not read, or two entries differ.
pub(crate) fn read(source: &PassphraseSource, new: bool) -> Result<SecretBytes, Error> {
    match source {
        // The path of a descriptor is opened rather than the number taken over, which would need
        // a promise that nobody else uses it.
        PassphraseSource::Descriptor(number) => {
            from_file(Path::new(&format!("/proc/self/fd/{number}")))
        }
        PassphraseSource::CredentialOrPrompt => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(folder) => from_file(&PathBuf::from(folder).join(CREDENTIAL)),
            None => prompt(new),
        },
    }
}

fn from_file(path: &Path) -> Result<SecretBytes, Error> {
    let mut file = File::open(path)
        .map_err(|e| Error::Configuration(format!("passphrase from {}: {e}", path.display())))?;
    first_line(&mut file)
}

/// The first line without its end.
fn first_line(input: &mut impl Read) -> Result<SecretBytes, Error> {
    // One allocation, so that no growth leaves a copy behind.
    let mut line = SecretBytes::zeroed(PASSPHRASE_BYTES_MAX + 1);
    let mut length = 0;
    while length <= PASSPHRASE_BYTES_MAX {
        let read = input
            .read(&mut line.as_mut_bytes()[length..])
            .map_err(Error::io("reading the passphrase"))?;
        let end = line.as_bytes()[length..length + read].iter().position(|b| *b == b'\n');
        length += end.unwrap_or(read);
        if end.is_some() || read == 0 {
            return Ok(SecretBytes::copied(&line.as_bytes()[..length]));
        }
    }
    Err(Error::Configuration(format!("a passphrase has at most {PASSPHRASE_BYTES_MAX} bytes")))
}

fn prompt(new: bool) -> Result<SecretBytes, Error> {
    let mut terminal =
        OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
            Error::Configuration(
            "seal passphrase: there is no terminal to ask on; give it with --passphrase-fd, or as \
             systemd credential strongroom-passphrase"
                .to_owned(),
        )
        })?;
    let passphrase = ask(&mut terminal, "Passphrase of the seal: ")?;
    if new && !passphrase.ct_eq(ask(&mut terminal, "Once more: ")?.as_bytes()) {
        return Err(Error::Configuration("the two passphrases differ".to_owned()));
    }
    Ok(passphrase)
}

fn ask(terminal: &mut File, question: &str) -> Result<SecretBytes, Error> {
    let echo = Echo::off(terminal)?;
    let mut terminal: &File = terminal;
    let answer = terminal
        .write_all(question.as_bytes())
        .map_err(Error::io("asking for the passphrase"))
        .and_then(|()| first_line(&mut terminal));
    drop(echo);
    // The user's Enter was not echoed.
    let _ = terminal.write_all(b"\n");
    answer
}

/// A terminal that does not show what is typed, until this is dropped.
struct Echo {
    terminal: File,
    before: Termios,
}

impl Echo {
    fn off(terminal: &File) -> Result<Self, Error> {
        let failed = || "setting the terminal";
        let terminal = terminal.try_clone().map_err(Error::io(failed()))?;
        let before = tcgetattr(&terminal).map_err(Error::io(failed()))?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(Error::io(failed()))?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(input: &[u8]) -> Result<SecretBytes, Error> {
        // One byte at a time, as a pipe may give it.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
                buffer[0] = *first;
                self.0 = rest;
                Ok(1)
            }
        }
        first_line(&mut Slow(input))
    }

    #[test]
    fn a_passphrase_is_the_first_line_without_its_end() {
        assert!(line(b"correct horse\nbattery\n").unwrap().ct_eq(b"correct horse"));
        assert!(line(b"correct horse").unwrap().ct_eq(b"correct horse"));
        assert!(line(b"\n").unwrap().is_empty());
    }

    #[test]
    fn a_passphrase_too_long_is_an_error_not_a_shorter_passphrase() {
        assert!(line(&[b'a'; PASSPHRASE_BYTES_MAX]).is_ok());
        assert!(line(&[b'a'; PASSPHRASE_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_descriptor_is_read_by_its_number() {
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"from a pipe\n").unwrap();
        let source = PassphraseSource::Descriptor(reader.as_raw_fd().unsigned_abs());
        assert!(read(&source, true).unwrap().ct_eq(b"from a pipe"));
    }
}
