//! The life of an HSM, from the first system call to the last.
//!
//! 1. Harden the process, take the data folder, open the seal.
//! 2. Bind what it will listen on, then confine the process: before the first thread, so that all
//!    of them are confined.
//! 3. Open the store, start replication and the engine; at the first start, create the cluster. An
//!    HSM that is to join one has neither yet: it waits for a member's welcome.
//! 4. Say that it is ready, and accept until it is told to stop.
//! 5. Let another HSM lead, let requests in progress end, write what is left, close the store.
//!
//! A kill at any moment between is as good as an orderly stop, but for the next start's time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use strongroom_crypto::memory;
use strongroom_seal::{FileSeal, PassphraseSeal, Seal};
use strongroom_store::{Folder, Secrets};
use strongroom_vault::Replicator;
use tokio::runtime::{Builder, Runtime};

use crate::detach::Starter;
use crate::device::{Device, Place};
use crate::folder::SEAL_KEY_FILE;
use crate::genesis::create_cluster;
use crate::housekeeping::Housekeeping;
use crate::hsm::{Hsm, Member, Parts};
use crate::listener::accept_until_stopped;
use crate::local::take_or_join;
use crate::membership::Membership;
use crate::site::{Doors, Site};
use crate::stop::StopRequest;
use crate::tamper::{TamperInput, hex, refuse_zeroised};
use crate::{Config, Endpoint, Error, SealKind, confine, folder, passphrase, rejoin, stop};

/// Threads of port 2225 and of agreement on the log; those of clients are beside them.
const WORKERS: usize = 2;
/// A leader that stops waits so long for another one to lead.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(1);
/// For what other HSMs asked last.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(1);
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
    doors: Doors,
    stop_request: StopRequest,
    housekeeping: Housekeeping,
    tamper_input: Option<TamperInput>,
    hsm: Arc<Hsm>,
    runtime: Runtime,
}

impl Running {
    fn serve(self) -> Result<(), Error> {
        let Self { doors, stop_request, housekeeping, tamper_input, hsm, runtime } = self;
        let Doors { mut doors, peers } = doors;
        let result = accept_until_stopped(&mut doors, &stop_request, || hand_over(&hsm));
        // In this order: no new connection; the last use records; then the store, whose lock lets
        // the next process in; other HSMs are answered until then.
        drop(tamper_input);
        drop(doors);
        drop(housekeeping);
        if let Some(member) = hsm.member() {
            member.node.stop();
        }
        drop(peers);
        runtime.shutdown_timeout(RUNTIME_PATIENCE);
        tracing::info!("stopped");
        result
    }
}

/// An HSM that stops or leaves sends its clients to the others, and where it leads, it lets another one lead first:
/// changes go on without an election.
pub(crate) fn hand_over(hsm: &Hsm) {
    let Some(member) = hsm.member() else { return };
    let others = {
        let state = member.node.state().read();
        state.members().filter(|member| !member.witness).count() > 1
    };
    // A client of the only HSM has nowhere else to go: its connection closes, and it comes again.
    if let Some(service) = member.service.as_ref().filter(|_| others) {
        service.engine.drain();
    }
    let status = member.node.status();
    if status.leader != Some(status.node) || status.members.len() < 2 {
        return;
    }
    let handed_over =
        async { tokio::time::timeout(HAND_OVER_PATIENCE, member.node.transfer_leadership()).await };
    match hsm.runtime.block_on(handed_over) {
        Ok(Ok(())) => tracing::info!("another HSM leads"),
        Ok(Err(e)) => tracing::info!("leadership was not handed over: {e}"),
        Err(_) => tracing::info!("leadership was not handed over in time"),
    }
}

