//! Bytes that are secret: wiped when dropped, never printed, never copied by accident.

use subtle::ConstantTimeEq;

use crate::backend;

/// Secret bytes, wiped when dropped. Deliberately without Debug, Display, Clone and PartialEq:
/// use [`SecretBytes::ct_eq`] to compare.
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes over `bytes` without copying them.
    ///
    /// A `Vec` that grew on its way here left unwiped copies behind: build it with the right
    /// capacity.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// `length` zero bytes, to be filled through [`SecretBytes::as_mut_bytes`].
    pub fn zeroed(length: usize) -> Self {
        Self(vec![0; length])
    }

    /// A copy of `bytes`; wiping the original stays with the caller.
    pub fn copied(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be written.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both hold the same bytes, in a time that depends only on the lengths.
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }

    /// Takes the bytes out of protection without copying: for a result that its owner asked for
    /// (decrypted data) and that is about to leave the HSM.
    pub fn into_plain(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// Keeps the first `length` bytes and wipes the rest.
    pub fn truncate(&mut self, length: usize) {
        if let Some(rest) = self.0.get_mut(length..) {
            backend::cleanse(rest);
            self.0.truncate(length);
        }
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        backend::cleanse_vec(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_sees_length_and_content() {
        let secret = SecretBytes::copied(b"secret");
        assert!(secret.ct_eq(b"secret"));
        assert!(!secret.ct_eq(b"secreu"));
        assert!(!secret.ct_eq(b"secre"));
        assert!(!secret.ct_eq(b""));
    }

    #[test]
    fn truncation_keeps_the_front() {
        let mut secret = SecretBytes::copied(b"front and rest");
        secret.truncate(5);
        assert_eq!(secret.as_bytes(), b"front");
        secret.truncate(9);
        assert_eq!(secret.into_plain(), b"front");
    }
}
