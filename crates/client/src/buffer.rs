//! Where the answers of a connection are while they are read: a message, and wiped after it.

use std::io::{ErrorKind, Read};

use strongroom_wire::{
    frame::{self, FrameError, HEADER_BYTES},
    wipe::{Wiped, wipe},
};

/// What the buffer has room for from the start: most frames.
const BYTES_FIRST: usize = 4 * 1024;
/// What a frame that is larger has taken is given back.
pub(crate) const BYTES_KEPT: usize = 256 * 1024;

/// Where answers are read into.
pub(crate) struct Incoming {
    /// Zero except for the first `used` bytes.
    bytes: Wiped,
    used: usize,
}

impl Incoming {
    pub(crate) fn new() -> Self {
        Self { bytes: zeros(BYTES_FIRST), used: 0 }
    }

    /// Reads one frame, in one read where it comes in one piece; [`Incoming::payload`] has it then.
    /// After a time-out it may be called again, and goes on where it was.
    ///
    /// # Errors
    /// As [`frame::read_payload`]; bytes after the frame are an error too: the peer answers one
    /// request with one frame, so it is out of step.
    pub(crate) fn read_frame(
        &mut self,
        stream: &mut impl Read,
        limit: usize,
    ) -> Result<(), FrameError> {
        let mut total = None;
        while total.is_none_or(|total| self.used < total) {
            match stream.read(&mut self.bytes[self.used..]) {
                Ok(0) => return Err(FrameError::Closed),
                Ok(bytes) => self.used += bytes,
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(FrameError::Closed),
                Err(e) => return Err(e.into()),
            }
            if total.is_none()
                && let Some(header) = self.bytes[..self.used].first_chunk::<HEADER_BYTES>()
            {
                let bytes = HEADER_BYTES + frame::payload_length(*header, limit)?;
                self.make_room(bytes);
                total = Some(bytes);
            }
        }
        let total = total.unwrap_or(self.used);
        if self.used > total {
            return Err(FrameError::TooLong { bytes: self.used, limit: total });
        }
        Ok(())
    }

    /// The payload of the frame that [`Incoming::read_frame`] has read.
    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..self.used).unwrap_or_default()
    }

    pub(crate) fn wipe(&mut self) {
        if self.bytes.len() > BYTES_KEPT {
            self.bytes = zeros(BYTES_FIRST);
        } else {
            wipe(&mut self.bytes[..self.used]);
        }
        self.used = 0;
    }

    fn make_room(&mut self, bytes: usize) {
        if self.bytes.len() < bytes {
            self.bytes.move_to(bytes);
            self.bytes.resize(bytes, 0);
        }
    }
}

fn zeros(bytes: usize) -> Wiped {
    let mut wiped = Wiped::with_capacity(bytes);
    wiped.resize(bytes, 0);
    wiped
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Gives the bytes in pieces of a size.
    struct Pieces(Cursor<Vec<u8>>, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let bytes = self.1.min(buffer.len());
            self.0.read(&mut buffer[..bytes])
        }
    }

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_frame_is_read_whole_in_pieces_of_any_size_and_wiped() {
        for length in [0, 1, BYTES_FIRST - HEADER_BYTES, BYTES_FIRST, 3 * BYTES_KEPT] {
            let payload: Vec<u8> = (0..length).map(|i| i as u8 | 1).collect();
            for piece in [1, 3, 4096, usize::MAX] {
                let mut incoming = Incoming::new();
                let mut stream = Pieces(Cursor::new(framed(&payload)), piece);
                incoming.read_frame(&mut stream, usize::MAX).unwrap();
                assert!(incoming.payload() == payload);
                incoming.wipe();
                assert!(incoming.bytes.iter().all(|byte| *byte == 0));
                assert!(incoming.bytes.len() <= BYTES_KEPT);
            }
        }
    }

    /// A byte at each second read; a time-out at the others.
    struct Slow(Cursor<Vec<u8>>, bool);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(ErrorKind::TimedOut.into()) } else { self.0.read(&mut buffer[..1]) }
        }
    }

    #[test]
    fn after_a_time_out_reading_goes_on_where_it_was() {
        let mut incoming = Incoming::new();
        let mut stream = Slow(Cursor::new(framed(b"answer")), false);
        let mut time_outs = 0;
        while let Err(error) = incoming.read_frame(&mut stream, 1024) {
            let FrameError::Io(error) = error else { panic!("{error:?}") };
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            time_outs += 1;
        }
        assert_eq!((incoming.payload(), time_outs), (b"answer".as_slice(), 10));
    }

    #[test]
    fn an_announced_length_over_the_limit_takes_no_memory() {
        let mut incoming = Incoming::new();
        let error = incoming.read_frame(&mut [0xff; 8].as_slice(), 1024).unwrap_err();
        assert!(matches!(error, FrameError::TooLong { limit: 1024, .. }));
        assert_eq!(incoming.bytes.len(), BYTES_FIRST);
    }

    #[test]
    fn a_cut_frame_and_a_second_answer_are_errors() {
        let cut = &framed(b"answer")[..6];
        let error = Incoming::new().read_frame(&mut &*cut, 1024).unwrap_err();
        assert!(matches!(error, FrameError::Closed));
        let two = [framed(b"one"), framed(b"two")].concat();
        let error = Incoming::new().read_frame(&mut two.as_slice(), 1024).unwrap_err();
        assert!(matches!(error, FrameError::TooLong { .. }));
    }
}
