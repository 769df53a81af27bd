//! Ed25519 and X25519.

use super::*;

/// 1.3.101.112, Ed25519; and 1.3.101.110, X25519.
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];
const X25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x6e];

fn eddsa(prehash: bool, context: &[u8]) -> CK_EDDSA_PARAMS {
    CK_EDDSA_PARAMS {
        phFlag: if prehash { CK_TRUE } else { CK_FALSE },
        ulContextDataLen: context.len() as CK_ULONG,
        pContextData: context.as_ptr().cast_mut(),
    }
}

fn import(
    class: CK_OBJECT_CLASS,
    key_type: CK_KEY_TYPE,
    params: &[u8],
    value: &[u8],
) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let (module, session) = session();
    let material = if class == CKO_PRIVATE_KEY { CKA_VALUE } else { CKA_EC_POINT };
    let template = [
        attribute(CKA_CLASS, &class),
        attribute(CKA_KEY_TYPE, &key_type),
        bytes(CKA_EC_PARAMS, params),
        bytes(material, value),
    ];
    module.create(session, &template).map_err(|failed| failed.code)
}

/// RFC 8032, 7.1 (test 2), 7.2 (foo) and 7.3 (abc).
#[test]
fn ed25519_signs_as_rfc_8032_says_in_all_three_forms() {
    let (module, session) = session();
    let key =
        |seed: &str| import(CKO_PRIVATE_KEY, CKK_EC_EDWARDS, &ED25519, &hex(seed)).expect("a key");
    let pure = key("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let signature = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    let made = module.sign_by(session, plain(CKM_EDDSA), pure, &[0x72]);
    assert_eq!(made.as_ref(), Ok(&signature));
    // AWS's number for the same.
    let vendor = plain(CKM_VENDOR_DEFINED | CKM_EDDSA);
    assert_eq!(module.sign_by(session, vendor, pure, &[0x72]), Ok(signature.clone()));
    let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let public = import(CKO_PUBLIC_KEY, CKK_EC_EDWARDS, &ED25519, &public).expect("a key");
    module.verify_by(session, plain(CKM_EDDSA), public, &[0x72], &signature).expect("it verifies");
    let other = module.verify_by(session, plain(CKM_EDDSA), public, &[0x73], &signature);
    assert_eq!(code(&other), CKR_SIGNATURE_INVALID);

    let in_context = key("0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6");
    let mut parameter = eddsa(false, b"foo");
    let mechanism = with_parameter(CKM_EDDSA, &mut parameter);
    let message = hex("f726936d19c800494e3fdaff20b276a8");
    let expected = hex("55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a
         8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d");
    assert_eq!(module.sign_by(session, mechanism, in_context, &message), Ok(expected));

    let prehashed = key("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42");
    let mut parameter = eddsa(true, b"");
    let mechanism = with_parameter(CKM_EDDSA, &mut parameter);
    let expected = hex("98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41
         31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406");
    assert_eq!(module.sign_by(session, mechanism, prehashed, b"abc"), Ok(expected));
}

#[test]
fn a_generated_ed25519_pair_signs_and_is_wrapped_and_unwrapped() {
    let (module, session) = session();
    for (kind, params) in [
        (CKM_EC_EDWARDS_KEY_PAIR_GEN, &ED25519[..]),
        (CKM_EC_EDWARDS_KEY_PAIR_GEN, b"\x13\x0cedwards25519"),
        // As CloudHSM has it, a key of the type CKK_EC.
        (CKM_EC_KEY_PAIR_GEN, &ED25519[..]),
    ] {
        let extractable = [attribute(CKA_EXTRACTABLE, &CK_TRUE)];
        let (public, private) = module
            .pair(session, kind, &[bytes(CKA_EC_PARAMS, params)], &extractable)
            .expect("a pair");
        assert_eq!(module.value(session, public, CKA_EC_PARAMS), Ok(ED25519.to_vec()));
        let point = module.value(session, public, CKA_EC_POINT).expect("a point");
        assert_eq!((point.len(), &point[..2]), (34, &[0x04, 32][..]));
        let made =
            module.sign_by(session, plain(CKM_EDDSA), private, b"data").expect("a signature");
        module.verify_by(session, plain(CKM_EDDSA), public, b"data", &made).expect("it verifies");

        let wrapping = module.aes_key(session, false).expect("an AES key");
        let wrapped =
            module.wrap(session, plain(CKM_AES_KEY_WRAP_KWP), wrapping, private).expect("wrapped");
        let key_type = module.value(session, private, CKA_KEY_TYPE).expect("a type");
        let template = [attribute(CKA_CLASS, &CKO_PRIVATE_KEY), bytes(CKA_KEY_TYPE, &key_type)];
        let again = module
            .unwrap(session, plain(CKM_AES_KEY_WRAP_KWP), wrapping, &wrapped, &template)
            .expect("unwrapped");
        assert_eq!(module.sign_by(session, plain(CKM_EDDSA), again, b"data"), Ok(made));
        let confused = [attribute(CKA_CLASS, &CKO_PRIVATE_KEY), attribute(CKA_KEY_TYPE, &CKK_RSA)];
        let refused =
            module.unwrap(session, plain(CKM_AES_KEY_WRAP_KWP), wrapping, &wrapped, &confused);
        assert_eq!(code(&refused), CKR_WRAPPED_KEY_INVALID);
    }
}

#[test]
fn x25519_agrees_like_the_curves_do() {
    let (module, session) = session();
    let pair = || {
        let public = [bytes(CKA_EC_PARAMS, &X25519)];
        let private = [attribute(CKA_DERIVE, &CK_TRUE)];
        module.pair(session, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &public, &private).expect("a pair")
    };
    let sides = [pair(), pair()];
    let points =
        sides.map(|(public, _)| module.value(session, public, CKA_EC_POINT).expect("a point"));
    let derived = |base, point: &[u8]| {
        let mut parameter = CK_ECDH1_DERIVE_PARAMS {
            kdf: CKD_NULL,
            pPublicData: point.as_ptr().cast_mut(),
            ulPublicDataLen: point.len() as CK_ULONG,
            ..CK_ECDH1_DERIVE_PARAMS::default()
        };
        let mechanism = with_parameter(CKM_ECDH1_DERIVE, &mut parameter);
        let key = module.derive(session, mechanism, base, &open_secret())?;
        module.value(session, key, CKA_VALUE)
    };
    let one = derived(sides[0].1, &points[1]);
    assert_eq!(one.as_ref().map(Vec::len), Ok(32));
    // Bare as well as in its OCTET STRING.
    assert_eq!(derived(sides[1].1, &points[0][2..]), one);
    // A point of small order gives no secret.
    assert_eq!(code(&derived(sides[0].1, &[0; 32])), CKR_MECHANISM_PARAM_INVALID);
    let signed = module.sign_by(session, plain(CKM_EDDSA), sides[0].1, b"data");
    assert_eq!(code(&signed), CKR_KEY_TYPE_INCONSISTENT);
}

#[test]
fn what_is_no_edwards_key_or_parameter_is_refused() {
    let (module, session) = session();
    let curve = |params: &[u8]| {
        module.pair(session, CKM_EC_EDWARDS_KEY_PAIR_GEN, &[bytes(CKA_EC_PARAMS, params)], &[])
    };
    // Ed448, and a curve of another kind.
    assert_eq!(code(&curve(&[0x06, 0x03, 0x2b, 0x65, 0x71])), CKR_CURVE_NOT_SUPPORTED);
    assert_eq!(code(&curve(&X25519)), CKR_CURVE_NOT_SUPPORTED);
    assert_eq!(code(&curve(&[])), CKR_CURVE_NOT_SUPPORTED);
    let short = import(CKO_PRIVATE_KEY, CKK_EC_EDWARDS, &ED25519, &[1; 31]);
    assert_eq!(short, Err(CKR_ATTRIBUTE_VALUE_INVALID));
    let wrong_type = import(CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY, &ED25519, &[1; 32]);
    assert_eq!(wrong_type, Err(CKR_CURVE_NOT_SUPPORTED));
    let (_, private) = curve(&ED25519).expect("a pair");
    let long = [0; 256];
    let mut parameter = eddsa(false, &long);
    let mechanism = with_parameter(CKM_EDDSA, &mut parameter);
    let refused = module.sign_by(session, mechanism, private, b"data");
    assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
    let refused = module.sign_by(session, plain(CKM_ECDSA), private, &[1; 32]);
    assert_eq!(code(&refused), CKR_KEY_TYPE_INCONSISTENT);
}
