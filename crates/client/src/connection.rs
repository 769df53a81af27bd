//! One connection to one HSM: frames over TLS 1.3, or over a UNIX socket, the first request, and
//! attaching to a client's login.
//!
//! A small request is one write, its answer one read. Buffers that held a message are wiped after
//! it. Dropping a connection closes its file descriptor and writes nothing: so that a child after
//! fork can let go of its parent's connections. [`Connection::close`] says goodbye.

use std::{
    io::{self, BufReader, ErrorKind, Read, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use cryptoki_sys::CKR_DATA_LEN_RANGE;
use rustls::{
    ClientConfig, ClientConnection,
    client::Resumption,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, cipher_suite, kx_group},
    },
    pki_types::ServerName,
    version::TLS13,
};
use strongroom_wire::{
    API_LEVEL_MAX, API_LEVEL_MIN, CHANNEL_BINDING_LABEL,
    frame::{FrameError, Outgoing},
    limits::{FRAME_BYTES_BEFORE_ATTACH_MAX, FRAME_BYTES_MAX, HANDSHAKE_MS_MAX},
    message::{Hello, HelloReply, Operation, Outcome, Ping, Reply, Request, Retry},
};

use crate::{
    Error,
    buffer::{BYTES_KEPT, Incoming},
    config::{Cluster, Server},
    fleet::Setback,
    login::Generation,
    site::Site,
    socket::{Direction, Socket},
    trust::{self, Anchor, Distrust, Identity, Verifier},
};

/// Room for two full TLS records, so that a 16 KiB answer with its header is one read.
const TLS_READ_BYTES: usize = 34 * 1024;
/// Ciphertext that waits for one write.
const TLS_WRITE_BYTES: usize = 256 * 1024;
/// A read or write that waits for longer asks what to do about it. As long as it takes for an HSM to
/// be overdue, so that a request that is answered in time costs no more system calls.
pub(crate) const SLICE: Duration = crate::fleet::OVERDUE;

/// Why a request on a connection has no answer that stands.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is of no use any more; another one may be.
    Lost {
        /// How.
        setback: Setback,
        /// Whether the HSM may have got the request.
        sent: bool,
        /// Why.
        reason: String,
    },
    /// The HSM can't now: [`Setback::Elsewhere`] or [`Setback::Again`]. The connection is good.
    Refused {
        /// Which.
        setback: Setback,
        /// CKR_…
        status: u64,
        /// Its words.
        message: String,
    },
    /// Who answered is not to be talked to; another HSM may be.
    Distrusted(Error),
    /// Nothing else would help.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// No connection could be made.
pub(crate) fn unsent(reason: impl ToString) -> Failure {
    Failure::Lost { setback: Setback::NotConnected, sent: false, reason: reason.to_string() }
}

/// The connection broke while a request was under way.
fn broken(reason: impl ToString) -> Failure {
    Failure::Lost { setback: Setback::Broken, sent: true, reason: reason.to_string() }
}

/// What to do about a read or write that nothing came of for a [`SLICE`].
pub(crate) trait Wait {
    /// Returns when to try again.
    ///
    /// # Errors
    /// Where the connection is to be given up.
    fn wait(&mut self, site: &Site, socket: &Socket, direction: Direction) -> Result<(), Failure>;
}

/// Waits until a moment and no longer.
pub(crate) struct Deadline(pub(crate) Instant);

impl Wait for Deadline {
    fn wait(&mut self, _: &Site, socket: &Socket, direction: Direction) -> Result<(), Failure> {
        let left = self.0.saturating_duration_since(Instant::now());
        match Socket::wait_for(&[(socket, direction)], left) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(unsent("no answer in time")),
            Err(e) => Err(unsent(e)),
        }
    }
}

/// A connection after its first request.
pub(crate) struct Connection {
    stream: Stream,
    outgoing: Outgoing,
    incoming: Incoming,
    /// The HSM that it leads to.
    pub(crate) site: Arc<Site>,
    /// Whether a request is under way on it, as the site counts them.
    under_way: bool,
    /// When its thread looks whether another HSM is better.
    pub(crate) choose_again: Instant,
    /// What the HSM takes: more where it knows whom from.
    request_limit: usize,
    /// The message set that both sides speak.
    pub(crate) api_level: u32,
    /// What a ticket's proof signs.
    pub(crate) binding: [u8; 32],
    /// The login (or none) that it has attached with.
    pub(crate) attached: Option<Generation>,
    /// Whether that was with a ticket.
    pub(crate) with_ticket: bool,
    /// When it last gave an answer.
    pub(crate) last_used: Instant,
}

