//! CKM_ECDH1_DERIVE.

use super::*;

/// The DER object identifiers of secp256r1, secp384r1, secp521r1 and secp256k1.
const CURVES: [&str; 4] =
    ["06082a8648ce3d030107", "06052b81040022", "06052b81040023", "06052b8104000a"];

fn pair(
    module: &Module,
    session: CK_SESSION_HANDLE,
    curve: &[u8],
) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let public = [bytes(CKA_EC_PARAMS, curve)];
    let private = [attribute(CKA_DERIVE, &CK_TRUE)];
    module.pair(session, CKM_EC_KEY_PAIR_GEN, &public, &private).expect("a pair")
}

fn ecdh(kdf: CK_EC_KDF_TYPE, shared: &[u8], public: &[u8]) -> CK_ECDH1_DERIVE_PARAMS {
    CK_ECDH1_DERIVE_PARAMS {
        kdf,
        ulSharedDataLen: shared.len() as CK_ULONG,
        pSharedData: shared.as_ptr().cast_mut(),
        ulPublicDataLen: public.len() as CK_ULONG,
        pPublicData: public.as_ptr().cast_mut(),
    }
}

fn derived(
    base: CK_OBJECT_HANDLE,
    mut parameter: CK_ECDH1_DERIVE_PARAMS,
    length: Option<CK_ULONG>,
) -> Result<Vec<u8>, CK_RV> {
    let (module, session) = session();
    let mut template = open_secret();
    if let Some(length) = &length {
        template.push(attribute(CKA_VALUE_LEN, length));
    }
    let mechanism = with_parameter(CKM_ECDH1_DERIVE, &mut parameter);
    let key = module.derive(session, mechanism, base, &template).map_err(|failed| failed.code)?;
    Ok(module.value(session, key, CKA_VALUE).expect("an open key"))
}

/// RFC 5903, 8.1, with the peer's point bare and in its OCTET STRING.
#[test]
fn an_imported_key_agrees_on_the_published_secret() {
    let (module, session) = session();
    let scalar = hex("c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433");
    let curve = hex(CURVES[0]);
    let base = module
        .create(
            session,
            &[
                attribute(CKA_CLASS, &CKO_PRIVATE_KEY),
                attribute(CKA_KEY_TYPE, &CKK_EC),
                bytes(CKA_EC_PARAMS, &curve),
                bytes(CKA_VALUE, &scalar),
                attribute(CKA_DERIVE, &CK_TRUE),
            ],
        )
        .expect("a key");
    let peer = hex("04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63
         56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab");
    let secret = hex("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de");
    let wrapped = [&[0x04, 0x41][..], &peer].concat();
    assert_eq!(derived(base, ecdh(CKD_NULL, &[], &peer), None).as_ref(), Ok(&secret));
    assert_eq!(derived(base, ecdh(CKD_NULL, &[], &wrapped), None).as_ref(), Ok(&secret));
    let last = derived(base, ecdh(CKD_NULL, &[], &peer), Some(16));
    assert_eq!(last, Ok(secret[16..].to_vec()));
}

#[test]
fn both_sides_derive_the_same_key_with_every_function_on_every_curve() {
    let (module, session) = session();
    for curve in CURVES.map(hex) {
        let sides = [pair(module, session, &curve), pair(module, session, &curve)];
        let points =
            sides.map(|(public, _)| module.value(session, public, CKA_EC_POINT).expect("a point"));
        let functions = [
            CKD_NULL,
            CKD_SHA1_KDF,
            CKD_SHA224_KDF,
            CKD_SHA256_KDF,
            CKD_SHA384_KDF,
            CKD_SHA512_KDF,
            CKD_SHA1_KDF_SP800,
            CKD_SHA224_KDF_SP800,
            CKD_SHA256_KDF_SP800,
            CKD_SHA384_KDF_SP800,
            CKD_SHA512_KDF_SP800,
        ];
        for kdf in functions {
            let shared: &[u8] = if kdf == CKD_NULL { b"" } else { b"both sides" };
            let one = derived(sides[0].1, ecdh(kdf, shared, &points[1]), Some(32));
            let two = derived(sides[1].1, ecdh(kdf, shared, &points[0]), Some(32));
            assert_eq!(one.as_ref().map(Vec::len), Ok(32), "{kdf}");
            assert_eq!(one, two);
        }
    }
}

#[test]
fn a_derived_aes_key_encrypts_and_is_no_safer_than_its_base() {
    let (module, session) = session();
    let curve = hex(CURVES[0]);
    let (public, base) = pair(module, session, &curve);
    let point = module.value(session, public, CKA_EC_POINT).expect("a point");
    let mut parameter = ecdh(CKD_SHA256_KDF, &[], &point);
    let length: CK_ULONG = 32;
    let template = [
        attribute(CKA_CLASS, &CKO_SECRET_KEY),
        attribute(CKA_KEY_TYPE, &CKK_AES),
        attribute(CKA_VALUE_LEN, &length),
    ];
    let mechanism = with_parameter(CKM_ECDH1_DERIVE, &mut parameter);
    let key = module.derive(session, mechanism, base, &template).expect("a key");
    let block = module.encrypt_by(session, plain(CKM_AES_ECB), key, &[7; 16]).expect("a block");
    assert_eq!(block.len(), 16);
    let flag = |kind| module.value(session, key, kind).expect("a flag")[0];
    assert_eq!([CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE].map(flag), [0, 1, 1]);
}

#[test]
fn what_cannot_be_agreed_on_is_refused_with_the_standards_code() {
    let (module, session) = session();
    let curve = hex(CURVES[0]);
    let (public, base) = pair(module, session, &curve);
    let point = module.value(session, public, CKA_EC_POINT).expect("a point");
    let invalid = Err(CKR_MECHANISM_PARAM_INVALID);
    let mut off = point.clone();
    off[60] ^= 1;
    let (other, _) = pair(module, session, &hex(CURVES[3]));
    let other = module.value(session, other, CKA_EC_POINT).expect("a point");
    for peer in [&off[..], &other, &[0], &[]] {
        assert_eq!(derived(base, ecdh(CKD_SHA256_KDF, &[], peer), Some(32)), invalid);
    }
    assert_eq!(derived(base, ecdh(CKD_NULL, b"data", &point), Some(32)), invalid);
    assert_eq!(derived(base, ecdh(99, &[], &point), Some(32)), invalid);
    let all = ecdh(CKD_SHA256_KDF, &[], &point);
    assert_eq!(derived(base, all, None), Err(CKR_TEMPLATE_INCOMPLETE));
    // Of a short key all values can be tried.
    assert_eq!(derived(base, ecdh(CKD_NULL, &[], &point), Some(13)), Err(CKR_KEY_SIZE_RANGE));
    assert_eq!(derived(base, ecdh(CKD_NULL, &[], &point), Some(33)), Err(CKR_KEY_SIZE_RANGE));
    assert_eq!(derived(public, all, Some(32)), Err(CKR_KEY_TYPE_INCONSISTENT));
    let (_, forbidden) = module
        .pair(session, CKM_EC_KEY_PAIR_GEN, &[bytes(CKA_EC_PARAMS, &curve)], &[])
        .expect("a pair");
    assert_eq!(derived(forbidden, all, Some(32)), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    let missing = module.derive(session, plain(CKM_ECDH1_DERIVE), base, &open_secret());
    assert_eq!(code(&missing), CKR_MECHANISM_PARAM_INVALID);
}
