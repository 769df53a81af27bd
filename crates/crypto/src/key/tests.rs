use super::*;
use crate::backend::testing::hex;
use crate::{Mechanism, Params, mechanism, sign, verify};

fn stored(key: &Key) -> Vec<u8> {
    key.to_stored().into_plain()
}

fn invalid<T>(result: Result<T, Error>) -> Error {
    result.err().expect("it should have been refused")
}

fn works(private: &Key) {
    let public = private.public_key().expect("a pair");
    let kind = match private.kind() {
        KeyKind::RsaPrivate => ck::CKM_SHA256_RSA_PKCS,
        _ => ck::CKM_ECDSA_SHA256,
    };
    let mechanism: &Mechanism = mechanism::find(kind).expect("in the table");
    let signature = sign(private, mechanism, &Params::None, b"data", false).expect("signed");
    verify(&public, mechanism, &Params::None, b"data", false, &signature).expect("verified");
}

fn rsa_2048() -> Key {
    generate_rsa(2048, &[1, 0, 1]).expect("a key")
}

#[test]
fn secret_keys_have_the_lengths_of_their_type() {
    for length in [16, 24, 32] {
        let key = generate_secret(ck::CKK_AES, length).expect("a key");
        assert_eq!(key.kind(), KeyKind::Secret(ck::CKK_AES));
        assert_eq!(key.size_bits() as usize, 8 * length);
    }
    for length in [1, 800] {
        let key = generate_secret(ck::CKK_GENERIC_SECRET, length).expect("a key");
        assert_eq!(key.size_bits() as usize, 8 * length);
        assert_eq!(key.check_value(), None);
    }
    for (key_type, length) in [
        (ck::CKK_AES, 0),
        (ck::CKK_AES, 20),
        (ck::CKK_AES, 33),
        (ck::CKK_GENERIC_SECRET, 0),
        (ck::CKK_GENERIC_SECRET, 801),
        (ck::CKK_GENERIC_SECRET, usize::MAX),
    ] {
        assert_eq!(invalid(generate_secret(key_type, length)), Error::KeySize);
    }
    assert_eq!(invalid(generate_secret(ck::CKK_BLOWFISH, 24)), Error::KeyType);
    let one = generate_secret(ck::CKK_AES, 32).expect("a key");
    let two = generate_secret(ck::CKK_AES, 32).expect("a key");
    assert_ne!(stored(&one), stored(&two));
}

/// AES-128 of a zero block under a zero key (FIPS 197's key schedule; 66e94bd4 … in every AES
/// text).
#[test]
fn an_aes_keys_check_value_encrypts_a_zero_block() {
    let key = Key::from_secret(ck::CKK_AES, vec![0; 16]).expect("a key");
    assert_eq!(key.check_value(), Some([0x66, 0xe9, 0x4b]));
}

#[test]
fn both_halves_of_a_pair_have_one_check_value_the_sha_1_of_the_public_key() {
    for private in [rsa_2048(), generate_ec(Curve::P384).expect("a key")] {
        let public = private.public_key().expect("a pair");
        let value = private.check_value().expect("a pair has one");
        assert_eq!(public.check_value(), Some(value));
        assert_eq!(Hash::Sha1.digest(&stored(&public))[..3], value);
        assert_eq!(public.public_key().expect("itself").check_value(), Some(value));
    }
}

#[test]
fn rsa_keys_have_the_size_that_was_asked_for() {
    for bits in [1024, 2048, 2304, 3072, 4096] {
        let key = generate_rsa(bits, &[1, 0, 1]).expect("a key");
        assert_eq!(key.size_bits(), bits);
        assert_eq!(key.rsa_modulus().expect("it has one").len() * 8, bits as usize);
        assert_eq!(key.rsa_public_exponent(), Some(vec![1, 0, 1]));
        works(&key);
    }
    for bits in [0, 768, 1056, 2047, 2049, 2112, 2176, 4352, 8192, u32::MAX] {
        assert_eq!(invalid(generate_rsa(bits, &[1, 0, 1])), Error::KeySize);
    }
}

#[test]
fn rsa_exponents_are_odd_and_at_least_65537() {
    for exponent in [&[0, 1, 0, 1][..], &[1, 0, 3], &[0xff, 0xff, 0xff, 0xff]] {
        let key = generate_rsa(2048, exponent).expect("a key");
        assert_eq!(key.rsa_public_exponent().as_deref(), Some(trim(exponent)));
        works(&key);
    }
    for exponent in
        [&[][..], &[0], &[1], &[3], &[17], &[1, 0, 0], &[0xff, 0xff], &[1, 0, 0, 0, 1], &[1; 6]]
    {
        assert_eq!(invalid(generate_rsa(2048, exponent)), Error::ParameterInvalid);
    }
}

