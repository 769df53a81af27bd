use std::sync::OnceLock;

use super::*;
use crate::backend::testing::hex;
use crate::{Hash, generate_rsa, generate_secret, mechanism};

fn named(kind: u64) -> &'static Mechanism {
    mechanism::find(kind).expect("in the table")
}

fn aes(key: &str) -> Key {
    Key::from_secret(ck::CKK_AES, hex(key)).expect("an AES key")
}

fn plain(decrypted: Result<SecretBytes, Error>) -> Result<Vec<u8>, Error> {
    decrypted.map(SecretBytes::into_plain)
}

/// SP 800-38A, appendix F: four blocks.
const BLOCKS: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
                      30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
const KEY_128: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const KEY_192: &str = "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b";
const KEY_256: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
const IV: &str = "000102030405060708090a0b0c0d0e0f";
const COUNTER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

#[test]
fn ecb_cbc_and_ctr_give_sp_800_38as_examples() {
    let (iv, counter) = (hex(IV), hex(COUNTER));
    for (kind, key, params, expected) in [
        (
            ck::CKM_AES_ECB,
            KEY_128,
            Params::None,
            "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf
             43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
        ),
        (
            ck::CKM_AES_ECB,
            KEY_192,
            Params::None,
            "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef
             ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e",
        ),
        (
            ck::CKM_AES_CBC,
            KEY_128,
            Params::Iv(&iv),
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2
             73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            ck::CKM_AES_CBC,
            KEY_256,
            Params::Iv(&iv),
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
             39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
        (
            ck::CKM_AES_CTR,
            KEY_128,
            Params::Iv(&counter),
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff
             5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ),
    ] {
        let (mechanism, key, expected) = (named(kind), aes(key), hex(expected));
        assert_eq!(
            encrypt(&key, mechanism, &params, &hex(BLOCKS)).as_ref(),
            Ok(&expected),
            "{}",
            mechanism.name
        );
        assert_eq!(plain(decrypt(&key, mechanism, &params, &expected)), Ok(hex(BLOCKS)));
    }
}

#[test]
fn padding_makes_whole_blocks_and_comes_off_again() {
    let key = generate_secret(ck::CKK_AES, 24).expect("a key");
    let (mechanism, iv) = (named(ck::CKM_AES_CBC_PAD), hex(IV));
    let params = Params::Iv(&iv);
    for length in 0..=33 {
        let data = vec![0x5a; length];
        let encrypted = encrypt(&key, mechanism, &params, &data).expect("encrypted");
        assert_eq!(encrypted.len(), 16 * (length / 16 + 1));
        assert_eq!(plain(decrypt(&key, mechanism, &params, &encrypted)), Ok(data));
    }
    // A block that CBC without padding made decrypts to a padding of 0x5a: none.
    let raw = encrypt(&key, named(ck::CKM_AES_CBC), &params, &[0x5a; 16]).expect("encrypted");
    assert_eq!(plain(decrypt(&key, mechanism, &params, &raw)), Err(Error::EncryptedDataInvalid));
    for length in [0, 1, 15, 17] {
        assert_eq!(
            plain(decrypt(&key, mechanism, &params, &vec![0; length])),
            Err(Error::EncryptedDataLength)
        );
    }
}

#[test]
fn broken_blocks_and_wrong_parameters_are_refused() {
    let key = generate_secret(ck::CKK_AES, 16).expect("a key");
    let iv = hex(IV);
    for (kind, params) in [(ck::CKM_AES_ECB, Params::None), (ck::CKM_AES_CBC, Params::Iv(&iv))] {
        let mechanism = named(kind);
        assert_eq!(encrypt(&key, mechanism, &params, &[0; 17]), Err(Error::DataLength));
        assert_eq!(
            plain(decrypt(&key, mechanism, &params, &[0; 17])),
            Err(Error::EncryptedDataLength)
        );
        assert_eq!(encrypt(&key, mechanism, &params, &[]), Ok(vec![]));
    }
    for (kind, params) in [
        (ck::CKM_AES_ECB, Params::Iv(&iv)),
        (ck::CKM_AES_CBC, Params::None),
        (ck::CKM_AES_CBC, Params::Iv(&iv[1..])),
        (ck::CKM_AES_CTR, Params::None),
        (ck::CKM_AES_CTR, Params::Iv(&[])),
        (ck::CKM_AES_GCM, Params::Iv(&iv)),
        (ck::CKM_AES_GCM, Params::Gcm { iv: &[], aad: &[], tag_bits: 128 }),
        (ck::CKM_AES_GCM, Params::Gcm { iv: &iv, aad: &[], tag_bits: 64 }),
        (ck::CKM_AES_GCM, Params::Gcm { iv: &iv, aad: &[], tag_bits: 100 }),
        (ck::CKM_AES_GCM, Params::Gcm { iv: &iv, aad: &[], tag_bits: 136 }),
        (mechanism::CKM_CLOUDHSM_AES_GCM, Params::Gcm { iv: &iv, aad: &[], tag_bits: 128 }),
    ] {
        let encrypted = encrypt(&key, named(kind), &params, &[0; 16]);
        assert_eq!(encrypted, Err(Error::ParameterInvalid), "{}", named(kind).name);
    }
}

/// "The Galois/Counter Mode of Operation", McGrew and Viega, appendix B.
const GCM_KEY: &str = "feffe9928665731c6d6a8f9467308308";
const GCM_AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const GCM_PLAINTEXT: &str = "
    d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";

/// Test cases 4, 5 and 6: IVs of 12, 8 and 60 bytes.
#[test]
fn gcm_gives_the_published_vectors_with_ivs_of_any_length() {
    let (key, mechanism, aad) = (aes(GCM_KEY), named(ck::CKM_AES_GCM), hex(GCM_AAD));
    for (iv, expected, tag) in [
        (
            "cafebabefacedbaddecaf888",
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
            "5bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            "cafebabefacedbad",
            "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c7423
             73806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598",
            "3612d2e79e3b0785561be14aaca2fccb",
        ),
        (
            "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728
             c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
            "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca7
             01e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5",
            "619cc5aefffe0bfa462af43c1699d050",
        ),
    ] {
        let (iv, expected, tag) = (hex(iv), hex(expected), hex(tag));
        for tag_bits in [96, 104, 112, 120, 128] {
            let params = Params::Gcm { iv: &iv, aad: &aad, tag_bits };
            let expected = [&expected[..], &tag[..tag_bits as usize / 8]].concat();
            let encrypted = encrypt(&key, mechanism, &params, &hex(GCM_PLAINTEXT));
            assert_eq!(encrypted.as_ref(), Ok(&expected));
            let decrypted = plain(decrypt(&key, mechanism, &params, &expected));
            assert_eq!(decrypted, Ok(hex(GCM_PLAINTEXT)));
        }
        // Shorter tags, which others may have made, are taken but not given.
        for tag_bits in [32, 64] {
            let params = Params::Gcm { iv: &iv, aad: &aad, tag_bits };
            let short = [&expected[..], &tag[..tag_bits as usize / 8]].concat();
            assert_eq!(plain(decrypt(&key, mechanism, &params, &short)), Ok(hex(GCM_PLAINTEXT)));
            let encrypted = encrypt(&key, mechanism, &params, b"");
            assert_eq!(encrypted, Err(Error::ParameterInvalid));
        }
    }
}

#[test]
fn nothing_altered_decrypts_under_gcm() {
    let key = generate_secret(ck::CKK_AES, 32).expect("a key");
    let mechanism = named(ck::CKM_AES_GCM);
    for tag_bits in [96, 128] {
        let params = |iv, aad| Params::Gcm { iv, aad, tag_bits };
        let encrypted =
            encrypt(&key, mechanism, &params(&[1; 12], b"aad"), b"data").expect("encrypted");
        let opened = |iv, aad, data: &[u8]| plain(decrypt(&key, mechanism, &params(iv, aad), data));
        assert_eq!(opened(&[1; 12], b"aad", &encrypted), Ok(b"data".to_vec()));
        assert_eq!(opened(&[2; 12], b"aad", &encrypted), Err(Error::EncryptedDataInvalid));
        assert_eq!(opened(&[1; 13], b"aad", &encrypted), Err(Error::EncryptedDataInvalid));
        assert_eq!(opened(&[1; 12], b"", &encrypted), Err(Error::EncryptedDataInvalid));
        for place in 0..encrypted.len() {
            let mut altered = encrypted.clone();
            altered[place] ^= 0x80;
            assert_eq!(opened(&[1; 12], b"aad", &altered), Err(Error::EncryptedDataInvalid));
        }
        assert_eq!(opened(&[1; 12], b"aad", &[0; 11]), Err(Error::EncryptedDataLength));
        assert_eq!(opened(&[1; 12], b"aad", &[]), Err(Error::EncryptedDataLength));
    }
}

#[test]
fn vendor_gcm_puts_a_fresh_iv_in_front_that_plain_gcm_takes() {
    let key = generate_secret(ck::CKK_AES, 32).expect("a key");
    let vendor = named(mechanism::CKM_CLOUDHSM_AES_GCM);
    let params = Params::Gcm { iv: &[], aad: b"aad", tag_bits: 128 };
    let one = encrypt(&key, vendor, &params, b"data").expect("encrypted");
    let two = encrypt(&key, vendor, &params, b"data").expect("encrypted");
    assert_eq!(one.len(), 12 + 4 + 16);
    assert_ne!(one[..12], two[..12]);
    assert_eq!(plain(decrypt(&key, vendor, &params, &one)), Ok(b"data".to_vec()));
    let (iv, rest) = one.split_at(12);
    let plain_params = Params::Gcm { iv, aad: b"aad", tag_bits: 128 };
    let decrypted = decrypt(&key, named(ck::CKM_AES_GCM), &plain_params, rest);
    assert_eq!(plain(decrypted), Ok(b"data".to_vec()));
    assert_eq!(plain(decrypt(&key, vendor, &params, &one[..11])), Err(Error::EncryptedDataLength));
}

fn rsa() -> &'static (Key, Key) {
    static PAIR: OnceLock<(Key, Key)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let private = generate_rsa(2048, &[1, 0, 1]).expect("a key");
        let public = private.public_key().expect("a pair");
        (private, public)
    })
}

