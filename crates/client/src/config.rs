//! Where the HSMs are and how to behave towards them: `client.json`.
//!
//! In: the environment and one JSON file in the shape of CloudHSM's `.cfg` files, with keys of our
//! own beside AWS's. Out: a checked [`Config`], or an error that names the file and the key. A
//! configuration that exists and cannot be used is an error, never a silent local HSM.
//!
//! ```json
//! {
//!   "clusters": [{
//!     "type": "hsm1",
//!     "cluster": {
//!       "hsm_ca_file": "/etc/strongroom/customerCA.crt",
//!       "servers": [{"hostname": "10.0.1.10", "port": 2223, "enable": true}],
//!       "options": {"disable_key_availability_check": true, "default_retry_mode": "standard"}
//!     }
//!   }],
//!   "logging": {"log_type": "file", "log_file": "…", "log_level": "info", "log_interval": "daily"},
//!   "personality": "cloudhsm",
//!   "cluster_key": "hex SHA-256 of the cluster key's SubjectPublicKeyInfo",
//!   "cluster_id": "cluster-…",
//!   "zone": "eu-central-1a",
//!   "patience_ms": 10000,
//!   "answer_timeout_ms": 60000,
//!   "ping_timeout_ms": 40
//! }
//! ```
//! or `{"local": {"dir": "/home/me/.local/share/strongroom"}, "personality": "token"}`.

mod document;
mod environment;
mod parse;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use strongroom_wire::message::Personality;

pub use document::{Document, Switch};
pub(crate) use document::{hex, personality_name};
pub use environment::Environment;
pub(crate) use environment::{has_more_rights_than_its_caller, read_trusted};

use crate::{Error, fleet::PONG};

/// How long a request goes on after its connection failed, where the file doesn't say.
pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(10);
/// How long an answer may take, where the file doesn't say. An HSM with two cores under load may
/// need many seconds for an RSA-4096 key.
pub const ANSWER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The file that it was read from; `None` where there is none.
    pub source: Option<PathBuf>,
    /// What to connect to.
    pub target: Target,
    /// The personality that the HSM must have; `None` takes the HSM's own.
    pub personality: Option<Personality>,
    /// CloudHSM's options.
    pub options: HsmOptions,
    /// Where messages for people go.
    pub logging: Logging,
    /// The availability zone that this machine is in: its HSMs are used first. Empty for none.
    pub zone: String,
    /// How long a request goes on after its connection failed, before it fails.
    pub patience: Duration,
    /// How long an answer may take before its connection counts as failed.
    pub answer_timeout: Duration,
    /// How long an HSM of several may leave a ping without an answer before it counts as dead. More
    /// than the way there and back.
    pub ping_timeout: Duration,
}

/// What to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// HSMs of one cluster, over TLS.
    Cluster(Cluster),
    /// A private HSM of this user, started on demand, over a UNIX socket.
    Local {
        /// Its data folder.
        dir: PathBuf,
    },
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cluster {
    /// The customer's self-signed CA, PEM: `customerCA.crt`.
    pub hsm_ca_file: PathBuf,
    /// Its HSMs that are enabled; at least one.
    pub servers: Vec<Server>,
    /// SHA-256 of the cluster key's SubjectPublicKeyInfo, where the client is pinned to it. Where the
    /// cluster gets a new key there are several for a while, the newest last: an HSM with any of them
    /// is taken, until one has shown a newer key; older ones are refused from then on. A client follows
    /// [`Config::source`]: pins that are written there hold for its next connection.
    pub cluster_keys: Vec<[u8; 32]>,
    /// The id that the cluster's certificate must carry, where it is known.
    pub cluster_id: Option<String>,
}

/// One HSM's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// IP address or name.
    pub hostname: String,
    /// TCP port.
    pub port: u16,
}

/// CloudHSM's options of a cluster, with AWS's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HsmOptions {
    /// Whether a token key may be used before it is on two HSMs. A Strongroom key is on a majority
    /// of the cluster before its creation is acknowledged, so this changes nothing here.
    pub disable_key_availability_check: bool,
    /// Whether C_…Init asks the HSM if the key can be used (AWS's default), or the first data call.
    pub validate_key_at_init: bool,
    /// Whether a request whose connection failed is sent again.
    pub retry: RetryMode,
}

/// What happens to a request whose connection failed after it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryMode {
    /// It fails.
    Off,
    /// It is sent again until the patience is over; a change is still done only once.
    #[default]
    Standard,
}

/// Where messages for people go: AWS's `logging`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logging {
    /// The file; `None` is the terminal (standard error), where `terminal` says so, else nowhere.
    pub file: Option<PathBuf>,
    /// Whether messages go to standard error.
    pub terminal: bool,
    /// The least serious that is written.
    pub level: LogLevel,
    /// When a new file is begun.
    pub rotation: LogRotation,
}

/// How serious a message is: AWS's `log_level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// When a new log file is begun: AWS's `log_interval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogRotation {
    Never,
    Hourly,
    #[default]
    Daily,
    Weekly,
}

impl Config {
    /// The configuration of this process: `$STRONGROOM_CONFIG`; else `$STRONGROOM_DIR`, a region's
    /// folder with a `client.json` or a local HSM's; else `$XDG_CONFIG_HOME/strongroom/client.json`;
    /// else `/etc/strongroom/client.json`; else a local HSM in `$XDG_DATA_HOME/strongroom`.
    ///
    /// # Errors
    /// [`Error::Config`] where a file exists that cannot be used, or that anyone may write to.
    pub fn load() -> Result<Self, Error> {
        Self::load_from(&Environment::current())
    }

    /// A local HSM in `dir`, with everything else as it is without a configuration.
    #[must_use]
    pub fn local(dir: impl Into<PathBuf>) -> Self {
        Self::with_target(Target::Local { dir: dir.into() })
    }

    /// A cluster's HSMs, with everything else as it is without a configuration.
    #[must_use]
    pub fn cluster(hsm_ca_file: impl Into<PathBuf>, servers: Vec<Server>) -> Self {
        Self::with_target(Target::Cluster(Cluster {
            hsm_ca_file: hsm_ca_file.into(),
            servers,
            cluster_keys: Vec::new(),
            cluster_id: None,
        }))
    }

    fn with_target(target: Target) -> Self {
        Self {
            source: None,
            target,
            personality: None,
            options: HsmOptions::default(),
            logging: Logging::default(),
            zone: String::new(),
            patience: PATIENCE_DEFAULT,
            answer_timeout: ANSWER_TIMEOUT_DEFAULT,
            ping_timeout: PONG,
        }
    }
}

impl Default for HsmOptions {
    fn default() -> Self {
        Self {
            disable_key_availability_check: false,
            validate_key_at_init: true,
            retry: RetryMode::Standard,
        }
    }
}

impl Server {
    /// An HSM's address.
    #[must_use]
    pub fn new(hostname: impl Into<String>, port: u16) -> Self {
        Self { hostname: hostname.into(), port }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.hostname.contains(':') {
            write!(f, "[{}]:{}", self.hostname, self.port)
        } else {
            write!(f, "{}:{}", self.hostname, self.port)
        }
    }
}
