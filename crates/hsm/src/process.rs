//! The life of an HSM, from the first system call to the last.
//!
//! 1. Harden the process, take the data folder, open the seal.
//! 2. Bind what it will listen on, then confine the process: before the first thread, so that all
//!    of them are confined.
//! 3. Open the store, start replication and the engine; at the first start, create the cluster.
//! 4. Say that it is ready, and accept until it is told to stop.
//! 5. Let requests in progress end, write what is left, close the store.
//!
//! A kill at any moment between is as good as an orderly stop, but for the next start's time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use rustls::pki_types::CertificateDer;
use strongroom_cluster::OneVoter;
use strongroom_crypto::{SecretBytes, memory};
use strongroom_engine::{Engine, EngineSecrets, Identity, UseLog};
use strongroom_seal::{FileSeal, PassphraseSeal, Seal};
use strongroom_store::{Folder, Secrets};
use strongroom_vault::{Command, Personality, Phase, ReplicationError, Replicator};

use crate::administration::{Administration, propose};
use crate::certificates::{
    CertificateError, Leaf, P256Key, Which, certified, device_certificate, own_owner,
    pem_certificate, public_key_of,
};
use crate::folder::{DEVICE_CERTIFICATE_FILE, SEAL_KEY_FILE};
use crate::housekeeping::Housekeeping;
use crate::listener::{Door, accept_until_stopped, bind};
use crate::local::{LocalSocket, take_or_join};
use crate::stop::{Stop, StopRequest};
use crate::trust::ClientTrust;
use crate::{
    Config, Endpoint, Error, SealKind, clock, confine, detach, folder, passphrase, stop, tls,
};

/// Descriptors for the connections of [`strongroom_wire::limits::CONNECTIONS_MAX`], the store's,
/// and some.
const DESCRIPTORS: u64 = 4096;

/// Runs an HSM until it is told to stop.
///
/// # Errors
/// Why it did not start, or could not go on.
pub fn run(config: &Config) -> Result<(), Error> {
    if config.detached {
        detach::leave_session();
    }
    match start(config) {
        Ok(running) => {
            if config.detached {
                detach::announce(Ok(()));
            }
            match running {
                Some(running) => running.serve(),
                // Another process was faster, and serves.
                None => Ok(()),
            }
        }
        Err(e) => {
            if config.detached {
                detach::announce(Err(&e));
            }
            Err(e)
        }
    }
}

/// An HSM that listens.
struct Running {
    doors: Vec<Door>,
    stop_request: StopRequest,
    replicator: Arc<OneVoter>,
    housekeeping: Housekeeping,
}

impl Running {
    fn serve(mut self) -> Result<(), Error> {
        let result = accept_until_stopped(&mut self.doors, &self.stop_request);
        // In this order: no new connection; the last use records; then the store, whose lock lets
        // the next process in.
        drop(self.doors);
        drop(self.housekeeping);
        self.replicator.stop();
        tracing::info!("stopped");
        result
    }
}

