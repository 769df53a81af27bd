//! The elliptic curves that keys may be on.

/// A named curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-224 (secp224r1).
    P224,
    /// NIST P-256 (secp256r1, prime256v1).
    P256,
    /// NIST P-384 (secp384r1).
    P384,
    /// NIST P-521 (secp521r1).
    P521,
    /// SEC 2's Koblitz curve, as cryptocurrencies use it.
    Secp256k1,
}

impl Curve {
    /// All curves.
    pub const ALL: [Self; 5] = [Self::P224, Self::P256, Self::P384, Self::P521, Self::Secp256k1];

    /// The curve of a `CKA_EC_PARAMS` value: a DER object identifier, or a name as a PrintableString
    /// (PKCS#11 v3.1, 6.3.3). `None` for a curve that isn't offered, explicit parameters included.
    pub fn from_params(der: &[u8]) -> Option<Self> {
        if let [0x13, length, name @ ..] = der
            && usize::from(*length) == name.len()
        {
            return Self::from_name(std::str::from_utf8(name).ok()?);
        }
        Self::ALL.into_iter().find(|curve| curve.params() == der)
    }

    /// The `CKA_EC_PARAMS` value: the curve's object identifier in DER.
    pub fn params(self) -> &'static [u8] {
        match self {
            // 1.3.132.0.33
            Self::P224 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21],
            // 1.2.840.10045.3.1.7
            Self::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            // 1.3.132.0.34
            Self::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            // 1.3.132.0.35
            Self::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
            // 1.3.132.0.10
            Self::Secp256k1 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }

    /// Size of the field and of the order, in bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::P224 => 224,
            Self::P256 | Self::Secp256k1 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// Length of a coordinate, and of r and s, in bytes.
    pub fn field_bytes(self) -> usize {
        self.bits().div_ceil(8) as usize
    }

    /// The curve of a name that OpenSSL or cloudhsm-cli uses: `prime256v1` is `secp256r1`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "prime256v1" => Some(Self::P256),
            _ => Self::ALL.into_iter().find(|curve| curve.name() == name),
        }
    }

    /// The name that OpenSSL and cloudhsm-cli give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::P224 => "secp224r1",
            Self::P256 => "secp256r1",
            Self::P384 => "secp384r1",
            Self::P521 => "secp521r1",
            Self::Secp256k1 => "secp256k1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_name_their_curve_and_no_other() {
        for curve in Curve::ALL {
            assert_eq!(Curve::from_params(curve.params()), Some(curve));
            assert_eq!(Curve::from_name(curve.name()), Some(curve));
        }
        assert_eq!(Curve::from_params(&[]), None);
        assert_eq!(Curve::from_params(b"\x13\x09secp256r1"), Some(Curve::P256));
        assert_eq!(Curve::from_params(b"\x13\x08secp256r1"), None);
        // brainpoolP256r1 is not offered.
        let brainpool = [0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07];
        assert_eq!(Curve::from_params(&brainpool), None);
    }

    #[test]
    fn p521_fields_take_66_bytes() {
        assert_eq!(Curve::P521.field_bytes(), 66);
    }
}
