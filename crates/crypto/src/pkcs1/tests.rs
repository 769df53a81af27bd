use super::*;
use crate::backend::testing::hex;
use crate::{Key, Params, RsaImport, decrypt, encrypt, generate_rsa, mechanism, unwrap, wrap};
use cryptoki_sys as ck;

/// A key made for these tests by OpenSSL 4.0.0, modulus and private exponent (e = 65537).
const MODULUS: &str = "
    c052dd48d6f712d8c7900f0f805ce0a3f632f1837ba1914e2a71c1363fb8308689c345b06956adae
    c5a7d5c959074a9ccf9d8cb087026f0ea0c582b30263dab3e42f620d430660c388d9bb3453f6f31b
    c54c7a1e504c267cf481a9e48145f8d02bf64f2169fb35267889d72d0f2c03c9f5b947f312f75de4
    cf4babc6d7868e5e4b99cde06fdbb19d2358d5bff66bd38ba089be2946140c348376cfa8c7858d2c
    70d6e34f6ed0a33f84f48a4034c0d54445defe5e66885154b93ecea39ca9a11d6de0beb6363cf4ad
    73d38889cc75cdca2ada88ab7611b405f493b80a2355ad3f901f85eacc90afafd563636b0b9c9f06
    ae4f326a2423e85ac48a0d08b19ea563";
const PRIVATE_EXPONENT: &str = "
    5ec7f7ba3006afc91a008b0b8ead372056f32047362497e1b7d53bed2a55f1c43c1c7a39c8902924
    5ad0adf17ee8b302b8e6e231153843d727b06f0b1d806c85ff4cc2bbda6e483dd531c8aaaf3ea2ec
    eabd17e9dc94cadb05fce8e76e3637bb100f614c0c58fb06ac9cf1e888f39e2267f119de57588573
    801dc0d84bdb4a499f1b4bb13bc9a9cbd87fa42701405f661f068d7339249138606ec3b07230d716
    a0aa463504ba822f793a4951677157c8fb64cf3e2e7d44bd655a3343c0a3d150e585af1a7c23bdce
    80da88ed4bdccc443c7f2ae704b9b4cf48d932aa834f99d53d95f7c7cdf8510cfcfed0fedae7cd71
    091002deb073c0de60de0b335c5708f1";

fn key() -> Key {
    Key::from_rsa_private_parts(&RsaImport {
        modulus: &hex(MODULUS),
        public_exponent: &[1, 0, 1],
        private_exponent: &hex(PRIVATE_EXPONENT),
        prime_1: None,
        prime_2: None,
        exponent_1: None,
        exponent_2: None,
        coefficient: None,
    })
    .expect("a consistent key")
}

fn rsa_pkcs() -> &'static crate::Mechanism {
    mechanism::find(ck::CKM_RSA_PKCS).expect("in the table")
}

fn decrypted(key: &Key, ciphertext: &[u8]) -> Vec<u8> {
    decrypt(key, rsa_pkcs(), &Params::None, ciphertext).expect("never refused").into_plain()
}

/// OpenSSL 4.0.0's answers to 64 ciphertexts of one repeated byte, none of which has a right
/// padding: each message's length (two bytes) and content, hashed.
#[test]
fn made_up_messages_are_those_of_openssl() {
    let key = key();
    assert_eq!(decrypted(&key, &[5; 256]), hex("70d116"));
    assert_eq!(decrypted(&key, &[11; 256]), hex("33c6605ea4"));
    assert_eq!(decrypted(&key, &[64; 256]), hex("3ef951df1c12b6f6ac2ee8"));
    let mut all = crate::Hasher::new(Hash::Sha256);
    for byte in 1..=64 {
        let message = decrypted(&key, &[byte; 256]);
        all.update(&(message.len() as u16).to_be_bytes());
        all.update(&message);
    }
    assert_eq!(
        all.finish(),
        hex("4398da26212480756acec1f2bd917b622c732d6fa8980e1b96c8b594b69c9fd9")
    );
}

