//! The life of one connection: requests in, replies out, in order, on one thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use prost::Message;
use strongroom_wire::frame::{FrameError, Outgoing};
use strongroom_wire::limits::{
    FRAME_BYTES_BEFORE_ATTACH_MAX, FRAME_BYTES_MAX, IDLE_BEFORE_LOGIN_MS_MAX,
};
use strongroom_wire::message::{Reply, Request};

use crate::frames::{CAPACITY_KEPT_BYTES, FrameBuffer};
use crate::link::Link;

/// What answers on a port.
pub(crate) trait Service {
    /// What comes in.
    type Request: Message + Default;
    /// What goes out.
    type Reply: Message;

    /// The payload's length that is allowed now, in bytes.
    fn frame_bytes_max(&self) -> usize;

    /// How long the next request may take to come; `None` where it may take for ever.
    fn patience(&self) -> Option<Duration>;

    /// Answers.
    fn handle(&mut self, request: Self::Request) -> Self::Reply;

    /// Answers a payload that is no message.
    fn malformed(&self) -> Self::Reply;
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    /// The peer closed it, or the HSM stops.
    #[error("closed")]
    Closed,
    /// The peer sent a frame that is too long, or vanished, or was too slow.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A request made us panic: this connection ends, the HSM does not.
    #[error("a bug: a request panicked")]
    Bug,
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Frame(error.into())
    }
}

/// Serves a connection until it ends. `received` is what came with the handshake; the first
/// request must be whole by `deadline`.
pub(crate) fn serve<S: Service>(
    link: &mut impl Link,
    service: &mut S,
    received: FrameBuffer,
    deadline: Instant,
) -> Ending {
    let ending = run(link, service, received, deadline);
    link.close();
    ending
}

fn run<S: Service>(
    link: &mut impl Link,
    service: &mut S,
    mut received: FrameBuffer,
    deadline: Instant,
) -> Ending {
    let mut outgoing = Outgoing::new(CAPACITY_KEPT_BYTES);
    let mut deadline = Some(deadline);
    loop {
        let reply = match received.payload(service.frame_bytes_max()) {
            Err(e) => return e.into(),
            Ok(None) => match link.receive(&mut received, deadline) {
                Ok(true) => continue,
                Ok(false) => return Ending::Closed,
                Err(e) => return e.into(),
            },
            Ok(Some(payload)) => {
                let length = payload.len();
                let request = S::Request::decode(payload);
                received.consume(length);
                match request {
                    Err(_) => service.malformed(),
                    Ok(request) => {
                        match catch_unwind(AssertUnwindSafe(|| service.handle(request))) {
                            Ok(reply) => reply,
                            Err(_) => return Ending::Bug,
                        }
                    }
                }
            }
        };
        deadline = service.patience().map(|patience| Instant::now() + patience);
        if let Err(e) = outgoing.send(&reply, FRAME_BYTES_MAX, |bytes| link.send(bytes)) {
            return e.into();
        }
    }
}

/// Port 2223 and the local socket: the engine.
pub(crate) struct ClientService(pub(crate) strongroom_engine::Connection);

impl Service for ClientService {
    type Request = Request;
    type Reply = Reply;

    fn frame_bytes_max(&self) -> usize {
        if self.0.attached() { FRAME_BYTES_MAX } else { FRAME_BYTES_BEFORE_ATTACH_MAX }
    }

    fn patience(&self) -> Option<Duration> {
        // Strangers must not hold all places by doing nothing.
        (!self.0.may_rest()).then_some(Duration::from_millis(IDLE_BEFORE_LOGIN_MS_MAX))
    }

    fn handle(&mut self, request: Request) -> Reply {
        self.0.handle(request)
    }

