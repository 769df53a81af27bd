//! Templates: every attribute twice, of a wrong size, and where it has no place; what is unknown, what
//! is missing, what contradicts itself.

use super::*;
use strongroom_tests::{attribute, bytes, code, plain};

/// What an attribute's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Boolean,
    Number,
    Bytes,
    Date,
}

use Form::{Boolean, Bytes, Date, Number};

/// Every attribute of a key.
const ATTRIBUTES: &[(CK_ATTRIBUTE_TYPE, Form)] = &[
    (CKA_CLASS, Number),
    (CKA_TOKEN, Boolean),
    (CKA_PRIVATE, Boolean),
    (CKA_LABEL, Bytes),
    (CKA_VALUE, Bytes),
    (CKA_TRUSTED, Boolean),
    (CKA_CHECK_VALUE, Bytes),
    (CKA_KEY_TYPE, Number),
    (CKA_SUBJECT, Bytes),
    (CKA_ID, Bytes),
    (CKA_SENSITIVE, Boolean),
    (CKA_ENCRYPT, Boolean),
    (CKA_DECRYPT, Boolean),
    (CKA_WRAP, Boolean),
    (CKA_UNWRAP, Boolean),
    (CKA_SIGN, Boolean),
    (CKA_SIGN_RECOVER, Boolean),
    (CKA_VERIFY, Boolean),
    (CKA_VERIFY_RECOVER, Boolean),
    (CKA_DERIVE, Boolean),
    (CKA_START_DATE, Date),
    (CKA_END_DATE, Date),
    (CKA_MODULUS, Bytes),
    (CKA_MODULUS_BITS, Number),
    (CKA_PUBLIC_EXPONENT, Bytes),
    (CKA_PRIVATE_EXPONENT, Bytes),
    (CKA_PRIME_1, Bytes),
    (CKA_VALUE_LEN, Number),
    (CKA_EXTRACTABLE, Boolean),
    (CKA_LOCAL, Boolean),
    (CKA_NEVER_EXTRACTABLE, Boolean),
    (CKA_ALWAYS_SENSITIVE, Boolean),
    (CKA_KEY_GEN_MECHANISM, Number),
    (CKA_MODIFIABLE, Boolean),
    (CKA_COPYABLE, Boolean),
    (CKA_DESTROYABLE, Boolean),
    (CKA_EC_PARAMS, Bytes),
    (CKA_EC_POINT, Bytes),
    (CKA_ALWAYS_AUTHENTICATE, Boolean),
    (CKA_WRAP_WITH_TRUSTED, Boolean),
    (CKA_PARAMETER_SET, Number),
];

/// Lengths that a value of this form can't have, in bytes.
fn wrong_lengths(form: Form) -> &'static [usize] {
    match form {
        Boolean => &[0, 2, 8],
        Number => &[0, 1, 4, 7, 9],
        Date => &[1, 7, 9],
        Bytes => &[],
    }
}

/// A call with a template, and its code.
type Give<'a> = Box<dyn Fn(&[CK_ATTRIBUTE]) -> CK_RV + 'a>;

/// What a template is given to: the functions that make or change objects.
struct Maker<'a> {
    name: &'static str,
    /// What is there besides the attribute that is tried.
    base: Vec<CK_ATTRIBUTE>,
    give: Give<'a>,
}

const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
static LENGTH: CK_ULONG = 16;
static OTHER: CK_ULONG = 31;

fn makers(module: &Module, session: CK_SESSION_HANDLE) -> Vec<Maker<'_>> {
    let key = module
        .generate(
            session,
            plain(CKM_AES_KEY_GEN),
            &[attribute(CKA_VALUE_LEN, &LENGTH), attribute(CKA_EXTRACTABLE, &CK_TRUE)],
        )
        .expect("a key");
    let wrapped = module.wrap(session, plain(CKM_AES_KEY_WRAP), key, key).expect("a wrapped key");
    let secret = || vec![attribute(CKA_CLASS, &CKO_SECRET_KEY), attribute(CKA_KEY_TYPE, &CKK_AES)];
    let pair = [bytes(CKA_EC_PARAMS, &P256)];
    vec![
        Maker {
            name: "C_CreateObject",
            base: [secret(), vec![bytes(CKA_VALUE, &[7; 16])]].concat(),
            give: Box::new(move |given| code(&module.create(session, given))),
        },
        Maker {
            name: "C_GenerateKey",
            base: vec![attribute(CKA_VALUE_LEN, &LENGTH)],
            give: Box::new(move |given| {
                code(&module.generate(session, plain(CKM_AES_KEY_GEN), given))
            }),
        },
        Maker {
            name: "C_GenerateKeyPair, public",
            base: pair.to_vec(),
            give: Box::new(move |given| {
                code(&module.pair(session, CKM_EC_KEY_PAIR_GEN, given, &[]))
            }),
        },
        Maker {
            name: "C_GenerateKeyPair, private",
            base: Vec::new(),
            give: Box::new(move |given| {
                code(&module.pair(session, CKM_EC_KEY_PAIR_GEN, &pair, given))
            }),
        },
        Maker {
            name: "C_UnwrapKey",
            base: secret(),
            give: Box::new(move |given| {
                code(&module.unwrap(session, plain(CKM_AES_KEY_WRAP), key, &wrapped, given))
            }),
        },
        Maker {
            name: "C_CopyObject",
            base: Vec::new(),
            give: Box::new(move |given| code(&module.copy(session, key, given))),
        },
        Maker {
            name: "C_SetAttributeValue",
            base: Vec::new(),
            give: Box::new(move |given| code(&module.set(session, key, given))),
        },
    ]
}

