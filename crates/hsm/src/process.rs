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

use std::sync::Arc;
use std::time::Instant;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use strongroom_cluster::Alone;
use strongroom_crypto::memory;
use strongroom_engine::{Engine, Identity, Options, UseLog};
use strongroom_seal::{FileSeal, PassphraseSeal, Seal};
use strongroom_store::{Folder, Secrets};
use strongroom_vault::{ReplicationError, Replicator};

use crate::custody::{Custodian, EngineKeys};
use crate::detach::Starter;
use crate::folder::SEAL_KEY_FILE;
use crate::genesis::create_cluster;
use crate::housekeeping::Housekeeping;
use crate::listener::{Door, accept_until_stopped};
use crate::local::take_or_join;
use crate::site::{Hsm, Site};
use crate::stop::{Stop, StopRequest};
use crate::{Config, Endpoint, Error, SealKind, confine, folder, passphrase, stop};

/// Descriptors for the connections of [`strongroom_wire::limits::CONNECTIONS_MAX`], the store's,
/// and some.
const DESCRIPTORS: u64 = 4096;

/// Runs an HSM until it is told to stop.
///
/// # Errors
/// Why it did not start, or could not go on.
pub fn run(config: &Config) -> Result<(), Error> {
    let starter = config.detached.then(Starter::leave_session);
    let started = start(config);
    if let Some(starter) = starter {
        starter.announce(started.as_ref().map(|_| ()));
    }
    match started? {
        Some(running) => running.serve(),
        // Another process was faster, and serves.
        None => Ok(()),
    }
}

/// An HSM that listens.
struct Running {
    doors: Vec<Door>,
    stop_request: StopRequest,
    replicator: Arc<Alone>,
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
    let secrets = Arc::new(open_secrets(config, &folder, Arc::clone(&seal))?);
    let (stop, stop_request) = stop::install()?;
    let site = Site::prepare(config, &path, &secrets)?;
    confine::confine(&[&path, site.socket_folder().unwrap_or(&path)]);

    let replicator = Arc::new(Alone::open(folder, Arc::clone(&secrets), Default::default())?);
    if let Err(e) = memory::lock_all() {
        tracing::info!("memory is not locked, so parts of it may be swapped to disk: {e}");
    }
    create_cluster(config, &*replicator, &secrets)?;
    let engine = Engine::new(
        Arc::clone(&replicator) as Arc<dyn Replicator>,
        Arc::new(EngineKeys(Arc::clone(&secrets))),
        Identity { hsm_id: secrets.hsm_id.clone(), fips_mode: false },
        Arc::new(AuditOfUse { replicator: Arc::clone(&replicator), stop: stop.clone() }),
        Options::default(),
    );
    let hsm = Hsm { engine, replicator, secrets, stop, seal: seal.name(), started };
    let (doors, trust) = site.open(&hsm)?;
    let replicator = Arc::clone(&hsm.replicator) as Arc<dyn Replicator>;
    let custodian = Custodian::new(Arc::clone(&replicator), Arc::clone(&hsm.secrets));
    let housekeeping = Housekeeping::start(Arc::clone(&hsm.engine), replicator, custodian, trust)?;
    tracing::info!(
        hsm = hsm.secrets.hsm_id,
        seal = hsm.seal,
        "serving after {} ms; software, not FIPS-validated",
        started.elapsed().as_millis()
    );
    Ok(Some(Running { doors, stop_request, replicator: hsm.replicator, housekeeping }))
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

fn open_seal(config: &Config, folder: &Folder) -> Result<Arc<dyn Seal>, Error> {
    Ok(match &config.seal {
        SealKind::File => Arc::new(FileSeal::open_or_create(&folder.path().join(SEAL_KEY_FILE))?),
        SealKind::Passphrase(source) => {
            let new = !Secrets::exist(folder);
            Arc::new(PassphraseSeal::new(passphrase::read(source, new)?)?)
        }
    })
}

fn open_secrets(config: &Config, folder: &Folder, seal: Arc<dyn Seal>) -> Result<Secrets, Error> {
    let Some(secrets) = Secrets::load(folder, Arc::clone(&seal))? else {
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

/// Records of key use go into the store. An HSM that cannot keep them must not use keys.
struct AuditOfUse {
    replicator: Arc<Alone>,
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