#[test]
fn right_paddings_give_their_message() {
    let key = key();
    let public = key.public_key().expect("a pair");
    for length in [0, 1, 16, 244, 245] {
        let message = vec![length as u8; length];
        let ciphertext = encrypt(&public, rsa_pkcs(), &Params::None, &message).expect("it fits");
        assert_eq!(decrypted(&key, &ciphertext), message);
    }
    let too_long = encrypt(&public, rsa_pkcs(), &Params::None, &[0; 246]);
    assert_eq!(too_long, Err(Error::DataLength));
}

/// Raw blocks, encrypted without padding by signing's inverse: each fault of a padding is answered
/// by a made-up message, the same one each time, and another one for another key.
#[test]
fn each_fault_of_a_padding_is_answered_by_a_made_up_message() {
    let good = |length: usize| {
        let mut block = SecretBytes::zeroed(256);
        let bytes = block.as_mut_bytes();
        bytes.fill(0xff);
        bytes[0] = 0;
        bytes[1] = 2;
        bytes[255 - length] = 0;
        block
    };
    let made_up = SecretBytes::new((0..=255).collect());
    // All candidates say 7.
    let candidates = SecretBytes::new([0, 7].repeat(CANDIDATES));
    let refused = |change: &dyn Fn(&mut [u8])| {
        let mut block = good(20);
        change(block.as_mut_bytes());
        let message = take_off(block, &made_up, &candidates);
        message.ct_eq(&[249, 250, 251, 252, 253, 254, 255])
    };
    assert!(take_off(good(20), &made_up, &candidates).ct_eq(&[0xff; 20]));
    assert!(take_off(good(245), &made_up, &candidates).ct_eq(&[0xff; 245]));
    assert!(take_off(good(0), &made_up, &candidates).is_empty());

    assert!(refused(&|block| block[0] = 1), "first byte");
    assert!(refused(&|block| block[1] = 1), "block type");
    assert!(refused(&|block| block[235] = 1), "no zero");
    assert!(refused(&|block| block[9] = 0), "seven bytes of padding");
    assert!(refused(&|block| block[2] = 0), "no padding");
    assert!(!refused(&|block| block[10] = 0), "eight bytes of padding");
}

#[test]
fn another_key_makes_up_another_message() {
    let other = generate_rsa(2048, &[1, 0, 1]).expect("a key");
    assert_ne!(decrypted(&key(), &[11; 256]), decrypted(&other, &[11; 256]));
}

#[test]
fn only_what_anyone_can_see_is_refused() {
    let key = key();
    let refused = |ciphertext: &[u8]| {
        decrypt(&key, rsa_pkcs(), &Params::None, ciphertext).map(SecretBytes::into_plain)
    };
    assert_eq!(refused(&[0xff; 256]), Err(Error::EncryptedDataInvalid));
    assert_eq!(refused(&[1; 255]), Err(Error::EncryptedDataLength));
    assert_eq!(refused(&[1; 257]), Err(Error::EncryptedDataLength));
    assert_eq!(refused(&[]), Err(Error::EncryptedDataLength));
}

#[test]
fn keys_wrap_and_unwrap() {
    let key = key();
    let public = key.public_key().expect("a pair");
    let wrapped = wrap(&public, rsa_pkcs(), &Params::None, &[9; 32]).expect("it fits");
    assert!(unwrap(&key, rsa_pkcs(), &Params::None, &wrapped).is_ok_and(|m| m.ct_eq(&[9; 32])));
    let too_long = wrap(&public, rsa_pkcs(), &Params::None, &[9; 300]);
    assert_eq!(too_long, Err(Error::KeySize));
    let short = unwrap(&key, rsa_pkcs(), &Params::None, &wrapped[1..]);
    assert!(matches!(short, Err(Error::WrappedKeyLength)));
}
