//! RSA: Bleichenbacher (CRYPTO '98) and Manger (CRYPTO 2001) against C_Decrypt and C_UnwrapKey, as Bardou
//! and others ran them against tokens (CRYPTO 2012); exponents that encrypt nothing; faults (Boneh, DeMillo
//! and Lipton, EUROCRYPT '97).
//!
//! An HSM that tells of the padding is played by the test, which knows the plaintext: multiplied by the
//! attacker's factor, it says of each question what such an HSM would.

use std::collections::BTreeSet;

use num_bigint::BigUint;
use strongroom_wire::message::OaepParameter;

use super::*;

const BITS: u64 = 1024;
const BYTES: usize = 128;
const EXPONENT: u32 = 65537;

/// A token with a pair that the attacker asks to decrypt: public, private, modulus.
fn short_pair(client: &mut Client) -> (u64, u64, BigUint) {
    let bits = number(BITS);
    let public: [(u64, &[u8]); 2] = [(CKA_MODULUS_BITS, &bits), (CKA_PUBLIC_EXPONENT, &[1, 0, 1])];
    let pair = client.pair(generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &[]));
    let modulus = client.attribute(pair.0, CKA_MODULUS).unwrap();
    (pair.0, pair.1, BigUint::from_bytes_be(&modulus))
}

fn padded(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    [&vec![0; BYTES - bytes.len()][..], &bytes].concat()
}

fn ceil(a: &BigUint, b: &BigUint) -> BigUint {
    (a + b - 1u8) / b
}

/// A question to an HSM: the ciphertext multiplied, so that the plaintext is.
fn question(ciphertext: &[u8], factor: &BigUint, n: &BigUint) -> Vec<u8> {
    let factor = factor.modpow(&EXPONENT.into(), n);
    padded(&(BigUint::from_bytes_be(ciphertext) * factor % n))
}

/// Bleichenbacher's attack: the padded message, where `is_padded` tells of each factor whether the message
/// times it begins with 00 02. Gives up where the answers contradict each other.
fn bleichenbacher(n: &BigUint, mut is_padded: impl FnMut(&BigUint) -> bool) -> Option<BigUint> {
    let b = BigUint::from(1u8) << (8 * (BYTES - 2));
    let (two_b, three_b) = (&b * 2u8, &b * 3u8);
    let mut intervals = vec![(two_b.clone(), &three_b - 1u8)];
    let mut s = ceil(n, &three_b);
    while !is_padded(&s) {
        s += 1u8;
    }
    for _ in 0..4 * BITS {
        let mut narrowed = Vec::new();
        for (low, high) in &intervals {
            let first = low * &s + 1u8;
            let above = first > three_b;
            let mut r = if above { ceil(&(first - &three_b), n) } else { BigUint::default() };
            while &r * n + &two_b <= high * &s {
                let from = low.max(&ceil(&(&two_b + &r * n), &s)).clone();
                let to = high.min(&((&three_b - 1u8 + &r * n) / &s)).clone();
                if from <= to {
                    narrowed.push((from, to));
                }
                r += 1u8;
            }
        }
        narrowed.sort();
        narrowed.dedup();
        intervals = narrowed;
        match &intervals[..] {
            [] => return None,
            [(low, high)] if low == high => return Some(low.clone()),
            [(low, high)] => {
                let mut r = ceil(&((high * &s - &two_b) * 2u8), n);
                s = 'found: loop {
                    let mut next = ceil(&(&two_b + &r * n), high);
                    while next <= (&three_b + &r * n) / low {
                        if is_padded(&next) {
                            break 'found next;
                        }
                        next += 1u8;
                    }
                    r += 1u8;
                };
            }
            _ => {
                s += 1u8;
                while !is_padded(&s) {
                    s += 1u8;
                }
            }
        }
    }
    None
}

/// The message out of 00 02 … 00.
fn without_padding(padded: &[u8]) -> &[u8] {
    let zero = padded.iter().skip(2).position(|byte| *byte == 0).expect("the padding ends");
    &padded[2 + zero + 1..]
}

#[test]
fn pkcs1_padding_is_not_told_of() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let (public, private, n) = short_pair(&mut user);
    let ciphertext = user.bytes(encrypt(public, mechanism(CKM_RSA_PKCS), &CANARY));
    let raw = |user: &mut Client, ciphertext: &[u8]| {
        user.bytes(decrypt(private, mechanism(CKM_RSA_X_509), ciphertext))
    };

    // One that tells: the answers are those of the key, as a few questions show.
    let message = BigUint::from_bytes_be(&raw(&mut user, &ciphertext));
    let tells = |factor: &BigUint| padded(&(&message * factor % &n)).starts_with(&[0, 2]);
    for factor in 1..=16u8 {
        let factor = BigUint::from(factor);
        let decrypted = raw(&mut user, &question(&ciphertext, &factor, &n));
        assert_eq!(decrypted.starts_with(&[0, 2]), tells(&factor));
    }
    let found = bleichenbacher(&n, tells).expect("the attack should succeed");
    assert_eq!(without_padding(&padded(&found)), CANARY);

    // The product: whatever is asked, there is a message and a key.
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_GENERIC_SECRET));
    let given: [(u64, &[u8]); 3] = [(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_TOKEN, FALSE)];
    let mut statuses = BTreeSet::new();
    let found = bleichenbacher(&n, |factor| {
        let asked = question(&ciphertext, factor, &n);
        assert!(try_bytes(&mut user, decrypt(private, mechanism(CKM_RSA_PKCS), &asked)).is_ok());
        let request = unwrap(private, mechanism(CKM_RSA_PKCS), &asked, &given);
        let status = try_object(&mut user, request).map(|key| user.done(destroy(key))).err();
        statuses.insert(status);
        status.is_none()
    });
    assert_ne!(found, Some(message));
    // A message, made up or not, may be empty, which no key is.
    assert!(statuses.is_subset(&BTreeSet::from([None, Some(CKR_WRAPPED_KEY_LEN_RANGE)])));
}

