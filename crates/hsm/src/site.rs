//! Where an HSM listens: taken before the process is confined, opened once there is an HSM.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::certificates::{Which, pem_certificate};
use crate::desk::PeerDesk;
use crate::hsm::Hsm;
use crate::listener::{Door, bind};
use crate::local::LocalSocket;
use crate::peers::PeerServer;
use crate::{Config, Endpoint, Error, tls};

/// Where an HSM will listen: what must be had before the process is confined.
pub(crate) enum Site {
    Network {
        clients: TcpListener,
        administration: TcpListener,
        peers: TcpListener,
        /// Who may administer it, DER.
        provisioner: Vec<u8>,
        /// Where other HSMs are called.
        peer_port: u16,
    },
    Local {
        folder: PathBuf,
        socket: PathBuf,
        idle: Duration,
    },
}

/// What an HSM serves.
pub(crate) struct Doors {
    pub(crate) doors: Vec<Door>,
    /// `None` for a local HSM.
    pub(crate) peers: Option<PeerServer>,
}

impl Site {
    /// Binds, and reads what is outside the data folder.
    ///
    /// # Errors
    /// Where a port is taken, or the provisioner's certificate does not read.
    pub(crate) fn prepare(config: &Config, folder: &Path) -> Result<Self, Error> {
        match &config.endpoint {
            Endpoint::Local { idle } => Ok(Self::Local {
                folder: folder.to_owned(),
                socket: LocalSocket::place(folder)?,
                idle: *idle,
            }),
            Endpoint::Network { provisioner, .. } => {
                let (Some(clients), Some(administration), Some(peers)) = (
                    config.endpoint.clients(),
                    config.endpoint.administration(),
                    config.endpoint.peers(),
                ) else {
                    return Err(Error::Configuration("the ports are beyond 65535".to_owned()));
                };
                let pem = std::fs::read_to_string(provisioner).map_err(Error::io(format!(
                    "provisioner's certificate {}",
                    provisioner.display()
                )))?;
                Ok(Self::Network {
                    clients: bind(clients)?,
                    administration: bind(administration)?,
                    peer_port: peers.port(),
                    peers: bind(peers)?,
                    provisioner: pem_certificate(Which::Provisioner, &pem)?,
                })
            }
        }
    }

    /// Another folder that the process still needs once it is confined.
    pub(crate) fn socket_folder(&self) -> Option<&Path> {
        match self {
            Self::Network { .. } => None,
            Self::Local { socket, .. } => socket.parent(),
        }
    }

    /// The port of other HSMs that the process still calls once it is confined.
    pub(crate) fn peer_port(&self) -> Option<u16> {
        match self {
            Self::Network { peer_port, .. } => Some(*peer_port),
            Self::Local { .. } => None,
        }
    }

    /// Opens the doors.
    ///
    /// # Errors
    /// Where a certificate cannot be made, or the socket not bound.
    pub(crate) fn open(self, hsm: &Arc<Hsm>) -> Result<Doors, Error> {
        match (self, &hsm.device) {
            (Self::Network { clients, administration, peers, provisioner, .. }, Some(device)) => {
                let provisioner = CertificateDer::from(provisioner);
                let tls = tls::for_administration(device.certified(), &provisioner)?;
                let doors = vec![
                    Door::Clients { listener: clients, hsm: Arc::clone(hsm) },
                    Door::Administration { listener: administration, hsm: Arc::clone(hsm), tls },
                ];
                let peers = PeerServer::start(
                    &hsm.runtime,
                    peers,
                    &device.identity,
                    Arc::clone(&hsm.versions),
                    Arc::new(PeerDesk(Arc::clone(hsm))),
                )?;
                Ok(Doors { doors, peers: Some(peers) })
            }
            (Self::Local { folder, socket, idle }, None) => {
                let socket = LocalSocket::bind(&folder, socket)?;
                let doors = vec![Door::Local { socket, hsm: Arc::clone(hsm), idle }];
                Ok(Doors { doors, peers: None })
            }
            _ => Err(Error::Start("a bug: a device without a network, or the reverse".to_owned())),
        }
    }
}
