//! The options of the configure tools.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use strongroom_client::config::{self, Server};

use crate::attributes;

/// Write the configuration that the clients of a cluster read.
#[derive(Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
pub(super) struct Options {
    /// Addresses of the cluster's HSMs, with or without a port (10.0.1.10, 10.0.1.10:2223). Each is
    /// asked for its cluster key, which the clients pin.
    #[arg(short, value_name = "HSM IP", num_args = 1.., value_parser = server)]
    pub(super) address: Vec<Server>,
    /// The customer's CA certificate, which signed the cluster's.
    #[arg(long, value_name = "FILE")]
    pub(super) hsm_ca_cert: Option<PathBuf>,
    /// The cluster key that the HSMs must have: the SHA-256 of its public key, in hexadecimal. Several
    /// while the cluster gets a new one, the newest last.
    #[arg(long, value_name = "HEX", num_args = 1..=8, value_parser = pin)]
    pub(super) cluster_key: Vec<[u8; 32]>,
    /// Keys may be used before they are on two HSMs. (A key of Strongroom is on a majority of them
    /// before it is there at all.)
    #[arg(long, conflicts_with = "enable_key_availability_check")]
    pub(super) disable_key_availability_check: bool,
    /// Keys may be used only when they are on two HSMs.
    #[arg(long)]
    pub(super) enable_key_availability_check: bool,
    /// A key is not checked when an operation begins, only when it is used.
    #[arg(long, conflicts_with = "enable_validate_key_at_init")]
    pub(super) disable_validate_key_at_init: bool,
    /// A key is checked when an operation begins.
    #[arg(long)]
    pub(super) enable_validate_key_at_init: bool,
    /// What happens to a request whose connection fails.
    #[arg(long, value_name = "RETRY MODE")]
    pub(super) default_retry_mode: Option<RetryMode>,
    /// Where messages go.
    #[arg(long, value_name = "LOG TYPE")]
    pub(super) log_type: Option<LogType>,
    /// The log file.
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
    /// The least serious message that is written.
    #[arg(long, value_name = "LOG LEVEL")]
    pub(super) log_level: Option<LogLevel>,
    /// When a new log file is begun.
    #[arg(long, value_name = "LOG ROTATION")]
    pub(super) log_rotation: Option<LogRotation>,
    /// The file to write, instead of the one that clients find by themselves.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// `--default-retry-mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RetryMode {
    /// It fails.
    Off,
    /// It is sent again, and done once.
    Standard,
}

impl From<RetryMode> for config::RetryMode {
    fn from(mode: RetryMode) -> Self {
        match mode {
            RetryMode::Off => Self::Off,
            RetryMode::Standard => Self::Standard,
        }
    }
}

/// `--log-type`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogType {
    /// To the terminal.
    Term,
    /// To the log file.
    File,
}

/// `--log-level`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for config::LogLevel {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// `--log-rotation`: the tool's syntax page and its parameter page each name three of these four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogRotation {
    Never,
    Hourly,
    Daily,
    Weekly,
}

impl From<LogRotation> for config::LogRotation {
    fn from(rotation: LogRotation) -> Self {
        match rotation {
            LogRotation::Never => Self::Never,
            LogRotation::Hourly => Self::Hourly,
            LogRotation::Daily => Self::Daily,
            LogRotation::Weekly => Self::Weekly,
        }
    }
}

fn server(text: &str) -> Result<Server, String> {
    let default = strongroom_wire::PORT_CLIENTS;
    // An IPv6 address without brackets is all colons and has no port.
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(Server::new(text, default));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| format!("'{port}' is not a port"))?),
        None => (text, default),
    };
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() { Err("no address".into()) } else { Ok(Server::new(host, port)) }
}

fn pin(text: &str) -> Result<[u8; 32], String> {
    // With or without colons between bytes, as OpenSSL prints fingerprints.
    attributes::from_hex(&format!("0x{}", text.replace(':', "")))
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "not 64 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn addresses_have_a_port_or_the_usual_one() {
        for (text, host, port) in [
            ("10.0.0.1", "10.0.0.1", 2223),
            ("10.0.0.1:12223", "10.0.0.1", 12223),
            ("fd00::1", "fd00::1", 2223),
            ("[fd00::1]:3000", "fd00::1", 3000),
            ("hsm.example", "hsm.example", 2223),
        ] {
            assert_eq!(server(text), Ok(Server::new(host, port)), "{text}");
        }
        assert!(server("").is_err());
        assert!(server("host:port").is_err());
    }
}
