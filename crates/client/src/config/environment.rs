//! Which configuration a process has: the environment variables and the places that are looked in.

use std::{
    ffi::OsString,
    fs,
    io::{ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use strongroom_wire::message::Personality;

use super::{Config, Target, parse};
use crate::Error;

/// Bytes of a configuration file: far more than any real one has.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Others may write: such a file says nothing that can be relied on.
const OTHERS_WRITE: u32 = 0o002;

/// What the environment says, apart from the process so that tests can say something else.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `STRONGROOM_CONFIG`.
    pub config: Option<PathBuf>,
    /// `STRONGROOM_DIR`.
    pub dir: Option<PathBuf>,
    /// `STRONGROOM_PERSONALITY`.
    pub personality: Option<String>,
    /// `STRONGROOM_ZONE`.
    pub zone: Option<String>,
    /// `XDG_CONFIG_HOME`, else `$HOME/.config`.
    pub config_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`, else `$HOME/.local/share`.
    pub data_home: Option<PathBuf>,
    /// The system's configuration: `/etc/strongroom/client.json`.
    pub system: PathBuf,
}

impl Environment {
    /// The process's own. A process that runs with more rights than its caller (set-user-ID) takes
    /// nothing from its caller's environment.
    #[must_use]
    pub fn current() -> Self {
        let system = PathBuf::from("/etc/strongroom/client.json");
        if has_more_rights_than_its_caller() {
            return Self { system, ..Self::default() };
        }
        let home = path_variable("HOME");
        let under_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
        Self {
            config: path_variable("STRONGROOM_CONFIG"),
            dir: path_variable("STRONGROOM_DIR"),
            personality: text_variable("STRONGROOM_PERSONALITY"),
            zone: text_variable("STRONGROOM_ZONE"),
            config_home: path_variable("XDG_CONFIG_HOME").or_else(|| under_home(".config")),
            data_home: path_variable("XDG_DATA_HOME").or_else(|| under_home(".local/share")),
            system,
        }
    }
}

impl Config {
    /// As [`Config::load`], of a given environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from(environment: &Environment) -> Result<Self, Error> {
        let mut config = find(environment)?;
        if let Some(name) = &environment.personality {
            config.personality = Some(parse::personality(name).ok_or_else(|| {
                Error::Config(format!(
                    "STRONGROOM_PERSONALITY is {name:?}; it must be \"cloudhsm\" or \"token\""
                ))
            })?);
        }
        if let Some(zone) = &environment.zone {
            config.zone.clone_from(zone);
        }
        let local_by_default = config.source.is_none() && environment.dir.is_none();
        if local_by_default && config.personality == Some(Personality::CloudHsm) {
            return Err(Error::Config(
                "there is no configuration, and a local HSM of personality cloudhsm is started only \
                 where STRONGROOM_DIR is set: set STRONGROOM_CONFIG to the cluster's client.json, or \
                 STRONGROOM_DIR to a folder"
                    .into(),
            ));
        }
        Ok(config)
    }

    /// The configuration in one file.
    ///
    /// # Errors
    /// [`Error::Config`], naming the file and the key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = read_trusted(path)
            .map_err(|reason| Error::Config(format!("{}: {reason}", path.display())))?;
        Self::parse(&text, path)
    }
}

fn find(environment: &Environment) -> Result<Config, Error> {
    if let Some(path) = &environment.config {
        return Config::read(path);
    }
    if let Some(dir) = &environment.dir {
        let region = dir.join("client.json");
        return if exists(&region)? { Config::read(&region) } else { Ok(Config::local(dir)) };
    }
    let user = environment.config_home.as_ref().map(|home| home.join("strongroom/client.json"));
    for path in user.iter().chain([&environment.system]) {
        if exists(path)? {
            return Config::read(path);
        }
    }
    match &environment.data_home {
        Some(home) => Ok(Config {
            target: Target::Local { dir: home.join("strongroom") },
            ..Config::local(PathBuf::new())
        }),
        None => Err(Error::Config(
            "there is no configuration, and no folder for a local HSM: set STRONGROOM_CONFIG, \
             STRONGROOM_DIR or HOME"
                .into(),
        )),
    }
}

/// Whether a file is there. A file that may not even be looked at counts as a fault, not as absent.
fn exists(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(Error::Config(format!("{}: {e}", path.display()))),
    }
}

/// A file that decides whom to trust: refused where others may write to it.
pub(crate) fn read_trusted(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|e| e.to_string())?;
    let metadata = file.metadata().map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err("anyone may write to this file, so it is not used: chmod o-w it".into());
    }
    let mut text = String::new();
    let read =
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(format!("is longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}

pub(crate) fn has_more_rights_than_its_caller() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid()
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text_variable(name: &str) -> Option<String> {
    variable(name).map(|value| value.to_string_lossy().into_owned())
}

fn path_variable(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}
