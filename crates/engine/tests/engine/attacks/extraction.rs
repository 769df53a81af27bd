//! Keys taken out by what the API offers: Clulow, "On the Security of PKCS #11" (CHES 2003); Delaune,
//! Kremer and Steel, "Formal Analysis of PKCS#11" (CSF 2008); Bortolozzo, Centenaro, Focardi and Steel,
//! "Attacking and Fixing PKCS#11 Security Tokens" (CCS 2010).

use aws_lc_rs::{digest, hmac};
use strongroom_wire::message::{DeriveKey, EcdhParameter, GcmParameter};

use super::*;

/// Wraps `target` by a key that decrypts, and decrypts.
fn wrap_then_decrypt(client: &mut Client, key: u64, target: u64) -> Result<Vec<u8>, u64> {
    let wrapped = try_bytes(client, wrap(key, cbc_pad(), target))?;
    try_bytes(client, decrypt(key, cbc_pad(), &wrapped))
}

/// The canary wrapped by a key of which the attacker knows the value.
fn wrap_under_known(client: &mut Client, target: u64) -> Result<Vec<u8>, u64> {
    let known = aes_of(client, &KNOWN, &[(CKA_WRAP, TRUE), (CKA_DECRYPT, TRUE)]);
    wrap_then_decrypt(client, known, target)
}

fn derive(base: u64, mechanism: Option<Mechanism>, attributes: &[(u64, &[u8])]) -> Operation {
    let template = Some(template(attributes));
    Operation::DeriveKey(DeriveKey { handle: base, mechanism, template })
}

#[test]
fn a_sensitive_key_is_not_read() {
    for (sensitive, extractable) in [(TRUE, TRUE), (TRUE, FALSE), (FALSE, FALSE)] {
        is_refused_only_by(Guard::Sensitive, CKR_ATTRIBUTE_SENSITIVE, || {
            let hsm = Hsm::active();
            let mut alice = hsm.alice();
            let protection = [(CKA_SENSITIVE, sensitive), (CKA_EXTRACTABLE, extractable)];
            let target = aes_of(&mut alice, &CANARY, &protection);
            alice.attribute(target, CKA_VALUE)
        });
    }
}

#[test]
fn an_unextractable_key_is_not_wrapped_and_decrypted() {
    is_refused_only_by(Guard::Extractable, CKR_KEY_UNEXTRACTABLE, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let target = aes_of(&mut alice, &CANARY, &[(CKA_EXTRACTABLE, FALSE)]);
        let key = alice.object(aes(&[(CKA_WRAP, TRUE), (CKA_DECRYPT, TRUE)]));
        wrap_then_decrypt(&mut alice, key, target)
    });
}

#[test]
fn a_key_that_wants_a_trusted_one_is_not_wrapped_and_decrypted() {
    is_refused_only_by(Guard::WrapWithTrusted, CKR_KEY_NOT_WRAPPABLE, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let target = aes_of(&mut alice, &CANARY, &[(CKA_WRAP_WITH_TRUSTED, TRUE)]);
        let key = alice.object(aes(&[(CKA_WRAP, TRUE), (CKA_DECRYPT, TRUE)]));
        wrap_then_decrypt(&mut alice, key, target)
    });
}

/// What the manual says: an extractable key that does not want a trusted one is its owner's to take.
#[test]
fn an_extractable_key_is_taken_by_its_owner() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let target = aes_of(&mut alice, &CANARY, &[]);
    assert_eq!(wrap_under_known(&mut alice, target).as_deref(), Ok(&CANARY[..]));
}

#[test]
fn a_trusted_key_does_not_decrypt_what_it_wraps() {
    is_refused_only_by(Guard::TrustedUse, CKR_KEY_FUNCTION_NOT_PERMITTED, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let target = aes_of(&mut alice, &CANARY, &[(CKA_WRAP_WITH_TRUSTED, TRUE)]);
        let key = alice.object(aes(&[(CKA_WRAP, TRUE), (CKA_DECRYPT, TRUE)]));
        trust(&hsm, key);
        wrap_then_decrypt(&mut alice, key, target)
    });
}

