//! Keys under keys: RSA_AES key wrap, and AES key wrap by its several names.

use super::*;

/// A key that may leave.
fn target(key_type: CK_KEY_TYPE, length: u8) -> CK_OBJECT_HANDLE {
    counting(key_type, length)
}

fn open(key_type: &CK_KEY_TYPE) -> [CK_ATTRIBUTE; 4] {
    [
        attribute(CKA_CLASS, &CKO_SECRET_KEY),
        attribute(CKA_KEY_TYPE, key_type),
        attribute(CKA_SENSITIVE, &CK_FALSE),
        attribute(CKA_EXTRACTABLE, &CK_TRUE),
    ]
}

#[test]
fn every_aes_key_wrap_takes_back_what_it_gave() {
    let (module, session) = session();
    let wrapping = counting(CKK_AES, 32);
    for (kind, key_type, length, longer) in [
        (CKM_AES_KEY_WRAP, CKK_AES, 32, 8),
        (CKM_AES_KEY_WRAP_PAD, CKK_GENERIC_SECRET, 33, 15),
        (CKM_AES_KEY_WRAP_KWP, CKK_GENERIC_SECRET, 33, 15),
        (CKM_AES_KEY_WRAP_PKCS7, CKK_GENERIC_SECRET, 33, 15),
        (CKM_AES_KEY_WRAP_PKCS7, CKK_AES, 32, 16),
        (CKM_AES_KEY_WRAP, CKK_DES3, 24, 8),
        (CKM_AES_KEY_WRAP_KWP, CKK_CHACHA20, 32, 8),
    ] {
        let key = target(key_type, length);
        let wrapped = module.wrap(session, plain(kind), wrapping, key).expect("wrapped");
        assert_eq!(wrapped.len(), usize::from(length) + longer, "{kind:#x}");
        let back = module.unwrap(session, plain(kind), wrapping, &wrapped, &open(&key_type));
        let value = module.value(session, back.expect("unwrapped"), CKA_VALUE);
        assert_eq!(value, Ok((0..length).collect()));
        let mut bent = wrapped;
        bent[9] ^= 1;
        let refused = module.unwrap(session, plain(kind), wrapping, &bent, &open(&key_type));
        assert_eq!(code(&refused), CKR_WRAPPED_KEY_INVALID);
    }
    let odd =
        module.wrap(session, plain(CKM_AES_KEY_WRAP), wrapping, target(CKK_GENERIC_SECRET, 33));
    assert_eq!(code(&odd), CKR_KEY_SIZE_RANGE);
}

#[test]
fn rsa_aes_key_wrap_carries_secrets_and_private_keys() {
    let (module, session) = session();
    let bits: CK_ULONG = 2048;
    let (public, private) = module
        .pair(
            session,
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &[attribute(CKA_MODULUS_BITS, &bits), attribute(CKA_WRAP, &CK_TRUE)],
            &[attribute(CKA_UNWRAP, &CK_TRUE)],
        )
        .expect("a pair");
    let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: CKM_SHA256,
        mgf: CKG_MGF1_SHA256,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: std::ptr::null_mut(),
        ulSourceDataLen: 0,
    };
    let mut params = CK_RSA_AES_KEY_WRAP_PARAMS { ulAESKeyBits: 256, pOAEPParams: &raw mut oaep };
    let mechanism = with_parameter(CKM_RSA_AES_KEY_WRAP, &mut params);
    let key = target(CKK_GENERIC_SECRET, 200);
    let wrapped = module.wrap(session, mechanism, public, key).expect("wrapped");
    assert_eq!(wrapped.len(), 256 + 208);
    let back = module.unwrap(session, mechanism, private, &wrapped, &open(&CKK_GENERIC_SECRET));
    let value = module.value(session, back.expect("unwrapped"), CKA_VALUE);
    assert_eq!(value, Ok((0..200).collect()));
    for at in [3, 300] {
        let mut bent = wrapped.clone();
        bent[at] ^= 1;
        let refused = module.unwrap(session, mechanism, private, &bent, &open(&CKK_GENERIC_SECRET));
        assert_eq!(code(&refused), CKR_WRAPPED_KEY_INVALID, "one error for both halves");
    }
    let short = module.unwrap(session, mechanism, private, &wrapped[..256], &open(&CKK_AES));
    assert_eq!(code(&short), CKR_WRAPPED_KEY_LEN_RANGE);
    // A private key, as PKCS#8, which OAEP alone has no room for.
    let (_, ec) = module
        .pair(
            session,
            CKM_EC_KEY_PAIR_GEN,
            &[bytes(CKA_EC_PARAMS, &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07])],
            &[attribute(CKA_EXTRACTABLE, &CK_TRUE)],
        )
        .expect("a pair");
    let wrapped = module.wrap(session, mechanism, public, ec).expect("wrapped");
    let template = [
        attribute(CKA_CLASS, &CKO_PRIVATE_KEY),
        attribute(CKA_KEY_TYPE, &CKK_EC),
        attribute(CKA_SIGN, &CK_TRUE),
    ];
    let back = module.unwrap(session, mechanism, private, &wrapped, &template).expect("unwrapped");
    assert!(module.sign_by(session, plain(CKM_ECDSA_SHA256), back, b"data").is_ok());
    for aes_bits in [0, 64, 512] {
        let mut wrong = CK_RSA_AES_KEY_WRAP_PARAMS { ulAESKeyBits: aes_bits, ..params };
        let refused =
            module.wrap(session, with_parameter(CKM_RSA_AES_KEY_WRAP, &mut wrong), public, key);
        assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
    }
    let mut wrong =
        CK_RSA_AES_KEY_WRAP_PARAMS { ulAESKeyBits: 256, pOAEPParams: std::ptr::null_mut() };
    let refused =
        module.wrap(session, with_parameter(CKM_RSA_AES_KEY_WRAP, &mut wrong), public, key);
    assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
}

/// Whoever may only unwrap would learn a wrapped key by its padding, block by block.
#[test]
fn unwrapping_by_cbc_is_for_keys_that_decrypt() {
    let (module, session) = session();
    let cbc = || with_iv(CKM_AES_CBC_PAD, &[0; 16]);
    let wrapping = |decrypts: &CK_BBOOL| {
        let template =
            [attribute(CKA_VALUE_LEN, &(32 as CK_ULONG)), attribute(CKA_DECRYPT, decrypts)];
        module.generate(session, plain(CKM_AES_KEY_GEN), &template).expect("a key")
    };
    for decrypts in [CK_FALSE, CK_TRUE] {
        let key = wrapping(&decrypts);
        let wrapped = module.wrap(session, cbc(), key, target(CKK_AES, 32)).expect("wrapped");
        let mut codes: Vec<_> = (0..=255u8)
            .map(|last| {
                let mut bent = wrapped.clone();
                bent[31] ^= last;
                code(&module.unwrap(session, cbc(), key, &bent, &open(&CKK_AES)))
            })
            .collect();
        codes.dedup();
        if decrypts == CK_FALSE {
            assert_eq!(codes, [CKR_KEY_FUNCTION_NOT_PERMITTED]);
        } else {
            assert_eq!(codes.first(), Some(&CKR_OK));
            assert!(codes.contains(&CKR_WRAPPED_KEY_INVALID), "what the attack feeds on");
        }
    }
}
