//! Algorithms whose keys are strings of bytes of one length: Edwards and Montgomery curves, and the
//! lattices of FIPS 203 and 204.
//!
//! A private key is kept as the seed that it is made from, whatever form it came in.

use cryptoki_sys as ck;

/// An algorithm with its parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// X25519 (RFC 7748).
    X25519,
    /// ML-DSA-44 (FIPS 204).
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
    /// ML-KEM-512 (FIPS 203).
    MlKem512,
    /// ML-KEM-768.
    MlKem768,
    /// ML-KEM-1024.
    MlKem1024,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ed25519,
        Self::X25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
        Self::MlKem512,
        Self::MlKem768,
        Self::MlKem1024,
    ];

    /// The name that cloudhsm-cli and OpenSSL give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::X25519 => "x25519",
            Self::MlDsa44 => "ml-dsa-44",
            Self::MlDsa65 => "ml-dsa-65",
            Self::MlDsa87 => "ml-dsa-87",
            Self::MlKem512 => "ml-kem-512",
            Self::MlKem768 => "ml-kem-768",
            Self::MlKem1024 => "ml-kem-1024",
        }
    }

    /// Of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    /// `CKK_…`.
    pub fn key_type(self) -> u64 {
        match self {
            Self::Ed25519 => ck::CKK_EC_EDWARDS,
            Self::X25519 => ck::CKK_EC_MONTGOMERY,
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => ck::CKK_ML_DSA,
            Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 => ck::CKK_ML_KEM,
        }
    }

    /// CKA_PARAMETER_SET (`CKP_…`); `None` where CKA_EC_PARAMS names the curve.
    pub fn parameter_set(self) -> Option<u64> {
        match self {
            Self::Ed25519 | Self::X25519 => None,
            Self::MlDsa44 => Some(ck::CKP_ML_DSA_44),
            Self::MlDsa65 => Some(ck::CKP_ML_DSA_65),
            Self::MlDsa87 => Some(ck::CKP_ML_DSA_87),
            Self::MlKem512 => Some(ck::CKP_ML_KEM_512),
            Self::MlKem768 => Some(ck::CKP_ML_KEM_768),
            Self::MlKem1024 => Some(ck::CKP_ML_KEM_1024),
        }
    }

    /// Of a key type and its CKA_PARAMETER_SET.
    pub fn from_parameter_set(key_type: u64, parameter_set: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| {
            scheme.key_type() == key_type && scheme.parameter_set() == Some(parameter_set)
        })
    }

    /// CKA_EC_PARAMS: the curve's object identifier in DER (RFC 8410); `None` where there is no
    /// curve.
    pub fn params(self) -> Option<&'static [u8]> {
        match self {
            Self::Ed25519 => Some(&[0x06, 0x03, 0x2b, 0x65, 0x70]),
            Self::X25519 => Some(&[0x06, 0x03, 0x2b, 0x65, 0x6e]),
            _ => None,
        }
    }

    /// Of a CKA_EC_PARAMS value: the object identifier, or the curve's name as a PrintableString
    /// (PKCS#11 v3.1, 6.3.5: `edwards25519`, `curve25519`).
    pub fn from_params(der: &[u8]) -> Option<Self> {
        match der {
            b"\x13\x0cedwards25519" => Some(Self::Ed25519),
            b"\x13\x0acurve25519" => Some(Self::X25519),
            _ => Self::ALL.into_iter().find(|scheme| scheme.params() == Some(der)),
        }
    }

    /// Length of the seed of a private key, in bytes.
    pub fn seed_bytes(self) -> usize {
        match self {
            // d || z (FIPS 203, algorithm 19).
            Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 => 64,
            _ => 32,
        }
    }

    /// Length of a public key, in bytes.
    pub fn public_bytes(self) -> usize {
        match self {
            Self::Ed25519 | Self::X25519 => 32,
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// Length of a signature, in bytes; 0 where it doesn't sign.
    pub fn signature_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 64,
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
            _ => 0,
        }
    }

    /// Length of an encapsulated key, in bytes; 0 where it doesn't encapsulate.
    pub fn ciphertext_bytes(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
            _ => 0,
        }
    }

    /// Whether it is one of ML-DSA.
    pub(crate) fn is_ml_dsa(self) -> bool {
        self.key_type() == ck::CKK_ML_DSA
    }

    /// Whether it is one of ML-KEM.
    pub(crate) fn is_ml_kem(self) -> bool {
        self.key_type() == ck::CKK_ML_KEM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_what_names_it() {
        for scheme in Scheme::ALL {
            assert_eq!(Scheme::from_name(scheme.name()), Some(scheme));
            match (scheme.params(), scheme.parameter_set()) {
                (Some(params), None) => assert_eq!(Scheme::from_params(params), Some(scheme)),
                (None, Some(set)) => {
                    assert_eq!(Scheme::from_parameter_set(scheme.key_type(), set), Some(scheme));
                }
                _ => panic!("{scheme:?} is named by one of the two"),
            }
        }
        assert_eq!(Scheme::from_params(b"\x13\x0cedwards25519"), Some(Scheme::Ed25519));
        assert_eq!(Scheme::from_parameter_set(ck::CKK_ML_DSA, 4), None);
        assert_eq!(Scheme::from_params(&[]), None);
    }
}
