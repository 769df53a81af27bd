//! RSA: sizes, exponents, every padding, and what wrong padding tells (nothing).

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn pair(bits: CK_ULONG, exponent: &[u8]) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE), CK_RV> {
    let (module, session) = session();
    let public = [attribute(CKA_MODULUS_BITS, &bits), bytes(CKA_PUBLIC_EXPONENT, exponent)];
    module.pair(session, CKM_RSA_X9_31_KEY_PAIR_GEN, &public, &[]).map_err(|failed| failed.code)
}

/// One RSA-2048 pair for all tests that don't care which.
fn shared_pair() -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    static PAIR: OnceLock<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> = OnceLock::new();
    *PAIR.get_or_init(|| pair(2048, &[1, 0, 1]).expect("a pair"))
}

#[test]
fn sizes_are_steps_of_256_and_exponents_odd_and_65537_or_more() {
    let (module, session) = session();
    for bits in [1024, 2304] {
        let (public, _) = pair(bits, &[1, 0, 1]).expect("a pair");
        let modulus = module.value(session, public, CKA_MODULUS).expect("a modulus");
        assert_eq!(modulus.len() as CK_ULONG * 8, bits);
    }
    for bits in [0, 768, 1056, 2047, 4352, 1 << 40] {
        assert_eq!(pair(bits, &[1, 0, 1]), Err(CKR_KEY_SIZE_RANGE), "{bits}");
    }
    for exponent in [&[1][..], &[3], &[2], &[1, 0, 0], &[1; 5], &[]] {
        assert_eq!(pair(2048, exponent), Err(CKR_ATTRIBUTE_VALUE_INVALID), "{exponent:?}");
    }
    // A public key with e = 1 would let everybody sign.
    let modulus = module.value(session, shared_pair().0, CKA_MODULUS).expect("a modulus");
    for exponent in [&[1][..], &[2], &[]] {
        let refused = module.create(
            session,
            &[
                attribute(CKA_CLASS, &CKO_PUBLIC_KEY),
                attribute(CKA_KEY_TYPE, &CKK_RSA),
                bytes(CKA_MODULUS, &modulus),
                bytes(CKA_PUBLIC_EXPONENT, exponent),
            ],
        );
        assert_eq!(code(&refused), CKR_ATTRIBUTE_VALUE_INVALID, "{exponent:?}");
    }
}

#[test]
fn the_bare_function_fills_up_with_zeros_and_undoes_itself() {
    let (module, session) = session();
    let (public, private) = shared_pair();
    let raw = plain(CKM_RSA_X_509);
    let padded = [&[0; 250][..], b"abcdef"].concat();
    let sealed = module.encrypt_by(session, raw, public, b"abcdef").expect("encrypted");
    assert_eq!(module.decrypt_by(session, raw, private, &sealed), Ok(padded.clone()));
    let signature = module.sign_by(session, raw, private, &padded).expect("a signature");
    assert_eq!(module.encrypt_by(session, raw, public, &signature), Ok(padded));
    module.verify_by(session, raw, public, b"abcdef", &signature).expect("it verifies");
    let other = module.verify_by(session, raw, public, b"abcdeg", &signature);
    assert_eq!(code(&other), CKR_SIGNATURE_INVALID);
    // At and above the modulus, and longer than it.
    assert_eq!(code(&module.sign_by(session, raw, private, &[0xff; 256])), CKR_DATA_INVALID);
    assert_eq!(code(&module.sign_by(session, raw, private, &[0; 257])), CKR_DATA_LEN_RANGE);
    let short = module.decrypt_by(session, raw, private, &sealed[1..]);
    assert_eq!(code(&short), CKR_ENCRYPTED_DATA_LEN_RANGE);
}

#[test]
fn every_hash_signs_with_both_paddings() {
    let (module, session) = session();
    let (public, private) = shared_pair();
    for (v1_5, pss, hash, mgf, salt) in [
        (CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS, CKM_SHA_1, CKG_MGF1_SHA1, 20),
        (CKM_SHA224_RSA_PKCS, CKM_SHA224_RSA_PKCS_PSS, CKM_SHA224, CKG_MGF1_SHA1, 0),
        (CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32),
        (CKM_SHA384_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384, CKG_MGF1_SHA512, 48),
        (CKM_SHA512_RSA_PKCS, CKM_SHA512_RSA_PKCS_PSS, CKM_SHA512, CKG_MGF1_SHA512, 190),
        (CKM_SHA3_256_RSA_PKCS, CKM_SHA3_256_RSA_PKCS_PSS, CKM_SHA3_256, CKG_MGF1_SHA3_256, 32),
        (CKM_SHA3_512_RSA_PKCS, CKM_SHA3_512_RSA_PKCS_PSS, CKM_SHA3_512, CKG_MGF1_SHA3_512, 64),
    ] {
        let made = module.sign_by(session, plain(v1_5), private, b"data").expect("a signature");
        module.verify_by(session, plain(v1_5), public, b"data", &made).expect("it verifies");
        let mut parameter = CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: salt };
        let mechanism = with_parameter(pss, &mut parameter);
        let made = module.sign_by(session, mechanism, private, b"data").expect("a signature");
        module.verify_by(session, mechanism, public, b"data", &made).expect("it verifies");
        let mut parameter = CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: salt + 1 };
        let mechanism = with_parameter(pss, &mut parameter);
        let other = module.verify_by(session, mechanism, public, b"data", &made);
        assert!(matches!(code(&other), CKR_SIGNATURE_INVALID | CKR_MECHANISM_PARAM_INVALID));
    }
    // More salt than the modulus has room for (RFC 8017, 9.1.1).
    let mut parameter =
        CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA512, mgf: CKG_MGF1_SHA512, sLen: 191 };
    let mechanism = with_parameter(CKM_SHA512_RSA_PKCS_PSS, &mut parameter);
    let refused = module.sign_by(session, mechanism, private, b"data");
    assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
}

