//! Encryption: whole and in parts, longer than one request, and what is refused.

use super::*;

/// RFC 8439's state: a counter of 1 and the nonce, as CK_CHACHA20_PARAMS points to them.
fn chacha20(counter: &mut u32, nonce: &mut [u8; 12]) -> CK_CHACHA20_PARAMS {
    CK_CHACHA20_PARAMS {
        pBlockCounter: std::ptr::from_mut(counter).cast(),
        blockCounterBits: 32,
        pNonce: nonce.as_mut_ptr(),
        ulNonceBits: 96,
    }
}

#[test]
fn parts_give_what_the_whole_gives_in_every_cipher_that_can_be_cut() {
    let (module, session) = session();
    let (aes, des3) = (counting(CKK_AES, 32), counting(CKK_DES3, 24));
    let chacha = counting(CKK_CHACHA20, 32);
    let (mut counter, mut nonce) = (1u32, [7; 12]);
    let mut state = chacha20(&mut counter, &mut nonce);
    let iv = [9u8; 16];
    let mut ctr = CK_AES_CTR_PARAMS { ulCounterBits: 128, cb: [3; 16] };
    let cases = [
        (plain(CKM_AES_ECB), aes),
        (with_iv(CKM_AES_CBC, &iv), aes),
        (with_iv(CKM_AES_CBC_PAD, &iv), aes),
        (with_parameter(CKM_AES_CTR, &mut ctr), aes),
        (with_iv(CKM_AES_CFB8, &iv), aes),
        (with_iv(CKM_AES_CFB128, &iv), aes),
        (with_iv(CKM_AES_OFB, &iv), aes),
        (with_parameter(CKM_CHACHA20, &mut state), chacha),
        (plain(CKM_DES3_ECB), des3),
        (with_iv(CKM_DES3_CBC, &iv[..8]), des3),
        (with_iv(CKM_DES3_CBC_PAD, &iv[..8]), des3),
    ];
    let data: Vec<u8> = (0..960u32).map(|number| number as u8).collect();
    for (mechanism, key) in cases {
        let number = mechanism.mechanism;
        let whole = module.encrypt_by(session, mechanism, key, &data).expect("encrypted");
        assert_ne!(whole[..data.len()], data[..]);
        assert_eq!(module.decrypt_by(session, mechanism, key, &whole).as_deref(), Ok(&data[..]));
        for sizes in [&[1, 0, 15, 16, 17][..], &[7], &[64, 3], &[960]] {
            let sealed = module.encrypt_in_parts(session, mechanism, key, &pieces(&data, sizes));
            assert_eq!(sealed.as_deref(), Ok(&whole[..]), "{number:#x} {sizes:?}");
            let opened = module.decrypt_in_parts(session, mechanism, key, &pieces(&whole, sizes));
            assert_eq!(opened.as_deref(), Ok(&data[..]), "{number:#x} {sizes:?}");
        }
    }
}

/// `data` cut into pieces of these sizes, over and over.
fn pieces<'a>(data: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (data, Vec::new());
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    pieces
}

#[test]
fn published_answers_come_through_the_abi() {
    let (module, session) = session();
    // SP 800-67, appendix B.1.
    let key = secret(CKK_DES3, &hex("0123456789abcdef23456789abcdef01456789abcdef0123"));
    let data = hex("54686520717566636b2062726f776e20666f78206a756d70");
    let sealed = module.encrypt_by(session, plain(CKM_DES3_ECB), key, &data);
    assert_eq!(sealed, Ok(hex("a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900")));
    // RFC 8439, 2.4.2, its first bytes.
    let key = counting(CKK_CHACHA20, 32);
    let mut nonce = [0; 12];
    nonce[7] = 0x4a;
    let mut counter = 1u32.to_le();
    let mut state = chacha20(&mut counter, &mut nonce);
    let mechanism = with_parameter(CKM_CHACHA20, &mut state);
    let sealed = module.encrypt_by(session, mechanism, key, b"Ladies and Gentlemen");
    assert_eq!(sealed, Ok(hex("6e2e359a2568f98041ba0728dd0d6981e97e7aec")));
}

