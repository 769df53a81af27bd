//! A connected socket that is read and written with single system calls.
//!
//! The standard library writes to sockets with `write` and `writev` in places, and a peer that has
//! gone then kills a C program that loads this library, by SIGPIPE. Everything here is sent with
//! MSG_NOSIGNAL.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags,
    sockopt::{self, Timeout},
};

use crate::config::Server;

/// How long a connection attempt to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A silent peer is asked after this time if it is still there …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// … again at this interval …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// … and is gone after so many questions.
const KEEPALIVE_PROBES: u32 = 3;
/// How long sent data may stay without acknowledgement, in milliseconds.
const UNACKNOWLEDGED_MS_MAX: u32 = 10_000;

/// A connected stream socket, closed on exec and when dropped; nothing else happens then.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Connects over TCP, to the first address that answers.
    pub(crate) fn tcp(server: &Server) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (server.hostname.as_str(), server.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    let socket = Self(stream.into());
                    socket.tune()?;
                    return Ok(socket);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Connects to a UNIX socket whose other end belongs to this user.
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        let socket = Self(UnixStream::connect(path)?.into());
        let peer = sockopt::socket_peercred(&socket.0)?.uid;
        if peer != rustix::process::geteuid() {
            return Err(io::Error::new(
                ErrorKind::PermissionDenied,
                format!("the socket belongs to another user (uid {})", peer.as_raw()),
            ));
        }
        Ok(socket)
    }

    fn tune(&self) -> io::Result<()> {
        sockopt::set_tcp_nodelay(&self.0, true)?;
        sockopt::set_socket_keepalive(&self.0, true)?;
        sockopt::set_tcp_keepidle(&self.0, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(&self.0, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&self.0, KEEPALIVE_PROBES)?;
        sockopt::set_tcp_user_timeout(&self.0, UNACKNOWLEDGED_MS_MAX)?;
        Ok(())
    }

    /// Reads and writes fail with [`ErrorKind::TimedOut`] after this time without progress.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        sockopt::set_socket_timeout(&self.0, Timeout::Recv, Some(timeout))?;
        sockopt::set_socket_timeout(&self.0, Timeout::Send, Some(timeout))?;
        Ok(())
    }

    /// Whether the peer has closed, or has sent something that nobody asked for. Does not wait.
    pub(crate) fn has_something_to_read(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !matches!(
            rustix::net::recv(&self.0, &mut byte, flags),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
        )
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        loop {
            match rustix::net::recv(&self.0, &mut *buffer, RecvFlags::empty()) {
                Ok((_, bytes)) => return Ok(bytes),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(timed_out(e, started)),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let started = Instant::now();
        loop {
            let mut control = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(&self.0, slices, &mut control, SendFlags::NOSIGNAL) {
                Ok(bytes) => return Ok(bytes),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(timed_out(e, started)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket with a time limit reports its end as EAGAIN.
fn timed_out(error: rustix::io::Errno, started: Instant) -> io::Error {
    if error == rustix::io::Errno::AGAIN {
        let waited = started.elapsed().as_millis();
        return io::Error::new(ErrorKind::TimedOut, format!("no answer for {waited} ms"));
    }
    error.into()
}