/// Counter mode decrypts by encrypting: zeros under the counter at which GCM began are its key stream.
#[test]
fn a_trusted_key_does_not_encrypt_the_key_stream_of_what_it_wraps() {
    is_refused_only_by(Guard::TrustedUse, CKR_KEY_FUNCTION_NOT_PERMITTED, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let target = aes_of(&mut alice, &CANARY, &[(CKA_WRAP_WITH_TRUSTED, TRUE)]);
        let key = alice.object(aes(&[(CKA_WRAP, TRUE), (CKA_ENCRYPT, TRUE)]));
        trust(&hsm, key);
        let gcm = GcmParameter { iv: vec![0; 12], aad: Vec::new(), tag_bits: 128 };
        let request = wrap(key, with(CKM_AES_GCM, Parameter::Gcm(gcm)), target);
        let Ok(Some(Outcome::Encrypted(wrapped))) = alice.call(request) else {
            panic!("a trusted key wraps");
        };
        let counter = [&wrapped.iv[..], &[0, 0, 0, 2]].concat();
        let zeros = encrypt(key, with(CKM_AES_CTR, Parameter::Iv(counter)), &[0; 32]);
        Ok(xor(&try_bytes(&mut alice, zeros)?, &wrapped.data))
    });
}

#[test]
fn a_trusted_key_is_not_given_another_use_by_its_owner() {
    guard::without(Guard::TrustedUse, || {
        is_refused_only_by(Guard::TrustedSettings, CKR_ATTRIBUTE_READ_ONLY, || {
            let hsm = Hsm::active();
            let mut alice = hsm.alice();
            let target = aes_of(&mut alice, &CANARY, &[(CKA_WRAP_WITH_TRUSTED, TRUE)]);
            let key = alice.object(aes(&[(CKA_WRAP, TRUE)]));
            trust(&hsm, key);
            alice.set(key, template(&[(CKA_DECRYPT, TRUE)]))?;
            wrap_then_decrypt(&mut alice, key, target)
        });
    });
}

/// Who has the trusted key's value has what it wrapped.
#[test]
fn a_trusted_key_leaves_under_a_trusted_one_only() {
    is_refused_only_by(Guard::WrapWithTrusted, CKR_KEY_NOT_WRAPPABLE, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let target = aes_of(&mut alice, &CANARY, &[(CKA_WRAP, TRUE)]);
        trust(&hsm, target);
        wrap_under_known(&mut alice, target)
    });
}

#[test]
fn nobody_but_an_admin_makes_a_key_trusted() {
    is_refused_only_by(Guard::TrustedByAdmin, CKR_ATTRIBUTE_READ_ONLY, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let target = aes_of(&mut alice, &CANARY, &[(CKA_WRAP_WITH_TRUSTED, TRUE)]);
        let known = aes_of(&mut alice, &KNOWN, &[(CKA_WRAP, TRUE)]);
        let reads = aes_of(&mut alice, &KNOWN, &[(CKA_DECRYPT, TRUE)]);
        alice.set(known, template(&[(CKA_TRUSTED, TRUE)]))?;
        let wrapped = try_bytes(&mut alice, wrap(known, cbc_pad(), target))?;
        try_bytes(&mut alice, decrypt(reads, cbc_pad(), &wrapped))
    });
}

/// The Trojan key: bytes of the attacker's, encrypted by a key that also unwraps, come in as a key.
#[test]
fn a_trojan_key_does_not_come_in_as_a_trusted_one() {
    is_refused_only_by(Guard::TrustedByAdmin, CKR_ATTRIBUTE_READ_ONLY, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let target = aes_of(&mut alice, &CANARY, &[(CKA_WRAP_WITH_TRUSTED, TRUE)]);
        let reads = aes_of(&mut alice, &KNOWN, &[(CKA_DECRYPT, TRUE)]);
        let gate =
            alice.object(aes(&[(CKA_ENCRYPT, TRUE), (CKA_DECRYPT, TRUE), (CKA_UNWRAP, TRUE)]));
        let horse = alice.bytes(encrypt(gate, cbc_pad(), &KNOWN));
        let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
        let given: [(u64, &[u8]); 4] =
            [(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_WRAP, TRUE), (CKA_TRUSTED, TRUE)];
        let trojan = try_object(&mut alice, unwrap(gate, cbc_pad(), &horse, &given))?;
        let wrapped = try_bytes(&mut alice, wrap(trojan, cbc_pad(), target))?;
        try_bytes(&mut alice, decrypt(reads, cbc_pad(), &wrapped))
    });
}

