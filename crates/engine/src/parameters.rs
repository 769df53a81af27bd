//! Mechanism parameters: from the wire to what the mechanisms take.

use cryptoki_sys::{CKH_HEDGE_PREFERRED, CKH_HEDGE_REQUIRED, CKM_AES_CMAC};
use strongroom_crypto::mechanism::{self, Form};
use strongroom_crypto::{
    AgreementKdf, CounterKdf, Hash, Hkdf, Kind, Mechanism, NumberField, Params, Prf,
};
use strongroom_vault::Personality;
use strongroom_wire::message::{
    self, CounterKdfParameter, EcdhParameter, GcmParameter, HkdfParameter, OaepParameter,
    Parameter, Pbkdf2Parameter, PssParameter, RsaAesParameter, SigningContextParameter,
};

use crate::error::Error;

/// An AES block, and so the counter block of CTR, in bytes.
const BLOCK_BYTES: usize = 16;
/// Salt, info, password or fixed input of a key derivation, in bytes.
const KDF_BYTES_MAX: usize = 64 * 1024;
/// PBKDF2's iterations: a second or two of a core's time.
const PBKDF2_ITERATIONS_MAX: u32 = 2_000_000;
/// ChaCha20's block counter and nonce, in bytes.
const CHACHA20_STATE_BYTES: usize = 16;
/// The initial value of RFC 3394, in bytes.
const KEY_WRAP_IV_BYTES: usize = 8;
/// What an HSM makes for GCM, in bytes (SP 800-38D, 8.2.2).
const GCM_IV_BYTES: usize = 12;
/// The longest GCM IV that is taken, in bytes.
const GCM_IV_BYTES_MAX: usize = 1024;
/// The longest salt: longer than any RSA modulus has room for, in bytes.
const SALT_BYTES_MAX: u64 = 512;
/// The longest data that both sides of an agreement put into their key derivation, in bytes.
const SHARED_DATA_BYTES_MAX: usize = 16 * 1024;

/// A GCM IV that the HSM made for one encryption.
pub(crate) type FreshIv = [u8; GCM_IV_BYTES];

/// The parameter as the mechanism takes it.
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID where it is of another form, or out of range.
pub(crate) fn read<'a>(
    mechanism: &Mechanism,
    parameter: Option<&'a Parameter>,
) -> Result<Params<'a>, Error> {
    let wrong = || Error::parameter(format!("{} takes another parameter", mechanism.name));
    match (mechanism.parameter(), parameter) {
        (Form::None | Form::KeyWrapIv, None) => Ok(Params::None),
        (Form::None | Form::KeyWrapIv, Some(Parameter::Iv(iv))) if iv.is_empty() => {
            Ok(Params::None)
        }
        (Form::KeyWrapIv, Some(Parameter::Iv(iv))) if iv.len() == KEY_WRAP_IV_BYTES => {
            Ok(Params::Iv(iv))
        }
        (Form::Iv(length), Some(Parameter::Iv(iv))) if iv.len() == length => Ok(Params::Iv(iv)),
        (Form::Counter, Some(Parameter::Iv(iv))) if iv.len() == BLOCK_BYTES => Ok(Params::Iv(iv)),
        (Form::Gcm, Some(Parameter::Gcm(gcm))) if gcm.iv.len() <= GCM_IV_BYTES_MAX => {
            Ok(read_gcm(gcm))
        }
        (Form::Ccm | Form::ChaCha20Poly1305, Some(Parameter::Gcm(aead)))
            if aead.iv.len() <= GCM_IV_BYTES_MAX =>
        {
            Ok(read_gcm(aead))
        }
        (Form::ChaCha20, Some(Parameter::Iv(state))) if state.len() == CHACHA20_STATE_BYTES => {
            Ok(Params::Iv(state))
        }
        (Form::MacLength, Some(Parameter::MacLength(length))) => {
            Ok(Params::MacLength(usize::try_from(*length).map_err(|_| wrong())?))
        }
        (Form::Pss, Some(Parameter::Pss(pss))) => read_pss(mechanism, pss),
        (Form::Oaep, Some(Parameter::Oaep(oaep))) => read_oaep(oaep),
        (Form::Ecdh, Some(Parameter::Ecdh(ecdh))) => read_ecdh(ecdh),
        (Form::Eddsa | Form::SigningContext, None) => Ok(Params::None),
        (Form::Eddsa, Some(Parameter::Eddsa(eddsa))) => {
            Ok(Params::Eddsa { prehash: eddsa.prehash, context: context(&eddsa.context)? })
        }
        (
            Form::SigningContext | Form::HashSigningContext,
            Some(Parameter::SigningContext(given)),
        ) => read_signing_context(mechanism.parameter(), given),
        (Form::RsaAes, Some(Parameter::RsaAes(wrap))) => read_rsa_aes(wrap),
        (Form::CounterKdf, Some(Parameter::CounterKdf(kdf))) => read_counter_kdf(kdf),
        (Form::Hkdf, Some(Parameter::Hkdf(hkdf))) => read_hkdf(hkdf),
        (Form::Pbkdf2, Some(Parameter::Pbkdf2(pbkdf2))) => read_pbkdf2(pbkdf2),
        _ => Err(wrong()),
    }
}

