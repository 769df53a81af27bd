//! From JSON to a checked [`Config`]; errors name the file and the key.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use strongroom_wire::{PORT_CLIENTS, message::Personality};

use super::{
    ANSWER_TIMEOUT_DEFAULT, Cluster, Config, HsmOptions, LogLevel, LogRotation, Logging,
    PATIENCE_DEFAULT, RetryMode, Server, Target,
};
use crate::{Error, fleet::PONG};

/// Servers of one cluster (AWS: 28 HSMs), with room for addresses that moved.
const SERVERS_MAX: usize = 64;
/// Keys of a cluster that are good at a time: the one before, and the one to come.
const CLUSTER_KEYS_MAX: usize = 8;
/// Patience and answer time, in milliseconds: an hour.
const WAIT_MS_MAX: u64 = 3_600_000;

impl Config {
    /// The configuration in `text`, which came from `path`. Relative file names in it count from
    /// the folder of `path`.
    ///
    /// # Errors
    /// [`Error::Config`], naming the file and the key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| Error::Config(format!("{}: not JSON: {e}", path.display())))?;
        let root = Node { file: path, key: String::new(), value: &value };
        root.object()?;
        let personality = match root.get("personality") {
            None => None,
            Some(node) => Some(
                personality(node.string()?)
                    .ok_or_else(|| node.error("must be \"cloudhsm\" or \"token\""))?,
            ),
        };
        let (target, options) = target(&root)?;
        Ok(Self {
            source: Some(path.to_owned()),
            target,
            personality,
            options,
            logging: logging(&root)?,
            zone: match root.get("zone") {
                None => String::new(),
                Some(zone) => zone.string()?.to_owned(),
            },
            patience: milliseconds(&root, "patience_ms", PATIENCE_DEFAULT)?,
            answer_timeout: milliseconds(&root, "answer_timeout_ms", ANSWER_TIMEOUT_DEFAULT)?,
            ping_timeout: milliseconds(&root, "ping_timeout_ms", PONG)?,
        })
    }
}

pub(super) fn personality(name: &str) -> Option<Personality> {
    match name {
        "cloudhsm" => Some(Personality::CloudHsm),
        "token" => Some(Personality::Token),
        _ => None,
    }
}

fn target(root: &Node) -> Result<(Target, HsmOptions), Error> {
    match (root.get("clusters"), root.get("local")) {
        (Some(_), Some(local)) => Err(local.error("cannot stand beside \"clusters\"")),
        (Some(clusters), None) => {
            let list = clusters.array()?;
            let [only] = list.as_slice() else {
                return Err(clusters.error(&format!(
                    "has {} entries; this version uses exactly one cluster",
                    list.len()
                )));
            };
            let cluster = only.required("cluster")?;
            let options = options(&cluster)?;
            Ok((Target::Cluster(one_cluster(root, &cluster)?), options))
        }
        (None, Some(local)) => {
            for key in local.object()?.keys() {
                if key != "dir" {
                    return Err(local.child(key, &Value::Null).error("is not a known key"));
                }
            }
            Ok((Target::Local { dir: local.required("dir")?.path()? }, HsmOptions::default()))
        }
        (None, None) => Err(Error::Config(format!(
            "{}: has neither \"clusters\" nor \"local\": run `configure-pkcs11 -a <HSM address>`, \
             or name a local HSM's folder",
            root.file.display()
        ))),
    }
}

fn one_cluster(root: &Node, cluster: &Node) -> Result<Cluster, Error> {
    let list = cluster.required("servers")?;
    let nodes = list.array()?;
    if nodes.len() > SERVERS_MAX {
        return Err(list.error(&format!("has more than {SERVERS_MAX} entries")));
    }
    let mut servers = Vec::new();
    for node in &nodes {
        let hostname = node.required("hostname")?;
        let name = hostname.string()?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(hostname.error("must be an IP address or a name"));
        }
        let port = match node.get("port") {
            None => PORT_CLIENTS,
            Some(port) => port.port()?,
        };
        if node.get("enable").map_or(Ok(true), |enable| enable.boolean())? {
            servers.push(Server::new(name, port));
        }
    }
    if servers.is_empty() {
        return Err(
            list.error("names no enabled HSM: add one with `configure-pkcs11 -a <HSM address>`")
        );
    }
    Ok(Cluster {
        hsm_ca_file: cluster.required("hsm_ca_file")?.path()?,
        servers,
        cluster_keys: match root.get("cluster_key") {
            None => Vec::new(),
            Some(keys) => keys.sha256_or_list()?,
        },
        cluster_id: match root.get("cluster_id") {
            None => None,
            Some(id) => Some(id.string()?.to_owned()),
        },
    })
}