/// Wraps the canary by a trusted key and unwraps it with other attributes.
fn reimport(alice: &mut Client, hsm: &Hsm, given: &[(u64, &[u8])]) -> Result<u64, u64> {
    let target = aes_of(alice, &CANARY, &[(CKA_WRAP_WITH_TRUSTED, TRUE)]);
    let key = alice.object(aes(&[(CKA_WRAP, TRUE), (CKA_UNWRAP, TRUE)]));
    trust(hsm, key);
    let wrapped = alice.bytes(wrap(key, mechanism(CKM_AES_KEY_WRAP), target));
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
    let mut all: Vec<(u64, &[u8])> = vec![(CKA_CLASS, &class)];
    if !given.iter().any(|(kind, _)| *kind == CKA_KEY_TYPE) {
        all.push((CKA_KEY_TYPE, &kind));
    }
    all.extend_from_slice(given);
    try_object(alice, unwrap(key, mechanism(CKM_AES_KEY_WRAP), &wrapped, &all))
}

#[test]
fn what_left_under_a_trusted_key_comes_back_no_weaker() {
    let open: [(u64, &[u8]); 2] = [(CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)];
    is_refused_only_by(Guard::Inheritance, CKR_TEMPLATE_INCONSISTENT, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let back = reimport(&mut alice, &hsm, &open)?;
        alice.attribute(back, CKA_VALUE)
    });
    // Nor where the template says nothing, and the way out is another key.
    is_refused_only_by(Guard::Inheritance, CKR_KEY_NOT_WRAPPABLE, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let back = reimport(&mut alice, &hsm, &[])?;
        wrap_under_known(&mut alice, back)
    });
}

/// An AES key that comes back as bytes without a purpose, which nothing would have to protect.
#[test]
fn what_left_under_a_trusted_key_comes_back_no_weaker_as_another_type() {
    let generic = number(CKK_GENERIC_SECRET);
    let confused: [(u64, &[u8]); 3] =
        [(CKA_KEY_TYPE, &generic), (CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)];
    is_refused_only_by(Guard::Inheritance, CKR_TEMPLATE_INCONSISTENT, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let back = reimport(&mut alice, &hsm, &confused)?;
        alice.attribute(back, CKA_VALUE)
    });
}

#[test]
fn attributes_are_not_turned_back() {
    for (kind, weaker) in [(CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)] {
        is_refused_only_by(Guard::OneWay, CKR_ATTRIBUTE_READ_ONLY, || {
            let hsm = Hsm::active();
            let mut alice = hsm.alice();
            let protection: [(u64, &[u8]); 2] = match kind {
                CKA_SENSITIVE => [(CKA_SENSITIVE, TRUE), (CKA_EXTRACTABLE, TRUE)],
                _ => [(CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, FALSE)],
            };
            let target = aes_of(&mut alice, &CANARY, &protection);
            alice.set(target, template(&[(kind, weaker)]))?;
            alice.attribute(target, CKA_VALUE)
        });
    }
    is_refused_only_by(Guard::OneWay, CKR_ATTRIBUTE_READ_ONLY, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let target = aes_of(&mut alice, &CANARY, &[(CKA_WRAP_WITH_TRUSTED, TRUE)]);
        alice.set(target, template(&[(CKA_WRAP_WITH_TRUSTED, FALSE)]))?;
        wrap_under_known(&mut alice, target)
    });
}

#[test]
fn attributes_are_not_turned_back_by_a_copy() {
    let open: [(u64, &[u8]); 2] = [(CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)];
    is_refused_only_by(Guard::OneWay, CKR_ATTRIBUTE_READ_ONLY, || {
        let hsm = Hsm::token();
        let mut user = hsm.user();
        let target = aes_of(&mut user, &CANARY, &[]);
        let copied = try_object(&mut user, copy(target, &open))?;
        user.attribute(copied, CKA_VALUE)
    });
}

