//! The local HSM: a private one of this user, behind a UNIX socket in its data folder, that is
//! started when somebody needs it and ends when nobody does.
//!
//! In: a data folder. Out: a connected socket. The HSM's process is not this library's child for
//! long: `strongroom hsm --local` returns as soon as the HSM listens, and is waited for here.
//! Nothing secret is in its arguments or its environment, and it has none of this process' standard
//! streams.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{ErrorKind, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use strongroom_wire::message::Personality;

use crate::{
    Error,
    config::{has_more_rights_than_its_caller, personality_name},
    connection::{Failure, unsent},
    socket::Socket,
};

/// Bytes of a socket's path (unix(7): sun_path has 108, with the terminator).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of what the starter says when it fails.
const REASON_BYTES_MAX: usize = 1024;
/// Environment variables that the HSM gets; a PIN among the others is none of its business.
const VARIABLES: [&str; 9] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "RUST_LOG",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "STRONGROOM_LOG",
];

/// A local HSM, running or not.
pub(crate) struct Local {
    dir: PathBuf,
    personality: Personality,
    library_dir: Option<PathBuf>,
    /// One thread starts it, the others wait.
    starting: Mutex<()>,
}

impl Local {
    pub(crate) fn new(
        dir: &Path,
        personality: Option<Personality>,
        library_dir: Option<PathBuf>,
    ) -> Result<Self, Error> {
        // The HSM's working folder is another one.
        let dir = std::path::absolute(dir)
            .map_err(|e| Error::Config(format!("{}: {e}", dir.display())))?;
        let personality = personality.unwrap_or(Personality::Token);
        Ok(Self { dir, personality, library_dir, starting: Mutex::new(()) })
    }

    /// A connected socket; starts the HSM where it does not run.
    pub(crate) fn connect(&self) -> Result<Socket, Failure> {
        if let Some(socket) = self.try_connect()? {
            return Ok(socket);
        }
        let _turn = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = self.try_connect()? {
            return Ok(socket);
        }
        let failed = self.start()?;
        match (self.try_connect()?, failed) {
            (Some(socket), _) => Ok(socket),
            (None, Some(why)) => Err(Error::Start(format!("{}: {why}", self.dir.display())).into()),
            // It ended just now because it was idle; the caller tries again.
            (None, None) => Err(unsent("the local HSM ended again at once")),
        }
    }

    /// `None` where no HSM listens.
    fn try_connect(&self) -> Result<Option<Socket>, Failure> {
        for path in socket_paths(&self.dir) {
            match Socket::unix(&path) {
                Ok(socket) => return Ok(Some(socket)),
                Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                    return Err(Error::Trust(format!("local HSM {}: {e}", path.display())).into());
                }
                Err(e)
                    if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
                Err(e) => return Err(unsent(format!("{}: {e}", path.display()))),
            }
        }
        Ok(None)
    }

    /// Starts the HSM and waits until it listens. Gives its reason where it does not.
    fn start(&self) -> Result<Option<String>, Error> {
        let binary = find_binary(self.library_dir.as_deref())?;
        tracing::debug!(dir = %self.dir.display(), binary = %binary.display(), "starting the local HSM");
        let mut command = Command::new(&binary);
        command
            .args(["hsm", "--local", "--dir"])
            .arg(&self.dir)
            .args(["--personality", personality_name(self.personality)])
            .env_clear()
            .envs(VARIABLES.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|e| Error::Start(format!("{}: {e}", binary.display())))?;
        let status = wait(&mut child)?;
        if status.is_none_or(|status| status.success()) {
            return Ok(None);
        }
        let mut said = vec![0; REASON_BYTES_MAX];
        let length = child.stderr.take().map_or(Ok(0), |mut stderr| stderr.read(&mut said));
        let said = String::from_utf8_lossy(&said[..length.unwrap_or(0)]).trim().replace('\n', " ");
        Ok(Some(if said.is_empty() { "`strongroom hsm --local` failed".into() } else { said }))
    }
}

/// Waits for the starter. The host program may reap its children by itself, or ignore SIGCHLD:
/// then its status is not to be had.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>, Error> {
    let deadline = Instant::now() + START_TIMEOUT;
    let mut pause = Duration::from_micros(500);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Some(status)),
            Ok(None) if Instant::now() < deadline => thread::sleep(pause),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::Start(format!("it took longer than {START_TIMEOUT:?}")));
            }
            Err(_) => return Ok(None),
        }
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// `DIR/hsm.sock`, and where that is too long for a socket, the path that the HSM wrote to
/// `DIR/socket`.
fn socket_paths(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let direct = dir.join("hsm.sock");
    let named = fs::read(dir.join("socket")).ok();
    let named = named.map(|name| dir.join(OsStr::from_bytes(name.trim_ascii())));
    [Some(direct), named]
        .into_iter()
        .flatten()
        .filter(|path| path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX)
}

/// The `strongroom` program: `$STRONGROOM_BIN`; beside this library; beside the running program;
/// in `$PATH`; in `/usr/local/bin` or `/usr/bin`.
fn find_binary(library_dir: Option<&Path>) -> Result<PathBuf, Error> {
    // A program with more rights than its caller doesn't run what the caller names.
    let variable = |name| env::var_os(name).filter(|_| !has_more_rights_than_its_caller());
    if let Some(named) = variable("STRONGROOM_BIN").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return if is_program(&named) {
            Ok(named)
        } else {
            Err(Error::Start(format!("STRONGROOM_BIN: {} is not a program", named.display())))
        };
    }
    let beside_program = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let on_path = variable("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let folders = library_dir
        .map(Path::to_owned)
        .into_iter()
        .chain(beside_program)
        .chain(on_path.unwrap_or_default())
        .chain(["/usr/local/bin".into(), "/usr/bin".into()]);
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("strongroom"))
        .find(|program| is_program(program))
        .ok_or_else(|| {
            Error::Start(
                "the program `strongroom` is not found: install it, or set STRONGROOM_BIN, or set \
                 STRONGROOM_CONFIG to use a cluster"
                    .into(),
            )
        })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
