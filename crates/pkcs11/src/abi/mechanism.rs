//! CK_MECHANISM and the structures that its parameter may be.

use cryptoki_sys::*;

use super::raw::{Input, IvPlace};
use crate::error::{Ckr, Result};

/// A mechanism that the caller passes in.
#[derive(Clone, Copy)]
pub(crate) struct Mechanism<'a> {
    kind: CK_MECHANISM_TYPE,
    parameter: Input<'a>,
}

/// CK_GCM_PARAMS, with its pointers checked.
pub(crate) struct Gcm<'a> {
    /// The IV; may be empty.
    pub(crate) iv: Input<'a>,
    /// Where an IV of the HSM's goes: the IV's own buffer.
    pub(crate) iv_place: Option<IvPlace>,
    /// Additional data; may be empty.
    pub(crate) aad: Input<'a>,
    /// In bits.
    pub(crate) tag_bits: CK_ULONG,
}

/// The parameter of another authenticated cipher, with its pointers checked.
pub(crate) struct Aead<'a> {
    /// The nonce; may be empty.
    pub(crate) nonce: Input<'a>,
    /// Additional data; may be empty.
    pub(crate) aad: Input<'a>,
    /// In bytes.
    pub(crate) tag_bytes: CK_ULONG,
    /// Of the plaintext, in bytes, where the parameter says it.
    pub(crate) data_bytes: Option<CK_ULONG>,
}

/// CK_CHACHA20_PARAMS, with its pointers checked.
pub(crate) struct ChaCha20<'a> {
    /// The block counter; may be empty.
    pub(crate) counter: Input<'a>,
    /// The nonce; may be empty.
    pub(crate) nonce: Input<'a>,
}

/// CK_RSA_PKCS_OAEP_PARAMS, with its pointer checked.
pub(crate) struct Oaep<'a> {
    /// CKM_SHA…
    pub(crate) hash: CK_MECHANISM_TYPE,
    /// CKG_MGF1_…
    pub(crate) mgf: CK_RSA_PKCS_MGF_TYPE,
    /// The label; may be empty.
    pub(crate) label: Input<'a>,
}

/// CK_ECDH1_DERIVE_PARAMS, with its pointers checked.
pub(crate) struct Ecdh<'a> {
    /// CKD_…
    pub(crate) kdf: CK_EC_KDF_TYPE,
    /// May be empty.
    pub(crate) shared_data: Input<'a>,
    /// The other side's public key.
    pub(crate) public_data: Input<'a>,
}

/// CK_GCM_PARAMS as headers before PKCS#11 2.40 had it, without `ulIvBits`; NSS and older Java
/// still pass it.
#[repr(C)]
#[derive(Clone, Copy)]
struct OldGcmParams {
    iv: *mut CK_BYTE,
    iv_length: CK_ULONG,
    aad: *mut CK_BYTE,
    aad_length: CK_ULONG,
    tag_bits: CK_ULONG,
}

impl<'a> Mechanism<'a> {
    /// Reads a mechanism; `None` where the pointer is null, which means something in Init calls.
    ///
    /// # Safety
    /// `pointer` is null, or a mechanism can be read at it, whose parameter is null or readable for
    /// its length, and what the parameter points to likewise (PKCS#11's structures); an IV buffer
    /// is writable until the operation has ended.
    pub(crate) unsafe fn new(pointer: *const CK_MECHANISM) -> Result<Option<Self>> {
        if pointer.is_null() {
            return Ok(None);
        }
        // SAFETY: not null, and readable by this function's contract.
        let raw = unsafe { pointer.read_unaligned() };
        // SAFETY: this function's contract.
        let parameter =
            unsafe { Input::new(raw.pParameter.cast_const().cast(), raw.ulParameterLen) };
        Ok(Some(Self {
            kind: raw.mechanism,
            parameter: parameter.map_err(|_| Ckr(CKR_MECHANISM_PARAM_INVALID))?,
        }))
    }

    /// As [`Mechanism::new`], where null means nothing.
    ///
    /// # Safety
    /// As for [`Mechanism::new`].
    pub(crate) unsafe fn required(pointer: *const CK_MECHANISM) -> Result<Self> {
        // SAFETY: this function's contract.
        unsafe { Self::new(pointer)? }.ok_or(Ckr(CKR_ARGUMENTS_BAD))
    }

