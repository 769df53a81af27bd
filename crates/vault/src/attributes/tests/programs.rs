//! Templates as real programs send them: recorded with pkcs11-spy from pkcs11-tool 0.23, p11tool and
//! the JDK's keytool over SoftHSM2. Both personalities let them through.

use cryptoki_sys::*;

use super::*;
use crate::Flags;

#[test]
fn pkcs11_tool_generates_pairs() {
    let [label, id] = named();
    for personality in BOTH {
        let rsa_public = [
            number(CKA_CLASS, CKO_PUBLIC_KEY),
            yes(CKA_TOKEN),
            number(CKA_MODULUS_BITS, 2048),
            Attribute::new(CKA_PUBLIC_EXPONENT, [1, 0, 1]),
            yes(CKA_VERIFY),
            yes(CKA_ENCRYPT),
            number(CKA_KEY_TYPE, CKK_RSA),
            label.clone(),
            id.clone(),
            no(CKA_PRIVATE),
        ];
        let rsa_private = [
            number(CKA_CLASS, CKO_PRIVATE_KEY),
            yes(CKA_TOKEN),
            yes(CKA_PRIVATE),
            yes(CKA_SENSITIVE),
            yes(CKA_SIGN),
            yes(CKA_DECRYPT),
            number(CKA_KEY_TYPE, CKK_RSA),
            label.clone(),
            id.clone(),
        ];
        let (public, private) =
            pair(personality, CKK_RSA, &rsa_public, &rsa_private).expect("an RSA pair");
        assert!(!public.meta.flags.contains(Flags::PRIVATE));
        assert_eq!(public.given_number(CKA_MODULUS_BITS), Some(2048));
        assert!(private.meta.flags.contains(Flags::SIGN | Flags::DECRYPT | Flags::SENSITIVE));
        assert!(private.meta.flags.contains(Flags::LOCAL | Flags::ALWAYS_SENSITIVE));
        assert_eq!(private.meta.label, b"name");

        let ec_public = [
            yes(CKA_TOKEN),
            yes(CKA_VERIFY),
            yes(CKA_DERIVE),
            bytes(CKA_EC_PARAMS),
            no(CKA_PRIVATE),
        ];
        let ec_private =
            [yes(CKA_TOKEN), yes(CKA_PRIVATE), yes(CKA_SENSITIVE), yes(CKA_SIGN), yes(CKA_DERIVE)];
        pair(personality, CKK_EC, &ec_public, &ec_private).expect("an EC pair");
    }
}

#[test]
fn pkcs11_tool_generates_secret_keys_that_stay_private_in_cloudhsm() {
    let [label, id] = named();
    for (personality, key_type) in
        BOTH.into_iter().flat_map(|both| [(both, CKK_AES), (both, CKK_GENERIC_SECRET)])
    {
        let template = [
            number(CKA_CLASS, CKO_SECRET_KEY),
            yes(CKA_TOKEN),
            number(CKA_KEY_TYPE, key_type),
            no(CKA_SENSITIVE),
            no(CKA_EXTRACTABLE),
            no(CKA_PRIVATE),
            yes(CKA_ENCRYPT),
            yes(CKA_DECRYPT),
            number(CKA_VALUE_LEN, 32),
            label.clone(),
            id.clone(),
        ];
        let draft = generate(personality, key_type, &template).expect("a secret key");
        let private = draft.meta.flags.contains(Flags::PRIVATE);
        assert_eq!(private, personality == Personality::CloudHsm);
        assert!(draft.meta.flags.contains(Flags::ENCRYPT | Flags::NEVER_EXTRACTABLE));
        assert!(!draft.meta.flags.contains(Flags::SENSITIVE));
        assert_eq!(draft.given_number(CKA_VALUE_LEN), Some(32));
    }
}

