//! Who calls on port 2225.
//!
//! Strangers can hold no place for long: a handshake has a deadline, and when too many are under way
//! the oldest is dropped; one between members takes milliseconds. Of an admitted HSM there is one
//! connection for each lane: a new one takes the place of the old, which may be half open. What one
//! HSM may have under way is bounded, in number and bytes, so that it cannot starve others.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_cluster::DeviceKeyHash;
use strongroom_wire::frame::FrameError;
use strongroom_wire::greeting::{Greeting, Lane};
use strongroom_wire::limits::PEER_SMALL_FRAME_BYTES_MAX;
use strongroom_wire::negotiate;
use strongroom_wire::peer::{PeerReply, PeerRequest};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::frames::{FrameReader, send};
use super::tls::device_key;
use super::{DeviceIdentity, Versions};
use crate::Error;

/// Handshakes and greetings under way.
const STRANGERS_MAX: usize = 64;
/// A handshake with its greeting takes no longer.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// A connection without a request for so long is closed: longer than a caller keeps one.
const IDLE: Duration = Duration::from_secs(60);
/// A caller that takes no reply for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// After accept failed (no descriptors left): time for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What [`Desk::answer`] gives.
pub(crate) type Answer = Pin<Box<dyn Future<Output = PeerReply> + Send>>;

/// Who is admitted, and what becomes of a request.
pub(crate) trait Desk: Send + Sync + 'static {
    /// Whether the HSM of this key may ask anything. Asked for every request.
    fn admits(&self, from: &DeviceKeyHash) -> bool;

    /// Answers an admitted HSM.
    fn answer(&self, from: DeviceKeyHash, request: PeerRequest) -> Answer;
}

/// Port 2225 while it is served: until this is dropped.
pub(crate) struct PeerServer(AbortHandle);

impl PeerServer {
    /// Serves what connects to `listener`.
    ///
    /// # Errors
    /// Where TLS or the listener cannot be set up.
    pub(crate) fn start(
        runtime: &Handle,
        listener: TcpListener,
        identity: &DeviceIdentity,
        versions: Arc<Versions>,
        desk: Arc<dyn Desk>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            acceptor: TlsAcceptor::from(identity.server()?),
            desk,
            versions,
            open: Mutex::new(Open::default()),
        });
        let _context = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(Error::io("listening for other HSMs"))?;
        Ok(Self(runtime.spawn(accept(listener, shared)).abort_handle()))
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        // The task's connections go with it.
        self.0.abort();
    }
}

struct Shared {
    acceptor: TlsAcceptor,
    desk: Arc<dyn Desk>,
    versions: Arc<Versions>,
    open: Mutex<Open>,
}

/// The connections' tasks, by the number of the connection.
#[derive(Default)]
struct Open {
    strangers: VecDeque<(u64, AbortHandle)>,
    admitted: HashMap<(DeviceKeyHash, Lane), (u64, AbortHandle)>,
}

