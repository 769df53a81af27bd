//! Ed25519 verification, for a client's proof that it holds the key that its ticket names.

use crate::backend;

/// Whether `signature` (64 bytes) over `message` is by `public`. A signature of another length is
/// no signature.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    match <&[u8; 64]>::try_from(signature) {
        Ok(signature) => backend::ed25519_verify(public, message, signature),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::hex;

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_rfc_8032_vector_verifies_and_nothing_near_it_does() {
        let public: [u8; 32] =
            hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
                .try_into()
                .expect("32 bytes");
        let mut signature = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
        assert!(verify(&public, &[0x72], &signature));
        assert!(!verify(&public, &[0x73], &signature));
        assert!(!verify(&public, &[0x72], &signature[..63]));
        signature[5] ^= 1;
        assert!(!verify(&public, &[0x72], &signature));
    }
}
