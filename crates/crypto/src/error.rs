//! What can go wrong in a cryptographic operation, named by whose fault it is.

use cryptoki_sys as ck;

use crate::backend::Failed;

/// Why an operation was refused or failed. No variant carries key material or data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's input has a length that the mechanism or key size can't take.
    #[error("the data's length does not fit the mechanism and key")]
    DataLength,
    /// The caller's input has a right length and a wrong value.
    #[error("the data is not valid for the mechanism")]
    DataInvalid,
    /// A ciphertext doesn't decrypt: it was altered, or is of another key or parameter.
    #[error("the encrypted data is not valid")]
    EncryptedDataInvalid,
    /// A ciphertext has a length that no encryption gives.
    #[error("the encrypted data's length is not possible for the mechanism and key")]
    EncryptedDataLength,
    /// A wrapped key doesn't unwrap: it was altered, or is of another key or parameter.
    #[error("the wrapped key is not valid")]
    WrappedKeyInvalid,
    /// A wrapped key has a length that no wrapping gives.
    #[error("the wrapped key's length is not possible for the mechanism and key")]
    WrappedKeyLength,
    /// The signature is of the right length and doesn't verify.
    #[error("the signature does not verify")]
    SignatureInvalid,
    /// The signature has a length that no signature of this key has.
    #[error("the signature's length is not possible for the mechanism and key")]
    SignatureLength,
    /// The key is of a type or class that the mechanism doesn't take.
    #[error("the key is not of the type that the mechanism takes")]
    KeyType,
    /// The key's size is outside of what is supported.
    #[error("the key size is not supported")]
    KeySize,
    /// Key material is malformed or inconsistent: a point off its curve, factors that don't
    /// multiply to the modulus, an even public exponent.
    #[error("the key material is malformed or inconsistent")]
    KeyInvalid,
    /// The mechanism's parameter is missing, of the wrong kind, or out of range.
    #[error("the mechanism's parameter is not valid")]
    ParameterInvalid,
    /// The mechanism is not made for this operation.
    #[error("the mechanism does not offer this operation")]
    MechanismInvalid,
    /// The backend failed where neither key nor data explains it: out of memory, or a bug.
    #[error("the cryptographic backend failed: {0}")]
    Backend(&'static str),
}

impl Error {
    /// The PKCS#11 return value (`CKR_…`) that tells a caller the same.
    ///
    /// [`Error::KeyInvalid`] maps to what C_CreateObject answers; C_UnwrapKey's callers see
    /// [`Error::WrappedKeyInvalid`] from [`crate::unwrap`].
    pub fn ckr(&self) -> u64 {
        match self {
            Self::DataLength => ck::CKR_DATA_LEN_RANGE,
            Self::DataInvalid => ck::CKR_DATA_INVALID,
            Self::EncryptedDataInvalid => ck::CKR_ENCRYPTED_DATA_INVALID,
            Self::EncryptedDataLength => ck::CKR_ENCRYPTED_DATA_LEN_RANGE,
            Self::WrappedKeyInvalid => ck::CKR_WRAPPED_KEY_INVALID,
            Self::WrappedKeyLength => ck::CKR_WRAPPED_KEY_LEN_RANGE,
            Self::SignatureInvalid => ck::CKR_SIGNATURE_INVALID,
            Self::SignatureLength => ck::CKR_SIGNATURE_LEN_RANGE,
            Self::KeyType => ck::CKR_KEY_TYPE_INCONSISTENT,
            Self::KeySize => ck::CKR_KEY_SIZE_RANGE,
            Self::KeyInvalid => ck::CKR_ATTRIBUTE_VALUE_INVALID,
            Self::ParameterInvalid => ck::CKR_MECHANISM_PARAM_INVALID,
            Self::MechanismInvalid => ck::CKR_MECHANISM_INVALID,
            Self::Backend(_) => ck::CKR_FUNCTION_FAILED,
        }
    }

    /// For a backend call that only memory shortage or a bug makes fail.
    pub(crate) fn backend(what: &'static str) -> impl Fn(Failed) -> Self {
        move |Failed| Self::Backend(what)
    }
}
