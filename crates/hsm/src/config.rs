//! What an HSM process is told at its start. Nothing secret is among it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use strongroom_vault::Personality;
use strongroom_wire::{PORT_ADMINISTRATION, PORT_CLIENTS, PORT_PEERS};

/// Everything that an HSM needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder; made at the first start, mode 0700.
    pub folder: PathBuf,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// For which programs the token is. Counts at the first start; later it must be the same.
    pub personality: Personality,
    /// How the root secret is kept.
    pub seal: SealKind,
    /// `hsm-…`, given by whoever provisions; random where `None`. Counts at the first start; later
    /// it must be the same or `None`.
    pub hsm_id: Option<String>,
    /// `cluster-…`, as with `hsm_id`.
    pub cluster_id: Option<String>,
    /// The availability zone that it tells clients and members; may be empty.
    pub zone: String,
    /// At its first start, wait for a cluster's welcome instead of making a cluster.
    pub join: bool,
    /// Only vote, without the cluster's secrets. Counts at the first start.
    pub witness: bool,
    /// Who may join the cluster that it makes. Counts at the first start; later admins change it.
    pub join_policy: FirstJoinPolicy,
    /// A file, a GPIO's value or a switch that reads `1` when the HSM's case is opened: then it destroys
    /// its secrets.
    pub tamper_input: Option<PathBuf>,
    /// Started by [`crate::start_detached`]: own session, and one line on standard output when
    /// ready.
    pub detached: bool,
}

/// Who says that an HSM may join a new cluster. Approval by admins comes later: a new cluster has
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstJoinPolicy {
    /// The provisioner alone, who can then read keys: for one machine, where it can anyway.
    Automatic,
    /// The owner, by a certificate under its join key.
    Owner,
}

/// Where an HSM listens.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// TLS on an address of this host.
    Network {
        /// The address; on one machine each HSM has its own of 127.0.0.0/8.
        address: IpAddr,
        /// Added to each port, so that several HSMs can share an address.
        port_offset: u16,
        /// PEM file with the certificate whose key may administer the HSM.
        provisioner: PathBuf,
    },
    /// A UNIX socket in the data folder, for processes of this user.
    Local {
        /// The process ends after so long without a connection.
        idle: Duration,
    },
}

impl Endpoint {
    /// Where clients connect; `None` for a UNIX socket, or a port beyond 65535.
    #[must_use]
    pub fn clients(&self) -> Option<SocketAddr> {
        self.port(PORT_CLIENTS)
    }

    /// Where the provisioner connects, as with [`Endpoint::clients`].
    #[must_use]
    pub fn administration(&self) -> Option<SocketAddr> {
        self.port(PORT_ADMINISTRATION)
    }

    /// Where other HSMs connect, as with [`Endpoint::clients`].
    #[must_use]
    pub fn peers(&self) -> Option<SocketAddr> {
        self.port(PORT_PEERS)
    }

    fn port(&self, base: u16) -> Option<SocketAddr> {
        match self {
            Self::Network { address, port_offset, .. } => {
                Some(SocketAddr::new(*address, base.checked_add(*port_offset)?))
            }
            Self::Local { .. } => None,
        }
    }
}

/// How the root secret is kept.
#[derive(Clone, Debug)]
pub enum SealKind {
    /// A file beside the data, mode 0600: whoever reads the folder can open it. For development.
    File,
    /// Under a passphrase that is given at each start.
    Passphrase(PassphraseSource),
}

/// Where a passphrase comes from: never an argument or the environment, which others can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// An open file descriptor of this process; its first line.
    Descriptor(u32),
    /// `$CREDENTIALS_DIRECTORY/strongroom-passphrase` where systemd gives it, else a prompt on the
    /// terminal.
    CredentialOrPrompt,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_offset_moves_all_ports_and_cannot_wrap() {
        let endpoint = |port_offset| Endpoint::Network {
            address: IpAddr::from([127, 0, 1, 10]),
            port_offset,
            provisioner: PathBuf::new(),
        };
        assert_eq!(endpoint(100).clients().unwrap().port(), 2323);
        assert_eq!(endpoint(100).administration().unwrap().port(), 2324);
        assert_eq!(endpoint(100).peers().unwrap().port(), 2325);
        assert_eq!(endpoint(u16::MAX).clients(), None);
    }
}
