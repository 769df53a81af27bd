//! How the targets take their bytes apart: always somehow, so that no mutation is wasted on a length.

/// The pieces of a stream that frames cut: four bytes of length, big-endian, then the piece. A length
/// that goes beyond the end means all that is left.
pub(crate) fn frames(mut stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = stream.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (piece, rest) = rest.split_at(length.min(rest.len()));
        stream = rest;
        Some(piece)
    })
}

/// The stream of some pieces.
pub(crate) fn framed<T: AsRef<[u8]>>(pieces: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut stream = Vec::new();
    for piece in pieces {
        let piece = piece.as_ref();
        stream.extend(u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes());
        stream.extend(piece);
    }
    stream
}

/// Reads fields from the front; what is not there reads as zeros, or as empty.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// Bytes behind one byte of length.
    pub(crate) fn short(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.take(length)
    }

    /// Bytes behind two bytes of length, big-endian.
    pub(crate) fn long(&mut self) -> &'a [u8] {
        let length = u16::from_be_bytes(self.array());
        self.take(length.into())
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}

/// Writes what [`Fields::short`] reads. The bytes are at most 255.
pub(crate) fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).expect("a short field")], bytes].concat()
}

/// Writes what [`Fields::long`] reads. The bytes are at most 65,535.
pub(crate) fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a long field");
    [&length.to_be_bytes()[..], bytes].concat()
}