/// What a maker may say of an attribute that has no place in its template, before it looks at the value.
const NO_PLACE: [CK_RV; 3] =
    [CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT];

#[test]
fn a_value_of_a_wrong_size_is_refused_for_its_value_or_because_it_has_no_place() {
    let subject = subject();
    let session = subject.logged_in();
    let zeroes = [0u8; 16];
    let mut findings = Findings::default();
    for maker in makers(&subject.module, session) {
        for (kind, form) in ATTRIBUTES {
            for length in wrong_lengths(*form) {
                let others = maker.base.iter().copied().filter(|other| other.type_ != *kind);
                let mut template: Vec<_> = others.collect();
                template.push(bytes(*kind, &zeroes[..*length]));
                let what = format!("{} with {kind:#x} of {length} bytes", maker.name);
                let right = [&[CKR_ATTRIBUTE_VALUE_INVALID], NO_PLACE.as_slice()].concat();
                findings.expect(what, (maker.give)(&template), &right);
            }
        }
    }
    findings.check();
}

#[test]
fn an_attribute_of_two_values_is_a_contradiction_or_has_no_place() {
    let subject = subject();
    let session = subject.logged_in();
    let mut findings = Findings::default();
    for maker in makers(&subject.module, session) {
        for (kind, form) in ATTRIBUTES {
            let (one, other) = match form {
                Boolean => (attribute(*kind, &CK_TRUE), attribute(*kind, &CK_FALSE)),
                Number => (attribute(*kind, &LENGTH), attribute(*kind, &OTHER)),
                Date => (bytes(*kind, b"20260101"), bytes(*kind, b"20270101")),
                Bytes => (bytes(*kind, &[1; 16]), bytes(*kind, &[2; 16])),
            };
            let others = maker.base.iter().copied().filter(|other| other.type_ != *kind);
            let mut template: Vec<_> = others.collect();
            template.extend([one, other]);
            let what = format!("{} with {kind:#x} twice", maker.name);
            findings.expect(what, (maker.give)(&template), &NO_PLACE);
        }
    }
    findings.check();
}

#[test]
fn an_attribute_that_nobody_knows_and_a_length_without_memory_are_refused() {
    let subject = subject();
    let session = subject.logged_in();
    let mut findings = Findings::default();
    let value = [1u8; 8];
    for maker in makers(&subject.module, session) {
        let mut give = |what: &str, odd: CK_ATTRIBUTE, right: &[CK_RV]| {
            let template = [maker.base.as_slice(), &[odd]].concat();
            findings.expect(format!("{} {what}", maker.name), (maker.give)(&template), right);
        };
        for kind in [0x7777, CKA_VENDOR_DEFINED | 0x7777, CK_ULONG::MAX] {
            give("unknown", bytes(kind, &value), &[CKR_ATTRIBUTE_TYPE_INVALID]);
        }
        let label = |pointer: *const u8, length: CK_ULONG| CK_ATTRIBUTE {
            type_: CKA_LABEL,
            pValue: pointer.cast_mut().cast(),
            ulValueLen: length,
        };
        let invalid = [CKR_ATTRIBUTE_VALUE_INVALID];
        give("null of a length", label(ptr::null(), 4), &invalid);
        give("no memory", label(value.as_ptr(), CK_ULONG::MAX), &invalid);
        give("no memory", label(value.as_ptr(), CK_ULONG::MAX / 2 + 2), &invalid);
    }
    findings.check();
}

