//! The little DER and PEM with which certificates are taken apart, signed again, and wrapped: behind a
//! signature that is always right, a mutation reaches what is checked after it.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::fixed;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// ecdsa-with-SHA256, as an AlgorithmIdentifier.
const ECDSA_SHA256: [u8; 12] = [SEQUENCE, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// A P-256 key that signs certificates.
pub(crate) struct Signer(EcdsaKeyPair);

/// The customerCA's.
pub(crate) fn ca() -> &'static Signer {
    static CA: OnceLock<Signer> = OnceLock::new();
    CA.get_or_init(|| Signer::new(fixed::CA_KEY))
}

/// The cluster's.
pub(crate) fn cluster() -> &'static Signer {
    static CLUSTER: OnceLock<Signer> = OnceLock::new();
    CLUSTER.get_or_init(|| Signer::new(fixed::CLUSTER_KEY))
}

impl Signer {
    fn new(pkcs8: &[u8]) -> Self {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8);
        Self(pair.expect("a P-256 key"))
    }

    /// A certificate whose signed part is `signed`, whatever that is.
    pub(crate) fn certificate(&self, signed: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), signed).expect("a signature");
        let signature = element(BIT_STRING, &[&[0], signature.as_ref()].concat());
        element(SEQUENCE, &[signed, &ECDSA_SHA256, &signature].concat())
    }
}

/// The signed part of a certificate: the first element of its sequence. `None` where it is none.
pub(crate) fn signed_part(certificate: &[u8]) -> Option<&[u8]> {
    let (header, length) = header(certificate)?;
    let content = certificate.get(header..)?.get(..length)?;
    let (inner_header, inner_length) = self::header(content)?;
    content.get(..inner_header.checked_add(inner_length)?)
}

/// Bytes of an element's header, and of its content.
fn header(der: &[u8]) -> Option<(usize, usize)> {
    match der {
        [_, length @ ..=0x7f, ..] => Some((2, usize::from(*length))),
        [_, 0x81, length, ..] => Some((3, usize::from(*length))),
        [_, 0x82, high, low, ..] => Some((4, usize::from(u16::from_be_bytes([*high, *low])))),
        _ => None,
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a certificate").to_be_bytes();
    // Four bytes of length where one does not do: BER, and DER where they are needed.
    let length = match length {
        [0, 0, 0, short @ ..=0x7f] => vec![short],
        [0, 0, 0, one] => vec![0x81, one],
        [0, 0, high, low] => vec![0x82, high, low],
        [a, b, c, d] => vec![0x84, a, b, c, d],
    };
    [&[tag][..], &length, content].concat()
}

/// A certificate as PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, der)
        .expect("a certificate's length")
}
