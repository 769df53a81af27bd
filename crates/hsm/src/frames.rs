//! The plaintext of one connection, cut into frames, and never left behind in memory.
//!
//! A frame may hold a password or a message to decrypt. So the buffer is overwritten as soon as a
//! frame is done with, and never grows by a silent copy that would leave its old bytes on the heap.

use strongroom_wire::frame::{self, FrameError, HEADER_BYTES};
use strongroom_wire::wipe::{Wiped, wipe};

/// What a buffer keeps between two frames; one that had to be larger is given back.
pub(crate) const CAPACITY_KEPT_BYTES: usize = 64 * 1024;

/// Received bytes that are not yet handled.
pub(crate) struct FrameBuffer {
    bytes: Wiped,
}

impl FrameBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: Wiped::with_capacity(4096) }
    }

    /// Appends what was received.
    pub(crate) fn extend(&mut self, plaintext: &[u8]) {
        self.reserve(plaintext.len());
        self.bytes.extend_from_slice(plaintext);
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
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
            self.bytes.move_to(CAPACITY_KEPT_BYTES);
        }
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            self.bytes.move_to(needed.next_power_of_two());
        }
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
