//! Signing for secp256k1 by k256, which is six times faster there than aws-lc's generic code.
//!
//! Only signing: keys are made, checked and written by aws-lc, and it verifies, because k256
//! refuses the half of all valid signatures whose s is high.

use std::convert::Infallible;

use k256::ecdsa::signature::hazmat::RandomizedPrehashSigner;
use k256::ecdsa::{Signature, SigningKey};
use k256::elliptic_curve::rand_core::{TryCryptoRng, TryRng};

use super::Failed;

/// A private scalar, prepared for signing. k256 wipes it on drop.
pub(crate) struct Signer(SigningKey);

impl Signer {
    /// From the scalar (32 bytes, 1 to order - 1).
    pub(crate) fn new(scalar: &[u8]) -> Result<Self, Failed> {
        SigningKey::from_slice(scalar).map(Self).map_err(|_| Failed)
    }

    /// ECDSA over a hash of any length: r || s, with the lower s.
    ///
    /// The nonce is RFC 6979's, with fresh random bytes mixed in, so that neither a weak generator
    /// nor a fault that repeats a computation gives the key away.
    pub(crate) fn sign(&self, hashed: &[u8]) -> Result<Vec<u8>, Failed> {
        // k256 wants at least 16 bytes. A shorter hash is the same number with zeros in front.
        let mut padded = [0; 32];
        let hashed = match hashed.len() {
            0..32 => {
                padded[32 - hashed.len()..].copy_from_slice(hashed);
                &padded
            }
            _ => &hashed[..32],
        };
        let signature: Signature =
            self.0.sign_prehash_with_rng(&mut BackendRandom, hashed).map_err(|_| Failed)?;
        Ok(signature.to_bytes().to_vec())
    }
}

/// aws-lc's generator in the shape that k256 asks for.
struct BackendRandom;

impl TryRng for BackendRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        // aws-lc's generator aborts the process rather than fail.
        super::random(out).expect("RAND_bytes always succeeds");
        Ok(())
    }
}

impl TryCryptoRng for BackendRandom {}