#[test]
fn each_kind_of_key_comes_back_from_its_stored_form() {
    let mut keys = vec![
        generate_secret(ck::CKK_AES, 32).expect("a key"),
        generate_secret(ck::CKK_GENERIC_SECRET, 77).expect("a key"),
        rsa_2048(),
    ];
    keys.extend(Curve::ALL.map(|curve| generate_ec(curve).expect("a key")));
    let publics: Vec<Key> = keys.iter().filter_map(Key::public_key).collect();
    assert_eq!(publics.len(), 1 + Curve::ALL.len());
    keys.extend(publics);
    for key in keys {
        let back = Key::from_stored(key.kind(), &stored(&key)).expect("what was written");
        assert_eq!(back.kind(), key.kind());
        assert_eq!(back.size_bits(), key.size_bits());
        assert_eq!(back.check_value(), key.check_value());
        assert_eq!(stored(&back), stored(&key));
        assert_eq!(back.ec_point(), key.ec_point());
        assert_eq!(back.rsa_modulus(), key.rsa_modulus());
        match key.kind() {
            KeyKind::RsaPrivate | KeyKind::EcPrivate(_) => {
                works(&back);
                let pkcs8 = key.to_pkcs8().expect("a private key");
                let back = Key::from_pkcs8(pkcs8.as_bytes()).expect("what was written");
                assert_eq!(stored(&back), stored(&key));
                let mut longer = pkcs8.into_plain();
                longer.push(0);
                assert_eq!(invalid(Key::from_pkcs8(&longer)), Error::KeyInvalid);
            }
            KeyKind::RsaPublic | KeyKind::EcPublic(_) => {
                assert_eq!(invalid(key.to_pkcs8()), Error::KeyType);
                let back = Key::from_spki(&key.to_spki().expect("a public key"));
                assert_eq!(stored(&back.expect("what was written")), stored(&key));
            }
            // In `schemes`' tests.
            KeyKind::SchemePrivate(_) | KeyKind::SchemePublic(_) => {}
            KeyKind::Secret(_) => {
                assert_eq!(invalid(key.to_pkcs8()), Error::KeyType);
                assert!(key.to_spki().is_none());
                assert!(key.public_key().is_none());
            }
        }
    }
}

fn import<'a>(n: &'a [u8], e: &'a [u8], parts: &'a RsaParts) -> RsaImport<'a> {
    RsaImport {
        modulus: n,
        public_exponent: e,
        private_exponent: parts.d.as_bytes(),
        prime_1: Some(parts.p.as_bytes()),
        prime_2: Some(parts.q.as_bytes()),
        exponent_1: Some(parts.dp.as_bytes()),
        exponent_2: Some(parts.dq.as_bytes()),
        coefficient: Some(parts.qinv.as_bytes()),
    }
}

#[test]
fn an_rsa_key_is_completed_from_whatever_it_comes_with() {
    let key = rsa_2048();
    let (n, e) = (key.rsa_modulus().expect("n"), key.rsa_public_exponent().expect("e"));
    let parts = key.rsa_private_parts().expect("private");
    let whole = import(&n, &e, &parts);
    let padded = [&[0, 0][..], &n].concat();
    for given in [
        RsaImport { ..import(&n, &e, &parts) },
        RsaImport { modulus: &padded, ..import(&n, &e, &parts) },
        // Without the CRT numbers, or with some of them.
        RsaImport { coefficient: None, ..import(&n, &e, &parts) },
        RsaImport { exponent_1: None, exponent_2: None, ..import(&n, &e, &parts) },
        // Without the primes, or with one of them.
        RsaImport { prime_2: None, ..import(&n, &e, &parts) },
        RsaImport {
            prime_1: None,
            prime_2: None,
            exponent_1: None,
            exponent_2: None,
            coefficient: None,
            ..whole
        },
    ] {
        let back = Key::from_rsa_private_parts(&given).expect("consistent");
        assert_eq!(stored(&back), stored(&key));
        works(&back);
    }
    // q before p is another key object, and as good a key.
    let swapped = RsaImport {
        prime_1: Some(parts.q.as_bytes()),
        prime_2: Some(parts.p.as_bytes()),
        exponent_1: None,
        ..import(&n, &e, &parts)
    };
    works(&Key::from_rsa_private_parts(&swapped).expect("consistent"));
}

