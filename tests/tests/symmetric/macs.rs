//! HMAC, CMAC and GMAC, and digests.

use super::*;

#[test]
fn a_cut_mac_is_the_front_of_the_whole_and_verifies() {
    let (module, session) = session();
    let generic = secret(CKK_GENERIC_SECRET, b"Jefe");
    let aes = secret(CKK_AES, &hex("2b7e151628aed2a6abf7158809cf4f3c"));
    let des3 = counting(CKK_DES3, 24);
    let data = b"what do ya want for nothing?";
    for (whole, cut, key) in [
        (CKM_SHA_1_HMAC, CKM_SHA_1_HMAC_GENERAL, generic),
        (CKM_SHA256_HMAC, CKM_SHA256_HMAC_GENERAL, generic),
        (CKM_SHA512_224_HMAC, CKM_SHA512_224_HMAC_GENERAL, generic),
        (CKM_SHA3_384_HMAC, CKM_SHA3_384_HMAC_GENERAL, generic),
        (CKM_AES_CMAC, CKM_AES_CMAC_GENERAL, aes),
        (CKM_DES3_CMAC, CKM_DES3_CMAC_GENERAL, des3),
    ] {
        let mac = module.sign_by(session, plain(whole), key, data).expect("a MAC");
        let mut length: CK_ULONG = 6;
        let general = with_parameter(cut, &mut length);
        let front = module.sign_by(session, general, key, data);
        assert_eq!(front.as_deref(), Ok(&mac[..6]), "{cut:#x}");
        assert_eq!(module.verify_by(session, general, key, data, &mac[..6]), Ok(()));
        let wrong = module.verify_by(session, general, key, data, &mac[1..7]);
        assert_eq!(code(&wrong), CKR_SIGNATURE_INVALID);
        let long = module.verify_by(session, general, key, data, &mac[..7]);
        assert_eq!(code(&long), CKR_SIGNATURE_LEN_RANGE);
        for wrong in [0, 3, mac.len() as CK_ULONG + 1, CK_ULONG::MAX] {
            let mut length = wrong;
            let refused = module.sign_by(session, with_parameter(cut, &mut length), key, data);
            assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID, "{cut:#x} {wrong}");
        }
        let without = module.sign_by(session, plain(cut), key, data);
        assert_eq!(code(&without), CKR_MECHANISM_PARAM_INVALID);
    }
    let mac = module.sign_by(session, plain(CKM_SHA256_HMAC), generic, data);
    assert_eq!(mac, Ok(hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")));
}

#[test]
fn a_key_for_one_hmac_serves_no_other() {
    let (module, session) = session();
    let length: CK_ULONG = 32;
    let template = [attribute(CKA_VALUE_LEN, &length)];
    for (generator, own, other) in [
        (CKM_SHA256_KEY_GEN, CKM_SHA256_HMAC, CKM_SHA512_HMAC),
        (CKM_SHA3_256_KEY_GEN, CKM_SHA3_256_HMAC, CKM_SHA256_HMAC),
        (CKM_SHA512_224_KEY_GEN, CKM_SHA512_224_HMAC, CKM_SHA512_HMAC),
    ] {
        let key = module.generate(session, plain(generator), &template).expect("a key");
        assert!(module.sign_by(session, plain(own), key, b"data").is_ok());
        let refused = module.sign_by(session, plain(other), key, b"data");
        assert_eq!(code(&refused), CKR_KEY_TYPE_INCONSISTENT);
    }
}

#[test]
fn gmac_takes_an_iv_and_nothing_to_encrypt() {
    let (module, session) = session();
    let key = counting(CKK_AES, 32);
    let mut iv = [4u8; 12];
    let mut params = CK_GCM_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 12,
        ulIvBits: 96,
        pAAD: std::ptr::null_mut(),
        ulAADLen: 0,
        ulTagBits: 128,
    };
    let mechanism = with_parameter(CKM_AES_GMAC, &mut params);
    let tag = module.sign_by(session, mechanism, key, b"data").expect("a tag");
    assert_eq!(tag.len(), 16);
    // GCM of no plaintext with the same associated data has the same tag.
    let mut data = *b"data";
    let mut gcm = CK_GCM_PARAMS { pAAD: data.as_mut_ptr(), ulAADLen: 4, ..params };
    let sealed = module.encrypt_by(session, with_parameter(CKM_AES_GCM, &mut gcm), key, b"");
    assert_eq!(sealed.as_deref(), Ok(&tag[..]));
    let refused = module.sign_by(session, with_parameter(CKM_AES_GMAC, &mut gcm), key, b"data");
    assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
}

#[test]
fn digests_of_abc_are_as_the_standards_print_them() {
    let (module, session) = session();
    for (kind, expected) in [
        (CKM_SHA512_224, "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"),
        (CKM_SHA512_256, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
        (CKM_SHA3_256, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
    ] {
        assert_eq!(module.digest(session, plain(kind), b"abc"), Ok(hex(expected)));
    }
}
