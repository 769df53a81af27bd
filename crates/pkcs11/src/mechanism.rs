//! Mechanisms and their parameters, from PKCS#11's structures to the wire's (PKCS#11 2.40,
//! "Current Mechanisms Specification").
//!
//! Whether a parameter makes sense for the key is the HSM's to say; here is checked what must hold
//! before it can be sent.

use cryptoki_sys::*;
use strongroom_crypto::Hash;
use strongroom_crypto::mechanism::{self, Form, Kind};
use strongroom_wire::limits::DATA_BYTES_MAX;
use strongroom_wire::message::{
    self, EcdhParameter, EddsaParameter, GcmParameter, OaepParameter, Parameter, PssParameter,
    SigningContextParameter,
};

use crate::abi::mechanism::{Aead, Mechanism};
use crate::abi::raw::{Input, IvPlace};
use crate::error::{Ckr, Result};
use crate::kdf;
use crate::module::wide;

/// The longest initial value of AES key wrap that is looked at, in bytes.
const KEY_WRAP_IV_BYTES_MAX: usize = 16;
/// The longest IV (GCM allows any; real ones have 12 bytes).
const IV_BYTES_MAX: usize = 1024;
/// The longest OAEP label, and the longest data shared by both sides of ECDH, in bytes.
const LABEL_BYTES_MAX: usize = 16 * 1024;

/// A mechanism, checked and ready to be sent.
pub(crate) struct Parsed {
    /// The library's knowledge of it.
    pub(crate) entry: &'static mechanism::Mechanism,
    /// As it travels.
    pub(crate) wire: message::Mechanism,
    /// Where an IV of the HSM's goes.
    pub(crate) iv_place: Option<IvPlace>,
    /// CK_AES_CTR_PARAMS.ulCounterBits, else 0.
    pub(crate) counter_bits: u32,
    /// CK_CCM_PARAMS.ulDataLen: how long the plaintext is.
    pub(crate) data_bytes: Option<u64>,
}

