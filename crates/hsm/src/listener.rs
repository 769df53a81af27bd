//! The accept loop: one thread that waits for connections, for the request to stop and, on a local
//! HSM, for the end of idle time; and a thread for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use strongroom_engine::{Channel, Engine};
use strongroom_vault::Replicator as _;
use strongroom_wire::limits::{CONNECTIONS_MAX, HANDSHAKE_MS_MAX};

use crate::Error;
use crate::administration::Administration;
use crate::connection::{ClientService, Ending, serve};
use crate::connections::{Connections, Guard};
use crate::frames::FrameBuffer;
use crate::hsm::Hsm;
use crate::link::{Link, Socket, TlsLink, UnixLink};
use crate::local::LocalSocket;
use crate::stop::StopRequest;

/// Stack of a connection's thread. The deepest use is aws-lc's RSA-4096 and P-521 arithmetic, some
/// 30 KiB; big buffers are on the heap.
const STACK_BYTES: usize = 512 * 1024;
/// Administration needs one connection; some more for a provisioner that lost one.
const ADMINISTRATORS_MAX: usize = 16;
/// After accept failed (no descriptors left): time for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For requests in progress when the HSM stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// One listening socket and what answers on it.
pub(crate) enum Door {
    /// Port 2223.
    Clients { listener: TcpListener, hsm: Arc<Hsm> },
    /// Port 2224.
    Administration { listener: TcpListener, hsm: Arc<Hsm>, tls: Arc<rustls::ServerConfig> },
    /// The UNIX socket of a local HSM, which ends after `idle` without a connection.
    Local { socket: LocalSocket, hsm: Arc<Hsm>, idle: Duration },
}

/// Binds a TCP listener for the accept loop.
///
/// # Errors
/// [`Error::Listen`].
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |source| Error::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Accepts until the request to stop, or until a local HSM has been idle for long; then calls
/// `ending`, lets requests in progress end, and returns.
///
/// # Errors
/// Where the system cannot poll.
pub(crate) fn accept_until_stopped(
    doors: &mut [Door],
    stop: &StopRequest,
    ending: impl FnOnce(),
) -> Result<(), Error> {
    let clients = Connections::new();
    let administrators = Connections::new();
    loop {
        let patience = patience(doors, &clients);
        match wait(doors, stop, patience)? {
            Wake::Stop => break,
            Wake::Connection => {}
        }
        for door in &*doors {
            while door.accept(&clients, &administrators) {}
        }
        if patience.is_some() && !go_on(doors, &clients, &administrators)? {
            tracing::info!("idle: ending");
            break;
        }
    }
    ending();
    if !(clients.stop(STOP_PATIENCE) && administrators.stop(STOP_PATIENCE)) {
        tracing::warn!("some requests had not ended after {} s", STOP_PATIENCE.as_secs());
    }
    Ok(())
}

enum Wake {
    Stop,
    Connection,
}

/// How long to wait at most; `None` where nothing ends by itself.
fn patience(doors: &[Door], clients: &Connections) -> Option<Duration> {
    doors.iter().find_map(|door| match door {
        // While there is a connection, the end of its time cannot come before `idle` has passed.
        Door::Local { idle, .. } => {
            Some(clients.idle_for().map_or(*idle, |passed| idle.saturating_sub(passed)))
        }
        _ => None,
    })
}

fn wait(doors: &[Door], stop: &StopRequest, patience: Option<Duration>) -> Result<Wake, Error> {
    let mut polled: Vec<PollFd<'_>> = std::iter::once(stop.as_fd())
        .chain(doors.iter().map(Door::descriptor))
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    // Rounded up, so that a wait ends after the time, not just before it.
    let timeout =
        patience.and_then(|patience| Timespec::try_from(patience + Duration::from_millis(1)).ok());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(e) => return Err(Error::io("waiting for connections")(e)),
    }
    let stopped = polled.first().is_some_and(|fd| !fd.revents().is_empty());
    Ok(if stopped { Wake::Stop } else { Wake::Connection })
}

/// Whether a local HSM goes on. At the end of idle time it first takes its socket away; a client
/// that had connected just then is served, and the socket put back.
fn go_on(
    doors: &mut [Door],
    clients: &Arc<Connections>,
    administrators: &Arc<Connections>,
) -> Result<bool, Error> {
    for door in doors {
        let Door::Local { socket, idle, .. } = &*door else { continue };
        if clients.idle_for().is_none_or(|passed| passed < *idle) {
            continue;
        }
        socket.remove();
        if !door.accept(clients, administrators) {
            return Ok(false);
        }
        while door.accept(clients, administrators) {}
        if let Door::Local { socket, .. } = door {
            socket.bind_again()?;
        }
    }
    Ok(true)
}

