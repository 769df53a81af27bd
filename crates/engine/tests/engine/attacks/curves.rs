//! Elliptic curves: points of other curves (Biehl, Meyer and Müller, CRYPTO 2000; Antipa and others, PKC
//! 2003), and nonces that come again or are biased (Howgrave-Graham and Smart, 2001).
//!
//! The guards are in the backend, so the test plays the HSM that lacks them, with arithmetic of its own.

use num_bigint::BigUint;
use strongroom_wire::message::{DeriveKey, EcdhParameter};

use super::*;

const P: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const GX: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
const GY: &str = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const SECP256K1_ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

fn hex(digits: &str) -> BigUint {
    BigUint::parse_bytes(digits.as_bytes(), 16).expect("hexadecimal digits")
}

fn number_of(value: u64) -> BigUint {
    BigUint::from(value)
}

fn minus(a: &BigUint, b: &BigUint, modulus: &BigUint) -> BigUint {
    ((a % modulus) + modulus - (b % modulus)) % modulus
}

/// The inverse modulo a prime.
fn inverse(a: &BigUint, prime: &BigUint) -> BigUint {
    a.modpow(&(prime - 2u8), prime)
}

fn bytes_32(value: &BigUint) -> Vec<u8> {
    let bytes = value.to_bytes_be();
    [&vec![0; 32 - bytes.len()][..], &bytes].concat()
}

/// An affine point; `None` is the point at infinity.
type Point = Option<(BigUint, BigUint)>;

/// Addition as P-256 has it. The curve's last coefficient is not in the formulas: that is the attack.
fn add(one: &Point, other: &Point) -> Point {
    let p = hex(P);
    let (Some((x1, y1)), Some((x2, y2))) = (one, other) else {
        return one.clone().or_else(|| other.clone());
    };
    let slope = if x1 != x2 {
        minus(y2, y1, &p) * inverse(&minus(x2, x1, &p), &p) % &p
    } else if y1 == y2 && *y1 != number_of(0) {
        let three_x2 = number_of(3) * x1 * x1 % &p;
        minus(&three_x2, &number_of(3), &p) * inverse(&(number_of(2) * y1), &p) % &p
    } else {
        return None;
    };
    let x = minus(&minus(&(&slope * &slope), x1, &p), x2, &p);
    let y = minus(&(&slope * minus(x1, &x, &p)), y1, &p);
    Some((x, y))
}

fn multiply(scalar: &BigUint, point: &Point) -> Point {
    (0..scalar.bits()).rev().fold(None, |sum, bit| {
        let doubled = add(&sum, &sum);
        if scalar.bit(bit) { add(&doubled, point) } else { doubled }
    })
}

/// A point of order 2, and one of order 3, each of another curve than P-256 with the same formulas.
fn small_points() -> [(u64, Point); 2] {
    let p = hex(P);
    // On y² = x³ - 3x + b a point with y = 0 has order 2, whatever b that makes.
    let two = Some((number_of(5), number_of(0)));
    // One has order 3 where 3x⁴ - 18x² + 12bx - 9 = 0. Any x gives a b, and every other b a point.
    let three = (2u64..).map(number_of).find_map(|x| {
        let x2 = &x * &x % &p;
        let rest = minus(&(number_of(9) + number_of(18) * &x2), &(number_of(3) * &x2 * &x2), &p);
        let b = rest * inverse(&(number_of(12) * &x), &p) % &p;
        let square = (minus(&(&x2 * &x), &(number_of(3) * &x), &p) + b) % &p;
        let root = square.modpow(&((&p + 1u8) >> 2), &p);
        (&root * &root % &p == square).then_some((x, root))
    });
    [(2, two), (3, three)]
}

fn encoded(point: &Point) -> Vec<u8> {
    let (x, y) = point.as_ref().expect("a finite point");
    [&[4][..], &bytes_32(x), &bytes_32(y)].concat()
}

fn private_key(client: &mut Client, curve: &[u8], scalar: &[u8]) -> u64 {
    let (class, kind) = (number(CKO_PRIVATE_KEY), number(CKK_EC));
    client.object(create(&[
        (CKA_CLASS, &class),
        (CKA_KEY_TYPE, &kind),
        (CKA_EC_PARAMS, curve),
        (CKA_VALUE, scalar),
        (CKA_TOKEN, TRUE),
        (CKA_DERIVE, TRUE),
        (CKA_SIGN, TRUE),
    ]))
}

