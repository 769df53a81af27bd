//! SP 800-108, HKDF, hashes of keys, and PBKDF2.

use strongroom_tests::Called;

use super::*;

const CKM_CLOUDHSM_SP800_108_COUNTER_KDF: CK_MECHANISM_TYPE = 0x8000_0001;

/// A readable generic secret of `length` bytes by `mechanism`, as its value.
fn derived(mechanism: CK_MECHANISM, base: CK_OBJECT_HANDLE, length: CK_ULONG) -> Called<Vec<u8>> {
    let (module, session) = session();
    let template = [
        attribute(CKA_CLASS, &CKO_SECRET_KEY),
        attribute(CKA_KEY_TYPE, &CKK_GENERIC_SECRET),
        attribute(CKA_SENSITIVE, &CK_FALSE),
        attribute(CKA_EXTRACTABLE, &CK_TRUE),
        attribute(CKA_VALUE_LEN, &length),
    ];
    let key = module.derive(session, mechanism, base, &template)?;
    module.value(session, key, CKA_VALUE)
}

fn part<T>(kind: CK_ULONG, value: &mut T) -> CK_PRF_DATA_PARAM {
    CK_PRF_DATA_PARAM {
        type_: kind,
        pValue: std::ptr::from_mut(value).cast(),
        ulValueLen: size_of::<T>() as CK_ULONG,
    }
}

/// The input of OpenSSL's KBKDF: counter, label, 0, context, length, each number of 32 bits.
fn usual(
    prf: CK_MECHANISM_TYPE,
    base: CK_OBJECT_HANDLE,
    change: impl FnOnce(&mut Vec<CK_PRF_DATA_PARAM>),
) -> Called<Vec<u8>> {
    let mut counter = CK_SP800_108_COUNTER_FORMAT { bLittleEndian: CK_FALSE, ulWidthInBits: 32 };
    let mut length = CK_SP800_108_DKM_LENGTH_FORMAT {
        dkmLengthMethod: CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS,
        bLittleEndian: CK_FALSE,
        ulWidthInBits: 32,
    };
    let mut text = *b"label\0context";
    let mut parts = vec![
        part(CK_SP800_108_ITERATION_VARIABLE, &mut counter),
        part(CK_SP800_108_BYTE_ARRAY, &mut text),
        part(CK_SP800_108_DKM_LENGTH, &mut length),
    ];
    change(&mut parts);
    let mut params = CK_SP800_108_KDF_PARAMS {
        prfType: prf,
        ulNumberOfDataParams: parts.len() as CK_ULONG,
        pDataParams: parts.as_mut_ptr(),
        ulAdditionalDerivedKeys: 0,
        pAdditionalDerivedKeys: std::ptr::null_mut(),
    };
    derived(with_parameter(CKM_SP800_108_COUNTER_KDF, &mut params), base, 40)
}

const BY_HMAC: &str =
    "c5115a8e2c9cf655fabbfecbe725e440a9838838f5b46130c654f368f780edd650d532c0fdeb6a35";
const BY_CMAC: &str =
    "f14b2590d159191e74c966b0ccefd4e8acc21dac50a6b9816be8a8b591834af5291ae4253390327d";

#[test]
fn counter_mode_gives_what_openssl_gives() {
    let (generic, aes) = (counting(CKK_GENERIC_SECRET, 32), counting(CKK_AES, 32));
    assert_eq!(usual(CKM_SHA256_HMAC, generic, |_| ()), Ok(hex(BY_HMAC)));
    assert_eq!(usual(CKM_AES_CMAC, aes, |_| ()), Ok(hex(BY_CMAC)));
}

/// AWS's header has structures without byte order, and two sets of numbers for the parts.
#[test]
fn counter_mode_in_cloudhsms_form_gives_the_same() {
    #[repr(C)]
    struct Params {
        prf: CK_MECHANISM_TYPE,
        count: CK_ULONG,
        parts: *mut CK_PRF_DATA_PARAM,
    }
    let mut bits: CK_ULONG = 32;
    let mut length: [CK_ULONG; 2] = [1, 32];
    let (mut text, mut label, mut context) = (*b"label\0context", *b"label", *b"context");
    let new = vec![part(1, &mut bits), part(3, &mut text), part(2, &mut length)];
    let old =
        vec![part(4, &mut bits), part(5, &mut label), part(6, &mut context), part(7, &mut length)];
    for mut parts in [new, old] {
        let mut params =
            Params { prf: CKM_AES_CMAC, count: parts.len() as CK_ULONG, parts: parts.as_mut_ptr() };
        let mechanism = with_parameter(CKM_CLOUDHSM_SP800_108_COUNTER_KDF, &mut params);
        assert_eq!(derived(mechanism, counting(CKK_AES, 32), 40), Ok(hex(BY_CMAC)));
    }
}

#[test]
fn counter_mode_refuses_parts_that_do_not_fit() {
    let generic = counting(CKK_GENERIC_SECRET, 32);
    let refused =
        |change: fn(&mut Vec<CK_PRF_DATA_PARAM>)| code(&usual(CKM_SHA256_HMAC, generic, change));
    for change in [
        (|parts| {
            parts.remove(0);
        }) as fn(&mut Vec<CK_PRF_DATA_PARAM>),
        |parts| parts.push(parts[0]),
        |parts| parts.push(parts[2]),
        |parts| parts[0].ulValueLen -= 1,
        |parts| parts[1].type_ = 99,
        |parts| parts[1].pValue = std::ptr::null_mut(),
        |parts| parts.clear(),
        |parts| parts.resize(40, parts[1]),
    ] {
        assert_eq!(refused(change), CKR_MECHANISM_PARAM_INVALID);
    }
    let other = usual(CKM_AES_GCM, generic, |_| ());
    assert_eq!(code(&other), CKR_MECHANISM_PARAM_INVALID);
    let wrong_key = usual(CKM_AES_CMAC, generic, |_| ());
    assert_eq!(code(&wrong_key), CKR_KEY_TYPE_INCONSISTENT);
}