enum Stream {
    Tls(Box<TlsStream>),
    Unix(Socket),
}

struct TlsStream {
    tls: ClientConnection,
    socket: BufReader<Socket>,
}

/// TLS settings of a cluster: made once, shared by its connections.
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    anchor: Arc<Anchor>,
}

impl Tls {
    pub(crate) fn new(anchor: Arc<Anchor>) -> Result<Self, Error> {
        let provider = CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_AES_128_GCM_SHA256,
            ],
            // The hybrid first: a password that is recorded today stays secret when X25519 falls.
            kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| Error::Config(format!("TLS: {e}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier(Arc::clone(&anchor))))
            .with_no_client_auth();
        // Every connection proves the HSM's identity anew.
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Self { config: Arc::new(config), anchor })
    }
}

/// Who answers at an address, as its certificate says after all checks: a TLS handshake and no more.
/// `configure-…` tools record [`Identity::cluster_key`] as the pin.
///
/// # Errors
/// [`Error::Config`], [`Error::Trust`], or [`Error::Connection`] after one attempt.
pub fn identify(cluster: &Cluster, server: &Server) -> Result<Identity, Error> {
    let tls = Tls::new(Arc::new(Anchor::open(cluster)?))?;
    let deadline = Instant::now() + Duration::from_millis(HANDSHAKE_MS_MAX);
    match handshake(server, &tls, (deadline, deadline)) {
        Ok((_, identity)) => Ok(identity),
        Err(Failure::Final(error) | Failure::Distrusted(error)) => Err(error),
        Err(Failure::Lost { reason, .. } | Failure::Refused { message: reason, .. }) => {
            Err(Error::Connection(reason))
        }
    }
}

/// Connects and checks who is there, each before its deadline; what goes wrong names the address.
fn handshake(
    server: &Server,
    tls: &Tls,
    (connect, deadline): (Instant, Instant),
) -> Result<(TlsStream, Identity), Failure> {
    let at = |what: String| format!("{server}: {what}");
    let socket = Socket::tcp(server, connect).map_err(|e| unsent(at(e.to_string())))?;
    TlsStream::handshake(socket, tls, deadline).map_err(|failure| match failure {
        Failure::Lost { setback, sent, reason } => {
            Failure::Lost { setback, sent, reason: at(reason) }
        }
        Failure::Distrusted(Error::Trust(why)) => Failure::Distrusted(Error::Trust(at(why))),
        other => other,
    })
}

impl Connection {
    /// Connects to an HSM of a cluster and checks who it is before anything is sent.
    pub(crate) fn tls(
        site: Arc<Site>,
        server: &Server,
        tls: &Tls,
        program: &str,
        deadlines: (Instant, Instant),
    ) -> Result<(Self, HelloReply), Failure> {
        let (stream, identity) = handshake(server, tls, deadlines)?;
        stream.socket.get_ref().set_timeout(SLICE).map_err(unsent)?;
        let mut binding = [0; 32];
        stream
            .tls
            .export_keying_material(&mut binding, CHANNEL_BINDING_LABEL, None)
            .map_err(unsent)?;
        let mut connection = Self::new(site, Stream::Tls(Box::new(stream)), binding);
        let hello = connection.hello(program, deadlines.1)?;
        if hello.cluster_id != identity.cluster_id || hello.hsm_id != identity.hsm_id {
            return Err(Failure::Distrusted(Error::Trust(format!(
                "{server}: name: the HSM calls itself {} of {}, its certificate says {} of {}",
                hello.hsm_id, hello.cluster_id, identity.hsm_id, identity.cluster_id
            ))));
        }
        Ok((connection, hello))
    }

