//! One lane to one HSM: a task that holds a connection while it is used, and makes it anew when it
//! breaks.
//!
//! Requests leave in the order in which they were put in, without waiting for replies; replies come
//! in the same order. An HSM that is stopped or cut off fails its own callers only: each of them has
//! its own patience, and a connection whose replies are overdue is given up, because after a
//! partition TCP would go on waiting long after the network is whole again.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use strongroom_cluster::{DeviceKeyHash, TransportError};
use strongroom_wire::frame::FrameError;
use strongroom_wire::greeting::{Greeting, Lane};
use strongroom_wire::limits::PEER_SMALL_FRAME_BYTES_MAX;
use strongroom_wire::negotiate;
use strongroom_wire::peer::PeerReply;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Versions;
use super::frames::{FrameReader, send};

/// For a connection to be made. On one network it takes a few milliseconds; longer than the first
/// SYN is waited for is no use, since TCP sends the second only after a second.
const DIAL_PATIENCE: Duration = Duration::from_millis(800);
/// After a connection could not be made; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(320);
/// Replies that are overdue by so much end the connection.
const OVERDUE: Duration = Duration::from_secs(1);
/// Between two looks whether they are.
const LOOK: Duration = Duration::from_millis(250);
/// An HSM that takes no request for so long is stopped or gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);
/// Without a request for so long the connection is closed, and the task ends.
const IDLE: Duration = Duration::from_secs(30);

/// What a caller gets.
pub(super) type Outcome = Result<PeerReply, TransportError>;

/// One request.
pub(super) struct Job {
    /// Encoded.
    pub(super) frame: Vec<u8>,
    /// When its caller stops waiting.
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Outcome>,
}

impl Job {
    fn fail(self, error: TransportError) {
        // The caller may have gone.
        let _ = self.answer.send(Err(error));
    }
}

/// Whom a lane leads to.
pub(super) struct Destination {
    pub(super) device: DeviceKeyHash,
    /// From where.
    pub(super) source: IpAddr,
    pub(super) address: SocketAddr,
    pub(super) lane: Lane,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) versions: Arc<Versions>,
}

type Stream = TlsStream<TcpStream>;

struct Dialled {
    reader: FrameReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
}

/// Who waits for a reply, in the order of the requests.
type Waiting = Mutex<VecDeque<(Instant, oneshot::Sender<Outcome>)>>;

/// Carries requests until nobody can put any in, or for long nobody has.
pub(super) async fn run(destination: Destination, mut queue: mpsc::Receiver<Job>) {
    let mut pause = PAUSE_MIN;
    loop {
        let Ok(Some(first)) = timeout(IDLE, queue.recv()).await else { return };
        if first.deadline <= Instant::now() {
            first.fail(TransportError::TimedOut);
            continue;
        }
        match destination.dial().await {
            Ok(dialled) => {
                pause = PAUSE_MIN;
                let ended = destination.carry(dialled, first, &mut queue).await;
                tracing::debug!(address = %destination.address, lane = ?destination.lane, "{ended}");
            }
            Err(e) => {
                let error = TransportError::Unreachable(format!("{}: {e}", destination.address));
                first.fail(error.clone());
                let end = Instant::now() + pause;
                pause = (pause * 2).min(PAUSE_MAX);
                // Whoever asks before the next try knows at once.
                while let Ok(job) = tokio::time::timeout_at(end, queue.recv()).await {
                    let Some(job) = job else { return };
                    job.fail(error.clone());
                }
            }
        }
    }
}

impl Destination {
    async fn dial(&self) -> Result<Dialled, FrameError> {
        let slow = |_| FrameError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        timeout(DIAL_PATIENCE, self.greet()).await.map_err(slow)?
    }

    async fn greet(&self) -> Result<Dialled, FrameError> {
        let socket = match self.source {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(self.source, 0))?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, stream).await?;
        let (reader, mut writer) = tokio::io::split(stream);
        let greeting = Greeting::new(env!("CARGO_PKG_VERSION"), self.lane);
        send(&mut writer, &greeting, PEER_SMALL_FRAME_BYTES_MAX).await?;
        let mut reader = FrameReader::new(reader);
        let answer = reader.next(PEER_SMALL_FRAME_BYTES_MAX, Greeting::parse).await?;
        if negotiate(answer.api_level_min, answer.api_level_max).is_none() {
            return Err(std::io::Error::other("no common message set").into());
        }
        self.versions.note(self.device, answer.version);
        Ok(Dialled { reader, writer })
    }

    /// Carries requests over one connection until it ends; says why it did.
    async fn carry(
        &self,
        dialled: Dialled,
        first: Job,
        queue: &mut mpsc::Receiver<Job>,
    ) -> FrameError {
        let Dialled { mut reader, mut writer } = dialled;
        let waiting = Waiting::default();
        let ended = tokio::select! {
            ended = write(&mut writer, first, queue, &waiting) => ended,
            ended = self.read(&mut reader, &waiting) => ended,
        };
        let error = TransportError::Broken(ended.to_string());
        for (_, answer) in waiting.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let _ = answer.send(Err(error.clone()));
        }
        ended
    }

    async fn read(
        &self,
        reader: &mut FrameReader<ReadHalf<Stream>>,
        waiting: &Waiting,
    ) -> FrameError {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                reply = reader.next(self.lane.frame_bytes_max(), PeerReply::parse) => {
                    let reply = match reply {
                        Ok(reply) => reply,
                        Err(e) => return e,
                    };
                    let answer = lock(waiting).pop_front();
                    let Some((_, answer)) = answer else {
                        return std::io::Error::other("a reply to no request").into();
                    };
                    let _ = answer.send(Ok(reply));
                }
                _ = look.tick() => {
                    let oldest = lock(waiting).front().map(|(deadline, _)| *deadline);
                    if oldest.is_some_and(|deadline| deadline + OVERDUE <= Instant::now()) {
                        return std::io::Error::from(std::io::ErrorKind::TimedOut).into();
                    }
                }
            }
        }
    }
}

async fn write(
    writer: &mut WriteHalf<Stream>,
    first: Job,
    queue: &mut mpsc::Receiver<Job>,
    waiting: &Waiting,
) -> FrameError {
    let mut next = Some(first);
    loop {
        let job = match next.take() {
            Some(job) => job,
            None => match timeout(IDLE, queue.recv()).await {
                Ok(Some(job)) => job,
                Err(_) if !lock(waiting).is_empty() => continue,
                _ => {
                    let _ = writer.shutdown().await;
                    return FrameError::Closed;
                }
            },
        };
        if job.deadline <= Instant::now() {
            job.fail(TransportError::TimedOut);
            continue;
        }
        lock(waiting).push_back((job.deadline, job.answer));
        let written = timeout(WRITE_PATIENCE, async {
            writer.write_all(&job.frame).await?;
            writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return e.into(),
            Err(_) => return std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
        }
    }
}

fn lock(
    waiting: &Waiting,
) -> std::sync::MutexGuard<'_, VecDeque<(Instant, oneshot::Sender<Outcome>)>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