fn options(cluster: &Node) -> Result<HsmOptions, Error> {
    let mut options = HsmOptions::default();
    let Some(node) = cluster.get("options") else { return Ok(options) };
    node.object()?;
    if let Some(value) = node.get("disable_key_availability_check") {
        options.disable_key_availability_check = value.boolean()?;
    }
    if let Some(value) = node.get("validate_key_at_init") {
        options.validate_key_at_init = value.boolean()?;
    }
    if let Some(value) = node.get("default_retry_mode") {
        options.retry =
            value.one_of(&[("off", RetryMode::Off), ("standard", RetryMode::Standard)])?;
    }
    Ok(options)
}

fn logging(root: &Node) -> Result<Logging, Error> {
    let mut logging = Logging::default();
    let Some(node) = root.get("logging") else { return Ok(logging) };
    node.object()?;
    if let Some(value) = node.get("log_level") {
        logging.level = value.one_of(&[
            ("off", LogLevel::Off),
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ])?;
    }
    if let Some(value) = node.get("log_interval") {
        logging.rotation = value.one_of(&[
            ("never", LogRotation::Never),
            ("hourly", LogRotation::Hourly),
            ("daily", LogRotation::Daily),
            ("weekly", LogRotation::Weekly),
        ])?;
    }
    if let Some(value) = node.get("log_type") {
        logging.terminal = value.one_of(&[("term", true), ("file", false)])?;
    }
    if !logging.terminal
        && let Some(value) = node.get("log_file")
    {
        logging.file = Some(value.path()?);
    }
    Ok(logging)
}

fn milliseconds(root: &Node, key: &str, default: Duration) -> Result<Duration, Error> {
    let Some(node) = root.get(key) else { return Ok(default) };
    match node.value.as_u64() {
        Some(ms @ 1..=WAIT_MS_MAX) => Ok(Duration::from_millis(ms)),
        _ => Err(node.error(&format!("must be a number of milliseconds from 1 to {WAIT_MS_MAX}"))),
    }
}

/// One value of the file with the way to it.
struct Node<'a> {
    file: &'a Path,
    key: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    fn child(&self, key: &str, value: &'a Value) -> Node<'a> {
        let key = if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) };
        Node { file: self.file, key, value }
    }

    /// A key's value; null counts as absent.
    fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(self.child(key, value))
    }

    fn required(&self, key: &str) -> Result<Node<'a>, Error> {
        self.object()?;
        self.get(key).ok_or_else(|| self.child(key, &Value::Null).error("is missing"))
    }

    fn error(&self, what: &str) -> Error {
        let key = if self.key.is_empty() { "the file" } else { &self.key };
        Error::Config(format!("{}: {key}: {what}", self.file.display()))
    }

    fn object(&self) -> Result<&'a serde_json::Map<String, Value>, Error> {
        self.value.as_object().ok_or_else(|| self.error("must be an object {…}"))
    }

    fn array(&self) -> Result<Vec<Node<'a>>, Error> {
        let items = self.value.as_array().ok_or_else(|| self.error("must be a list […]"))?;
        let node = |(i, value)| Node { file: self.file, key: format!("{}[{i}]", self.key), value };
        Ok(items.iter().enumerate().map(node).collect())
    }

    fn string(&self) -> Result<&'a str, Error> {
        self.value.as_str().ok_or_else(|| self.error("must be a text"))
    }

    fn boolean(&self) -> Result<bool, Error> {
        self.value.as_bool().ok_or_else(|| self.error("must be true or false"))
    }

    fn port(&self) -> Result<u16, Error> {
        self.value
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
            .ok_or_else(|| self.error("must be a port number from 1 to 65535"))
    }

    fn path(&self) -> Result<PathBuf, Error> {
        let name = self.string()?;
        if name.is_empty() {
            return Err(self.error("must not be empty"));
        }
        Ok(self.file.parent().unwrap_or(Path::new("")).join(name))
    }

    fn one_of<T: Copy>(&self, names: &[(&str, T)]) -> Result<T, Error> {
        let given = self.string()?;
        names
            .iter()
            .find(|(name, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                self.error(&format!("must be one of: {}", names.join(", ")))
            })
    }

    fn sha256_or_list(&self) -> Result<Vec<[u8; 32]>, Error> {
        if !self.value.is_array() {
            return Ok(vec![self.sha256()?]);
        }
        let keys = self.array()?;
        if keys.is_empty() || keys.len() > CLUSTER_KEYS_MAX {
            return Err(self.error(&format!("must have 1 to {CLUSTER_KEYS_MAX} entries")));
        }
        keys.iter().map(Node::sha256).collect()
    }

    fn sha256(&self) -> Result<[u8; 32], Error> {
        let wrong = || self.error("must be a SHA-256 in hexadecimal, 64 digits");
        super::document::parse_hex(self.string()?).ok_or_else(wrong)
    }
}
