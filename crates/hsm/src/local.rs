//! The local HSM of one user: its UNIX socket, and how it is started on demand.
//!
//! Many processes may find no HSM and start one at the same moment. One of them gets the folder's
//! lock and serves; the others wait until its socket listens, and then are as content as if they
//! had started it.

use std::ffi::OsStr;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use strongroom_crypto::Hash;
use strongroom_store::Folder;

use crate::detach::{Log, start_detached};
use crate::folder::{self, LOG_FILE, SOCKET_FILE, SOCKET_POINTER_FILE};
use crate::link::Socket;
use crate::{Config, Error, PassphraseSource, SealKind};

/// A UNIX socket's path has at most 107 bytes (unix(7)). Clients decide by the same number.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The longest pointer file that is read.
const POINTER_BYTES_MAX: u64 = 4096;
/// How long another process that holds the folder may take to listen or to end.
const RACE_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a folder that another process holds.
const RACE_PAUSE: Duration = Duration::from_millis(5);

/// Whether a local HSM listens for the folder now.
fn listens(folder: &Path) -> bool {
    let path = folder.join(SOCKET_FILE);
    let path = if fits(&path) { path } else { pointed_to(folder).unwrap_or(path) };
    UnixStream::connect(path).is_ok()
}

/// Starts a local HSM in a process of its own by running this program again with `arguments`, where
/// none listens yet. Returns when one does.
///
/// # Errors
/// Why there is none.
pub fn start_local(
    config: &Config,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<(), Error> {
    let path = folder::check(&config.folder)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .map_err(|e| Error::folder(&path, e.to_string()))?;
    if listens(&path) {
        return Ok(());
    }
    // Checked just now; from here on nobody else can put anything into it.
    std::fs::set_permissions(&path, Permissions::from_mode(0o700))
        .map_err(|e| Error::folder(&path, e.to_string()))?;
    let inherited = match config.seal {
        SealKind::Passphrase(PassphraseSource::Descriptor(descriptor)) => Some(descriptor),
        _ => None,
    };
    start_detached(arguments, inherited, Log::File(&path.join(LOG_FILE)))?;
    Ok(())
}

/// Takes the folder, or finds that another process serves it by now (`None`).
///
/// # Errors
/// [`Error::Running`] where another process holds the folder for long without listening.
pub(crate) fn take_or_join(path: &Path) -> Result<Option<Folder>, Error> {
    let end = Instant::now() + RACE_PATIENCE;
    loop {
        match folder::open(path) {
            Ok(folder) => return Ok(Some(folder)),
            Err(Error::Running(_)) if listens(path) => return Ok(None),
            Err(Error::Running(_)) if Instant::now() < end => std::thread::sleep(RACE_PAUSE),
            Err(e) => return Err(e),
        }
    }
}

/// The listening socket of a local HSM, removed when dropped.
pub(crate) struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Where the socket of a folder will be, its own folder made where that is another.
    ///
    /// # Errors
    /// Where no safe place can be had.
    pub(crate) fn place(folder: &Path) -> Result<PathBuf, Error> {
        let direct = folder.join(SOCKET_FILE);
        if fits(&direct) {
            return Ok(direct);
        }
        let digest = Hash::Sha256.digest(folder.as_os_str().as_bytes());
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let short = short_folder()?.join(format!("{name}.sock"));
        if fits(&short) {
            return Ok(short);
        }
        Err(Error::folder(
            folder,
            "its path is too long for a socket, and so is the runtime folder's",
        ))
    }

    /// Listens at `path`, as [`LocalSocket::place`] gave it. The caller holds the folder, so that
    /// what is there is of a process that is gone.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub(crate) fn bind(folder: &Path, path: PathBuf) -> Result<Self, Error> {
        let listener = listen(&path)?;
        if path.parent() != Some(folder) {
            let pointer = folder.join(SOCKET_POINTER_FILE);
            strongroom_seal::write_atomically(&pointer, path.as_os_str().as_bytes())?;
        }
        Ok(Self { listener, path })
    }

    /// Listens again at the same place after [`LocalSocket::remove`].
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub(crate) fn bind_again(&mut self) -> Result<(), Error> {
        self.listener = listen(&self.path)?;
        Ok(())
    }

    /// Takes the socket away: nobody can connect any more; who has may still be accepted.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Takes one connection, of this user only.
    ///
    /// # Errors
    /// `PermissionDenied` for another user's process; the system's.
    pub(crate) fn accept(&self) -> io::Result<(Socket, String)> {
        let (stream, _) = self.listener.accept()?;
        let peer = rustix::net::sockopt::socket_peercred(&stream)?;
        if peer.uid != rustix::process::geteuid() {
            // The socket's mode forbids it already; root passes there, and is refused here.
            tracing::warn!("refused a process of user {}", peer.uid.as_raw());
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let name = format!("process {} of user {}", peer.pid.as_raw_nonzero(), peer.uid.as_raw());
        Ok((Socket::Unix(stream), name))
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        self.remove();
    }
}

fn listen(path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Listen { address: path.display().to_string(), source };
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    // The umask of this process already keeps others out between the two calls.
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX
}

fn pointed_to(folder: &Path) -> Option<PathBuf> {
    let mut path = Vec::new();
    let file = std::fs::File::open(folder.join(SOCKET_POINTER_FILE)).ok()?;
    file.take(POINTER_BYTES_MAX).read_to_end(&mut path).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(&path)))
}

/// `$XDG_RUNTIME_DIR/strongroom` or `/tmp/strongroom-UID`, made, and ours alone.
fn short_folder() -> Result<PathBuf, Error> {
    let user = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let path = match runtime.filter(|path| path.is_absolute() && path.is_dir()) {
        Some(runtime) => runtime.join("strongroom"),
        None => PathBuf::from(format!("/tmp/strongroom-{user}")),
    };
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::folder(&path, e.to_string()));
        }
        _ => {}
    }
    // In /tmp anybody may have made it first: a link, or a folder of theirs.
    let metadata = path.symlink_metadata().map_err(|e| Error::folder(&path, e.to_string()))?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        return Err(Error::folder(&path, format!("it is not a folder of user {user} alone")));
    }
    Ok(path)
}