    /// A mechanism whose parameter is somewhere else.
    ///
    /// # Safety
    /// As for [`Mechanism::new`], of what the parameter points to.
    pub(super) unsafe fn with_parameter(kind: CK_MECHANISM_TYPE, parameter: Input<'a>) -> Self {
        Self { kind, parameter }
    }

    /// The CKM_ number.
    pub(crate) fn kind(&self) -> CK_MECHANISM_TYPE {
        self.kind
    }

    /// The parameter's bytes.
    pub(crate) fn parameter(&self) -> &Input<'a> {
        &self.parameter
    }

    /// The parameter as CK_RSA_PKCS_PSS_PARAMS.
    pub(crate) fn pss(&self) -> Result<CK_RSA_PKCS_PSS_PARAMS> {
        // SAFETY: a C structure of integers.
        unsafe { self.parameter.as_structure() }
    }

    /// The parameter as CK_AES_CTR_PARAMS.
    pub(crate) fn ctr(&self) -> Result<CK_AES_CTR_PARAMS> {
        // SAFETY: a C structure of integers.
        unsafe { self.parameter.as_structure() }
    }

    /// The parameter as a CK_ULONG.
    pub(crate) fn ulong(&self) -> Result<CK_ULONG> {
        // SAFETY: an integer.
        unsafe { self.parameter.as_structure() }
    }

    /// The parameter as CK_CCM_PARAMS.
    pub(crate) fn ccm(&self) -> Result<Aead<'a>> {
        // SAFETY: a C structure of integers and pointers.
        let raw: CK_CCM_PARAMS = unsafe { self.parameter.as_structure()? };
        Ok(Aead {
            // SAFETY: readable for its length by the constructor's contract.
            nonce: unsafe { pointed(raw.pNonce.cast_const(), raw.ulNonceLen)? },
            // SAFETY: readable for its length by the constructor's contract.
            aad: unsafe { pointed(raw.pAAD.cast_const(), raw.ulAADLen)? },
            tag_bytes: raw.ulMACLen,
            data_bytes: Some(raw.ulDataLen),
        })
    }

    /// The parameter as CK_SALSA20_CHACHA20_POLY1305_PARAMS.
    pub(crate) fn chacha20_poly1305(&self) -> Result<Aead<'a>> {
        // SAFETY: a C structure of integers and pointers.
        let raw: CK_SALSA20_CHACHA20_POLY1305_PARAMS = unsafe { self.parameter.as_structure()? };
        Ok(Aead {
            // SAFETY: readable for its length by the constructor's contract.
            nonce: unsafe { pointed(raw.pNonce.cast_const(), raw.ulNonceLen)? },
            // SAFETY: readable for its length by the constructor's contract.
            aad: unsafe { pointed(raw.pAAD.cast_const(), raw.ulAADLen)? },
            tag_bytes: 16,
            data_bytes: None,
        })
    }

    /// The parameter as CK_CHACHA20_PARAMS. Its lengths are in bits.
    pub(crate) fn chacha20(&self) -> Result<ChaCha20<'a>> {
        // SAFETY: a C structure of integers and pointers.
        let raw: CK_CHACHA20_PARAMS = unsafe { self.parameter.as_structure()? };
        Ok(ChaCha20 {
            // SAFETY: readable for its length by the constructor's contract.
            counter: unsafe { pointed(raw.pBlockCounter.cast_const(), raw.blockCounterBits / 8)? },
            // SAFETY: readable for its length by the constructor's contract.
            nonce: unsafe { pointed(raw.pNonce.cast_const(), raw.ulNonceBits / 8)? },
        })
    }

    /// The parameter as CK_RSA_PKCS_OAEP_PARAMS.
    pub(crate) fn oaep(&self) -> Result<Oaep<'a>> {
        // SAFETY: a C structure of integers and a pointer.
        let raw: CK_RSA_PKCS_OAEP_PARAMS = unsafe { self.parameter.as_structure()? };
        // A null source is a label of no bytes; CKZ_DATA_SPECIFIED names one.
        if raw.source != 0 && raw.source != CKZ_DATA_SPECIFIED {
            return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
        }
        Ok(Oaep {
            hash: raw.hashAlg,
            mgf: raw.mgf,
            // SAFETY: readable for its length by the constructor's contract.
            label: unsafe { pointed(raw.pSourceData.cast_const().cast(), raw.ulSourceDataLen)? },
        })
    }

    /// The parameter as CK_ECDH1_DERIVE_PARAMS.
    pub(crate) fn ecdh(&self) -> Result<Ecdh<'a>> {
        // SAFETY: a C structure of integers and pointers.
        let raw: CK_ECDH1_DERIVE_PARAMS = unsafe { self.parameter.as_structure()? };
        Ok(Ecdh {
            kdf: raw.kdf,
            // SAFETY: readable for its length by the constructor's contract.
            shared_data: unsafe { pointed(raw.pSharedData.cast_const(), raw.ulSharedDataLen)? },
            // SAFETY: readable for its length by the constructor's contract.
            public_data: unsafe { pointed(raw.pPublicData.cast_const(), raw.ulPublicDataLen)? },
        })
    }

    /// The parameter as CK_EDDSA_PARAMS: phFlag and context.
    pub(crate) fn eddsa(&self) -> Result<(bool, Input<'a>)> {
        // SAFETY: a C structure of integers and a pointer.
        let raw: CK_EDDSA_PARAMS = unsafe { self.parameter.as_structure()? };
        // SAFETY: readable for its length by the constructor's contract.
        let context = unsafe { pointed(raw.pContextData.cast_const(), raw.ulContextDataLen)? };
        Ok((raw.phFlag != CK_FALSE, context))
    }

    /// The parameter as CK_SIGN_ADDITIONAL_CONTEXT: hedging and context.
    pub(crate) fn signing_context(&self) -> Result<(CK_HEDGE_TYPE, Input<'a>)> {
        // SAFETY: a C structure of integers and a pointer.
        let raw: CK_SIGN_ADDITIONAL_CONTEXT = unsafe { self.parameter.as_structure()? };
        // SAFETY: readable for its length by the constructor's contract.
        Ok((raw.hedgeVariant, unsafe { pointed(raw.pContext.cast_const(), raw.ulContextLen)? }))
    }

    /// The parameter as CK_HASH_SIGN_ADDITIONAL_CONTEXT: hedging, context and hash.
    pub(crate) fn hash_signing_context(
        &self,
    ) -> Result<(CK_HEDGE_TYPE, Input<'a>, CK_MECHANISM_TYPE)> {
        // SAFETY: a C structure of integers and a pointer.
        let raw: CK_HASH_SIGN_ADDITIONAL_CONTEXT = unsafe { self.parameter.as_structure()? };
        // SAFETY: readable for its length by the constructor's contract.
        let context = unsafe { pointed(raw.pContext.cast_const(), raw.ulContextLen)? };
        Ok((raw.hedgeVariant, context, raw.hash))
    }

    /// The parameter as CK_GCM_PARAMS, new or old.
    pub(crate) fn gcm(&self) -> Result<Gcm<'a>> {
        let raw = if self.parameter.len() == size_of::<OldGcmParams>() {
            // SAFETY: a C structure of integers and pointers.
            unsafe { self.parameter.as_structure::<OldGcmParams>()? }
        } else {
            // SAFETY: a C structure of integers and pointers.
            let raw: CK_GCM_PARAMS = unsafe { self.parameter.as_structure()? };
            OldGcmParams {
                iv: raw.pIv,
                iv_length: raw.ulIvLen,
                aad: raw.pAAD,
                aad_length: raw.ulAADLen,
                tag_bits: raw.ulTagBits,
            }
        };
        // SAFETY: readable for its length by the constructor's contract.
        let iv = unsafe { pointed(raw.iv.cast_const(), raw.iv_length)? };
        let iv_place = (!iv.is_null() && iv.len() > 0).then(|| {
            // SAFETY: writable until the operation has ended, by the constructor's contract.
            unsafe { IvPlace::new(raw.iv, iv.len()) }
        });
        Ok(Gcm {
            iv,
            iv_place,
            // SAFETY: readable for its length by the constructor's contract.
            aad: unsafe { pointed(raw.aad.cast_const(), raw.aad_length)? },
            tag_bits: raw.tag_bits,
        })
    }
}