    fn malformed(&self) -> Reply {
        // CKR_ARGUMENTS_BAD of PKCS#11: what reached us is no request.
        const CKR_ARGUMENTS_BAD: u64 = 0x07;
        Reply {
            status: CKR_ARGUMENTS_BAD,
            message: "the frame holds no message of this port".to_owned(),
            ..Reply::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Duration;

    use strongroom_wire::frame;
    use strongroom_wire::message::{Operation, Ping};

    use super::*;
    use crate::link::{Socket, UnixLink};

    /// Answers with the request's sequence; panics at 13; allows 64 bytes; waits so long for the next.
    struct Echo(Option<Duration>);

    impl Service for Echo {
        type Request = Request;
        type Reply = Reply;

        fn frame_bytes_max(&self) -> usize {
            64
        }

        fn patience(&self) -> Option<Duration> {
            self.0
        }

        fn handle(&mut self, request: Request) -> Reply {
            assert_ne!(request.sequence, 13, "as a bug would");
            Reply { sequence: request.sequence, ..Reply::default() }
        }

        fn malformed(&self) -> Reply {
            Reply { status: 7, ..Reply::default() }
        }
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Serves one end until it ends, while `peer` has the other.
    fn with_peer(deadline: Instant, peer: impl FnOnce(UnixStream) + Send + 'static) -> Ending {
        serve_peer(Echo(None), deadline, peer)
    }

    fn serve_peer(
        mut service: Echo,
        deadline: Instant,
        peer: impl FnOnce(UnixStream) + Send + 'static,
    ) -> Ending {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = std::thread::spawn(move || peer(theirs));
        let mut link = UnixLink::new(Arc::new(Socket::Unix(ours)));
        let ending = serve(&mut link, &mut service, FrameBuffer::new(), deadline);
        drop(link);
        peer.join().unwrap();
        ending
    }

    fn request(sequence: u64) -> Vec<u8> {
        let request =
            Request { sequence, operation: Some(Operation::Ping(Ping {})), ..Request::default() };
        let mut bytes = Vec::new();
        frame::encode(&request, &mut bytes, 64).unwrap();
        bytes
    }

    fn answer(peer: &mut UnixStream) -> Reply {
        frame::read(peer, 64).unwrap()
    }

    #[test]
    fn requests_sent_at_once_are_answered_in_order() {
        let ending = with_peer(far(), |mut peer| {
            peer.write_all(&[request(1), request(2), request(3)].concat()).unwrap();
            assert_eq!([1, 2, 3], [(); 3].map(|()| answer(&mut peer).sequence));
        });
        assert!(matches!(ending, Ending::Closed), "{ending}");
    }

    #[test]
    fn what_came_with_the_handshake_is_the_first_request() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut received = FrameBuffer::new();
        received.extend(&request(5));
        let server = std::thread::spawn(move || {
            let mut link = UnixLink::new(Arc::new(Socket::Unix(ours)));
            serve(&mut link, &mut Echo(None), received, far())
        });
        assert_eq!(answer(&mut theirs).sequence, 5);
        drop(theirs);
        assert!(matches!(server.join().unwrap(), Ending::Closed));
    }

    #[test]
    fn a_request_that_panics_ends_its_connection_only() {
        let ending = with_peer(far(), |mut peer| {
            peer.write_all(&[request(1), request(13)].concat()).unwrap();
            assert_eq!(answer(&mut peer).sequence, 1);
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        });
        assert!(matches!(ending, Ending::Bug), "{ending}");
    }

    #[test]
    fn a_payload_that_is_no_message_is_answered() {
        let ending = with_peer(far(), |mut peer| {
            peer.write_all(b"\0\0\0\x01\xff").unwrap();
            assert_eq!(answer(&mut peer).status, 7);
            peer.write_all(&request(2)).unwrap();
            assert_eq!(answer(&mut peer).sequence, 2);
        });
        assert!(matches!(ending, Ending::Closed), "{ending}");
    }

    #[test]
    fn a_frame_over_the_limit_ends_the_connection() {
        let ending = with_peer(far(), |mut peer| {
            peer.write_all(&[0, 0, 0, 65]).unwrap();
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        });
        assert!(matches!(ending, Ending::Frame(FrameError::TooLong { .. })), "{ending}");
    }

    #[test]
    fn a_peer_that_sends_no_whole_request_in_time_is_dropped() {
        let soon = Instant::now() + Duration::from_millis(20);
        let ending = with_peer(soon, |mut peer| {
            peer.write_all(&request(1)[..3]).unwrap();
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        });
        match ending {
            Ending::Frame(FrameError::Io(e)) => assert_eq!(e.kind(), io::ErrorKind::TimedOut),
            other => panic!("{other}"),
        }
    }
    #[test]
    fn a_stranger_who_asks_no_more_is_dropped() {
        let service = Echo(Some(Duration::from_millis(20)));
        let ending = serve_peer(service, far(), |mut peer| {
            peer.write_all(&request(1)).unwrap();
            assert_eq!(answer(&mut peer).sequence, 1);
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        });
        match ending {
            Ending::Frame(FrameError::Io(e)) => assert_eq!(e.kind(), io::ErrorKind::TimedOut),
            other => panic!("{other}"),
        }
    }
}
