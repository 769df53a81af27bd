//! No input makes the library panic or crash: random bytes, and right inputs altered in places,
//! get an error or a result.

use std::sync::OnceLock;

use cryptoki_sys as ck;
use proptest::collection::vec;
use proptest::prelude::*;
use strongroom_crypto::{
    Curve, Hash, Key, KeyKind, Params, RsaImport, decrypt, ed25519, encrypt, generate_ec,
    generate_rsa, generate_secret, mechanism, sign, symmetric, unwrap, verify, wrap,
};

/// A key of each kind.
fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys = vec![
            generate_secret(ck::CKK_AES, 32).expect("a key"),
            generate_secret(ck::CKK_GENERIC_SECRET, 40).expect("a key"),
            generate_secret(ck::CKK_DES3, 24).expect("a key"),
            generate_secret(ck::CKK_CHACHA20, 32).expect("a key"),
            generate_secret(ck::CKK_AES_XTS, 64).expect("a key"),
            generate_rsa(2048, &[1, 0, 1]).expect("a key"),
        ];
        keys.extend(Curve::ALL.map(|curve| generate_ec(curve).expect("a key")));
        let publics: Vec<Key> = keys.iter().filter_map(Key::public_key).collect();
        keys.extend(publics);
        keys
    })
}

/// Uses a key that random bytes happened to make, so that a bad one doesn't hide in the parser.
fn exercise(key: &Key) {
    key.check_value();
    key.to_stored();
    key.to_spki();
    if let Some(public) = key.public_key() {
        public.check_value();
    }
}

fn hash() -> impl Strategy<Value = Hash> {
    prop::sample::select(Hash::ALL.to_vec())
}

/// What [`Params`] borrows from, and which form it takes.
#[derive(Clone, Debug)]
struct AnyParams {
    form: u8,
    iv: Vec<u8>,
    aad: Vec<u8>,
    number: u32,
    hash: Hash,
    mgf: Hash,
}

impl AnyParams {
    fn params(&self) -> Params<'_> {
        match self.form {
            0 => Params::None,
            1 => Params::Iv(&self.iv),
            2 => Params::Gcm { iv: &self.iv, aad: &self.aad, tag_bits: self.number },
            5 => Params::MacLength(self.number as usize),
            3 => Params::Pss { hash: self.hash, mgf: self.mgf, salt_length: self.number as usize },
            _ => Params::Oaep { hash: self.hash, mgf: self.mgf, label: &self.aad },
        }
    }
}

fn any_params() -> impl Strategy<Value = AnyParams> {
    let iv = prop_oneof![
        Just(vec![]),
        Just(vec![0xa6; 8]),
        vec(any::<u8>(), 12),
        vec(any::<u8>(), 0..40)
    ];
    let iv = prop_oneof![iv, vec(any::<u8>(), 16)];
    let number = prop_oneof![
        prop::sample::select(vec![0, 1, 20, 32, 64, 96, 128, 129, 222, 223, u32::MAX]),
        any::<u32>()
    ];
    (0..6u8, iv, vec(any::<u8>(), 0..20), number, hash(), hash()).prop_map(
        |(form, iv, aad, number, hash, mgf)| AnyParams { form, iv, aad, number, hash, mgf },
    )
}

