//! ML-DSA, ML-KEM, and PKCS#11 3.2's functions for them.

use super::*;

const ML_DSA_SETS: [(CK_ULONG, usize); 3] =
    [(CKP_ML_DSA_44, 2420), (CKP_ML_DSA_65, 3309), (CKP_ML_DSA_87, 4627)];
const ML_KEM_SETS: [(CK_ULONG, usize); 3] =
    [(CKP_ML_KEM_512, 768), (CKP_ML_KEM_768, 1088), (CKP_ML_KEM_1024, 1568)];

fn pair(kind: CK_MECHANISM_TYPE, set: CK_ULONG) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let (module, session) = session();
    let extractable = [attribute(CKA_EXTRACTABLE, &CK_TRUE), attribute(CKA_SENSITIVE, &CK_FALSE)];
    module.pair(session, kind, &[attribute(CKA_PARAMETER_SET, &set)], &extractable).expect("a pair")
}

fn context(hedge: CK_HEDGE_TYPE, context: &[u8]) -> CK_SIGN_ADDITIONAL_CONTEXT {
    CK_SIGN_ADDITIONAL_CONTEXT {
        hedgeVariant: hedge,
        pContext: context.as_ptr().cast_mut(),
        ulContextLen: context.len() as CK_ULONG,
    }
}

#[test]
fn ml_dsa_signs_in_a_context_with_every_parameter_set() {
    let (module, session) = session();
    for (set, length) in ML_DSA_SETS {
        let (public, private) = pair(CKM_ML_DSA_KEY_PAIR_GEN, set);
        for key in [public, private] {
            let told = module.value(session, key, CKA_PARAMETER_SET);
            assert_eq!(told, Ok(set.to_ne_bytes().to_vec()));
        }
        let made =
            module.sign_by(session, plain(CKM_ML_DSA), private, b"data").expect("a signature");
        assert_eq!(made.len(), length);
        module.verify_by(session, plain(CKM_ML_DSA), public, b"data", &made).expect("it verifies");
        let mut parameter = context(CKH_HEDGE_REQUIRED, b"here");
        let in_context = with_parameter(CKM_ML_DSA, &mut parameter);
        let elsewhere = module.verify_by(session, in_context, public, b"data", &made);
        assert_eq!(code(&elsewhere), CKR_SIGNATURE_INVALID);
        let made = module.sign_by(session, in_context, private, b"data").expect("a signature");
        module.verify_by(session, in_context, public, b"data", &made).expect("it verifies");
        // What PKCS#11 3.2 adds: the signature first.
        let functions = module.functions_3_2().expect("3.2");
        for (data, expected) in [(&b"data"[..], CKR_OK), (b"other", CKR_SIGNATURE_INVALID)] {
            let mut mechanism = in_context;
            let (start, count) = (made.as_ptr().cast_mut(), made.len() as CK_ULONG);
            let (data, data_length) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
            // SAFETY: what the arguments point to lives through the calls, with the lengths beside.
            let codes = unsafe {
                [
                    functions.C_VerifySignatureInit.expect("3.2")(
                        session,
                        &mut mechanism,
                        public,
                        start,
                        count,
                    ),
                    functions.C_VerifySignatureUpdate.expect("3.2")(session, data, data_length),
                    functions.C_VerifySignatureFinal.expect("3.2")(session),
                ]
            };
            assert_eq!(codes, [CKR_OK, CKR_OK, expected]);
        }
    }
}

#[test]
fn hash_ml_dsa_signs_the_digest_that_the_library_makes() {
    let (module, session) = session();
    let (public, private) = pair(CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_65);
    let large = vec![7; 3 << 20];
    let made = module
        .sign_by(session, plain(CKM_HASH_ML_DSA_SHA512), private, &large)
        .expect("a signature");
    let verified = module.verify_by(session, plain(CKM_HASH_ML_DSA_SHA512), public, &large, &made);
    verified.expect("it verifies");
    // The same over a digest made elsewhere.
    let mut mechanism = plain(CKM_SHA512);
    let mut digest = [0; 64];
    let mut length = 64;
    // SAFETY: the list is the module's, and everything lives through the calls.
    let codes = unsafe {
        let functions = &*module.functions();
        [
            functions.C_DigestInit.expect("a function")(session, &mut mechanism),
            functions.C_Digest.expect("a function")(
                session,
                large.as_ptr().cast_mut(),
                large.len() as CK_ULONG,
                digest.as_mut_ptr(),
                &mut length,
            ),
        ]
    };
    assert_eq!(codes, [CKR_OK; 2]);
    let mut parameter = CK_HASH_SIGN_ADDITIONAL_CONTEXT { hash: CKM_SHA512, ..Default::default() };
    let open = with_parameter(CKM_HASH_ML_DSA, &mut parameter);
    module.verify_by(session, open, public, &digest, &made).expect("it verifies");
    let missing = module.sign_by(session, plain(CKM_HASH_ML_DSA), private, &digest);
    assert_eq!(code(&missing), CKR_MECHANISM_PARAM_INVALID);
}