/// Bytes that a parameter points to.
///
/// # Safety
/// As [`Input::new`].
pub(super) unsafe fn pointed<'a>(pointer: *const u8, length: CK_ULONG) -> Result<Input<'a>> {
    // SAFETY: this function's contract.
    unsafe { Input::new(pointer, length) }.map_err(|_| Ckr(CKR_MECHANISM_PARAM_INVALID))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A mechanism whose parameter is `structure`.
    pub(crate) fn mechanism<T>(kind: CK_MECHANISM_TYPE, structure: &mut T) -> CK_MECHANISM {
        CK_MECHANISM {
            mechanism: kind,
            pParameter: std::ptr::from_mut(structure).cast(),
            ulParameterLen: size_of::<T>() as CK_ULONG,
        }
    }

    fn read(raw: &CK_MECHANISM) -> Result<Mechanism<'_>> {
        // SAFETY: a live mechanism whose pointers are live, or refused unread.
        unsafe { Mechanism::required(raw) }
    }

    fn gcm_params() -> CK_GCM_PARAMS {
        CK_GCM_PARAMS {
            pIv: std::ptr::null_mut(),
            ulIvLen: 0,
            ulIvBits: 0,
            pAAD: std::ptr::null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        }
    }

    #[test]
    fn a_parameter_of_another_size_is_refused() {
        let mut byte = 1u8;
        let raw = mechanism(CKM_RSA_PKCS_PSS, &mut byte);
        let read = read(&raw).unwrap();
        let invalid = Some(Ckr(CKR_MECHANISM_PARAM_INVALID));
        assert_eq!(read.pss().err(), invalid);
        assert_eq!(read.ctr().err(), invalid);
        assert_eq!(read.oaep().err(), invalid);
        assert_eq!(read.gcm().err(), invalid);
    }

    #[test]
    fn null_parameters_with_a_length_are_refused() {
        let raw = CK_MECHANISM {
            mechanism: CKM_AES_CBC,
            pParameter: std::ptr::null_mut(),
            ulParameterLen: 16,
        };
        assert_eq!(read(&raw).err(), Some(Ckr(CKR_MECHANISM_PARAM_INVALID)));
        // SAFETY: null is allowed.
        assert!(unsafe { Mechanism::new(std::ptr::null()) }.unwrap().is_none());
    }

    #[test]
    fn pointers_in_parameters_are_checked_like_any_other() {
        let mut byte = 1u8;
        for (pointer, length) in [(std::ptr::null_mut(), 12), (&raw mut byte, CK_ULONG::MAX)] {
            let mut iv = CK_GCM_PARAMS { pIv: pointer, ulIvLen: length, ..gcm_params() };
            assert!(read(&mechanism(CKM_AES_GCM, &mut iv)).unwrap().gcm().is_err());
            let mut aad = CK_GCM_PARAMS { pAAD: pointer, ulAADLen: length, ..gcm_params() };
            assert!(read(&mechanism(CKM_AES_GCM, &mut aad)).unwrap().gcm().is_err());
            let mut label = CK_RSA_PKCS_OAEP_PARAMS {
                hashAlg: CKM_SHA256,
                mgf: CKG_MGF1_SHA256,
                source: CKZ_DATA_SPECIFIED,
                pSourceData: pointer.cast(),
                ulSourceDataLen: length,
            };
            assert!(read(&mechanism(CKM_RSA_PKCS_OAEP, &mut label)).unwrap().oaep().is_err());
        }
    }

    #[test]
    fn gcm_parameters_are_read_with_and_without_iv_bits() {
        let mut iv = *b"twelve bytes";
        let mut new = CK_GCM_PARAMS { pIv: iv.as_mut_ptr(), ulIvLen: 12, ..gcm_params() };
        let mut old = OldGcmParams {
            iv: new.pIv,
            iv_length: 12,
            aad: std::ptr::null_mut(),
            aad_length: 0,
            tag_bits: 96,
        };
        let raw = mechanism(CKM_AES_GCM, &mut new);
        let gcm = read(&raw).unwrap().gcm().unwrap();
        assert_eq!((gcm.iv.bytes(), gcm.tag_bits), (b"twelve bytes".as_slice(), 128));
        assert!(gcm.iv_place.is_some());
        let raw = mechanism(CKM_AES_GCM, &mut old);
        let gcm = read(&raw).unwrap().gcm().unwrap();
        assert_eq!((gcm.iv.bytes(), gcm.tag_bits), (b"twelve bytes".as_slice(), 96));
    }
}
