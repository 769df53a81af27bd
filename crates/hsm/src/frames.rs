//! The plaintext of one connection, cut into frames, and never left behind in memory.
//!
//! A frame may hold a password or a message to decrypt. So the buffer is overwritten as soon as a
//! frame is done with, and never grows by a silent copy that would leave its old bytes on the heap.

use strongroom_wire::frame::{self, FrameError, HEADER_BYTES};
use zeroize::{Zeroize, Zeroizing};

/// What a buffer keeps between two frames; one that had to be larger is given back.
const CAPACITY_KEPT_BYTES: usize = 64 * 1024;

/// Received bytes that are not yet handled.
pub(crate) struct FrameBuffer {
    bytes: Zeroizing<Vec<u8>>,
}

impl FrameBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(4096)) }
    }

    /// Appends what was received.
    pub(crate) fn extend(&mut self, plaintext: &[u8]) {
        self.reserve(plaintext.len());
        self.bytes.extend_from_slice(plaintext);
    }

    /// The payload of the first frame, `None` while it is not whole.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the header says so.
    pub(crate) fn payload(&mut self, limit: usize) -> Result<Option<&[u8]>, FrameError> {
        let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let end = HEADER_BYTES + frame::payload_length(*header, limit)?;
        if self.bytes.len() < end {
            // Room for the whole frame at once, now that its length is known to be allowed.
            self.reserve(end - self.bytes.len());
            return Ok(None);
        }
        Ok(Some(&self.bytes[HEADER_BYTES..end]))
    }

    /// Forgets the first frame, whose payload had `length` bytes.
    pub(crate) fn consume(&mut self, length: usize) {
        let end = (HEADER_BYTES + length).min(self.bytes.len());
        let rest = self.bytes.len() - end;
        self.bytes.copy_within(end.., 0);
        wipe(&mut self.bytes[rest..]);
        self.bytes.truncate(rest);
        if self.bytes.capacity() > CAPACITY_KEPT_BYTES && rest < CAPACITY_KEPT_BYTES {
            self.replace(CAPACITY_KEPT_BYTES);
        }
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            self.replace(needed.next_power_of_two());
        }
    }

    /// Moves to another allocation; the old one is zeroised as it drops.
    fn replace(&mut self, capacity: usize) {
        let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
        bytes.extend_from_slice(&self.bytes);
        self.bytes = bytes;
    }
}

/// Overwrites bytes that will be written again. A plain fill, many times as fast as a volatile one
/// for each byte; the barrier keeps the compiler from leaving it out.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

/// A reply's buffer: wiped after each reply, zeroised when the connection ends.
pub(crate) struct ReplyBuffer {
    bytes: Vec<u8>,
}

impl ReplyBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(4096) }
    }

    /// Encodes `reply` as a frame, hands it to `send`, and wipes it.
    ///
    /// # Errors
    /// Those of the encoding and of `send`.
    pub(crate) fn send<M: prost::Message>(
        &mut self,
        reply: &M,
        limit: usize,
        send: impl FnOnce(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), FrameError> {
        // The buffer is wiped when it is empty, so that growing it copies nothing.
        frame::encode(reply, &mut self.bytes, limit)?;
        let sent = send(&self.bytes);
        wipe(&mut self.bytes);
        self.bytes.clear();
        if self.bytes.capacity() > CAPACITY_KEPT_BYTES {
            self.bytes = Vec::with_capacity(CAPACITY_KEPT_BYTES);
        }
        Ok(sent?)
    }
}

impl Drop for ReplyBuffer {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        [&u32::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat()
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let sent = [framed(b"one"), framed(b""), framed(&[7; 70_000])].concat();
        for step in [1, 3, 4096, sent.len()] {
            let mut buffer = FrameBuffer::new();
            let mut got = Vec::new();
            for piece in sent.chunks(step) {
                buffer.extend(piece);
                while let Some(payload) = buffer.payload(100_000).unwrap() {
                    got.push(payload.to_vec());
                    let length = payload.len();
                    buffer.consume(length);
                }
            }
            assert_eq!(got, [b"one".to_vec(), Vec::new(), vec![7; 70_000]]);
            assert!(buffer.bytes.is_empty());
        }
    }

    #[test]
    fn a_consumed_frame_is_overwritten() {
        let mut buffer = FrameBuffer::new();
        buffer.extend(&framed(b"canary"));
        buffer.consume(6);
        buffer.bytes.resize(16, 0);
        assert!(buffer.bytes.iter().all(|b| *b == 0));
        assert!(buffer.bytes.capacity() >= 4096);
    }

    #[test]
    fn a_header_over_the_limit_is_refused_before_the_payload_comes() {
        let mut buffer = FrameBuffer::new();
        buffer.extend(&[0, 1, 0, 1]);
        assert!(matches!(
            buffer.payload(65_536),
            Err(FrameError::TooLong { bytes: 65_537, limit: 65_536 })
        ));
    }

    #[test]
    fn memory_of_a_large_frame_is_given_back() {
        let mut buffer = FrameBuffer::new();
        buffer.extend(&framed(&vec![1; 1_000_000]));
        buffer.consume(1_000_000);
        assert!(buffer.bytes.capacity() <= CAPACITY_KEPT_BYTES);
    }
}
