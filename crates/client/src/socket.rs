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

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        RecvFlags, SendAncillaryBuffer, SendFlags,
        sockopt::{self, Timeout},
    },
};

use crate::config::Server;

/// A silent peer is asked after this time if it is still there …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// … again at this interval …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// … and is gone after so many questions.
const KEEPALIVE_PROBES: u32 = 3;
/// How long sent data may stay without acknowledgement, in milliseconds. An HSM that is gone is found
/// sooner, by pings; this is for one connection that something on the way has forgotten, while the
/// HSM answers on others.
const UNACKNOWLEDGED_MS_MAX: u32 = 1_000;

/// Which way a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// A connected stream socket, closed on exec and when dropped; nothing else happens then.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Connects over TCP, to the first address that answers before the deadline.
    pub(crate) fn tcp(server: &Server, deadline: Instant) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (server.hostname.as_str(), server.port).to_socket_addrs()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(ErrorKind::TimedOut, "no connection in time"));
            }
            match TcpStream::connect_timeout(&address, left) {
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

    /// Waits until one of `sockets` has something to read (or room to write), and says which; `None`
    /// where the time is over first.
    pub(crate) fn wait_for(
        sockets: &[(&Self, Direction)],
        timeout: Duration,
    ) -> io::Result<Option<usize>> {
        let deadline = Instant::now() + timeout;
        let mut polled: Vec<PollFd<'_>> = sockets
            .iter()
            .map(|(socket, direction)| {
                let flags = match direction {
                    Direction::Read => PollFlags::IN,
                    Direction::Write => PollFlags::OUT,
                };
                PollFd::new(&socket.0, flags)
            })
            .collect();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(polled.iter().position(|fd| !fd.revents().is_empty())),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
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
        loop {
            match rustix::net::recv(&self.0, &mut *buffer, RecvFlags::empty()) {
                Ok((_, bytes)) => return Ok(bytes),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(timed_out(e)),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let mut control = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(&self.0, slices, &mut control, SendFlags::NOSIGNAL) {
                Ok(bytes) => return Ok(bytes),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(timed_out(e)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket with a time limit reports its end as EAGAIN.
fn timed_out(error: rustix::io::Errno) -> io::Error {
    if error == rustix::io::Errno::AGAIN { ErrorKind::TimedOut.into() } else { error.into() }
}