    /// Connects to the local HSM.
    pub(crate) fn unix(
        site: Arc<Site>,
        socket: Socket,
        program: &str,
        deadline: Instant,
    ) -> Result<(Self, HelloReply), Failure> {
        socket.set_timeout(SLICE).map_err(unsent)?;
        let mut connection = Self::new(site, Stream::Unix(socket), [0; 32]);
        let hello = connection.hello(program, deadline)?;
        connection.binding = hello.server_nonce.as_slice().try_into().map_err(|_| {
            Error::Protocol("a local HSM must give 32 random bytes to prove a ticket with".into())
        })?;
        Ok((connection, hello))
    }

    fn new(site: Arc<Site>, stream: Stream, binding: [u8; 32]) -> Self {
        let now = Instant::now();
        Self {
            stream,
            outgoing: Outgoing::new(BYTES_KEPT),
            incoming: Incoming::new(),
            site,
            under_way: false,
            choose_again: now,
            request_limit: FRAME_BYTES_BEFORE_ATTACH_MAX,
            api_level: API_LEVEL_MIN,
            binding,
            attached: None,
            with_ticket: false,
            last_used: now,
        }
    }

    /// A request of the application's begins. Returns the HSM's answers so far.
    pub(crate) fn begin(&mut self) -> u32 {
        self.under_way = true;
        self.site.load.begin()
    }

    /// It has its answer. Where it gets none, dropping the connection tells.
    pub(crate) fn answered(&mut self) {
        if std::mem::take(&mut self.under_way) {
            self.site.load.answered();
        }
    }

    fn hello(&mut self, program: &str, deadline: Instant) -> Result<HelloReply, Failure> {
        let request = Request {
            api_level: API_LEVEL_MIN,
            operation: Some(Operation::Hello(Hello {
                api_level_min: API_LEVEL_MIN,
                api_level_max: API_LEVEL_MAX,
                client_name: program.to_owned(),
            })),
            ..Request::default()
        };
        let reply = self.exchange(&request, &mut Deadline(deadline)).map_err(not_the_callers)?;
        check_status(&reply)?;
        let Some(Outcome::Hello(hello)) = reply.outcome else {
            return Err(Error::Protocol("no answer to the first request".into()).into());
        };
        if !(API_LEVEL_MIN..=API_LEVEL_MAX).contains(&hello.api_level) {
            return Err(Error::Protocol(format!(
                "the HSM chose message set {}, this client speaks {API_LEVEL_MIN} to {API_LEVEL_MAX}",
                hello.api_level
            ))
            .into());
        }
        self.api_level = hello.api_level;
        Ok(hello)
    }

    /// Takes note of what it has attached with.
    pub(crate) fn set_attached(&mut self, generation: Generation, with_ticket: bool) {
        self.attached = Some(generation);
        self.with_ticket = with_ticket;
        let local = matches!(self.stream, Stream::Unix(_));
        self.request_limit =
            if with_ticket || local { FRAME_BYTES_MAX } else { FRAME_BYTES_BEFORE_ATTACH_MAX };
    }

    /// Sends a request and waits for its answer, whatever its status.
    pub(crate) fn exchange(
        &mut self,
        request: &Request,
        wait: &mut dyn Wait,
    ) -> Result<Reply, Failure> {
        self.send(request, wait)?;
        let reply = self.receive(wait)?;
        if reply.sequence != request.sequence {
            return Err(Error::Protocol(format!(
                "the HSM answered request {} where {} was sent (status {:#x}, {:?})",
                reply.sequence, request.sequence, reply.status, reply.message
            ))
            .into());
        }
        self.last_used = Instant::now();
        Ok(reply)
    }

    fn send(&mut self, request: &Request, wait: &mut dyn Wait) -> Result<(), Failure> {
        let (stream, site) = (&mut self.stream, &*self.site);
        let mut given_up = None;
        let sent = self.outgoing.send(request, self.request_limit, |frame| {
            stream.write_frame(frame, &mut |socket| {
                wait.wait(site, socket, Direction::Write).map_err(|failure| {
                    given_up = Some(failure);
                    ErrorKind::TimedOut.into()
                })
            })
        });
        sent.map_err(|error| match (given_up, error) {
            (Some(failure), _) => failure,
            // Part of the frame may have been sent: whether all of it came through is not known.
            (None, FrameError::Io(e)) => broken(e),
            (None, too_long) => {
                let limited = self.request_limit < FRAME_BYTES_MAX;
                let hint = if limited { " (without a login)" } else { "" };
                let what = format!("the request is too long{hint}: {too_long}");
                Error::caller(CKR_DATA_LEN_RANGE, what).into()
            }
        })
    }