/// Reads a mechanism. `cloudhsm` says that a zeroed GCM IV asks for one of the HSM's.
///
/// # Errors
/// CKR_MECHANISM_INVALID where the library doesn't know it, CKR_MECHANISM_PARAM_INVALID.
pub(crate) fn parse(given: &Mechanism<'_>, cloudhsm: bool) -> Result<Parsed> {
    let kind = wide(given.kind());
    let entry = mechanism::find(kind).ok_or(Ckr(CKR_MECHANISM_INVALID))?;
    let mut iv_place = None;
    let mut counter_bits = 0;
    let mut data_bytes = None;
    let parameter = match entry.parameter() {
        Form::None => {
            if given.parameter().len() != 0 {
                return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
            }
            None
        }
        Form::Pss => Some(Parameter::Pss(pss(given, entry.hash)?)),
        Form::Oaep => Some(Parameter::Oaep(oaep(given)?)),
        Form::Ecdh => Some(Parameter::Ecdh(ecdh(given)?)),
        Form::Eddsa | Form::SigningContext if given.parameter().len() == 0 => None,
        Form::Eddsa => {
            let (prehash, context) = given.eddsa()?;
            Some(Parameter::Eddsa(EddsaParameter { prehash, context: signed_context(context)? }))
        }
        Form::SigningContext => {
            let (hedge, context) = given.signing_context()?;
            Some(Parameter::SigningContext(SigningContextParameter {
                hedge: wide(hedge),
                context: signed_context(context)?,
                hash: 0,
            }))
        }
        Form::HashSigningContext => {
            let (hedge, context, hash) = given.hash_signing_context()?;
            Some(Parameter::SigningContext(SigningContextParameter {
                hedge: wide(hedge),
                context: signed_context(context)?,
                hash: wide(hash),
            }))
        }
        Form::Iv(length) => Some(Parameter::Iv(iv(given, length)?)),
        Form::Counter => {
            let ctr = given.ctr()?;
            counter_bits = u32::try_from(ctr.ulCounterBits)
                .ok()
                .filter(|bits| (1..=128).contains(bits))
                .ok_or(Ckr(CKR_MECHANISM_PARAM_INVALID))?;
            Some(Parameter::Iv(ctr.cb.to_vec()))
        }
        Form::Gcm => {
            let gcm = given.gcm()?;
            let iv = gcm.iv.at_most(IV_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec();
            let made_by_hsm = cloudhsm && iv.iter().all(|&byte| byte == 0);
            if made_by_hsm {
                iv_place = gcm.iv_place;
            }
            if entry.operation == Kind::AesGcmWithIv && !iv.iter().all(|&byte| byte == 0) {
                return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
            }
            Some(Parameter::Gcm(GcmParameter {
                iv,
                aad: gcm.aad.at_most(DATA_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec(),
                tag_bits: tag_bits(gcm.tag_bits)?,
            }))
        }
        Form::Ccm => {
            let ccm = given.ccm()?;
            data_bytes = ccm.data_bytes;
            Some(Parameter::Gcm(aead(&ccm)?))
        }
        Form::ChaCha20Poly1305 => Some(Parameter::Gcm(aead(&given.chacha20_poly1305()?)?)),
        Form::ChaCha20 => {
            let chacha20 = given.chacha20()?;
            let part = |bytes: &Input<'_>, length: usize| {
                if bytes.len() == length {
                    Ok(bytes.bytes().to_vec())
                } else {
                    Err(Ckr(CKR_MECHANISM_PARAM_INVALID))
                }
            };
            let (counter, nonce) = (part(&chacha20.counter, 4)?, part(&chacha20.nonce, 12)?);
            Some(Parameter::Iv([counter, nonce].concat()))
        }
        Form::RsaAes => Some(Parameter::RsaAes(kdf::rsa_aes(given)?)),
        Form::CounterKdf => Some(Parameter::CounterKdf(kdf::counter_kdf(given)?)),
        Form::Hkdf => Some(Parameter::Hkdf(kdf::hkdf(given)?)),
        Form::Pbkdf2 => Some(Parameter::Pbkdf2(kdf::pbkdf2(given)?)),
        Form::MacLength => Some(Parameter::MacLength(wide(given.ulong()?))),
        Form::KeyWrapIv => {
            let iv =
                given.parameter().at_most(KEY_WRAP_IV_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?;
            (!iv.is_empty()).then(|| Parameter::Iv(iv.to_vec()))
        }
    };
    let wire = message::Mechanism { kind, parameter };
    Ok(Parsed { entry, wire, iv_place, counter_bits, data_bytes: data_bytes.map(wide) })
}

fn aead(given: &Aead<'_>) -> Result<GcmParameter> {
    Ok(GcmParameter {
        iv: given.nonce.at_most(IV_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec(),
        aad: given.aad.at_most(DATA_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec(),
        tag_bits: tag_bits(given.tag_bytes.saturating_mul(8))?,
    })
}

fn iv(given: &Mechanism<'_>, bytes: usize) -> Result<Vec<u8>> {
    let parameter = given.parameter();
    if parameter.len() != bytes {
        return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
    }
    Ok(parameter.bytes().to_vec())
}

/// Tags are whole bytes, at most a block.
fn tag_bits(bits: CK_ULONG) -> Result<u32> {
    u32::try_from(bits)
        .ok()
        .filter(|bits| bits.is_multiple_of(8) && (8..=128).contains(bits))
        .ok_or(Ckr(CKR_MECHANISM_PARAM_INVALID))
}

/// CK_RSA_PKCS_PSS_PARAMS; its hash must be the mechanism's, where that has one.
fn pss(given: &Mechanism<'_>, hash: Option<Hash>) -> Result<PssParameter> {
    let raw = given.pss()?;
    let given_hash = wide(raw.hashAlg);
    let known = Hash::from_mechanism(given_hash).ok_or(Ckr(CKR_MECHANISM_PARAM_INVALID))?;
    if hash.is_some_and(|hash| hash != known) {
        return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
    }
    Ok(PssParameter { hash: given_hash, mgf: wide(raw.mgf), salt_length: wide(raw.sLen) })
}

fn oaep(given: &Mechanism<'_>) -> Result<OaepParameter> {
    let raw = given.oaep()?;
    Ok(OaepParameter {
        hash: wide(raw.hash),
        mgf: wide(raw.mgf),
        label: raw.label.at_most(LABEL_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec(),
    })
}

/// A context of a signature: at most 255 bytes (RFC 8032, 5.1; FIPS 204, 5.2).
fn signed_context(context: Input<'_>) -> Result<Vec<u8>> {
    context.at_most(u8::MAX.into(), CKR_MECHANISM_PARAM_INVALID).map(<[u8]>::to_vec)
}

fn ecdh(given: &Mechanism<'_>) -> Result<EcdhParameter> {
    let raw = given.ecdh()?;
    let bytes = |input: Input<'_>| {
        input.at_most(LABEL_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID).map(<[u8]>::to_vec)
    };
    Ok(EcdhParameter {
        kdf: wide(raw.kdf),
        shared_data: bytes(raw.shared_data)?,
        public_data: bytes(raw.public_data)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::mechanism::tests::mechanism;

    fn read(raw: &CK_MECHANISM, cloudhsm: bool) -> Result<Parsed> {
        // SAFETY: a live mechanism whose pointers are live.
        let given = unsafe { Mechanism::required(raw) }?;
        parse(&given, cloudhsm)
    }

    fn code(result: Result<Parsed>) -> Option<CK_RV> {
        result.err().map(|Ckr(code)| code)
    }

    #[test]
    fn an_unknown_mechanism_is_invalid() {
        let mut byte = 0u8;
        let raw = mechanism(CKM_MD2, &mut byte);
        assert_eq!(code(read(&raw, false)), Some(CKR_MECHANISM_INVALID));
    }

    #[test]
    fn a_mechanism_without_parameter_takes_none() {
        let mut byte = 0u8;
        let raw = mechanism(CKM_SHA256_RSA_PKCS, &mut byte);
        assert_eq!(code(read(&raw, false)), Some(CKR_MECHANISM_PARAM_INVALID));
    }

    #[test]
    fn a_cbc_iv_is_one_block() {
        let (mut right, mut short) = ([1u8; 16], [1u8; 15]);
        let raw = mechanism(CKM_AES_CBC_PAD, &mut right);
        let parsed = read(&raw, false).unwrap();
        assert_eq!(parsed.wire.parameter, Some(Parameter::Iv(vec![1; 16])));
        let raw = mechanism(CKM_AES_CBC_PAD, &mut short);
        assert_eq!(code(read(&raw, false)), Some(CKR_MECHANISM_PARAM_INVALID));
    }

    #[test]
    fn the_hash_of_pss_is_the_mechanisms() {
        let mut params =
            CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA256, mgf: CKG_MGF1_SHA256, sLen: 32 };
        assert!(read(&mechanism(CKM_SHA256_RSA_PKCS_PSS, &mut params), false).is_ok());
        assert!(read(&mechanism(CKM_RSA_PKCS_PSS, &mut params), false).is_ok());
        let other = read(&mechanism(CKM_SHA384_RSA_PKCS_PSS, &mut params), false);
        assert_eq!(code(other), Some(CKR_MECHANISM_PARAM_INVALID));
    }

    #[test]
    fn only_a_zeroed_iv_of_a_cloudhsm_program_waits_for_the_hsms() {
        for (first, cloudhsm, waits) in [(0, true, true), (0, false, false), (1, true, false)] {
            let mut iv = [0u8; 12];
            iv[0] = first;
            let mut params = CK_GCM_PARAMS {
                pIv: iv.as_mut_ptr(),
                ulIvLen: 12,
                ulIvBits: 0,
                pAAD: std::ptr::null_mut(),
                ulAADLen: 0,
                ulTagBits: 128,
            };
            let parsed = read(&mechanism(CKM_AES_GCM, &mut params), cloudhsm).unwrap();
            assert_eq!(parsed.iv_place.is_some(), waits);
        }
    }

    #[test]
    fn a_tag_is_whole_bytes() {
        for bits in [0, 7, 129, 1024, CK_ULONG::MAX] {
            assert_eq!(tag_bits(bits), Err(Ckr(CKR_MECHANISM_PARAM_INVALID)));
        }
        assert_eq!(tag_bits(96), Ok(96));
    }
}