#[test]
fn ml_dsa_refuses_what_it_cannot_do() {
    let (module, session) = session();
    let (public, private) = pair(CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_44);
    let long = [0; 256];
    for mut parameter in
        [context(CKH_DETERMINISTIC_REQUIRED, b""), context(0, &long), context(9, b"")]
    {
        let mechanism = with_parameter(CKM_ML_DSA, &mut parameter);
        let refused = module.sign_by(session, mechanism, private, b"data");
        assert_eq!(code(&refused), CKR_MECHANISM_PARAM_INVALID);
    }
    let short = module.verify_by(session, plain(CKM_ML_DSA), public, b"data", &[0; 2419]);
    assert_eq!(code(&short), CKR_SIGNATURE_LEN_RANGE);
    let set: CK_ULONG = 4;
    let unknown = [attribute(CKA_PARAMETER_SET, &set)];
    let refused = module.pair(session, CKM_ML_DSA_KEY_PAIR_GEN, &unknown, &[]);
    assert_eq!(code(&refused), CKR_PARAMETER_SET_NOT_SUPPORTED);
    let refused = module.pair(session, CKM_ML_DSA_KEY_PAIR_GEN, &[], &[]);
    assert_eq!(code(&refused), CKR_TEMPLATE_INCOMPLETE);
    let wrong = module.encapsulate(session, CKM_ML_KEM, public, &open_secret());
    assert_eq!(code(&wrong), CKR_KEY_TYPE_INCONSISTENT);
}

/// With AWS's numbers, and the parameter set in both templates, as its samples have it.
#[test]
fn cloudhsms_names_make_the_same_keys_and_signatures() {
    const V: CK_ULONG = CKM_VENDOR_DEFINED;
    let (module, session) = session();
    let set = CKP_ML_DSA_65;
    let template = [attribute(V | CKA_PARAMETER_SET, &set)];
    let (public, private) =
        module.pair(session, V | CKM_ML_DSA_KEY_PAIR_GEN, &template, &template).expect("a pair");
    let told = module.value(session, private, V | CKA_PARAMETER_SET);
    assert_eq!(told, Ok(set.to_ne_bytes().to_vec()));
    let made =
        module.sign_by(session, plain(V | CKM_ML_DSA), private, b"data").expect("a signature");
    module.verify_by(session, plain(CKM_ML_DSA), public, b"data", &made).expect("it verifies");
    let mu = plain(V | 0x1e);
    let made = module.sign_by(session, mu, private, &[5; 64]).expect("a signature");
    module.verify_by(session, mu, public, &[5; 64], &made).expect("it verifies");
    let short = module.sign_by(session, mu, private, &[5; 63]);
    assert_eq!(code(&short), CKR_DATA_LEN_RANGE);
}

