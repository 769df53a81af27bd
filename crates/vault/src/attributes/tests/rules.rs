//! The rules that AWS's guide and PKCS#11 have for templates, one by one.

use cryptoki_sys::*;

use super::*;
use crate::testing::{aes, aes_with, ckr};
use crate::{Flags, Meta};

#[test]
fn the_defaults_are_the_personalities() {
    // CloudHSM's guide: sign and verify true for generated AES keys, other uses false.
    let cloudhsm = aes(Personality::CloudHsm).flags;
    let uses = Flags::ENCRYPT | Flags::DECRYPT | Flags::WRAP | Flags::UNWRAP | Flags::DERIVE;
    assert!(cloudhsm.contains(Flags::SIGN | Flags::VERIFY | Flags::SENSITIVE));
    assert!(cloudhsm.contains(Flags::EXTRACTABLE | Flags::PRIVATE | Flags::DESTROYABLE));
    assert_eq!(cloudhsm.0 & uses.0, 0);
    // SoftHSM2: all uses but CKA_DERIVE, and not extractable.
    let token = aes(Personality::Token).flags;
    assert_eq!(token.0 & uses.0, uses.0 & !Flags::DERIVE.0);
    assert!(token.contains(Flags::SENSITIVE | Flags::PRIVATE | Flags::NEVER_EXTRACTABLE));
    assert!(!token.contains(Flags::EXTRACTABLE));
    let public = |personality| {
        let public = [number(CKA_MODULUS_BITS, 2048)];
        let (public, _) = pair(personality, CKK_RSA, &public, &[]).expect("an RSA pair");
        assert_eq!(public.given(CKA_PUBLIC_EXPONENT), Some(&[1, 0, 1][..]));
        public.meta.flags
    };
    assert!(public(Personality::CloudHsm).contains(Flags::PRIVATE));
    assert!(!public(Personality::Token).contains(Flags::PRIVATE));
}

#[test]
fn templates_are_refused_with_the_code_for_their_fault() {
    let length = number(CKA_VALUE_LEN, 32);
    let cases = [
        (vec![], CKR_TEMPLATE_INCOMPLETE),
        (vec![length.clone(), bytes(0x8000_1234)], CKR_ATTRIBUTE_TYPE_INVALID),
        (vec![length.clone(), yes(CKA_LOCAL)], CKR_ATTRIBUTE_READ_ONLY),
        (vec![length.clone(), bytes(CKA_CHECK_VALUE)], CKR_ATTRIBUTE_READ_ONLY),
        (vec![length.clone(), bytes(CKA_TOKEN)], CKR_ATTRIBUTE_VALUE_INVALID),
        (vec![length.clone(), Attribute::new(CKA_TOKEN, [2])], CKR_ATTRIBUTE_VALUE_INVALID),
        (vec![Attribute::new(CKA_VALUE_LEN, [32])], CKR_ATTRIBUTE_VALUE_INVALID),
        (vec![length.clone(), bytes(CKA_START_DATE)], CKR_ATTRIBUTE_VALUE_INVALID),
        (vec![length.clone(), bytes(CKA_ALLOWED_MECHANISMS)], CKR_ATTRIBUTE_VALUE_INVALID),
        (vec![length.clone(), bytes(CKA_WRAP_TEMPLATE)], CKR_ATTRIBUTE_VALUE_INVALID),
        (vec![length.clone(), bytes(CKA_MODULUS)], CKR_TEMPLATE_INCONSISTENT),
        (vec![length.clone(), bytes(CKA_VALUE)], CKR_TEMPLATE_INCONSISTENT),
        (vec![length.clone(), number(CKA_VALUE_LEN, 16)], CKR_TEMPLATE_INCONSISTENT),
        (vec![length.clone(), number(CKA_KEY_TYPE, CKK_DES3)], CKR_TEMPLATE_INCONSISTENT),
        (vec![length.clone(), number(CKA_CLASS, CKO_DATA)], CKR_TEMPLATE_INCONSISTENT),
        (vec![length.clone(); 129], CKR_TEMPLATE_INCONSISTENT),
        (
            vec![length.clone(), Attribute::new(CKA_LABEL, vec![b'x'; 1025])],
            CKR_ATTRIBUTE_VALUE_INVALID,
        ),
    ];
    for personality in BOTH {
        for (template, expected) in &cases {
            let code = ckr(generate(personality, CKK_AES, template));
            assert_eq!(code, *expected, "{template:?}");
        }
        // The same value twice is no contradiction, and a boolean that is false anyway no fault.
        let twice = [length.clone(), length.clone(), no(CKA_ALWAYS_AUTHENTICATE)];
        assert!(generate(personality, CKK_AES, &twice).is_ok());
    }
}

