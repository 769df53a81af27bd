//! Where an HSM listens: taken before the process is confined, opened once the engine runs.

use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use strongroom_cluster::Alone;
use strongroom_engine::Engine;
use strongroom_store::Secrets;
use strongroom_vault::Replicator;

use crate::administration::Administration;
use crate::certificates::{
    Leaf, P256Key, Which, certified, device_certificate, pem_certificate, public_key_of,
};
use crate::folder::DEVICE_CERTIFICATE_FILE;
use crate::listener::{Door, bind};
use crate::local::LocalSocket;
use crate::ownership::Ownership;
use crate::stop::Stop;
use crate::trust::ClientTrust;
use crate::{Config, Endpoint, Error, tls};

/// What the doors are opened with.
pub(crate) struct Hsm {
    pub(crate) engine: Arc<Engine>,
    pub(crate) replicator: Arc<Alone>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) stop: Stop,
    pub(crate) seal: &'static str,
    pub(crate) started: Instant,
}

/// Where an HSM will listen: what must be had before the process is confined.
pub(crate) enum Site {
    Network {
        address: IpAddr,
        clients: TcpListener,
        administration: TcpListener,
        tls: Arc<ServerConfig>,
    },
    Local {
        folder: PathBuf,
        socket: PathBuf,
        idle: Duration,
    },
}

impl Site {
    /// Binds, and reads what is outside the data folder.
    ///
    /// # Errors
    /// Where a port is taken, or the provisioner's certificate does not read.
    pub(crate) fn prepare(
        config: &Config,
        folder: &Path,
        secrets: &Secrets,
    ) -> Result<Self, Error> {
        match &config.endpoint {
            Endpoint::Local { idle } => Ok(Self::Local {
                folder: folder.to_owned(),
                socket: LocalSocket::place(folder)?,
                idle: *idle,
            }),
            Endpoint::Network { address, provisioner, .. } => {
                let (Some(clients), Some(administration)) =
                    (config.endpoint.clients(), config.endpoint.administration())
                else {
                    return Err(Error::Configuration("the ports are beyond 65535".to_owned()));
                };
                Ok(Self::Network {
                    address: *address,
                    clients: bind(clients)?,
                    administration: bind(administration)?,
                    tls: administration_tls(folder, secrets, provisioner)?,
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

    /// The doors, and what port 2223 shows where there is one.
    ///
    /// # Errors
    /// Where a certificate cannot be made, or the socket not bound.
    pub(crate) fn open(self, hsm: &Hsm) -> Result<(Vec<Door>, Option<Arc<ClientTrust>>), Error> {
        let engine = Arc::clone(&hsm.engine);
        match self {
            Self::Local { folder, socket, idle } => {
                let socket = LocalSocket::bind(&folder, socket)?;
                Ok((vec![Door::Local { socket, engine, idle }], None))
            }
            Self::Network { address, clients, administration, tls } => {
                let trust = client_trust(address, hsm)?;
                let provisioner = Arc::new(Administration {
                    engine: Arc::clone(&engine),
                    replicator: Arc::clone(&hsm.replicator) as Arc<dyn Replicator>,
                    trust: Arc::clone(&trust),
                    ownership: Ownership::new(
                        Arc::clone(&hsm.replicator) as Arc<dyn Replicator>,
                        Arc::clone(&hsm.secrets),
                    ),
                    stop: hsm.stop.clone(),
                    hsm_id: hsm.secrets.hsm_id.clone(),
                    seal: hsm.seal,
                    started: hsm.started,
                });
                let doors = vec![
                    Door::Clients { listener: clients, engine, trust: Arc::clone(&trust) },
                    Door::Administration {
                        listener: administration,
                        administration: provisioner,
                        tls,
                    },
                ];
                Ok((doors, Some(trust)))
            }
        }
    }
}

fn client_trust(address: IpAddr, hsm: &Hsm) -> Result<Arc<ClientTrust>, Error> {
    let state = hsm.replicator.state().read();
    let cluster_id = state.cluster_id().to_owned();
    let leaf = Leaf { cluster_id, hsm_id: hsm.secrets.hsm_id.clone(), address };
    let trust = Arc::new(ClientTrust::new(Arc::clone(&hsm.secrets), leaf));
    trust.follow(&state, SystemTime::now())?;
    if trust.config().is_none() {
        tracing::info!("not initialised: clients are refused until the owner signs");
    }
    Ok(trust)
}

/// TLS of port 2224: the device's certificate, made at the first start and kept in the folder for
/// the provisioner to pin.
fn administration_tls(
    folder: &Path,
    secrets: &Secrets,
    provisioner: &Path,
) -> Result<Arc<ServerConfig>, Error> {
    let provisioner_pem = std::fs::read_to_string(provisioner)
        .map_err(Error::io(format!("provisioner's certificate {}", provisioner.display())))?;
    let provisioner = pem_certificate(Which::Provisioner, &provisioner_pem)?;
    let pkcs8 = secrets.device_key.as_bytes();
    let key = P256Key::from_pkcs8("use of the device key", pkcs8)?;
    let path = folder.join(DEVICE_CERTIFICATE_FILE);
    let certificate = match kept_certificate(&path, &key) {
        Some(certificate) => certificate,
        None => {
            let pem = device_certificate(&key, &secrets.hsm_id)?;
            strongroom_seal::write_atomically(&path, pem.as_bytes())?;
            pem_certificate(Which::Provisioner, &pem)?
        }
    };
    let device = certified(vec![certificate.into()], pkcs8)?;
    tls::for_administration(device, &CertificateDer::from(provisioner))
}

/// The certificate of an earlier start, where it is over this device's key.
fn kept_certificate(path: &Path, key: &P256Key) -> Option<Vec<u8>> {
    let pem = std::fs::read_to_string(path).ok()?;
    let certificate = pem_certificate(Which::Provisioner, &pem).ok()?;
    public_key_of(&certificate)
        .is_ok_and(|public_key| public_key == key.public_key())
        .then_some(certificate)
}
