//! Editing `client.json`, as the `configure-…` tools do: keys that are not touched stay as they are.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use strongroom_wire::message::Personality;

use super::{Config, LogLevel, LogRotation, RetryMode, Server, environment::read_trusted};
use crate::Error;

/// A configuration file that is being edited. It may be incomplete until it is used: [`Config`]
/// does the checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    path: PathBuf,
    root: Value,
}

/// An option of a cluster that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `disable_key_availability_check`.
    DisableKeyAvailabilityCheck,
    /// `validate_key_at_init`.
    ValidateKeyAtInit,
}

impl Document {
    /// The file's content, or an empty document where there is no file yet.
    ///
    /// # Errors
    /// [`Error::Config`] where the file is there and is no JSON object.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let fault = |what: String| Error::Config(format!("{}: {what}", path.display()));
        let root = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => json!({}),
            Err(e) => return Err(fault(e.to_string())),
            Ok(_) => {
                let text = read_trusted(&path).map_err(fault)?;
                let value: Value =
                    serde_json::from_str(&text).map_err(|e| fault(format!("not JSON: {e}")))?;
                if !value.is_object() {
                    return Err(fault("must be an object {…}".into()));
                }
                value
            }
        };
        Ok(Self { path, root })
    }

    /// An empty document that will be saved at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), root: json!({}) }
    }

    /// Where it will be saved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The HSMs named, enabled or not.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        let list = self.root.pointer("/clusters/0/cluster/servers").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|server| {
                let port = server.get("port").and_then(Value::as_u64);
                let port = port.and_then(|port| u16::try_from(port).ok());
                Some(Server::new(
                    server.get("hostname")?.as_str()?,
                    port.unwrap_or(strongroom_wire::PORT_CLIENTS),
                ))
            })
            .collect()
    }

    /// Names these HSMs and no others (`-a`).
    pub fn set_servers(&mut self, servers: &[Server]) {
        let list: Vec<Value> = servers.iter().map(server_value).collect();
        self.cluster().insert("servers".into(), list.into());
    }

    /// Adds an HSM; one that is named already is enabled.
    pub fn add_server(&mut self, server: &Server) {
        self.remove_server(server);
        let servers = self.cluster().entry("servers").or_insert_with(|| json!([]));
        match servers.as_array_mut() {
            Some(list) => list.push(server_value(server)),
            None => *servers = json!([server_value(server)]),
        }
    }

    /// Removes an HSM. Returns whether it was named.
    pub fn remove_server(&mut self, server: &Server) -> bool {
        let default = u64::from(strongroom_wire::PORT_CLIENTS);
        let same = |value: &Value| {
            value.get("hostname").and_then(Value::as_str) == Some(&server.hostname)
                && value.get("port").map_or(Some(default), Value::as_u64)
                    == Some(u64::from(server.port))
        };
        match self.cluster().get_mut("servers").and_then(Value::as_array_mut) {
            Some(list) => {
                let before = list.len();
                list.retain(|value| !same(value));
                list.len() < before
            }
            None => false,
        }
    }

    /// The customer's CA (`--hsm-ca-cert`).
    pub fn set_hsm_ca_file(&mut self, path: &Path) {
        self.cluster().insert("hsm_ca_file".into(), path.to_string_lossy().into());
    }

    /// Switches an option on or off.
    pub fn set_option(&mut self, option: Switch, on: bool) {
        let key = match option {
            Switch::DisableKeyAvailabilityCheck => "disable_key_availability_check",
            Switch::ValidateKeyAtInit => "validate_key_at_init",
        };
        object(self.cluster().entry("options")).insert(key.into(), on.into());
    }

    /// What happens to a request whose connection failed (`--default-retry-mode`).
    pub fn set_retry_mode(&mut self, mode: RetryMode) {
        let name = match mode {
            RetryMode::Off => "off",
            RetryMode::Standard => "standard",
        };
        object(self.cluster().entry("options")).insert("default_retry_mode".into(), name.into());
    }

    /// Messages go to the terminal (`--log-type term`) or to the log file (`--log-type file`).
    pub fn set_log_terminal(&mut self, terminal: bool) {
        let kind = if terminal { "term" } else { "file" };
        self.logging().insert("log_type".into(), kind.into());
    }

    /// The log file (`--log-file`).
    pub fn set_log_file(&mut self, path: &Path) {
        self.logging().insert("log_file".into(), path.to_string_lossy().into());
    }

    /// The least serious message that is written (`--log-level`).
    pub fn set_log_level(&mut self, level: LogLevel) {
        let name = match level {
            LogLevel::Off => "off",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        };
        self.logging().insert("log_level".into(), name.into());
    }

    /// When a new log file is begun (`--log-rotation`).
    pub fn set_log_rotation(&mut self, rotation: LogRotation) {
        let name = match rotation {
            LogRotation::Never => "never",
            LogRotation::Hourly => "hourly",
            LogRotation::Daily => "daily",
            LogRotation::Weekly => "weekly",
        };
        self.logging().insert("log_interval".into(), name.into());
    }

    /// Pins the cluster's key: SHA-256 of its SubjectPublicKeyInfo. Several while the cluster gets a new
    /// one, the newest last; none takes the pin away.
    pub fn set_cluster_keys(&mut self, pins: &[[u8; 32]]) {
        let pins: Vec<Value> = pins.iter().map(|pin| hex(pin).into()).collect();
        let pins = match <[Value; 1]>::try_from(pins) {
            Ok([only]) => Some(only),
            Err(pins) => (!pins.is_empty()).then_some(Value::Array(pins)),
        };
        self.set_root("cluster_key", pins);
    }

    /// The id that the cluster's certificate must carry. `None` allows any.
    pub fn set_cluster_id(&mut self, id: Option<&str>) {
        self.set_root("cluster_id", id.map(Into::into));
    }

    /// The personality that the HSM must have. `None` takes the HSM's own.
    pub fn set_personality(&mut self, personality: Option<Personality>) {
        self.set_root(
            "personality",
            personality.map(|personality| personality_name(personality).into()),
        );
    }

    /// The configuration that this document describes.
    ///
    /// # Errors
    /// [`Error::Config`], as [`Config::read`] of the saved file would give.
    pub fn config(&self) -> Result<Config, Error> {
        Config::parse(&self.to_json(), &self.path)
    }

    /// The text that [`Document::save`] writes.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.root)
    }

    /// Writes the file at once as a whole (a reader sees the old or the new one), mode 0644, and
    /// makes its folder.
    ///
    /// # Errors
    /// [`Error::Config`] where the file system refuses.
    pub fn save(&self) -> Result<(), Error> {
        let write = || -> std::io::Result<()> {
            let folder = match self.path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            fs::create_dir_all(folder)?;
            let mut temporary = self.path.clone().into_os_string();
            temporary.push(format!(".{}.new", std::process::id()));
            let _ = fs::remove_file(&temporary);
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
            file.write_all(self.to_json().as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path).inspect_err(|_| {
                let _ = fs::remove_file(&temporary);
            })
        };
        write().map_err(|e| Error::Config(format!("{}: {e}", self.path.display())))
    }

    /// The first cluster, made where there is none; a local HSM is no longer the target then.
    fn cluster(&mut self) -> &mut Map<String, Value> {
        let root = root(&mut self.root);
        root.remove("local");
        let clusters = root.entry("clusters").or_insert_with(|| json!([]));
        if !clusters.is_array() {
            *clusters = json!([]);
        }
        let list = clusters.as_array_mut().expect("was made an array above");
        if !list.first().is_some_and(Value::is_object) {
            list.truncate(0);
            list.push(json!({"type": "hsm1"}));
        }
        let first = list[0].as_object_mut().expect("was made an object above");
        object(first.entry("cluster"))
    }

    fn logging(&mut self) -> &mut Map<String, Value> {
        object(root(&mut self.root).entry("logging"))
    }

    fn set_root(&mut self, key: &str, value: Option<Value>) {
        let root = root(&mut self.root);
        match value {
            Some(value) => drop(root.insert(key.into(), value)),
            None => drop(root.remove(key)),
        }
    }
}

/// The name of a personality in files and on command lines.
pub(crate) fn personality_name(personality: Personality) -> &'static str {
    match personality {
        Personality::CloudHsm => "cloudhsm",
        Personality::Token => "token",
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 hexadecimal digits, with or without colons between bytes.
pub(crate) fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |n, d| n << 4 | d)).collect();
    (digits.len() == 64).then_some(bytes)?.try_into().ok()
}

fn root(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("was made an object above")
}

fn object(entry: serde_json::map::Entry<'_>) -> &mut Map<String, Value> {
    root(entry.or_insert_with(|| json!({})))
}

fn server_value(server: &Server) -> Value {
    json!({"hostname": server.hostname, "port": server.port, "enable": true})
}
