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
    message::{Hello, HelloReply, Operation, Outcome, Reply, Request},
};

use crate::{
    Error,
    buffer::{BYTES_KEPT, Incoming},
    config::{Cluster, Server},
    login::Generation,
    socket::Socket,
    trust::{self, Anchor, Distrust, Identity, Verifier},
};

/// Room for two full TLS records, so that a 16 KiB answer with its header is one read.
const TLS_READ_BYTES: usize = 34 * 1024;
/// Ciphertext that waits for one write.
const TLS_WRITE_BYTES: usize = 256 * 1024;

/// Why a request on a connection has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is of no use any more; another one may be.
    Lost {
        /// Whether the HSM may have got the request.
        sent: bool,
        /// Why.
        reason: String,
    },
    /// Another connection would not help.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

pub(crate) fn unsent(reason: impl ToString) -> Failure {
    Failure::Lost { sent: false, reason: reason.to_string() }
}

/// A connection after its first request.
pub(crate) struct Connection {
    stream: Stream,
    outgoing: Outgoing,
    incoming: Incoming,
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
    match handshake(server, &tls) {
        Ok((_, identity)) => Ok(identity),
        Err(Failure::Final(error)) => Err(error),
        Err(Failure::Lost { reason, .. }) => Err(Error::Connection(reason)),
    }
}

/// Connects and checks who is there; what goes wrong names the address.
fn handshake(server: &Server, tls: &Tls) -> Result<(TlsStream, Identity), Failure> {
    let at = |what: String| format!("{server}: {what}");
    let socket = Socket::tcp(server).map_err(|e| unsent(at(e.to_string())))?;
    TlsStream::handshake(socket, tls).map_err(|failure| match failure {
        Failure::Lost { sent, reason } => Failure::Lost { sent, reason: at(reason) },
        Failure::Final(Error::Trust(why)) => Failure::Final(Error::Trust(at(why))),
        other => other,
    })
}

impl Connection {
    /// Connects to an HSM of a cluster and checks who it is before anything is sent.
    pub(crate) fn tls(
        server: &Server,
        tls: &Tls,
        answer_timeout: Duration,
        program: &str,
    ) -> Result<(Self, HelloReply), Failure> {
        let (stream, identity) = handshake(server, tls)?;
        stream.socket.get_ref().set_timeout(answer_timeout).map_err(unsent)?;
        let mut binding = [0; 32];
        stream
            .tls
            .export_keying_material(&mut binding, CHANNEL_BINDING_LABEL, None)
            .map_err(unsent)?;
        let mut connection = Self::new(Stream::Tls(Box::new(stream)), binding);
        let hello = connection.hello(program)?;
        if hello.cluster_id != identity.cluster_id || hello.hsm_id != identity.hsm_id {
            return Err(Failure::Final(Error::Trust(format!(
                "{server}: name: the HSM calls itself {} of {}, its certificate says {} of {}",
                hello.hsm_id, hello.cluster_id, identity.hsm_id, identity.cluster_id
            ))));
        }
        Ok((connection, hello))
    }

    /// Connects to the local HSM.
    pub(crate) fn unix(
        socket: Socket,
        answer_timeout: Duration,
        program: &str,
    ) -> Result<(Self, HelloReply), Failure> {
        socket.set_timeout(answer_timeout).map_err(unsent)?;
        let mut connection = Self::new(Stream::Unix(socket), [0; 32]);
        let hello = connection.hello(program)?;
        connection.binding = hello.server_nonce.as_slice().try_into().map_err(|_| {
            Error::Protocol("a local HSM must give 32 random bytes to prove a ticket with".into())
        })?;
        Ok((connection, hello))
    }

    fn new(stream: Stream, binding: [u8; 32]) -> Self {
        Self {
            stream,
            outgoing: Outgoing::new(BYTES_KEPT),
            incoming: Incoming::new(),
            request_limit: FRAME_BYTES_BEFORE_ATTACH_MAX,
            api_level: API_LEVEL_MIN,
            binding,
            attached: None,
            with_ticket: false,
            last_used: Instant::now(),
        }
    }

