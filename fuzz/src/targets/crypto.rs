//! Key material and mechanisms with whatever an attacker chooses for parameters and data.

use std::sync::OnceLock;

use cryptoki_sys::*;
use strongroom_crypto::{
    Curve, Hash, Key, KeyKind, Kind, Mechanism, Params, Scheme, decrypt, encrypt, mechanism, sign,
    unwrap, verify, wrap,
};

use strongroom_crypto::mechanism::Form;

use crate::fixed;
use crate::input::{Fields, long, short};

/// One key of each kind, private before public, always the same.
fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys = vec![
            Key::from_secret(CKK_AES, vec![0x2b; 32]),
            Key::from_secret(CKK_AES, vec![0x3c; 16]),
            Key::from_secret(CKK_GENERIC_SECRET, vec![0x4d; 40]),
            Key::from_secret(CKK_DES3, (1..=24).collect()),
            Key::from_secret(CKK_CHACHA20, vec![0x5e; 32]),
            Key::from_secret(CKK_AES_XTS, (1..=64).collect()),
            Key::from_pkcs8(fixed::RSA_2048),
        ];
        keys.extend(Curve::ALL.map(|curve| {
            let mut scalar = vec![0; curve.field_bytes()];
            scalar[1..].fill(0x5e);
            Key::from_ec_private(curve, &scalar)
        }));
        keys.extend(
            Scheme::ALL
                .map(|scheme| Key::from_scheme_seed(scheme, &vec![0x6f; scheme.seed_bytes()])),
        );
        let mut keys: Vec<Key> = keys.into_iter().map(|key| key.expect("a good key")).collect();
        let publics: Vec<Key> = keys.iter().filter_map(Key::public_key).collect();
        keys.extend(publics);
        keys
    })
}

/// The forms that key material comes in: a byte that says which, then the bytes. A key that is taken
/// can be used, and is written as something that is taken again.
pub(super) fn key(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let form = usize::from(fields.byte()) % (KINDS.len() + 2);
    let bytes = fields.rest();
    let read = match form.checked_sub(2) {
        None if form == 0 => Key::from_pkcs8(bytes),
        None => Key::from_spki(bytes),
        Some(kind) => Key::from_stored(KINDS[kind], bytes),
    };
    let Ok(key) = read else { return false };
    exercise(&key);
    true
}

const KINDS: [KeyKind; 33] = [
    KeyKind::Secret(CKK_AES),
    KeyKind::Secret(CKK_GENERIC_SECRET),
    KeyKind::RsaPrivate,
    KeyKind::RsaPublic,
    KeyKind::EcPrivate(Curve::P256),
    KeyKind::EcPrivate(Curve::P384),
    KeyKind::EcPrivate(Curve::P521),
    KeyKind::EcPrivate(Curve::Secp256k1),
    KeyKind::EcPublic(Curve::P256),
    KeyKind::EcPublic(Curve::P384),
    KeyKind::EcPublic(Curve::P521),
    KeyKind::EcPublic(Curve::Secp256k1),
    KeyKind::EcPrivate(Curve::P224),
    KeyKind::EcPublic(Curve::P224),
    KeyKind::SchemePrivate(Scheme::Ed25519),
    KeyKind::SchemePublic(Scheme::Ed25519),
    KeyKind::SchemePrivate(Scheme::X25519),
    KeyKind::SchemePublic(Scheme::X25519),
    KeyKind::SchemePrivate(Scheme::MlDsa44),
    KeyKind::SchemePublic(Scheme::MlDsa44),
    KeyKind::SchemePrivate(Scheme::MlDsa65),
    KeyKind::SchemePublic(Scheme::MlDsa65),
    KeyKind::SchemePrivate(Scheme::MlDsa87),
    KeyKind::SchemePublic(Scheme::MlDsa87),
    KeyKind::SchemePrivate(Scheme::MlKem512),
    KeyKind::SchemePublic(Scheme::MlKem512),
    KeyKind::SchemePrivate(Scheme::MlKem768),
    KeyKind::SchemePublic(Scheme::MlKem768),
    KeyKind::SchemePrivate(Scheme::MlKem1024),
    KeyKind::SchemePublic(Scheme::MlKem1024),
    KeyKind::Secret(CKK_DES3),
    KeyKind::Secret(CKK_CHACHA20),
    KeyKind::Secret(CKK_AES_XTS),
];

fn exercise(key: &Key) {
    key.check_value();
    key.scheme_expanded();
    key.rsa_private_parts();
    assert!(key.size_bits() > 0);
    let stored = key.to_stored();
    let again = Key::from_stored(key.kind(), stored.as_bytes()).expect("a key as it is stored");
    assert!(again.to_stored().ct_eq(stored.as_bytes()));
    if let Ok(pkcs8) = key.to_pkcs8() {
        let again = Key::from_pkcs8(pkcs8.as_bytes()).expect("a key as it is wrapped");
        assert!(again.to_stored().ct_eq(stored.as_bytes()));
    }
    if let Some(public) = key.public_key() {
        let spki = public.to_spki().expect("a public key as SubjectPublicKeyInfo");
        let again = Key::from_spki(&spki).expect("a public key as it is shown");
        assert!(again.to_stored().ct_eq(public.to_stored().as_bytes()));
    }
}