#[test]
fn pkcs11_tool_writes_keys_certificates_and_data() {
    let [label, id] = named();
    let key = |class, key_type, private| {
        vec![
            number(CKA_CLASS, class),
            yes(CKA_TOKEN),
            Attribute::boolean(CKA_PRIVATE, private),
            label.clone(),
            id.clone(),
            number(CKA_KEY_TYPE, key_type),
        ]
    };
    let with = |mut template: Vec<Attribute>, more: &[Attribute]| {
        template.extend_from_slice(more);
        template
    };
    let rsa = [
        yes(CKA_SENSITIVE),
        bytes(CKA_MODULUS),
        bytes(CKA_PUBLIC_EXPONENT),
        bytes(CKA_PRIVATE_EXPONENT),
        bytes(CKA_PRIME_1),
        bytes(CKA_PRIME_2),
        bytes(CKA_EXPONENT_1),
        bytes(CKA_EXPONENT_2),
        bytes(CKA_COEFFICIENT),
    ];
    let ec = [yes(CKA_SENSITIVE), bytes(CKA_EC_PARAMS), bytes(CKA_VALUE)];
    let secret = [
        bytes(CKA_VALUE),
        no(CKA_SENSITIVE),
        no(CKA_EXTRACTABLE),
        yes(CKA_ENCRYPT),
        yes(CKA_DECRYPT),
    ];
    let certificate = [
        yes(CKA_TOKEN),
        bytes(CKA_VALUE),
        number(CKA_CLASS, CKO_CERTIFICATE),
        number(CKA_CERTIFICATE_TYPE, CKC_X_509),
        no(CKA_PRIVATE),
        label.clone(),
        id.clone(),
        bytes(CKA_SUBJECT),
        bytes(CKA_ISSUER),
        bytes(CKA_SERIAL_NUMBER),
    ];
    let data = [
        number(CKA_CLASS, CKO_DATA),
        yes(CKA_TOKEN),
        bytes(CKA_VALUE),
        no(CKA_PRIVATE),
        bytes(CKA_APPLICATION),
        label.clone(),
    ];
    for personality in BOTH {
        let created = |template: &[Attribute]| create(personality, template).expect("an object");
        let private = created(&with(key(CKO_PRIVATE_KEY, CKK_RSA, true), &rsa));
        assert_eq!(private.given.len(), 8);
        assert!(!private.meta.flags.contains(Flags::LOCAL));
        assert!(!private.meta.flags.contains(Flags::ALWAYS_SENSITIVE));
        created(&with(key(CKO_PRIVATE_KEY, CKK_EC, true), &ec));
        created(&with(key(CKO_PUBLIC_KEY, CKK_RSA, false), &rsa[1..3]));
        let point = [bytes(CKA_EC_PARAMS), bytes(CKA_EC_POINT)];
        created(&with(key(CKO_PUBLIC_KEY, CKK_EC, false), &point));
        created(&with(key(CKO_SECRET_KEY, CKK_AES, false), &secret));
        let certificate = created(&certificate);
        assert_eq!(certificate.meta.key_type, Some(CKC_X_509));
        assert_eq!(read(&certificate.meta, CKA_SUBJECT), Reading::Value(vec![1, 2, 3]));
        assert_eq!(read(&certificate.meta, CKA_VALUE), Reading::Body);
        assert_eq!(read(&created(&data).meta, CKA_VALUE), Reading::Body);
    }
}

#[test]
fn p11tool_generates_pairs_without_naming_their_class() {
    let [label, id] = named();
    for personality in BOTH {
        let public = [
            yes(CKA_TOKEN),
            no(CKA_PRIVATE),
            id.clone(),
            yes(CKA_ENCRYPT),
            yes(CKA_VERIFY),
            number(CKA_MODULUS_BITS, 2048),
            Attribute::new(CKA_PUBLIC_EXPONENT, [1, 0, 1]),
            label.clone(),
        ];
        let private = [
            id.clone(),
            yes(CKA_DECRYPT),
            yes(CKA_SIGN),
            yes(CKA_PRIVATE),
            yes(CKA_TOKEN),
            label.clone(),
            yes(CKA_SENSITIVE),
        ];
        pair(personality, CKK_RSA, &public, &private).expect("an RSA pair");
    }
}

#[test]
fn the_jdk_generates_with_empty_templates_and_imports() {
    for personality in BOTH {
        let (_, private) =
            pair(personality, CKK_EC, &[bytes(CKA_EC_PARAMS)], &[]).expect("an EC pair");
        assert!(!private.meta.flags.contains(Flags::TOKEN));
        // keytool then copies the session key into the token.
        let moved = [yes(CKA_TOKEN), Attribute::new(CKA_ID, *b"jec")];
        let copied = copy(&private.meta, personality, &owner(), &moved).expect("a copy");
        assert!(copied.flags.contains(Flags::TOKEN | Flags::LOCAL | Flags::SENSITIVE));
        let secret = [
            number(CKA_CLASS, CKO_SECRET_KEY),
            number(CKA_KEY_TYPE, CKK_AES),
            bytes(CKA_VALUE),
            yes(CKA_TOKEN),
            yes(CKA_PRIVATE),
        ];
        create(personality, &secret).expect("a secret key");
    }
}
