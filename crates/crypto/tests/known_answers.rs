//! Published answers of the symmetric mechanisms that Wycheproof has no file for, through the table of
//! mechanisms; and what keys and parameters they refuse.

use cryptoki_sys as ck;
use strongroom_crypto::{
    Error, Key, Mechanism, Params, SecretBytes, decrypt, encrypt, generate_secret, mac_check,
    mac_finish, mac_update, mechanism, sign, verify,
};

fn named(kind: u64) -> &'static Mechanism {
    mechanism::find(kind).expect("in the table")
}

/// The bytes that `text` says in hex.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn plain(secret: Result<SecretBytes, Error>) -> Result<Vec<u8>, Error> {
    secret.map(SecretBytes::into_plain)
}

struct Answer {
    mechanism: u64,
    key_type: u64,
    key: &'static str,
    iv: &'static str,
    plaintext: &'static str,
    ciphertext: &'static str,
}

/// SP 800-38A, appendix F's AES-128 key, IV and plaintext.
const AES_128: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const AES_192: &str = "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b";
const AES_256: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
const IV: &str = "000102030405060708090a0b0c0d0e0f";
const TWO_BLOCKS: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";

const ANSWERS: &[Answer] = &[
    // SP 800-38A, F.3.7.
    Answer {
        mechanism: ck::CKM_AES_CFB8,
        key_type: ck::CKK_AES,
        key: AES_128,
        iv: IV,
        plaintext: "6bc1bee22e409f96e93d7e117393172aae2d",
        ciphertext: "3b79424c9c0dd436bace9e0ed4586a4f32b9",
    },
    // SP 800-38A, F.3.13, F.3.15, F.3.17.
    Answer {
        mechanism: ck::CKM_AES_CFB128,
        key_type: ck::CKK_AES,
        key: AES_128,
        iv: IV,
        plaintext: TWO_BLOCKS,
        ciphertext: "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b",
    },
    Answer {
        mechanism: ck::CKM_AES_CFB128,
        key_type: ck::CKK_AES,
        key: AES_192,
        iv: IV,
        plaintext: TWO_BLOCKS,
        ciphertext: "cdc80d6fddf18cab34c25909c99a417467ce7f7f81173621961a2b70171d3d7a",
    },
    Answer {
        mechanism: ck::CKM_AES_CFB128,
        key_type: ck::CKK_AES,
        key: AES_256,
        iv: IV,
        plaintext: TWO_BLOCKS,
        ciphertext: "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b",
    },
    // SP 800-38A, F.4.1, F.4.5.
    Answer {
        mechanism: ck::CKM_AES_OFB,
        key_type: ck::CKK_AES,
        key: AES_128,
        iv: IV,
        plaintext: TWO_BLOCKS,
        ciphertext: "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed825",
    },
    Answer {
        mechanism: ck::CKM_AES_OFB,
        key_type: ck::CKK_AES,
        key: AES_256,
        iv: IV,
        plaintext: TWO_BLOCKS,
        ciphertext: "dc7e84bfda79164b7ecd8486985d38604febdc6740d20b3ac88f6ad82a4fb08d",
    },
    // SP 800-67, appendix B.1.
    Answer {
        mechanism: ck::CKM_DES3_ECB,
        key_type: ck::CKK_DES3,
        key: "0123456789abcdef23456789abcdef01456789abcdef0123",
        iv: "",
        plaintext: "5468652071756663 6b2062726f776e20 666f78206a756d70",
        ciphertext: "a826fd8ce53b855f cce21c8112256fe6 68d5c05dd9b6b900",
    },
    // RFC 8439, 2.4.2: the block counter 1 and the nonce.
    Answer {
        mechanism: ck::CKM_CHACHA20,
        key_type: ck::CKK_CHACHA20,
        key: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        iv: "01000000 000000000000004a00000000",
        plaintext: "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a\
                    204966204920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f722074686520\
                    6675747572652c2073756e73637265656e20776f756c642062652069742e",
        ciphertext: "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f59\
                     3dabcd62b3571639d624e65152ab8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16\
                     ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42874d",
    },
];

#[test]
fn published_ciphertexts_come_out_and_go_back() {
    for answer in ANSWERS {
        let mechanism = named(answer.mechanism);
        let key = Key::from_secret(answer.key_type, hex(answer.key)).expect("a key");
        let iv = hex(answer.iv);
        let params = if iv.is_empty() { Params::None } else { Params::Iv(&iv) };
        let (plaintext, ciphertext) = (hex(answer.plaintext), hex(answer.ciphertext));
        let encrypted = encrypt(&key, mechanism, &params, &plaintext);
        assert_eq!(encrypted.as_deref(), Ok(&ciphertext[..]), "{}", mechanism.name);
        assert_eq!(plain(decrypt(&key, mechanism, &params, &ciphertext)), Ok(plaintext));
    }
}

