//! Requests to other HSMs: [`strongroom_cluster::Transport`] over port 2225.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_cluster::{Call, DeviceKeyHash, Peer, Transport, TransportError};
use strongroom_vault::NodeId;
use strongroom_wire::frame;
use strongroom_wire::greeting::Lane;
use strongroom_wire::limits::MEMBERS_MAX;
use strongroom_wire::peer::PeerRequest;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::lane::{Destination, Job, run};
use super::{DeviceIdentity, Versions};

/// Requests that wait for a lane's connection. More than a voter ever has: whoever has so many does
/// not look at their answers.
const WAITING_MAX: usize = 256;

/// The kept connections to other HSMs.
pub(crate) struct PeerTransport {
    runtime: Handle,
    identity: DeviceIdentity,
    versions: Arc<Versions>,
    source: IpAddr,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    /// By whom and what for; each is a task that holds a connection while it is used.
    tasks: HashMap<(DeviceKeyHash, Lane), (SocketAddr, mpsc::Sender<Job>)>,
    /// Where HSMs are whatever the membership says, as an operator has told: see
    /// [`PeerTransport::moved`].
    moved: HashMap<DeviceKeyHash, SocketAddr>,
}

impl PeerTransport {
    /// Calls as this HSM, from tasks of `runtime` and from the address that it listens on: whoever
    /// looks at the network sees which HSM talks.
    pub(crate) fn new(
        runtime: Handle,
        identity: DeviceIdentity,
        versions: Arc<Versions>,
        source: IpAddr,
    ) -> Arc<Self> {
        Arc::new(Self { runtime, identity, versions, source, lanes: Mutex::default() })
    }

    /// An HSM stands elsewhere than the membership says. It counts until the process ends, or the
    /// membership says so too.
    pub(crate) fn moved(&self, device: DeviceKeyHash, address: SocketAddr) {
        let mut lanes = self.lanes();
        if lanes.moved.len() < 2 * MEMBERS_MAX || lanes.moved.contains_key(&device) {
            lanes.moved.insert(device, address);
        }
    }

    /// Where an HSM stands, where that is told and not in the membership yet.
    pub(crate) fn told(&self, device: &DeviceKeyHash) -> Option<SocketAddr> {
        self.lanes().moved.get(device).copied()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a request to a peer is put.
    fn lane(&self, peer: &Peer, lane: Lane) -> Result<mpsc::Sender<Job>, TransportError> {
        let mut lanes = self.lanes();
        let listed: SocketAddr = peer
            .address
            .parse()
            .map_err(|_| TransportError::Unreachable(format!("{} is no address", peer.address)))?;
        let moved = lanes.moved.get(&peer.device_key).copied();
        if moved == Some(listed) {
            lanes.moved.remove(&peer.device_key);
        }
        let address = moved.unwrap_or(listed);
        if let Some((at, jobs)) = lanes.tasks.get(&(peer.device_key, lane))
            && *at == address
            && !jobs.is_closed()
        {
            return Ok(jobs.clone());
        }
        // Those that ended after a long time without a request.
        lanes.tasks.retain(|_, (_, jobs)| !jobs.is_closed());
        let tls = self
            .identity
            .client(peer.device_key)
            .map_err(|e| TransportError::Unreachable(e.to_string()))?;
        let destination = Destination {
            device: peer.device_key,
            source: self.source,
            address,
            lane,
            tls,
            versions: Arc::clone(&self.versions),
        };
        let (jobs, queue) = mpsc::channel(WAITING_MAX);
        // The task ends when its sender goes: here, where the address has changed.
        self.runtime.spawn(run(destination, queue));
        lanes.tasks.insert((peer.device_key, lane), (address, jobs.clone()));
        Ok(jobs)
    }

    fn send(
        &self,
        peer: &Peer,
        request: &PeerRequest,
        patience: Duration,
    ) -> Result<oneshot::Receiver<super::lane::Outcome>, TransportError> {
        let lane = Lane::of(request);
        let mut bytes = Vec::new();
        frame::encode(request, &mut bytes, lane.frame_bytes_max())
            .map_err(|e| TransportError::Broken(e.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let job = Job { frame: bytes, deadline: Instant::now() + patience, answer };
        self.lane(peer, lane)?
            .try_send(job)
            .map_err(|_| TransportError::Broken("too many requests wait".to_owned()))?;
        Ok(answered)
    }
}

impl Transport for PeerTransport {
    fn call(&self, _to: NodeId, peer: &Peer, request: PeerRequest, patience: Duration) -> Call {
        let sent = self.send(peer, &request, patience);
        Box::pin(async move {
            match tokio::time::timeout(patience, sent?).await {
                Err(_) => Err(TransportError::TimedOut),
                Ok(Err(_)) => Err(TransportError::Broken("the connection ended".to_owned())),
                Ok(Ok(outcome)) => outcome,
            }
        })
    }
}