impl Door {
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Clients { listener, .. } | Self::Administration { listener, .. } => {
                listener.as_fd()
            }
            Self::Local { socket, .. } => socket.listener().as_fd(),
        }
    }

    /// Takes one connection; whether there may be another.
    fn accept(&self, clients: &Arc<Connections>, administrators: &Arc<Connections>) -> bool {
        let accepted = match self {
            Self::Clients { listener, .. } | Self::Administration { listener, .. } => {
                listener.accept().map(|(stream, peer)| (Socket::Tcp(stream), peer.to_string()))
            }
            Self::Local { socket, .. } => socket.accept(),
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => return retry_accept(&e),
        };
        let (connections, max) = match self {
            Self::Administration { .. } => (administrators, ADMINISTRATORS_MAX),
            _ => (clients, CONNECTIONS_MAX),
        };
        let socket = Arc::new(socket);
        match connections.enter(&socket, max) {
            Some(guard) => self.spawn(socket, peer, guard),
            None => tracing::warn!(peer, "refused: {max} connections are open"),
        }
        true
    }

    fn spawn(&self, socket: Arc<Socket>, peer: String, guard: Guard) {
        let name = match self {
            Self::Administration { .. } => "administrator",
            _ => "client",
        };
        let session = self.session();
        let spawned =
            Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
                let _guard = guard;
                match session.run(socket, &peer) {
                    Ok(Ending::Closed) => tracing::debug!(peer, "closed"),
                    Ok(Ending::Bug) => tracing::error!(peer, "{}", Ending::Bug),
                    Ok(ending) => tracing::info!(peer, "closed: {ending}"),
                    Err(e) => tracing::info!(peer, "refused: {e}"),
                }
            });
        if let Err(e) = spawned {
            tracing::warn!("refused a connection: no thread: {e}");
        }
    }

    fn session(&self) -> Session {
        match self {
            Self::Clients { hsm, .. } => Session::Client { hsm: Arc::clone(hsm) },
            Self::Administration { hsm, tls, .. } => {
                Session::Administrator { hsm: Arc::clone(hsm), tls: Arc::clone(tls) }
            }
            Self::Local { hsm, .. } => Session::Local { hsm: Arc::clone(hsm) },
        }
    }
}

/// Whether to accept again at once after a failure.
fn retry_accept(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::WouldBlock => false,
        // The peer went away between its connect and our accept; or it is not ours to serve.
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::Interrupted
        | io::ErrorKind::PermissionDenied => true,
        _ => {
            tracing::warn!("cannot accept: {error}");
            std::thread::sleep(ACCEPT_PAUSE);
            false
        }
    }
}

/// What a connection's thread needs.
enum Session {
    Client { hsm: Arc<Hsm> },
    Administrator { hsm: Arc<Hsm>, tls: Arc<rustls::ServerConfig> },
    Local { hsm: Arc<Hsm> },
}

impl Session {
    /// Serves one connection to its end.
    ///
    /// # Errors
    /// Where it never came to a request.
    fn run(self, socket: Arc<Socket>, peer: &str) -> io::Result<Ending> {
        let deadline = Instant::now() + Duration::from_millis(HANDSHAKE_MS_MAX);
        socket.prepare()?;
        let mut received = FrameBuffer::new();
        match self {
            Self::Client { hsm } => {
                let (engine, tls) = client_service(&hsm)?;
                let mut link = TlsLink::accept(socket, tls, &mut received, deadline)?;
                let binding = link.channel_binding().map_err(io::Error::other)?;
                let channel = Channel { binding, local: false, peer: peer.to_owned() };
                Ok(serve_client(&mut link, &engine, channel, received, deadline))
            }
            Self::Local { hsm } => {
                let member = hsm.member();
                let service = member.as_ref().and_then(|member| member.service.as_ref());
                let engine = &service.ok_or_else(not_served)?.engine;
                let mut binding = [0; 32];
                strongroom_crypto::random(&mut binding).map_err(io::Error::other)?;
                let channel = Channel { binding, local: true, peer: peer.to_owned() };
                let mut link = UnixLink::new(socket);
                Ok(serve_client(&mut link, engine, channel, received, deadline))
            }
            Self::Administrator { hsm, tls } => {
                let mut link = TlsLink::accept(socket, tls, &mut received, deadline)?;
                let mut service = Administration(hsm);
                Ok(serve(&mut link, &mut service, received, deadline))
            }
        }
    }
}

/// What a client on the network is served with now.
///
/// # Errors
/// Where none is served: the HSM is no member, or its cluster has no owner.
fn client_service(hsm: &Hsm) -> io::Result<(Arc<Engine>, Arc<rustls::ServerConfig>)> {
    let member = hsm.member().ok_or_else(not_served)?;
    let service = member.service.as_ref().ok_or_else(not_served)?;
    let trust = service.trust.as_ref().ok_or_else(not_served)?;
    trust.follow(&member.node.state().read(), SystemTime::now()).map_err(io::Error::other)?;
    let tls = trust.config().ok_or_else(|| {
        io::Error::other("the cluster is not initialised: no client is served yet")
    })?;
    Ok((Arc::clone(&service.engine), tls))
}

fn not_served() -> io::Error {
    io::Error::other("this HSM serves no clients")
}

fn serve_client(
    link: &mut impl Link,
    engine: &Arc<Engine>,
    channel: Channel,
    received: FrameBuffer,
    deadline: Instant,
) -> Ending {
    let mut service = ClientService(engine.connect(channel));
    serve(link, &mut service, received, deadline)
}
