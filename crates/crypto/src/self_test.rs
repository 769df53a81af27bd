//! Self-tests by known answers (FIPS 140-3's CASTs), before the first use of any algorithm.
//!
//! The backend tests what it tests itself: SHA-1, SHA-256, SHA-512, SHA3-256, HMAC-SHA256, AES-CBC, AES-GCM,
//! key wrap with padding, RSA, ECDSA, ECDH, Ed25519, ML-KEM, ML-DSA, PBKDF2, HKDF, SP 800-56C's and
//! SP 800-108's functions, and its DRBG. Here stand the symmetric algorithms of the table of mechanisms that
//! it leaves out, each with the source of its answer, through the functions that serve callers.

use std::sync::OnceLock;

use cryptoki_sys as ck;

use crate::{
    CounterKdf, Error, Hash, Key, NumberField, Params, Prf, backend, decrypt, derive, encrypt,
    known_answers, mechanism, sign, wrap,
};

/// Runs the known-answer tests of all algorithms (some 5 ms), the backend's and this crate's own, for a
/// process that is about to serve. They run once in a process; afterwards this costs one load.
///
/// # Errors
/// [`Error::Backend`] with the name of what gave a wrong answer: nothing may be used then.
pub fn self_test() -> Result<(), Error> {
    static RESULT: OnceLock<Result<(), Error>> = OnceLock::new();
    *RESULT.get_or_init(|| {
        backend::self_test().map_err(Error::backend("self-test of the backend"))?;
        known_answers::run()?;
        ANSWERS.iter().try_for_each(Answer::check)
    })
}

/// One known answer.
#[derive(Clone, Copy)]
struct Answer {
    mechanism: u64,
    /// What it is called where it fails.
    name: &'static str,
    use_: Use,
    key_type: u64,
    key: &'static [u8],
    params: Params<'static>,
    input: &'static [u8],
    output: &'static [u8],
}

/// The function that is tested.
#[derive(Clone, Copy)]
enum Use {
    Encrypt,
    Decrypt,
    Sign,
    Wrap,
    Derive,
    Digest(Hash),
}

impl Answer {
    fn check(&self) -> Result<(), Error> {
        let given = self.give().map_err(|_| Error::Backend(self.name))?;
        if given == self.output { Ok(()) } else { Err(Error::Backend(self.name)) }
    }

    fn give(&self) -> Result<Vec<u8>, Error> {
        if let Use::Digest(hash) = self.use_ {
            return Ok(hash.digest(self.input));
        }
        let mechanism = mechanism::find(self.mechanism).ok_or(Error::MechanismInvalid)?;
        let key = Key::from_secret(self.key_type, self.key.to_vec())?;
        match self.use_ {
            Use::Encrypt => encrypt(&key, mechanism, &self.params, self.input),
            Use::Decrypt => Ok(decrypt(&key, mechanism, &self.params, self.input)?.into_plain()),
            Use::Sign => sign(&key, mechanism, &self.params, self.input, false),
            Use::Wrap => wrap(&key, mechanism, &self.params, self.input),
            Use::Derive => {
                Ok(derive(&key, mechanism, &self.params, Some(self.output.len()))?.into_plain())
            }
            Use::Digest(hash) => Ok(hash.digest(self.input)),
        }
    }
}

const fn aes(
    mechanism: u64,
    name: &'static str,
    use_: Use,
    params: Params<'static>,
    input: &'static [u8],
    output: &'static [u8],
) -> Answer {
    Answer { mechanism, name, use_, key_type: ck::CKK_AES, key: &AES_128, params, input, output }
}

/// RFC 4231, test case 2; for the others by `openssl dgst -mac HMAC` with the same key and data.
const fn hmac(mechanism: u64, name: &'static str, output: &'static [u8]) -> Answer {
    Answer {
        mechanism,
        name,
        use_: Use::Sign,
        key_type: ck::CKK_GENERIC_SECRET,
        key: b"Jefe",
        params: Params::None,
        input: b"what do ya want for nothing?",
        output,
    }
}

/// "abc", of FIPS 180-4's and FIPS 202's examples.
const fn digest(hash: Hash, name: &'static str, output: &'static [u8]) -> Answer {
    Answer {
        mechanism: 0,
        name,
        use_: Use::Digest(hash),
        key_type: 0,
        key: &[],
        params: Params::None,
        input: b"abc",
        output,
    }
}

/// Bytes out of hex digits, while compiling.
const fn hex<const N: usize>(text: &str) -> [u8; N] {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => panic!("a hex digit"),
        }
    }
    let text = text.as_bytes();
    assert!(text.len() == 2 * N, "as many digits as the length says");
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
        at += 1;
    }
    bytes
}

// SP 800-38A, appendix F: key, first block of plaintext, IV and counter block.
const AES_128: [u8; 16] = hex("2b7e151628aed2a6abf7158809cf4f3c");
const BLOCK: [u8; 16] = hex("6bc1bee22e409f96e93d7e117393172a");
const IV: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f");
const COUNTER: [u8; 16] = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");

/// SP 800-38C, example 1: its tag of 4 bytes is checked and never made, so it is decrypted.
const CCM: Params<'static> = Params::Gcm {
    iv: &hex::<7>("10111213141516"),
    aad: &hex::<8>("0001020304050607"),
    tag_bits: 32,
};