/// SP 800-38B's examples for AES-128, messages of 0, 16 and 40 bytes (RFC 4493, section 4).
#[test]
fn published_cmacs_come_out_and_verify_cut_too() {
    let key = Key::from_secret(ck::CKK_AES, hex(AES_128)).expect("a key");
    let message = hex(TWO_BLOCKS);
    let message = [&message[..], &hex("30c81c46a35ce411")].concat();
    for (length, expected) in [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
    ] {
        let (whole, cut) = (named(ck::CKM_AES_CMAC), named(ck::CKM_AES_CMAC_GENERAL));
        let data = &message[..length];
        let expected = hex(expected);
        assert_eq!(sign(&key, whole, &Params::None, data, false), Ok(expected.clone()));
        let params = Params::MacLength(8);
        assert_eq!(sign(&key, cut, &params, data, false).as_deref(), Ok(&expected[..8]));
        assert_eq!(verify(&key, cut, &params, data, false, &expected[..8]), Ok(()));
        let wrong = verify(&key, cut, &params, data, false, &expected[1..9]);
        assert_eq!(wrong, Err(Error::SignatureInvalid));
        let long = verify(&key, cut, &params, data, false, &expected[..9]);
        assert_eq!(long, Err(Error::SignatureLength));
        for length in [0, 3, 17, usize::MAX] {
            let refused = sign(&key, cut, &Params::MacLength(length), data, false);
            assert_eq!(refused, Err(Error::ParameterInvalid), "{length}");
        }
    }
}