fn read_gcm(gcm: &GcmParameter) -> Params<'_> {
    Params::Gcm { iv: &gcm.iv, aad: &gcm.aad, tag_bits: gcm.tag_bits }
}

/// "hashAlg … is used in the PSS encoding; if the signature mechanism does not include message
/// hashing, then this value must be the mechanism used by the application to generate the message
/// hash; if the signature mechanism includes hashing, then this value must match the hash algorithm
/// indicated by the signature mechanism" (PKCS#11 2.40, mechanisms, 2.1.9).
fn read_pss<'a>(mechanism: &Mechanism, pss: &PssParameter) -> Result<Params<'a>, Error> {
    let hash = Hash::from_mechanism(pss.hash).ok_or_else(|| Error::parameter("unknown hash"))?;
    let mgf = Hash::from_mgf(pss.mgf).ok_or_else(|| Error::parameter("unknown mask function"))?;
    if mechanism.hash.is_some_and(|fixed| fixed != hash) {
        return Err(Error::parameter("the hash is not the mechanism's"));
    }
    if pss.salt_length > SALT_BYTES_MAX {
        return Err(Error::parameter("the salt is too long"));
    }
    Ok(Params::Pss { hash, mgf, salt_length: pss.salt_length as usize })
}

fn read_oaep(oaep: &OaepParameter) -> Result<Params<'_>, Error> {
    let hash = Hash::from_mechanism(oaep.hash).ok_or_else(|| Error::parameter("unknown hash"))?;
    let mgf = Hash::from_mgf(oaep.mgf).ok_or_else(|| Error::parameter("unknown mask function"))?;
    Ok(Params::Oaep { hash, mgf, label: &oaep.label })
}

/// The longest context of a signature, in bytes (RFC 8032, 5.1; FIPS 204, 5.2).
const CONTEXT_BYTES_MAX: usize = 255;

fn context(bytes: &[u8]) -> Result<&[u8], Error> {
    if bytes.len() > CONTEXT_BYTES_MAX {
        return Err(Error::parameter("a context has at most 255 bytes"));
    }
    Ok(bytes)
}

fn read_signing_context(form: Form, given: &SigningContextParameter) -> Result<Params<'_>, Error> {
    if !matches!(given.hedge, CKH_HEDGE_PREFERRED | CKH_HEDGE_REQUIRED) {
        return Err(Error::parameter("signatures are always hedged here"));
    }
    let hash = match (form, given.hash) {
        (Form::HashSigningContext, hash) => {
            Some(Hash::from_mechanism(hash).ok_or_else(|| Error::parameter("unknown hash"))?)
        }
        (_, 0) => None,
        (..) => return Err(Error::parameter("the mechanism names the hash")),
    };
    Ok(Params::SigningContext { context: context(&given.context)?, hash })
}

/// The peer's point is still as it was given: [`crate::derive`] knows the curve.
fn read_ecdh(ecdh: &EcdhParameter) -> Result<Params<'_>, Error> {
    let kdf = AgreementKdf::from_number(ecdh.kdf)
        .ok_or_else(|| Error::parameter("unknown key derivation function"))?;
    if ecdh.shared_data.len() > SHARED_DATA_BYTES_MAX {
        return Err(Error::parameter("the shared data is too long"));
    }
    Ok(Params::Agreement { kdf, shared_info: &ecdh.shared_data, peer: &ecdh.public_data })
}

