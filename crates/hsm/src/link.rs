//! One connection as frames see it: plaintext in, plaintext out, over TLS or a UNIX socket.
//!
//! Each round trip costs one read and one write of the system where the kernel allows: ciphertext
//! is read in pieces as large as a TLS record, and a reply leaves in one gathered write.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConnection;
use strongroom_wire::CHANNEL_BINDING_LABEL;
use strongroom_wire::wipe::wipe;

use crate::frames::FrameBuffer;

/// A TLS 1.3 record with its header and tag: 5 + 2^14 + 256 bytes (RFC 8446, section 5.2).
const STAGING_BYTES: usize = 16 * 1024 + 512;
/// A peer that takes no reply for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// A connected stream of either kind, shared with the registry that stops it.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Sets what every connection has: no delay of small frames, dead peers noticed, a bound on
    /// how long a write may hang.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                rustix::net::sockopt::set_socket_keepalive(stream, true)?;
                rustix::net::sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
                stream.set_write_timeout(Some(WRITE_PATIENCE))
            }
            Self::Unix(stream) => stream.set_write_timeout(Some(WRITE_PATIENCE)),
        }
    }

    /// No read takes longer; `None` waits for ever.
    pub(crate) fn set_read_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(patience),
            Self::Unix(stream) => stream.set_read_timeout(patience),
        }
    }

    /// Ends reading: a thread that waits for a request sees the end, one that works can still
    /// answer. The peer may be gone already, which is as good.
    pub(crate) fn stop_reading(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Read),
            Self::Unix(stream) => stream.shutdown(Shutdown::Read),
        };
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match self {
                Socket::Tcp(stream) => (&mut &*stream).read(buffer),
                Socket::Unix(stream) => (&mut &*stream).read(buffer),
            };
            match result {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // What the system says when the patience of a read is over.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                other => return other,
            }
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write(bytes),
            Socket::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write_vectored(bytes),
            Socket::Unix(stream) => (&mut &*stream).write_vectored(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plaintext over a connection.
pub(crate) trait Link {
    /// Waits for something to come, until `deadline` where there is one, and appends its plaintext,
    /// which may be none. `false`: the peer has closed.
    fn receive(&mut self, into: &mut FrameBuffer, deadline: Option<Instant>) -> io::Result<bool>;

    /// Sends all of `bytes`.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Says good-bye. Best effort.
    fn close(&mut self);
}

/// TLS 1.3 over TCP, as the server.
pub(crate) struct TlsLink {
    socket: Arc<Socket>,
    tls: ServerConnection,
    staging: Vec<u8>,
    timed: bool,
}

impl TlsLink {
    /// Completes the handshake before `deadline`.
    ///
    /// # Errors
    /// The peer's or the connection's; the peer has been sent an alert where TLS has one.
    pub(crate) fn accept(
        socket: Arc<Socket>,
        config: Arc<rustls::ServerConfig>,
        received: &mut FrameBuffer,
        deadline: Instant,
    ) -> io::Result<Self> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        // A reply is bounded by the frame limit, and encrypted whole.
        tls.set_buffer_limit(None);
        let mut link = Self { socket, tls, staging: vec![0; STAGING_BYTES], timed: false };
        // The first request may come in one piece with the peer's last handshake message.
        while link.tls.is_handshaking() {
            if !link.receive(received, Some(deadline))? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(link)
    }

    /// The 32 bytes that bind a login to this connection (RFC 8446, section 7.5).
    ///
    /// # Errors
    /// Only before the handshake is complete.
    pub(crate) fn channel_binding(&self) -> Result<[u8; 32], rustls::Error> {
        self.tls.export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut &*self.socket)?;
        }
        Ok(())
    }
}

impl Link for TlsLink {
    fn receive(&mut self, into: &mut FrameBuffer, deadline: Option<Instant>) -> io::Result<bool> {
        set_patience(&self.socket, deadline, &mut self.timed)?;
        let received = (&mut &*self.socket).read(&mut self.staging)?;
        let mut ciphertext = &self.staging[..received];
        let mut open = received > 0;
        while !ciphertext.is_empty() {
            self.tls.read_tls(&mut ciphertext)?;
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(e) => {
                    // The alert that tells the peer why.
                    let _ = self.flush();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, e));
                }
            };
            let mut waiting = state.plaintext_bytes_to_read();
            let mut reader = self.tls.reader();
            while waiting > 0 {
                let plaintext = reader.fill_buf()?;
                let length = plaintext.len();
                into.extend(plaintext);
                reader.consume(length);
                waiting = waiting.saturating_sub(length.max(1));
            }
            if state.peer_has_closed() {
                open = false;
                break;
            }
        }
        self.flush()?;
        Ok(open)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)?;
        self.flush()
    }

    fn close(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush();
    }
}

