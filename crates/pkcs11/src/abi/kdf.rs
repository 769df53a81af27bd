//! The structures of key derivation, RSA_AES key wrap and PBKDF2: parameters that point to structures that
//! point to others.

use cryptoki_sys::*;

use super::mechanism::{Mechanism, Oaep, pointed};
use super::raw::Input;
use crate::error::{Ckr, Result};

/// CK_HKDF_PARAMS, with its pointers checked.
pub(crate) struct Hkdf<'a> {
    /// bExtract.
    pub(crate) extract: bool,
    /// bExpand.
    pub(crate) expand: bool,
    /// CKM_SHA…
    pub(crate) hash: CK_MECHANISM_TYPE,
    /// Empty for none.
    pub(crate) salt: Input<'a>,
    /// What the expansion is for.
    pub(crate) info: Input<'a>,
}

/// CK_PKCS5_PBKD2_PARAMS2, with its pointers checked.
pub(crate) struct Pbkdf2<'a> {
    /// CKP_PKCS5_PBKD2_HMAC_…
    pub(crate) prf: CK_ULONG,
    /// The salt.
    pub(crate) salt: Input<'a>,
    /// How often.
    pub(crate) iterations: CK_ULONG,
    /// The password.
    pub(crate) password: Input<'a>,
}

/// CK_SP800_108_KDF_PARAMS, or CloudHSM's shorter form, with its pointers checked.
pub(crate) struct CounterKdf<'a> {
    /// CKM_SHA256_HMAC, …
    pub(crate) prf: CK_MECHANISM_TYPE,
    /// In their order.
    pub(crate) parts: Vec<Part<'a>>,
    /// Whether it is CloudHSM's form, which numbers its parts as AWS's header does.
    pub(crate) short: bool,
}

/// One CK_PRF_DATA_PARAM.
pub(crate) struct Part<'a> {
    /// CK_SP800_108_…, by the form's own numbers.
    pub(crate) kind: CK_ULONG,
    /// A structure, or bytes.
    pub(crate) value: Input<'a>,
}

/// CloudHSM's CK_SP800_108_KDF_PARAMS: PKCS#11's as it was before additional keys.
#[repr(C)]
#[derive(Clone, Copy)]
struct ShortKdfParams {
    prf: CK_MECHANISM_TYPE,
    count: CK_ULONG,
    parts: *mut CK_PRF_DATA_PARAM,
}

/// CloudHSM's CK_SP800_108_DKM_LENGTH_FORMAT, always big-endian.
#[repr(C)]
#[derive(Clone, Copy)]
struct ShortLengthFormat {
    method: CK_ULONG,
    bits: CK_ULONG,
}

/// Parts of one derivation's input.
const PARTS_MAX: usize = 32;

