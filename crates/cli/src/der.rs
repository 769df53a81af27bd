//! Just enough DER (X.690) to write the key files: nothing here reads DER that it did not write,
//! but for the OCTET STRING around a point.

/// One element: tag, length, content.
fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    content.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// INTEGER from a big-endian number, 0 from no bytes.
pub(crate) fn integer(number: &[u8]) -> Vec<u8> {
    let significant = &number[number.iter().take_while(|b| **b == 0).count()..];
    match significant.first() {
        None => element(0x02, &[&[0]]),
        // The top bit is the sign: a zero byte keeps the number positive.
        Some(first) if first & 0x80 != 0 => element(0x02, &[&[0], significant]),
        Some(_) => element(0x02, &[significant]),
    }
}

/// BIT STRING of whole bytes.
pub(crate) fn bit_string(content: &[u8]) -> Vec<u8> {
    element(0x03, &[&[0], content])
}

/// OCTET STRING.
pub(crate) fn octet_string(content: &[u8]) -> Vec<u8> {
    element(0x04, &[content])
}

/// NULL.
pub(crate) const NULL: &[u8] = &[0x05, 0x00];

/// SEQUENCE.
pub(crate) fn sequence(content: &[&[u8]]) -> Vec<u8> {
    element(0x30, content)
}

/// `[number]`, explicit.
pub(crate) fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | number, &[content])
}

/// The point in a CKA_EC_POINT: PKCS#11 2.40, section 2.3.3, "DER-encoding of ANSI X9.62 ECPoint
/// value Q", that is, an OCTET STRING around the point.
pub(crate) fn unwrap_point(value: &[u8]) -> Option<&[u8]> {
    let point = match value {
        [0x04, 0x81, length, point @ ..] if point.len() == usize::from(*length) => point,
        [0x04, length, point @ ..] if point.len() == usize::from(*length) => point,
        _ => return None,
    };
    (point.first() == Some(&0x04)).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_short_and_the_long_form() {
        assert_eq!(octet_string(&[7; 3]), [0x04, 3, 7, 7, 7]);
        assert_eq!(octet_string(&[7; 200])[..3], [0x04, 0x81, 200]);
        assert_eq!(octet_string(&[7; 300])[..4], [0x04, 0x82, 1, 44]);
    }

    #[test]
    fn an_integer_is_minimal_and_never_negative() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0, 1, 0, 1]), [2, 3, 1, 0, 1]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
    }

    #[test]
    fn a_point_comes_out_of_its_octet_string() {
        for length in [65, 97, 133] {
            let mut point = vec![9; length];
            point[0] = 4;
            assert_eq!(unwrap_point(&octet_string(&point)), Some(&point[..]));
        }
        for bad in [&[][..], &[4], &[4, 2, 4], &[4, 1, 9], &[4, 0x81]] {
            assert_eq!(unwrap_point(bad), None);
        }
    }
}
