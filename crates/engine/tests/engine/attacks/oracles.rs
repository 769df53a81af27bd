//! Ciphertexts that an HSM decrypts for who may not: by the padding (Vaudenay, EUROCRYPT 2002; Bardou and
//! others, "Efficient Padding Oracle Attacks on Cryptographic Hardware", CRYPTO 2012), by a nonce that
//! comes twice, by a tag that can be guessed (Ferguson, "Authentication weaknesses in GCM", 2005).

use strongroom_wire::message::GcmParameter;

use super::extraction::xor;
use super::*;

/// Whether a block's padding is right under this IV, as C_UnwrapKey's status tells.
fn padding_is_right(
    client: &mut Client,
    key: u64,
    iv: [u8; 16],
    block: &[u8],
) -> Result<bool, u64> {
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_GENERIC_SECRET));
    let given: [(u64, &[u8]); 3] = [(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_TOKEN, FALSE)];
    let cbc = with(CKM_AES_CBC_PAD, Parameter::Iv(iv.to_vec()));
    match try_object(client, unwrap(key, cbc, block, &given)) {
        Ok(handle) => {
            client.done(destroy(handle));
            Ok(true)
        }
        // No padding but sixteen times 16 leaves nothing.
        Err(CKR_WRAPPED_KEY_LEN_RANGE) => Ok(true),
        Err(CKR_WRAPPED_KEY_INVALID) => Ok(false),
        Err(other) => Err(other),
    }
}

/// What a block decrypts to, before the chaining, by Vaudenay's attack.
fn decrypt_block(client: &mut Client, key: u64, block: &[u8]) -> Result<[u8; 16], u64> {
    let mut plain = [0u8; 16];
    for place in (0..16).rev() {
        let padding = (16 - place) as u8;
        let mut iv = [0u8; 16];
        for after in place + 1..16 {
            iv[after] = plain[after] ^ padding;
        }
        let mut found = None;
        for guess in 0..=255 {
            iv[place] = guess;
            if !padding_is_right(client, key, iv, block)? {
                continue;
            }
            // A longer padding may stand there by chance: then it does not bear another byte before.
            if place == 15 {
                let mut altered = iv;
                altered[14] ^= 0xff;
                if !padding_is_right(client, key, altered, block)? {
                    continue;
                }
            }
            found = Some(guess ^ padding);
            break;
        }
        plain[place] = found.expect("one of 256 values");
    }
    Ok(plain)
}

#[test]
fn unwrapping_by_cbc_is_no_padding_oracle() {
    is_refused_only_by(Guard::Oracles, CKR_KEY_FUNCTION_NOT_PERMITTED, || {
        let hsm = Hsm::active();
        let mut alice = hsm.alice();
        let key = alice.object(aes(&[(CKA_WRAP, TRUE), (CKA_UNWRAP, TRUE)]));
        let target = aes_of(&mut alice, &CANARY, &[]);
        let wrapped = alice.bytes(wrap(key, cbc_pad(), target));
        let first = decrypt_block(&mut alice, key, &wrapped[..16])?;
        let second = decrypt_block(&mut alice, key, &wrapped[16..32])?;
        Ok([first.to_vec(), xor(&second, &wrapped[..16])].concat())
    });
}

/// What is authenticated has one code for whatever was altered.
#[test]
fn authenticated_wraps_tell_nothing_of_what_was_altered() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_WRAP, TRUE), (CKA_UNWRAP, TRUE)]));
    let target = aes_of(&mut alice, &CANARY, &[]);
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_GENERIC_SECRET));
    let given: [(u64, &[u8]); 2] = [(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind)];
    for kind in [CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PKCS7] {
        let wrapped = alice.bytes(wrap(key, mechanism(kind), target));
        for at in 0..8 * wrapped.len() {
            let mut altered = wrapped.clone();
            altered[at / 8] ^= 1 << (at % 8);
            let request = unwrap(key, mechanism(kind), &altered, &given);
            assert_eq!(alice.refused(request), CKR_WRAPPED_KEY_INVALID, "{kind:#x}, bit {at}");
        }
    }
}

