//! Frames over an asynchronous stream.

use std::io;

use prost::Message;
use strongroom_wire::frame::{self, FrameError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::frames::FrameBuffer;

/// Plaintext of a few TLS records.
const STAGING_BYTES: usize = 64 * 1024;

/// The frames that one stream brings.
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: FrameBuffer,
    staging: Vec<u8>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, buffer: FrameBuffer::new(), staging: vec![0; STAGING_BYTES] }
    }

    /// The next frame's payload, as `parse` reads it. What was received is kept where this is dropped
    /// before it ends.
    ///
    /// # Errors
    /// [`FrameError::Closed`] between two frames; else what is wrong with the stream or the frame.
    pub(super) async fn next<T>(
        &mut self,
        limit: usize,
        parse: impl Fn(&[u8]) -> Result<T, FrameError>,
    ) -> Result<T, FrameError> {
        loop {
            if let Some(payload) = self.buffer.payload(limit)? {
                let length = payload.len();
                let parsed = parse(payload);
                self.buffer.consume(length);
                return parsed;
            }
            match self.stream.read(&mut self.staging).await? {
                0 if self.buffer.is_empty() => return Err(FrameError::Closed),
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                received => self.buffer.extend(&self.staging[..received]),
            }
        }
    }
}

/// Sends one message.
///
/// # Errors
/// [`FrameError::TooLong`], and then nothing was sent; or the stream's.
pub(super) async fn send<M: Message>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &M,
    limit: usize,
) -> Result<(), FrameError> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes, limit)?;
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}