/// RFC 5869, test case 1, whole and in two steps.
#[test]
fn hkdf_gives_the_standards_answer() {
    let base = secret(CKK_HKDF, &[0x0b; 22]);
    let mut salt: Vec<u8> = (0..13).collect();
    let mut info: Vec<u8> = (0xf0..0xfa).collect();
    let mut params = |extract, expand| CK_HKDF_PARAMS {
        bExtract: extract,
        bExpand: expand,
        prfHashMechanism: CKM_SHA256,
        ulSaltType: CKF_HKDF_SALT_DATA,
        pSalt: salt.as_mut_ptr(),
        ulSaltLen: salt.len() as CK_ULONG,
        hSaltKey: 0,
        pInfo: info.as_mut_ptr(),
        ulInfoLen: info.len() as CK_ULONG,
    };
    let okm =
        hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    let mut both = params(CK_TRUE, CK_TRUE);
    assert_eq!(derived(with_parameter(CKM_HKDF_DERIVE, &mut both), base, 42).as_ref(), Ok(&okm));
    let mut extract = params(CK_TRUE, CK_FALSE);
    let prk = derived(with_parameter(CKM_HKDF_DERIVE, &mut extract), base, 32).expect("a key");
    let mut expand = params(CK_FALSE, CK_TRUE);
    let prk = secret(CKK_GENERIC_SECRET, &prk);
    assert_eq!(derived(with_parameter(CKM_HKDF_DERIVE, &mut expand), prk, 42), Ok(okm));
    let mut of_a_key = CK_HKDF_PARAMS { ulSaltType: CKF_HKDF_SALT_KEY, ..params(1, 1) };
    let refused = derived(with_parameter(CKM_HKDF_DERIVE, &mut of_a_key), base, 42);
    assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
    let mut nothing = params(CK_FALSE, CK_FALSE);
    let refused = derived(with_parameter(CKM_HKDF_DERIVE, &mut nothing), base, 42);
    assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
    let mut both = params(CK_TRUE, CK_TRUE);
    let short = derived(with_parameter(CKM_HKDF_DERIVE, &mut both), base, 13);
    assert_eq!(code(&short), CKR_KEY_SIZE_RANGE, "of so few bytes all can be tried");
}

#[test]
fn the_hash_of_a_key_is_a_key() {
    let base = counting(CKK_GENERIC_SECRET, 32);
    // Python: hashlib.sha256(bytes(range(32))), shake_128.
    for (kind, length, expected) in [
        (CKM_SHA256_KEY_DERIVATION, 32, SHA256_OF_COUNTING),
        (CKM_SHA256_KEY_DERIVATION, 16, &SHA256_OF_COUNTING[..32]),
        (CKM_SHAKE_128_KEY_DERIVATION, 20, SHAKE128_OF_COUNTING),
    ] {
        assert_eq!(derived(plain(kind), base, length), Ok(hex(expected)));
    }
    let long = derived(plain(CKM_SHA256_KEY_DERIVATION), base, 33);
    assert_eq!(code(&long), CKR_KEY_SIZE_RANGE);
}

const SHA256_OF_COUNTING: &str = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd";
const SHAKE128_OF_COUNTING: &str = "066a361dc675f856cecdc02b25218a10cec0cecf";

/// RFC 7914, section 11.
#[test]
fn a_password_makes_a_key() {
    let (module, session) = session();
    let (mut salt, mut password) = (*b"salt", *b"passwd");
    let mut params = |iterations, prf| CK_PKCS5_PBKD2_PARAMS2 {
        saltSource: CKZ_SALT_SPECIFIED,
        pSaltSourceData: salt.as_mut_ptr().cast(),
        ulSaltSourceDataLen: 4,
        iterations,
        prf,
        pPrfData: std::ptr::null_mut(),
        ulPrfDataLen: 0,
        pPassword: password.as_mut_ptr(),
        ulPasswordLen: 6,
    };
    let length: CK_ULONG = 64;
    let template = [
        attribute(CKA_VALUE_LEN, &length),
        attribute(CKA_SENSITIVE, &CK_FALSE),
        attribute(CKA_EXTRACTABLE, &CK_TRUE),
    ];
    let mut one = params(1, CKP_PKCS5_PBKD2_HMAC_SHA256 as CK_ULONG);
    let mechanism = with_parameter(CKM_PKCS5_PBKD2, &mut one);
    let key = module.generate(session, mechanism, &template).expect("a key");
    assert_eq!(
        module.value(session, key, CKA_VALUE),
        Ok(hex("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
             49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"))
    );
    // Whoever knows the password knows the key.
    assert_eq!(module.value(session, key, CKA_LOCAL), Ok(vec![CK_FALSE]));
    for (iterations, prf) in [(0, 4), (2_000_001, 4), (CK_ULONG::MAX, 4), (1, 0), (1, 99)] {
        let mut wrong = params(iterations, prf);
        let refused =
            module.generate(session, with_parameter(CKM_PKCS5_PBKD2, &mut wrong), &template);
        assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID, "{iterations} {prf}");
    }
    let mut one = params(1, 4);
    let mechanism = with_parameter(CKM_PKCS5_PBKD2, &mut one);
    assert_eq!(code(&module.generate(session, mechanism, &template[1..])), CKR_TEMPLATE_INCOMPLETE);
}