/// RFC 4231, test case 2, in each way to say it.
#[test]
fn a_cut_hmac_is_the_front_of_the_whole() {
    let key = Key::from_secret(ck::CKK_GENERIC_SECRET, b"Jefe".to_vec()).expect("a key");
    let data = b"what do ya want for nothing?";
    let whole = sign(&key, named(ck::CKM_SHA256_HMAC), &Params::None, data, false).expect("a MAC");
    assert_eq!(whole, hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    let general = named(ck::CKM_SHA256_HMAC_GENERAL);
    for length in [4, 16, 32] {
        let cut = sign(&key, general, &Params::MacLength(length), data, false);
        assert_eq!(cut.as_deref(), Ok(&whole[..length]));
    }
    for length in [0, 3, 33] {
        let refused = sign(&key, general, &Params::MacLength(length), data, false);
        assert_eq!(refused, Err(Error::ParameterInvalid));
    }
    let without = sign(&key, general, &Params::None, data, false);
    assert_eq!(without, Err(Error::ParameterInvalid));
}

#[test]
fn keys_that_make_a_cipher_weak_are_refused() {
    let des3 = |one: u8, two: u8, three: u8| {
        let bytes = [[one; 8], [two; 8], [three; 8]].concat();
        Key::from_secret(ck::CKK_DES3, bytes).map(drop)
    };
    assert_eq!(des3(2, 4, 8), Ok(()));
    assert_eq!(des3(2, 4, 2), Ok(()), "two keys are data of old");
    assert_eq!(des3(2, 2, 8), Err(Error::KeyInvalid));
    assert_eq!(des3(2, 8, 9), Err(Error::KeyInvalid), "8 and 9 differ in parity only");
    let halves = Key::from_secret(ck::CKK_AES_XTS, vec![7; 64]).map(drop);
    assert_eq!(halves, Err(Error::KeyInvalid));
    for (key_type, length) in [(ck::CKK_DES3, 16), (ck::CKK_CHACHA20, 31), (ck::CKK_AES_XTS, 32)] {
        let short = Key::from_secret(key_type, vec![1; length]).map(drop);
        assert_eq!(short, Err(Error::KeySize));
    }
}

#[test]
fn a_generated_des_key_has_odd_parity() {
    let key = generate_secret(ck::CKK_DES3, 24).expect("a key").to_stored();
    assert!(key.as_bytes().iter().all(|byte| byte.count_ones() % 2 == 1));
}

#[test]
fn a_chacha20_counter_never_wraps() {
    let key = Key::from_secret(ck::CKK_CHACHA20, vec![3; 32]).expect("a key");
    let state = [&[0xff; 4][..], &[0; 12]].concat();
    let encrypt = |length| {
        encrypt(&key, named(ck::CKM_CHACHA20), &Params::Iv(&state), &vec![0; length]).map(drop)
    };
    assert_eq!(encrypt(64), Ok(()));
    assert_eq!(encrypt(65), Err(Error::DataLength));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let aes = Key::from_secret(ck::CKK_AES, vec![1; 16]).expect("a key");
    let chacha = Key::from_secret(ck::CKK_CHACHA20, vec![1; 32]).expect("a key");
    let sealed = |key, kind, nonce: usize, tag_bits| {
        let iv = vec![5; nonce];
        let params = Params::Gcm { iv: &iv, aad: b"", tag_bits };
        encrypt(key, named(kind), &params, b"data").map(drop)
    };
    for (nonce, tag_bits) in [(6, 128), (14, 128), (0, 128), (12, 32), (12, 72), (12, 0)] {
        let refused = sealed(&aes, ck::CKM_AES_CCM, nonce, tag_bits);
        assert_eq!(refused, Err(Error::ParameterInvalid), "{nonce} {tag_bits}");
    }
    assert_eq!(sealed(&aes, ck::CKM_AES_CCM, 13, 64), Ok(()));
    for (nonce, tag_bits) in [(8, 128), (13, 128), (12, 96)] {
        let refused = sealed(&chacha, ck::CKM_CHACHA20_POLY1305, nonce, tag_bits);
        assert_eq!(refused, Err(Error::ParameterInvalid));
    }
    assert_eq!(sealed(&aes, ck::CKM_CHACHA20_POLY1305, 12, 128), Err(Error::KeyType));
    // A nonce of 13 bytes leaves two for the data's length.
    let iv = [5; 13];
    let params = Params::Gcm { iv: &iv, aad: b"", tag_bits: 128 };
    let ccm = |length| encrypt(&aes, named(ck::CKM_AES_CCM), &params, &vec![0; length]).map(drop);
    assert_eq!(ccm(65_535), Ok(()));
    assert_eq!(ccm(65_536), Err(Error::DataLength));
    let gmac = |iv: &[u8], aad: &[u8], tag_bits| {
        let params = Params::Gcm { iv, aad, tag_bits };
        sign(&aes, named(ck::CKM_AES_GMAC), &params, b"data", false).map(|tag| tag.len())
    };
    assert_eq!(gmac(&[1; 12], b"", 128), Ok(16));
    assert_eq!(gmac(&[], b"", 128), Err(Error::ParameterInvalid));
    assert_eq!(gmac(&[1; 12], b"more", 128), Err(Error::ParameterInvalid));
    assert_eq!(gmac(&[1; 12], b"", 64), Err(Error::ParameterInvalid));
}

#[test]
fn a_mac_in_parts_is_the_mac_of_the_whole_and_its_state_is_of_use_to_nobody_else() {
    let generic = Key::from_secret(ck::CKK_GENERIC_SECRET, vec![6; 200]).expect("a key");
    let aes = Key::from_secret(ck::CKK_AES, vec![6; 24]).expect("a key");
    let data: Vec<u8> = (0..1000u32).map(|number| (number * 31) as u8).collect();
    for (kind, key) in [
        (ck::CKM_SHA_1_HMAC, &generic),
        (ck::CKM_SHA224_HMAC, &generic),
        (ck::CKM_SHA256_HMAC, &generic),
        (ck::CKM_SHA384_HMAC, &generic),
        (ck::CKM_SHA512_HMAC, &generic),
        (ck::CKM_SHA512_256_HMAC, &generic),
        (ck::CKM_AES_CMAC, &aes),
    ] {
        let mechanism = named(kind);
        for length in [144, 145, 256, 511, 512, 1000] {
            let data = &data[..length];
            let (first, rest) = data.split_at(128);
            let one = mac_update(key, mechanism, &[], first).expect("a state");
            let (state, rest) = match rest.len() {
                300.. => {
                    let (second, rest) = rest.split_at(256);
                    (mac_update(key, mechanism, &one, second).expect("a state"), rest)
                }
                _ => (one, rest),
            };
            let tag = mac_finish(key, mechanism, &Params::None, &state, rest);
            assert_eq!(tag, sign(key, mechanism, &Params::None, data, false), "{length}");
            let tag = tag.expect("a MAC");
            assert_eq!(mac_check(key, mechanism, &Params::None, &state, rest, &tag), Ok(()));
            let other = mac_check(key, mechanism, &Params::None, &state, &rest[1..], &tag);
            assert_ne!(other, Ok(()));
        }
    }
    let (sha256, sha512) = (named(ck::CKM_SHA256_HMAC), named(ck::CKM_SHA512_HMAC));
    let state = mac_update(&generic, sha256, &[], &data[..128]).expect("a state");
    let other = Key::from_secret(ck::CKK_GENERIC_SECRET, vec![7; 200]).expect("a key");
    let refused = |key: &Key, mechanism, state: &[u8]| {
        mac_finish(key, mechanism, &Params::None, state, b"data").map(drop)
    };
    assert_eq!(refused(&generic, sha256, &state), Ok(()));
    assert_eq!(refused(&other, sha256, &state), Err(Error::DataInvalid));
    assert_eq!(refused(&generic, sha512, &state), Err(Error::DataInvalid));
    let mut bent = state.clone();
    bent[20] ^= 1;
    assert_eq!(refused(&generic, sha256, &bent), Err(Error::DataInvalid));
    assert_eq!(refused(&generic, sha256, &state[..5]), Err(Error::DataInvalid));
    let again = mac_update(&generic, sha256, &[], &data[..128]).expect("a state");
    assert_ne!(state, again, "nothing is learnt by comparing");
    for length in [0, 64, 129] {
        let odd = mac_update(&generic, sha256, &state, &data[..length]);
        assert_eq!(odd, Err(Error::DataLength), "{length}");
    }
    for kind in [ck::CKM_SHA3_256_HMAC, ck::CKM_AES_GMAC, ck::CKM_ECDSA, ck::CKM_DES3_CMAC] {
        let without = mac_update(&generic, named(kind), &[], &data[..128]);
        assert_eq!(without, Err(Error::MechanismInvalid));
    }
}