/// A UNIX socket, whose peer's user has been checked.
pub(crate) struct UnixLink {
    socket: Arc<Socket>,
    staging: Vec<u8>,
    timed: bool,
}

impl UnixLink {
    pub(crate) fn new(socket: Arc<Socket>) -> Self {
        Self { socket, staging: vec![0; STAGING_BYTES], timed: false }
    }
}

impl Link for UnixLink {
    fn receive(&mut self, into: &mut FrameBuffer, deadline: Option<Instant>) -> io::Result<bool> {
        set_patience(&self.socket, deadline, &mut self.timed)?;
        let received = (&mut &*self.socket).read(&mut self.staging)?;
        into.extend(&self.staging[..received]);
        // Here the staging held plaintext.
        wipe(&mut self.staging[..received]);
        Ok(received > 0)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&mut &*self.socket).write_all(bytes)
    }

    fn close(&mut self) {}
}

/// Bounds the next read by what is left until `deadline`. Without one the socket is left alone,
/// so that a round trip costs no further call of the system.
fn set_patience(socket: &Socket, deadline: Option<Instant>, timed: &mut bool) -> io::Result<()> {
    match deadline {
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            *timed = true;
            socket.set_read_patience(Some(left))
        }
        None if *timed => {
            *timed = false;
            socket.set_read_patience(None)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::SystemTime;

    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;
    use crate::certificates::{Leaf, P256Key, own_owner};
    use crate::tls;

    const CLUSTER: &str = "cluster-abcdefghijk";

    /// A server's configuration, and a client's that trusts its owner as any TLS client would.
    fn configs() -> (Arc<rustls::ServerConfig>, Arc<ClientConfig>) {
        let key = P256Key::generate("test key").unwrap();
        let owner = own_owner(&key, CLUSTER).unwrap();
        let leaf = Leaf {
            cluster_id: CLUSTER.to_owned(),
            hsm_id: "hsm-abcdefghijk".to_owned(),
            address: "127.0.0.1".parse().unwrap(),
        };
        let leaf = leaf.issue(&key, &owner.cluster_certificate, SystemTime::now()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(owner.trust_anchor.into()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (tls::for_clients(leaf).unwrap(), Arc::new(client))
    }

    fn pair() -> (Arc<Socket>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(Socket::Tcp(listener.accept().unwrap().0)), theirs)
    }

    #[test]
    fn data_of_many_records_arrives_whole_both_ways() {
        let (server, client) = configs();
        let (ours, theirs) = pair();
        let sent: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let framed = [&100_000_u32.to_be_bytes()[..], &sent].concat();
        let peer = std::thread::spawn(move || {
            let name = std::net::IpAddr::from([127, 0, 0, 1]).into();
            let connection = ClientConnection::new(client, name).unwrap();
            let mut stream = StreamOwned::new(connection, theirs);
            stream.write_all(&framed).unwrap();
            let mut back = vec![0; framed.len()];
            stream.read_exact(&mut back).unwrap();
            assert!(back == framed);
            stream.conn.export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None).unwrap()
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut received = FrameBuffer::new();
        let mut link = TlsLink::accept(ours, server, &mut received, deadline).unwrap();
        while received.payload(200_000).unwrap().is_none() {
            assert!(link.receive(&mut received, None).unwrap());
        }
        let payload = received.payload(200_000).unwrap().unwrap();
        assert!(payload == sent);
        let reply = [&100_000_u32.to_be_bytes()[..], payload].concat();
        link.send(&reply).unwrap();
        assert_eq!(link.channel_binding().unwrap(), peer.join().unwrap());
    }

    #[test]
    fn a_peer_that_never_shakes_hands_is_dropped() {
        let (server, _) = configs();
        let (ours, _theirs) = pair();
        let soon = Instant::now() + Duration::from_millis(20);
        let error = TlsLink::accept(ours, server, &mut FrameBuffer::new(), soon).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