#[test]
fn the_primes_are_found_whatever_is_drawn() {
    let key = rsa_2048();
    let (n, e) = (key.rsa_modulus().expect("n"), key.rsa_public_exponent().expect("e"));
    let parts = key.rsa_private_parts().expect("private");
    for _ in 0..50 {
        let without = RsaImport { prime_1: None, ..import(&n, &e, &parts) };
        assert!(Key::from_rsa_private_parts(&without).is_ok());
    }
}

#[test]
fn rsa_numbers_that_do_not_belong_together_are_refused() {
    let key = rsa_2048();
    let (n, e) = (key.rsa_modulus().expect("n"), key.rsa_public_exponent().expect("e"));
    let parts = key.rsa_private_parts().expect("private");
    let other = rsa_2048();
    let other_parts = other.rsa_private_parts().expect("private");
    let other_n = other.rsa_modulus().expect("n");
    let mut wrong = parts.dp.as_bytes().to_vec();
    wrong[40] ^= 1;
    let minus_two = {
        let mut number = parts.d.as_bytes().to_vec();
        *number.last_mut().expect("not empty") ^= 2;
        number
    };
    let one = [1u8];
    for (name, given) in [
        ("n", RsaImport { modulus: &other_n, ..import(&n, &e, &parts) }),
        ("e", RsaImport { public_exponent: &[3], ..import(&n, &e, &parts) }),
        ("d", RsaImport { private_exponent: &minus_two, ..import(&n, &e, &parts) }),
        ("p", RsaImport { prime_1: Some(other_parts.p.as_bytes()), ..import(&n, &e, &parts) }),
        ("p = 1", RsaImport { prime_1: Some(&one), ..import(&n, &e, &parts) }),
        (
            "p = n, q = 1",
            RsaImport {
                prime_1: Some(&n),
                prime_2: Some(&one),
                exponent_1: None,
                ..import(&n, &e, &parts)
            },
        ),
        ("dp", RsaImport { exponent_1: Some(&wrong), ..import(&n, &e, &parts) }),
        ("qinv", RsaImport { coefficient: Some(&wrong), ..import(&n, &e, &parts) }),
        (
            "d without p",
            RsaImport { private_exponent: &minus_two, prime_1: None, ..import(&n, &e, &parts) },
        ),
        (
            "d = 1 without p",
            RsaImport { private_exponent: &one, prime_1: None, ..import(&n, &e, &parts) },
        ),
        ("d = 0", RsaImport { private_exponent: &[0], ..import(&n, &e, &parts) }),
        ("d empty", RsaImport { private_exponent: &[], ..import(&n, &e, &parts) }),
        ("d too long", RsaImport { private_exponent: &[1; 257], ..import(&n, &e, &parts) }),
        ("p empty", RsaImport { prime_1: Some(&[]), ..import(&n, &e, &parts) }),
    ] {
        assert_eq!(invalid(Key::from_rsa_private_parts(&given)), Error::KeyInvalid, "{name}");
    }
}

#[test]
fn public_numbers_that_no_rsa_key_has_are_refused() {
    let n = rsa_2048().rsa_modulus().expect("n");
    for exponent in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1; 9]] {
        let refused = invalid(Key::from_rsa_public(&n, exponent));
        assert_eq!(refused, Error::KeyInvalid, "{exponent:?}");
    }
    let mut even = n.clone();
    even[255] &= 0xfe;
    assert_eq!(invalid(Key::from_rsa_public(&even, &[3])), Error::KeyInvalid);
    assert_eq!(invalid(Key::from_rsa_public(&[], &[3])), Error::KeySize);
    assert_eq!(invalid(Key::from_rsa_public(&[0xff; 127], &[3])), Error::KeySize);
    assert_eq!(invalid(Key::from_rsa_public(&[0xff; 513], &[3])), Error::KeySize);
    assert_eq!(invalid(Key::from_rsa_public(&[0xff; 100_000], &[3])), Error::KeySize);
    assert!(Key::from_rsa_public(&n, &[3]).is_ok());
    assert!(Key::from_rsa_public(&[&[0][..], &n].concat(), &[1, 0, 0, 0, 1]).is_ok());
}

