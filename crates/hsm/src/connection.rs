//! The life of one connection: requests in, replies out, in order, on one thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use prost::Message;
use strongroom_wire::frame::FrameError;
use strongroom_wire::limits::{FRAME_BYTES_BEFORE_ATTACH_MAX, FRAME_BYTES_MAX};
use strongroom_wire::message::{Reply, Request};

use crate::frames::{FrameBuffer, ReplyBuffer};
use crate::link::Link;

/// What answers on a port.
pub(crate) trait Service {
    /// What comes in.
    type Request: Message + Default;
    /// What goes out.
    type Reply: Message;

    /// The payload's length that is allowed now, in bytes.
    fn frame_bytes_max(&self) -> usize;

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
    let mut outgoing = ReplyBuffer::new();
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
        deadline = None;
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
