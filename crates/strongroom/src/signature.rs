//! From PKCS#11's forms of an ECDSA signature and a P-256 public key to those of `openssl`.

use der::asn1::{OctetStringRef, UintRef};
use der::{Decode, Encode, Sequence};

/// prime256v1 as CKA_EC_PARAMS has it: the DER of its object identifier.
pub(crate) const P256_OID: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// SubjectPublicKeyInfo of P-256 (RFC 5480) up to the uncompressed point of 65 bytes.
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// ECDSA-Sig-Value (RFC 3279, section 2.2.3).
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// From r and s, each as long as the order (PKCS#11 2.40, section 2.3.1), to DER.
///
/// # Errors
/// Where the length is odd.
pub(crate) fn to_der(signature: &[u8]) -> Result<Vec<u8>, der::Error> {
    let (r, s) = signature.split_at(signature.len() / 2);
    if r.len() != s.len() {
        return Err(der::ErrorKind::Failed.into());
    }
    EcdsaSignature { r: UintRef::new(r)?, s: UintRef::new(s)? }.to_der()
}

/// From CKA_EC_POINT (PKCS#11 2.40, section 2.3.3: "DER-encoding of ANSI X9.62 ECPoint value Q") of
/// a P-256 key to PEM.
///
/// # Errors
/// Where it is none.
pub(crate) fn p256_to_pem(ec_point: &[u8]) -> Result<String, der::Error> {
    let point = <&OctetStringRef>::from_der(ec_point)?.as_bytes();
    if point.len() != 65 {
        return Err(der::ErrorKind::Failed.into());
    }
    let info = [&P256_SPKI_PREFIX, point].concat();
    pem_rfc7468::encode_string("PUBLIC KEY", pem_rfc7468::LineEnding::LF, &info)
        .map_err(|_| der::ErrorKind::Failed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_bits_get_a_leading_zero_and_leading_zeros_go() {
        let signature = [[0x80, 1], [0, 2]].concat();
        assert_eq!(to_der(&signature).unwrap(), [0x30, 8, 2, 3, 0, 0x80, 1, 2, 1, 2]);
        assert!(to_der(&[1, 2, 3]).is_err());
    }

    #[test]
    fn a_point_of_another_curve_is_refused() {
        assert!(p256_to_pem(&[4, 2, 4, 1]).is_err());
        assert!(p256_to_pem(&[]).is_err());
        let point = [vec![4, 65, 4], vec![7; 64]].concat();
        assert!(p256_to_pem(&point).unwrap().starts_with("-----BEGIN PUBLIC KEY-----\n"));
    }
}
