//! The little DER that PKCS#11 attributes need: CKA_EC_POINT is "DER-encoding of ANSI X9.62 ECPoint
//! value Q" (PKCS#11 2.40, mechanisms, 2.3.3), an OCTET STRING around the encoded point.

const OCTET_STRING: u8 = 0x04;

/// An OCTET STRING.
pub(crate) fn octet_string(content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = Vec::with_capacity(length + 6);
    out.push(OCTET_STRING);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
        out.push(0x80 | (bytes.len() - from) as u8);
        out.extend_from_slice(&bytes[from..]);
    }
    out.extend_from_slice(content);
    out
}

/// The point inside CKA_EC_POINT, for a curve over a field of `field_bytes`. Many programs give the
/// bare point, whose first byte, 0x04, is the OCTET STRING's tag too: the length tells them apart.
pub(crate) fn ec_point(value: &[u8], field_bytes: usize) -> Option<&[u8]> {
    // Uncompressed (X9.62, 4.3.6), then compressed.
    bare(value, &[1 + 2 * field_bytes, 1 + field_bytes])
}

/// What is inside an OCTET STRING, or bare, of one of these lengths.
pub(crate) fn bare<'a>(value: &'a [u8], lengths: &[usize]) -> Option<&'a [u8]> {
    if lengths.contains(&value.len()) {
        return Some(value);
    }
    lengths.iter().find_map(|length| {
        let content = value.get(value.len().checked_sub(*length)?..)?;
        (octet_string(content) == value).then_some(content)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_found_bare_and_wrapped() {
        for field in [32, 48, 66] {
            for length in [1 + 2 * field, 1 + field] {
                let point = vec![4; length];
                assert_eq!(ec_point(&point, field), Some(&point[..]));
                assert_eq!(ec_point(&octet_string(&point), field), Some(&point[..]));
            }
        }
    }

    #[test]
    fn a_point_of_another_length_is_not_found() {
        for length in [0, 1, 32, 34, 36, 64, 66, 68, 200] {
            assert_eq!(ec_point(&vec![4; length], 32), None, "{length}");
        }
    }

    #[test]
    fn long_lengths_have_the_long_form() {
        assert_eq!(octet_string(&[0; 127])[..2], [4, 127]);
        assert_eq!(octet_string(&[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(octet_string(&[0; 300])[..4], [4, 0x82, 1, 44]);
    }
}