#[test]
fn oaep_takes_a_label_and_a_mask_function_of_its_own() {
    let (module, session) = session();
    let (public, private) = shared_pair();
    let oaep = |hash, mgf, label: &[u8]| CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: hash,
        mgf,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: label.as_ptr().cast_mut().cast(),
        ulSourceDataLen: label.len() as CK_ULONG,
    };
    for (hash, mgf) in [
        (CKM_SHA_1, CKG_MGF1_SHA1),
        (CKM_SHA256, CKG_MGF1_SHA1),
        (CKM_SHA512, CKG_MGF1_SHA256),
        (CKM_SHA3_256, CKG_MGF1_SHA3_256),
    ] {
        let mut parameter = oaep(hash, mgf, b"label");
        let mechanism = with_parameter(CKM_RSA_PKCS_OAEP, &mut parameter);
        let sealed = module.encrypt_by(session, mechanism, public, b"data").expect("encrypted");
        let opened = module.decrypt_by(session, mechanism, private, &sealed);
        assert_eq!(opened.as_deref(), Ok(&b"data"[..]));
        let mut other = oaep(hash, mgf, b"lable");
        let mechanism = with_parameter(CKM_RSA_PKCS_OAEP, &mut other);
        let refused = module.decrypt_by(session, mechanism, private, &sealed);
        assert_eq!(code(&refused), CKR_ENCRYPTED_DATA_INVALID);
    }
}

/// Bleichenbacher's oracle (CRYPTO '98; against tokens Bardou and others, CRYPTO 2012) needs to be
/// told whether the padding of a ciphertext of the attacker's was right. Each of these is wrong in its
/// own way; each decrypts, to the same bytes each time, and none says why.
#[test]
fn wrong_padding_is_answered_by_other_bytes_and_never_by_an_error() {
    let (module, session) = session();
    let (public, private) = shared_pair();
    let raw = plain(CKM_RSA_X_509);
    let v1_5 = plain(CKM_RSA_PKCS);
    let block = |front: &[u8]| {
        let mut block = vec![0x5a; 256];
        block[..front.len()].copy_from_slice(front);
        block
    };
    let mut short = block(&[0, 2]);
    short[5] = 0;
    for wrong in [block(&[0, 1]), block(&[0, 2]), block(&[1, 2]), short] {
        let Ok(sealed) = module.encrypt_by(session, raw, public, &wrong) else { continue };
        let opened = module.decrypt_by(session, v1_5, private, &sealed).expect("other bytes");
        assert_eq!(module.decrypt_by(session, v1_5, private, &sealed), Ok(opened));
        // Unwrapped, the bytes are a key of a length that may or may not fit its type; where the type
        // takes any length, nothing is told either.
        let template =
            [attribute(CKA_CLASS, &CKO_SECRET_KEY), attribute(CKA_KEY_TYPE, &CKK_GENERIC_SECRET)];
        let unwrapped = module.unwrap(session, v1_5, private, &sealed, &template);
        assert!(matches!(code(&unwrapped), CKR_OK | CKR_WRAPPED_KEY_LEN_RANGE));
    }
}

/// A generation takes seconds at worst, on the thread of the connection that asked for it: others go
/// on signing meanwhile.
#[test]
fn generating_an_rsa_key_does_not_keep_others_from_signing() {
    let (module, session) = session();
    let (_, signer) = module.p256_pair(session, None).expect("a pair");
    let done = AtomicBool::new(false);
    let (mut during, mut out) = (0, [0; 64]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                pair(4096, &[1, 0, 1]).expect("a pair");
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            module.sign(session, CKM_ECDSA, signer, &[7; 32], &mut out).expect("a signature");
            during += 1;
        }
    });
    // Were they made one after the other, there would be one or two.
    assert!(during > 20, "{during} signatures during three generations");
}