/// `None`: another process serves this folder already, as a local HSM's starter wants it.
fn start(config: &Config) -> Result<Option<Running>, Error> {
    let started = Instant::now();
    harden()?;
    let folder = match config.endpoint {
        Endpoint::Network { .. } => folder::open(&config.folder)?,
        Endpoint::Local { .. } => match take_or_join(&config.folder)? {
            Some(folder) => folder,
            None => return Ok(None),
        },
    };
    let path = folder.path().to_owned();
    let seal = open_seal(config, &folder)?;
    let secrets = Arc::new(open_secrets(config, &folder, &*seal)?);
    let (stop, stop_request) = stop::install()?;
    let site = Site::prepare(config, &path, &secrets)?;
    confine::confine(&[&path, site.socket_folder().unwrap_or(&path)]);

    let replicator = Arc::new(OneVoter::open(folder, Arc::clone(&secrets))?);
    if let Err(e) = memory::lock_all() {
        tracing::info!("memory is not locked, so parts of it may be swapped to disk: {e}");
    }
    create_cluster(config, &*replicator, &secrets)?;
    let engine = Engine::new(
        Arc::clone(&replicator) as Arc<dyn Replicator>,
        EngineSecrets {
            masking: SecretBytes::copied(secrets.masking.current().bytes()),
            ticket: SecretBytes::copied(secrets.ticket.current().bytes()),
        },
        Identity { hsm_id: secrets.hsm_id.clone(), fips_mode: false },
        Arc::new(AuditOfUse { replicator: Arc::clone(&replicator), stop: stop.clone() }),
        clock::now_ms,
    );
    let hsm = Hsm { engine, replicator, secrets, stop, seal: seal.name(), started };
    let (doors, trust) = site.open(&hsm)?;
    let housekeeping = Housekeeping::start(Arc::clone(&hsm.engine), trust)?;
    tracing::info!(
        hsm = hsm.secrets.hsm_id,
        seal = hsm.seal,
        "serving after {} ms; software, not FIPS-validated",
        started.elapsed().as_millis()
    );
    Ok(Some(Running { doors, stop_request, replicator: hsm.replicator, housekeeping }))
}

/// What the doors are opened with.
struct Hsm {
    engine: Arc<Engine>,
    replicator: Arc<OneVoter>,
    secrets: Arc<Secrets>,
    stop: Stop,
    seal: &'static str,
    started: Instant,
}

/// Where an HSM will listen: what must be had before the process is confined.
enum Site {
    Network {
        address: std::net::IpAddr,
        clients: std::net::TcpListener,
        administration: std::net::TcpListener,
        tls: Arc<rustls::ServerConfig>,
    },
    Local {
        folder: PathBuf,
        socket: PathBuf,
        idle: std::time::Duration,
    },
}

impl Site {
    fn prepare(config: &Config, folder: &Path, secrets: &Secrets) -> Result<Self, Error> {
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
    fn socket_folder(&self) -> Option<&Path> {
        match self {
            Self::Network { .. } => None,
            Self::Local { socket, .. } => socket.parent(),
        }
    }

    fn open(self, hsm: &Hsm) -> Result<(Vec<Door>, Option<Arc<ClientTrust>>), Error> {
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

fn harden() -> Result<(), Error> {
    umask(Mode::from_raw_mode(0o077));
    memory::harden_process().map_err(Error::io("hardening the process"))?;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        // Below its maximum the limit can always be raised; where not, fewer connections fit.
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
    // A panic's message may hold what was being worked on; its place in the code is enough.
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => tracing::error!("a bug: panic at {place}"),
        None => tracing::error!("a bug: panic"),
    }));
    Ok(())
}

fn open_seal(config: &Config, folder: &Folder) -> Result<Box<dyn Seal>, Error> {
    Ok(match &config.seal {
        SealKind::File => Box::new(FileSeal::open_or_create(&folder.path().join(SEAL_KEY_FILE))?),
        SealKind::Passphrase(source) => {
            let new = !Secrets::exist(folder);
            Box::new(PassphraseSeal::new(passphrase::read(source, new)?)?)
        }
    })
}

fn open_secrets(config: &Config, folder: &Folder, seal: &dyn Seal) -> Result<Secrets, Error> {
    let Some(secrets) = Secrets::load(folder, seal)? else {
        let hsm_id = folder::id_or_new(config.hsm_id.as_deref(), "hsm-")?;
        let secrets = Secrets::generate_for(hsm_id)?;
        secrets.save(folder, seal)?;
        return Ok(secrets);
    };
    match &config.hsm_id {
        Some(id) if *id != secrets.hsm_id => {
            Err(Error::folder(folder.path(), format!("{} lives there, not {id}", secrets.hsm_id)))
        }
        _ => Ok(secrets),
    }
}