/// The same derivation with other attributes gives the same key.
#[test]
fn attributes_are_not_turned_back_by_a_derivation() {
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_GENERIC_SECRET));
    let open: [(u64, &[u8]); 2] = [(CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)];
    is_refused_only_by(Guard::Inheritance, CKR_TEMPLATE_INCONSISTENT, || {
        let hsm = Hsm::token();
        let mut user = hsm.user();
        let base = user.object(create(&[
            (CKA_CLASS, &class),
            (CKA_KEY_TYPE, &kind),
            (CKA_VALUE, &KNOWN),
            (CKA_DERIVE, TRUE),
            (CKA_WRAP_WITH_TRUSTED, TRUE),
        ]));
        let sha256 = || mechanism(CKM_SHA256_KEY_DERIVATION);
        let kept = user.object(derive(base, sha256(), &[]));
        assert_eq!(user.attribute(kept, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        let read = try_object(&mut user, derive(base, sha256(), &open))?;
        let value = user.attribute(read, CKA_VALUE)?;
        let is_kept = value == digest::digest(&digest::SHA256, &KNOWN).as_ref();
        Ok(if is_kept { CANARY.to_vec() } else { value })
    });
}

#[test]
fn another_users_handles_are_of_no_use() {
    for stranger in [false, true] {
        let refusal = if stranger { CKR_USER_NOT_LOGGED_IN } else { CKR_KEY_HANDLE_INVALID };
        is_refused_only_by(Guard::Ownership, refusal, || {
            let hsm = Hsm::active();
            let mut alice = hsm.alice();
            let key = alice.object(aes(&[(CKA_ENCRYPT, TRUE), (CKA_DECRYPT, TRUE)]));
            let secret = alice.bytes(encrypt(key, cbc_pad(), &CANARY));
            let mut eve = if stranger { hsm.client() } else { hsm.bob() };
            // Handles are numbers, and near one another.
            for handle in key - 16..key {
                assert!(try_bytes(&mut eve, decrypt(handle, cbc_pad(), &secret)).is_err());
            }
            try_bytes(&mut eve, decrypt(key, cbc_pad(), &secret))
        });
    }
}

/// Of a key of one byte all values can be tried, of one of two bytes the second, and so on. Here the
/// test plays the HSM that derives such keys: it makes them of a secret that it may read.
#[test]
fn short_derived_keys_would_tell_a_secret_byte_by_byte() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let given: [(u64, &[u8]); 2] = [(CKA_EC_PARAMS, P256), (CKA_TOKEN, TRUE)];
    let (public, private) =
        user.pair(generate_pair(CKM_EC_KEY_PAIR_GEN, &given, &[(CKA_DERIVE, TRUE)]));
    let peer = user.attribute(public, CKA_EC_POINT).unwrap();
    let ecdh = || {
        let public_data = peer.clone();
        let parameter = EcdhParameter { kdf: CKD_NULL, shared_data: Vec::new(), public_data };
        with(CKM_ECDH1_DERIVE, Parameter::Ecdh(parameter))
    };
    for length in 1..14 {
        let short = derive(private, ecdh(), &[(CKA_VALUE_LEN, &number(length)), (CKA_SIGN, TRUE)]);
        assert_eq!(user.refused(short), CKR_KEY_SIZE_RANGE, "{length}");
    }

    let open: [(u64, &[u8]); 2] = [(CKA_SENSITIVE, FALSE), (CKA_EXTRACTABLE, TRUE)];
    let whole = user.object(derive(private, ecdh(), &open));
    let secret = user.attribute(whole, CKA_VALUE).unwrap();
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_GENERIC_SECRET));
    let mut weak = |length: usize| {
        let value = &secret[secret.len() - length..];
        let handle = user.object(create(&[
            (CKA_CLASS, &class),
            (CKA_KEY_TYPE, &kind),
            (CKA_VALUE, value),
            (CKA_SIGN, TRUE),
        ]));
        user.bytes(sign(handle, mechanism(CKM_SHA256_HMAC), b"message"))
    };
    let mut found = Vec::new();
    for length in 1..=32 {
        let tag = weak(length);
        let guess = (0..=255).map(|byte| [&[byte], &found[..]].concat()).find(|guess| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, guess);
            hmac::sign(&key, b"message").as_ref() == tag
        });
        found = guess.expect("one of 256 values");
    }
    assert_eq!(found, secret);
}

pub(super) fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(a, b)| a ^ b).collect()
}