/// Manger's attack: the padded message, where `is_short` tells of each factor whether the message times it
/// begins with 00. `None` where the answers contradict each other.
fn manger(n: &BigUint, mut is_short: impl FnMut(&BigUint) -> bool) -> Option<BigUint> {
    let b = BigUint::from(1u8) << (8 * (BYTES - 1));
    let mut double = BigUint::from(2u8);
    while is_short(&double) {
        double *= 2u8;
        if double > *n {
            return None;
        }
    }
    let half = double >> 1;
    let mut factor = (n + &b) / &b * &half;
    while !is_short(&factor) {
        factor += &half;
        if factor > n * 2u8 {
            return None;
        }
    }
    let (mut low, mut high) = (ceil(n, &factor), (n + &b) / &factor);
    while low < high {
        let about = &b * 2u8 / (&high - &low);
        let i = about * &low / n;
        let factor = ceil(&(&i * n), &low);
        if is_short(&factor) {
            high = (&i * n + &b) / &factor;
        } else {
            low = ceil(&(&i * n + &b), &factor);
        }
    }
    (low == high).then_some(low)
}

#[test]
fn oaep_padding_is_not_told_of() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let (public, private, n) = short_pair(&mut user);
    let oaep = || {
        let mut oaep = OaepParameter::default();
        (oaep.hash, oaep.mgf) = (CKM_SHA_1, CKG_MGF1_SHA1);
        with(CKM_RSA_PKCS_OAEP, Parameter::Oaep(oaep))
    };
    let ciphertext = user.bytes(encrypt(public, oaep(), &CANARY));
    let raw = decrypt(private, mechanism(CKM_RSA_X_509), &ciphertext);
    let message = BigUint::from_bytes_be(&user.bytes(raw));
    let tells = |factor: &BigUint| padded(&(&message * factor % &n))[0] == 0;
    assert_eq!(manger(&n, tells).as_ref(), Some(&message), "the attack should succeed");

    // The product says the same of both.
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_GENERIC_SECRET));
    let given: [(u64, &[u8]); 2] = [(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind)];
    let mut asked_of = BTreeSet::new();
    // Some of these are short: one in 200 or so of all.
    let short = (2..1u32 << 16).map(BigUint::from).filter(tells).take(8);
    for factor in (2..10u32).map(BigUint::from).chain(short) {
        asked_of.insert(tells(&factor));
        let asked = question(&ciphertext, &factor, &n);
        let decrypted = try_bytes(&mut user, decrypt(private, oaep(), &asked));
        assert_eq!(decrypted, Err(CKR_ENCRYPTED_DATA_INVALID));
        let unwrapped = try_object(&mut user, unwrap(private, oaep(), &asked, &given));
        assert_eq!(unwrapped, Err(CKR_WRAPPED_KEY_INVALID));
    }
    assert_eq!(asked_of, BTreeSet::from([false, true]), "both sorts were asked for");
}

/// A key wrapped by x^1 lies open (Clulow 2003, 2.3).
#[test]
fn exponents_that_encrypt_nothing_are_refused() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let (public, private, n) = short_pair(&mut user);
    let (class, kind) = (number(CKO_PUBLIC_KEY), number(CKK_RSA));
    for exponent in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0], &[4], &[0xff; 128]] {
        let weak = create(&[
            (CKA_CLASS, &class),
            (CKA_KEY_TYPE, &kind),
            (CKA_MODULUS, &padded(&n)),
            (CKA_PUBLIC_EXPONENT, exponent),
        ]);
        assert_eq!(user.refused(weak), CKR_ATTRIBUTE_VALUE_INVALID, "{exponent:?}");
        let bits = number(BITS);
        let public: [(u64, &[u8]); 2] =
            [(CKA_MODULUS_BITS, &bits), (CKA_PUBLIC_EXPONENT, exponent)];
        let weak = generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &[]);
        assert_eq!(user.refused(weak), CKR_ATTRIBUTE_VALUE_INVALID, "{exponent:?}");
    }

    // What an HSM would wrap by such a key: the padded canary, to the power of one.
    let ciphertext = user.bytes(encrypt(public, mechanism(CKM_RSA_PKCS), &CANARY));
    let raw = user.bytes(decrypt(private, mechanism(CKM_RSA_X_509), &ciphertext));
    let wrapped = BigUint::from_bytes_be(&raw).modpow(&BigUint::from(1u8), &n);
    assert_eq!(without_padding(&padded(&wrapped)), CANARY);
}
