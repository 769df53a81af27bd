//! Framing: four bytes of length, big-endian, then that many bytes of one protobuf message.

use std::io::{self, Read, Write};

use crate::wipe::{Wiped, wipe};

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 4;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The connection ended or failed.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the connection between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer announced, or the caller gave, more than the limit.
    #[error("a frame of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// What was announced.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The payload is not a message of this port.
    #[error("not a valid message: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The payload's length that a header announces.
///
/// # Errors
/// [`FrameError::TooLong`] where it is over `limit`.
pub fn payload_length(header: [u8; HEADER_BYTES], limit: usize) -> Result<usize, FrameError> {
    let bytes = u32::from_be_bytes(header) as usize;
    if bytes > limit {
        return Err(FrameError::TooLong { bytes, limit });
    }
    Ok(bytes)
}

/// Encodes `message` into `buffer` as one frame, replacing what was there.
///
/// # Errors
/// [`FrameError::TooLong`] where the message is over `limit`.
pub fn encode<M: prost::Message>(
    message: &M,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<(), FrameError> {
    let bytes = message.encoded_len();
    if bytes > limit {
        return Err(FrameError::TooLong { bytes, limit });
    }
    buffer.clear();
    buffer.reserve(HEADER_BYTES + bytes);
    let header = u32::try_from(bytes).map_err(|_| FrameError::TooLong { bytes, limit })?;
    buffer.extend_from_slice(&header.to_be_bytes());
    message.encode(buffer).map_err(|_| FrameError::TooLong { bytes, limit })?;
    Ok(())
}

/// The buffer of a connection's frames on their way out: empty and wiped between two.
pub struct Outgoing {
    bytes: Wiped,
    bytes_kept: usize,
}

impl Outgoing {
    /// What a large frame took is given back, but for `bytes_kept`.
    #[must_use]
    pub fn new(bytes_kept: usize) -> Self {
        Self { bytes: Wiped::default(), bytes_kept }
    }

    /// Encodes `message` as one frame, hands it to `send`, and wipes it.
    ///
    /// # Errors
    /// [`FrameError::TooLong`], and then nothing was sent; or [`FrameError::Io`] from `send`.
    pub fn send<M: prost::Message>(
        &mut self,
        message: &M,
        limit: usize,
        send: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> Result<(), FrameError> {
        // The buffer is wiped whenever it is empty, so that growing it copies nothing.
        let sent = encode(message, &mut self.bytes, limit).and_then(|()| Ok(send(&self.bytes)?));
        wipe(&mut self.bytes);
        self.bytes.clear();
        if self.bytes.capacity() > self.bytes_kept {
            self.bytes = Wiped::with_capacity(self.bytes_kept);
        }
        sent
    }
}

/// Writes `message` as one frame.
///
/// # Errors
/// [`FrameError::TooLong`] or the stream's error.
pub fn write<M: prost::Message>(
    stream: &mut impl Write,
    message: &M,
    limit: usize,
) -> Result<(), FrameError> {
    Outgoing::new(0).send(message, limit, |frame| {
        stream.write_all(frame)?;
        stream.flush()
    })
}

/// Reads one frame's payload into `buffer`, replacing what was there.
///
/// # Errors
/// [`FrameError::Closed`] where the stream ends before a frame begins, [`FrameError::TooLong`]
/// before any memory is taken for a payload over `limit`, or the stream's error.
pub fn read_payload(
    stream: &mut impl Read,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<(), FrameError> {
    let mut header = [0; HEADER_BYTES];
    let mut got = 0;
    while got < HEADER_BYTES {
        match stream.read(&mut header[got..]) {
            Ok(0) if got == 0 => return Err(FrameError::Closed),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    let bytes = payload_length(header, limit)?;
    buffer.clear();
    buffer.resize(bytes, 0);
    stream.read_exact(buffer)?;
    Ok(())
}

/// Reads one message.
///
/// # Errors
/// As [`read_payload`], and [`FrameError::Malformed`].
pub fn read<M: prost::Message + Default>(
    stream: &mut impl Read,
    limit: usize,
) -> Result<M, FrameError> {
    let mut buffer = Wiped::default();
    read_payload(stream, &mut buffer, limit)?;
    Ok(M::decode(buffer.as_slice())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Data, Operation, Ping, Request};

    #[test]
    fn a_message_survives_the_frame() {
        let sent = Request {
            sequence: 7,
            operation: Some(Operation::Ping(Ping {})),
            ..Request::default()
        };
        let mut bytes = Vec::new();
        write(&mut bytes, &sent, 1024).unwrap();
        let read: Request = read(&mut bytes.as_slice(), 1024).unwrap();
        assert_eq!(read.sequence, 7);
        assert!(matches!(read.operation, Some(Operation::Ping(_))));
    }

    #[test]
    fn a_sent_frame_is_overwritten_and_its_memory_used_again() {
        let message = Data { data: vec![7; 1000] };
        let mut outgoing = Outgoing::new(4096);
        for _ in 0..2 {
            let mut sent = Vec::new();
            outgoing.send(&message, 4096, |frame| sent.write_all(frame)).unwrap();
            assert_eq!(read::<Data>(&mut sent.as_slice(), 4096).unwrap(), message);
            assert!(outgoing.bytes.is_empty());
            let length = outgoing.bytes.capacity();
            assert!((1000..=4096).contains(&length));
        }
        let failed = outgoing.send(&message, 4096, |_| Err(io::ErrorKind::BrokenPipe.into()));
        assert!(matches!(failed, Err(FrameError::Io(_))));
        let long = outgoing.send(&message, 999, |_| panic!("sent"));
        assert!(matches!(long, Err(FrameError::TooLong { .. })));
        outgoing.send(&Data { data: vec![7; 9000] }, 10_000, |_| Ok(())).unwrap();
        assert!(outgoing.bytes.capacity() <= 4096);
    }

    #[test]
    fn an_announced_length_over_the_limit_takes_no_memory() {
        let mut buffer = Vec::new();
        let error = read_payload(&mut [0xff; 8].as_slice(), &mut buffer, 1024).unwrap_err();
        assert!(matches!(error, FrameError::TooLong { bytes: 0xffff_ffff, limit: 1024 }));
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn a_stream_cut_inside_a_frame_is_no_clean_close() {
        let error = read::<Request>(&mut [0, 0, 0, 9, 1].as_slice(), 1024).unwrap_err();
        assert!(matches!(error, FrameError::Io(_)));
        let error = read::<Request>(&mut [0u8; 0].as_slice(), 1024).unwrap_err();
        assert!(matches!(error, FrameError::Closed));
    }
}
