//! Where lines and passwords come from: a terminal, or a pipe that stands for one.
//!
//! On a terminal a prompt is shown, and a password is read without echo. From a pipe both are just
//! the next line, which is what scripts and tests need. Nothing that was read stays in memory: there
//! is no history, and every buffer is wiped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::commands::Prompt;
use crate::error::Error;
use crate::grammar::Password;

/// A line longer than this is no command, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// No password is longer, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;
const READ_BYTES: usize = 4096;

/// An input that lines and passwords are read from.
pub(crate) struct Terminal<I> {
    input: I,
    /// What was read and not yet given out: `buffer[start..end]`.
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Terminal<io::Stdin> {
    /// Standard input.
    pub(crate) fn stdin() -> Self {
        Self::new(io::stdin())
    }
}

impl<I: AsFd> Terminal<I> {
    /// Any open file.
    pub(crate) fn new(input: I) -> Self {
        Self { input, buffer: Zeroizing::new(vec![0; READ_BYTES]), start: 0, end: 0 }
    }

    /// Whether a person is at the other end.
    pub(crate) fn is_interactive(&self) -> bool {
        isatty(&self.input)
    }

    /// The next line without its end, `None` when there is none. On a terminal, after `prompt`.
    pub(crate) fn line(&mut self, prompt: &str) -> Result<Option<Zeroizing<String>>, Error> {
        if self.is_interactive() {
            show(&mut io::stdout(), prompt)?;
        }
        self.read_line(LINE_BYTES_MAX)?.map(text).transpose()
    }

    fn read_line(&mut self, max: usize) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let mut line = Zeroizing::new(Vec::with_capacity(READ_BYTES));
        loop {
            match self.next_byte()? {
                None if line.is_empty() => return Ok(None),
                None | Some(b'\n') => break,
                Some(_) if line.len() == max => {
                    return Err(Error::usage(format!("A line has more than {max} bytes")));
                }
                Some(byte) => push(&mut line, byte),
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn next_byte(&mut self) -> Result<Option<u8>, Error> {
        if self.start == self.end {
            self.buffer.fill(0);
            self.start = 0;
            self.end = loop {
                match rustix::io::read(&self.input, &mut self.buffer[..]) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other.map_err(io::Error::from)?,
                }
            };
            if self.end == 0 {
                return Ok(None);
            }
        }
        self.start += 1;
        Ok(Some(self.buffer[self.start - 1]))
    }

    /// A line from a terminal that shows nothing and sends no signal, so that the terminal is its
    /// old self again whatever is pressed.
    fn read_hidden(&mut self) -> Result<Zeroizing<Vec<u8>>, Error> {
        const INTERRUPT: u8 = 0x03;
        const END: u8 = 0x04;
        const BACKSPACE: u8 = 0x08;
        const DELETE: u8 = 0x7f;
        const KILL: u8 = 0x15;
        let mut line = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX));
        loop {
            match self.next_byte()? {
                None | Some(b'\n' | b'\r') => return Ok(line),
                Some(INTERRUPT) => return Err(interrupted()),
                Some(END) if line.is_empty() => return Err(interrupted()),
                Some(END) => {}
                Some(BACKSPACE | DELETE) => {
                    // The whole character: its UTF-8 continuation bytes too.
                    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
                }
                Some(KILL) => line.clear(),
                Some(_) if line.len() == PASSWORD_BYTES_MAX => {
                    return Err(Error::usage("The password is too long"));
                }
                Some(byte) => line.push(byte),
            }
        }
    }
}

impl<I: AsFd> Prompt for Terminal<I> {
    fn password(&mut self, prompt: &str) -> Result<Password, Error> {
        if !self.is_interactive() {
            let line = self.read_line(PASSWORD_BYTES_MAX)?;
            let mut line = line.ok_or_else(|| Error::usage("No password was given"))?;
            return Ok(Password::new(std::mem::take(&mut *line)));
        }
        let result = {
            // Before the prompt: who answers at once, as a script does, is not shown either.
            let quiet = Quiet::new(self.input.as_fd().try_clone_to_owned()?)?;
            // Not to standard output, which carries the command's JSON.
            let result = show(&mut io::stderr(), prompt)
                .map_err(Error::from)
                .and_then(|()| self.read_hidden());
            drop(quiet);
            result
        };
        show(&mut io::stderr(), "\n")?;
        result.map(|mut line| Password::new(std::mem::take(&mut *line)))
    }
}