/// `None`: another process serves this folder already, as a local HSM's starter wants it.
fn start(config: &Config) -> Result<Option<Running>, Error> {
    let started = Instant::now();
    harden()?;
    // A library that answers wrongly is not served with: the message names the algorithm.
    strongroom_crypto::self_test()?;
    let folder = match config.endpoint {
        Endpoint::Network { .. } => folder::open(&config.folder)?,
        Endpoint::Local { .. } => match take_or_join(&config.folder)? {
            Some(folder) => folder,
            None => return Ok(None),
        },
    };
    let path = folder.path().to_owned();
    refuse_zeroised(&path)?;
    let seal = open_seal(config, &folder)?;
    let seal_name = seal.name();
    let secrets = Arc::new(open_secrets(config, &folder, seal)?);
    let membership = membership(config, &path, &secrets)?;
    let (stop, stop_request) = stop::install()?;
    let site = Site::prepare(config, &path)?;
    let device = device(config, &path, &secrets, membership.as_ref())?;
    // Its folder, so that a file put in the place of another is seen.
    let watched = config.tamper_input.as_deref().and_then(Path::parent);
    confine::confine(&[&path, site.socket_folder().unwrap_or(&path)], watched, site.peer_port());

    // From here on there are threads, all of them confined.
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("cluster")
        .enable_all()
        .build()
        .map_err(Error::io("starting the cluster's threads"))?;
    let hsm = Hsm::new(Parts {
        folder,
        secrets,
        device,
        seal: seal_name,
        stop,
        started,
        runtime: runtime.handle().clone(),
    });
    if let (Some(device), None) = (&hsm.device, &membership) {
        let fingerprint = device.identity.key();
        tracing::info!(
            fingerprint = hex(fingerprint),
            "waiting for a cluster that lets this HSM in"
        );
    }
    if let Some(membership) = membership {
        let founds = membership.founds();
        let member = take_part(&hsm, membership)?;
        if let Err(e) = memory::lock_all() {
            tracing::info!("memory is not locked, so parts of it may be swapped to disk: {e}");
        }
        if let Some(member) = member
            && founds
        {
            create_cluster(config, &hsm, &member)?;
        }
    }
    let doors = site.open(&hsm)?;
    let housekeeping = Housekeeping::start(Arc::clone(&hsm))?;
    let zeroiser = hsm.zeroiser();
    let tamper_input = config
        .tamper_input
        .clone()
        .map(|input| TamperInput::watch(input, move |reason| zeroiser.zeroise(reason)));
    let tamper_input = tamper_input.transpose()?;
    tracing::info!(
        hsm = hsm.secrets.hsm_id,
        seal = hsm.seal,
        "serving after {} ms; software, not FIPS-validated",
        started.elapsed().as_millis()
    );
    Ok(Some(Running { doors, stop_request, housekeeping, tamper_input, hsm, runtime }))
}

/// Takes part as the folder says. Where a record of the store fails its check and there are other
/// members, nothing is served from it: the HSM begins again with what they have.
fn take_part(hsm: &Arc<Hsm>, membership: Membership) -> Result<Option<Arc<Member>>, Error> {
    let has_peers = membership.peers().next().is_some();
    match hsm.take_part(membership.clone()) {
        Ok(member) => Ok(Some(member)),
        Err(Error::Store(e @ strongroom_store::Error::Tampered { .. })) if has_peers => {
            tracing::error!("{e}: this HSM serves nothing from its store");
            begin_again(hsm, membership, "a record of its store does not check")?;
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn begin_again(hsm: &Arc<Hsm>, was: Membership, why: &'static str) -> Result<(), Error> {
    // Until then nobody is served.
    hsm.retire(why);
    let hsm = Arc::clone(hsm);
    std::thread::Builder::new()
        .name("rejoin".to_owned())
        .spawn(move || rejoin::begin(&hsm, was, why))
        .map_err(Error::io("starting a thread"))?;
    Ok(())
}

/// As which member this HSM takes part; `None`: it waits for a welcome.
fn membership(
    config: &Config,
    folder: &Path,
    secrets: &Secrets,
) -> Result<Option<Membership>, Error> {
    let kept = Membership::load(folder)?;
    if secrets.cluster().is_err() {
        // A witness has none of a cluster's. Of others it means that their welcome was cut short.
        return Ok(kept.filter(|membership| membership.witness));
    }
    if kept.is_some() {
        return Ok(kept);
    }
    let cluster_id = folder::id_or_new(config.cluster_id.as_deref(), "cluster-")?;
    let first = Membership::first(cluster_id);
    first.save(folder)?;
    Ok(Some(first))
}

fn device(
    config: &Config,
    folder: &Path,
    secrets: &Secrets,
    membership: Option<&Membership>,
) -> Result<Option<Device>, Error> {
    let Endpoint::Network { address, port_offset, .. } = &config.endpoint else { return Ok(None) };
    let place = Place { address: *address, port_offset: *port_offset, zone: config.zone.clone() };
    let witness = membership.map_or(config.witness, |membership| membership.witness);
    Ok(Some(Device::load(folder, secrets, place, witness)?))
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
        let secrets = match config.join {
            true => Secrets::generate_alone(hsm_id)?,
            false => Secrets::generate_for(hsm_id)?,
        };
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