/// Lengths around those that mean something, and others.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        prop::sample::select(vec![0usize, 1, 8, 16, 24, 28, 32, 64, 132, 245, 246, 255, 256, 257]),
        0..700usize
    ];
    length.prop_flat_map(|length| vec(any::<u8>(), length))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mechanism_with_any_key_and_parameter_and_data(
        mechanism in prop::sample::select(mechanism::MECHANISMS.iter().collect::<Vec<_>>()),
        key in 0..keys().len(),
        params in any_params(),
        data in data(),
        signature in data(),
        prehashed in any::<bool>(),
    ) {
        let (key, params) = (&keys()[key], params.params());
        if let Ok(signature) = sign(key, mechanism, &params, &data, prehashed) {
            let public = key.public_key();
            let verifying = public.as_ref().unwrap_or(key);
            prop_assert!(
                verify(verifying, mechanism, &params, &data, prehashed, &signature).is_ok()
            );
        }
        let _ = verify(key, mechanism, &params, &data, prehashed, &signature);
        let encrypted = encrypt(key, mechanism, &params, &data);
        if let (Ok(encrypted), Key::Secret(_)) = (&encrypted, key) {
            let decrypted = decrypt(key, mechanism, &params, encrypted);
            prop_assert!(decrypted.is_ok_and(|plain| plain.ct_eq(&data)));
        }
        let _ = decrypt(key, mechanism, &params, &data);
        if let (Ok(wrapped), Key::Secret(_)) = (wrap(key, mechanism, &params, &data), key) {
            let unwrapped = unwrap(key, mechanism, &params, &wrapped);
            prop_assert!(unwrapped.is_ok_and(|plain| plain.ct_eq(&data)));
        }
        let _ = unwrap(key, mechanism, &params, &data);
    }

    #[test]
    fn any_bytes_for_a_stored_key(bytes in data(), key in 0..keys().len(), other in any::<u64>()) {
        for kind in [keys()[key].kind(), KeyKind::Secret(other)] {
            if let Ok(key) = Key::from_stored(kind, &bytes) {
                exercise(&key);
            }
        }
        if let Ok(key) = Key::from_pkcs8(&bytes) {
            exercise(&key);
        }
        if let Ok(key) = Key::from_spki(&bytes) {
            exercise(&key);
        }
    }

    #[test]
    fn right_bytes_altered_for_a_stored_key(
        key in 0..keys().len(),
        place in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let key = &keys()[key];
        let stored = key.to_stored();
        let pkcs8 = key.to_pkcs8().ok();
        let spki = key.to_spki();
        let altered = |bytes: &[u8]| {
            let mut altered = bytes.to_vec();
            altered[place.index(bytes.len())] = value;
            [altered, bytes[..cut.index(bytes.len())].to_vec()]
        };
        for bytes in altered(stored.as_bytes()) {
            if let Ok(key) = Key::from_stored(key.kind(), &bytes) {
                exercise(&key);
            }
        }
        for bytes in pkcs8.iter().flat_map(|bytes| altered(bytes.as_bytes())) {
            if let Ok(key) = Key::from_pkcs8(&bytes) {
                exercise(&key);
            }
        }
        for bytes in spki.iter().flat_map(|bytes| altered(bytes)) {
            if let Ok(key) = Key::from_spki(&bytes) {
                exercise(&key);
            }
        }
    }

    #[test]
    fn any_numbers_for_an_rsa_key(
        modulus in vec(any::<u8>(), 256),
        exponent in vec(any::<u8>(), 0..6),
        numbers in vec(vec(any::<u8>(), 0..260), 6),
        given in any::<u8>(),
    ) {
        let optional = |place: usize| (given & (1 << place) != 0).then_some(&numbers[place][..]);
        let _ = Key::from_rsa_public(&modulus, &exponent);
        let _ = Key::from_rsa_private_parts(&RsaImport {
            modulus: &modulus,
            public_exponent: &exponent,
            private_exponent: &numbers[5],
            prime_1: optional(0),
            prime_2: optional(1),
            exponent_1: optional(2),
            exponent_2: optional(3),
            coefficient: optional(4),
        });
    }

    #[test]
    fn any_bytes_for_a_point_or_scalar_or_curve(bytes in data()) {
        let _ = Curve::from_params(&bytes);
        for curve in Curve::ALL {
            if let Ok(key) = Key::from_ec_public(curve, &bytes) {
                exercise(&key);
            }
            if let Ok(key) = Key::from_ec_private(curve, &bytes) {
                exercise(&key);
            }
        }
    }

    #[test]
    fn any_bytes_for_the_hsms_own_sealing(bytes in data(), nonce in any::<[u8; 12]>()) {
        let key = symmetric::AeadKey::new(&[1; 32]);
        let _ = key.open(nonce, b"", &bytes);
        let sealed = key.seal(nonce, b"aad", &bytes);
        prop_assert!(key.open(nonce, b"aad", &sealed).is_ok_and(|plain| plain.ct_eq(&bytes)));
        let _ = ed25519::verify(&[9; 32], &bytes, &bytes);
        let _ = symmetric::verify_hmac(&bytes, &bytes, &bytes);
    }
}