/// A terminal without echo, until it is dropped.
struct Quiet {
    terminal: std::os::fd::OwnedFd,
    before: Termios,
}

impl Quiet {
    fn new(terminal: std::os::fd::OwnedFd) -> Result<Self, Error> {
        let before = tcgetattr(&terminal).map_err(io::Error::from)?;
        let mut quiet = before.clone();
        quiet.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        set(terminal.as_fd(), &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = set(self.terminal.as_fd(), &self.before);
    }
}

/// What was typed already is kept: it may be the password.
fn set(terminal: BorrowedFd<'_>, modes: &Termios) -> Result<(), Error> {
    Ok(tcsetattr(terminal, OptionalActions::Drain, modes).map_err(io::Error::from)?)
}

fn show(out: &mut dyn io::Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn interrupted() -> Error {
    Error::usage("Interrupted")
}

fn text(mut line: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, Error> {
    String::from_utf8(std::mem::take(&mut *line)).map(Zeroizing::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        Error::usage("The line is not UTF-8")
    })
}

/// Appends, and wipes the old buffer where a bigger one is needed.
fn push(line: &mut Zeroizing<Vec<u8>>, byte: u8) {
    if line.len() == line.capacity() {
        let mut bigger = Zeroizing::new(Vec::with_capacity(line.capacity() * 2));
        bigger.extend_from_slice(line);
        std::mem::swap(line, &mut bigger);
    }
    line.push(byte);
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A pipe that holds `text` and is closed.
    fn pipe(text: &str) -> Terminal<std::io::PipeReader> {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        Terminal::new(reader)
    }

    #[test]
    fn lines_and_passwords_come_from_the_same_pipe_in_order() {
        let mut input = pipe("login --username a\r\nsecret pass\nlast");
        assert_eq!(&**input.line("> ").ok().unwrap().unwrap(), "login --username a");
        assert_eq!(input.password("Enter password: ").ok().unwrap().as_bytes(), b"secret pass");
        assert_eq!(&**input.line("> ").ok().unwrap().unwrap(), "last");
        assert!(input.line("> ").ok().unwrap().is_none());
        assert!(input.password("Enter password: ").is_err());
    }

    #[test]
    fn a_long_line_is_read_whole_and_an_endless_one_is_refused() {
        let long = "x".repeat(3 * READ_BYTES);
        let mut input = pipe(&format!("{long}\n"));
        assert_eq!(&**input.line("").ok().unwrap().unwrap(), long);
        let mut input = pipe(&"x".repeat(PASSWORD_BYTES_MAX + 1));
        assert!(input.password("").is_err());
    }

    #[test]
    fn a_terminal_does_not_echo_a_password_and_is_its_old_self_afterwards() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let Ok(person) = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY) else {
            // A sandbox without pseudo-terminals.
            return;
        };
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let side = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let before = tcgetattr(&side).unwrap();
        assert!(before.local_modes.contains(LocalModes::ECHO));
        let quiet = Quiet::new(side.try_clone().unwrap().into()).ok().unwrap();
        assert!(!tcgetattr(&side).unwrap().local_modes.contains(LocalModes::ECHO));
        rustix::io::write(&person, b"wrong\x15hunter\xc3\xa4\x7f2\r").unwrap();
        let mut terminal = Terminal::new(side.try_clone().unwrap());
        assert_eq!(&**terminal.read_hidden().ok().unwrap(), b"hunter2");
        drop(quiet);
        assert!(tcgetattr(&side).unwrap().local_modes.contains(LocalModes::ECHO));
        // All that reached the person's side is what is written now: the password was not shown.
        rustix::io::write(&side, b"done").unwrap();
        let mut shown = [0; 64];
        let length = rustix::io::read(&person, &mut shown).unwrap();
        assert_eq!(&shown[..length], b"done");
    }

    #[test]
    fn control_c_ends_the_question() {
        let mut input = pipe("half\x03");
        assert!(input.read_hidden().is_err());
    }
}