#[test]
fn oaep_takes_any_pair_of_hashes_and_any_label() {
    let (private, public) = rsa();
    let mechanism = named(ck::CKM_RSA_PKCS_OAEP);
    for hash in Hash::ALL {
        for mgf in [hash, Hash::Sha1] {
            for label in [&b""[..], b"label"] {
                let params = Params::Oaep { hash, mgf, label };
                let longest = vec![3; 256 - 2 * hash.len() - 2];
                let encrypted = encrypt(public, mechanism, &params, &longest).expect("it fits");
                assert_eq!(encrypted.len(), 256);
                assert_eq!(
                    plain(decrypt(private, mechanism, &params, &encrypted)),
                    Ok(longest.clone())
                );
                let longer = [&longest[..], &[3]].concat();
                assert_eq!(encrypt(public, mechanism, &params, &longer), Err(Error::DataLength));
                let other = Params::Oaep { hash, mgf, label: b"another" };
                assert_eq!(
                    plain(decrypt(private, mechanism, &other, &encrypted)),
                    Err(Error::EncryptedDataInvalid)
                );
            }
        }
    }
}

#[test]
fn oaep_has_one_answer_to_all_that_is_wrong() {
    let (private, public) = rsa();
    let mechanism = named(ck::CKM_RSA_PKCS_OAEP);
    let params = Params::Oaep { hash: Hash::Sha256, mgf: Hash::Sha256, label: b"" };
    let mut encrypted = encrypt(public, mechanism, &params, b"").expect("it fits");
    assert_eq!(plain(decrypt(private, mechanism, &params, &encrypted)), Ok(vec![]));
    encrypted[200] ^= 1;
    for data in [&encrypted[..], &[0; 256], &[0xff; 256]] {
        assert_eq!(
            plain(decrypt(private, mechanism, &params, data)),
            Err(Error::EncryptedDataInvalid)
        );
    }
    assert_eq!(
        plain(decrypt(private, mechanism, &params, &encrypted[1..])),
        Err(Error::EncryptedDataLength)
    );
}