fn gcm(iv: &[u8], tag_bits: u32) -> Option<Mechanism> {
    let gcm = GcmParameter { iv: iv.to_vec(), aad: Vec::new(), tag_bits };
    with(CKM_AES_GCM, Parameter::Gcm(gcm))
}

/// Two keys under one IV have one key stream: who knows one knows the other.
#[test]
fn gcm_wraps_no_two_keys_under_one_iv() {
    is_refused_only_by(Guard::Oracles, CKR_KEY_FUNCTION_NOT_PERMITTED, || {
        let hsm = Hsm::token();
        let mut user = hsm.user();
        let key = user.object(aes(&[(CKA_WRAP, TRUE), (CKA_DECRYPT, FALSE)]));
        let target = aes_of(&mut user, &CANARY, &[(CKA_EXTRACTABLE, TRUE)]);
        let known = aes_of(&mut user, &KNOWN, &[(CKA_EXTRACTABLE, TRUE)]);
        let stream = try_bytes(&mut user, wrap(key, gcm(&[9; 12], 128), known))?;
        let wrapped = try_bytes(&mut user, wrap(key, gcm(&[9; 12], 128), target))?;
        Ok(xor(&xor(&stream, &KNOWN), &wrapped))
    });
}

/// The same with messages. A token takes the caller's IV, as PKCS#11 has it: it is what a CloudHSM would
/// be without its guard.
#[test]
fn a_cloudhsm_encrypts_no_two_messages_under_one_iv() {
    let attack = |mut client: Client| {
        let key = client.object(aes(&[(CKA_ENCRYPT, TRUE)]));
        let known = try_bytes(&mut client, encrypt(key, gcm(&[9; 12], 128), &KNOWN))?;
        let secret = try_bytes(&mut client, encrypt(key, gcm(&[9; 12], 128), &CANARY))?;
        Ok(xor(&xor(&known, &KNOWN), &secret))
    };
    assert_eq!(attack(Hsm::active().alice()), Err(CKR_MECHANISM_PARAM_INVALID));
    assert_eq!(attack(Hsm::token().user()).as_deref(), Ok(&CANARY[..]));
}

/// A tag of eight bits is guessed in 256 attempts. Here the test plays the HSM that takes one: it compares
/// as many bits of the right tag.
#[test]
fn short_gcm_tags_would_be_guessed() {
    let hsm = Hsm::active();
    let mut alice = hsm.alice();
    let key = alice.object(aes(&[(CKA_ENCRYPT, TRUE), (CKA_DECRYPT, TRUE)]));
    for tag_bits in [0, 1, 8, 16, 24, 31, 33, 95, 127, 129] {
        let short = encrypt(key, gcm(&[0; 12], tag_bits), &CANARY);
        assert_eq!(alice.refused(short), CKR_MECHANISM_PARAM_INVALID, "{tag_bits}");
        let short = decrypt(key, gcm(&[9; 12], tag_bits), &[0; 64]);
        assert_eq!(alice.refused(short), CKR_MECHANISM_PARAM_INVALID, "{tag_bits}");
    }
    // What others made may have shorter tags than what is made here.
    for tag_bits in [32, 64] {
        let short = encrypt(key, gcm(&[0; 12], tag_bits), &CANARY);
        assert_eq!(alice.refused(short), CKR_MECHANISM_PARAM_INVALID, "{tag_bits}");
    }

    let token = Hsm::token();
    let mut user = token.user();
    let key = user.object(aes(&[]));
    let right = user.bytes(encrypt(key, gcm(&[9; 12], 128), b"pay eve 1"));
    let mut takes = |forged: &[u8], tag: u8| {
        // The right tag of the forged ciphertext, of which this HSM looks at one byte.
        let message = xor(&xor(&right, b"pay eve 1"), forged);
        user.bytes(encrypt(key, gcm(&[9; 12], 128), &message))[9] == tag
    };
    let forged = xor(&xor(&right, b"pay eve 1"), b"pay eve 9");
    assert!((0..=255).any(|tag| takes(&forged, tag)));
}
