//! The data folder of one HSM: that it is this user's alone, and the names of what lies in it.
//!
//! What is in the folder is sealed, but a file that others can write is a file that others can
//! swap. So a folder that others could have changed is refused; one that they could only read is
//! closed to them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use strongroom_store::Folder;

use crate::Error;

/// The device's self-signed certificate, PEM, in the data folder: what port 2224 shows.
pub const DEVICE_CERTIFICATE_FILE: &str = "device.crt";
/// The log of a detached HSM, in the data folder.
pub const LOG_FILE: &str = "hsm.log";
/// The UNIX socket of a local HSM, in the data folder.
pub const SOCKET_FILE: &str = "hsm.sock";
/// Where the folder's own path is too long for a socket: a file with the socket's path.
pub const SOCKET_POINTER_FILE: &str = "socket";
/// The key of seal `file`.
pub(crate) const SEAL_KEY_FILE: &str = "seal.key";

/// Characters after `hsm-` and `cluster-`: AWS's pattern is `[2-7a-zA-Z]{11,16}`.
const ID_CHARS: usize = 11;

/// Makes the folder where it is missing, checks that it is ours alone, and takes it.
///
/// # Errors
/// [`Error::Running`] where another process holds it; [`Error::Folder`] where it is not ours alone.
pub(crate) fn open(path: &Path) -> Result<Folder, Error> {
    let path = check(path)?;
    Folder::open(&path).map_err(|e| match e {
        strongroom_store::Error::InUse(path) => Error::Running(path),
        other => other.into(),
    })
}

/// Checks a folder that may not exist yet. Gives its absolute path.
///
/// # Errors
/// [`Error::Folder`] where it is another user's, or others could have written into it.
pub(crate) fn check(path: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(path).map_err(Error::io(path.display().to_string()))?;
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(path),
        Err(e) => return Err(Error::folder(&path, e.to_string())),
    };
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(Error::folder(
            &path,
            format!("belongs to user {}, not {user}", metadata.uid()),
        ));
    }
    let empty = path.read_dir().map_err(|e| Error::folder(&path, e.to_string()))?.next().is_none();
    if metadata.mode() & 0o022 != 0 && !empty {
        return Err(Error::folder(
            &path,
            format!(
                "others can write to it (mode {:04o}), so what is in it cannot be trusted",
                metadata.mode() & 0o7777
            ),
        ));
    }
    Ok(path)
}

/// A new random `hsm-…`.
///
/// # Errors
/// Where the system gives no random bytes.
pub fn new_hsm_id() -> Result<String, Error> {
    new_id("hsm-")
}

/// A new random id.
pub(crate) fn new_id(prefix: &str) -> Result<String, Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = [0; ID_CHARS];
    strongroom_crypto::random(&mut random)?;
    let id = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    Ok(prefix.chars().chain(id).collect())
}

/// The id that was given, or a new one.
///
/// # Errors
/// [`Error::Configuration`] where the given one is none.
pub(crate) fn id_or_new(given: Option<&str>, prefix: &str) -> Result<String, Error> {
    match given {
        Some(id) if is_id(id, prefix) => Ok(id.to_owned()),
        Some(id) => Err(Error::Configuration(format!(
            "{id} is no id: {prefix} and then 11 to 16 of a-z, A-Z, 2-7"
        ))),
        None => new_id(prefix),
    }
}

/// Whether it is an id of an HSM.
pub(crate) fn is_hsm_id(id: &str) -> bool {
    is_id(id, "hsm-")
}

/// Whether it is an id of a cluster.
pub(crate) fn is_cluster_id(id: &str) -> bool {
    is_id(id, "cluster-")
}

fn is_id(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| {
        (11..=16).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphabetic() || (b'2'..=b'7').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_could_have_written_into_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let set = |mode| std::fs::set_permissions(root.path(), Permissions::from_mode(mode));
        set(0o777).unwrap();
        // Nothing is in it yet: it is closed and used.
        drop(open(root.path()).unwrap());
        assert_eq!(root.path().metadata().unwrap().mode() & 0o777, 0o700);
        set(0o770).unwrap();
        let error = open(root.path()).unwrap_err();
        assert!(error.to_string().contains("others can write"), "{error}");
    }

    #[test]
    fn a_folder_serves_one_process_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let held = open(&root.path().join("hsm")).unwrap();
        assert!(matches!(open(&root.path().join("hsm")), Err(Error::Running(_))));
        drop(held);
    }

    #[test]
    fn ids_follow_the_pattern_of_the_service() {
        let id = new_hsm_id().unwrap();
        assert!(is_id(&id, "hsm-"), "{id}");
        for wrong in
            ["hsm-", "hsm-abc", "hsm-abcdefghij1", "cluster-abcdefghijk", "hsm-../../etc/pa"]
        {
            assert!(id_or_new(Some(wrong), "hsm-").is_err(), "{wrong}");
        }
    }
}