/// The first entries of a cluster's log, where they are missing; else a check of the options
/// against them.
fn create_cluster(
    config: &Config,
    replicator: &dyn Replicator,
    secrets: &Secrets,
) -> Result<(), Error> {
    let created = {
        let state = replicator.state().read();
        (!state.cluster_id().is_empty())
            .then(|| (state.cluster_id().to_owned(), state.personality()))
    };
    match created {
        None => {
            let cluster_id = folder::id_or_new(config.cluster_id.as_deref(), "cluster-")?;
            tracing::info!(cluster = cluster_id, "creating the cluster");
            propose(
                replicator,
                Command::CreateCluster {
                    masking_domain: secrets.masking_domain,
                    cluster_id,
                    personality: config.personality,
                },
            )?;
        }
        Some((cluster_id, personality)) => {
            if config.cluster_id.as_ref().is_some_and(|asked| *asked != cluster_id) {
                return Err(Error::folder(
                    &config.folder,
                    format!("the HSM there is of {cluster_id}"),
                ));
            }
            if personality != config.personality {
                let (is, asked) = (name(personality), name(config.personality));
                return Err(Error::folder(
                    &config.folder,
                    format!("the HSM there has personality {is}, not {asked}"),
                ));
            }
        }
    }
    own_local_cluster(config, replicator, secrets)
}

/// A local HSM of personality `cloudhsm` has no owner but its user: it is initialised at once, so
/// that `cluster activate` is the first step, as on a cluster that somebody else has set up.
fn own_local_cluster(
    config: &Config,
    replicator: &dyn Replicator,
    secrets: &Secrets,
) -> Result<(), Error> {
    let local = matches!(config.endpoint, Endpoint::Local { .. });
    let (phase, cluster_id) = {
        let state = replicator.state().read();
        (state.phase(), state.cluster_id().to_owned())
    };
    if !local || config.personality != Personality::CloudHsm || phase != Phase::Uninitialized {
        return Ok(());
    }
    let owner = own_owner(&cluster_key(secrets)?, &cluster_id)?;
    propose(
        replicator,
        Command::InitialiseCluster {
            cluster_certificate: owner.cluster_certificate,
            trust_anchor: owner.trust_anchor,
        },
    )
}

fn client_trust(address: std::net::IpAddr, hsm: &Hsm) -> Result<Arc<ClientTrust>, Error> {
    let (cluster_id, certificate) = {
        let state = hsm.replicator.state().read();
        (state.cluster_id().to_owned(), state.cluster_certificate().map(<[u8]>::to_vec))
    };
    let leaf = Leaf { cluster_id, hsm_id: hsm.secrets.hsm_id.clone(), address };
    let trust = Arc::new(ClientTrust::new(cluster_key(&hsm.secrets)?, leaf));
    match certificate {
        Some(certificate) => trust.issue(certificate, SystemTime::now())?,
        None => tracing::info!("not initialised: clients are refused until the owner signs"),
    }
    Ok(trust)
}

fn cluster_key(secrets: &Secrets) -> Result<P256Key, Error> {
    Ok(P256Key::from_pkcs8("use of the cluster key", secrets.cluster_key.as_bytes())?)
}

/// TLS of port 2224: the device's certificate, made at the first start and kept in the folder for
/// the provisioner to pin.
fn administration_tls(
    folder: &Path,
    secrets: &Secrets,
    provisioner: &Path,
) -> Result<Arc<rustls::ServerConfig>, Error> {
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
    let public_key: Result<_, CertificateError> = public_key_of(&certificate);
    public_key.is_ok_and(|public_key| public_key == key.public_key()).then_some(certificate)
}

fn name(personality: Personality) -> &'static str {
    match personality {
        Personality::CloudHsm => "cloudhsm",
        Personality::Token => "token",
    }
}

/// Records of key use go into the store. An HSM that cannot keep them must not use keys.
struct AuditOfUse {
    replicator: Arc<OneVoter>,
    stop: Stop,
}

impl UseLog for AuditOfUse {
    fn append(&self, block: Vec<u8>) {
        match self.replicator.append_use_records(block) {
            Ok(()) | Err(ReplicationError::Stopping) => {}
            Err(e) => {
                tracing::error!("records of key use cannot be kept, so this HSM stops: {e}");
                self.stop.request();
            }
        }
    }
}
