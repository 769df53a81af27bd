//! The region folder: which files it has, and what `region.json` says.
//!
//! ```text
//! DIR/region.json           which HSMs there are and where
//! DIR/hsms/hsm-…/           each HSM's data
//! DIR/provisioner.crt, .key what administers them (port 2224)
//! DIR/customerCA.crt, .key  the owner's CA
//! DIR/host.crt, .key        where the owner keeps customerCA.key elsewhere: its word for HSMs of this host
//! DIR/client.json           the configuration of clients (STRONGROOM_CONFIG)
//! DIR/dev-credentials       the generated passwords, JSON
//! DIR/first-signature/      the file that `up` signs, with what verifies it
//! DIR/recovery.statement    what the recovery keys sign, where a majority is lost
//! ```

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom_hsm::{DEVICE_CERTIFICATE_FILE, LOG_FILE, ZEROISED_FILE};
use strongroom_seal::write_atomically;
use strongroom_wire::{PORT_ADMINISTRATION, PORT_CLIENTS};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::Error;

/// The module that programs load.
const MODULE: &str = "libstrongroom_pkcs11.so";

/// A region's folder, which may not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    dir: PathBuf,
    is_default: bool,
}

/// `region.json`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Description {
    /// `cluster-…`
    pub(crate) cluster_id: String,
    /// In the order of their making.
    pub(crate) hsms: Vec<HsmDescription>,
}

/// One HSM of `region.json`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct HsmDescription {
    /// `hsm-…`
    pub(crate) hsm_id: String,
    /// Where it listens.
    pub(crate) address: IpAddr,
    /// Added to its ports.
    pub(crate) port_offset: u16,
    /// Availability zone.
    #[serde(default)]
    pub(crate) zone: String,
    /// It joins a cluster at its first start, instead of making one.
    #[serde(default)]
    pub(crate) joins: bool,
    /// It only votes, beside two HSMs: it has no keys and serves no client.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) witness: bool,
    /// It is to be no HSM of the region any more. Written before the first step of that, so that the
    /// next `up` finishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leaving: Option<Leaving>,
}

/// How an HSM leaves.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// Also without its word that its secrets are destroyed.
    pub(crate) force: bool,
    /// `hsm-…` that takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) successor: Option<String>,
}

impl Description {
    /// Those that are to stay.
    pub(crate) fn staying(&self) -> Vec<HsmDescription> {
        self.hsms.iter().filter(|hsm| hsm.leaving.is_none()).cloned().collect()
    }

    /// Those of them that have the keys.
    pub(crate) fn serving(&self) -> Vec<HsmDescription> {
        self.staying().into_iter().filter(|hsm| !hsm.witness).collect()
    }
}

impl HsmDescription {
    /// Port 2223.
    pub(crate) fn clients(&self) -> SocketAddr {
        SocketAddr::new(self.address, PORT_CLIENTS.saturating_add(self.port_offset))
    }

    /// Port 2224.
    pub(crate) fn administration(&self) -> SocketAddr {
        SocketAddr::new(self.address, PORT_ADMINISTRATION.saturating_add(self.port_offset))
    }
}

/// `dev-credentials`: passwords that `up` made at random.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Credentials {
    /// The first admin.
    pub(crate) admin: Login,
    /// Who owns the keys.
    pub(crate) crypto_user: Login,
    /// The crypto user's, as PKCS#11 wants it: `user:password`.
    pub(crate) pin: String,
}

/// A user and a password.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Login {
    /// Name.
    pub(crate) user: String,
    /// Password.
    pub(crate) password: String,
}

impl Default for Region {
    /// `$STRONGROOM_DIR`; else, for a program within cargo's target folder, `region` there; else the
    /// user's data folder.
    fn default() -> Self {
        let dir = non_empty("STRONGROOM_DIR").or_else(target_folder).unwrap_or_else(|| {
            let data = non_empty("XDG_DATA_HOME")
                .or_else(|| Some(non_empty("HOME")?.join(".local/share")));
            data.unwrap_or_default().join("strongroom/region")
        });
        Self { is_default: true, ..Self::at(&dir) }
    }
}

impl Region {
    /// The region in a folder.
    pub(crate) fn at(dir: &Path) -> Self {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Self { dir, is_default: false }
    }

    /// Absolute.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What to add to a command line so that it means this region: nothing, or ` --dir DIR`.
    pub(crate) fn option(&self) -> String {
        if self.is_default {
            String::new()
        } else {
            format!(" --dir {}", crate::env::quoted(&self.dir.display().to_string()))
        }
    }

    pub(crate) fn hsm_folder(&self, hsm: &HsmDescription) -> PathBuf {
        self.dir.join("hsms").join(&hsm.hsm_id)
    }

    pub(crate) fn hsm_log(&self, hsm: &HsmDescription) -> PathBuf {
        self.hsm_folder(hsm).join(LOG_FILE)
    }

    pub(crate) fn device_certificate(&self, hsm: &HsmDescription) -> PathBuf {
        self.hsm_folder(hsm).join(DEVICE_CERTIFICATE_FILE)
    }

    pub(crate) fn pid_file(&self, hsm: &HsmDescription) -> PathBuf {
        self.hsm_folder(hsm).join("pid")
    }

    pub(crate) fn provisioner(&self) -> KeyFiles {
        KeyFiles::new(&self.dir, "provisioner")
    }

    pub(crate) fn customer_ca(&self) -> KeyFiles {
        KeyFiles::new(&self.dir, "customerCA")
    }