#[test]
fn points_of_other_curves_are_refused_for_they_tell_the_key_bit_by_bit() {
    let generator = Some((hex(GX), hex(GY)));
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_GENERIC_SECRET));
    let length = number(32);
    let mut ecdh = |private: u64, point: &Point| {
        let public_data = encoded(point);
        let parameter = EcdhParameter { kdf: CKD_SHA256_KDF, shared_data: Vec::new(), public_data };
        let given =
            template(&[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_VALUE_LEN, &length)]);
        let mechanism = with(CKM_ECDH1_DERIVE, Parameter::Ecdh(parameter));
        let derive = DeriveKey { handle: private, mechanism, template: Some(given) };
        try_object(&mut alice, Operation::DeriveKey(derive))
    };
    let mut keys = hsm.alice();
    for scalar in [&CANARY[..], &KNOWN, &[7; 32], &[0x5a; 32]] {
        let private = private_key(&mut keys, P256, scalar);
        assert!(ecdh(private, &generator).is_ok());
        for (order, point) in small_points() {
            assert_eq!(multiply(&number_of(order), &point), None, "the point has order {order}");
            assert_eq!(ecdh(private, &point), Err(CKR_MECHANISM_PARAM_INVALID));

            // An HSM that computes with it answers, or fails where the key is a multiple of the order.
            let secret = BigUint::from_bytes_be(scalar);
            let answers = multiply(&secret, &point).is_some();
            assert_eq!(answers, &secret % order != number_of(0), "the key modulo {order} is told");
        }
    }

    let (class, kind) = (number(CKO_PUBLIC_KEY), number(CKK_EC));
    for (_, point) in small_points() {
        let point = [&[4, 65][..], &encoded(&point)].concat();
        let public = create(&[
            (CKA_CLASS, &class),
            (CKA_KEY_TYPE, &kind),
            (CKA_EC_PARAMS, P256),
            (CKA_EC_POINT, &point),
        ]);
        assert_eq!(keys.refused(public), CKR_ATTRIBUTE_VALUE_INVALID);
    }
}

/// r and s.
type Signature = (BigUint, BigUint);

fn split(signature: &[u8]) -> Signature {
    let (r, s) = signature.split_at(signature.len() / 2);
    (BigUint::from_bytes_be(r), BigUint::from_bytes_be(s))
}

/// The private key out of two signatures, if they have one nonce.
fn key_of_one_nonce(
    order: &BigUint,
    one: (&BigUint, &Signature),
    other: (&BigUint, &Signature),
) -> Option<BigUint> {
    let ((hash_1, (r, s_1)), (hash_2, (r_2, s_2))) = (one, other);
    if r != r_2 {
        return None;
    }
    let nonce = minus(hash_1, hash_2, order) * inverse(&minus(s_1, s_2, order), order) % order;
    Some(minus(&(s_1 * nonce), hash_1, order) * inverse(r, order) % order)
}

/// Whether one of the eight highest bits is set in fewer than a quarter of the nonces, or in more than
/// three. Of 256 fair ones that happens once in 10^15 runs.
fn are_biased(nonces: &[BigUint]) -> bool {
    (248..256).any(|bit| {
        let set = nonces.iter().filter(|nonce| nonce.bit(bit)).count();
        !(nonces.len() / 4..=3 * nonces.len() / 4).contains(&set)
    })
}

#[test]
fn nonces_are_fair_and_never_come_twice_for_one_that_does_tells_the_key() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let secret = BigUint::from_bytes_be(&CANARY);
    for (curve, order) in [(P256, ORDER), (SECP256K1, SECP256K1_ORDER)] {
        let order = hex(order);
        let private = private_key(&mut alice, curve, &CANARY);
        let signatures: Vec<_> = (1..=256u64)
            .map(|message| {
                let hash = bytes_32(&number_of(message));
                let signature = alice.bytes(sign(private, mechanism(CKM_ECDSA), &hash));
                (number_of(message), split(&signature))
            })
            .collect();
        let nonces: Vec<_> = signatures
            .iter()
            .map(|(hash, (r, s))| (hash + r * &secret) * inverse(s, &order) % &order)
            .collect();
        assert!(!are_biased(&nonces));
        for (at, (hash, signature)) in signatures.iter().enumerate() {
            for (other_hash, other) in &signatures[..at] {
                let found = key_of_one_nonce(&order, (hash, signature), (other_hash, other));
                assert_eq!(found, None);
            }
        }
    }

    // An HSM whose nonces come again, and are short.
    let order = hex(ORDER);
    let nonce = BigUint::from_bytes_be(&[0x31; 31]);
    let (r, _) = multiply(&nonce, &Some((hex(GX), hex(GY)))).expect("a finite point");
    let [one, other] = [7, 8].map(|hash| {
        let s = (number_of(hash) + &r * &secret) * inverse(&nonce, &order) % &order;
        (number_of(hash), (r.clone(), s))
    });
    let found = key_of_one_nonce(&order, (&one.0, &one.1), (&other.0, &other.1));
    assert_eq!(found.map(|key| bytes_32(&key)).as_deref(), Some(&CANARY[..]));
    assert!(are_biased(&vec![nonce; 256]));
}