pub(super) fn key_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for key in keys() {
        let kind = KINDS.iter().position(|kind| *kind == key.kind()).expect("a listed kind");
        let form = u8::try_from(kind + 2).expect("a byte");
        seeds.push([&[form][..], key.to_stored().as_bytes()].concat());
        if let Ok(pkcs8) = key.to_pkcs8() {
            seeds.push([&[0][..], pkcs8.as_bytes()].concat());
        }
        if let Some(spki) = key.to_spki() {
            seeds.push([&[1][..], &spki].concat());
        }
    }
    seeds
}

/// The numbers of an RSA private key as a template gives them: eight fields.
pub(super) fn rsa_numbers(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let given = fields.byte();
    let mut number = || fields.long();
    let (modulus, public_exponent, private_exponent) = (number(), number(), number());
    let mut optional = |bit: u8| {
        let number = number();
        (given & bit != 0).then_some(number)
    };
    let import = strongroom_crypto::RsaImport {
        modulus,
        public_exponent,
        private_exponent,
        prime_1: optional(1),
        prime_2: optional(2),
        exponent_1: optional(4),
        exponent_2: optional(8),
        coefficient: optional(16),
    };
    let private = Key::from_rsa_private_parts(&import);
    if let Ok(key) = &private {
        exercise(key);
        let recovered =
            Key::from_rsa_private_parts(&strongroom_crypto::RsaImport { prime_1: None, ..import });
        assert!(recovered.is_ok(), "the primes follow from the exponents");
    }
    if let Ok(key) = Key::from_rsa_public(modulus, public_exponent) {
        exercise(&key);
    }
    private.is_ok()
}

pub(super) fn rsa_numbers_seeds() -> Vec<Vec<u8>> {
    let key = Key::from_pkcs8(fixed::RSA_2048).expect("a good key");
    let parts = key.rsa_private_parts().expect("a private key");
    let public = [key.rsa_modulus(), key.rsa_public_exponent()].map(Option::unwrap_or_default);
    let private = [&parts.d, &parts.p, &parts.q, &parts.dp, &parts.dq, &parts.qinv];
    let numbers = public.iter().map(|number| long(number));
    let numbers = numbers.chain(private.map(|number| long(number.as_bytes())));
    let numbers = numbers.collect::<Vec<_>>().concat();
    [0x1f, 0, 3].map(|given| [&[given], &numbers[..]].concat()).to_vec()
}

/// A byte for each of: operation, mechanism, key, form of the parameter, hash, mask's hash, whether
/// the data is hashed; the parameter's number; IV, label and signature behind their lengths; the data.
pub(super) fn operation(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let choice = [(); 7].map(|()| usize::from(fields.byte()));
    let [operation, mechanism, key, form, hash, mgf, prehashed] = choice;
    let mechanism = &mechanism::MECHANISMS[mechanism % mechanism::MECHANISMS.len()];
    let key = &keys()[key % keys().len()];
    let (hash, mgf) = (Hash::ALL[hash % Hash::ALL.len()], Hash::ALL[mgf % Hash::ALL.len()]);
    let number = fields.number() as u32;
    let (iv, aad, signature) = (fields.short(), fields.short(), fields.long());
    let params = match form % 6 {
        0 => Params::None,
        1 => Params::Iv(iv),
        2 => Params::Gcm { iv, aad, tag_bits: number },
        3 => Params::Pss { hash, mgf, salt_length: number as usize },
        5 => Params::MacLength(number as usize),
        _ => Params::Oaep { hash, mgf, label: aad },
    };
    let case = Case { mechanism, key, params, prehashed: prehashed & 1 == 1 };
    case.run(operation, fields.rest(), signature)
}

struct Case<'a> {
    mechanism: &'a Mechanism,
    key: &'a Key,
    params: Params<'a>,
    prehashed: bool,
}

const OPERATIONS: usize = 6;

impl Case<'_> {
    fn run(&self, operation: usize, data: &[u8], signature: &[u8]) -> bool {
        let &Self { mechanism, key, ref params, prehashed } = self;
        match operation % OPERATIONS {
            0 => verify(key, mechanism, params, data, prehashed, signature).is_ok(),
            1 => decrypt(key, mechanism, params, data).is_ok(),
            2 => {
                let Ok(material) = unwrap(key, mechanism, params, data) else { return false };
                // What comes out is as much the attacker's as what went in.
                if let Ok(key) = Key::from_pkcs8(material.as_bytes()) {
                    exercise(&key);
                }
                true
            }
            3 => {
                let signature = sign(key, mechanism, params, data, prehashed);
                let Ok(signature) = signature else { return false };
                let public = key.public_key();
                let key = public.as_ref().unwrap_or(key);
                let verified = verify(key, mechanism, params, data, prehashed, &signature);
                assert!(verified.is_ok(), "{}", mechanism.name);
                true
            }
            4 => {
                let Ok(encrypted) = encrypt(key, mechanism, params, data) else { return false };
                if let Key::Secret(_) = key {
                    let decrypted = decrypt(key, mechanism, params, &encrypted);
                    assert!(decrypted.is_ok_and(|plain| plain.ct_eq(data)), "{}", mechanism.name);
                }
                true
            }
            _ => {
                let Ok(wrapped) = wrap(key, mechanism, params, data) else { return false };
                if let Key::Secret(_) = key {
                    let unwrapped = unwrap(key, mechanism, params, &wrapped);
                    assert!(unwrapped.is_ok_and(|plain| plain.ct_eq(data)), "{}", mechanism.name);
                }
                true
            }
        }
    }
}