fn read_rsa_aes(wrap: &RsaAesParameter) -> Result<Params<'_>, Error> {
    let oaep = wrap.oaep.as_ref().ok_or_else(|| Error::parameter("give OAEP's parameter"))?;
    match read_oaep(oaep)? {
        Params::Oaep { hash, mgf, label } => {
            Ok(Params::RsaAes { aes_bits: wrap.aes_bits, hash, mgf, label })
        }
        _ => Err(Error::Bug("OAEP's parameter")),
    }
}

fn read_counter_kdf(kdf: &CounterKdfParameter) -> Result<Params<'_>, Error> {
    let prf = match kdf.prf {
        CKM_AES_CMAC => Prf::Cmac,
        other => mechanism::find(other)
            .filter(|mechanism| mechanism.operation == Kind::Hmac)
            .and_then(|mechanism| mechanism.hash)
            .map(Prf::Hmac)
            .ok_or_else(|| Error::parameter("unknown pseudorandom function"))?,
    };
    let field = |field: &message::NumberField| NumberField {
        at: field.at as usize,
        bits: field.bits,
        little_endian: field.little_endian,
    };
    let counter = kdf.counter.as_ref().map(field);
    let counter = counter.filter(|counter| matches!(counter.bits, 8 | 16 | 24 | 32));
    let counter = counter.ok_or_else(|| Error::parameter("give a counter of 8 to 32 bits"))?;
    if kdf.fixed.len() > KDF_BYTES_MAX {
        return Err(Error::parameter("the input is too long"));
    }
    Ok(Params::CounterKdf(CounterKdf {
        prf,
        fixed: &kdf.fixed,
        counter,
        length: kdf.length.as_ref().map(field),
        length_of_segments: kdf.length_of_segments,
        length_first: kdf.length_first,
    }))
}

fn read_hkdf(hkdf: &HkdfParameter) -> Result<Params<'_>, Error> {
    let hash = Hash::from_mechanism(hkdf.hash).ok_or_else(|| Error::parameter("unknown hash"))?;
    if hkdf.salt.len() > KDF_BYTES_MAX || hkdf.info.len() > KDF_BYTES_MAX {
        return Err(Error::parameter("salt and info are too long"));
    }
    Ok(Params::Hkdf(Hkdf {
        extract: hkdf.extract,
        expand: hkdf.expand,
        hash,
        salt: &hkdf.salt,
        info: &hkdf.info,
    }))
}

fn read_pbkdf2(pbkdf2: &Pbkdf2Parameter) -> Result<Params<'_>, Error> {
    let hash = Hash::from_mechanism(pbkdf2.hash).ok_or_else(|| Error::parameter("unknown hash"))?;
    if !(1..=PBKDF2_ITERATIONS_MAX).contains(&pbkdf2.iterations) {
        return Err(Error::parameter(format!(
            "PBKDF2 takes 1 to {PBKDF2_ITERATIONS_MAX} iterations"
        )));
    }
    if pbkdf2.salt.len() > KDF_BYTES_MAX || pbkdf2.password.len() > KDF_BYTES_MAX {
        return Err(Error::parameter("salt and password are too long"));
    }
    Ok(Params::Pbkdf2 {
        hash,
        password: &pbkdf2.password,
        salt: &pbkdf2.salt,
        iterations: pbkdf2.iterations,
    })
}

/// SP 800-132, 5.1 and 5.2: "the salt … at least 128 bits", "a minimum iteration count of 1,000".
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID where FIPS mode refuses what a password's key is made with.
pub(crate) fn check_fips(params: &Params<'_>) -> Result<(), Error> {
    match params {
        Params::Pbkdf2 { salt, iterations, .. } if salt.len() < 16 || *iterations < 1000 => {
            Err(Error::parameter("FIPS mode wants 1,000 iterations and a salt of 16 bytes"))
        }
        _ => Ok(()),
    }
}