#[test]
fn stored_bytes_of_a_wrong_kind_are_refused() {
    let rsa = rsa_2048();
    let public = rsa.public_key().expect("a pair");
    let refused = |kind, bytes: &[u8]| invalid(Key::from_stored(kind, bytes));
    assert_eq!(refused(KeyKind::RsaPublic, &stored(&rsa)), Error::KeyInvalid);
    assert_eq!(refused(KeyKind::RsaPrivate, &stored(&public)), Error::KeyInvalid);
    assert_eq!(refused(KeyKind::RsaPrivate, &[]), Error::KeyInvalid);
    assert_eq!(refused(KeyKind::EcPrivate(Curve::P256), &[]), Error::KeyInvalid);
    assert_eq!(refused(KeyKind::EcPublic(Curve::P256), &[]), Error::KeyInvalid);
    assert_eq!(refused(KeyKind::Secret(ck::CKK_AES), &[0; 17]), Error::KeySize);
    assert_eq!(refused(KeyKind::Secret(99), &[0; 16]), Error::KeyType);
}

#[test]
fn scalars_are_from_1_to_the_order_less_1() {
    // SEC 2, 2.4.2: the order of P-256.
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let mut largest = order.clone();
    largest[31] -= 1;
    let import = |scalar: &[u8]| Key::from_ec_private(Curve::P256, scalar);
    for scalar in [&order[..], &[0xff; 32], &[0; 32], &[], &[1; 33]] {
        assert_eq!(invalid(import(scalar)), Error::KeyInvalid);
    }
    works(&import(&largest).expect("a scalar"));
    let one = import(&[1]).expect("a scalar");
    assert_eq!(stored(&one), [&[0; 31][..], &[1]].concat());
    // SEC 2, 2.4.2: the base point of P-256.
    assert_eq!(
        one.ec_point(),
        Some(hex("046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296
             4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"))
    );
    works(&import(&[&[0; 9][..], &[5; 32]].concat()).expect("leading zeros don't matter"));
}

#[test]
fn points_off_the_curve_are_refused() {
    for curve in Curve::ALL {
        let point = generate_ec(curve).expect("a key").ec_point().expect("a point");
        let import = |point: &[u8]| Key::from_ec_public(curve, point);
        let key = import(&point).expect("on the curve");
        assert_eq!(key.ec_point().as_ref(), Some(&point));

        let field = curve.field_bytes();
        let sign = 2 + (point[2 * field] & 1);
        let compressed = [&[sign][..], &point[1..=field]].concat();
        let same = import(&compressed).expect("the same point, compressed");
        assert_eq!(same.ec_point().as_ref(), Some(&point));

        let mut off = point.clone();
        *off.last_mut().expect("not empty") ^= 1;
        let mut beyond = point.clone();
        beyond[1..].fill(0xff);
        let mut origin = point.clone();
        origin[1..].fill(0);
        for wrong in [&off[..], &beyond, &origin, &point[..2 * field], &[], &[0], &[4]] {
            assert_eq!(invalid(import(wrong)), Error::KeyInvalid);
        }
        for other in Curve::ALL.into_iter().filter(|other| *other != curve) {
            assert_eq!(invalid(Key::from_ec_public(other, &point)), Error::KeyInvalid);
        }
    }
}

/// An X448 key, as RFC 8410 has it, of an algorithm that isn't offered.
#[test]
fn pkcs8_of_other_algorithms_is_refused() {
    let mut x448 = hex("3046020100300506032b656f043a0438");
    x448.extend([0x5a; 56]);
    assert_eq!(invalid(Key::from_pkcs8(&x448)), Error::KeyInvalid);
    assert_eq!(invalid(Key::from_pkcs8(&[])), Error::KeyInvalid);
    assert_eq!(invalid(Key::from_pkcs8(&[0x30, 0x82, 0xff, 0xff])), Error::KeyInvalid);
}

#[test]
fn classes_and_types_are_pkcs11s() {
    assert_eq!(KeyKind::RsaPrivate.class(), ck::CKO_PRIVATE_KEY);
    assert_eq!(KeyKind::EcPublic(Curve::P256).class(), ck::CKO_PUBLIC_KEY);
    assert_eq!(KeyKind::Secret(ck::CKK_AES).class(), ck::CKO_SECRET_KEY);
    assert_eq!(KeyKind::Secret(ck::CKK_AES).key_type(), ck::CKK_AES);
    assert_eq!(KeyKind::EcPrivate(Curve::P256).key_type(), ck::CKK_EC);
    assert_eq!(KeyKind::RsaPublic.key_type(), ck::CKK_RSA);
}