    fn receive(&mut self, wait: &mut dyn Wait) -> Result<Reply, Failure> {
        let payload = loop {
            match self.incoming.read_frame(&mut self.stream, FRAME_BYTES_MAX) {
                Err(FrameError::Io(e)) if e.kind() == ErrorKind::TimedOut => {
                    let waited = wait.wait(&self.site, self.stream.socket(), Direction::Read);
                    if let Err(failure) = waited {
                        self.incoming.wipe();
                        return Err(failure);
                    }
                }
                read => break read,
            }
        };
        let reply = payload.and_then(|()| {
            <Reply as prost::Message>::decode(self.incoming.payload())
                .map_err(FrameError::Malformed)
        });
        self.incoming.wipe();
        reply.map_err(|error| match error {
            FrameError::Closed => broken("closed by the HSM"),
            FrameError::Io(e) => broken(e),
            other => Failure::Final(Error::Protocol(other.to_string())),
        })
    }

    /// Asks whether the HSM is there, and waits at most for `patience`, or until `other` is ready.
    pub(crate) fn ping(
        &mut self,
        sequence: u64,
        other: Option<(&Socket, Direction)>,
        patience: Duration,
    ) -> Result<Pong, Failure> {
        let deadline = Instant::now() + patience;
        let request = Request {
            api_level: self.api_level,
            sequence,
            operation: Some(Operation::Ping(Ping {})),
            ..Request::default()
        };
        self.send(&request, &mut Deadline(deadline))?;
        let own = (self.stream.socket(), Direction::Read);
        let sockets: Vec<_> = std::iter::once(own).chain(other).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        match Socket::wait_for(&sockets, left).map_err(broken)? {
            None => return Ok(Pong::Silence),
            Some(0) => {}
            Some(_) => return Ok(Pong::OtherReady),
        }
        let reply = self.receive(&mut Deadline(deadline))?;
        if reply.sequence != sequence {
            return Err(Error::Protocol("an answer to another ping".into()).into());
        }
        self.last_used = Instant::now();
        Ok(Pong::Answered)
    }

    /// Whether the peer still holds an idle connection open, as far as is known here without
    /// asking it.
    pub(crate) fn is_alive(&mut self) -> bool {
        match &mut self.stream {
            Stream::Unix(socket) => !socket.has_something_to_read(),
            // An HSM sends nothing by itself but TLS session tickets, right after the handshake:
            // they were read with the first answer.
            Stream::Tls(stream) => {
                stream.socket.buffer().is_empty()
                    && !stream.socket.get_ref().has_something_to_read()
            }
        }
    }

    /// Closes in order, as far as that goes without waiting.
    pub(crate) fn close(mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.tls.send_close_notify();
            let _ = stream.tls.write_tls(stream.socket.get_mut());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.under_way {
            self.site.load.failed();
        }
    }
}

/// What became of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pong {
    Answered,
    Silence,
    /// What else was waited for came first. The answer to the ping is still to come, so the connection
    /// is of no use any more.
    OtherReady,
}

/// A reply that says that the request may do better is a failure to be acted on.
pub(crate) fn check_retry(reply: &Reply) -> Result<(), Failure> {
    let setback = match Retry::try_from(reply.retry) {
        _ if reply.status == 0 => return Ok(()),
        Ok(Retry::Elsewhere) => Setback::Elsewhere,
        Ok(Retry::Again) => Setback::Again,
        Ok(Retry::Never) | Err(_) => return Ok(()),
    };
    Err(Failure::Refused { setback, status: reply.status, message: reply.message.clone() })
}

/// An answer's status as an error.
pub(crate) fn check_status(reply: &Reply) -> Result<(), Failure> {
    check_retry(reply)?;
    match reply.status {
        0 => Ok(()),
        status => Err(Error::Hsm { status, message: reply.message.clone() }.into()),
    }
}

/// A failure of a request of the client's own: the caller's has not been sent.
pub(crate) fn not_the_callers(failure: Failure) -> Failure {
    match failure {
        Failure::Lost { setback, reason, .. } => Failure::Lost { setback, sent: false, reason },
        other => other,
    }
}

