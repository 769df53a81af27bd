//! Message-based encryption (PKCS#11 3.0), and MACs of more than one request.

use std::ptr;

use super::*;

/// CK_GCM_MESSAGE_PARAMS over these places.
fn gcm(iv: &mut [u8; 12], tag: &mut [u8; 16], generator: CK_ULONG) -> CK_GCM_MESSAGE_PARAMS {
    CK_GCM_MESSAGE_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 12,
        ulIvFixedBits: if generator == CKG_GENERATE_COUNTER { 32 } else { 0 },
        ivGenerator: generator,
        pTag: tag.as_mut_ptr(),
        ulTagBits: 128,
    }
}

#[test]
fn messages_have_nonces_of_their_own_and_come_back() {
    let (module, session) = session();
    let functions = module.functions_3_2().expect("the newest interface");
    let key = counting(CKK_AES, 32);
    let mut mechanism = plain(CKM_AES_GCM);
    let encrypt_init = functions.C_MessageEncryptInit.expect("C_MessageEncryptInit");
    let decrypt_init = functions.C_MessageDecryptInit.expect("C_MessageDecryptInit");
    // SAFETY: a live mechanism.
    unsafe {
        assert_eq!(encrypt_init(session, &mut mechanism, key), CKR_OK);
        assert_eq!(decrypt_init(session, &mut mechanism, key), CKR_OK);
        assert_eq!(encrypt_init(session, &mut mechanism, key), CKR_OPERATION_ACTIVE);
    }
    let encrypt = functions.C_EncryptMessage.expect("C_EncryptMessage");
    let decrypt = functions.C_DecryptMessage.expect("C_DecryptMessage");
    let run = |function: CryptMessage, params: &mut CK_GCM_MESSAGE_PARAMS, data: &[u8]| {
        let mut aad = *b"aad";
        let mut out = vec![0u8; data.len()];
        let mut length = out.len() as CK_ULONG;
        // SAFETY: live places with their lengths.
        let code = unsafe {
            function(
                session,
                ptr::from_mut(params).cast(),
                size_of_val(params) as CK_ULONG,
                aad.as_mut_ptr(),
                3,
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                out.as_mut_ptr(),
                &mut length,
            )
        };
        (code, out)
    };
    let mut seen = Vec::new();
    for generator in [CKG_GENERATE, CKG_GENERATE, CKG_GENERATE_COUNTER, CKG_GENERATE_COUNTER] {
        let (mut iv, mut tag) = ([0x5a; 12], [0; 16]);
        let (code, sealed) = run(encrypt, &mut gcm(&mut iv, &mut tag, generator), b"a message");
        assert_eq!(code, CKR_OK);
        assert!(!seen.contains(&iv), "no nonce comes twice");
        seen.push(iv);
        // As C_Decrypt takes it, ciphertext and tag are one piece.
        let mut aad = *b"aad";
        let mut single = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: aad.as_mut_ptr(),
            ulAADLen: 3,
            ulTagBits: 128,
        };
        let whole = [&sealed[..], &tag].concat();
        let opened =
            module.decrypt_by(session, with_parameter(CKM_AES_GCM, &mut single), key, &whole);
        assert_eq!(opened.as_deref(), Ok(&b"a message"[..]));
        let back = run(decrypt, &mut gcm(&mut iv, &mut tag, CKG_NO_GENERATE), &sealed);
        assert_eq!(back, (CKR_OK, b"a message".to_vec()));
        tag[0] ^= 1;
        let bent = run(decrypt, &mut gcm(&mut iv, &mut tag, CKG_NO_GENERATE), &sealed);
        assert_eq!(bent.0, CKR_AEAD_DECRYPT_FAILED);
    }
    let finish = functions.C_MessageEncryptFinal.expect("C_MessageEncryptFinal");
    // SAFETY: takes a number.
    unsafe {
        assert_eq!(finish(session), CKR_OK);
        assert_eq!(finish(session), CKR_OPERATION_NOT_INITIALIZED);
    }
}

type CryptMessage = unsafe extern "C" fn(
    CK_SESSION_HANDLE,
    *mut std::os::raw::c_void,
    CK_ULONG,
    *mut CK_BYTE,
    CK_ULONG,
    *mut CK_BYTE,
    CK_ULONG,
    *mut CK_BYTE,
    *mut CK_ULONG,
) -> CK_RV;

#[test]
fn a_mac_takes_data_of_any_length() {
    let (module, session) = session();
    let key = secret(CKK_GENERIC_SECRET, b"key");
    let data = vec![0x61u8; 5_000_000];
    let mac = module.sign_by(session, plain(CKM_SHA256_HMAC), key, &data).expect("a MAC");
    // Python: hmac.new(b"key", b"a" * 5_000_000, "sha256").
    assert_eq!(mac, hex("6effa84a0b185cabc2dd6798749f030b9cc5803a68061c0d83cf8288427ee223"));
    assert_eq!(module.verify_by(session, plain(CKM_SHA256_HMAC), key, &data, &mac), Ok(()));
    let other = module.verify_by(session, plain(CKM_SHA256_HMAC), key, &data[1..], &mac);
    assert_eq!(code(&other), CKR_SIGNATURE_INVALID);
    let long = module.sign_by(session, plain(CKM_SHA3_256_HMAC), key, &data);
    assert_eq!(code(&long), CKR_DATA_LEN_RANGE);
}