#[test]
fn cloudhsms_security_rules_are_copied() {
    let (cloudhsm, modulus) = (Personality::CloudHsm, number(CKA_MODULUS_BITS, 2048));
    let private =
        |attribute| ckr(pair(cloudhsm, CKK_RSA, std::slice::from_ref(&modulus), &[attribute]));
    assert_eq!(private(no(CKA_SENSITIVE)), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(private(no(CKA_PRIVATE)), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(private(yes(CKA_ENCRYPT)), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(private(yes(CKA_TRUSTED)), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(private(yes(CKA_ALWAYS_SENSITIVE)), CKR_ATTRIBUTE_READ_ONLY);
    // CloudHSM's known issues: the public key's attributes in the private template.
    assert_eq!(private(modulus.clone()), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(private(bytes(CKA_PUBLIC_EXPONENT)), CKR_TEMPLATE_INCONSISTENT);
    let public = |attribute| ckr(pair(cloudhsm, CKK_RSA, &[modulus.clone(), attribute], &[]));
    assert_eq!(public(yes(CKA_SIGN)), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(public(yes(CKA_SENSITIVE)), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(ckr(pair(cloudhsm, CKK_EC, &[], &[])), CKR_TEMPLATE_INCOMPLETE);
    let derived = |attribute| {
        let base = [number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, CKK_AES)];
        let template = [&base[..], &[number(CKA_VALUE_LEN, 32), attribute]].concat();
        ckr(draft(Origin::Derive, cloudhsm, None, None, None, &template))
    };
    assert_eq!(derived(no(CKA_SENSITIVE)), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(derived(yes(CKA_SENSITIVE)), CKR_OK);
}

#[test]
fn only_readable_key_material_is_read_or_searched() {
    for personality in BOTH {
        for (sensitive, extractable) in [(true, true), (true, false), (false, false)] {
            let meta = aes_with(
                personality,
                &[(CKA_SENSITIVE, sensitive), (CKA_EXTRACTABLE, extractable)],
            );
            assert_eq!(read(&meta, CKA_VALUE), Reading::Sensitive);
            assert_eq!(matches(&meta, &bytes(CKA_VALUE)), Some(false));
        }
        let open = aes_with(personality, &[(CKA_SENSITIVE, false), (CKA_EXTRACTABLE, true)]);
        assert_eq!(read(&open, CKA_VALUE), Reading::Body);
        assert_eq!(matches(&open, &bytes(CKA_VALUE)), None);
        assert_eq!(read(&open, CKA_MODULUS), Reading::Invalid);
        assert_eq!(read(&open, 0x8000_1234), Reading::Invalid);
        assert_eq!(matches(&open, &bytes(0x8000_1234)), Some(false));
    }
}

#[test]
fn attributes_read_as_pkcs11_has_them() {
    let mut meta = aes(Personality::CloudHsm);
    meta.size_bits = 256;
    let value = |kind| read(&meta, kind);
    assert_eq!(value(CKA_CLASS), Reading::Value(CKO_SECRET_KEY.to_le_bytes().to_vec()));
    assert_eq!(value(CKA_KEY_TYPE), Reading::Value(CKK_AES.to_le_bytes().to_vec()));
    assert_eq!(value(CKA_VALUE_LEN), Reading::Value(32_u64.to_le_bytes().to_vec()));
    assert_eq!(value(CKA_TOKEN), Reading::Value(vec![1]));
    assert_eq!(value(CKA_START_DATE), Reading::Value(Vec::new()));
    assert_eq!(value(CKA_CERTIFICATE_TYPE), Reading::Invalid);
    let made_by = Reading::Value(CKM_AES_KEY_GEN.to_le_bytes().to_vec());
    assert_eq!(value(CKA_KEY_GEN_MECHANISM), made_by);
    let imported = Meta { generated_by: None, ..meta.clone() };
    let unavailable = Reading::Value(CK_UNAVAILABLE_INFORMATION.to_le_bytes().to_vec());
    assert_eq!(read(&imported, CKA_KEY_GEN_MECHANISM), unavailable);
}

#[test]
fn allowed_mechanisms_are_all_or_those_named() {
    let mut meta = aes(Personality::Token);
    assert!(allows_mechanism(&meta, CKM_AES_GCM));
    meta.more.insert(CKA_ALLOWED_MECHANISMS, CKM_AES_CBC.to_le_bytes().to_vec());
    assert!(allows_mechanism(&meta, CKM_AES_CBC));
    assert!(!allows_mechanism(&meta, CKM_AES_GCM));
}

#[test]
fn attributes_change_in_their_direction_only() {
    let one_way = [
        (CKA_SENSITIVE, true),
        (CKA_WRAP_WITH_TRUSTED, true),
        (CKA_EXTRACTABLE, false),
        (CKA_COPYABLE, false),
        (CKA_DESTROYABLE, false),
    ];
    for personality in BOTH {
        for (kind, end) in one_way {
            let start = aes_with(personality, &[(kind, !end)]);
            let changed = change(&start, personality, &owner(), &[Attribute::boolean(kind, end)]);
            let changed = changed.expect("the allowed direction");
            let back = change(&changed, personality, &owner(), &[Attribute::boolean(kind, !end)]);
            assert_eq!(ckr(back), CKR_ATTRIBUTE_READ_ONLY, "{kind:#x}");
        }
        let key = aes(personality);
        let fixed = [
            no(CKA_TOKEN),
            no(CKA_PRIVATE),
            no(CKA_LOCAL),
            number(CKA_CLASS, CKO_DATA),
            number(CKA_VALUE_LEN, 16),
            bytes(CKA_VALUE),
            yes(CKA_TRUSTED),
        ];
        for attribute in fixed {
            let result = change(&key, personality, &owner(), std::slice::from_ref(&attribute));
            assert_eq!(ckr(result), CKR_ATTRIBUTE_READ_ONLY, "{attribute:?}");
        }
        for attribute in [bytes(CKA_MODULUS), bytes(0x8000_1234), yes(CKA_SIGN_RECOVER)] {
            let result = change(&key, personality, &owner(), &[attribute]);
            assert_eq!(ckr(result), CKR_ATTRIBUTE_TYPE_INVALID);
        }
        let contradiction = [Attribute::new(CKA_LABEL, *b"a"), Attribute::new(CKA_LABEL, *b"b")];
        let result = change(&key, personality, &owner(), &contradiction);
        assert_eq!(ckr(result), CKR_TEMPLATE_INCONSISTENT);
    }
}

#[test]
fn what_is_not_modifiable_changes_no_more_but_may_be_trusted() {
    for personality in BOTH {
        let key = aes_with(personality, &[(CKA_MODIFIABLE, false)]);
        let renamed = change(&key, personality, &owner(), &[bytes(CKA_LABEL)]);
        assert_eq!(ckr(renamed), CKR_ACTION_PROHIBITED);
        assert!(change(&key, personality, &admin(), &[yes(CKA_TRUSTED)]).is_ok());
        // To set what is there already changes nothing.
        assert!(change(&key, personality, &owner(), &[no(CKA_MODIFIABLE)]).is_ok());
    }
}

#[test]
fn a_copy_is_never_freer_than_the_object() {
    for personality in BOTH {
        let key = aes(personality);
        let public = copy(&key, personality, &owner(), &[no(CKA_PRIVATE)]);
        assert_eq!(ckr(public), CKR_TEMPLATE_INCONSISTENT);
        let open = copy(&key, personality, &owner(), &[no(CKA_SENSITIVE)]);
        assert_eq!(ckr(open), CKR_ATTRIBUTE_READ_ONLY);
        let both = copy(&key, personality, &owner(), &[yes(CKA_TOKEN), no(CKA_TOKEN)]);
        assert_eq!(ckr(both), CKR_TEMPLATE_INCONSISTENT);
        let fixed = aes_with(personality, &[(CKA_MODIFIABLE, false)]);
        let copied = copy(&fixed, personality, &owner(), &[bytes(CKA_LABEL)]).expect("a copy");
        assert!(!copied.flags.contains(Flags::MODIFIABLE));
        let modifiable = copy(&fixed, personality, &owner(), &[yes(CKA_MODIFIABLE)]);
        assert_eq!(ckr(modifiable), CKR_ATTRIBUTE_READ_ONLY);
        let single = aes_with(personality, &[(CKA_COPYABLE, false)]);
        assert_eq!(ckr(copy(&single, personality, &owner(), &[])), CKR_ACTION_PROHIBITED);
        let mut trusted = key.clone();
        trusted.flags.set(Flags::TRUSTED, true);
        assert_eq!(ckr(copy(&trusted, personality, &owner(), &[])), CKR_ACTION_PROHIBITED);
    }
}

#[test]
fn templates_within_templates_are_checked_and_merged() {
    let template = vec![yes(CKA_TOKEN), number(CKA_KEY_TYPE, CKK_AES)];
    let value = encode_template(&template);
    assert_eq!(decode_template(&value), Ok(template.clone()));
    assert_eq!(decode_template(&[]), Ok(Vec::new()));
    let nested = encode_template(&[Attribute::new(CKA_WRAP_TEMPLATE, value)]);
    let secret = encode_template(&[bytes(CKA_VALUE)]);
    let twice = encode_template(&[yes(CKA_TOKEN), yes(CKA_TOKEN)]);
    let many = encode_template(&vec![yes(CKA_TOKEN); 33]);
    for value in [nested, secret, twice, many] {
        assert_eq!(ckr(decode_template(&value)), CKR_ATTRIBUTE_VALUE_INVALID);
    }
    let merged = merge(&[yes(CKA_TOKEN)], &template).expect("no contradiction");
    assert_eq!(merged, template);
    assert_eq!(ckr(merge(&[no(CKA_TOKEN)], &template)), CKR_TEMPLATE_INCONSISTENT);
}
