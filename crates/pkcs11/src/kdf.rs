//! The parameters of key derivation, RSA_AES key wrap and PBKDF2, from PKCS#11's structures to the wire's.

use cryptoki_sys::*;
use strongroom_wire::message::{
    CounterKdfParameter, HkdfParameter, NumberField, OaepParameter, Pbkdf2Parameter,
    RsaAesParameter,
};

use crate::abi::kdf::Part;
use crate::abi::mechanism::Mechanism;
use crate::error::{Ckr, Result};
use crate::module::wide;

/// Salt, info, password or fixed input, in bytes.
const BYTES_MAX: usize = 64 * 1024;

const INVALID: Ckr = Ckr(CKR_MECHANISM_PARAM_INVALID);

/// What a part of SP 800-108's input is.
enum Role {
    Counter,
    Length,
    Bytes,
    /// CloudHSM's older form: bytes, and the zero byte of SP 800-108 behind them.
    Label,
}

/// PKCS#11 numbers the parts, and AWS's header does so in two ways of its own (its samples use the first),
/// with a parameter that has no additional keys.
fn role(short: bool, part: CK_ULONG) -> Result<Role> {
    Ok(match (short, part) {
        (_, CK_SP800_108_ITERATION_VARIABLE) | (true, 4) => Role::Counter,
        (false, CK_SP800_108_DKM_LENGTH) | (true, 2 | 7) => Role::Length,
        (false, CK_SP800_108_BYTE_ARRAY) | (true, 3 | 6 | 8) => Role::Bytes,
        (true, 5) => Role::Label,
        _ => return Err(INVALID),
    })
}

/// CK_SP800_108_KDF_PARAMS: byte arrays, one counter, and at most one length.
pub(crate) fn counter_kdf(given: &Mechanism<'_>) -> Result<CounterKdfParameter> {
    let raw = given.counter_kdf()?;
    let mut kdf = CounterKdfParameter { prf: wide(raw.prf), ..CounterKdfParameter::default() };
    for part in &raw.parts {
        let at = u32::try_from(kdf.fixed.len()).map_err(|_| INVALID)?;
        match role(raw.short, part.kind)? {
            Role::Counter => {
                let (little_endian, bits) = part.counter()?;
                once(&mut kdf.counter, at, bits, little_endian)?;
            }
            Role::Length => {
                let (method, little_endian, bits) = part.length()?;
                kdf.length_of_segments = match method {
                    CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS => false,
                    CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS => true,
                    _ => return Err(INVALID),
                };
                kdf.length_first = kdf.counter.is_none();
                once(&mut kdf.length, at, bits, little_endian)?;
            }
            Role::Bytes => append(&mut kdf.fixed, part)?,
            Role::Label => {
                append(&mut kdf.fixed, part)?;
                kdf.fixed.push(0);
            }
        }
    }
    if kdf.counter.is_none() { Err(INVALID) } else { Ok(kdf) }
}

fn append(fixed: &mut Vec<u8>, part: &Part<'_>) -> Result<()> {
    let room = BYTES_MAX.saturating_sub(fixed.len());
    fixed.extend_from_slice(part.value.at_most(room, CKR_MECHANISM_PARAM_INVALID)?);
    Ok(())
}

fn once(
    place: &mut Option<NumberField>,
    at: u32,
    bits: CK_ULONG,
    little_endian: bool,
) -> Result<()> {
    let bits = u32::try_from(bits).map_err(|_| INVALID)?;
    match place.replace(NumberField { at, bits, little_endian }) {
        None => Ok(()),
        Some(_) => Err(INVALID),
    }
}

/// CK_HKDF_PARAMS.
pub(crate) fn hkdf(given: &Mechanism<'_>) -> Result<HkdfParameter> {
    let raw = given.hkdf()?;
    Ok(HkdfParameter {
        extract: raw.extract,
        expand: raw.expand,
        hash: wide(raw.hash),
        salt: raw.salt.at_most(BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec(),
        info: raw.info.at_most(BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec(),
    })
}

/// CK_PKCS5_PBKD2_PARAMS2.
pub(crate) fn pbkdf2(given: &Mechanism<'_>) -> Result<Pbkdf2Parameter> {
    let raw = given.pbkdf2()?;
    let hash = match raw.prf {
        CKP_PKCS5_PBKD2_HMAC_SHA1 => CKM_SHA_1,
        CKP_PKCS5_PBKD2_HMAC_SHA224 => CKM_SHA224,
        CKP_PKCS5_PBKD2_HMAC_SHA256 => CKM_SHA256,
        CKP_PKCS5_PBKD2_HMAC_SHA384 => CKM_SHA384,
        CKP_PKCS5_PBKD2_HMAC_SHA512 => CKM_SHA512,
        CKP_PKCS5_PBKD2_HMAC_SHA512_224 => CKM_SHA512_224,
        CKP_PKCS5_PBKD2_HMAC_SHA512_256 => CKM_SHA512_256,
        _ => return Err(INVALID),
    };
    let mut parameter = Pbkdf2Parameter::default();
    parameter.hash = wide(hash);
    parameter.password = raw.password.at_most(BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec();
    parameter.salt = raw.salt.at_most(BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec();
    parameter.iterations = u32::try_from(raw.iterations).map_err(|_| INVALID)?;
    Ok(parameter)
}

/// CK_RSA_AES_KEY_WRAP_PARAMS.
pub(crate) fn rsa_aes(given: &Mechanism<'_>) -> Result<RsaAesParameter> {
    let (aes_bits, oaep) = given.rsa_aes()?;
    Ok(RsaAesParameter {
        aes_bits: u32::try_from(aes_bits).map_err(|_| INVALID)?,
        oaep: Some(OaepParameter {
            hash: wide(oaep.hash),
            mgf: wide(oaep.mgf),
            label: oaep.label.at_most(BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec(),
        }),
    })
}
