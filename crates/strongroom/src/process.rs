//! The process of an HSM: found by its pid file, held by a descriptor, so that its number cannot
//! become another's while it is asked or awaited.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::Error;
use crate::region::{HsmDescription, Region};

/// A process that had not ended when it was looked for.
pub(crate) struct Process {
    descriptor: OwnedFd,
    /// The system is taking it down: it has no memory any more, but maybe still its ports and the
    /// lock of its folder.
    ending: bool,
}

impl Process {
    /// The process with this number.
    pub(crate) fn numbered(id: i32) -> Option<Self> {
        let descriptor = pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()?;
        let process = Self { descriptor, ending: false };
        // A zombie has ended, whether or not anybody cares for its exit status.
        (!process.ends_within(Duration::ZERO).ok()?).then_some(process)
    }

    /// The process of an HSM, where it is surely that HSM's, or ending.
    pub(crate) fn of(region: &Region, hsm: &HsmDescription) -> Option<Self> {
        let folder = region.hsm_folder(hsm);
        let noted = std::fs::read_to_string(region.pid_file(hsm)).ok();
        let noted = noted.and_then(|text| text.trim().parse().ok());
        noted.and_then(|id| Self::noted(id, &folder)).or_else(|| Self::serving(&folder))
    }

    /// The process that was noted to be of an HSM, where it still is.
    fn noted(id: i32, folder: &Path) -> Option<Self> {
        let process = Self::numbered(id)?;
        // Looked at after the process is held: what is read is of the one that is held.
        let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let is_ours = command
            .split(|byte| *byte == 0)
            .any(|argument| argument == folder.as_os_str().as_encoded_bytes());
        let ending = command.is_empty() && is_exiting(id);
        (is_ours || ending).then_some(Self { ending, ..process })
    }

    /// A process that nobody noted: its starter was killed in between.
    fn serving(folder: &Path) -> Option<Self> {
        let folder = folder.as_os_str().as_encoded_bytes();
        std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let process = Self::numbered(id)?;
            let command = std::fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = command.split(|byte| *byte == 0);
            let serves = words.next()?.ends_with(b"strongroom")
                && words.next() == Some(b"hsm")
                && words.any(|word| word == folder);
            serves.then_some(process)
        })
    }

    /// Asks it to stop in order, unless it is ending anyway.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn terminate(&self) -> Result<(), Error> {
        if self.ending { Ok(()) } else { self.signal(Signal::TERM) }
    }

    /// Ends it now. What it has acknowledged is on disk.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn kill(&self) -> Result<(), Error> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(Error::io("stopping the HSM")(e)),
        }
    }

    /// Waits for its end, with which its ports are closed and its folder is free; whether it came.
    ///
    /// # Errors
    /// Where the system cannot poll.
    pub(crate) fn ends_within(&self, patience: Duration) -> Result<bool, Error> {
        let patience = Timespec::try_from(patience).ok();
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        loop {
            match poll(&mut polled, patience.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::io("waiting for the HSM")(e)),
            }
        }
    }
}

/// Whether the system takes a process down (PF_EXITING of /proc/PID/stat's `flags`, proc(5)).
fn is_exiting(id: i32) -> bool {
    const PF_EXITING: u64 = 0x4;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // "PID (NAME) STATE …": the name may hold anything but ends at the last parenthesis.
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse().ok());
    flags.is_some_and(|flags: u64| flags & PF_EXITING != 0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::IpAddr;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(60);

    /// A process that waits for its input's end, and has a word on its command line.
    fn waiting(word: &Path) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "echo; read line"]).arg(word);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It has its command line once it speaks.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    fn named_in(pid_file: &Region, hsm: &HsmDescription, child: &Child) -> Option<Process> {
        let file = pid_file.pid_file(hsm);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, child.id().to_string()).unwrap();
        Process::of(pid_file, hsm)
    }

    #[test]
    fn a_process_that_nobody_noted_is_found_by_what_it_serves() {
        use std::os::unix::process::CommandExt;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("hsm-abcdefghijk");
        // A shell script of that name, so that its command line is an HSM's.
        std::fs::write(dir.path().join("hsm"), "echo; read line").unwrap();
        let start = |name: &str, word: &Path| {
            let mut command = Command::new("sh");
            command.arg0(name).arg("hsm").arg(word).current_dir(dir.path());
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            child
        };
        let mut others = [start("tail", &folder), start("strongroom", Path::new("/elsewhere"))];
        assert!(Process::serving(&folder).is_none());
        let mut ours = start("/usr/bin/strongroom", &folder);
        let process = Process::serving(&folder).unwrap();
        process.kill().unwrap();
        assert!(process.ends_within(FOR_EVER).unwrap());
        assert!(Process::serving(&folder).is_none());
        ours.wait().unwrap();
        for other in &mut others {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }

    #[test]
    fn only_a_process_that_serves_the_folder_is_the_hsms_and_only_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let region = Region::at(dir.path());
        let hsm = HsmDescription {
            hsm_id: "hsm-abcdefghijk".to_owned(),
            address: IpAddr::from([127, 0, 1, 10]),
            port_offset: 0,
            zone: String::new(),
            joins: false,
            witness: false,
            leaving: None,
        };
        assert!(Process::of(&region, &hsm).is_none());

        let mut stranger = waiting(Path::new("/elsewhere"));
        assert!(named_in(&region, &hsm, &stranger).is_none());
        stranger.kill().unwrap();

        let mut ours = waiting(&region.hsm_folder(&hsm));
        let process = named_in(&region, &hsm, &ours).unwrap();
        assert!(!process.ends_within(Duration::ZERO).unwrap());
        process.terminate().unwrap();
        assert!(process.ends_within(FOR_EVER).unwrap());
        // Nobody has asked for its exit status yet: it is exiting, but has ended.
        assert!(is_exiting(i32::try_from(ours.id()).unwrap()));
        assert!(Process::of(&region, &hsm).is_none());
        ours.wait().unwrap();
        assert!(Process::of(&region, &hsm).is_none());
        process.terminate().unwrap();
        stranger.wait().unwrap();
    }
}