#[test]
fn keys_and_mechanisms_of_another_kind_are_refused() {
    let (private, public) = rsa();
    let generic = generate_secret(ck::CKK_GENERIC_SECRET, 32).expect("a key");
    let iv = hex(IV);
    let gcm = Params::Gcm { iv: &iv, aad: &[], tag_bits: 128 };
    let encrypted = |key, kind, params| encrypt(key, named(kind), &params, &[0; 16]);
    assert_eq!(encrypted(&generic, ck::CKM_AES_GCM, gcm), Err(Error::KeyType));
    assert_eq!(encrypted(&generic, ck::CKM_AES_CBC, Params::Iv(&iv)), Err(Error::KeyType));
    assert_eq!(encrypted(private, ck::CKM_RSA_PKCS, Params::None), Err(Error::KeyType));
    assert_eq!(encrypted(public, ck::CKM_AES_ECB, Params::None), Err(Error::KeyType));
    assert_eq!(
        encrypted(public, ck::CKM_SHA256_RSA_PKCS, Params::None),
        Err(Error::MechanismInvalid)
    );
    let aes = generate_secret(ck::CKK_AES, 32).expect("a key");
    assert_eq!(encrypted(&aes, ck::CKM_AES_KEY_WRAP, Params::None), Err(Error::MechanismInvalid));
    assert_eq!(
        plain(decrypt(public, named(ck::CKM_RSA_PKCS), &Params::None, &[0; 256])),
        Err(Error::KeyType)
    );
}

#[test]
fn one_key_encrypts_on_many_threads_at_once() {
    let key = generate_secret(ck::CKK_AES, 32).expect("a key");
    let mechanism = named(ck::CKM_AES_GCM);
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let key = &key;
            scope.spawn(move || {
                for round in 0..200u8 {
                    let iv = [thread, round, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                    let params = Params::Gcm { iv: &iv, aad: b"", tag_bits: 128 };
                    let data = vec![round; 1000];
                    let encrypted = encrypt(key, mechanism, &params, &data).expect("encrypted");
                    let decrypted = decrypt(key, mechanism, &params, &encrypted);
                    assert_eq!(plain(decrypted), Ok(data));
                }
            });
        }
    });
}
