//! Taking RSAES-PKCS1-v1_5 padding off without telling whether it was right.
//!
//! Whoever learns that bit about ciphertexts of their choice decrypts with the key
//! (Bleichenbacher, CRYPTO '98; against PKCS#11 tokens: Bardou and others, CRYPTO 2012). So a wrong
//! padding is no error here: it gives a message made from the ciphertext and a secret of the key,
//! the same one each time, of a plausible length. This is "implicit rejection" as
//! draft-irtf-cfrg-rsa-guidance has it and OpenSSL 3.2 does it; the two agree on every byte.
//!
//! The arithmetic is the backend's; here are only comparisons, in constant time but for the length
//! of the message that is returned, right or made up.

use subtle::{
    Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess,
};

use crate::backend::digest;
use crate::backend::rsa::{Part, RsaKey};
use crate::hash::LONGEST;
use crate::{Error, Hash, SecretBytes};

/// How many candidates for a made-up length are drawn, so that one fits all but always.
const CANDIDATES: usize = 128;
/// 0x00 0x02, and at least eight bytes of padding, stand before the zero that ends it.
const FIRST_ZERO: u32 = 10;

/// The secret of a key that made-up messages depend on: SHA-256 of the private exponent, in the
/// modulus's length.
pub(crate) fn rejection_secret(key: &RsaKey) -> Result<SecretBytes, Error> {
    let exponent = key.part(Part::PrivateExponent).map_err(Error::backend("RSA decryption"))?;
    let mut padded = SecretBytes::zeroed(key.size());
    let start = padded.len().checked_sub(exponent.len()).ok_or(Error::KeyInvalid)?;
    padded.as_mut_bytes()[start..].copy_from_slice(exponent.as_bytes());
    Ok(SecretBytes::copied(Hash::Sha256.digest_on_stack(padded.as_bytes()).as_bytes()))
}

/// Decrypts `ciphertext`, which has the modulus's length. Errors tell only what anyone can see of
/// the ciphertext (that it isn't below the modulus).
pub(crate) fn decrypt(
    key: &RsaKey,
    rejection_secret: &SecretBytes,
    ciphertext: &[u8],
) -> Result<SecretBytes, Error> {
    let padded = key.decrypt_raw(ciphertext).map_err(|_| Error::EncryptedDataInvalid)?;
    let seed = hmac_sha256(rejection_secret.as_bytes(), &[ciphertext])?;
    let made_up = expand(&seed, b"message", padded.len())?;
    let candidates = expand(&seed, b"length", 2 * CANDIDATES)?;
    Ok(take_off(padded, &made_up, &candidates))
}

/// The message in `padded`, or the made-up one.
fn take_off(
    mut padded: SecretBytes,
    made_up: &SecretBytes,
    candidates: &SecretBytes,
) -> SecretBytes {
    let length = padded.len() as u32;
    let message_max = length - FIRST_ZERO;

    // The last candidate that is short enough.
    let mask = (message_max + 1).next_power_of_two() - 1;
    let mut made_up_length = 0;
    for candidate in candidates.as_bytes().chunks_exact(2) {
        let candidate = u32::from(u16::from_be_bytes([candidate[0], candidate[1]])) & mask;
        made_up_length.conditional_assign(&candidate, candidate.ct_lt(&message_max));
    }

    // Where the padding's zero stands, or 0.
    let bytes = padded.as_mut_bytes();
    let mut zero = 0u32;
    let mut found = Choice::from(0);
    for (place, byte) in bytes.iter().enumerate().skip(2) {
        let here = byte.ct_eq(&0) & !found;
        zero.conditional_assign(&(place as u32), here);
        found |= here;
    }
    let good = bytes[0].ct_eq(&0) & bytes[1].ct_eq(&2) & found & zero.ct_gt(&(FIRST_ZERO - 1));

    let start = u32::conditional_select(&(length - made_up_length), &(zero + 1), good);
    for (byte, other) in bytes.iter_mut().zip(made_up.as_bytes()) {
        byte.conditional_assign(other, !good);
    }
    SecretBytes::copied(&padded.as_bytes()[start as usize..])
}

/// `length` bytes from a seed: HMAC-SHA256 over a counter, a label and the length in bits.
fn expand(seed: &SecretBytes, label: &[u8], length: usize) -> Result<SecretBytes, Error> {
    let bits = ((8 * length) as u16).to_be_bytes();
    let mut out = SecretBytes::zeroed(length);
    for (counter, chunk) in (0u16..).zip(out.as_mut_bytes().chunks_mut(Hash::Sha256.len())) {
        let block = hmac_sha256(seed.as_bytes(), &[&counter.to_be_bytes(), label, &bits])?;
        chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
    }
    Ok(out)
}

fn hmac_sha256(key: &[u8], pieces: &[&[u8]]) -> Result<SecretBytes, Error> {
    let mut out = [0; LONGEST];
    let length = digest::hmac(Hash::Sha256, key, &pieces.concat(), &mut out)
        .map_err(Error::backend("HMAC"))?;
    let secret = SecretBytes::copied(&out[..length]);
    crate::backend::cleanse(&mut out);
    Ok(secret)
}

#[cfg(test)]
mod tests;