/// The IV that the HSM makes for an encryption under AES-GCM, where the caller did not choose one.
///
/// CloudHSM takes none from the caller: "pIv pointing to a 12-byte zeroed buffer", into which it
/// writes its own. A token takes the caller's, as PKCS#11 says, zeros included.
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID where a CloudHSM caller chose an IV.
pub(crate) fn fresh_gcm_iv(
    personality: Personality,
    mechanism: &Mechanism,
    params: &Params<'_>,
) -> Result<Option<FreshIv>, Error> {
    let Params::Gcm { iv, .. } = params else { return Ok(None) };
    if mechanism.operation != Kind::AesGcm {
        // CKM_CLOUDHSM_AES_GCM makes its own and puts it in front of the ciphertext. For the others the
        // nonce is the caller's.
        return Ok(None);
    }
    let zeroed = iv.len() == GCM_IV_BYTES && iv.iter().all(|byte| *byte == 0);
    let make = match personality {
        Personality::Token => iv.is_empty(),
        Personality::CloudHsm if iv.is_empty() || zeroed => true,
        Personality::CloudHsm => {
            return Err(Error::parameter(
                "the HSM makes the IV: give 12 zero bytes, or none, and read it back",
            ));
        }
    };
    if !make {
        return Ok(None);
    }
    let mut fresh = [0; GCM_IV_BYTES];
    strongroom_crypto::random(&mut fresh)?;
    Ok(Some(fresh))
}

/// The parameters with the HSM's IV in place.
pub(crate) fn with_iv<'a>(params: Params<'a>, fresh: Option<&'a FreshIv>) -> Params<'a> {
    match (params, fresh) {
        (Params::Gcm { aad, tag_bits, .. }, Some(iv)) => Params::Gcm { iv, aad, tag_bits },
        (params, _) => params,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki_sys::*;
    use strongroom_crypto::mechanism::find;

    fn gcm(iv: &[u8]) -> Parameter {
        Parameter::Gcm(GcmParameter { iv: iv.to_vec(), aad: Vec::new(), tag_bits: 128 })
    }

    fn fresh(personality: Personality, iv: &[u8]) -> Result<bool, Error> {
        let mechanism = find(CKM_AES_GCM).unwrap();
        let parameter = gcm(iv);
        let params = read(mechanism, Some(&parameter))?;
        Ok(fresh_gcm_iv(personality, mechanism, &params)?.is_some())
    }

    #[test]
    fn a_cloudhsm_makes_the_gcm_iv_and_takes_none() {
        assert!(fresh(Personality::CloudHsm, &[]).unwrap());
        assert!(fresh(Personality::CloudHsm, &[0; 12]).unwrap());
        for iv in [&[1; 12][..], &[0; 16], &[0; 11]] {
            let error = fresh(Personality::CloudHsm, iv).unwrap_err();
            assert_eq!(error.ckr(), CKR_MECHANISM_PARAM_INVALID);
        }
    }

    #[test]
    fn a_token_takes_the_callers_gcm_iv() {
        assert!(!fresh(Personality::Token, &[0; 12]).unwrap());
        assert!(!fresh(Personality::Token, &[7; 16]).unwrap());
        assert!(fresh(Personality::Token, &[]).unwrap());
    }

    #[test]
    fn a_parameter_of_another_mechanism_is_refused() {
        let wrong = |kind, parameter: Option<&Parameter>| {
            read(find(kind).unwrap(), parameter).err().map(|e| e.ckr())
        };
        let refused = Some(CKR_MECHANISM_PARAM_INVALID);
        assert_eq!(wrong(CKM_AES_GCM, None), refused);
        assert_eq!(wrong(CKM_AES_CBC, Some(&Parameter::Iv(vec![0; 15]))), refused);
        assert_eq!(wrong(CKM_AES_CBC, Some(&gcm(&[]))), refused);
        assert_eq!(wrong(CKM_ECDSA, Some(&Parameter::Iv(vec![0; 16]))), refused);
        assert_eq!(wrong(CKM_ECDSA, None), None);
        let pss = |hash, mgf, salt_length| Parameter::Pss(PssParameter { hash, mgf, salt_length });
        let sha256 = pss(CKM_SHA256, CKG_MGF1_SHA256, 32);
        assert_eq!(wrong(CKM_SHA256_RSA_PKCS_PSS, Some(&sha256)), None);
        assert_eq!(wrong(CKM_SHA384_RSA_PKCS_PSS, Some(&sha256)), refused);
        let long = pss(CKM_SHA256, CKG_MGF1_SHA256, u64::MAX);
        assert_eq!(wrong(CKM_RSA_PKCS_PSS, Some(&long)), refused);
    }
}