impl TlsStream {
    fn handshake(
        socket: Socket,
        tls: &Tls,
        deadline: Instant,
    ) -> Result<(Self, Identity), Failure> {
        socket.set_timeout(SLICE).map_err(unsent)?;
        // The HSM is known by the URI in its certificate; a host name plays no part.
        let name = ServerName::try_from("strongroom.invalid").map_err(unsent)?;
        let config = Arc::clone(&tls.config);
        let mut connection = ClientConnection::new(config, name).map_err(unsent)?;
        connection.set_buffer_limit(Some(TLS_WRITE_BYTES));
        let socket = BufReader::with_capacity(TLS_READ_BYTES, socket);
        let mut stream = Self { tls: connection, socket };
        while stream.tls.is_handshaking() {
            match stream.send() {
                Err(e) if e.kind() == ErrorKind::TimedOut && Instant::now() < deadline => continue,
                sent => sent.map_err(unsent)?,
            }
            match stream.tls.read_tls(&mut stream.socket) {
                Ok(0) => {
                    return Err(unsent(
                        "closed during the TLS handshake (an HSM whose cluster is not initialised \
                         takes no clients)",
                    ));
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::TimedOut => {
                    if Instant::now() >= deadline {
                        return Err(unsent("the TLS handshake takes too long"));
                    }
                    continue;
                }
                Err(e) => return Err(unsent(e)),
            }
            if let Err(error) = stream.tls.process_new_packets() {
                // The alert tells the peer why; what becomes of it doesn't matter.
                let _ = stream.send();
                return Err(handshake_failure(error));
            }
        }
        let chain = stream.tls.peer_certificates().unwrap_or_default();
        let identity = trust::identity(&tls.anchor, chain).map_err(Failure::Distrusted)?;
        Ok((stream, identity))
    }

    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(self.socket.get_mut())?;
        }
        Ok(())
    }
}

/// Which of rustls' errors in the handshake say that the peer is not one to be trusted.
fn handshake_failure(error: rustls::Error) -> Failure {
    use rustls::{CertificateError, Error as TlsError, OtherError};
    let why = match &error {
        TlsError::InvalidCertificate(CertificateError::Other(OtherError(inner)))
            if inner.downcast_ref::<Distrust>().is_some() =>
        {
            inner.to_string()
        }
        TlsError::InvalidMessage(_) => {
            "TLS: what answers does not speak TLS: check address and port".into()
        }
        TlsError::PeerIncompatible(_) => {
            format!("TLS: the HSM must speak TLS 1.3, and what answers does not: {error}")
        }
        TlsError::AlertReceived(rustls::AlertDescription::ProtocolVersion) => {
            "TLS: the HSM must speak TLS 1.3, and what answers does not".into()
        }
        TlsError::AlertReceived(_) => return unsent(error),
        _ => format!("TLS: {error}"),
    };
    Failure::Distrusted(Error::Trust(why))
}

impl Stream {
    fn socket(&self) -> &Socket {
        match self {
            Self::Unix(socket) => socket,
            Self::Tls(stream) => stream.socket.get_ref(),
        }
    }

    /// Where nothing goes out for a [`SLICE`], `wait` says whether to go on.
    fn write_frame(
        &mut self,
        mut frame: &[u8],
        wait: &mut dyn FnMut(&Socket) -> io::Result<()>,
    ) -> io::Result<()> {
        while !frame.is_empty() {
            let written = match self {
                Self::Unix(socket) => socket.write(frame),
                Self::Tls(stream) => stream.tls.writer().write(frame),
            };
            match written {
                // TLS takes no more before what it has is sent.
                Ok(taken) => frame = &frame[taken..],
                Err(e) if e.kind() == ErrorKind::TimedOut => wait(self.socket())?,
                Err(e) => return Err(e),
            }
            while let Self::Tls(stream) = self {
                match stream.send() {
                    Ok(()) => break,
                    Err(e) if e.kind() == ErrorKind::TimedOut => wait(stream.socket.get_ref())?,
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = match self {
            Self::Unix(socket) => return socket.read(buffer),
            Self::Tls(stream) => stream,
        };
        loop {
            match stream.tls.reader().read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            if stream.tls.read_tls(&mut stream.socket)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            stream.tls.process_new_packets().map_err(io::Error::other)?;
            // The peer may have asked for new keys.
            stream.send()?;
        }
    }
}