    fn hello(&mut self, program: &str) -> Result<HelloReply, Failure> {
        let request = Request {
            api_level: API_LEVEL_MIN,
            operation: Some(Operation::Hello(Hello {
                api_level_min: API_LEVEL_MIN,
                api_level_max: API_LEVEL_MAX,
                client_name: program.to_owned(),
            })),
            ..Request::default()
        };
        let reply = self.exchange(&request).map_err(|failure| match failure {
            // Nothing of the caller's was in it.
            Failure::Lost { reason, .. } => unsent(reason),
            other => other,
        })?;
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
    pub(crate) fn exchange(&mut self, request: &Request) -> Result<Reply, Failure> {
        let stream = &mut self.stream;
        let sent =
            self.outgoing.send(request, self.request_limit, |frame| stream.write_frame(frame));
        sent.map_err(|error| match error {
            // Part of the frame may have been sent: whether all of it came through is not known.
            FrameError::Io(e) => Failure::Lost { sent: true, reason: e.to_string() },
            too_long => {
                let limited = self.request_limit < FRAME_BYTES_MAX;
                let hint = if limited { " (without a login)" } else { "" };
                let what = format!("the request is too long{hint}: {too_long}");
                Error::caller(CKR_DATA_LEN_RANGE, what).into()
            }
        })?;
        let payload = self.incoming.read_frame(&mut self.stream, FRAME_BYTES_MAX);
        let reply = payload.and_then(|payload| {
            <Reply as prost::Message>::decode(payload).map_err(FrameError::Malformed)
        });
        self.incoming.wipe();
        let reply = reply.map_err(|error| match error {
            FrameError::Closed => Failure::Lost { sent: true, reason: "closed by the HSM".into() },
            FrameError::Io(e) => Failure::Lost { sent: true, reason: e.to_string() },
            other => Failure::Final(Error::Protocol(other.to_string())),
        })?;
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

/// An answer's status as an error.
pub(crate) fn check_status(reply: &Reply) -> Result<(), Error> {
    match reply.status {
        0 => Ok(()),
        status => Err(Error::Hsm { status, message: reply.message.clone() }),
    }
}

impl TlsStream {
    fn handshake(socket: Socket, tls: &Tls) -> Result<(Self, Identity), Failure> {
        let limit = Duration::from_millis(HANDSHAKE_MS_MAX);
        let deadline = Instant::now() + limit;
        socket.set_timeout(limit).map_err(unsent)?;
        // The HSM is known by the URI in its certificate; a host name plays no part.
        let name = ServerName::try_from("strongroom.invalid").map_err(unsent)?;
        let config = Arc::clone(&tls.config);
        let mut connection = ClientConnection::new(config, name).map_err(unsent)?;
        connection.set_buffer_limit(Some(TLS_WRITE_BYTES));
        let socket = BufReader::with_capacity(TLS_READ_BYTES, socket);
        let mut stream = Self { tls: connection, socket };
        while stream.tls.is_handshaking() {
            if Instant::now() > deadline {
                return Err(unsent("the TLS handshake takes too long"));
            }
            stream.send().map_err(unsent)?;
            match stream.tls.read_tls(&mut stream.socket) {
                Ok(0) => {
                    return Err(unsent(
                        "closed during the TLS handshake (an HSM whose cluster is not initialised \
                         takes no clients)",
                    ));
                }
                Ok(_) => {}
                Err(e) => return Err(unsent(e)),
            }
            if let Err(error) = stream.tls.process_new_packets() {
                // The alert tells the peer why; what becomes of it doesn't matter.
                let _ = stream.send();
                return Err(handshake_failure(error));
            }
        }
        let chain = stream.tls.peer_certificates().unwrap_or_default();
        let identity = trust::identity(&tls.anchor, chain)?;
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
    Failure::Final(Error::Trust(why))
}

impl Stream {
    fn write_frame(&mut self, mut frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.write_all(frame),
            Self::Tls(stream) => {
                while !frame.is_empty() {
                    let taken = stream.tls.writer().write(frame)?;
                    frame = &frame[taken..];
                    stream.send()?;
                }
                Ok(())
            }
        }
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
