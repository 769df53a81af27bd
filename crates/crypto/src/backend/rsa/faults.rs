//! Boneh, DeMillo and Lipton, "On the Importance of Checking Cryptographic Protocols for Faults" (EUROCRYPT
//! '97): a signature in which one half of the CRT went wrong factors the modulus. A key with a wrong
//! exponent plays the fault.

use num_bigint::BigUint;

use super::*;

const BITS: u32 = 2048;
const BYTES: usize = 256;
const DATA: &[u8] = b"signed with a fault";

fn number(bytes: &[u8]) -> BigUint {
    BigUint::from_bytes_be(bytes)
}

fn part(key: &RsaKey, part: Part) -> BigUint {
    number(key.part(part).expect("a private key").as_bytes())
}

/// The same key, but for what it does modulo the first prime.
fn with_a_fault(key: &RsaKey) -> RsaKey {
    let owned = |value: &BigUint| bn::number(&value.to_bytes_be()).expect("memory").into_raw();
    let (n, e) = (key.modulus().expect("memory"), key.public_exponent().expect("memory"));
    let wrong = part(key, Part::Exponent1) ^ BigUint::from(2u8);
    // SAFETY: the new object is ours, and takes over numbers that are nobody else's.
    unsafe {
        let rsa = Owned::new(sys::RSA_new()).expect("memory");
        let raw = rsa.as_ptr();
        let d = owned(&part(key, Part::PrivateExponent));
        ok(sys::RSA_set0_key(raw, owned(&number(&n)), owned(&number(&e)), d)).expect("set");
        let (p, q) = (part(key, Part::Prime1), part(key, Part::Prime2));
        ok(sys::RSA_set0_factors(raw, owned(&p), owned(&q))).expect("set");
        let exponent_2 = owned(&part(key, Part::Exponent2));
        let coefficient = owned(&part(key, Part::Coefficient));
        ok(sys::RSA_set0_crt_params(raw, owned(&wrong), exponent_2, coefficient)).expect("set");
        RsaKey::adopt(rsa)
    }
}

/// What a key that verifies nothing would sign.
fn unverified(key: &RsaKey, padded: &BigUint, exponent_1: &BigUint) -> BigUint {
    let (p, q) = (part(key, Part::Prime1), part(key, Part::Prime2));
    let modulo_p = padded.modpow(exponent_1, &p);
    let modulo_q = padded.modpow(&part(key, Part::Exponent2), &q);
    let difference = (modulo_p + &p - (&modulo_q % &p)) % &p;
    &modulo_q + (difference * part(key, Part::Coefficient) % &p) * &q
}

fn common_divisor(mut a: BigUint, mut b: BigUint) -> BigUint {
    while b != BigUint::default() {
        (a, b) = (b.clone(), a % b);
    }
    a
}

#[test]
fn a_faulty_signature_stays_here_for_it_would_factor_the_modulus() {
    let key = RsaKey::generate_fips(BITS).expect("a key");
    let faulty = with_a_fault(&key);
    assert!(key.sign_pkcs1(DATA).is_ok());
    assert!(faulty.sign_pkcs1(DATA).is_err());
    assert!(faulty.sign_pss(Hash::Sha256, Hash::Sha256, 32, &[7; 32]).is_err());
    let raw = [&[0; BYTES - DATA.len()][..], DATA].concat();
    assert!(faulty.sign_raw(&raw).is_err());
    assert!(faulty.decrypt_raw(&raw).is_err());

    let padding = vec![0xff; BYTES - 3 - DATA.len()];
    let padded = number(&[&[0, 1][..], &padding, &[0], DATA].concat());
    let right = unverified(&key, &padded, &part(&key, Part::Exponent1));
    assert_eq!(right, number(&key.sign_pkcs1(DATA).expect("a signature")));
    let wrong = unverified(&key, &padded, &part(&faulty, Part::Exponent1));
    let n = number(&key.modulus().expect("memory"));
    let e = number(&key.public_exponent().expect("memory"));
    let difference = (wrong.modpow(&e, &n) + &n - &padded) % &n;
    assert_eq!(common_divisor(n, difference), part(&key, Part::Prime2));
}