/// A right use of each mechanism with each key that it takes.
pub(super) fn operation_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, mechanism) in mechanism::MECHANISMS.iter().enumerate() {
        for (place, key) in keys().iter().enumerate() {
            seeds.extend(uses_of(number, mechanism, place, key));
        }
    }
    seeds
}

/// The bytes of a case.
struct Seed<'a> {
    mechanism: usize,
    key: usize,
    form: u8,
    hash: usize,
    number: u64,
    iv: &'a [u8],
    prehashed: bool,
}

impl Seed<'_> {
    fn bytes(&self, operation: u8, signature: &[u8], data: &[u8]) -> Vec<u8> {
        let byte = |number: usize| u8::try_from(number).expect("a byte");
        let hash = byte(self.hash);
        let (mechanism, key) = (byte(self.mechanism), byte(self.key));
        let head = [operation, mechanism, key, self.form, hash, hash, self.prehashed.into()];
        let (number, iv) = (self.number.to_be_bytes(), short(self.iv));
        [&head[..], &number, &iv, &short(b"label"), &long(signature), data].concat()
    }
}

fn uses_of(number: usize, mechanism: &Mechanism, place: usize, key: &Key) -> Vec<Vec<u8>> {
    let hash = mechanism.hash.unwrap_or(Hash::Sha256);
    let (form, iv) = match mechanism.parameter() {
        Form::Iv(length) => (1, vec![9; length]),
        Form::Counter | Form::ChaCha20 => (1, vec![9; 16]),
        Form::Gcm if mechanism.operation == Kind::AesGcmWithIv => (2, Vec::new()),
        Form::Gcm | Form::Ccm | Form::ChaCha20Poly1305 => (2, vec![9; 12]),
        Form::Pss => (3, Vec::new()),
        Form::Oaep => (4, Vec::new()),
        Form::MacLength => (5, Vec::new()),
        _ => (0, Vec::new()),
    };
    let params = match form {
        1 => Params::Iv(&iv),
        2 => Params::Gcm { iv: &iv, aad: b"label", tag_bits: 128 },
        3 => Params::Pss { hash, mgf: hash, salt_length: 32 },
        4 => Params::Oaep { hash, mgf: hash, label: b"label" },
        5 => Params::MacLength(16),
        _ => Params::None,
    };
    let seed = Seed {
        mechanism: number,
        key: place,
        form,
        hash: Hash::ALL.iter().position(|known| *known == hash).unwrap_or(0),
        number: match form {
            2 => 128,
            5 => 16,
            _ => 32,
        },
        iv: &iv,
        prehashed: false,
    };
    let other = Seed { key: counterpart(key.kind()).unwrap_or(place), ..seed };
    let data = [5; 32];
    let mut seeds = Vec::new();
    if let Ok(signature) = sign(key, mechanism, &params, &data, false) {
        seeds.push(seed.bytes(3, &[], &data));
        seeds.push(other.bytes(0, &signature, &data));
    }
    if let Ok(encrypted) = encrypt(key, mechanism, &params, &data) {
        seeds.push(seed.bytes(4, &[], &data));
        seeds.push(other.bytes(1, &[], &encrypted));
    }
    if let Ok(wrapped) = wrap(key, mechanism, &params, &data) {
        seeds.push(seed.bytes(5, &[], &data));
        seeds.push(other.bytes(2, &[], &wrapped));
    }
    seeds
}

/// The place of the key that undoes what a key does: the other half of a pair, or itself.
fn counterpart(kind: KeyKind) -> Option<usize> {
    let kind = match kind {
        KeyKind::Secret(_) => return None,
        KeyKind::RsaPrivate => KeyKind::RsaPublic,
        KeyKind::RsaPublic => KeyKind::RsaPrivate,
        KeyKind::EcPrivate(curve) => KeyKind::EcPublic(curve),
        KeyKind::EcPublic(curve) => KeyKind::EcPrivate(curve),
        KeyKind::SchemePrivate(scheme) => KeyKind::SchemePublic(scheme),
        KeyKind::SchemePublic(scheme) => KeyKind::SchemePrivate(scheme),
    };
    keys().iter().position(|key| key.kind() == kind)
}