#[test]
fn a_ccm_message_is_as_long_as_its_parameter_says() {
    let (module, session) = session();
    let key = counting(CKK_AES, 16);
    let mut nonce = [1u8; 12];
    let mut params = |length: usize, tag: CK_ULONG, nonce_bytes: CK_ULONG| CK_CCM_PARAMS {
        ulDataLen: length as CK_ULONG,
        pNonce: nonce.as_mut_ptr(),
        ulNonceLen: nonce_bytes,
        pAAD: std::ptr::null_mut(),
        ulAADLen: 0,
        ulMACLen: tag,
    };
    let mut right = params(4, 16, 12);
    let right = with_parameter(CKM_AES_CCM, &mut right);
    let sealed = module.encrypt_by(session, right, key, b"data").expect("sealed");
    assert_eq!(sealed.len(), 20);
    assert_eq!(module.decrypt_by(session, right, key, &sealed).as_deref(), Ok(&b"data"[..]));
    let other = module.encrypt_by(session, right, key, b"other");
    assert_eq!(code(&other), CKR_DATA_LEN_RANGE);
    let cut = module.decrypt_by(session, right, key, &sealed[..19]);
    assert_eq!(code(&cut), CKR_ENCRYPTED_DATA_LEN_RANGE);
    let mut bent = sealed;
    bent[0] ^= 1;
    let refused = module.decrypt_by(session, right, key, &bent);
    assert_eq!(code(&refused), CKR_ENCRYPTED_DATA_INVALID);
    for (tag, nonce_bytes) in [(3, 12), (17, 12), (4, 12), (16, 6)] {
        let mut wrong = params(4, tag, nonce_bytes);
        let wrong = with_parameter(CKM_AES_CCM, &mut wrong);
        let refused = module.encrypt_by(session, wrong, key, b"data");
        assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID, "{tag} {nonce_bytes}");
    }
}

#[test]
fn parameters_of_another_size_are_refused() {
    let (module, session) = session();
    let (aes, des3) = (counting(CKK_AES, 32), counting(CKK_DES3, 24));
    let chacha = counting(CKK_CHACHA20, 32);
    let iv = [0u8; 32];
    for (kind, key, lengths) in [
        (CKM_AES_CFB8, aes, &[0, 8, 15, 17][..]),
        (CKM_AES_CFB128, aes, &[0, 8, 15, 17]),
        (CKM_AES_OFB, aes, &[0, 15]),
        (CKM_DES3_CBC, des3, &[0, 7, 16]),
        (CKM_DES3_ECB, des3, &[8]),
        (CKM_CHACHA20, chacha, &[0, 16, 31]),
        (CKM_CHACHA20_POLY1305, chacha, &[0, 12]),
        (CKM_AES_CCM, aes, &[0, 12]),
    ] {
        for length in lengths {
            let refused = module.encrypt_by(session, with_iv(kind, &iv[..*length]), key, &[0; 16]);
            assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID, "{kind:#x} {length}");
        }
    }
    // Widths of counter and nonce that RFC 8439 does not have.
    let (mut counter, mut nonce) = (1u32, [7; 12]);
    for (counter_bits, nonce_bits) in [(64, 96), (32, 64), (0, 96)] {
        let mut state = CK_CHACHA20_PARAMS {
            blockCounterBits: counter_bits,
            ulNonceBits: nonce_bits,
            ..chacha20(&mut counter, &mut nonce)
        };
        let refused =
            module.encrypt_by(session, with_parameter(CKM_CHACHA20, &mut state), chacha, b"data");
        assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
    }
    let other = module.encrypt_by(session, with_iv(CKM_AES_CBC, &iv[..16]), des3, &[0; 16]);
    assert_eq!(code(&other), CKR_KEY_TYPE_INCONSISTENT);
}

#[test]
fn keys_of_one_length_are_made_without_saying_it() {
    let (module, session) = session();
    for (kind, key_type, length) in [
        (CKM_DES3_KEY_GEN, CKK_DES3, 24),
        (CKM_CHACHA20_KEY_GEN, CKK_CHACHA20, 32),
        (CKM_AES_XTS_KEY_GEN, CKK_AES_XTS, 64),
    ] {
        let open = [attribute(CKA_SENSITIVE, &CK_FALSE), attribute(CKA_EXTRACTABLE, &CK_TRUE)];
        let key = module.generate(session, plain(kind), &open).expect("a key");
        assert_eq!(module.value(session, key, CKA_VALUE).expect("a value").len(), length);
        let found = module.value(session, key, CKA_KEY_TYPE).expect("a type");
        assert_eq!(found, key_type.to_ne_bytes());
        let other: CK_ULONG = 16;
        let wrong = [attribute(CKA_VALUE_LEN, &other)];
        assert_eq!(code(&module.generate(session, plain(kind), &wrong)), CKR_TEMPLATE_INCONSISTENT);
    }
    for (key_type, value) in [(CKK_DES3, [5; 24].to_vec()), (CKK_AES_XTS, [5; 64].to_vec())] {
        let template = [
            attribute(CKA_CLASS, &CKO_SECRET_KEY),
            attribute(CKA_KEY_TYPE, &key_type),
            bytes(CKA_VALUE, &value),
        ];
        let weak = module.create(session, &template);
        assert_eq!(code(&weak), CKR_ATTRIBUTE_VALUE_INVALID);
    }
}