impl Open {
    fn came(&mut self, number: u64, task: AbortHandle) {
        if self.strangers.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = self.strangers.pop_front()
        {
            oldest.abort();
        }
        self.strangers.push_back((number, task));
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a stranger the one connection of its HSM for a lane. `false`: it was dropped just now.
    fn admit(&self, number: u64, device: DeviceKeyHash, lane: Lane) -> bool {
        let mut open = self.open();
        let Some(place) = open.strangers.iter().position(|(other, _)| *other == number) else {
            return false;
        };
        if let Some(entry) = open.strangers.remove(place)
            && let Some((_, old)) = open.admitted.insert((device, lane), entry)
        {
            old.abort();
        }
        true
    }

    fn went(&self, number: u64) {
        let mut open = self.open();
        open.strangers.retain(|(other, _)| *other != number);
        open.admitted.retain(|_, (other, _)| *other != number);
    }
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    number += 1;
                    let connection = Connection { shared: Arc::clone(&shared), number };
                    // The task begins only once its place is noted, so that it finds itself there.
                    let mut open = shared.open();
                    let task = connections.spawn(async move {
                        if let Err(e) = connection.run(stream).await {
                            tracing::debug!(%peer, "port of HSMs: {e}");
                        }
                    });
                    open.came(number, task);
                }
                Err(e) => {
                    tracing::warn!("cannot accept another HSM: {e}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("no request, greeting or handshake in time")]
    TooSlow(#[from] tokio::time::error::Elapsed),
    #[error("the caller is no member")]
    NotAdmitted,
    #[error("no common message set")]
    Version,
    #[error("dropped for newer connections")]
    Dropped,
    #[error("a request was not answered because of a bug")]
    Bug,
}

impl From<std::io::Error> for Ending {
    fn from(error: std::io::Error) -> Self {
        Self::Frame(error.into())
    }
}

struct Connection {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.went(self.number);
    }
}

impl Connection {
    async fn run(self, stream: TcpStream) -> Result<(), Ending> {
        stream.set_nodelay(true)?;
        let (mut reader, mut writer, device, lane) =
            timeout(HANDSHAKE_PATIENCE, self.greet(stream)).await??;
        if !self.shared.admit(self.number, device, lane) {
            return Err(Ending::Dropped);
        }
        let (queue, queued) = mpsc::channel(lane.requests_max());
        tokio::select! {
            ended = self.read(&mut reader, device, lane, queue) => ended,
            ended = reply(&mut writer, lane, queued) => ended,
        }
    }

    async fn greet(&self, stream: TcpStream) -> Result<Greeted, Ending> {
        let stream = self.shared.acceptor.accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let device = certificates
            .first()
            .and_then(|certificate| device_key(certificate).ok())
            .filter(|device| self.shared.desk.admits(device))
            .ok_or(Ending::NotAdmitted)?;
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = FrameReader::new(reader);
        let greeting = reader.next(PEER_SMALL_FRAME_BYTES_MAX, Greeting::parse).await?;
        let lane = Lane::try_from(greeting.lane).map_err(|_| Ending::Version)?;
        let answer = Greeting::new(env!("CARGO_PKG_VERSION"), lane);
        send(&mut writer, &answer, PEER_SMALL_FRAME_BYTES_MAX).await?;
        negotiate(greeting.api_level_min, greeting.api_level_max).ok_or(Ending::Version)?;
        self.shared.versions.note(device, greeting.version);
        Ok((reader, writer, device, lane))
    }

    /// Takes requests and starts them in their order; they may end in another.
    async fn read(
        &self,
        reader: &mut FrameReader<Reader>,
        device: DeviceKeyHash,
        lane: Lane,
        queue: mpsc::Sender<JoinHandle<PeerReply>>,
    ) -> Result<(), Ending> {
        loop {
            let Ok(place) = queue.reserve().await else { return Err(Ending::Bug) };
            let next = reader.next(lane.frame_bytes_max(), PeerRequest::parse);
            let request = match timeout(IDLE, next).await? {
                Err(FrameError::Closed) => return Ok(()),
                request => request?,
            };
            if !self.shared.desk.admits(&device) {
                return Err(Ending::NotAdmitted);
            }
            place.send(tokio::spawn(self.shared.desk.answer(device, request)));
        }
    }
}

type Reader = tokio::io::ReadHalf<TlsStream<TcpStream>>;
type Greeted =
    (FrameReader<Reader>, tokio::io::WriteHalf<TlsStream<TcpStream>>, DeviceKeyHash, Lane);

/// Sends replies in the order of their requests.
async fn reply(
    writer: &mut (impl AsyncWrite + Unpin),
    lane: Lane,
    mut queued: mpsc::Receiver<JoinHandle<PeerReply>>,
) -> Result<(), Ending> {
    while let Some(answer) = queued.recv().await {
        let reply = answer.await.map_err(|_| Ending::Bug)?;
        timeout(WRITE_PATIENCE, send(writer, &reply, lane.frame_bytes_max())).await??;
    }
    Ok(())
}