const ANSWERS: &[Answer] = &[
    // SP 800-38A, F.1.1, F.5.1, F.3.7, F.3.13, F.4.1.
    aes(
        ck::CKM_AES_ECB,
        "self-test of AES-ECB",
        Use::Encrypt,
        Params::None,
        &BLOCK,
        &hex::<16>("3ad77bb40d7a3660a89ecaf32466ef97"),
    ),
    aes(
        ck::CKM_AES_CTR,
        "self-test of AES-CTR",
        Use::Encrypt,
        Params::Iv(&COUNTER),
        &BLOCK,
        &hex::<16>("874d6191b620e3261bef6864990db6ce"),
    ),
    aes(
        ck::CKM_AES_CFB8,
        "self-test of AES-CFB8",
        Use::Encrypt,
        Params::Iv(&IV),
        &hex::<4>("6bc1bee2"),
        &hex::<4>("3b79424c"),
    ),
    aes(
        ck::CKM_AES_CFB128,
        "self-test of AES-CFB128",
        Use::Encrypt,
        Params::Iv(&IV),
        &BLOCK,
        &hex::<16>("3b3fd92eb72dad20333449f8e83cfb4a"),
    ),
    aes(
        ck::CKM_AES_OFB,
        "self-test of AES-OFB",
        Use::Encrypt,
        Params::Iv(&IV),
        &BLOCK,
        &hex::<16>("3b3fd92eb72dad20333449f8e83cfb4a"),
    ),
    // SP 800-38B, appendix D.1, example 2.
    aes(
        ck::CKM_AES_CMAC,
        "self-test of AES-CMAC",
        Use::Sign,
        Params::None,
        &BLOCK,
        &hex::<16>("070a16b46b4d4144f79bdd9dd04a287c"),
    ),
    Answer {
        mechanism: ck::CKM_AES_CCM,
        name: "self-test of AES-CCM",
        use_: Use::Decrypt,
        key_type: ck::CKK_AES,
        key: &hex::<16>("404142434445464748494a4b4c4d4e4f"),
        params: CCM,
        input: &hex::<8>("7162015b4dac255d"),
        output: &hex::<4>("20212223"),
    },
    // Wycheproof (Apache-2.0), aes_xts_test.json, vector 53.
    Answer {
        mechanism: ck::CKM_AES_XTS,
        name: "self-test of AES-XTS",
        use_: Use::Encrypt,
        key_type: ck::CKK_AES_XTS,
        key: &hex::<64>(
            "13d69212ec8bb00ed412f66b9c9faccf84449a6e59b0ab1a8f82ec4684b16d67\
             556a5a0271666c957024192c1d35a9c09727bf4beb78b05a013bf8b7e932c15e",
        ),
        params: Params::Iv(&hex::<16>("595f2e870659f2280000000000000000")),
        input: &hex::<16>("438fb4c4c0c5a0f48bb8566d1fd28b0c"),
        output: &hex::<16>("5e349fc677214491c57b86a1dd9b534d"),
    },
    // RFC 3394, 4.1.
    Answer {
        mechanism: ck::CKM_AES_KEY_WRAP,
        name: "self-test of AES key wrap",
        use_: Use::Wrap,
        key_type: ck::CKK_AES,
        key: &IV,
        params: Params::None,
        input: &hex::<16>("00112233445566778899aabbccddeeff"),
        output: &hex::<24>("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
    },
    hmac(
        ck::CKM_SHA_1_HMAC,
        "self-test of HMAC-SHA1",
        &hex::<20>("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    ),
    hmac(
        ck::CKM_SHA512_HMAC,
        "self-test of HMAC-SHA512",
        &hex::<64>(
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ),
    hmac(
        ck::CKM_SHA3_256_HMAC,
        "self-test of HMAC-SHA3-256",
        &hex::<32>("c7d4072e788877ae3596bbb0da73b887c9171f93095b294ae857fbe2645e1ba5"),
    ),
    digest(
        Hash::Sha384,
        "self-test of SHA-384",
        &hex::<48>(
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
             8086072ba1e7cc2358baeca134c825a7",
        ),
    ),
    digest(
        Hash::Sha3_512,
        "self-test of SHA3-512",
        &hex::<64>(
            "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e\
             10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
        ),
    ),
    // NIST CAVP, KDFCTR_gen, HMAC_SHA256, counter of 32 bits before the fixed input; as aws-lc tests it.
    Answer {
        mechanism: ck::CKM_SP800_108_COUNTER_KDF,
        name: "self-test of SP 800-108",
        use_: Use::Derive,
        key_type: ck::CKK_GENERIC_SECRET,
        key: &hex::<32>("dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0"),
        params: Params::CounterKdf(CounterKdf {
            prf: Prf::Hmac(Hash::Sha256),
            fixed: &hex::<60>(
                "01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b8\
                 64a145fab25e517b08f8683d0315bb2911d80a0e8aba17f3b413faac",
            ),
            counter: NumberField { at: 0, bits: 32, little_endian: false },
            length: None,
            length_of_segments: false,
            length_first: false,
        }),
        input: &[],
        output: &hex::<16>("10621342bfb0fd40046c0e29f2cfdbf0"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_known_answers_come_out() {
        assert_eq!(self_test(), Ok(()));
    }

    #[test]
    fn a_wrong_answer_is_noticed_by_its_name() {
        for answer in ANSWERS {
            let wrong: Vec<u8> = answer.output.iter().map(|byte| byte ^ 1).collect();
            let broken = Answer { output: wrong.leak(), ..*answer };
            assert_eq!(broken.check(), Err(Error::Backend(answer.name)));
            let missing = Answer { output: &answer.output[1..], ..*answer };
            assert_eq!(missing.check(), Err(Error::Backend(answer.name)));
        }
    }
}