    /// This host's key, and the certificates by which the owner has enrolled it: of the join key, then
    /// of the host's under it.
    pub(crate) fn host(&self) -> KeyFiles {
        KeyFiles::new(&self.dir, "host")
    }

    /// What an HSM leaves that has destroyed its secrets.
    pub(crate) fn zeroised_record(&self, hsm: &HsmDescription) -> PathBuf {
        self.hsm_folder(hsm).join(ZEROISED_FILE)
    }

    pub(crate) fn client_config(&self) -> PathBuf {
        self.dir.join("client.json")
    }

    pub(crate) fn first_signature(&self) -> PathBuf {
        self.dir.join("first-signature")
    }

    pub(crate) fn recovery_statement(&self) -> PathBuf {
        self.dir.join("recovery.statement")
    }

    fn credentials_file(&self) -> PathBuf {
        self.dir.join("dev-credentials")
    }

    fn description_file(&self) -> PathBuf {
        self.dir.join("region.json")
    }

    /// `region.json`, `None` where there is no region yet.
    ///
    /// # Errors
    /// Where it is there and does not read.
    pub(crate) fn find(&self) -> Result<Option<Description>, Error> {
        read_json(&self.description_file())
    }

    /// `region.json`.
    ///
    /// # Errors
    /// [`Error::NoRegion`], or where it does not read.
    pub(crate) fn description(&self) -> Result<Description, Error> {
        self.find()?.ok_or_else(|| Error::NoRegion(self.dir.clone()))
    }

    /// Writes `region.json`.
    ///
    /// # Errors
    /// Where that fails.
    pub(crate) fn describe(&self, description: &Description) -> Result<(), Error> {
        write_json(&self.description_file(), description)
    }

    /// `dev-credentials`, `None` where there are none yet.
    ///
    /// # Errors
    /// Where they are there and do not read.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, Error> {
        read_json(&self.credentials_file())
    }

    pub(crate) fn keep_credentials(&self, credentials: &Credentials) -> Result<(), Error> {
        write_json(&self.credentials_file(), credentials)
    }
}

/// A certificate and its key, PEM.
pub(crate) struct KeyFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl KeyFiles {
    fn new(dir: &Path, name: &str) -> Self {
        Self { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) }
    }
}

/// The PKCS#11 module: beside this program as built, or where a package puts it.
///
/// # Errors
/// Where it is not there.
pub(crate) fn module() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
    let beside = program.parent().unwrap_or(Path::new("/"));
    let places = [
        beside.join(MODULE),
        beside.join("../client/release").join(MODULE),
        beside.join("../lib/strongroom").join(MODULE),
    ];
    let found = places.iter().find_map(|place| place.canonicalize().ok());
    found.ok_or_else(|| {
        let looked = places.map(|place| place.display().to_string()).join(", ");
        Error::Usage(format!("{MODULE} is not there ({looked}); `cargo xtask build` makes it"))
    })
}

/// `target/region` for a program that cargo built.
fn target_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let target = program.parent()?.parent()?;
    // Cargo marks its target folder so.
    target.join("CACHEDIR.TAG").exists().then(|| target.join("region"))
}

fn non_empty(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, Error> {
    match std::fs::read(path) {
        Ok(mut bytes) => {
            let parsed = serde_json::from_slice(&bytes).map_err(Error::file(path));
            bytes.zeroize();
            Ok(Some(parsed?))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file(path)(e)),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(Error::file(path))?;
    bytes.push(b'\n');
    let written = write_atomically(path, &bytes);
    bytes.zeroize();
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let region = Region::at(dir.path());
        assert_eq!(region.find().unwrap(), None);
        assert!(matches!(region.description(), Err(Error::NoRegion(_))));
        let description = Description {
            cluster_id: "cluster-abcdefghijk".to_owned(),
            hsms: vec![HsmDescription {
                hsm_id: "hsm-abcdefghijk".to_owned(),
                address: IpAddr::from([127, 0, 1, 10]),
                port_offset: 7,
                zone: "strongroom-1a".to_owned(),
                joins: true,
                witness: true,
                leaving: Some(Leaving { force: true, successor: None }),
            }],
        };
        region.describe(&description).unwrap();
        assert_eq!(region.description().unwrap(), description);
        assert_eq!(description.hsms[0].administration().port(), 2231);
    }

    #[test]
    fn a_region_of_one_hsm_from_an_older_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"cluster_id": "cluster-abcdefghijk",
            "hsms": [{"hsm_id": "hsm-abcdefghijk", "address": "127.0.1.10", "port_offset": 0}]}"#;
        std::fs::write(dir.path().join("region.json"), text).unwrap();
        let description = Region::at(dir.path()).description().unwrap();
        assert!(!description.hsms[0].joins && description.hsms[0].leaving.is_none());
    }

    #[test]
    fn a_damaged_description_is_an_error_not_a_new_region() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("region.json"), "{").unwrap();
        assert!(matches!(Region::at(dir.path()).find(), Err(Error::File { .. })));
    }

    #[test]
    fn credentials_are_for_their_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let login = || Login { user: "u".to_owned(), password: "p".to_owned() };
        let credentials =
            Credentials { admin: login(), crypto_user: login(), pin: "u:p".to_owned() };
        let region = Region::at(dir.path());
        region.keep_credentials(&credentials).unwrap();
        let mode = std::fs::metadata(region.credentials_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(region.credentials().unwrap().unwrap().pin, "u:p");
    }
}