#[test]
fn a_search_takes_what_is_known_and_refuses_the_rest() {
    let subject = subject();
    let session = subject.logged_in();
    let module = &subject.module;
    let mut findings = Findings::default();
    let find = |template: &[CK_ATTRIBUTE]| code(&module.find_by(session, template));
    let zeroes = [0u8; 16];
    for (kind, form) in ATTRIBUTES {
        for length in wrong_lengths(*form) {
            let right = [CKR_ATTRIBUTE_VALUE_INVALID, CKR_OK];
            let called = find(&[bytes(*kind, &zeroes[..*length])]);
            findings.expect(format!("{kind:#x} of {length}"), called, &right);
        }
    }
    let unknown = find(&[bytes(0x7777, &zeroes)]);
    findings.expect("unknown", unknown, &[CKR_ATTRIBUTE_TYPE_INVALID, CKR_OK]);
    findings.check();
}

#[test]
fn reading_fills_what_it_can_and_says_what_it_could_not() {
    let subject = subject();
    let session = subject.logged_in();
    let module = &subject.module;
    let key = module.aes_key(session, false).expect("a key");
    let read = |kind| code(&module.value(session, key, kind));
    let mut findings = Findings::default();
    findings.expect("sensitive", read(CKA_VALUE), &[CKR_ATTRIBUTE_SENSITIVE]);
    for kind in [CKA_MODULUS, CKA_EC_POINT, CKA_SERIAL_NUMBER, 0x7777, CK_ULONG::MAX] {
        findings.expect(format!("{kind:#x}"), read(kind), &[CKR_ATTRIBUTE_TYPE_INVALID]);
    }
    let gone = module.value(session, 0, CKA_LABEL);
    findings.expect("no object", code(&gone), &[CKR_OBJECT_HANDLE_INVALID]);
    findings.check();
}

#[test]
fn what_is_missing_or_does_not_fit_together_is_named() {
    let subject = subject();
    let session = subject.logged_in();
    let module = &subject.module;
    let aes =
        |given: &[CK_ATTRIBUTE]| code(&module.generate(session, plain(CKM_AES_KEY_GEN), given));
    let pair =
        |given: &[CK_ATTRIBUTE]| code(&module.pair(session, CKM_EC_KEY_PAIR_GEN, given, &[]));
    let create = |given: &[CK_ATTRIBUTE]| code(&module.create(session, given));
    let mut findings = Findings::default();
    let mut expect = |what: &str, code: CK_RV, right: &[CK_RV]| findings.expect(what, code, right);
    let (class, other) = (attribute(CKA_CLASS, &CKO_SECRET_KEY), attribute(CKA_CLASS, &CKO_DATA));
    let aes_type = attribute(CKA_KEY_TYPE, &CKK_AES);
    let rsa_type = attribute(CKA_KEY_TYPE, &CKK_RSA);
    let length = attribute(CKA_VALUE_LEN, &LENGTH);
    let value = bytes(CKA_VALUE, &[1; 16]);
    expect("an AES key of no length", aes(&[]), &[CKR_TEMPLATE_INCOMPLETE]);
    for odd in [0, 1, 15, 17, 33, CK_ULONG::MAX] {
        let length = attribute(CKA_VALUE_LEN, &odd);
        let right = [CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID];
        expect("an AES key of an odd length", aes(&[length]), &right);
    }
    expect("another class", aes(&[length, other]), &[CKR_TEMPLATE_INCONSISTENT]);
    expect("another type", aes(&[length, rsa_type]), &[CKR_TEMPLATE_INCONSISTENT]);
    expect("a pair of no curve", pair(&[]), &[CKR_TEMPLATE_INCOMPLETE]);
    let curves = [CKR_CURVE_NOT_SUPPORTED, CKR_ATTRIBUTE_VALUE_INVALID];
    for odd in [b"".as_slice(), &[5, 0], &P256[..9], &[6, 1, 0x2a], &[0xff; 64]] {
        expect("a pair of an odd curve", pair(&[bytes(CKA_EC_PARAMS, odd)]), &curves);
    }
    expect("an object of nothing", create(&[]), &[CKR_TEMPLATE_INCOMPLETE]);
    expect("a key of no type", create(&[class, value]), &[CKR_TEMPLATE_INCOMPLETE]);
    expect("a key of no value", create(&[class, aes_type]), &[CKR_TEMPLATE_INCOMPLETE]);
    let short = create(&[class, aes_type, bytes(CKA_VALUE, &[1; 15])]);
    expect("a key of 15 bytes", short, &[CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE]);
    let odd_class = create(&[attribute(CKA_CLASS, &0x7777u64)]);
    expect("an odd class", odd_class, &[CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT]);
    let odd_type = create(&[class, attribute(CKA_KEY_TYPE, &0x7777u64), value]);
    expect("an odd type", odd_type, &[CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT]);
    findings.check();
}
