//! Files that `key generate-file` writes: public keys, and private keys by reference.
//!
//! A reference is a PKCS#8 private key that every TLS server can load: the public part is true, and
//! where the private part would stand, it names the key in the HSM. Its layout is documented in
//! `docs/manual/cloudhsm-cli.md`. No private material ever comes here: the HSM does not give it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use strongroom_crypto::Curve;

use crate::der;
use crate::error::Error;

/// What the private number of a reference begins with; the key's handle follows, eight bytes,
/// big-endian.
pub(crate) const REFERENCE_MAGIC: &[u8; 16] = b"STRONGROOM-REF-1";

/// 1.2.840.113549.1.1.1
const OID_RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const OID_EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The public half of a key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicPart {
    /// Big-endian modulus and public exponent.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// An uncompressed point.
    Ec { curve: Curve, point: Vec<u8> },
}

impl PublicPart {
    fn algorithm(&self) -> Vec<u8> {
        match self {
            Self::Rsa { .. } => der::sequence(&[OID_RSA, der::NULL]),
            Self::Ec { curve, .. } => der::sequence(&[OID_EC, curve.params()]),
        }
    }

    /// SubjectPublicKeyInfo (RFC 5280, section 4.1) in DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let key = match self {
            Self::Rsa { modulus, exponent } => {
                der::sequence(&[&der::integer(modulus), &der::integer(exponent)])
            }
            Self::Ec { point, .. } => point.clone(),
        };
        der::sequence(&[&self.algorithm(), &der::bit_string(&key)])
    }

    /// PKCS#8 (RFC 5958) with the reference of the private key `handle` in place of the private
    /// number.
    pub(crate) fn reference(&self, handle: u64) -> Vec<u8> {
        let reference = [&REFERENCE_MAGIC[..], &handle.to_be_bytes()].concat();
        let key = match self {
            // The primes are 0, so that software that tries to compute with them fails at once
            // instead of making signatures that nobody can verify.
            Self::Rsa { modulus, exponent } => {
                rsa_private_key(modulus, exponent, &reference, [&[]; 5])
            }
            Self::Ec { curve, point } => {
                let mut scalar = vec![0; curve.field_bytes().saturating_sub(reference.len())];
                scalar.extend_from_slice(&reference);
                ec_private_key(&scalar, point)
            }
        };
        self.private_key_info(&key)
    }

    /// How long the PKCS#8 form of the private key would be, in bytes: what CloudHSM shows as
    /// `key-length-bytes`. Exact for EC. An RSA key's own length varies by two bytes with its
    /// numbers' leading bits, which nobody outside the HSM knows: this is the middle.
    pub(crate) fn private_key_bytes(&self) -> usize {
        let key = match self {
            Self::Rsa { modulus, exponent } => {
                let (whole, half) = (modulus.len(), modulus.len().div_ceil(2));
                let [low, high, d] = [vec![0x7f; half], vec![0xff; half], vec![0x7f; whole]];
                rsa_private_key(modulus, exponent, &d, [&high, &high, &low, &low, &high])
            }
            Self::Ec { curve, point } => ec_private_key(&vec![1; curve.field_bytes()], point),
        };
        self.private_key_info(&key).len()
    }

    fn private_key_info(&self, key: &[u8]) -> Vec<u8> {
        der::sequence(&[&der::integer(&[]), &self.algorithm(), &der::octet_string(key)])
    }
}

/// RSAPrivateKey (RFC 8017, A.1.2). `rest`: prime1, prime2, exponent1, exponent2, coefficient.
fn rsa_private_key(modulus: &[u8], exponent: &[u8], d: &[u8], rest: [&[u8]; 5]) -> Vec<u8> {
    let [p, q, dp, dq, qinv] = rest.map(der::integer);
    let [n, e, d] = [modulus, exponent, d].map(der::integer);
    der::sequence(&[&der::integer(&[]), &n, &e, &d, &p, &q, &dp, &dq, &qinv])
}

/// ECPrivateKey (RFC 5915, section 3) without the parameters, which stand in the PKCS#8 algorithm.
fn ec_private_key(scalar: &[u8], point: &[u8]) -> Vec<u8> {
    der::sequence(&[
        &der::integer(&[1]),
        &der::octet_string(scalar),
        &der::tagged(1, &der::bit_string(point)),
    ])
}

/// PEM (RFC 7468).
pub(crate) fn pem(label: &'static str, der: &[u8]) -> Result<String, Error> {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der)
        .map_err(|error| Error::usage(format!("Cannot write PEM: {error}")))
}

/// Writes a key file. `mode` holds where the file is new.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_lengths_are_the_ones_that_cloudhsm_shows() {
        // RSA-2048: the published samples have 1216 to 1219.
        let rsa = PublicPart::Rsa { modulus: vec![0xdf; 256], exponent: vec![1, 0, 1] };
        assert_eq!(rsa.private_key_bytes(), 1217);
        // P-256 by the same rule that gives P-224's published 122.
        let ec = PublicPart::Ec { curve: Curve::P256, point: vec![4; 65] };
        assert_eq!(ec.private_key_bytes(), 138);
    }

    #[test]
    fn a_reference_names_its_key_and_has_no_other_private_number() {
        let rsa = PublicPart::Rsa { modulus: vec![0xdf; 256], exponent: vec![1, 0, 1] };
        let made = rsa.reference(0x0102_0304);
        let at = made.windows(16).position(|w| w == REFERENCE_MAGIC).unwrap();
        assert_eq!(made[at + 16..at + 24], [0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(made[at + 24..], [2, 1, 0].repeat(5), "five zeros, and nothing after them");
    }
}