impl<'a> Mechanism<'a> {
    /// The parameter as CK_HKDF_PARAMS. A salt that is a key is refused.
    pub(crate) fn hkdf(&self) -> Result<Hkdf<'a>> {
        // SAFETY: a C structure of integers and pointers.
        let raw: CK_HKDF_PARAMS = unsafe { self.parameter().as_structure()? };
        let salt = match raw.ulSaltType {
            // SAFETY: null with no length.
            CKF_HKDF_SALT_NULL => unsafe { pointed(std::ptr::null(), 0)? },
            // SAFETY: readable for its length by the constructor's contract.
            CKF_HKDF_SALT_DATA => unsafe { pointed(raw.pSalt.cast_const(), raw.ulSaltLen)? },
            _ => return Err(Ckr(CKR_MECHANISM_PARAM_INVALID)),
        };
        Ok(Hkdf {
            extract: raw.bExtract != CK_FALSE,
            expand: raw.bExpand != CK_FALSE,
            hash: raw.prfHashMechanism,
            salt,
            // SAFETY: readable for its length by the constructor's contract.
            info: unsafe { pointed(raw.pInfo.cast_const(), raw.ulInfoLen)? },
        })
    }

    /// The parameter as CK_PKCS5_PBKD2_PARAMS2. Its older form, which points to the password's length, has
    /// the same size: the pointer is a length that no password has, and is refused for that.
    pub(crate) fn pbkdf2(&self) -> Result<Pbkdf2<'a>> {
        // SAFETY: a C structure of integers and pointers.
        let raw: CK_PKCS5_PBKD2_PARAMS2 = unsafe { self.parameter().as_structure()? };
        if raw.saltSource != CKZ_SALT_SPECIFIED || raw.ulPrfDataLen != 0 {
            return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
        }
        Ok(Pbkdf2 {
            prf: raw.prf,
            // SAFETY: readable for its length by the constructor's contract.
            salt: unsafe {
                pointed(raw.pSaltSourceData.cast_const().cast(), raw.ulSaltSourceDataLen)?
            },
            iterations: raw.iterations,
            // SAFETY: readable for its length by the constructor's contract.
            password: unsafe { pointed(raw.pPassword.cast_const(), raw.ulPasswordLen)? },
        })
    }

    /// The parameter as CK_RSA_AES_KEY_WRAP_PARAMS: the AES key's size in bits, and OAEP's parameter.
    pub(crate) fn rsa_aes(&self) -> Result<(CK_ULONG, Oaep<'a>)> {
        // SAFETY: a C structure of an integer and a pointer.
        let raw: CK_RSA_AES_KEY_WRAP_PARAMS = unsafe { self.parameter().as_structure()? };
        // SAFETY: readable for a structure by the constructor's contract, or null.
        let oaep = unsafe {
            pointed(
                raw.pOAEPParams.cast_const().cast(),
                size_of::<CK_RSA_PKCS_OAEP_PARAMS>() as CK_ULONG,
            )?
        };
        // SAFETY: the constructor's contract, for what the parameter points to.
        Ok((raw.ulAESKeyBits, unsafe { Self::with_parameter(CKM_RSA_PKCS_OAEP, oaep) }.oaep()?))
    }

    /// The parameter as CK_SP800_108_KDF_PARAMS or CloudHSM's. Additional derived keys are refused.
    pub(crate) fn counter_kdf(&self) -> Result<CounterKdf<'a>> {
        let short = self.parameter().len() == size_of::<ShortKdfParams>();
        let raw = if short {
            // SAFETY: a C structure of integers and a pointer.
            unsafe { self.parameter().as_structure::<ShortKdfParams>()? }
        } else {
            // SAFETY: a C structure of integers and pointers.
            let raw: CK_SP800_108_KDF_PARAMS = unsafe { self.parameter().as_structure()? };
            if raw.ulAdditionalDerivedKeys != 0 {
                return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
            }
            ShortKdfParams {
                prf: raw.prfType,
                count: raw.ulNumberOfDataParams,
                parts: raw.pDataParams,
            }
        };
        let count = usize::try_from(raw.count).ok().filter(|count| *count <= PARTS_MAX);
        let count = count.ok_or(Ckr(CKR_MECHANISM_PARAM_INVALID))?;
        if count > 0 && raw.parts.is_null() {
            return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
        }
        let parts = (0..count).map(|number| {
            // SAFETY: the array has `count` structures by the constructor's contract.
            let part = unsafe { raw.parts.add(number).read_unaligned() };
            // SAFETY: readable for its length by the constructor's contract.
            let value = unsafe { pointed(part.pValue.cast_const().cast(), part.ulValueLen)? };
            Ok(Part { kind: part.type_, value })
        });
        Ok(CounterKdf { prf: raw.prf, parts: parts.collect::<Result<_>>()?, short })
    }
}

impl Part<'_> {
    /// The value as CK_SP800_108_COUNTER_FORMAT or CloudHSM's, which has the width alone: whether it is
    /// little-endian, and its bits.
    pub(crate) fn counter(&self) -> Result<(bool, CK_ULONG)> {
        if self.value.len() == size_of::<CK_ULONG>() {
            // SAFETY: an integer.
            return Ok((false, unsafe { self.value.as_structure()? }));
        }
        // SAFETY: a C structure of integers.
        let raw: CK_SP800_108_COUNTER_FORMAT = unsafe { self.value.as_structure()? };
        Ok((raw.bLittleEndian != CK_FALSE, raw.ulWidthInBits))
    }

    /// The value as CK_SP800_108_DKM_LENGTH_FORMAT or CloudHSM's: the method, whether it is little-endian,
    /// and its bits.
    pub(crate) fn length(&self) -> Result<(CK_ULONG, bool, CK_ULONG)> {
        if self.value.len() == size_of::<ShortLengthFormat>() {
            // SAFETY: a C structure of integers.
            let raw: ShortLengthFormat = unsafe { self.value.as_structure()? };
            return Ok((raw.method, false, raw.bits));
        }
        // SAFETY: a C structure of integers.
        let raw: CK_SP800_108_DKM_LENGTH_FORMAT = unsafe { self.value.as_structure()? };
        Ok((raw.dkmLengthMethod, raw.bLittleEndian != CK_FALSE, raw.ulWidthInBits))
    }
}
