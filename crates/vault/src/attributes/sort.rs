//! Sorts of objects, as far as their attributes differ.

use cryptoki_sys::*;

/// A sort of object, as far as attributes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// CKO_PRIVATE_KEY, CKK_EC, CKK_EC_EDWARDS or CKK_EC_MONTGOMERY.
    EcPrivate,
    /// CKO_PUBLIC_KEY, CKK_EC, CKK_EC_EDWARDS or CKK_EC_MONTGOMERY.
    EcPublic,
    /// CKO_PRIVATE_KEY, CKK_RSA.
    RsaPrivate,
    /// CKO_PUBLIC_KEY, CKK_RSA.
    RsaPublic,
    /// CKO_PRIVATE_KEY, CKK_ML_DSA or CKK_ML_KEM.
    PqPrivate,
    /// CKO_PUBLIC_KEY, CKK_ML_DSA or CKK_ML_KEM.
    PqPublic,
    /// CKO_SECRET_KEY, CKK_AES.
    Aes,
    /// CKO_SECRET_KEY of a type that has one length: CKK_DES3, CKK_CHACHA20, CKK_AES_XTS. Its column is
    /// that of AES, but CKA_VALUE_LEN may be left out.
    OneLength,
    /// CKO_SECRET_KEY, CKK_GENERIC_SECRET, CKK_HKDF or a CKK_…_HMAC.
    Generic,
    /// CKO_CERTIFICATE, CKC_X_509.
    Certificate,
    /// CKO_DATA.
    Data,
}

impl Sort {
    /// Of a class and a key or certificate type; `None` where no object can be of both.
    #[must_use]
    pub fn of(class: u64, key_type: Option<u64>) -> Option<Self> {
        Some(match (class, key_type) {
            (CKO_PRIVATE_KEY, Some(CKK_EC | CKK_EC_EDWARDS | CKK_EC_MONTGOMERY)) => Self::EcPrivate,
            (CKO_PUBLIC_KEY, Some(CKK_EC | CKK_EC_EDWARDS | CKK_EC_MONTGOMERY)) => Self::EcPublic,
            (CKO_PRIVATE_KEY, Some(CKK_RSA)) => Self::RsaPrivate,
            (CKO_PUBLIC_KEY, Some(CKK_RSA)) => Self::RsaPublic,
            (CKO_PRIVATE_KEY, Some(CKK_ML_DSA | CKK_ML_KEM)) => Self::PqPrivate,
            (CKO_PUBLIC_KEY, Some(CKK_ML_DSA | CKK_ML_KEM)) => Self::PqPublic,
            (CKO_SECRET_KEY, Some(CKK_AES)) => Self::Aes,
            (CKO_SECRET_KEY, Some(CKK_DES3 | CKK_CHACHA20 | CKK_AES_XTS)) => Self::OneLength,
            (
                CKO_SECRET_KEY,
                Some(
                    CKK_GENERIC_SECRET | CKK_HKDF | CKK_SHA_1_HMAC | CKK_SHA224_HMAC
                    | CKK_SHA256_HMAC | CKK_SHA384_HMAC | CKK_SHA512_HMAC | CKK_SHA512_224_HMAC
                    | CKK_SHA512_256_HMAC | CKK_SHA3_224_HMAC | CKK_SHA3_256_HMAC
                    | CKK_SHA3_384_HMAC | CKK_SHA3_512_HMAC,
                ),
            ) => Self::Generic,
            (CKO_CERTIFICATE, Some(CKC_X_509)) => Self::Certificate,
            (CKO_DATA, None) => Self::Data,
            _ => return None,
        })
    }

    /// Whether objects of this sort are keys.
    #[must_use]
    pub fn is_key(self) -> bool {
        !matches!(self, Self::Certificate | Self::Data)
    }

    /// Whether the key is one whose material is a secret.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(
            self,
            Self::EcPrivate
                | Self::RsaPrivate
                | Self::PqPrivate
                | Self::Aes
                | Self::OneLength
                | Self::Generic
        )
    }

    /// The sort whose column it has in the table.
    pub(super) const fn column(self) -> Self {
        match self {
            Self::OneLength => Self::Aes,
            other => other,
        }
    }

    /// Its column as a bit.
    pub(super) const fn bit(self) -> u16 {
        1 << self.column() as u16
    }
}