#[test]
fn ml_kem_gives_both_sides_the_same_key() {
    let (module, session) = session();
    for (set, length) in ML_KEM_SETS {
        let (public, private) = pair(CKM_ML_KEM_KEY_PAIR_GEN, set);
        let (here, mut ciphertext) =
            module.encapsulate(session, CKM_ML_KEM, public, &open_secret()).expect("a key");
        assert_eq!(ciphertext.len(), length);
        let there = module
            .decapsulate(session, CKM_ML_KEM, private, &ciphertext, &open_secret())
            .expect("a key");
        let value = |key| module.value(session, key, CKA_VALUE).expect("an open key");
        assert_eq!(value(here).len(), 32);
        assert_eq!(value(here), value(there));
        let flags = [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE];
        for flag in flags {
            assert_eq!(module.value(session, there, flag), Ok(vec![CK_FALSE]));
        }
        // Another ciphertext gives another key and no error.
        ciphertext[3] ^= 1;
        let other = module
            .decapsulate(session, CKM_ML_KEM, private, &ciphertext, &open_secret())
            .expect("a key");
        assert_ne!(value(other), value(here));
        let short =
            module.decapsulate(session, CKM_ML_KEM, private, &ciphertext[1..], &open_secret());
        assert_eq!(code(&short), CKR_WRAPPED_KEY_LEN_RANGE);
    }
    // A shorter key is the first bytes of the whole one.
    let (public, private) = pair(CKM_ML_KEM_KEY_PAIR_GEN, CKP_ML_KEM_768);
    for (length, expected) in [(16, CKR_OK), (13, CKR_KEY_SIZE_RANGE), (33, CKR_KEY_SIZE_RANGE)] {
        let length: CK_ULONG = length;
        let mut template = open_secret();
        template.push(attribute(CKA_VALUE_LEN, &length));
        let made = module.encapsulate(session, CKM_ML_KEM, public, &template);
        assert_eq!(code(&made), expected);
        let Ok((key, ciphertext)) = made else { continue };
        let whole = module
            .decapsulate(session, CKM_ML_KEM, private, &ciphertext, &open_secret())
            .expect("a key");
        let [short, whole] =
            [key, whole].map(|key| module.value(session, key, CKA_VALUE).expect("an open key"));
        assert_eq!(short, whole[..16]);
    }
}

#[test]
fn post_quantum_keys_are_imported_by_their_seed_and_wrapped_as_pkcs8() {
    let (module, session) = session();
    for (kind, key_type, set) in [
        (CKM_ML_DSA_KEY_PAIR_GEN, CKK_ML_DSA, CKP_ML_DSA_44),
        (CKM_ML_KEM_KEY_PAIR_GEN, CKK_ML_KEM, CKP_ML_KEM_768),
    ] {
        let (public, private) = pair(kind, set);
        let [seed, expanded] =
            [CKA_SEED, CKA_VALUE].map(|kind| module.value(session, private, kind).expect("open"));
        let public_value = module.value(session, public, CKA_VALUE).expect("a public key");
        let common = [attribute(CKA_KEY_TYPE, &key_type), attribute(CKA_PARAMETER_SET, &set)];
        let create = |class: &CK_OBJECT_CLASS, more: &[CK_ATTRIBUTE]| {
            module.create(session, &[&common[..], &[attribute(CKA_CLASS, class)], more].concat())
        };
        let both = [bytes(CKA_SEED, &seed), bytes(CKA_VALUE, &expanded)];
        let again = create(&CKO_PRIVATE_KEY, &both).expect("a key");
        let info = |key| module.value(session, key, CKA_PUBLIC_KEY_INFO).expect("a public key");
        assert_eq!(info(again), info(public));
        let copy = create(&CKO_PUBLIC_KEY, &[bytes(CKA_VALUE, &public_value)]).expect("a key");
        assert_eq!(info(copy), info(public));
        let alone = create(&CKO_PRIVATE_KEY, &[bytes(CKA_VALUE, &expanded)]);
        assert_eq!(code(&alone), CKR_TEMPLATE_INCOMPLETE);
        let mut bent = expanded.clone();
        bent[9] ^= 1;
        let bent = create(&CKO_PRIVATE_KEY, &[bytes(CKA_SEED, &seed), bytes(CKA_VALUE, &bent)]);
        assert_eq!(code(&bent), CKR_TEMPLATE_INCONSISTENT);
        let short = create(&CKO_PUBLIC_KEY, &[bytes(CKA_VALUE, &public_value[1..])]);
        assert_eq!(code(&short), CKR_ATTRIBUTE_VALUE_INVALID);

        let wrapping = module.aes_key(session, false).expect("an AES key");
        let wrap = plain(CKM_AES_KEY_WRAP_KWP);
        let wrapped = module.wrap(session, wrap, wrapping, private).expect("wrapped");
        let template = [attribute(CKA_CLASS, &CKO_PRIVATE_KEY), attribute(CKA_KEY_TYPE, &key_type)];
        let unwrapped =
            module.unwrap(session, wrap, wrapping, &wrapped, &template).expect("unwrapped");
        assert_eq!(info(unwrapped), info(public));
        // Unwrapped it is sensitive by default.
        assert_eq!(code(&module.value(session, unwrapped, CKA_SEED)), CKR_ATTRIBUTE_SENSITIVE);
    }
}
